//! A disk that fills up (F7): what does not fit is refused and nothing is lost, what is there can be read and deleted, and
//! once there is room again all goes on, without a restart.
#![allow(clippy::unwrap_used)]

use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Options, WriteOptions};
use halite_tests::history::State;
use halite_tests::world::{Store, World, process, read_all, small_options, soundness};
use std::time::Duration;

const CAPACITY: u64 = 1 << 20;

fn world(capacity: u64) -> World {
    let simulated = SimulatedOptions { seed: 6, capacity: Some(capacity), ..SimulatedOptions::default() };
    let options = Options { segment_bytes_max: 64 << 10, durability: Durability::Synced, ..small_options() };
    World::new(Store::simulated(simulated), options, 6)
}

fn key(number: usize) -> Vec<u8> {
    format!("key{number:06}").into_bytes()
}

/// Puts different keys until one is refused; all that was acknowledged.
async fn fill(db: &Db) -> State {
    let mut state = State::new();
    for number in 0.. {
        let value = vec![number as u8; 1000];
        match db.put(key(number), value.clone()).await {
            Ok(()) => state.insert(key(number), value.into()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                break;
            }
        };
    }
    state
}

#[test]
fn what_is_there_can_be_read_and_deleted_and_then_there_is_room() {
    let mut world = world(CAPACITY);
    process(async {
        let db = world.open().await.unwrap();
        let mut state = fill(&db).await;
        assert!(state.len() > 300, "{} records of a thousand bytes in a mebibyte", state.len());
        assert_eq!(read_all(&db).await.unwrap(), state);
        // Whatever else is tried, and refused or not, deletes go through.
        for number in 0..state.len() {
            if db.put("more", vec![0; 1000]).await.is_ok() {
                state.insert(b"more".to_vec(), vec![0; 1000].into());
            }
            let deleted = db.delete(key(number)).await;
            assert!(deleted.is_ok(), "delete {number}: {deleted:?}");
            state.remove(&key(number));
        }
        // Merges give room back by themselves.
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(read_all(&db).await.unwrap(), state);
        for number in 0..100 {
            db.put(key(number), "again").await.unwrap();
            state.insert(key(number), "again".into());
        }
        assert_eq!(read_all(&db).await.unwrap(), state);
        soundness(&db).await.unwrap();
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        assert_eq!(read_all(&db).await.unwrap(), state);
    });
}

#[test]
fn when_there_is_room_again_all_goes_on() {
    let mut world = world(CAPACITY);
    process(async {
        let db = world.open().await.unwrap();
        let mut state = fill(&db).await;
        world.store.simulator().set_capacity(Some(8 * CAPACITY));
        let options = WriteOptions { durability: Durability::Synced, ttl: None };
        for number in 0..1000 {
            // The seal that had no room tries again after a while.
            let put = async {
                while let Err(error) = db.put_with(key(number), vec![7; 2000], options).await {
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), put).await.expect("there is room again");
            state.insert(key(number), vec![7; 2000].into());
        }
        assert_eq!(read_all(&db).await.unwrap(), state);
        db.close().await.unwrap();
    });
}
