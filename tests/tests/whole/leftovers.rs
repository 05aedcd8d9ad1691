//! What openings that fail or crash leave behind is bounded, and goes away.
#![allow(clippy::unwrap_used)]

use halite::Durability;
use halite::ErrorKind;
use halite::backends::SimulatedOptions;
use halite_tests::history::Loss;
use halite_tests::ops::{Op, put};
use halite_tests::play::{Policy, play};
use halite_tests::world::{Store, World, process, small_options};

/// A store whose log is damaged is opened again and again, as a supervisor does: that takes no more room each time.
#[test]
fn openings_that_fail_leave_nothing_more_each_time() {
    let mut world = World::new(Store::simulated(SimulatedOptions::default()), small_options(), 1);
    let before = [Op::Write(put(8, 100), Durability::Synced), Op::Write(put(9, 100), Durability::Synced), Op::Kill];
    play(&mut world, &before, Policy::Strict).unwrap();
    let more = [Op::Write(put(8, 100), Durability::Synced), Op::Write(put(9, 100), Durability::Synced)];
    play(&mut world, &more, Policy::Strict).unwrap();
    world.end(Loss::Kill, 0);
    let disk = world.store.simulator().clone();
    let (log, _) =
        disk.files().into_iter().rfind(|(path, len)| path.as_str().starts_with("segments/") && *len > 0).unwrap();
    assert!(disk.flip_bit(&log, 200, 3));
    let mut counts = Vec::new();
    for _ in 0..20 {
        process(async { assert_eq!(world.open().await.unwrap_err().kind(), ErrorKind::Corruption) });
        counts.push(disk.files().len());
    }
    assert_eq!(counts[19], counts[2], "files after each opening: {counts:?}");
}

/// A process crashes at each of its steps, and so does the opening that follows. Two openings later there is no fragment
/// but the fences.
#[test]
fn no_fragment_outlives_the_openings_that_follow_two_crashes() {
    let options = SimulatedOptions { seed: 1, append: false, ..SimulatedOptions::default() };
    let empty = World::new(Store::simulated(options), small_options(), 1);
    let writes = (8..16).map(|key| Op::Write(put(key, 700), Durability::Synced)).chain([Op::Wait(500)]);
    let writes: Vec<_> = writes.collect();
    for first in 0.. {
        let mut base = empty.fork(empty.store.kill());
        base.store.simulator().crash_at(first);
        play(&mut base, &writes, Policy::Crashing).unwrap();
        let completed = !base.store.simulator().is_crashed();
        base.end(Loss::Kill, 0);
        for second in 0.. {
            let mut world = base.fork(base.store.kill());
            let disk = world.store.simulator().clone();
            disk.crash_at(disk.steps() + second);
            let opened = process(async { world.open().await.is_ok() });
            world.end(Loss::Kill, 0);
            for _ in 0..2 {
                process(async { world.open().await.unwrap().close().await.unwrap() });
            }
            let files = world.store.simulator().files();
            let data: Vec<_> =
                files.iter().filter(|(path, len)| path.as_str().starts_with("log/") && *len > 160).collect();
            assert!(data.is_empty(), "crashes at steps {first} and {second}: {data:?}");
            if opened {
                break;
            }
        }
        if completed {
            break;
        }
    }
}
