//! Makes a failing run smaller: leaves out as much as still fails, what goes wrong first, and makes small what is left.

use crate::case::Case;
use crate::ops::{DroppedOp, Op, WriteOp};
use crate::setup::Setup;

/// The smallest run found that still `fails`, starting from `case`, which does. Tries about so many.
pub fn reduce(case: Case, attempts: usize, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut left = attempts;
    let mut attempt = |case: &Case| {
        left = left.saturating_sub(1);
        left > 0 && fails(case)
    };
    let mut case = case;
    // As few faults as possible: often there need be none.
    let faults: Vec<usize> = (0..case.ops.len()).filter(|&index| case.ops[index].is_trouble()).collect();
    let keeping = |kept: &[usize], case: &Case| -> Vec<Op> {
        let is_kept = |(index, op): &(usize, &Op)| !op.is_trouble() || kept.contains(index);
        case.ops.iter().enumerate().filter(is_kept).map(|(_, op)| op.clone()).collect()
    };
    let whole = case.clone();
    let kept =
        shrink(&faults, usize::MAX, |kept| attempt(&Case { ops: keeping(kept, &whole), setup: whole.setup.clone() }));
    case.ops = keeping(&kept, &whole);
    for _ in 0..3 {
        let before = case.clone();
        let setup = case.setup.clone();
        case.ops = shrink(&case.ops, usize::MAX, |ops| attempt(&Case { ops: ops.to_vec(), setup: setup.clone() }));
        // One setting after the other as it usually is.
        for (name, value) in Setup::plain(case.setup.seed).fields() {
            let mut plainer = case.clone();
            if plainer.setup.set(name, &value).is_ok() && plainer != case && attempt(&plainer) {
                case = plainer;
            }
        }
        for index in 0..case.ops.len() {
            while let Some(smaller) = smaller(&case.ops[index]).into_iter().find_map(|op| {
                let mut smaller = case.clone();
                smaller.ops[index] = op;
                attempt(&smaller).then_some(smaller)
            }) {
                case = smaller;
            }
        }
        if case == before {
            break;
        }
    }
    case
}

/// Operations that do less than this one.
fn smaller(op: &Op) -> Vec<Op> {
    let fewer = |writes: &[WriteOp]| -> Vec<Vec<WriteOp>> {
        let mut all = without_one(writes);
        for (index, write) in writes.iter().enumerate() {
            for smaller in smaller_writes(*write) {
                let mut writes = writes.to_vec();
                writes[index] = smaller;
                all.push(writes);
            }
        }
        all
    };
    let halved = |number: u64| (number > 0).then_some(number / 2).into_iter();
    match op {
        Op::Write(write, level) => smaller_writes(*write).into_iter().map(|write| Op::Write(write, *level)).collect(),
        Op::Batch(writes, level) => fewer(writes).into_iter().map(|writes| Op::Batch(writes, *level)).collect(),
        Op::Transact(reads, writes, level) => {
            let reads_left = without_one(reads).into_iter().map(|reads| Op::Transact(reads, writes.clone(), *level));
            reads_left.chain(fewer(writes).into_iter().map(|w| Op::Transact(reads.clone(), w, *level))).collect()
        }
        Op::Together(writes) => without_one(writes).into_iter().map(Op::Together).collect(),
        Op::Overtake(writes, turns) => {
            let fewer = without_one(writes).into_iter().map(|writes| Op::Overtake(writes, *turns));
            fewer.chain(halved(*turns).map(|turns| Op::Overtake(writes.clone(), turns))).collect()
        }
        Op::Transfers(count, seed, level) if *count > 1 => vec![Op::Transfers(count / 2, *seed, *level)],
        Op::Dropped(polls, DroppedOp::Batch(writes, level)) => {
            let batch = |writes| Op::Dropped(*polls, DroppedOp::Batch(writes, *level));
            fewer(writes).into_iter().map(batch).collect()
        }
        Op::Wait(millis) => halved(*millis).map(Op::Wait).collect(),
        Op::Wake(turns) => halved(*turns).filter(|turns| *turns > 0).map(Op::Wake).collect(),
        _ => Vec::new(),
    }
}

fn without_one<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let without = |index| {
        let mut fewer = items.to_vec();
        fewer.remove(index);
        fewer
    };
    (0..items.len()).map(without).collect()
}

fn smaller_writes(write: WriteOp) -> Vec<WriteOp> {
    let mut all = Vec::new();
    if write.ttl.is_some() {
        all.push(WriteOp { ttl: None, ..write });
    }
    if let Some(len) = write.len.filter(|len| *len > 0) {
        all.extend([0, len / 2].map(|len| WriteOp { len: Some(len), ..write }));
    }
    // The plainest of keys.
    if write.key != 8 && write.until.is_none() {
        all.push(WriteOp { key: 8, ..write });
    }
    all
}

/// The shortest list found that still `fails`, starting from `ops`, which does. Tries at most `attempts` times.
///
/// (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input": halves first, then ever smaller parts.)
pub fn shrink<T: Clone>(ops: &[T], attempts: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut ops = ops.to_vec();
    let mut attempts = attempts;
    let mut chunk = ops.len();
    while chunk > 0 {
        let mut start = 0;
        let mut shorter = false;
        while start < ops.len() && attempts > 0 {
            let mut fewer = ops.clone();
            fewer.drain(start..(start + chunk).min(ops.len()));
            attempts -= 1;
            if fails(&fewer) {
                ops = fewer;
                shorter = true;
            } else {
                start += chunk;
            }
        }
        chunk = match (chunk, shorter && attempts > 0) {
            (1, true) => 1,
            (1, false) => 0,
            _ => chunk / 2,
        };
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{delete, put};
    use halite::Durability::Synced;

    #[test]
    fn leaves_what_is_needed() {
        let ops: Vec<u32> = (0..100).collect();
        let shortest = shrink(&ops, 10_000, |ops| ops.contains(&17) && ops.contains(&71));
        assert_eq!(shortest, [17, 71]);
        assert!(shrink(&ops, 10_000, |_| true).is_empty());
    }

    /// A failure that needs one delete, and settings of which it needs one.
    #[test]
    fn a_run_is_reduced_to_what_it_needs() {
        let mut case = Case::of(17);
        case.setup.append = false;
        case.ops.insert(100, Op::Batch(vec![put(8, 900), delete(9), put(10, 10)], Synced));
        let deletes = |op: &Op| matches!(op, Op::Batch(writes, _) if writes.contains(&delete(9)));
        let reduced = reduce(case, 100_000, |case| !case.setup.append && case.ops.iter().any(deletes));
        let setup = Setup { append: false, ..Setup::plain(17) };
        assert_eq!(reduced, Case { setup, ops: vec![Op::Batch(vec![delete(9)], Synced)] });
    }
}
