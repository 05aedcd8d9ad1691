//! The engine on real object stores: the model with kills, and two writers that fight for one store.
//!
//! `cargo xtask servers` starts the servers and says where they are, in `HALITE_S3` and `HALITE_AZBLOB`.
#![allow(clippy::unwrap_used)]

use halite::backends::{Backend, open_uri};
use halite::{Db, ErrorKind};
use halite_tests::suites;
use halite_tests::waiting::Waiting;
use halite_tests::world::{Store, assert_sound, read_all, small_options};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;

/// The variables that say where servers are, and how those conditions are kept.
const SERVERS: [&str; 2] = ["HALITE_S3", "HALITE_AZBLOB"];

/// A new place in the bucket that the variable `name` says.
fn place(name: &str) -> impl Fn() -> Arc<dyn Backend> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uri = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask servers`"));
    let (bucket, options) = uri.split_once('?').unwrap();
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let uri = format!("{bucket}/{run}-{}?{options}", NEXT.fetch_add(1, Ordering::Relaxed));
    move || open_uri(&uri, true).unwrap()
}

fn threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Random operations, with closes and kills in between, each compared with the model: as on the simulator, with a server
/// behind it.
fn model(server: &str, seeds: std::ops::Range<u64>) {
    let runtime = threads();
    for seed in seeds {
        let store = Waiting::new(place(server)(), runtime.handle().clone());
        suites::model(Store::Real(Arc::new(store)), seed, 80);
    }
}

#[test]
fn the_model_on_s3() {
    model("HALITE_S3", 1..4);
}

#[test]
fn the_model_on_azblob() {
    model("HALITE_AZBLOB", 4..7);
}

/// Opens, writes what it can, and opens again when it was fenced. Returns what was acknowledged.
async fn fight(place: impl Fn() -> Arc<dyn Backend>, name: &str, reigns: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    for reign in 0..reigns {
        let db = match Db::builder(place()).options(small_options()).open().await {
            Ok(db) => db,
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::InUse | ErrorKind::Unknown) => continue,
            Err(error) => panic!("{name}: {error:?}"),
        };
        for n in 0..12 {
            let (key, value) = (format!("{name}/{reign}/{n}").into_bytes(), vec![n; 700]);
            match db.put(&key, &value).await {
                Ok(()) => drop(acknowledged.insert(key, value)),
                Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Unknown) => break,
                Err(error) => panic!("{name}: {error:?}"),
            }
        }
        if reign % 2 == 0 {
            let _ = db.close().await;
        }
    }
    acknowledged
}

/// Whatever two writers were told is there stays, however often each takes the store from the other.
#[test]
fn two_writers_never_lose_what_was_acknowledged() {
    for server in SERVERS {
        threads().block_on(async {
            let place = Arc::new(place(server));
            let (a, b) = (place.clone(), place.clone());
            let first = Db::builder(place()).options(small_options()).open().await.unwrap();
            first.close().await.unwrap();
            let a = tokio::spawn(async move { fight(|| a(), "a", 5).await });
            let b = tokio::spawn(async move { fight(|| b(), "b", 5).await });
            let mut acknowledged = a.await.unwrap();
            acknowledged.extend(b.await.unwrap());
            assert!(acknowledged.len() > 20, "{server}: hardly anything was written: {}", acknowledged.len());
            let db = Db::builder(place()).options(small_options()).open().await.unwrap();
            let there = read_all(&db).await.unwrap();
            for (key, value) in &acknowledged {
                assert_eq!(there.get(key).map(|value| &value[..]), Some(&value[..]), "{server}: {key:?}");
            }
            assert_sound(&db).await;
            db.close().await.unwrap();
        });
    }
}

/// A server that speaks the language and does not hear conditions keeps no second writer out: it is refused, unless it is
/// declared that there is none.
#[test]
fn a_server_that_does_not_hear_conditions_is_refused() {
    threads().block_on(async {
        let place = place("HALITE_S3_DEAF");
        let error = Db::builder(place()).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let said = error.to_string();
        assert!(said.contains("does not create names exclusively") && said.contains("single writer"), "{said}");
        let db = Db::builder(place()).single_writer().open().await.unwrap();
        db.put("a", "1").await.unwrap();
        db.close().await.unwrap();
        let db = Db::builder(place()).open_read_only().await.unwrap();
        assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    });
}
