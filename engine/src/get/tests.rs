//! Keys whose fingerprints are the same: whatever happens to one of them, the other is found as it is.
#![allow(clippy::unwrap_used)]

use crate::format::fuzz::Dice;
use crate::hash::{Fingerprint, hash};
use crate::segment::testing::Unmapped;
use crate::{Db, Options, compaction};
use bytes::Bytes;
use futures::TryStreamExt;
use halite_backends::{Backend, Memory};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Model = BTreeMap<Vec<u8>, Bytes>;

/// Two keys of one fingerprint: among a million and some numbers there are two.
fn colliding(hash_seed: u64) -> [Vec<u8>; 2] {
    let mut seen = HashMap::new();
    for number in 0_u64.. {
        let fingerprint = Fingerprint::of(hash(hash_seed, &number.to_le_bytes()));
        if let Some(other) = seen.insert(fingerprint, number) {
            return [other, number].map(|number| number.to_le_bytes().to_vec());
        }
    }
    panic!("there are more numbers than fingerprints")
}

async fn check(db: &Db, model: &Model, keys: &[Vec<u8>; 2], history: &str) {
    for key in keys {
        assert_eq!(db.get(key).await.unwrap().as_ref(), model.get(key), "{key:?} after {history}");
    }
    let scanned: Model = db.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
    assert_eq!(&scanned, model, "after {history}");
}

/// Puts, deletes, seals, merges of any rows of runs, compactions and reopenings, in any order.
async fn play(backend: Arc<dyn Backend>, budget: u64) {
    let options = Options { merge_in_background: false, memory_budget: Some(budget), ..Options::default() };
    let open = async |seed| Db::builder(backend.clone()).options(options.clone()).seed(seed).open().await.unwrap();
    let mut db = open(0).await;
    let keys = colliding(db.core().epoch.hash_seed);
    let (mut model, mut history) = (Model::new(), String::new());
    let mut dice = Dice::new(1);
    for step in 1..400 {
        let key = &keys[dice.below(2)];
        let choice = ['p', 'p', 'd', 's', 's', 's', 'm', 'c', 'o'][dice.below(9)];
        history.push(choice);
        match choice {
            'p' => {
                let value = Bytes::from(format!("{step}"));
                db.put(key, &value).await.unwrap();
                model.insert(key.clone(), value);
            }
            'd' => {
                db.delete(key).await.unwrap();
                model.remove(key);
            }
            's' => {
                db.core().log.rotate().unwrap();
                db.core().log.all_sealed().await.unwrap();
            }
            'm' => compaction::merge_any(db.core(), dice.next()).await.unwrap(),
            'c' if dice.below(5) == 0 => drop(db.compact().await.unwrap()),
            'o' if dice.below(5) == 0 => {
                db.close().await.unwrap();
                db = open(step).await;
            }
            _ => {}
        }
        check(&db, &model, &keys, &history).await;
    }
    assert_eq!(db.verify().await.unwrap().damage, []);
    db.close().await.unwrap();
}

#[tokio::test]
async fn equal_fingerprints_where_records_are_mapped() {
    for budget in [0, 1 << 30] {
        play(Arc::new(Memory::new()), budget).await;
    }
}

#[tokio::test]
async fn equal_fingerprints_where_records_are_read() {
    for budget in [0, 1 << 30] {
        play(Arc::new(Unmapped(Memory::create_only())), budget).await;
    }
}
