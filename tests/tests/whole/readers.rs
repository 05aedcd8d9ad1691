//! Readers beside the writer: they follow what becomes durable, show whole prefixes, and never go back.
//!
//! The crash, fault and model tests follow too; here are the stories of their own: a zombie, a store that does not keep
//! what is open readable, real files, damage.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use halite::backends::{
    Appender, Backend, Capabilities, Error, ErrorKind as Kind, Local, Lock, Memory, Meta, Object, Path,
    SimulatedOptions, Uploader,
};
use halite::{Db, Durability, ErrorKind, Options, ReadOnly, WriteOptions};
use halite_tests::history::State;
use halite_tests::random::Random;
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, process, read_all, small_options};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

fn stores() -> Vec<Store> {
    let kinds = [true, false].into_iter().flat_map(|append| {
        let options = SimulatedOptions { seed: 3, append, yields: true, ..SimulatedOptions::default() };
        [Store::memory(append), Store::simulated(options)]
    });
    kinds.collect()
}

async fn shown(reader: &ReadOnly) -> halite::Result<State> {
    reader.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await
}

async fn put(db: &Db, key: &str, value: impl AsRef<[u8]>, durability: Durability) {
    db.put_with(key, value, WriteOptions { durability, ttl: None }).await.unwrap();
}

/// Lets the writer say how far its log is durable.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[test]
fn durable_commits_show_and_others_do_not_yet() {
    for store in stores() {
        let appends = store.backend().capabilities().append;
        let mut world = World::new(store, small_options(), 1);
        process(async {
            assert_eq!(world.open_read_only().await.unwrap_err().kind(), ErrorKind::NotFound);
            let db = world.open().await.unwrap();
            let reader = world.open_read_only().await.unwrap();
            assert!(shown(&reader).await.unwrap().is_empty());
            put(&db, "synced", "1", Durability::Synced).await;
            assert_eq!(reader.get("synced").await.unwrap(), None, "each call sees what was there at the last refresh");
            a_moment().await;
            assert!(reader.refresh().await.unwrap());
            assert_eq!(reader.get_entry("synced").await.unwrap().unwrap().seq, reader.seq().unwrap());
            assert!(!reader.refresh().await.unwrap(), "there is nothing new");
            put(&db, "written", "2", Durability::Written).await;
            a_moment().await;
            reader.refresh().await.unwrap();
            assert_eq!(reader.contains("written").await.unwrap(), !appends, "what a power cut may take does not show");
            // Longer than the interval after which it is synced.
            tokio::time::sleep(Duration::from_millis(200)).await;
            reader.refresh().await.unwrap();
            assert!(reader.contains("written").await.unwrap());
            put(&db, "deferred", "3", Durability::Deferred).await;
            db.delete("synced").await.unwrap();
            a_moment().await;
            reader.refresh().await.unwrap();
            assert_eq!(shown(&reader).await.unwrap(), read_all(&db).await.unwrap());
            db.close().await.unwrap();
            reader.refresh().await.unwrap();
            assert_eq!(shown(&reader).await.unwrap(), read_all(&world.open().await.unwrap()).await.unwrap());
            reader.close().await;
            assert_eq!(reader.refresh().await.unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}

#[test]
fn a_scan_and_a_value_stay_while_the_writer_merges() {
    for store in stores() {
        let mut world = World::new(store, small_options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            for n in 0..100 {
                put(&db, &format!("{n:03}"), [1; 200], Durability::Deferred).await;
            }
            db.flush().await.unwrap();
            a_moment().await;
            let reader = world.open_read_only().await.unwrap();
            let before = shown(&reader).await.unwrap();
            assert_eq!(before.len(), 100);
            let mut scan = reader.scan(..);
            let first = scan.try_next().await.unwrap().unwrap();
            for round in 2..5_u8 {
                for n in 0..100 {
                    put(&db, &format!("{n:03}"), [round; 200], Durability::Deferred).await;
                }
                db.compact().await.unwrap();
                reader.refresh().await.unwrap();
                assert_eq!(reader.get("050").await.unwrap().unwrap()[0], round);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut rest: State = scan.map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
            rest.insert(first.key.to_vec(), first.value);
            assert_eq!(rest, before);
            db.close().await.unwrap();
        });
    }
}

#[test]
fn it_follows_by_itself() {
    for store in stores() {
        let options = Options { refresh_interval: Some(Duration::from_millis(50)), ..small_options() };
        let mut world = World::new(store, options, 1);
        process(async {
            let db = world.open().await.unwrap();
            let reader = world.open_read_only().await.unwrap();
            db.put("k", "v").await.unwrap();
            tokio::time::sleep(Duration::from_millis(120)).await;
            assert_eq!(reader.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
            db.close().await.unwrap();
        });
    }
}

/// A writer is overtaken at every so-manieth of its turns and goes on as a zombie; a reader looks all the while. Each key
/// is written once: what was shown stays, and is there in the end.
#[test]
fn what_was_shown_survives_a_take_over() {
    for append in [true, false] {
        for pause in (0..300).step_by(6) {
            let options =
                SimulatedOptions { seed: 9, append, lock: false, yields: true, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(options), small_options(), 9);
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let (old, new, third) = (runtime().unwrap(), runtime().unwrap(), runtime().unwrap());
            let first = old.block_on(world.open()).unwrap();
            let reader = third.block_on(world.open_read_only()).unwrap();
            let write = |db: Db, name: &'static str| async move {
                for n in 0..30 {
                    let durability = [Durability::Synced, Durability::Written, Durability::Deferred][n % 3];
                    let options = WriteOptions { durability, ttl: None };
                    if db.put_with(format!("{name}{n:02}"), [1; 300], options).await.is_err() {
                        return;
                    }
                }
            };
            let mut seen = BTreeSet::new();
            let mut look = || {
                let found = third.block_on(async {
                    reader.refresh().await.unwrap();
                    shown(&reader).await.unwrap()
                });
                let found: BTreeSet<_> = found.into_keys().collect();
                assert!(found.is_superset(&seen), "append={append} pause={pause}: {:?} is gone", &seen - &found);
                seen = found;
            };
            let turns = |runtime: &tokio::runtime::Runtime, count: u64| {
                runtime.block_on(async {
                    for _ in 0..count {
                        tokio::task::yield_now().await;
                    }
                })
            };
            let zombie = old.spawn(write(first, "a"));
            (0..pause / 3).for_each(|_| {
                turns(&old, 3);
                look();
            });
            let mut rival = world.rival();
            let second = new.spawn(async move { rival.open().await.unwrap() });
            while !second.is_finished() {
                turns(&new, 2);
                turns(&old, 2);
                look();
            }
            let second = new.block_on(second).unwrap();
            let writer = new.spawn(write(second.clone(), "b"));
            for _ in 0..40 {
                turns(&old, 5);
                turns(&new, 5);
                look();
            }
            new.block_on(async {
                writer.await.unwrap();
                second.flush().await.unwrap();
                a_moment().await;
            });
            look();
            let there = new.block_on(read_all(&second)).unwrap().into_keys().collect::<BTreeSet<_>>();
            assert_eq!(there, seen, "append={append} pause={pause}");
            new.block_on(second.close()).unwrap();
            zombie.abort();
        }
    }
}

/// A store that does not keep open objects readable once they are deleted, as object stores do not.
#[derive(Debug)]
struct Forgetful(Memory);

#[derive(Debug)]
struct ForgetfulObject {
    store: Memory,
    path: Path,
    object: Arc<dyn Object>,
}

#[async_trait::async_trait]
impl Object for ForgetfulObject {
    fn len(&self) -> u64 {
        self.object.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if !self.store.exists(&self.path).await? {
            return Err(Error::new(Kind::NotFound, "read", &self.path, "no such object"));
        }
        self.object.read(range).await
    }
}

#[async_trait::async_trait]
impl Backend for Forgetful {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn location(&self) -> String {
        self.0.location()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>, Error> {
        self.0.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<(), Error> {
        self.0.create(path, data).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>, Error> {
        self.0.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>, Error> {
        self.0.append(path).await
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>, Error> {
        let object = self.0.open(path).await?;
        Ok(Arc::new(ForgetfulObject { store: self.0.clone(), path: path.clone(), object }))
    }

    async fn exists(&self, path: &Path) -> Result<bool, Error> {
        self.0.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta, Error>> {
        self.0.list(folder)
    }

    async fn delete(&self, path: &Path) -> Result<(), Error> {
        self.0.delete(path).await
    }
}

#[test]
fn where_open_objects_vanish_a_read_goes_on_to_the_newest_version() {
    for memory in [Memory::new(), Memory::create_only()] {
        process(async {
            let builder = |backend| Db::builder(backend).options(small_options());
            let db = builder(Arc::new(memory.clone())).open().await.unwrap();
            for n in 0..40 {
                put(&db, &format!("{n:02}"), [1; 300], Durability::Deferred).await;
            }
            db.compact().await.unwrap();
            let reader = builder(Arc::new(Forgetful(memory.clone()))).open_read_only().await.unwrap();
            let checkpoint = db.checkpoint("kept").await.unwrap();
            let kept = builder(Arc::new(Forgetful(memory.clone()))).open_at("kept").await.unwrap();
            let mut scan = reader.scan("10"..);
            for n in 0..40 {
                put(&db, &format!("{n:02}"), [2; 300], Durability::Deferred).await;
            }
            db.compact().await.unwrap();
            assert_eq!(kept.get("07").await.unwrap().unwrap()[0], 1);
            assert_eq!((kept.seq().unwrap(), kept.time().unwrap()), (checkpoint.seq, checkpoint.time));
            db.delete_checkpoint("kept").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            // The old segments are gone: what a read finds is right, and an error says so where there is nothing right.
            let error = scan.try_next().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gone, "{error:?}");
            assert!(error.to_string().contains("refresh"), "{error}");
            assert_eq!(reader.get("07").await.unwrap().unwrap()[0], 2);
            assert_eq!(shown(&reader).await.unwrap().len(), 40);
            // What was read together with the first is in the cache and right; what was not is gone.
            assert_eq!(kept.get("39").await.unwrap_err().kind(), ErrorKind::NotFound);
            db.close().await.unwrap();
        });
    }
}

#[test]
fn damage_in_the_log_is_found() {
    for append in [true, false] {
        let store = Store::simulated(SimulatedOptions { append, ..SimulatedOptions::default() });
        let mut world = World::new(store, small_options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            db.put("a", [1; 100]).await.unwrap();
            db.put("b", [1; 100]).await.unwrap();
            a_moment().await;
            let folder = if append { "segments" } else { "log" };
            let files: Vec<_> = world.store.backend().list(folder).try_collect().await.unwrap();
            let file = files.iter().map(|meta| meta.path.clone()).min().unwrap();
            assert!(world.store.simulator().flip_bit(&file, 200, 3));
            let error = world.open_read_only().await.unwrap_err();
            assert_eq!((error.kind(), error.place().unwrap().0), (ErrorKind::Corruption, file.as_str()));
            assert!(world.store.simulator().flip_bit(&file, 200, 3));
            let reader = world.open_read_only().await.unwrap();
            assert_eq!(shown(&reader).await.unwrap().len(), 2);
        });
    }
}

/// Real files, threads and time: a writer at full speed, and a reader that looks as often as it can.
#[test]
fn on_local_files_under_way() {
    const COUNT: usize = 3_000;
    let folder = Folder::new("readers");
    let options = Options { segment_bytes_max: 256 << 10, refresh_interval: None, ..Options::default() };
    let builder = || Db::builder(Arc::new(Local::open(folder.path(), true).unwrap())).options(options.clone());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let write = async || {
        let db = builder().open().await.unwrap();
        let mut random = Random::new(1);
        for n in 0..COUNT {
            let durability = if n % 50 == 0 { Durability::Synced } else { Durability::Deferred };
            put(&db, &format!("{n:05}"), vec![n as u8; random.below(2_000) as usize], durability).await;
            if n % 700 == 699 {
                db.compact().await.unwrap();
            }
        }
        db.close().await.unwrap();
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| runtime().block_on(write()));
        runtime().block_on(async {
            let reader = loop {
                match builder().open_read_only().await {
                    Err(error) if error.kind() == ErrorKind::NotFound => tokio::task::yield_now().await,
                    opened => break opened.unwrap(),
                }
            };
            let mut before = 0;
            loop {
                let is_last = writer.is_finished();
                reader.refresh().await.unwrap();
                let found = shown(&reader).await.unwrap();
                assert!(found.len() >= before, "it goes back");
                let first: Vec<_> = (0..found.len()).map(|n| format!("{n:05}").into_bytes()).collect();
                assert_eq!(found.into_keys().collect::<Vec<_>>(), first, "it is no prefix");
                before = first.len();
                if is_last {
                    break;
                }
            }
            assert_eq!(before, COUNT);
            assert!(reader.verify().await.unwrap().damage.is_empty());
        });
    });
}

/// Another database in the place of the one that was opened is told for what it is, also where its newest manifest has the very
/// number.
#[test]
fn another_database_in_its_place_is_told() {
    for more in [0, 4] {
        process(async {
            let memory = Memory::create_only();
            let builder = |backend| Db::builder(backend).options(small_options());
            let begin = |checkpoints: u32| {
                let opening = builder(Arc::new(memory.clone())).open();
                async move {
                    let db = opening.await.unwrap();
                    for n in 0..checkpoints {
                        put(&db, "a", "1", Durability::Synced).await;
                        db.checkpoint(format!("{n}")).await.unwrap();
                    }
                    db
                }
            };
            let db = begin(1).await;
            let reader = builder(Arc::new(Forgetful(memory.clone()))).open_read_only().await.unwrap();
            let all: Vec<_> = memory.list("").try_collect().await.unwrap();
            for meta in all {
                memory.delete(&meta.path).await.unwrap();
            }
            let other = begin(1 + more).await;
            let told = reader.get("a").await.unwrap_err();
            assert_eq!(told.kind(), ErrorKind::NotAStore, "more={more}: {told:?}");
            assert!(told.to_string().contains("another database is at mem: now"), "{told}");
            if more > 0 {
                assert_eq!(reader.refresh().await.unwrap_err().kind(), ErrorKind::NotAStore);
            }
            assert_eq!(db.reopen().await.unwrap_err().kind(), ErrorKind::NotAStore, "more={more}");
            put(&other, "b", "it was not fenced", Durability::Synced).await;
            other.close().await.unwrap();
        });
    }
}
