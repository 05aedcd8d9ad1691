//! What a merge may drop, and which merge to do next: plain decisions, no I/O.
//!
//! Each rule of [`fate`] is a bug that a well-known engine shipped:
//! 1. A record is dropped only where a newer one with the very key has been seen.
//! 2. A tombstone goes only when nothing outside the merge can hold an older record of its key.
//! 3. An expired record is a tombstone: dropping it must not bring an older record back.

use crate::format::frame::Kind;
use std::ops::Range;

/// What a merge knows of the newest record of a key among its inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    /// Its expiry lies behind engine time.
    pub(crate) expired: bool,
    /// A newer record of the very key has been seen in a sealed segment outside the merge.
    pub(crate) newer_seen: bool,
    /// Something outside the merge may hold an older record of the key.
    pub(crate) older_possible: bool,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    /// Expired, but something older may have to stay hidden: it stays as a tombstone.
    KeepAsTombstone,
    DropSuperseded,
    DropDeleted,
    DropExpired,
}

/// | newer seen | kind | expired | older possible | fate |
/// | --- | --- | --- | --- | --- |
/// | yes | any | any | any | drop: superseded |
/// | no | tombstone | – | yes | keep |
/// | no | tombstone | – | no | drop: deleted |
/// | no | put | yes | yes | keep as a tombstone |
/// | no | put | yes | no | drop: expired |
/// | no | put | no | any | keep |
pub(crate) fn fate(facts: Facts) -> Fate {
    match facts {
        Facts { newer_seen: true, .. } => Fate::DropSuperseded,
        Facts { kind: Kind::Tombstone, older_possible: true, .. } => Fate::Keep,
        Facts { kind: Kind::Tombstone, .. } => Fate::DropDeleted,
        Facts { kind: Kind::Put, expired: true, older_possible: true, .. } => Fate::KeepAsTombstone,
        Facts { kind: Kind::Put, expired: true, .. } => Fate::DropExpired,
        Facts { kind: Kind::Put, .. } => Fate::Keep,
    }
}

/// What the choice of a merge looks at, of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Bytes of its records.
    pub(crate) record_bytes: u64,
    /// Bytes of its records that are dead whatever the time, as far as is known.
    pub(crate) dead_bytes: u64,
    /// How many records there are, and tombstones among them.
    pub(crate) records: u64,
    pub(crate) tombstones: u64,
    /// How many of the records expire, and the earliest and the latest expiry.
    pub(crate) expiring: u64,
    pub(crate) expiries: Option<(u64, u64)>,
    /// Whether its run is the oldest: then its tombstones hide nothing any more.
    pub(crate) oldest: bool,
}

impl Candidate {
    /// The share that is dead at engine time `now`.
    fn dead_share(&self, now: u64) -> f64 {
        let expired = self.expiries.map_or(0.0, |(first, last)| match now {
            _ if now < first => 0.0,
            _ if now >= last => 1.0,
            // Taken as evenly spread. Where they are not, a merge comes too early or too late; each leaves expiries that
            // lie ahead, so none follows at once.
            _ => (now - first) as f64 / (last - first) as f64,
        });
        (self.lasting_share() + self.expiring_share() * expired).min(1.0)
    }

    fn lasting_share(&self) -> f64 {
        let useless_tombstones = if self.oldest { self.tombstones as f64 / self.records.max(1) as f64 } else { 0.0 };
        self.dead_bytes as f64 / self.record_bytes.max(1) as f64 + useless_tombstones
    }

    fn expiring_share(&self) -> f64 {
        self.expiring as f64 / self.records.max(1) as f64
    }

    /// The engine time at which so much will have expired that its dead share reaches `share`; `None` where time alone
    /// will not do.
    fn due(&self, share: f64) -> Option<u64> {
        let (first, last) = self.expiries?;
        let spread = (share - self.lasting_share()).max(0.0) / self.expiring_share();
        (spread <= 1.0).then(|| first.saturating_add((spread * (last - first) as f64).ceil() as u64))
    }
}

/// The segment with the largest dead share at engine time `now`, if that reaches `share`.
pub(crate) fn pick(candidates: impl Iterator<Item = Candidate>, share: f64, now: u64) -> Option<usize> {
    candidates
        .map(|candidate| candidate.dead_share(now))
        .enumerate()
        .filter(|&(_, dead)| dead >= share)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(index, _)| index)
}

/// The engine time at which [`pick`] will find one, if nothing but time passes.
pub(crate) fn next_due(candidates: impl Iterator<Item = Candidate>, share: f64) -> Option<u64> {
    candidates.filter_map(|candidate| candidate.due(share)).min()
}

/// Neighbouring runs of about one size that make a merge worth while.
const NEIGHBOURS: usize = 8;
/// Runs below this size are all of one size: the smallest.
const SMALLEST: u64 = 64 << 10;

/// Neighbouring runs that are small and many, of these sizes in bytes, newest first: so that a store that is opened and
/// closed often does not end as a heap of tiny segments.
///
/// Sizes are told apart in steps of [`NEIGHBOURS`], and runs are merged when that many of one step stand together
/// (with smaller ones between them), so that a record is rewritten once for each step it climbs. Runs of a full
/// segment, `large` bytes, are left alone.
pub(crate) fn pick_small(sizes: &[u64], large: u64) -> Option<Range<usize>> {
    let step = |size: u64| (size / SMALLEST).checked_ilog(NEIGHBOURS as u64).map_or(0, |log| log + 1);
    let steps: Vec<Option<u32>> = sizes.iter().map(|&size| (size < large / 2).then(|| step(size))).collect();
    (0..steps.len()).find_map(|start| {
        let most = steps[start]?;
        let fits = |other: &Option<u32>| other.is_some_and(|other| other <= most);
        let len = steps[start..].iter().take_while(|other| fits(other)).count();
        let equal = steps[start..start + len].iter().filter(|other| **other == Some(most)).count();
        (equal >= NEIGHBOURS).then_some(start..start + len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_meets_the_rules() {
        let bools = [false, true];
        for kind in [Kind::Put, Kind::Tombstone] {
            for expired in bools {
                for newer_seen in bools {
                    for older_possible in bools {
                        let facts = Facts { kind, expired, newer_seen, older_possible };
                        let fate = fate(facts);
                        let dropped = !matches!(fate, Fate::Keep | Fate::KeepAsTombstone);
                        let hides = kind == Kind::Tombstone || expired;
                        // Rule 1: what is alive goes only if superseded.
                        assert!(!dropped || newer_seen || hides, "{facts:?}");
                        // Rules 2 and 3: what hides something stays, as something that hides.
                        assert!(!(dropped && !newer_seen && older_possible), "{facts:?}");
                        // And what is of no use any more goes.
                        assert!(dropped || !(newer_seen || hides && !older_possible), "{facts:?}");
                        assert_eq!(
                            fate == Fate::KeepAsTombstone,
                            kind == Kind::Put && expired && older_possible && !newer_seen
                        );
                    }
                }
            }
        }
    }

    const ALIVE: Candidate = Candidate {
        record_bytes: 100,
        dead_bytes: 0,
        records: 10,
        tombstones: 0,
        expiring: 0,
        expiries: None,
        oldest: false,
    };

    #[test]
    fn what_expires_is_dead_in_time() {
        let check = |candidate: Candidate, expected: Option<u64>| {
            let candidates = || std::iter::once(candidate);
            assert_eq!(next_due(candidates(), 0.5), expected, "{candidate:?}");
            let Some(due) = expected else {
                return assert_eq!(pick(candidates(), 0.5, u64::MAX), None, "{candidate:?}");
            };
            assert_eq!(pick(candidates(), 0.5, due), Some(0), "{candidate:?}");
            assert!(due == 1000 || pick(candidates(), 0.5, due - 1).is_none(), "{candidate:?}");
        };
        let expiring = |expiring, last| Candidate { expiring, expiries: Some((1000, last)), ..ALIVE };
        check(ALIVE, None);
        check(expiring(4, 2000), None);
        check(expiring(5, 2000), Some(2000));
        check(expiring(10, 2000), Some(1500));
        check(expiring(10, 1000), Some(1000));
        check(Candidate { dead_bytes: 30, ..expiring(4, 2000) }, Some(1500));
        check(Candidate { dead_bytes: 50, ..expiring(4, 2000) }, Some(1000));
    }

    #[test]
    fn the_deadest_segment_is_merged_first() {
        let with = |dead_bytes, tombstones, oldest| Candidate { dead_bytes, tombstones, oldest, ..ALIVE };
        let pick = |candidates: &[Candidate]| pick(candidates.iter().copied(), 0.5, 0);
        assert_eq!(pick(&[with(10, 0, false), with(49, 0, false)]), None);
        assert_eq!(pick(&[with(60, 0, false), with(90, 0, false), with(70, 0, true)]), Some(1));
        assert_eq!(pick(&[with(0, 10, false)]), None, "its tombstones may hide something older");
        assert_eq!(pick(&[with(0, 0, false), with(0, 6, true)]), Some(1));
        assert_eq!(pick(&[]), None);
    }

    #[test]
    fn small_neighbours_are_merged_and_large_ones_left_alone() {
        const KIB: u64 = 1 << 10;
        let pick = |sizes: &[u64]| pick_small(sizes, 64 << 20);
        assert_eq!(pick(&[KIB; 7]), None);
        assert_eq!(pick(&[KIB; 9]), Some(0..9));
        assert_eq!(pick(&[40 << 20; 20]), None);
        let mut sizes = vec![KIB; 5];
        sizes.push(40 << 20);
        sizes.extend([KIB; 8]);
        assert_eq!(pick(&sizes), Some(6..14), "only neighbours may be merged");
        let mut sizes = vec![KIB; 3];
        sizes.extend([100 * KIB; 8]);
        assert_eq!(pick(&sizes), Some(3..11));
        sizes.insert(7, KIB);
        assert_eq!(pick(&sizes), Some(3..12), "a smaller one between them goes along");
    }

    #[test]
    fn a_record_is_rewritten_once_for_each_step() {
        let (mut runs, mut written) = (Vec::<u64>::new(), 0);
        for _ in 0..10_000 {
            runs.insert(0, 1000);
            while let Some(range) = pick_small(&runs, 64 << 20) {
                let merged = runs.drain(range.clone()).sum();
                runs.insert(range.start, merged);
                written += merged;
            }
        }
        assert!(runs.len() < 40, "{} runs", runs.len());
        assert!(written < 10_000 * 1000 * 16, "wrote {} times what came in", written / 10_000_000);
    }
}
