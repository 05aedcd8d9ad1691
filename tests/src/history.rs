//! The model: every commit in its order, and what may be left of them after a crash.
//!
//! The engine promises that what survives is a *prefix* of the commit order which holds every commit acknowledged at a
//! level that the crash spares. So the model keeps, for each key, the list of its versions with the commit each came
//! from. Commits that were under way at the same time have no order known to the caller: they form one *stage*, each on a
//! key of its own. A recovered state is right if and only if
//! 1. there is a number `p` such that for every key the state shows the newest version among the first `p` stages
//!    (nothing, where that is a delete or has expired), or one of stage `p + 1` where that has several commits, and
//! 2. what the crash must spare is among them.

use crate::ops::shown;
use bytes::Bytes;
use halite::Durability;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a database shows: each key with its value.
pub type State = BTreeMap<Vec<u8>, Bytes>;

/// When each key of a state expires, where that is known.
pub type Expiries = BTreeMap<Vec<u8>, Option<u64>>;

/// One write: the key, and the value unless it is a delete.
pub type Write = (Vec<u8>, Option<Value>);

/// A value that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// The engine time from which on it counts as deleted.
    pub expires_at: Option<u64>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It was killed: what the operating system had is there.
    Kill,
    /// The power went: only what was synced is there for certain.
    PowerCut,
    /// The machine was lost with its disk: only what is kept elsewhere is there.
    Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Entered, and never answered: it may have happened.
    Open,
    /// Answered with `Ok`, at this level.
    Acknowledged(Durability),
    /// Answered with an error that says that it did not happen, or lost in a crash.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    stage: usize,
    fate: Fate,
}

#[derive(Clone, Debug)]
struct Version {
    commit: usize,
    stage: usize,
    value: Option<Value>,
}

/// All commits so far.
#[derive(Clone, Debug, Default)]
pub struct History {
    commits: Vec<Commit>,
    /// How many stages there are.
    stages: usize,
    versions: BTreeMap<Vec<u8>, Vec<Version>>,
    /// The first this many stages survive a kill.
    written: usize,
    /// The first this many stages survive a power cut.
    synced: usize,
    /// The first this many stages survive the loss of the machine.
    shipped: usize,
    /// The first this many stages were shown by a reader beside the writer.
    shown: usize,
}

/// What a crash has left: so many whole stages, and some commits of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    stages: usize,
    commits: Vec<usize>,
}

impl History {
    /// How many commits there are, counting those that are gone.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// True before the first commit.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// How many stages there are.
    pub fn stages(&self) -> usize {
        self.stages
    }

    /// A commit enters the order, and is yet to be answered. Returns its number.
    pub fn enter(&mut self, writes: Vec<Write>) -> usize {
        self.enter_in(self.stages, writes)
    }

    /// Commits of one write each, of different keys, enter in an order that is not known. Returns the first's number.
    pub fn enter_together(&mut self, writes: Vec<Write>) -> usize {
        let (first, stage) = (self.len(), self.stages);
        for write in writes {
            self.enter_in(stage, vec![write]);
        }
        first
    }

    fn enter_in(&mut self, stage: usize, writes: Vec<Write>) -> usize {
        let commit = self.commits.len();
        self.commits.push(Commit { stage, fate: Fate::Open });
        self.stages = stage + 1;
        for (key, value) in writes {
            self.versions.entry(key).or_default().push(Version { commit, stage, value });
        }
        commit
    }

    /// The commit was answered with `Ok` at `durability`. All before it are at least as durable.
    pub fn acknowledge(&mut self, commit: usize, durability: Durability) {
        let Commit { stage, fate } = &mut self.commits[commit];
        *fate = Fate::Acknowledged(durability);
        if durability >= Durability::Written {
            self.written = self.written.max(*stage);
        }
        if durability >= Durability::Synced {
            self.synced = self.synced.max(*stage);
        }
    }

    /// The commit was answered with an error that says that it did not happen.
    pub fn refuse(&mut self, commit: usize) {
        self.forget(|version| version.commit == commit);
        self.commits[commit].fate = Fate::Gone;
    }

    fn forget(&mut self, is_gone: impl Fn(&Version) -> bool) {
        self.versions.values_mut().for_each(|versions| versions.retain(|version| !is_gone(version)));
        self.versions.retain(|_, versions| !versions.is_empty());
    }

    /// The commits so far survive a kill (the log was written).
    pub fn all_written(&mut self) {
        self.written = self.stages;
    }

    /// The commits so far survive a power cut (the log was flushed).
    pub fn all_synced(&mut self) {
        self.written = self.stages;
        self.synced = self.stages;
    }

    /// The commits so far survive the loss of the machine (the log was sealed, which ships it).
    pub fn all_sealed(&mut self) {
        self.all_synced();
        self.shipped = self.stages;
    }

    /// What readers of the running database must see: the acknowledged commits.
    pub fn visible(&self, time: u64) -> State {
        self.state_of(time, |version| matches!(self.commits[version.commit].fate, Fate::Acknowledged(_)))
    }

    /// All keys that were ever written.
    pub fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.versions.keys()
    }

    /// What readers must see at `key`.
    pub fn value(&self, key: &[u8], time: u64) -> Option<Bytes> {
        let acknowledged = |version: &&Version| matches!(self.commits[version.commit].fate, Fate::Acknowledged(_));
        live(self.versions.get(key)?.iter().rfind(acknowledged)?.value.as_ref(), time).cloned()
    }

    /// Whether the commit survived the last crash, or was acknowledged since; not known if `None`.
    pub fn has_happened(&self, commit: usize) -> Option<bool> {
        match self.commits[commit].fate {
            Fate::Open => None,
            Fate::Acknowledged(_) => Some(true),
            Fate::Gone => Some(false),
        }
    }

    /// When the newest acknowledged value of `key` expires, or did; `None` if never, or where there is none.
    pub fn expiry(&self, key: &[u8]) -> Option<u64> {
        let acknowledged = |version: &&Version| matches!(self.commits[version.commit].fate, Fate::Acknowledged(_));
        self.versions.get(key)?.iter().rfind(acknowledged)?.value.as_ref()?.expires_at
    }

    /// The state after the first `stages`.
    pub fn prefix(&self, stages: usize, time: u64) -> State {
        self.state_of(time, |version| version.stage < stages)
    }

    fn state_of(&self, time: u64, counts: impl Fn(&Version) -> bool) -> State {
        let newest = |versions: &[Version]| versions.iter().rfind(|version| counts(version)).cloned();
        self.versions
            .iter()
            .filter_map(|(key, versions)| Some((key.clone(), live(newest(versions)?.value.as_ref(), time)?.clone())))
            .collect()
    }

    /// How many stages must survive as a whole; of a loss of all but what readers were shown, if `None`.
    pub fn spared(&self, loss: Option<Loss>) -> usize {
        match loss {
            Some(Loss::Kill) => self.written.max(self.shown),
            Some(Loss::PowerCut) => self.synced.max(self.shown),
            Some(Loss::Machine) => self.shipped,
            None => self.shown,
        }
    }

    fn is_spared(&self, commit: usize, loss: Option<Loss>) -> bool {
        let Commit { stage, fate } = self.commits[commit];
        let is_level_spared = |durability| match loss {
            Some(Loss::Kill) => durability >= Durability::Written,
            Some(Loss::PowerCut) => durability >= Durability::Synced,
            Some(Loss::Machine) | None => false,
        };
        stage < self.spared(loss) || matches!(fate, Fate::Acknowledged(durability) if is_level_spared(durability))
    }

    /// Judges what a reader beside the writer shows: a prefix that holds all it has shown before, and, if `is_fresh`, all
    /// that is durable. It must survive everything from now on.
    ///
    /// # Errors
    /// A description of what is wrong.
    pub fn show(&mut self, found: &State, expiries: &Expiries, time: u64, is_fresh: bool) -> Result<(), String> {
        let found = Found { state: found, expiries, time };
        let survivors = self.judge_found(&found, is_fresh.then_some(Loss::PowerCut))?;
        // Where several numbers of stages explain it, only the least is sure.
        let mut least = survivors.stages;
        while least > self.shown
            && self.survivors(least - 1, &found, None).is_some_and(|earlier| earlier.commits.is_empty())
        {
            least -= 1;
        }
        self.shown = self.shown.max(least);
        Ok(())
    }

    /// Judges what was found after a crash (where several numbers of stages explain it, by the largest).
    ///
    /// # Errors
    /// A description of what is wrong.
    pub fn judge(&self, found: &State, time: u64, loss: Loss) -> Result<Survivors, String> {
        self.judge_expiring(found, &Expiries::new(), time, loss)
    }

    /// As [`judge`](History::judge), where it was found too when keys expire: two versions of a key may differ in nothing
    /// else.
    ///
    /// # Errors
    /// A description of what is wrong.
    pub fn judge_expiring(
        &self,
        found: &State,
        expiries: &Expiries,
        time: u64,
        loss: Loss,
    ) -> Result<Survivors, String> {
        self.judge_found(&Found { state: found, expiries, time }, Some(loss))
    }

    fn judge_found(&self, found: &Found<'_>, loss: Option<Loss>) -> Result<Survivors, String> {
        let time = found.time;
        if let Some(key) = found.state.keys().find(|key| !self.versions.contains_key(*key)) {
            return Err(format!("key {} was never written, or never there, and is there", shown(key)));
        }
        let spared = self.spared(loss);
        let fitting = self.fitting(found, loss);
        let survivors = |stages: usize| self.survivors(stages, found, loss);
        match (0..=self.stages).rev().filter(|&stages| fitting[stages]).find_map(survivors) {
            Some(survivors) if survivors.stages >= spared => Ok(survivors),
            Some(Survivors { stages, .. }) => Err(format!(
                "lost commits: the state is that after {stages} stages, but the first {spared} had to survive ({loss:?})\n{}",
                self.difference(found.state, time, spared)
            )),
            None => Err(format!(
                "the state is that after no prefix of the {} stages, of which the first {spared} had to survive ({loss:?})\n{}",
                self.stages,
                self.difference(found.state, time, self.nearest(found.state, time, spared))
            )),
        }
    }

    /// For each number of stages, whether each key for itself may show what was found. (In one pass over all versions:
    /// a test may have tens of thousands.)
    fn fitting(&self, found: &Found<'_>, loss: Option<Loss>) -> Vec<bool> {
        // How many more keys fit from here on than before.
        let mut change = vec![0_i64; self.stages + 2];
        for (key, versions) in &self.versions {
            let shows = |version: &Version| found.shows(key, version);
            let last_spared = versions.iter().rposition(|version| self.is_spared(version.commit, loss));
            let mut from = 0;
            for known in 0..=versions.len() {
                let next = versions.get(known);
                let to = next.map_or(self.stages, |version| version.stage);
                let is_old = match known.checked_sub(1) {
                    Some(newest) => shows(&versions[newest]),
                    None => !found.state.contains_key(key),
                };
                if from <= to && is_old && last_spared.is_none_or(|last| last < known) {
                    change[from] += 1;
                    change[to + 1] -= 1;
                } else if from <= to && next.is_some_and(|next| shows(next) && self.is_one_of_several(next.stage)) {
                    change[to] += 1;
                    change[to + 1] -= 1;
                }
                from = from.max(to + 1);
            }
        }
        let mut fit = 0;
        let fits = |change: i64| {
            fit += change;
            fit == self.versions.len() as i64
        };
        change.into_iter().take(self.stages + 1).map(fits).collect()
    }

    /// Explains `found` by the first `stages` and some commits of the next, if that is possible.
    fn survivors(&self, stages: usize, found: &Found<'_>, loss: Option<Loss>) -> Option<Survivors> {
        let mut commits = Vec::new();
        for (key, versions) in &self.versions {
            let known = versions.partition_point(|version| version.stage < stages);
            let shows = |version: &Version| found.shows(key, version);
            let next = versions.get(known).filter(|version| version.stage == stages && self.is_one_of_several(stages));
            let is_old = match known.checked_sub(1) {
                Some(newest) => shows(&versions[newest]),
                None => !found.state.contains_key(key),
            };
            let must_be_new = versions[known..].iter().any(|version| self.is_spared(version.commit, loss));
            match next {
                Some(version) if shows(version) => commits.push(version.commit),
                _ if is_old && !must_be_new => {}
                _ => return None,
            }
            // Nothing behind the next stage may have been spared.
            if versions[known..].iter().any(|version| version.stage > stages && self.is_spared(version.commit, loss)) {
                return None;
            }
        }
        Some(Survivors { stages, commits })
    }

    fn is_one_of_several(&self, stage: usize) -> bool {
        let first = self.commits.partition_point(|commit| commit.stage < stage);
        self.commits.get(first + 1).is_some_and(|commit| commit.stage == stage)
    }

    /// Forgets all but what survived, which is durable now. (What a recovery has shown stays.)
    pub fn keep(&mut self, survivors: &Survivors) {
        let survives = |stage: usize, commit: usize| stage < survivors.stages || survivors.commits.contains(&commit);
        self.forget(|version| !survives(version.stage, version.commit));
        for (number, commit) in self.commits.iter_mut().enumerate() {
            commit.fate = match commit.fate {
                Fate::Gone => Fate::Gone,
                _ if survives(commit.stage, number) => Fate::Acknowledged(Durability::Synced),
                _ => Fate::Gone,
            };
        }
        self.all_synced();
        self.shown = self.shown.min(survivors.stages);
        self.shipped = self.shipped.min(survivors.stages);
    }

    /// The prefix, not below `spared`, that differs from `found` in the fewest keys.
    fn nearest(&self, found: &State, time: u64, spared: usize) -> usize {
        let differences = |stages: usize| differing(&self.prefix(stages, time), found).count();
        (spared..=self.stages).min_by_key(|&stages| differences(stages)).unwrap_or(spared)
    }

    fn difference(&self, found: &State, time: u64, stages: usize) -> String {
        let mut text = format!("compared with the state after {stages} stages:");
        let expected = self.prefix(stages, time);
        for key in differing(&expected, found).take(10) {
            let side = |state: &State| state.get(key).map_or("(nothing)".to_owned(), |value| shown(value));
            let stages: Vec<_> = self.versions.get(key).into_iter().flatten().map(|version| version.stage).collect();
            let (key, expected, found) = (shown(key), side(&expected), side(found));
            let _ = write!(text, "\n  {key}: expected {expected}, found {found}; written in stages {stages:?}");
        }
        text
    }
}

/// What was found after a crash.
struct Found<'a> {
    state: &'a State,
    expiries: &'a Expiries,
    time: u64,
}

impl Found<'_> {
    /// Whether that is what `version` of `key` shows.
    fn shows(&self, key: &[u8], version: &Version) -> bool {
        let value = version.value.as_ref();
        let shown = live(value, self.time);
        let expiry_fits = match self.expiries.get(key) {
            Some(expiry) if shown.is_some() => value.is_some_and(|value| value.expires_at == *expiry),
            _ => true,
        };
        shown == self.state.get(key) && expiry_fits
    }
}

fn live(value: Option<&Value>, time: u64) -> Option<&Bytes> {
    value.filter(|value| value.expires_at.is_none_or(|at| time < at)).map(|value| &value.bytes)
}

/// The keys whose values differ.
fn differing<'a>(a: &'a State, b: &'a State) -> impl Iterator<Item = &'a Vec<u8>> {
    let only_in_b = b.keys().filter(|key| !a.contains_key(*key));
    a.iter().filter(|(key, value)| b.get(*key) != Some(value)).map(|(key, _)| key).chain(only_in_b)
}

/// Compares what a database shows with what it must show.
///
/// # Errors
/// A description of the first differences.
pub fn compare(expected: &State, found: &State) -> Result<(), String> {
    let mut text = String::new();
    for key in differing(expected, found).take(10) {
        let side = |state: &State| state.get(key).map_or("(nothing)".to_owned(), |value| shown(value));
        let _ = write!(text, "\n  {}: expected {}, found {}", shown(key), side(expected), side(found));
    }
    if text.is_empty() { Ok(()) } else { Err(format!("wrong state:{text}")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(key: &str, value: &str) -> Write {
        (key.into(), Some(Value { bytes: Bytes::copy_from_slice(value.as_bytes()), expires_at: None }))
    }

    fn state(pairs: &[(&str, &str)]) -> State {
        pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), Bytes::copy_from_slice(v.as_bytes()))).collect()
    }

    /// a=1, then (b=1, a=2) in one batch, then c=1, then delete a; the first two synced, the third written.
    fn history() -> History {
        let mut history = History::default();
        let levels = [Durability::Synced, Durability::Synced, Durability::Written, Durability::Deferred];
        let commits =
            [vec![put("a", "1")], vec![put("b", "1"), put("a", "2")], vec![put("c", "1")], vec![("a".into(), None)]];
        for (writes, level) in commits.into_iter().zip(levels) {
            let commit = history.enter(writes);
            history.acknowledge(commit, level);
        }
        history
    }

    fn whole(stages: usize) -> Result<Survivors, String> {
        Ok(Survivors { stages, commits: Vec::new() })
    }

    #[test]
    fn prefixes_that_hold_what_was_spared_are_right() {
        let history = history();
        let two = state(&[("a", "2"), ("b", "1")]);
        let three = state(&[("a", "2"), ("b", "1"), ("c", "1")]);
        let four = state(&[("b", "1"), ("c", "1")]);
        assert_eq!(history.judge(&two, 0, Loss::PowerCut), whole(2));
        assert_eq!(history.judge(&three, 0, Loss::PowerCut), whole(3));
        assert_eq!(history.judge(&three, 0, Loss::Kill), whole(3));
        assert_eq!(history.judge(&four, 0, Loss::Kill), whole(4));
        assert_eq!(history.visible(0), four);
    }

    /// The canaries: what the oracle exists to find.
    #[test]
    fn losses_holes_halves_and_ghosts_are_wrong() {
        let history = history();
        for (wrong, why) in [
            (state(&[("a", "1")]), "lost a synced commit"),
            (state(&[]), "lost everything"),
            (state(&[("a", "1"), ("b", "1")]), "half a batch"),
            (state(&[("a", "2"), ("b", "1"), ("d", "1")]), "a key never written"),
            (state(&[("b", "1")]), "a hole: the delete without the put before it"),
            (state(&[("a", "3"), ("b", "1")]), "a value never written"),
        ] {
            assert!(history.judge(&wrong, 0, Loss::PowerCut).is_err(), "{why}");
        }
        let two = state(&[("a", "2"), ("b", "1")]);
        assert!(history.judge(&two, 0, Loss::Kill).is_err(), "lost a written commit");
    }

    #[test]
    fn of_commits_together_any_may_survive_but_for_those_that_must() {
        let mut history = history();
        let first = history.enter_together(vec![put("x", "1"), put("y", "1"), put("z", "1")]);
        history.acknowledge(first + 1, Durability::Synced);
        let with = |more: &[(&str, &str)]| {
            let mut state = state(&[("b", "1"), ("c", "1")]);
            state.extend(super::tests::state(more));
            state
        };
        for right in [&[("y", "1")][..], &[("x", "1"), ("y", "1")], &[("y", "1"), ("z", "1")]] {
            assert!(history.judge(&with(right), 0, Loss::PowerCut).is_ok(), "{right:?}");
        }
        for wrong in [&[][..], &[("x", "1")], &[("x", "1"), ("z", "1")]] {
            assert!(history.judge(&with(wrong), 0, Loss::PowerCut).is_err(), "{wrong:?}");
        }
        // What comes after all of them comes after each.
        history.enter(vec![put("w", "1")]);
        assert!(history.judge(&with(&[("y", "1"), ("w", "1")]), 0, Loss::PowerCut).is_err());
        let some = with(&[("y", "1"), ("z", "1")]);
        let survivors = history.judge(&some, 0, Loss::Kill).unwrap();
        history.keep(&survivors);
        assert_eq!(history.visible(0), some);
    }

    #[test]
    fn refused_and_expired_writes_are_not_there() {
        let mut history = history();
        let refused = history.enter(vec![put("b", "9")]);
        history.refuse(refused);
        let value = Value { bytes: Bytes::from_static(b"t"), expires_at: Some(100) };
        let commit = history.enter(vec![("b".into(), Some(value))]);
        history.acknowledge(commit, Durability::Synced);
        assert_eq!(history.visible(99), state(&[("b", "t"), ("c", "1")]));
        assert_eq!(history.visible(100), state(&[("c", "1")]), "an older value must not come back");
        assert!(history.judge(&state(&[("b", "1"), ("c", "1")]), 100, Loss::PowerCut).is_err());
        history.keep(&Survivors { stages: 2, commits: Vec::new() });
        assert_eq!(history.visible(0), state(&[("a", "2"), ("b", "1")]));
    }
}
