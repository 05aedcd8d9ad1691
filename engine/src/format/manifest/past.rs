//! Which earlier manifests are kept: those that a checkpoint took, and those that show the past within the retention.
//!
//! A manifest shows the database from when it was made until the next one was. Of two that were made within a step of the
//! one before them the later stands for both. So a moment of the past shows by a manifest that is less than a step older
//! than the one that was the newest then, and there are never more than two for each step of the retention.

use super::{Manifest, Retired};
use serde::{Deserialize, Serialize};

/// How far back the past is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// For how long, milliseconds of engine time; 0 for not at all.
    pub(crate) window: u64,
    /// How far apart the moments are that can be told from each other, milliseconds.
    pub(crate) step: u64,
}

impl Manifest {
    /// Notes which manifests of the past are needed no more. All else is as it will be.
    pub(super) fn forget(&mut self) {
        let Manifest { engine_time, retention: Retention { window, step }, past, checkpoints, .. } = self;
        let mut moments: Vec<usize> = (0..past.len()).filter(|&index| past[index].is_moment).collect();
        // This one stands for the one before it.
        if let [.., before, last] = moments[..]
            && engine_time.saturating_sub(past[before].time) < *step
        {
            past[last].is_moment = false;
            moments.pop();
        }
        let begin = engine_time.saturating_sub(*window);
        for (place, &index) in moments.iter().enumerate() {
            let until = moments.get(place + 1).map_or(*engine_time, |&next| past[next].time);
            past[index].is_moment = *window > 0 && until > begin;
        }
        past.retain(|past| past.is_moment || checkpoints.iter().any(|checkpoint| checkpoint.manifest == past.number));
    }

    /// Whether manifest `number`, an older one, must be kept: its name fences a crashed writer, or it is a checkpoint's or
    /// a moment of the past.
    pub(crate) fn keeps(&self, number: u64) -> bool {
        self.kept_claims.contains(&number)
            || self.past.iter().any(|past| past.number == number)
            || self.checkpoints.iter().any(|checkpoint| checkpoint.manifest == number)
    }

    /// Whether a checkpoint or the past needs a file that has left the database.
    pub(crate) fn holds(&self, file: &Retired) -> bool {
        self.past.iter().any(|past| file.is_named_by(past.number))
            || self.checkpoints.iter().any(|checkpoint| file.is_named_by(checkpoint.manifest))
    }

    /// Since when the past can be seen, in milliseconds of engine time; `None` where none is kept.
    pub(crate) fn past_from(&self) -> Option<u64> {
        let first = self.past.iter().find(|past| past.is_moment).map(|past| past.time);
        (self.retention.window > 0).then(|| first.unwrap_or(self.engine_time))
    }

    /// The number of the manifest that shows the past at `time`, if that is kept.
    pub(crate) fn at_time(&self, time: u64) -> Option<u64> {
        if self.retention.window > 0 && self.engine_time <= time {
            return Some(self.number);
        }
        self.past.iter().rev().find(|past| past.is_moment && past.time <= time).map(|past| past.number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::sample;
    use super::*;
    use crate::format::fuzz::{Dice, times};

    fn first(window: u64, step: u64) -> Manifest {
        Manifest {
            engine_time: 1_000,
            retention: Retention { window, step },
            past: vec![],
            checkpoints: vec![],
            ..sample()
        }
    }

    fn follow(before: &Manifest, time: u64) -> Manifest {
        let mut next = before.next(1, time);
        next.follow(before);
        next.encode().unwrap();
        next
    }

    /// For each moment within the window, the manifest shown is less than a step older than the newest one at that time.
    #[test]
    fn the_past_shows_as_precisely_as_it_is_to() {
        let mut dice = Dice::new(11);
        for (window, step) in [(100, 10), (1000, 7), (50, 1), (30, 100), (40, 40)] {
            let mut manifest = first(window, step);
            let mut made = vec![(manifest.engine_time, manifest.number)];
            for _ in 0..times(400) {
                let pause = [0, 1, 3, step as usize, 2 * window as usize][dice.below(5)];
                manifest = follow(&manifest, manifest.engine_time + dice.below(pause + 1) as u64);
                made.push((manifest.engine_time, manifest.number));
                let now = manifest.engine_time;
                for time in now.saturating_sub(window)..=now {
                    let Some(&(then, _)) = made.iter().rev().find(|(made, _)| *made <= time) else { continue };
                    let shown = manifest.at_time(time).unwrap();
                    let (shown_then, _) = made.iter().find(|(_, number)| *number == shown).unwrap();
                    assert!(*shown_then <= time && then - shown_then < step, "{time} {then} {shown_then}");
                }
                assert!(manifest.past.len() as u64 <= 2 * (window / step + 2), "{}", manifest.past.len());
                let oldest = manifest.past.iter().map(|past| past.time).nth(1).unwrap_or(now);
                assert!(oldest + window > now, "what nobody can ask for is let go of");
            }
        }
    }

    #[test]
    fn without_a_retention_nothing_but_checkpoints_is_kept() {
        let mut manifest = first(100, 10);
        for _ in 0..5 {
            manifest = follow(&manifest, manifest.engine_time + 20);
        }
        assert_eq!(manifest.past.len(), 5);
        let (number, time) = (manifest.past[2].number, manifest.engine_time);
        let file = Retired { name: String::new(), born: number, retired: number + 1, bytes: 7 };
        assert!(manifest.holds(&file) && manifest.keeps(number));
        manifest.retention.window = 0;
        let manifest = follow(&manifest, time + 1);
        assert_eq!((manifest.past.len(), manifest.past_from(), manifest.at_time(time + 1)), (0, None, None));
        assert!(!manifest.holds(&file) && !manifest.keeps(number));
    }
}
