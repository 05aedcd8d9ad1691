//! Clocks that are set back, jump ahead, or show another year after a restart (F16): what has expired stays so.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, Ttl, WriteOptions};
use halite_tests::history::Loss;
use halite_tests::world::{Store, World, process, read_all, small_options};
use std::time::Duration;

const YEAR: u64 = 365 * 24 * 3600 * 1000;

fn worlds() -> impl Iterator<Item = World> {
    [true, false].into_iter().map(|append| {
        let options = SimulatedOptions { seed: 9, append, ..SimulatedOptions::default() };
        World::new(Store::simulated(options), small_options(), 9)
    })
}

async fn put(db: &Db, key: &str, ttl: Duration) {
    let options = WriteOptions { ttl: Some(ttl), durability: Durability::Synced };
    db.put_with(key, "short-lived", options).await.unwrap();
}

/// What every way of reading says of `key`.
async fn is_there(db: &Db, key: &str) -> bool {
    let found = db.get(key).await.unwrap().is_some();
    assert_eq!(db.contains(key).await.unwrap(), found);
    assert_eq!(db.get_entry(key).await.unwrap().is_some(), found);
    assert_eq!(read_all(db).await.unwrap().contains_key(key.as_bytes()), found);
    assert_eq!(db.prefix(key).keys_only().try_next().await.unwrap().is_some(), found);
    found
}

#[test]
fn a_clock_set_back_brings_nothing_back() {
    for mut world in worlds() {
        process(async {
            let db = world.open().await.unwrap();
            put(&db, "key", Duration::from_secs(10)).await;
            assert!(is_there(&db, "key").await);
            world.clock.advance(10_000);
            assert!(!is_there(&db, "key").await);
            for back in [1, 9_999, 20_000, 40 * YEAR] {
                world.clock.set(world.clock.millis() - back);
                assert!(!is_there(&db, "key").await, "back by {back} ms");
            }
            // And what is written now does not live for forty years and ten seconds.
            put(&db, "later", Duration::from_secs(10)).await;
            assert_eq!(db.ttl("later").await.unwrap(), Some(Ttl::Remaining(Duration::from_secs(10))));
        });
    }
}

/// The time that was seen last is in marks, fragments and manifests: it outlives the process however that ended.
#[test]
fn a_clock_set_back_between_two_processes_brings_nothing_back() {
    for how in [None, Some(Loss::Kill), Some(Loss::PowerCut)] {
        for mut world in worlds() {
            process(async {
                let db = world.open().await.unwrap();
                put(&db, "key", Duration::from_secs(10)).await;
                world.clock.advance(10_000);
                assert!(!is_there(&db, "key").await);
                db.put_with("other", "after that", WriteOptions { ttl: None, durability: Durability::Synced })
                    .await
                    .unwrap();
                match how {
                    None => db.close().await.unwrap(),
                    Some(_) => world.db = Some(db),
                }
            });
            if let Some(loss) = how {
                world.end(loss, 0);
            }
            world.clock.set(world.clock.millis() - YEAR);
            process(async {
                let db = world.open().await.unwrap();
                assert!(!is_there(&db, "key").await, "{how:?}");
                assert!(is_there(&db, "other").await, "{how:?}");
                db.compact().await.unwrap();
                assert!(!is_there(&db, "key").await, "{how:?}, after a merge");
                db.close().await.unwrap();
            });
        }
    }
}
