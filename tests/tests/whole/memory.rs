//! The memory budget: any mix of resident and other segments gives the same answers, filters are as good as they promise,
//! and opening touches no sealed segment, however many there are.
#![allow(clippy::unwrap_used)]

use halite::backends::{Backend, Fault, Memory, Repeat, Simulated, SimulatedOptions};
use halite::{Db, Durability, Options, WriteBatch, WriteOptions};
use halite_tests::history::State;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, bytes, process, read_all, small_options};
use std::sync::{Arc, Mutex};

fn key(number: u64) -> String {
    format!("key{number:05}")
}

/// One after the other in key order would make every filter's work easy.
fn scattered(number: u64) -> String {
    key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 47)
}

/// Stores of all kinds: mapped and not, growing and not.
fn stores() -> [(&'static str, Store); 4] {
    let simulated =
        |append| Store::simulated(SimulatedOptions { seed: 5, append, map: false, ..SimulatedOptions::default() });
    [
        ("memory, growing", Store::memory(true)),
        ("memory, create-only", Store::memory(false)),
        ("simulated, growing", simulated(true)),
        ("simulated, create-only", simulated(false)),
    ]
}

/// A budget with room for about so many slots of 22 bytes: the two memtables of [`small_options`] are full at four times a
/// segment's records, the empty keydir takes 16 KiB, and where nothing is mapped the cache has a third of the rest.
fn room_for(slots: u64, mapped: bool) -> Option<u64> {
    let keydir = (16 << 10) + slots * 22;
    let rest = if mapped { keydir } else { keydir / 2 * 3 };
    Some((2 * 4 * Options::SEGMENT_BYTES_MIN + rest) / 11 * 16 + 48)
}

/// The same operations under each budget: the same answers, from `get`, from snapshots and from scans, while segments
/// are sealed, merged, loaded and let go.
#[test]
fn every_budget_gives_the_same_answers() {
    for (name, store) in stores() {
        let mut resident = Vec::new();
        let mapped = matches!(store, Store::Memory(_));
        for budget in [Some(0), room_for(30, mapped), room_for(90, mapped), Some(64 << 20), None] {
            let store = match &store {
                Store::Memory(memory) => Store::memory(memory.capabilities().append),
                Store::Simulated(_) | Store::Tiered(_) | Store::Real(_) => store.kill(),
            };
            let options = Options { memory_budget: budget, merge_dead_share: 0.3, ..small_options() };
            let world = World::new(store, options, 9);
            resident.push(play(world, &format!("{name}, budget {budget:?}")));
        }
        let [none, few, some, most, all] = resident[..] else { unreachable!() };
        assert!(none == 0 && few < some && some < all && most == all, "{name}: {resident:?}");
    }
}

/// Returns how many keys were resident in the end.
fn play(mut world: World, story: &str) -> u64 {
    let mut random = Random::new(77);
    let mut state = State::new();
    let mut resident = 0;
    for round in 0..4 {
        process(async {
            let db = world.open().await.unwrap();
            let mut snapshots = vec![(db.snapshot(), state.clone())];
            for step in 0..150 {
                let key = self::key(random.below(120));
                let options = WriteOptions { durability: Durability::Deferred, ttl: None };
                if random.chance(20) {
                    db.delete_with(&key, options).await.unwrap();
                    state.remove(key.as_bytes());
                } else {
                    let value = format!("{round} {step} {}", "x".repeat(random.below(150) as usize));
                    db.put_with(&key, &value, options).await.unwrap();
                    state.insert(key.into_bytes(), bytes(value.as_bytes()));
                }
                if step % 40 == 7 {
                    snapshots.push((db.snapshot(), state.clone()));
                }
                check(&db, &state, &self::key(random.below(130)), story).await;
            }
            for (snapshot, state) in &snapshots {
                for number in 0..130 {
                    let key = self::key(number);
                    assert_eq!(snapshot.get(&key).await.unwrap().as_ref(), state.get(key.as_bytes()), "{story}: {key}");
                }
            }
            drop(snapshots);
            if round == 2 {
                db.compact().await.unwrap();
            }
            db.loaded().await.unwrap();
            for number in 0..130 {
                check(&db, &state, &self::key(number), story).await;
            }
            assert_eq!(read_all(&db).await.unwrap(), state, "{story}");
            resident = db.stats().resident_entries;
            db.close().await.unwrap();
        });
    }
    resident
}

async fn check(db: &Db, state: &State, key: &str, story: &str) {
    assert_eq!(db.get(key).await.unwrap().as_ref(), state.get(key.as_bytes()), "{story}: {key}");
}

/// Fills `store` with so many segments of 20 records each, and closes it.
async fn fill(store: &Arc<dyn Backend>, segments: u64, options: &Options) {
    let db = Db::builder(store.clone()).options(options.clone()).seed(3).open().await.unwrap();
    for segment in 0..segments {
        let mut batch = WriteBatch::new();
        for number in 0..20 {
            batch = batch.put(scattered(segment * 20 + number), [b'v'; 150]);
        }
        db.write(batch).await.unwrap();
    }
    db.close().await.unwrap();
}

/// One segment to a batch.
fn many_segments() -> Options {
    let base = small_options();
    Options { merge_in_background: false, segment_fragments_max: 1, segment_bytes_max: 4096, ..base }
}

/// Story: a store is closed with 1, 10 or 100 segments. Opening it takes the same steps, and none of them touches a
/// sealed segment; the first read of one does.
#[test]
fn opening_touches_no_segment_however_many_there_are() {
    for append in [true, false] {
        let mut steps_of = Vec::new();
        for segments in [1, 10, 100] {
            let options = SimulatedOptions { seed: 1, append, map: false, ..SimulatedOptions::default() };
            let disk = Simulated::new(options);
            let store: Arc<dyn Backend> = Arc::new(disk.clone());
            process(fill(&store, segments, &many_segments()));
            let disk = disk.kill();
            let store: Arc<dyn Backend> = Arc::new(disk.clone());
            let seen = Arc::new(Mutex::new(Vec::new()));
            let fault =
                Fault { at_step: 0, kind: halite::backends::ErrorKind::Io, repeat: Repeat::Once, applied: true };
            let log = seen.clone();
            disk.fail_when(fault, move |step| {
                log.lock().unwrap().push(format!("{} {} {}", step.op, step.effect, step.path));
                false
            });
            process(async {
                let db = Db::builder(store).options(many_segments()).seed(8).open().await.unwrap();
                let steps = std::mem::take(&mut *seen.lock().unwrap());
                assert_eq!(db.stats().segments, segments, "append={append}");
                let touched: Vec<_> = steps.iter().filter(|step| step.contains("segments/")).collect();
                assert!(touched.is_empty(), "append={append}: {touched:?}");
                steps_of.push(steps.len());
                assert!(db.get(scattered(3)).await.unwrap().is_some());
                let then = std::mem::take(&mut *seen.lock().unwrap());
                assert!(then.iter().any(|step| step.starts_with("read") && step.contains("segments/")), "{then:?}");
                db.close().await.unwrap();
            });
        }
        assert!(steps_of.windows(2).all(|pair| pair[0] == pair[1]), "append={append}: {steps_of:?}");
    }
}

/// With 150 runs, none resident, absent keys cost a tenth of a wasted read at most.
#[test]
fn absent_keys_cost_a_tenth_of_a_wasted_read() {
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    process(async {
        let options = Options { memory_budget: Some(0), ..many_segments() };
        fill(&store, 150, &options).await;
        let db = Db::builder(store.clone()).options(options).open().await.unwrap();
        assert_eq!(db.stats().runs, 150);
        let lookups = 20_000;
        for number in 0..lookups {
            // Between two keys that may be there: neither bounds of segments nor luck decide.
            assert_eq!(db.get(scattered(number) + "x").await.unwrap(), None);
        }
        let stats = db.stats();
        assert!(stats.filter_probes > 100 * lookups, "{stats:?}");
        let wasted = stats.filter_false_positives as f64 / lookups as f64;
        assert!(wasted < 0.1, "{wasted} wasted reads a lookup");
        db.close().await.unwrap();
    });
}

/// Story: a damaged segment is in the store. Opening does not see it, loading passes it over, reads of other keys go on,
/// and reads of its keys name it.
#[test]
fn damage_shows_where_it_is_touched() {
    for (append, map) in [(true, true), (true, false), (false, true), (false, false)] {
        let disk = Simulated::new(SimulatedOptions { seed: 1, append, map, ..SimulatedOptions::default() });
        let store: Arc<dyn Backend> = Arc::new(disk.clone());
        process(fill(&store, 3, &many_segments()));
        let files = disk.files().into_iter().map(|(file, _)| file).filter(|file| file.folder() == "segments");
        let damaged = files.min().unwrap();
        assert!(disk.flip_bit(&damaged, 3, 0));
        process(async {
            let db = Db::builder(store).options(many_segments()).open().await.unwrap();
            db.loaded().await.unwrap();
            let stats = db.stats();
            assert_eq!((stats.segments, stats.resident_segments), (3, 2), "append={append}");
            for number in 0..60 {
                match db.get(scattered(number)).await {
                    Ok(value) => assert!(number >= 20 && value.is_some(), "append={append} {number}"),
                    Err(error) => {
                        assert!(number < 20, "append={append} {number}: {error}");
                        assert_eq!(error.place().unwrap().0, damaged.as_str());
                    }
                }
            }
            db.close().await.unwrap();
        });
    }
}
