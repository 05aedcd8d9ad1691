//! The names of files: one encoder and one decoder for all of them.
//!
//! | name | what it is |
//! | --- | --- |
//! | `manifest/<number>` | a manifest |
//! | `segments/<epoch>-<nonce>-<number>` | a segment; on growing files also the log |
//! | `log/<epoch>-<nonce>/<number>` | a fragment of the log, or its fence |
//! | `pins/<nonce>` | a pin: what its reader must not lose |
//!
//! Every `<…>` is a `u64` in exactly 16 lower-case hexadecimal digits, so that names sort as their numbers do. The
//! epoch and nonce are those of the claim under which the name was given, so that copies, restores and clones of a
//! store never meet under one name. What does not parse was not made by this engine and is left alone.

use crate::planted::{Bug, planted};
use halite_backends::Path;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The folder of manifests.
pub(crate) const MANIFESTS: &str = "manifest";
/// The folder of segments.
pub(crate) const SEGMENTS: &str = "segments";
/// The folder of the logs' folders.
pub(crate) const LOGS: &str = "log";
/// The folder of pins.
pub(crate) const PINS: &str = "pins";

const DIGITS: usize = 16;

/// Which segment: unique among all stores that were ever copied from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct SegmentId {
    /// The epoch of the writer that made it.
    pub(crate) epoch: u64,
    /// The nonce of that writer's claim.
    pub(crate) nonce: u64,
    /// Its number, counted within the epoch.
    pub(crate) number: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:016x}", self.epoch, self.nonce, self.number)
    }
}

/// Which fragment of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FragmentId {
    /// The epoch of the log's writer.
    pub(crate) epoch: u64,
    /// The nonce of that writer's claim.
    pub(crate) nonce: u64,
    /// Its number: fragments of an epoch are one dense sequence.
    pub(crate) number: u64,
}

/// A file's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    /// A manifest and its number.
    Manifest(u64),
    /// A segment.
    Segment(SegmentId),
    /// A fragment or fence.
    Fragment(FragmentId),
    /// A pin and its nonce.
    Pin(u64),
}

impl Name {
    /// The name as backends know it.
    pub(crate) fn path(&self) -> Path {
        Path::new(self.to_string()).expect("names hold only lower-case letters, digits, '-' and '/'")
    }

    /// The name that `path` is, or `None` where it is none of ours.
    pub(crate) fn parse(path: &str) -> Option<Name> {
        let (folder, rest) = path.split_once('/')?;
        match folder {
            MANIFESTS => number(rest).map(Name::Manifest),
            PINS => number(rest).map(Name::Pin),
            SEGMENTS => {
                let (claim, last) = rest.rsplit_once('-')?;
                let (epoch, nonce) = pair(claim)?;
                let number = number(last).filter(|number| !(planted(Bug::NameUnread) && number % 4 == 0))?;
                Some(Name::Segment(SegmentId { epoch, nonce, number }))
            }
            LOGS => {
                let (claim, last) = rest.split_once('/')?;
                let (epoch, nonce) = pair(claim)?;
                Some(Name::Fragment(FragmentId { epoch, nonce, number: number(last)? }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Manifest(number) => write!(f, "{MANIFESTS}/{number:016x}"),
            Name::Segment(id) => write!(f, "{SEGMENTS}/{id}"),
            Name::Fragment(id) => write!(f, "{}/{:016x}", log_folder(id.epoch, id.nonce), id.number),
            Name::Pin(nonce) => write!(f, "{PINS}/{nonce:016x}"),
        }
    }
}

/// The folder of one log's fragments.
pub(crate) fn log_folder(epoch: u64, nonce: u64) -> String {
    format!("{LOGS}/{epoch:016x}-{nonce:016x}")
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once('-')?;
    Some((number(first)?, number(second)?))
}

/// Exactly sixteen lower-case digits: `from_str_radix` alone would also take signs, capitals and other lengths.
fn number(text: &str) -> Option<u64> {
    let plain = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fuzz;

    const NUMBERS: [u64; 5] = [0, 1, 0xabc, u64::MAX - 1, u64::MAX];

    fn all_kinds(epoch: u64, nonce: u64, number: u64) -> [Name; 4] {
        [
            Name::Manifest(number),
            Name::Segment(SegmentId { epoch, nonce, number }),
            Name::Fragment(FragmentId { epoch, nonce, number }),
            Name::Pin(nonce),
        ]
    }

    #[test]
    fn every_name_comes_back() {
        for epoch in NUMBERS {
            for nonce in NUMBERS {
                for number in NUMBERS {
                    for name in all_kinds(epoch, nonce, number) {
                        assert_eq!(Name::parse(name.path().as_str()), Some(name));
                    }
                }
            }
        }
    }

    #[test]
    fn names_look_as_documented() {
        let [manifest, segment, fragment, pin] = all_kinds(3, 0xbeef, 10).map(|name| name.to_string());
        assert_eq!(manifest, "manifest/000000000000000a");
        assert_eq!(segment, "segments/0000000000000003-000000000000beef-000000000000000a");
        assert_eq!(fragment, "log/0000000000000003-000000000000beef/000000000000000a");
        assert_eq!(pin, "pins/000000000000beef");
    }

    #[test]
    fn names_sort_as_numbers_do() {
        let names = NUMBERS.map(|number| Name::Manifest(number).path());
        assert!(names.is_sorted());
    }

    #[test]
    fn other_names_are_left_alone() {
        for other in [
            "",
            "manifest",
            "manifest/",
            "manifest/1",
            "manifest/000000000000000A",
            "manifest/+00000000000000a",
            "manifest/000000000000000a.tmp",
            "manifest/0000000000000000a",
            "manifest/000000000000000a/",
            "manifests/000000000000000a",
            "segments/0000000000000003-000000000000beef",
            "segments/0000000000000003-000000000000beef-000000000000000a-000000000000000a",
            "log/0000000000000003-000000000000beef",
            "log/0000000000000003/000000000000000a",
            "pins/000000000000beef/0",
            "lock",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn whatever_parses_is_the_very_name() {
        let seeds: Vec<Vec<u8>> = all_kinds(7, 0xfeed, 42).iter().map(|name| name.to_string().into_bytes()).collect();
        fuzz::mutate(&seeds, 50_000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(name) = Name::parse(&text) {
                assert_eq!(name.to_string(), text);
            }
        });
    }
}
