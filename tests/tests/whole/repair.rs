//! Repair brings over all that is whole, whatever is damaged beside it, and says what is lost.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use bytes::Bytes;
use halite::backends::{Backend, Memory, Path, SimulatedOptions};
use halite::{Compression, Db, Durability, ErrorKind, Options, RepairReport, WriteBatch, WriteOptions, repair};
use halite_tests::history::State;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, assert_sound, process, read_all, small_options};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const DEFERRED: WriteOptions = WriteOptions { durability: Durability::Deferred, ttl: None };

fn key(number: u64) -> String {
    format!("key {number:03}")
}

/// A value that says whose it is, and that compresses.
fn value(number: u64, round: u64) -> String {
    format!("{number} {round} {}", "lorem ipsum ".repeat(number as usize % 30))
}

/// Keys that are overwritten, deleted, and expire, in sealed segments and in the log. Returns what is alive.
async fn fill(db: &Db, random: &mut Random, merges: bool) -> State {
    for round in 0..6 {
        for _ in 0..60 {
            let number = random.below(100);
            match random.below(10) {
                0 => db.delete_with(key(number), DEFERRED).await.unwrap(),
                1 => {
                    let ttl = Some(Duration::from_secs(random.pick(&[0, 1_000_000])));
                    db.put_with(key(number), value(number, round), WriteOptions { ttl, ..DEFERRED }).await.unwrap();
                }
                2 => {
                    let other = random.below(100);
                    let batch = WriteBatch::new().put(key(number), value(number, round)).delete(key(other));
                    db.write_with(batch, DEFERRED).await.unwrap();
                }
                _ => db.put_with(key(number), value(number, round), DEFERRED).await.unwrap(),
            }
        }
        if merges && round == 3 {
            db.compact().await.unwrap();
        }
    }
    db.flush().await.unwrap();
    read_all(db).await.unwrap()
}

/// A store that was killed, and what is alive in it.
fn store(append: bool, seed: u64, merges: bool) -> (World, State) {
    let options = Options { compression: [Compression::None, Compression::Lz4][seed as usize % 2], ..small_options() };
    let options = Options { merge_in_background: merges, ..options };
    let simulated = SimulatedOptions { seed, append, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(simulated), options, seed);
    // Expiries of a world are judged by its clock, those of a repair by the wall's.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    world.clock.set(now.as_millis() as u64);
    let alive = process(async {
        let db = world.open().await.unwrap();
        fill(&db, &mut Random::new(seed), merges).await
    });
    world.store = world.store.kill();
    world.db = None;
    (world, alive)
}

async fn repaired(world: &World) -> (RepairReport, State) {
    let target = Memory::new();
    let report = repair(world.store.backend(), Arc::new(target.clone())).await.unwrap();
    let db = Db::builder(Arc::new(target)).open().await.unwrap();
    let found = read_all(&db).await.unwrap();
    assert_eq!(report.keys, found.len() as u64);
    assert_sound(&db).await;
    db.close().await.unwrap();
    (report, found)
}

/// The keys that the two do not agree on.
fn differing(a: &State, b: &State) -> BTreeSet<Vec<u8>> {
    a.keys().chain(b.keys()).filter(|&key| a.get(key) != b.get(key)).cloned().collect()
}

fn assert_once_written(found: &State) {
    for (key, value) in found {
        let (key, value) = (std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap());
        let number: u64 = key.strip_prefix("key ").unwrap().parse().unwrap();
        let round = value.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(value, self::value(number, round), "{key}");
    }
}

#[test]
fn of_a_store_that_is_whole_everything_comes_over() {
    for (append, seed) in [true, false].into_iter().flat_map(|append| (0..6).map(move |seed| (append, seed))) {
        let (world, alive) = store(append, seed, seed % 3 != 0);
        process(async {
            let (report, found) = repaired(&world).await;
            assert_eq!(differing(&found, &alive), BTreeSet::new());
            assert_eq!((report.losses.len(), report.lost_bytes), (0, 0), "{:?}", report.losses);
            assert!(report.files > 2 && report.records >= report.keys);
        });
    }
}

#[test]
fn a_flipped_bit_costs_one_record_at_most_and_is_reported() {
    let (mut lost, mut told) = (0, 0);
    for (append, seed) in [true, false].into_iter().flat_map(|append| (0..60).map(move |seed| (append, seed))) {
        let (world, alive) = store(append, seed, true);
        let mut random = Random::new(seed);
        let files: Vec<_> = world.store.simulator().files().into_iter().filter(|(_, len)| *len > 200).collect();
        let (path, len) = files[random.below(files.len() as u64) as usize].clone();
        // Behind headers, without which a log cannot be read.
        let offset = 160 + random.below(len - 160);
        world.store.simulator().flip_bit(&path, offset, random.below(8) as u8);
        process(async {
            let (report, found) = repaired(&world).await;
            assert_once_written(&found);
            let differing = differing(&found, &alive);
            assert!(differing.len() <= 1, "flipped {path} at {offset}: {differing:?} {:?}", report.losses);
            assert!(differing.is_empty() || !report.losses.is_empty(), "flipped {path} at {offset}: {differing:?}");
            assert!(report.losses.iter().all(|loss| loss.file == path.as_str()), "{path}: {:?}", report.losses);
            lost += differing.len();
            told += report.losses.len();
        });
    }
    assert!(lost > 5 && told > 20, "{lost} keys, {told} losses");
}

/// A log ends at the first fragment that is absent. What stands behind it comes over, and that is told: where, and what it means.
#[test]
fn a_gap_in_the_log_is_told() {
    let mut gaps = 0;
    for seed in 0..6 {
        let (world, _) = store(false, seed, false);
        let disk = world.store.simulator();
        let log: Vec<_> =
            disk.files().into_iter().map(|(path, _)| path).filter(|path| path.as_str().starts_with("log/")).collect();
        // The last one leaves nothing behind it.
        let Some((_, before)) = log.split_last() else { continue };
        for (index, removed) in before.iter().enumerate() {
            let world = world.fork(world.store.kill());
            world.store.simulator().remove_file(removed);
            process(async {
                let (report, found) = repaired(&world).await;
                assert_once_written(&found);
                let [loss] = &report.losses[..] else { panic!("{removed}: {:?}", report.losses) };
                assert_eq!((loss.file.as_str(), loss.offset, loss.bytes), (removed.as_str(), 0, 0));
                assert!(
                    loss.what.contains("missing fragments=1:") && loss.what.contains(log[index + 1].as_str()),
                    "{loss:?}"
                );
            });
            gaps += 1;
        }
    }
    assert!(gaps > 3, "{gaps}");
}

#[test]
fn a_hole_costs_what_was_in_it() {
    for (append, seed) in [true, false].into_iter().flat_map(|append| (0..20).map(move |seed| (append, seed))) {
        let (world, alive) = store(append, seed, false);
        let mut random = Random::new(seed);
        let disk = world.store.simulator();
        let segments: Vec<_> =
            disk.files().into_iter().filter(|(path, _)| path.as_str().starts_with("segments/")).collect();
        let (path, len) = segments[random.below(segments.len() as u64) as usize].clone();
        let mut bytes = disk.read_file(&path).unwrap().to_vec();
        let start = 128 + random.below(len - 128) as usize;
        let end = (start + 500).min(bytes.len());
        let noise = random.chance(50);
        bytes[start..end].iter_mut().for_each(|byte| *byte = if noise { random.number() as u8 } else { 0 });
        disk.write_file(&path, Bytes::from(bytes));
        process(async {
            let (report, found) = repaired(&world).await;
            assert_once_written(&found);
            assert!(differing(&found, &alive).len() < 30);
            assert!(report.lost_bytes < 1000, "{:?}", report.losses);
        });
    }
}

/// Every segment says itself what it is.
#[test]
fn without_a_single_manifest_everything_comes_over() {
    for (append, seed) in [true, false].into_iter().flat_map(|append| (0..6).map(move |seed| (append, seed))) {
        let (world, alive) = store(append, seed, false);
        let disk = world.store.simulator();
        let manifests: Vec<_> =
            disk.files().into_iter().filter(|(path, _)| path.as_str().starts_with("manifest/")).collect();
        assert!(!manifests.is_empty());
        for (path, len) in manifests {
            match seed % 2 {
                0 => disk.remove_file(&path),
                _ => assert!(disk.flip_bit(&path, len / 2, 3)),
            }
        }
        process(async {
            let (report, found) = repaired(&world).await;
            assert_eq!(differing(&found, &alive), BTreeSet::new());
            assert_eq!(report.losses.is_empty(), seed % 2 == 0, "{:?}", report.losses);
        });
    }
}

#[test]
fn a_file_that_is_missing_or_cut_off_is_reported() {
    for append in [true, false] {
        let (world, alive) = store(append, 7, false);
        let disk = world.store.simulator();
        let segments: Vec<_> =
            disk.files().into_iter().filter(|(path, _)| path.as_str().starts_with("segments/")).collect();
        disk.remove_file(&segments[0].0);
        disk.truncate_file(&segments[1].0, segments[1].1 / 2);
        process(async {
            let (report, found) = repaired(&world).await;
            assert_once_written(&found);
            assert!(differing(&found, &alive).len() < 90);
            let told = |path: &Path| report.losses.iter().any(|loss| loss.file == path.as_str());
            assert!(told(&segments[0].0) && told(&segments[1].0), "{:?}", report.losses);
        });
    }
}

#[test]
fn what_cannot_be_repaired_is_refused() {
    process(async {
        let backend = |memory: &Memory| -> Arc<dyn Backend> { Arc::new(memory.clone()) };
        let (nothing, store) = (Memory::new(), Memory::new());
        let error = repair(backend(&nothing), backend(&Memory::new())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let db = Db::builder(backend(&store)).open().await.unwrap();
        assert_eq!(repair(backend(&store), backend(&nothing)).await.unwrap_err().kind(), ErrorKind::InUse);
        db.put("a", "1").await.unwrap();
        db.close().await.unwrap();
        assert_eq!(repair(backend(&store), backend(&store)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(repair(backend(&store), backend(&nothing)).await.unwrap().keys, 1);
        assert_eq!(repair(backend(&store), backend(&nothing)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
}
