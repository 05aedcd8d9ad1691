//! Watches give every commit once, in order and whole, and nothing that a crash can take back.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::{FutureExt, StreamExt, TryStreamExt};
use halite::backends::{self, Fault, Repeat, SimulatedOptions};
use halite::{Commit, Db, Durability, ErrorKind, Options, Seq, Watch, WriteBatch, WriteOptions};
use halite_tests::history::Loss;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, process, small_options};
use std::time::Duration;

const DEFERRED: WriteOptions = WriteOptions { durability: Durability::Deferred, ttl: None };

/// Commit number `number`: the count, and some other keys.
fn batch(number: u64, random: &mut Random) -> WriteBatch {
    let batch = WriteBatch::new().put("count", number.to_string()).delete(format!("key {}", random.below(9)));
    let len = random.below(300) as usize;
    batch.put(format!("key {}", random.below(9)), "x".repeat(len)).put("end", number.to_string())
}

/// The number of a commit, which is all there.
fn number(commit: &Commit) -> u64 {
    let value = |place: usize| std::str::from_utf8(commit.changes[place].value.as_ref().unwrap()).unwrap();
    assert_eq!(commit.changes.len(), 4, "{commit:?}");
    assert_eq!((&commit.changes[0].key[..], &commit.changes[3].key[..]), (&b"count"[..], &b"end"[..]));
    assert!(commit.changes[1].value.is_none());
    assert_eq!(value(0), value(3));
    assert_eq!(commit.seq, commit.changes[3].seq);
    value(0).parse().unwrap()
}

/// What has come without waiting any more.
async fn at_hand(watch: &mut Watch) -> Vec<Commit> {
    // Time is virtual: it goes on when everybody waits.
    let mut commits = Vec::new();
    while let Ok(Some(commit)) = tokio::time::timeout(Duration::from_millis(500), watch.next()).await {
        commits.push(commit.unwrap());
    }
    commits
}

fn numbers(commits: &[Commit]) -> Vec<u64> {
    commits.iter().map(number).collect()
}

/// A life: writes and watches in turn, from commit `next` on. Returns the number of the next commit.
async fn live(db: &Db, watch: &mut Watch, seen: &mut u64, next: u64, random: &mut Random) -> u64 {
    let mut next = next;
    for _ in 0..40 {
        for _ in 0..random.below(12) {
            let durability = random.pick(&[Durability::Deferred, Durability::Written, Durability::Synced]);
            db.write_with(batch(next, random), WriteOptions { durability, ttl: None }).await.unwrap();
            next += 1;
        }
        match random.below(20) {
            0 => drop(db.compact().await.unwrap()),
            1 => tokio::time::sleep(Duration::from_millis(100)).await,
            2..6 => {}
            _ => {
                while let Some(Some(commit)) = watch.next().now_or_never() {
                    assert_eq!(number(&commit.unwrap()), *seen + 1);
                    *seen += 1;
                }
            }
        }
    }
    next
}

fn lives(store: Store, seed: u64) {
    let mut world = World::new(store, Options { history_bytes: (seed % 3) << 14, ..small_options() }, seed);
    let mut random = Random::new(seed);
    let (mut seen, mut next, mut position, mut gone) = (0, 1, 1, 0);
    for life in 0..6 {
        world.db = None;
        process(async {
            let db = world.open().await.unwrap();
            let count = db.get("count").await.unwrap();
            let count: u64 = count.map_or(0, |count| std::str::from_utf8(&count).unwrap().parse().unwrap());
            assert!(count >= seen, "commit {seen} was seen, and a crash took back what came after {count}");
            next = count + 1;
            let mut watch = db.watch("", position);
            match tokio::time::timeout(Duration::from_millis(500), watch.next()).await {
                // No loss of the past goes unnoticed, and no watch begins anew for no reason.
                Ok(Some(Err(error))) => {
                    assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
                    assert!(life > 0);
                    gone += 1;
                    position = db.snapshot().seq() + 1;
                    watch = db.watch("", position);
                    seen = count;
                }
                Ok(Some(Ok(commit))) => {
                    assert_eq!(number(&commit), seen + 1);
                    seen += 1;
                }
                _ => assert_eq!(seen, count),
            }
            live(&db, &mut watch, &mut seen, next, &mut random).await;
            position = watch.position();
            if random.chance(30) {
                db.close().await.unwrap();
                assert!(watch.next().await.is_none());
            }
        });
        world.end(random.pick(&[Loss::Kill, Loss::PowerCut]), seed + life);
    }
    assert!(gone < 6);
}

#[test]
fn what_was_seen_stays_and_nothing_is_left_out() {
    for seed in 0..12 {
        for append in [true, false] {
            lives(Store::simulated(SimulatedOptions { seed, append, ..SimulatedOptions::default() }), seed);
        }
    }
}

fn worlds() -> [World; 2] {
    [true, false].map(|append| World::new(Store::memory(append), small_options(), 3))
}

#[test]
fn a_prefix_leaves_out_the_rest_and_passes_it_by() {
    for mut world in worlds() {
        process(async {
            let db = world.open().await.unwrap();
            let mut watch = db.watch("b", 0);
            db.write(WriteBatch::new().put("a", "1").put("b1", "2").delete("b2").put("c", "3")).await.unwrap();
            db.put("a", "4").await.unwrap();
            db.put_with("b", "5", WriteOptions { ttl: Some(Duration::from_secs(9)), ..DEFERRED }).await.unwrap();
            let commits = at_hand(&mut watch).await;
            let keys: Vec<_> =
                commits.iter().flat_map(|commit| &commit.changes).map(|change| &change.key[..]).collect();
            assert_eq!((commits.len(), keys), (2, vec![&b"b1"[..], b"b2", b"b"]));
            assert_eq!((commits[0].seq, commits[1].seq), (4, 6));
            assert_eq!(commits[0].changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [2, 3]);
            assert_eq!(commits[1].changes[0].expires_at, Some(world.clock.millis() + 9_000));
            db.put("a", "6").await.unwrap();
            assert!(at_hand(&mut watch).await.is_empty());
            assert_eq!(watch.position(), 8, "it stands behind what it has passed by, too");
            db.put("b", "7").await.unwrap();
            assert_eq!(at_hand(&mut watch).await.len(), 1);
            assert_eq!(watch.position(), 9);
            db.close().await.unwrap();
        });
    }
}

#[test]
fn a_commit_comes_when_it_is_durable() {
    process(async {
        let mut world =
            World::new(Store::memory(true), Options { sync_interval: Duration::from_secs(9), ..small_options() }, 3);
        let db = world.open().await.unwrap();
        let mut watch = db.watch("", 1);
        db.put_with("a", "1", DEFERRED).await.unwrap();
        assert!(db.contains("a").await.unwrap());
        assert!(at_hand(&mut watch).await.is_empty());
        db.flush().await.unwrap();
        assert_eq!(watch.next().now_or_never().unwrap().unwrap().unwrap().seq, 1);
        db.put_with("b", "2", DEFERRED).await.unwrap();
        assert!(watch.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(watch.next().now_or_never().unwrap().unwrap().unwrap().seq, 2);
        db.close().await.unwrap();
    });
}

async fn fill(db: &Db, commits: std::ops::Range<u64>) {
    let mut random = Random::new(commits.start);
    for number in commits {
        db.write_with(batch(number, &mut random), DEFERRED).await.unwrap();
    }
    db.flush().await.unwrap();
}

#[test]
fn the_past_is_there_until_a_merge_takes_it_and_then_the_watch_says_so() {
    process(async {
        let options = Options { merge_in_background: false, ..small_options() };
        let mut world = World::new(Store::memory(true), options, 3);
        let db = world.open().await.unwrap();
        fill(&db, 1..200).await;
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        assert!(db.stats().segments > 5);
        assert_eq!(numbers(&at_hand(&mut db.watch("", 1)).await), (1..200).collect::<Vec<_>>());
        // From within a commit, what is left of it comes.
        let first = at_hand(&mut db.watch("", 43).until(44)).await.remove(0);
        assert_eq!((first.seq, first.changes.len()), (44, 2));

        db.compact().await.unwrap();
        let error = db.watch("", 43).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
        let from: Seq = db.snapshot().seq() + 1;
        assert!(error.to_string().contains(&format!("from seq {from} on they are")), "{error}");
        let mut watch = db.watch("", from);
        fill(&db, 200..210).await;
        assert_eq!(numbers(&at_hand(&mut watch).await), (200..210).collect::<Vec<_>>());
        assert_eq!(db.stats().watches, 1);
        drop(watch);
        assert_eq!((db.stats().watches, db.stats().transactions), (0, 0));
        // And it is remembered that the past is gone.
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        assert_eq!(db.watch("", from - 1).next().await.unwrap().unwrap_err().kind(), ErrorKind::Gone);
        assert_eq!(numbers(&at_hand(&mut db.watch("", from)).await), (200..210).collect::<Vec<_>>());
        db.close().await.unwrap();
    });
}

#[test]
fn history_bytes_keep_the_newest_past_from_merges() {
    process(async {
        let history_bytes = 10 * Options::SEGMENT_BYTES_MIN;
        let mut world = World::new(Store::memory(true), Options { history_bytes, ..small_options() }, 3);
        let db = world.open().await.unwrap();
        fill(&db, 1..400).await;
        db.compact().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let snapshot = db.snapshot();
        let error = db.watch("", 1).next().await.unwrap().unwrap_err().to_string();
        let from: Seq = error.split(' ').rev().nth(3).unwrap().parse().unwrap();
        let commits = at_hand(&mut db.watch("", from)).await;
        assert!(commits.len() > 50, "{} commits are kept", commits.len());
        let numbers = numbers(&commits[1..]);
        assert_eq!(numbers, (400 - numbers.len() as u64..400).collect::<Vec<_>>());
        assert!(db.stats().segment_bytes < 2 * history_bytes);
        assert_eq!(snapshot.get("count").await.unwrap().unwrap(), "399");
        db.close().await.unwrap();
    });
}

/// Whoever lags behind more than is kept is told, on storages where a seal drops the past too.
#[test]
fn a_watch_that_lags_too_far_behind_fails() {
    for mut world in worlds() {
        world.options.transaction_window_bytes = 0;
        process(async {
            let db = world.open().await.unwrap();
            let mut watch = db.watch("", 1);
            fill(&db, 1..3).await;
            assert_eq!(number(&watch.next().await.unwrap().unwrap()), 1);
            fill(&db, 3..300).await;
            db.compact().await.unwrap();
            fill(&db, 300..310).await;
            // The segment in which it stands it has still.
            let mut last = 1;
            let error = loop {
                match watch.next().await.unwrap() {
                    Ok(commit) => last += u64::from(number(&commit) == last + 1),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::Gone);
            assert!((2..200).contains(&last), "{last}");
            assert!(watch.next().await.is_none());
            db.close().await.unwrap();
        });
    }
}

#[test]
fn it_ends_where_it_is_told_to_when_the_database_is_closed_and_after_a_failure() {
    for append in [true, false] {
        let options = SimulatedOptions { append, ..SimulatedOptions::default() };
        let mut world = World::new(Store::simulated(options), small_options(), 3);
        process(async {
            let db = world.open().await.unwrap();
            let mut bounded = db.watch("", 1).until(6);
            let mut endless = db.watch("", 1);
            fill(&db, 1..4).await;
            let commits: Vec<_> = (&mut bounded).try_collect().await.unwrap();
            assert_eq!(numbers(&commits), [1, 2], "the commit of seq 6 is whole");
            assert_eq!(at_hand(&mut endless).await.len(), 3);
            assert!(db.watch("", 13).next().now_or_never().is_none(), "the next commit has seq 13");
            assert_eq!(db.watch("", 14).next().await.unwrap().unwrap_err().kind(), ErrorKind::InvalidInput);

            let (kind, repeat) = (backends::ErrorKind::Io, Repeat::Forever);
            world.store.simulator().fail(Fault { at_step: 0, kind, repeat, applied: false });
            assert!(db.put("a", "1").await.is_err());
            let error = endless.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Poisoned);
            assert!(endless.next().await.is_none());
            world.store.simulator().clear_faults();

            let db = db.reopen().await.unwrap();
            let from = db.snapshot().seq() + 1;
            let mut watch = db.watch("", from);
            let waits = tokio::spawn(async move { watch.next().await.is_none() });
            tokio::time::sleep(Duration::from_secs(1)).await;
            db.close().await.unwrap();
            assert!(waits.await.unwrap());
        });
    }
}
