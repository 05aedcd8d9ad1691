//! Short stories, each played with a crash, or with an error, at every one of its I/O steps.

use crate::examine::examine;
use crate::history::Loss;
use crate::ops::{COUNTER, ChangeOp, NO_END, Op, WriteOp, delete, delete_range, put, put_ttl};
use crate::play::{Policy, play};
use crate::random::mix;
use crate::trouble::{Call, LOOKS};
use crate::world::{Store, World, small_options};
use halite::Durability::{self, Deferred, Synced, Written};
use halite::backends::{ErrorKind, Fault, Repeat, SimulatedOptions};
use std::sync::{Arc, Mutex};

/// Images of the store that are examined at each step: what a kill leaves, and what power cuts leave, each of which loses,
/// keeps and tears other bytes.
pub const IMAGES: u64 = 24;

/// Images that are examined at each step of a recovery that crashes.
pub const IMAGES_OF_RECOVERY: u64 = 5;

/// What a process finds, and what it does.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What has happened before; its last operation says how the store was left.
    pub before: Vec<Op>,
    /// What is done, opening included, while something goes wrong.
    pub body: Vec<Op>,
}

impl Scenario {
    /// The store before the body, of growing files if `append`.
    fn prepare(&self, append: bool) -> World {
        let options = SimulatedOptions { seed: 1, append, yields: true, ..SimulatedOptions::default() };
        let mut world = World::new(Store::simulated(options), small_options(), 1);
        if !self.before.is_empty() {
            play(&mut world, &self.before, Policy::Strict).expect("what comes before is right");
        }
        world
    }

    /// How many I/O steps the body takes, on growing files if `append`.
    pub fn io_steps(&self, append: bool) -> u64 {
        self.steps(&self.prepare(append))
    }

    /// How many I/O steps the body takes.
    fn steps(&self, base: &World) -> u64 {
        let mut world = base.fork(base.store.kill());
        let first = world.store.simulator().steps();
        play(&mut world, &self.body, Policy::Strict).expect("the body is right where nothing goes wrong");
        world.store.simulator().steps() - first
    }

    /// Crashes at each I/O step, and examines [`IMAGES`] of what is left each time. Returns how many that were.
    pub fn crash_everywhere(&self, append: bool) -> u64 {
        self.crash_at_every(1, append, IMAGES)
    }

    /// Crashes at every so-manieth I/O step, and examines so many images of what is left each time. Returns how many that were.
    pub fn crash_at_every(&self, stride: usize, append: bool, images: u64) -> u64 {
        let base = self.prepare(append);
        let states = (0..self.steps(&base)).step_by(stride).map(|step| {
            let world = crashed(&base, &self.body, step);
            check_images(&world, images, &format!("append={append} crash at step {step}"))
        });
        states.sum()
    }

    /// Crashes at every so-manieth step, and then at each step of the recovery from that. Returns how many images were
    /// examined.
    pub fn crash_in_recovery_everywhere(&self, append: bool, stride: usize) -> u64 {
        let mut states = 0;
        let base = self.prepare(append);
        let recovery = [Op::Write(put(30, 20), Synced), Op::Close];
        for step in (0..self.steps(&base)).step_by(stride) {
            let first = crashed(&base, &self.body, step);
            // One of the images in turn.
            let loss = if step % 3 < 2 { Loss::PowerCut } else { Loss::Kill };
            let mut again = first.fork(first.store.after(loss, mix(step, 11)));
            again.ended = Some(first.ended.map_or(loss, |earlier| crate::world::worse(earlier, loss)));
            let steps = Scenario { before: Vec::new(), body: recovery.to_vec() }.steps(&again);
            for second in 0..steps {
                let world = crashed(&again, &recovery, second);
                let story = format!("append={append} crash at step {step}, {loss:?}, crash at step {second}");
                states += check_images(&world, IMAGES_OF_RECOVERY, &story);
            }
        }
        states
    }

    /// Fails each I/O step with each kind of error, once and for ever.
    pub fn fail_everywhere(&self, append: bool) {
        let base = self.prepare(append);
        // A refusal for want of space never takes effect; other failures may hide that they did.
        let kinds =
            [(ErrorKind::Io, false), (ErrorKind::Io, true), (ErrorKind::NoSpace, false), (ErrorKind::Unknown, true)];
        for step in 0..self.steps(&base) {
            for (kind, applied) in kinds {
                for repeat in [Repeat::Once, Repeat::Forever] {
                    let mut world = base.fork(base.store.kill());
                    let at_step = world.store.simulator().steps() + step;
                    world.store.simulator().fail_when(Fault { at_step, kind, repeat, applied }, move |step| {
                        let now = repeat == Repeat::Forever || step.number == at_step;
                        // Looking takes no space.
                        let can = kind != ErrorKind::NoSpace || !LOOKS.contains(&step.effect);
                        now && can
                    });
                    let story = format!("append={append} step={step} kind={kind:?} applied={applied} {repeat:?}");
                    let policy = Policy::Faulty { from: at_step, forever: repeat == Repeat::Forever };
                    if let Err(wrong) = play(&mut world, &self.body, policy) {
                        panic!("{story}: {wrong}");
                    }
                    check_images(&world, 3, &story);
                }
            }
        }
    }
}

impl Scenario {
    /// Lets each request that creates something end in each way that leaves who asked in doubt: the answer lost, with the
    /// request done, not done, or, on fragments, done later; and the request sent twice by whatever lies in between, so that
    /// the answer says that the name is taken, or an answer that says so and is wrong. Returns how many that were.
    pub fn doubt_everywhere(&self, append: bool) -> u64 {
        const LOST: [(ErrorKind, bool, bool); 3] =
            [(ErrorKind::Unknown, true, false), (ErrorKind::Unknown, false, false), (ErrorKind::Unknown, false, true)];
        const TWICE: (ErrorKind, bool, bool) = (ErrorKind::AlreadyExists, true, false);
        const WRONGLY: (ErrorKind, bool, bool) = (ErrorKind::AlreadyExists, false, false);
        let base = self.prepare(append);
        let mut outcomes = 0;
        for (step, op) in self.creates(&base) {
            let lost = LOST.into_iter().filter(|(_, _, late)| !(*late && append));
            // Growing files and uploads are nobody else's to create.
            let taken = [Some(TWICE), (!append).then_some(WRONGLY)].into_iter().flatten();
            for (kind, applied, late) in lost.chain(taken.filter(|_| op == "create")) {
                let mut world = base.fork(base.store.kill());
                let disk = world.store.simulator();
                let at_step = disk.steps() + step;
                let fault = Fault { at_step, kind, repeat: Repeat::Once, applied };
                match late {
                    true => disk.delay_when(fault, move |step| step.number == at_step),
                    false => disk.fail(fault),
                }
                let story = format!("append={append} {op} at step={step} {kind:?} applied={applied} late={late}");
                if let Err(wrong) = play(&mut world, &self.body, Policy::Faulty { from: at_step, forever: false }) {
                    panic!("{story}: {wrong}");
                }
                check_images(&world, 3, &story);
                outcomes += 1;
            }
        }
        outcomes
    }

    /// The steps of the body that create something, and the calls that they belong to.
    fn creates(&self, base: &World) -> Vec<(u64, &'static str)> {
        let mut world = base.fork(base.store.kill());
        let disk = world.store.simulator();
        let (first, creates) = (disk.steps(), Arc::new(Mutex::new(Vec::new())));
        let noted = creates.clone();
        let fault = Fault { at_step: first, kind: ErrorKind::Io, repeat: Repeat::Forever, applied: false };
        disk.fail_when(fault, move |step| {
            if Call::Create.matches(step) {
                noted.lock().expect("nobody panics under it").push((step.number - first, step.op));
            }
            false
        });
        play(&mut world, &self.body, Policy::Strict).expect("the body is right where nothing goes wrong");
        std::mem::take(&mut creates.lock().expect("nobody panics under it"))
    }
}

/// Plays `body` in a copy of `base` that crashes at its I/O step `step`.
fn crashed(base: &World, body: &[Op], step: u64) -> World {
    let mut world = base.fork(base.store.kill());
    let simulator = world.store.simulator();
    simulator.crash_at(simulator.steps() + step);
    if let Err(wrong) = play(&mut world, body, Policy::Crashing) {
        panic!("crash at step {step}: {wrong}");
    }
    world
}

/// Examines so many images of `world`'s store: what a kill leaves of it now, and what power cuts leave. Returns how many.
fn check_images(world: &World, images: u64, story: &str) -> u64 {
    if let Err(wrong) = examine(world, world.store.kill(), Loss::Kill) {
        panic!("{story}: {wrong}");
    }
    for seed in 0..images - 1 {
        // The simulator's seeds 0 and 1 are the extremes: nothing unsynced survives, or all of it.
        let image = world.store.power_cut(if seed < 2 { seed } else { mix(seed, 7) });
        if let Err(wrong) = examine(world, image, Loss::PowerCut) {
            panic!("{story}, power cut {seed}: {wrong}");
        }
    }
    images
}

fn write(op: WriteOp, level: Durability) -> Op {
    Op::Write(op, level)
}

/// Several small puts, so many bytes each.
fn puts(keys: std::ops::Range<u16>, len: u32, level: Durability) -> impl Iterator<Item = Op> {
    keys.map(move |key| write(put(key, len), level))
}

/// A few sealed segments with much that is dead.
fn garbage() -> Vec<Op> {
    let rounds = (0..4).flat_map(|round| puts(8..24, 150 + 10 * round, Deferred));
    rounds.chain([write(delete(9), Synced), Op::Close]).collect()
}

/// A store is created, and written to.
pub fn first_open() -> Scenario {
    Scenario { before: Vec::new(), body: vec![write(put(8, 10), Synced), write(put(9, 10), Written), Op::Close] }
}

/// Single commits at all levels.
pub fn commits() -> Scenario {
    let body = vec![
        write(put(8, 10), Synced),
        write(put(9, 900), Deferred),
        write(put(10, 10), Written),
        write(delete(8), Deferred),
        Op::Flush,
        write(put(8, 20), Deferred),
        Op::Wait(500),
        write(put(0, 0), Synced),
        write(put(3, 10), Written),
        write(delete(3), Written),
    ];
    Scenario { before: vec![write(put(20, 10), Synced), Op::Close], body }
}

/// Batches, small and as large as a segment, and commits under way at once.
pub fn batches() -> Scenario {
    let big = (8..20).map(|key| put(key, 450)).collect();
    let body = vec![
        Op::Batch(vec![put(8, 10), put(9, 10), delete(20), put(8, 30)], Synced),
        Op::Together(vec![(put(10, 600), Synced), (put(11, 20), Deferred), (delete(8), Written), (put(12, 5), Synced)]),
        Op::Batch(big, Synced),
        Op::Batch((8..14).map(delete).collect(), Written),
        Op::Batch(vec![], Synced),
        Op::Batch(vec![put(8, 1), put_ttl(9, 2, 1000)], Synced),
    ];
    Scenario { before: vec![write(put(20, 10), Synced), Op::Close], body }
}

/// The log fills up, and segments are sealed.
pub fn seals() -> Scenario {
    let body = puts(8..32, 500, Deferred).chain([write(put(8, 30), Synced)]).chain(puts(8..20, 400, Written));
    Scenario { before: vec![write(put(20, 10), Synced), Op::Close], body: body.chain([Op::Wait(500)]).collect() }
}

/// Segments that are mostly dead are merged, with writes in between.
pub fn merges() -> Scenario {
    let body = vec![
        write(put(8, 30), Synced),
        Op::Compact,
        write(delete(10), Synced),
        write(put(9, 600), Written),
        Op::Compact,
        Op::Scan { from: 0, to: 2, limit: usize::MAX, rev: false, keys_only: false },
        Op::Scan { from: 0, to: 2, limit: usize::MAX, rev: true, keys_only: false },
    ];
    Scenario { before: garbage(), body }
}

/// Overwriting goes on and merges run by themselves.
pub fn background_merges() -> Scenario {
    let rounds = (0..3).flat_map(|round| puts(8..20, 300 + round, Deferred));
    Scenario { before: garbage(), body: rounds.chain([Op::Wait(1000), write(put(8, 1), Synced)]).collect() }
}

/// A killed process is followed by one that replays its log.
pub fn recovery_of_a_kill() -> Scenario {
    let before = garbage().into_iter().chain(puts(8..22, 400, Written)).chain([
        Op::Batch(vec![put(30, 40), delete(8)], Synced),
        write(put(31, 10), Written),
        Op::Kill,
    ]);
    Scenario { before: before.collect(), body: vec![write(put(8, 5), Synced), Op::Get(30), Op::Close] }
}

/// The power went while commits of all levels were on their way.
pub fn recovery_of_a_power_cut() -> Scenario {
    let before = puts(8..22, 400, Written).chain([
        write(put(30, 40), Synced),
        write(put(31, 900), Written),
        write(put(32, 10), Written),
        Op::PowerCut(5),
    ]);
    Scenario { before: before.collect(), body: vec![write(put(8, 5), Synced), Op::Get(30), Op::Close] }
}

/// Values expire, and merges drop them; nothing older comes back.
pub fn expiry() -> Scenario {
    let before = vec![
        write(put(8, 200), Synced),
        write(put(9, 200), Synced),
        Op::Reopen,
        write(put_ttl(8, 30, 1000), Synced),
        write(put_ttl(9, 30, 5000), Synced),
        write(put_ttl(10, 30, 1000), Synced),
        Op::Close,
    ];
    let body = vec![
        write(put_ttl(11, 20, 500), Written),
        Op::Advance(2000),
        Op::Get(8),
        write(put(12, 20), Synced),
        Op::Compact,
        Op::Advance(5000),
        Op::Reopen,
        Op::Get(9),
        Op::Compact,
        write(put_ttl(8, 5, 0), Synced),
    ];
    Scenario { before, body }
}

/// Deletes of sealed keys, and a close and an opening between them.
pub fn delete_and_reopen() -> Scenario {
    let body = vec![
        write(delete(8), Synced),
        write(delete(40), Synced),
        Op::Reopen,
        write(delete(9), Written),
        write(put(8, 10), Deferred),
        Op::Reopen,
        Op::Batch((8..16).map(delete).collect(), Synced),
        Op::Compact,
        Op::Reopen,
    ];
    Scenario { before: garbage(), body }
}

/// Ranges are deleted, sealed and merged, with writes before and behind, and nothing comes back.
pub fn range_deletes() -> Scenario {
    let body = vec![
        write(put(8, 30), Synced),
        write(delete_range(8, 14), Synced),
        write(put(9, 20), Written),
        Op::Batch(vec![put(10, 10), delete_range(10, 12), put(11, 10)], Deferred),
        Op::Transact(vec![15], vec![delete_range(14, 18), put(16, 10)], Synced),
        Op::Reopen,
        Op::Scan { from: 8, to: 20, limit: usize::MAX, rev: false, keys_only: false },
        Op::Compact,
        write(put(20, 700), Deferred),
        write(put(21, 700), Deferred),
        write(delete_range(0, NO_END), Written),
        Op::Wait(500),
        Op::Reopen,
        write(put(12, 10), Synced),
        Op::Compact,
    ];
    Scenario { before: garbage(), body }
}

/// Checkpoints are taken and let go of, while what they keep is overwritten, deleted and merged.
pub fn checkpoints() -> Scenario {
    let body = vec![
        write(put(8, 30), Deferred),
        Op::Checkpoint(0),
        write(delete(10), Synced),
        Op::Batch((8..20).map(|key| put(key, 40)).collect(), Deferred),
        Op::Compact,
        Op::Checkpoint(1),
        Op::Checkpoint(0),
        write(put(9, 600), Written),
        Op::DeleteCheckpoint(1),
        Op::ReadCheckpoints,
        Op::Compact,
        Op::DeleteCheckpoint(0),
        Op::Checkpoint(2),
        Op::DeleteCheckpoint(3),
        Op::Wait(500),
        write(put(8, 1), Synced),
    ];
    Scenario { before: garbage(), body }
}

/// A process that finds checkpoints merges what they keep, and lets go of them.
pub fn checkpoints_of_another_process() -> Scenario {
    let before = garbage().into_iter().chain([
        Op::Checkpoint(0),
        Op::Batch((8..20).map(|key| put(key, 100)).collect(), Synced),
        Op::Checkpoint(1),
        Op::Compact,
        Op::Kill,
    ]);
    let body = vec![
        write(put(8, 50), Synced),
        Op::Compact,
        Op::ReadCheckpoints,
        Op::DeleteCheckpoint(0),
        Op::Reopen,
        Op::DeleteCheckpoint(1),
        Op::Close,
    ];
    Scenario { before: before.collect(), body }
}

/// A reader follows commits of all levels, seals and merges.
pub fn followed() -> Scenario {
    let mut body = vec![Op::Follow, write(put(8, 10), Synced), Op::Follow, write(put(9, 900), Deferred), Op::Follow];
    for round in 0..3 {
        body.extend(puts(8..16, 500 + round, Deferred));
        body.extend([Op::Follow, write(put(20, 10), Written), Op::Flush, Op::Follow, Op::Wait(200), Op::Follow]);
    }
    body.extend([Op::Compact, Op::Follow, Op::Reopen, Op::Follow, write(delete(8), Synced), Op::Close, Op::Follow]);
    Scenario { before: vec![write(put(20, 10), Synced), Op::Kill], body }
}

/// Clones and backups are made between commits, seals and merges.
pub fn copied() -> Scenario {
    let mut body = vec![write(put(8, 10), Deferred), Op::Clone];
    body.extend(puts(8..20, 400, Deferred));
    body.extend([
        Op::Backup(0),
        write(put(9, 30), Written),
        Op::Compact,
        Op::Backup(1),
        Op::Restore(0),
        Op::Restore(1),
    ]);
    body.extend([write(delete(8), Synced), Op::Clone, Op::Backup(0), Op::Close]);
    Scenario { before: garbage(), body }
}

/// A close with commits of all levels under way.
pub fn close() -> Scenario {
    let body = vec![write(put(8, 10), Deferred), write(put(9, 500), Written), write(delete(10), Deferred), Op::Close];
    Scenario { before: garbage(), body }
}

/// Values larger than a segment, some so large that they are never copied.
pub fn large_values() -> Scenario {
    let body = vec![
        write(put(8, 10), Deferred),
        write(put(9, 9_000), Synced),
        write(put(10, 20_000), Deferred),
        Op::Batch(vec![put(11, 5_000), put(12, 10)], Written),
        write(put(9, 10), Synced),
        write(put(13, 70_000), Written),
        Op::Batch(vec![put(11, 66_000), put(14, 20), put(12, 80_000)], Synced),
        write(put(10, 20), Deferred),
        Op::Compact,
    ];
    Scenario { before: vec![write(put(20, 10), Synced), Op::Close], body }
}

/// Transactions and changes of one key, at all levels, with a seal among them.
pub fn transactions() -> Scenario {
    let swap = |key, right, len| ChangeOp::Swap { key, right, len };
    let increment = ChangeOp::Increment { key: COUNTER, delta: 7 };
    let body = vec![
        Op::Transact(vec![8, 20], vec![put(8, 300), put(9, 10), delete(20)], Synced),
        Op::Change(increment, Deferred),
        Op::Transact(vec![9], vec![put(10, 900), put_ttl(9, 20, 1000)], Deferred),
        Op::Change(swap(8, true, Some(40)), Written),
        Op::Change(swap(8, false, Some(50)), Synced),
        Op::Transact((8..14).collect(), (8..16).map(|key| put(key, 450)).collect(), Written),
        Op::Change(increment, Synced),
        Op::Change(ChangeOp::Expire { key: 8, ttl: Some(60_000) }, Synced),
        Op::Change(ChangeOp::Expire { key: 8, ttl: None }, Written),
        Op::Change(swap(11, true, None), Deferred),
        Op::Transact(vec![8, 11], vec![], Synced),
        Op::Transact(vec![], vec![delete(12), put(13, 5)], Synced),
    ];
    Scenario { before: vec![write(put(20, 10), Synced), Op::Close], body }
}
