//! What a merge may drop, and which merge to do next: plain decisions, no I/O.
//!
//! Each rule of [`fate`] is a bug that a well-known engine shipped:
//! 1. A record is dropped only where a newer one with the very key has been seen.
//! 2. A tombstone goes only when nothing outside the merge can hold an older record of its key.
//! 3. An expired record is a tombstone: dropping it must not bring an older record back.

use crate::format::frame::Kind;
use crate::planted::{Bug, planted};
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
        Facts { kind: Kind::Tombstone, older_possible: true, .. } if !planted(Bug::TombstoneDropped) => Fate::Keep,
        Facts { kind: Kind::Tombstone, .. } => Fate::DropDeleted,
        Facts { kind: Kind::Put, expired: true, older_possible: true, .. } if !planted(Bug::ExpiredDropped) => {
            Fate::KeepAsTombstone
        }
        Facts { kind: Kind::Put, expired: true, .. } => Fate::DropExpired,
        Facts { kind: Kind::Put, .. } => Fate::Keep,
        // None is in a sealed segment's index.
        Facts { kind: Kind::RangeTombstone, .. } => Fate::Keep,
    }
}

/// What the choice of a merge looks at, of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Length of its file.
    pub(crate) len: u64,
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

    /// Bytes of keys and values that are alive at engine time `now`.
    fn live_bytes(&self, now: u64) -> f64 {
        let content = self.record_bytes.saturating_sub(self.records * RECORD_HEAD_LEN);
        content as f64 * (1.0 - self.dead_share(now))
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

/// When a segment is to be rewritten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    /// It is dead to this share.
    pub(crate) dead_share: f64,
    /// All files together take so many times the bytes of keys and values that are alive.
    pub(crate) amplification: f64,
}

/// About what a record takes beside key and value.
const RECORD_HEAD_LEN: u64 = 11;
/// What all together may take beside: of a store that small there is nothing to gain.
const SLACK: u64 = 64 << 10;
/// Where less of a segment is dead it is left alone: to rewrite it would cost ten times what it gives back.
const WORTH_WHILE: f64 = 0.1;

/// The segment with the largest dead share at engine time `now`, if that is reason enough to rewrite it: by itself, or
/// because all together take too much room.
pub(crate) fn pick(candidates: &[Candidate], thresholds: Thresholds, now: u64) -> Option<usize> {
    let shares = candidates.iter().map(|candidate| candidate.dead_share(now)).enumerate();
    let (index, dead) = shares.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let too_large = || {
        let len: u64 = candidates.iter().map(|candidate| candidate.len).sum();
        let live: f64 = candidates.iter().map(|candidate| candidate.live_bytes(now)).sum();
        len as f64 > live * thresholds.amplification + SLACK as f64
    };
    (dead >= thresholds.dead_share || dead >= WORTH_WHILE && too_large()).then_some(index)
}

/// The engine time at which [`pick`] should be asked again, if nothing but time passes: once a segment's share is
/// reached, or where that lies behind, later, as long as anything expires.
pub(crate) fn next_due(candidates: &[Candidate], share: f64, now: u64) -> Option<u64> {
    let due = candidates.iter().filter_map(|candidate| candidate.due(share)).filter(|&due| due > now);
    let last = candidates.iter().filter_map(|candidate| candidate.expiries).map(|(_, last)| last);
    due.min().or_else(|| last.filter(|&last| last > now).max())
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
/// A run of no size cannot be merged.
pub(crate) fn pick_small(sizes: &[Option<u64>], large: u64) -> Option<Range<usize>> {
    let step = |size: u64| (size / SMALLEST).checked_ilog(NEIGHBOURS as u64).map_or(0, |log| log + 1);
    let steps: Vec<Option<u32>> = sizes.iter().map(|size| size.filter(|&size| size < large / 2).map(step)).collect();
    (0..steps.len()).find_map(|start| {
        let most = steps[start]?;
        let fits = |other: &Option<u32>| other.is_some_and(|other| other <= most);
        let len = steps[start..].iter().take_while(|other| fits(other)).count();
        let equal = steps[start..start + len].iter().filter(|other| **other == Some(most)).count();
        (equal >= NEIGHBOURS).then_some(start..start + len)
    })
}

/// Neighbours to merge where there are more runs than `max`, for every scan, and every lookup that is not resident, has to
/// ask each of them: [as above](pick_small), whatever their size, and where there are none of one size those that cost
/// least for each run that goes.
pub(crate) fn pick_many(sizes: &[Option<u64>], max: usize) -> Option<Range<usize>> {
    if sizes.len() <= max {
        return None;
    }
    let windows = (2..=NEIGHBOURS).flat_map(|len| sizes.windows(len).enumerate());
    let priced = windows.filter_map(|(start, window)| {
        let cost = window.iter().copied().sum::<Option<u64>>()?;
        Some((cost as f64 / (window.len() - 1) as f64, start..start + window.len()))
    });
    let cheapest = || priced.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, runs)| runs);
    pick_small(sizes, u64::MAX).or_else(cheapest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        len: 1,
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
            let pick = |now| pick(&[candidate], Thresholds { dead_share: 0.5, amplification: f64::INFINITY }, now);
            // Where the share is never reached, it is looked at again when all has expired.
            let last = candidate.expiries.map(|(_, last)| last);
            assert_eq!(next_due(&[candidate], 0.5, 0), expected.or(last), "{candidate:?}");
            let Some(due) = expected else { return assert_eq!(pick(u64::MAX), None, "{candidate:?}") };
            assert_eq!(pick(due), Some(0), "{candidate:?}");
            assert!(due == 1000 || pick(due - 1).is_none(), "{candidate:?}");
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
        let pick = |candidates: &[Candidate]| {
            pick(candidates, Thresholds { dead_share: 0.5, amplification: f64::INFINITY }, 0)
        };
        assert_eq!(pick(&[with(10, 0, false), with(49, 0, false)]), None);
        assert_eq!(pick(&[with(60, 0, false), with(90, 0, false), with(70, 0, true)]), Some(1));
        assert_eq!(pick(&[with(0, 10, false)]), None, "its tombstones may hide something older");
        assert_eq!(pick(&[with(0, 0, false), with(0, 6, true)]), Some(1));
        assert_eq!(pick(&[]), None);
    }

    #[test]
    fn where_all_together_is_too_large_the_deadest_goes_though_less_of_it_is_dead() {
        let with = |len: u64, dead: u64| Candidate {
            len: len << 20,
            dead_bytes: dead << 20,
            record_bytes: (1000 << 20) + 110,
            ..ALIVE
        };
        let pick = |candidates: &[Candidate]| pick(candidates, Thresholds { dead_share: 0.5, amplification: 1.5 }, 0);
        // A thousand MiB of keys and values in each.
        assert_eq!(pick(&[with(1490, 0), with(1490, 0)]), None);
        assert_eq!(pick(&[with(1100, 200), with(1100, 300)]), None, "2200 / 1500");
        assert_eq!(pick(&[with(1200, 200), with(1200, 400), with(1200, 400)]), Some(2), "3600 / 2000");
        assert_eq!(pick(&[with(9000, 101), with(9000, 100)]), Some(0));
        assert_eq!(pick(&[with(9000, 99), with(9000, 90)]), None, "to rewrite them would gain next to nothing");
    }

    #[test]
    fn of_too_many_runs_those_of_one_size_are_merged_or_the_cheapest() {
        const MIB: u64 = 1 << 20;
        let many = |sizes: &[u64], max| pick_many(&sizes.iter().map(|size| Some(size * MIB)).collect::<Vec<_>>(), max);
        assert_eq!(many(&[90, 5, 4, 3, 2, 1, 900], 7), None);
        assert_eq!(many(&[90, 5, 4, 3, 2, 1, 900], 6), Some(4..6));
        assert_eq!(many(&[500, 9, 9, 9, 9, 500], 5), Some(1..5));
        assert_eq!(many(&[1000, 64, 64, 64, 64, 64, 64, 64, 64, 1], 9), Some(1..10));
        assert_eq!(many(&[1], 0), None);
        assert_eq!(pick_many(&[Some(2), Some(2), None, Some(2)], 1), Some(0..2), "not across what cannot be merged");
        // Whatever comes in, there are never more than that for long, and each record is rewritten a few times.
        let (mut runs, mut written) = (Vec::<Option<u64>>::new(), 0);
        for _ in 0..5_000 {
            runs.insert(0, Some(64 * MIB));
            while let Some(range) = pick_many(&runs, 64) {
                let merged = runs.drain(range.clone()).sum::<Option<u64>>();
                runs.insert(range.start, merged);
                written += merged.unwrap() / (64 * MIB);
            }
        }
        assert!(runs.len() <= 64 && written < 5_000 * 3, "{} runs, {written} written", runs.len());
    }

    #[test]
    fn small_neighbours_are_merged_and_large_ones_left_alone() {
        const KIB: u64 = 1 << 10;
        let pick = |sizes: &[u64]| pick_small(&sizes.iter().copied().map(Some).collect::<Vec<_>>(), 64 << 20);
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
        let (mut runs, mut written) = (Vec::<Option<u64>>::new(), 0);
        for _ in 0..10_000 {
            runs.insert(0, Some(1000));
            while let Some(range) = pick_small(&runs, 64 << 20) {
                let merged = runs.drain(range.clone()).sum::<Option<u64>>();
                runs.insert(range.start, merged);
                written += merged.unwrap();
            }
        }
        assert!(runs.len() < 40, "{} runs", runs.len());
        assert!(written < 10_000 * 1000 * 16, "wrote {} times what came in", written / 10_000_000);
    }
}
