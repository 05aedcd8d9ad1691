//! What a merge may drop, and which merge to do next: plain decisions, no I/O.
//!
//! Each rule of [`fate`] is a bug that a well-known engine shipped:
//! 1. A record is dropped only where a newer one with the very key has been seen.
//! 2. A tombstone goes only when nothing outside the merge can hold an older record of its key.
//! 3. An expired record is a tombstone: dropping it must not bring an older record back.

use crate::format::frame::Kind;

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
    /// Bytes of its records that are dead, as far as is known.
    pub(crate) dead_bytes: u64,
    /// Tombstones among its records, and how many records there are.
    pub(crate) tombstones: u64,
    pub(crate) records: u64,
    /// Whether its run is the oldest: then its tombstones hide nothing any more.
    pub(crate) oldest: bool,
}

/// The segment with the largest dead share, if that reaches `share`.
pub(crate) fn pick(candidates: impl Iterator<Item = Candidate>, share: f64) -> Option<usize> {
    candidates
        .map(|candidate| dead_share(&candidate))
        .enumerate()
        .filter(|&(_, dead)| dead >= share)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(index, _)| index)
}

fn dead_share(candidate: &Candidate) -> f64 {
    let records = candidate.records.max(1) as f64;
    let useless_tombstones = if candidate.oldest { candidate.tombstones as f64 / records } else { 0.0 };
    let dead = candidate.dead_bytes as f64 / candidate.record_bytes.max(1) as f64;
    (dead + useless_tombstones).min(1.0)
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

    #[test]
    fn the_deadest_segment_is_merged_first() {
        let with = |dead_bytes, tombstones, oldest| Candidate {
            record_bytes: 100,
            dead_bytes,
            tombstones,
            records: 10,
            oldest,
        };
        let pick = |candidates: &[Candidate]| pick(candidates.iter().copied(), 0.5);
        assert_eq!(pick(&[with(10, 0, false), with(49, 0, false)]), None);
        assert_eq!(pick(&[with(60, 0, false), with(90, 0, false), with(70, 0, true)]), Some(1));
        assert_eq!(pick(&[with(0, 10, false)]), None, "its tombstones may hide something older");
        assert_eq!(pick(&[with(0, 0, false), with(0, 6, true)]), Some(1));
        assert_eq!(pick(&[]), None);
    }
}
