//! The engine on real object stores: the model with kills, and two writers that fight for one store.
//!
//! `cargo xtask servers` starts the servers and says where they are, in `HALITE_S3` and `HALITE_AZBLOB`.
#![allow(clippy::unwrap_used)]

use futures::future::join_all;
use halite::backends::{Backend, open_uri};
use halite::{Db, ErrorKind, WriteBatch};
use halite_tests::proxy::Proxy;
use halite_tests::random::{Random, mix};
use halite_tests::suites;
use halite_tests::waiting::Waiting;
use halite_tests::world::{Store, assert_sound, read_all, small_options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;

/// The variables that say where servers are, and how those conditions are kept.
const SERVERS: [&str; 2] = ["HALITE_S3", "HALITE_AZBLOB"];

/// A new place in the bucket that the variable `name` says, as a URI.
fn new_place(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uri = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask servers`"));
    let (bucket, options) = uri.split_once('?').unwrap();
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{bucket}/{run}-{}?{options}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The same, to be opened.
fn place(name: &str) -> impl Fn() -> Arc<dyn Backend> {
    let uri = new_place(name);
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

/// What a key may hold: what was acknowledged last, and whatever came after that and may or may not have happened.
type Possible = BTreeMap<String, BTreeSet<Option<String>>>;

/// A writer on a bad network.
struct Sufferer {
    place: Box<dyn Fn() -> Arc<dyn Backend>>,
    random: Random,
    possible: Possible,
    acknowledged: u32,
}

impl Sufferer {
    /// Opens the store, however often that takes. What is there must be possible, and is what is there from now on: it was
    /// read from a log that has been fenced.
    async fn open(&mut self) -> Db {
        for _ in 0..50 {
            let opened = Db::builder((self.place)()).options(small_options()).open().await;
            let read = match &opened {
                Ok(db) => read_all(db).await,
                Err(error) => Err(error.clone()),
            };
            match (opened, read) {
                (Ok(db), Ok(there)) => {
                    self.judge(there);
                    return db;
                }
                (_, Err(error)) => self.expect(&error, "opening"),
                (Err(_), Ok(_)) => unreachable!("nothing was read from it"),
            }
        }
        panic!("the store cannot be opened");
    }

    fn judge(&mut self, there: BTreeMap<Vec<u8>, bytes::Bytes>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let there: BTreeMap<_, _> = there.iter().map(|(key, value)| (text(key), text(value))).collect();
        assert!(there.keys().all(|key| self.possible.contains_key(key)), "nobody has put that: {there:?}");
        for (key, possible) in &mut self.possible {
            let found = there.get(key).cloned();
            assert!(possible.contains(&found), "{key} holds {found:?}, and should {possible:?}");
            *possible = BTreeSet::from([found]);
        }
    }

    /// A network that fails explains no damage.
    fn expect(&self, error: &halite::Error, when: &str) {
        let is_expected =
            matches!(error.kind(), ErrorKind::Io | ErrorKind::Unknown | ErrorKind::Poisoned | ErrorKind::Fenced);
        assert!(is_expected, "{when}: {error:?}");
    }

    /// Writes a few keys at once, so that several objects are under way. False where the store has to be opened anew.
    async fn write(&mut self, db: &Db, number: u32) -> bool {
        let (first, count) = (self.random.below(16), self.random.below(3) + 1);
        let changes: Vec<_> = (first..first + count)
            .map(|key| {
                let value = (!self.random.chance(20)).then(|| format!("{number} {}", "v".repeat(300)));
                (format!("{:02}", key % 16), value)
            })
            .collect();
        let outcomes = join_all(changes.iter().map(|(key, value)| write_twins(db, key, value.as_deref()))).await;
        let mut goes_on = true;
        for ((key, value), outcome) in changes.into_iter().zip(outcomes) {
            for key in [key.clone(), format!("{key} twin")] {
                let possible = self.possible.entry(key).or_insert_with(|| BTreeSet::from([None]));
                match &outcome {
                    Ok(()) => *possible = BTreeSet::from([value.clone()]),
                    Err(error) if error.kind() == ErrorKind::Unknown => drop(possible.insert(value.clone())),
                    // It did not happen.
                    Err(_) => {}
                }
            }
            match outcome {
                Ok(()) => self.acknowledged += 1,
                Err(error) => {
                    self.expect(&error, "writing");
                    goes_on = false;
                }
            }
        }
        goes_on
    }

    /// Reads a key and its twin at one moment: batches are whole, and what was acknowledged shows.
    async fn read(&mut self, db: &Db) {
        let key = format!("{:02}", self.random.below(16));
        let keys = [key.clone(), format!("{key} twin")];
        match db.get_many(&keys).await {
            Ok(found) => {
                assert_eq!(found[0], found[1], "{key}: half a batch");
                let found = found[0].as_deref().map(|value| String::from_utf8(value.to_vec()).unwrap());
                let nothing = BTreeSet::from([None]);
                let possible = self.possible.get(&key).unwrap_or(&nothing);
                assert!(possible.contains(&found), "{key} holds {found:?}, and should {possible:?}");
            }
            Err(error) => self.expect(&error, "reading"),
        }
    }

    /// Writes of these numbers, with reads, seals, merges, closes and abandoned databases in between.
    async fn suffer(&mut self, writes: std::ops::Range<u32>) {
        let mut db = self.open().await;
        for number in writes {
            let mut goes_on = self.write(&db, number).await;
            self.read(&db).await;
            let tidied = match self.random.below(12) {
                0 => db.checkpoint(format!("{number}")).await.map(drop),
                1 => db.compact().await.map(drop),
                2 => {
                    goes_on = false;
                    db.close().await
                }
                // It is not told that it has been overtaken: its own requests must tell it.
                3 => {
                    goes_on = false;
                    std::mem::forget(db.clone());
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(error) = tidied {
                self.expect(&error, "tidying");
                goes_on = false;
            }
            if !goes_on {
                db = self.open().await;
            }
        }
        let _ = db.close().await;
    }
}

/// Puts a value under a key and its twin, or deletes both.
async fn write_twins(db: &Db, key: &str, value: Option<&str>) -> Result<(), halite::Error> {
    let mut batch = WriteBatch::new();
    for key in [key.to_owned(), format!("{key} twin")] {
        batch = match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    db.write(batch).await
}

/// A life on a bad network takes as long as it takes to see most of it.
const LIVES_MAX: u32 = 6;

/// On the way to a server requests are lost, come late, overtake each other, are carried out twice, at once or long after, or
/// not answered, or answered in part; the server fails, is busy, and speaks of conflicts that there are none of. What was acknowledged is there all the same, batches are whole, and what was read from a log
/// once it was fenced stays.
#[test]
fn nothing_is_lost_on_a_bad_network() {
    for (seed, server) in SERVERS.into_iter().enumerate() {
        threads().block_on(async {
            let uri = new_place(server);
            let (before, rest) = uri.split_once("127.0.0.1:").unwrap();
            let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
            let proxy = Proxy::start(rest[..digits].parse().unwrap(), seed as u64, 8).await.unwrap();
            let through = format!("{before}127.0.0.1:{}{}", proxy.port(), &rest[digits..]);
            let place = Box::new(move || open_uri(&through, true).unwrap());
            let random = Random::new(mix(seed as u64, 3));
            let mut sufferer = Sufferer { place, random, possible: Possible::new(), acknowledged: 0 };
            // Until all has happened that may: how many requests that takes is a matter of chance.
            for life in 0..LIVES_MAX {
                sufferer.suffer(life * 40..(life + 1) * 40).await;
                if sufferer.acknowledged > 10 && proxy.happened().iter().all(|(_, count)| *count > 0) {
                    break;
                }
            }
            proxy.calm().await;
            let happened = proxy.happened();
            assert!(happened.iter().all(|(_, count)| *count > 0), "{server}: {happened:?}");
            assert!(sufferer.acknowledged > 10, "{server}: hardly anything was written: {happened:?}");
            let db = sufferer.open().await;
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
