//! Two writers and a collector, in all orders: never two acknowledgements that do not both survive.
//!
//! A small [model] of what writers do with the storage, step by step: each step is one call of the backend, and between two
//! steps anything else may happen, however long it takes. All states that can be reached are visited. In each of them a writer
//! that opened the store now and was not disturbed would have to find every commit that was acknowledged: so no pause, however
//! long, no answer that is lost, no request that arrives late or twice, and nothing that is deleted meanwhile takes one away.
//!
//! The canaries change one rule, and must be found.

mod model;

use model::{COMMITS, Canary, Commits, Plan, State};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// What a search came to.
#[derive(Debug, Default)]
struct Explored {
    states: usize,
    /// States in which nobody can do anything more, and those of them in which both writers had an acknowledgement.
    ends: usize,
    both: usize,
    /// The states that lead to a commit that is lost.
    violation: Option<String>,
}

fn explore(plan: Plan) -> Explored {
    let mut explored = Explored::default();
    let mut seen: HashSet<(u64, u64)> = HashSet::new();
    let first = State::first(&plan);
    seen.insert(fingerprint(&first));
    let mut open = vec![first];
    let mut next = Vec::new();
    let per_writer: Commits = (1 << COMMITS) - 1;
    while let Some(state) = open.pop() {
        explored.states += 1;
        let recovered = state.recovered();
        let missing = state.acknowledged & !recovered;
        if missing != 0 {
            explored.violation = Some(format!("commits {missing:#b} are acknowledged and lost in {state:#?}"));
            return explored;
        }
        if [recovered & per_writer, recovered >> COMMITS].iter().any(|commits| commits & (commits + 1) != 0) {
            explored.violation =
                Some(format!("commits {recovered:#b} are there without one before them in {state:#?}"));
            return explored;
        }
        state.next(&plan, &mut next);
        if next.is_empty() {
            explored.ends += 1;
            let both = state.acknowledged & per_writer != 0 && state.acknowledged & per_writer << COMMITS != 0;
            explored.both += usize::from(both);
        }
        open.extend(next.drain(..).filter(|state| seen.insert(fingerprint(state))));
    }
    explored
}

/// A hundred and twenty-eight bits of it: no two states share them.
fn fingerprint(state: &State) -> (u64, u64) {
    let hash = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

fn check(plan: Plan) {
    let Explored { states, ends, both, violation } = explore(plan);
    println!("counted: {states} states of {plan:?}: {ends} ends, {both} of them with commits of both acknowledged");
    assert!(violation.is_none(), "{plan:?}: {}", violation.unwrap_or_default());
    assert!(both > 0, "{plan:?}: both writers get on somewhere");
}

const GROWING: Plan = Plan { grows: true, commits: [2, 2], window: 1, openings: 2, lost: 0, repeated: 0, canary: None };
const FRAGMENTS: Plan = Plan { grows: false, window: 2, ..GROWING };

#[test]
fn on_growing_files() {
    check(GROWING);
}

#[test]
fn on_growing_files_with_an_answer_lost() {
    check(Plan { lost: 1, commits: [1, 1], ..GROWING });
}

#[test]
fn on_growing_files_with_a_request_that_comes_again() {
    check(Plan { repeated: 1, commits: [1, 1], ..GROWING });
}

#[test]
fn on_fragments() {
    check(FRAGMENTS);
}

#[test]
fn on_fragments_with_three_under_way() {
    check(Plan { window: 3, commits: [3, 1], openings: 1, ..FRAGMENTS });
}

#[test]
fn on_fragments_with_an_answer_lost() {
    check(Plan { lost: 1, commits: [2, 1], openings: 1, ..FRAGMENTS });
}

#[test]
fn on_fragments_with_a_request_that_comes_again() {
    check(Plan { repeated: 1, commits: [2, 1], openings: 1, ..FRAGMENTS });
}

#[test]
fn each_rule_is_needed() {
    use Canary::{AcknowledgedAhead, FencedBehindGap, GapSkipped};
    use Canary::{ClaimsNotKept, DeleteFirst, FencesNotKept, NoFence, NoList, NoLook, TakenIsOwn};
    for (store, canary) in [
        (GROWING, ClaimsNotKept),
        (GROWING, NoLook),
        (GROWING, DeleteFirst),
        (GROWING, TakenIsOwn),
        (FRAGMENTS, FencesNotKept),
        (FRAGMENTS, NoFence),
        (FRAGMENTS, NoList),
        (FRAGMENTS, DeleteFirst),
        (FRAGMENTS, TakenIsOwn),
        (FRAGMENTS, AcknowledgedAhead),
        (FRAGMENTS, FencedBehindGap),
        (FRAGMENTS, GapSkipped),
    ] {
        let plan = Plan { canary: Some(canary), ..store };
        let explored = explore(plan);
        assert!(explored.violation.is_some(), "{plan:?}: {} states, all right", explored.states);
    }
}
