//! Space comes back by itself: whatever is overwritten, deleted or has expired for long enough, what lies on the disk
//! stays within a bound of what is alive, without anyone calling `compact`.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::TryStreamExt;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, Options, WriteBatch, WriteOptions};
use halite_tests::history::Loss;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, assert_sound, process};
use std::time::Duration;

const SEGMENT: u64 = 16 << 10;

fn options() -> Options {
    Options { durability: Durability::Deferred, segment_bytes_max: SEGMENT, ..Options::default() }
}

fn world() -> World {
    World::new(Store::memory(true), options(), 7)
}

/// One where all is resident, and one where nothing is: there only filters know what is dead.
fn worlds() -> [World; 2] {
    [None, Some(0)].map(|memory_budget| World::new(Store::memory(true), Options { memory_budget, ..options() }, 7))
}

fn key(number: u64) -> String {
    format!("key {number:012}")
}

/// Keys that nothing ever touches again: the oldest run, so that nothing else is.
async fn put_base(db: &Db) {
    let batch = (0..300).fold(WriteBatch::new(), |batch, number| batch.put(format!("base {number}"), [7; 100]));
    db.write(batch).await.unwrap();
}

/// Lets the background finish: time is virtual and moves when all tasks wait.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

/// Bytes of keys and values that are alive, and of the sealed segments.
async fn sizes(db: &Db) -> (u64, u64) {
    let entries = db.scan(..).map_ok(|entry| (entry.key.len() + entry.value.len()) as u64);
    let live = entries.try_fold(0, |sum, len| async move { Ok(sum + len) }).await.unwrap();
    (live, db.stats().segment_bytes)
}

/// One and a half times what is alive, as `space_amplification` says by default. What is dead is an estimate, and runs
/// that are small wait for seven others: some segments more, and what small stores are allowed.
async fn assert_bounded(db: &Db) {
    settle().await;
    let (live, on_disk) = sizes(db).await;
    assert!(
        on_disk <= live + live / 2 + (64 << 10) + 2 * SEGMENT,
        "{on_disk} bytes on disk, {live} alive: {:?}",
        db.stats()
    );
    assert_sound(db).await;
}

fn with_ttl(ttl: Duration) -> WriteOptions {
    WriteOptions { durability: Durability::Deferred, ttl: Some(ttl) }
}

#[test]
fn of_overwrites() {
    process(async {
        for mut world in worlds() {
            let db = world.open().await.unwrap();
            put_base(&db).await;
            let mut random = Random::new(1);
            for _ in 0..20_000 {
                db.put(key(random.below(500)), [1; 100]).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_bounded(&db).await;
        }
    });
}

#[test]
fn of_a_queue() {
    process(async {
        for (len, mut world) in [0, 100].into_iter().flat_map(|len| worlds().map(|world| (len, world))) {
            let db = world.open().await.unwrap();
            put_base(&db).await;
            for number in 0..20_000 {
                db.put(key(number), vec![1; len]).await.unwrap();
                db.delete(key(number.saturating_sub(300))).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_bounded(&db).await;
        }
    });
}

#[test]
fn of_deletes_of_what_was_never_there() {
    process(async {
        for mut world in worlds() {
            let db = world.open().await.unwrap();
            put_base(&db).await;
            for number in 0..20_000 {
                db.delete(key(number)).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_bounded(&db).await;
        }
    });
}

#[test]
fn of_what_expires_while_more_comes() {
    process(async {
        let mut world = world();
        let db = world.open().await.unwrap();
        put_base(&db).await;
        for number in 0..20_000 {
            db.put_with(key(number), [1; 100], with_ttl(Duration::from_secs(30))).await.unwrap();
            world.clock.advance(100);
            tokio::task::yield_now().await;
        }
        assert_bounded(&db).await;
    });
}

#[test]
fn of_what_expires_when_nothing_is_written_any_more() {
    process(async {
        let mut world = world();
        let db = world.open().await.unwrap();
        put_base(&db).await;
        for number in 0..3_000 {
            db.put_with(key(number), [1; 100], with_ttl(Duration::from_secs(3600))).await.unwrap();
            tokio::task::yield_now().await;
        }
        settle().await;
        world.clock.advance(3_600_000);
        tokio::time::sleep(Duration::from_secs(3700)).await;
        assert_bounded(&db).await;
    });
}

#[test]
fn of_overwrites_by_processes_that_are_always_killed() {
    for mut world in worlds() {
        for round in 0..60 {
            process(async {
                let db = world.open().await.unwrap();
                if round == 0 {
                    put_base(&db).await;
                }
                for number in 0..60 {
                    db.put(key(number), [round; 100]).await.unwrap();
                }
                db.flush().await.unwrap();
                settle().await;
                world.db = Some(db);
            });
            world.end(Loss::Kill, 0);
        }
        process(async {
            let db = world.open().await.unwrap();
            assert_bounded(&db).await;
        });
    }
}

/// What is overwritten while its segment is being merged dies in the outputs, which nobody has seen yet.
#[test]
fn what_dies_during_a_merge_is_counted() {
    process(async {
        for budget in [None, Some(0)] {
            let options = Options { merge_in_background: false, memory_budget: budget, ..options() };
            what_dies_during_a_merge(World::new(Store::memory(true), options, 7)).await;
        }
    });
}

async fn what_dies_during_a_merge(mut world: World) {
    let db = world.open().await.unwrap();
    let put_all = async |value: u8| {
        for first in (0..20_000).step_by(4000) {
            let batch = (first..first + 4000).fold(WriteBatch::new(), |batch, at| batch.put(key(at), [value; 30]));
            db.write(batch).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    put_all(1).await;
    settle().await;
    let merging = db.clone();
    let merge = tokio::spawn(async move { merging.compact().await });
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    put_all(2).await;
    assert!(!merge.is_finished(), "all of it was written during the merge");
    assert_eq!(merge.await.unwrap().unwrap().records_out, 20_000);
    put_all(3).await;
    settle().await;
    let before = db.stats();
    db.compact().await.unwrap();
    let dead = before.record_bytes - db.stats().record_bytes;
    assert!(before.dead_bytes.abs_diff(dead) <= dead / 10, "{dead} bytes were dead: {before:?}");
}

/// A merge that meets damage must not be tried again and again while all others wait.
#[test]
fn of_the_rest_where_a_segment_is_damaged() {
    let mut world = World::new(Store::simulated(SimulatedOptions::default()), options(), 7);
    process(async {
        let db = world.open().await.unwrap();
        for number in 0..2000 {
            db.put(key(number % 500), [1; 100]).await.unwrap();
        }
        db.close().await.unwrap();
    });
    let (segment, _) =
        world.store.simulator().files().into_iter().find(|(file, _)| file.folder() == "segments").unwrap();
    assert!(world.store.simulator().flip_bit(&segment, 1000, 0));
    process(async {
        let db = world.open().await.unwrap();
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            db.put(key(random.below(500)), [2; 100]).await.unwrap();
            tokio::task::yield_now().await;
        }
        settle().await;
        let (live, stats) = (500 * 116, db.stats());
        assert!(stats.segment_bytes <= 3 * live + 7 * SEGMENT, "{live} bytes alive: {stats:?}");
        assert_eq!(db.verify().await.unwrap().damage.len(), 1, "the damaged segment is left as it is");
        assert_eq!(db.get(key(0)).await.unwrap().unwrap(), &[2; 100][..]);
    });
}

/// Sealed files, as the storage holds them, beside keys and values: 24 and 150 bytes.
#[test]
fn after_every_key_was_overwritten_four_times_compact_leaves_little_more_than_what_is_alive() {
    process(async {
        for append in [true, false] {
            let store = Store::memory(append);
            let options = Options { durability: Durability::Deferred, ..Options::default() };
            let mut world = World::new(store.clone(), options, 7);
            let db = world.open().await.unwrap();
            let mut random = Random::new(1);
            let mut bytes = |len: usize| (0..len).map(|_| random.number() as u8).collect::<Vec<_>>();
            let keys: Vec<_> = (0..5000).map(|_| bytes(24)).collect();
            for _ in 0..5 {
                let batch = keys.iter().fold(WriteBatch::new(), |batch, key| batch.put(key, bytes(150)));
                db.write(batch).await.unwrap();
            }
            db.compact().await.unwrap();
            db.close().await.unwrap();
            let (live, on_disk) = (5000 * (24 + 150), bytes_of_segments(&store).await);
            assert!(on_disk * 100 <= live * 115, "{on_disk} bytes on disk, {live} alive");
        }
    });
}

async fn bytes_of_segments(store: &Store) -> u64 {
    store.backend().list("segments").try_fold(0, |sum, file| async move { Ok(sum + file.len) }).await.unwrap()
}

/// What was written for each byte of keys and values that was put, while keys were overwritten at random: the log, what
/// seals add, and merges of what is half dead. Space is not limited otherwise here, which costs writes.
async fn write_amplification(store: Store) -> f64 {
    const KEYS: u64 = 6000;
    let options = Options { space_amplification: 100.0, segment_bytes_max: 64 << 10, ..options() };
    let mut world = World::new(store, options, 7);
    let db = world.open().await.unwrap();
    let mut random = Random::new(1);
    let value = |random: &mut Random| -> Vec<u8> { (0..150).map(|_| random.below(256) as u8).collect() };
    let mut begin = None;
    for number in 0..6 * KEYS {
        if number == 2 * KEYS {
            begin = Some(db.stats());
        }
        let key = if number < KEYS { number } else { random.below(KEYS) };
        db.put(format!("key {key:020}"), value(&mut random)).await.unwrap();
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    settle().await;
    let (begin, end) = (begin.unwrap(), db.stats());
    let written = |stats: &halite::Stats| {
        stats.log_bytes_written + stats.seal_bytes_written + stats.merge_bytes_written - stats.unwritten_bytes
    };
    let amplification = (written(&end) - written(&begin)) as f64 / (end.committed_bytes - begin.committed_bytes) as f64;
    println!(
        "{amplification:.2} with {} merges, space {:.2}",
        end.merges - begin.merges,
        end.space_amplification().unwrap()
    );
    assert!(end.merges > begin.merges + 10, "it is at work: {end:?}");
    assert_sound(&db).await;
    amplification
}

#[test]
fn what_uniform_overwrites_cost_in_writes() {
    process(async {
        let growing = write_amplification(Store::memory(true)).await;
        assert!((1.2..=2.5).contains(&growing), "{growing}");
        let fragments = write_amplification(Store::memory(false)).await;
        assert!((2.0..=3.5).contains(&fragments), "{fragments}");
    });
}
