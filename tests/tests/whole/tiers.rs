//! A store in two tiers: the log on a machine's disk, all else in an object store.
//!
//! What the machine has is enough: whatever happens to the process, everything that was acknowledged is there. What the object
//! store has is enough for all but the end: without the disk, if that is said, a prefix is there, as long as is promised. And so it
//! is with a live backup, whatever happens to it.
#![allow(clippy::unwrap_used)]

mod shipped;

use futures::TryStreamExt;
use halite::backends::{self, Backend, Fault, Memory, Repeat, Simulated, SimulatedOptions, Tiered};
use halite::{Db, Error, ErrorKind, Options, ShipOptions};
use halite_tests::far::Far;
use halite_tests::world::{assert_sound, process, read_all, small_options};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A machine's disk, and the object store that all machines see.
#[derive(Clone)]
struct Tiers {
    log: Simulated,
    store: Simulated,
}

impl Tiers {
    fn new() -> Tiers {
        let store = SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() };
        Tiers { log: disk(1), store: Simulated::new(store) }
    }

    async fn backend(&self) -> Arc<dyn Backend> {
        self.reach().await.unwrap()
    }

    async fn reach(&self) -> backends::Result<Arc<dyn Backend>> {
        Ok(Arc::new(Tiered::open(Arc::new(self.log.clone()), Arc::new(self.store.clone())).await?))
    }

    async fn open(&self) -> Result<Db, Error> {
        Db::builder(self.reach().await?).options(small_options()).open().await
    }

    /// Another machine, with an empty disk.
    fn elsewhere(&self) -> Tiers {
        Tiers { log: disk(2), ..self.clone() }
    }

    /// What is there after the process has ended, and the power with it if there is a `cut`.
    fn after(&self, cut: Option<u64>) -> Tiers {
        let log = cut.map_or_else(|| self.log.kill(), |seed| self.log.power_cut(seed));
        Tiers { log, store: self.store.kill() }
    }

    fn is_crashed(&self) -> bool {
        self.log.is_crashed() || self.store.is_crashed()
    }
}

fn disk(seed: u64) -> Simulated {
    Simulated::new(SimulatedOptions { seed, ..SimulatedOptions::default() })
}

fn key(n: u32) -> Vec<u8> {
    format!("{n:05}").into_bytes()
}

/// Puts so many records, each durable when it is counted, over seals and a merge.
async fn write(tiers: &Tiers, count: u32, acknowledged: &Mutex<u32>) -> Result<(), Error> {
    let db = tiers.open().await?;
    for n in 0..count {
        db.put(key(n), [n as u8; 400]).await?;
        *acknowledged.lock().unwrap() = n + 1;
        if n == count / 2 {
            db.compact().await?;
        }
    }
    db.close().await
}

/// Runs [`write`] until it ends, or the process does.
fn play(tiers: &Tiers, count: u32) -> u32 {
    let acknowledged = Mutex::new(0);
    process(async {
        let dies = async {
            while !tiers.is_crashed() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        drop(futures::future::select(Box::pin(write(tiers, count, &acknowledged)), Box::pin(dies)).await);
    });
    acknowledged.into_inner().unwrap()
}

/// What the store shows: the first so many records, and no others.
async fn shown(db: &Db) -> u32 {
    let all = read_all(db).await.unwrap();
    for (n, (found, value)) in (0..).zip(&all) {
        assert_eq!((found, &value[..]), (&key(n), &[n as u8; 400][..]), "what is there is a prefix");
    }
    all.len() as u32
}

#[test]
fn what_was_acknowledged_survives_any_crash_with_its_disk_and_a_prefix_without() {
    const COUNT: u32 = 26;
    let calm = Tiers::new();
    assert_eq!(play(&calm, COUNT), COUNT);
    let steps = [(true, calm.log.steps()), (false, calm.store.steps())];
    let (mut lost_most, mut images) = (0, 0);
    for (of_log, step) in steps.into_iter().flat_map(|(of_log, steps)| (0..steps).map(move |step| (of_log, step))) {
        let tiers = Tiers::new();
        if of_log {
            tiers.log.crash_at(step)
        } else {
            tiers.store.crash_at(step)
        }
        let acknowledged = play(&tiers, COUNT);
        for cut in [None, Some(step)] {
            let story = format!("of_log={of_log} step={step} cut={cut:?} acknowledged={acknowledged}");
            let left = tiers.after(cut);
            images += 1;
            process(async {
                let db = left.open().await.unwrap_or_else(|error| panic!("{story}: {error:?}"));
                assert!(shown(&db).await >= acknowledged, "{story}");
                assert_sound(&db).await;
                db.put("later", "x").await.unwrap();
                db.close().await.unwrap();
                assert_eq!(left.log.files().len(), 2, "{story}: all is shipped: {:?}", left.log.files());
            });
            if cut.is_some() {
                continue;
            }
            let elsewhere = tiers.after(cut).elsewhere();
            process(async {
                let outcome = elsewhere.open().await;
                let db = match outcome {
                    // Nothing was in the log.
                    Ok(db) => db,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::LogElsewhere, "{story}: {error:?}");
                        let builder = Db::builder(elsewhere.backend().await).options(small_options());
                        builder.give_up_log().open().await.unwrap_or_else(|error| panic!("{story}: {error:?}"))
                    }
                };
                let shown = shown(&db).await;
                lost_most = lost_most.max(acknowledged.saturating_sub(shown));
                assert_sound(&db).await;
                db.close().await.unwrap();
            });
        }
    }
    // Of 4 KiB each: the segment being written, and those that wait for their seal.
    assert!((5..=30).contains(&lost_most) && images > 500, "{lost_most} {images}");
    println!("counted: {images} states");
}

#[test]
fn a_commit_waits_for_the_disk_alone() {
    process(async {
        let (log, store) = (Memory::new(), Arc::new(Memory::create_only()));
        let far = Arc::new(Far::new(store, Duration::from_millis(100)));
        let tiers = Arc::new(Tiered::open(Arc::new(log), far).await.unwrap());
        let db = Db::builder(tiers).open().await.unwrap();
        let begun = tokio::time::Instant::now();
        db.put("first", "x").await.unwrap();
        let first = begun.elapsed();
        for n in 0..100 {
            db.put(key(n), "x").await.unwrap();
        }
        assert_eq!((first, begun.elapsed()), (Duration::ZERO, Duration::ZERO), "the store is not asked anything");
        db.close().await.unwrap();
    });
}

/// What a lost machine loses, in time.
#[test]
fn nothing_stays_unshipped_for_long() {
    for (seal_interval, seconds) in [(None, 60), (Some(Duration::from_secs(5)), 5)] {
        for after in [17, 64, 121, 299] {
            let tiers = Tiers::new();
            let put = process(async {
                let options = Options { seal_interval, ..Options::default() };
                let db = Db::builder(tiers.backend().await).options(options).open().await.unwrap();
                for n in 0..after * 10 {
                    db.put(key(n), [n as u8; 400]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                std::mem::forget(db);
                after * 10
            });
            let elsewhere = tiers.elsewhere();
            process(async {
                let builder = Db::builder(elsewhere.backend().await).options(small_options());
                let db = builder.give_up_log().open().await.unwrap();
                let lost = put - shown(&db).await;
                assert!(lost <= seconds * 10 + 1, "of the last {seconds} s at most: {lost} of {put}");
            });
        }
    }
}

/// A machine that was taken for lost and is not: it hears of it within moments, and spoils nothing.
#[test]
fn who_was_given_up_hears_of_it() {
    process(async {
        let tiers = Tiers::new();
        let old = tiers.open().await.unwrap();
        old.put(key(0), [0; 400]).await.unwrap();
        old.flush().await.unwrap();
        old.checkpoint("shipped").await.unwrap();
        old.put(key(1), [1; 400]).await.unwrap();

        let other = tiers.elsewhere();
        let refused = other.open().await.unwrap_err();
        assert!(
            refused.kind() == ErrorKind::LogElsewhere && refused.to_string().contains("kept elsewhere"),
            "{refused}"
        );
        // Nor does the object store alone look whole.
        let alone = || Db::builder(Arc::new(tiers.store.clone())).options(small_options());
        assert_eq!(alone().open().await.unwrap_err().kind(), ErrorKind::LogElsewhere);
        let builder = Db::builder(other.backend().await).options(small_options());
        let new = builder.give_up_log().open().await.unwrap();
        assert_eq!(shown(&new).await, 1);
        new.put(key(1), [1; 400]).await.unwrap();

        // Acknowledged, and in a log that was given up.
        old.put("late", "x").await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(old.put("later", "x").await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(old.reopen().await.unwrap_err().kind(), ErrorKind::LogElsewhere);
        drop(old);
        assert_eq!(shown(&new).await, 2);
        new.close().await.unwrap();

        // Closed, a store needs no log: any machine opens it, unless it would leave something behind.
        let refused = tiers.open().await.unwrap_err();
        assert!(refused.kind() == ErrorKind::LogElsewhere && refused.to_string().contains("the log here"), "{refused}");
        let builder = Db::builder(tiers.backend().await).options(small_options());
        let back = builder.give_up_log().open().await.unwrap();
        assert_eq!(shown(&back).await, 2);
        back.close().await.unwrap();
        let alone = alone().open().await.unwrap();
        assert_eq!(shown(&alone).await, 2);
        assert_sound(&alone).await;
        alone.close().await.unwrap();
    });
}

/// Longer than anything that gives up would have patience.
const LONG: Duration = Duration::from_secs(1200);

/// Puts until no more is taken. Returns how many were.
async fn fill(db: &Db, from: u32) -> (u32, Error) {
    for n in from..from + 1000 {
        match tokio::time::timeout(Duration::from_secs(60), db.put(key(n), [n as u8; 400])).await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return (n - from, refused),
            Err(_) => panic!("put {n} hangs"),
        }
    }
    panic!("there is no bound");
}

/// What cannot be shipped waits, and so does whoever would need more room than there is; nothing is given up, whatever of a seal it
/// was that the store was away for, and when it is back everything goes on.
#[test]
fn a_store_that_is_away_for_long_is_waited_for() {
    process(async {
        let tiers = Tiers::new();
        let far = Far::new(Arc::new(tiers.store.clone()), Duration::from_millis(7));
        let backend = Arc::new(Tiered::open(Arc::new(tiers.log.clone()), Arc::new(far.clone())).await.unwrap());
        let db = Db::builder(backend.clone()).options(small_options()).open().await.unwrap();
        let mut count = 0;
        // So that it goes away during the upload, the seal's read of it, and the manifest that names it.
        for delay in (0..80).step_by(5) {
            let story = format!("away after {delay} ms");
            let asked = tokio::time::Instant::now();
            let (away, from) = (far.clone(), count);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                away.set_away(true);
            });
            let (taken, refused) = fill(&db, from).await;
            count += taken;
            assert!(asked.elapsed() < Duration::from_secs(60), "{story}");
            assert_eq!(refused.kind(), ErrorKind::Io, "{story}: {refused:?}");
            let told = format!("{refused:?}");
            assert!(told.contains("the store cannot be reached") && told.contains("nobody answers"), "{story}: {told}");
            tokio::time::sleep(LONG).await;
            assert_eq!(fill(&db, count).await.0, 0, "{story}: there is no room for more");
            let stats = db.stats();
            assert!(stats.seal_failure.is_some_and(|told| told.contains("nobody answers")), "{story}");
            assert_eq!(stats.failure, None, "{story}");
            assert_eq!(db.checkpoint("now").await.unwrap_err().kind(), ErrorKind::Io, "{story}");
            assert_eq!(
                db.get(key(count - 1)).await.unwrap().as_deref(),
                Some(&[(count - 1) as u8; 400][..]),
                "{story}"
            );
            far.set_away(false);
            // The longest pause, and what the store takes.
            tokio::time::sleep(Duration::from_secs(45)).await;
            assert_eq!(db.stats().seal_failure, None, "{story}");
            db.put(key(count), [count as u8; 400]).await.unwrap();
            count += 1;
        }
        assert_eq!(shown(&db).await, count);
        assert_sound(&db).await;

        // Closed while it is away, what was committed stays on the disk.
        db.flush().await.unwrap();
        far.set_away(true);
        let closed = tokio::time::timeout(Duration::from_secs(60), db.close()).await.expect("it does not wait");
        assert!(closed.is_err());
        far.set_away(false);
        let again = Db::builder(backend).options(small_options()).open().await.unwrap();
        assert_eq!(shown(&again).await, count);
        again.close().await.unwrap();
        assert_eq!(tiers.log.files().len(), 2, "all is shipped: {:?}", tiers.log.files());
    });
}

/// Whether a manifest was created is not known, for long: it is sent until that is.
#[test]
fn a_manifest_in_doubt_is_settled_when_the_store_is_back() {
    process(async {
        let tiers = Tiers::new();
        let db = tiers.open().await.unwrap();
        let kind = backends::ErrorKind::Unknown;
        tiers
            .store
            .fail_when(Fault { at_step: 0, kind, repeat: Repeat::Forever, applied: false }, |step| step.op == "create");
        let (count, _) = fill(&db, 0).await;
        tokio::time::sleep(LONG).await;
        assert!(db.stats().seal_failure.is_some() && db.stats().failure.is_none());
        tiers.store.heal();
        tokio::time::sleep(Duration::from_secs(45)).await;
        db.put(key(count), [count as u8; 400]).await.unwrap();
        db.close().await.unwrap();
        let elsewhere = tiers.elsewhere().open().await.unwrap();
        assert_eq!(shown(&elsewhere).await, count + 1);
        assert_sound(&elsewhere).await;
        elsewhere.close().await.unwrap();
    });
}

/// All that is in one store, in another, as whoever moves a bucket brings it there.
async fn moved(store: &dyn Backend) -> Memory {
    let to = Memory::create_only();
    let all: Vec<_> = store.list("").try_collect().await.unwrap();
    for meta in all {
        to.create(&meta.path, store.read_whole(&meta.path).await.unwrap()).await.unwrap();
    }
    to
}

/// A log belongs to a database, wherever its store is: not to another one, nor to a copy of its own.
#[test]
fn a_log_follows_its_store_and_no_other() {
    process(async {
        let tiers = Tiers::new();
        let db = tiers.open().await.unwrap();
        for n in 0..15 {
            db.put(key(n), [n as u8; 400]).await.unwrap();
        }
        let copy = Memory::create_only();
        db.copy_to(Arc::new(copy.clone())).await.unwrap();
        db.put(key(15), [15; 400]).await.unwrap();
        std::mem::forget(db);

        // What is there after the process has ended.
        let Tiers { log, store } = tiers.after(None);
        let with = |store: Memory| {
            let log = Arc::new(log.clone());
            async move {
                Ok::<_, Error>(
                    Db::builder(Arc::new(Tiered::open(log, Arc::new(store)).await?)).options(small_options()),
                )
            }
        };
        let files = log.files();
        let another = Memory::create_only();
        Db::builder(Arc::new(another.clone())).open().await.unwrap().close().await.unwrap();
        let refused = with(another.clone()).await.unwrap().give_up_log().open().await.unwrap_err();
        assert!(
            refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("another database"),
            "{refused}"
        );
        let refused = with(another).await.unwrap().open_read_only().await.unwrap_err();
        assert!(
            refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("another database"),
            "{refused}"
        );
        let refused = with(copy).await.unwrap().open().await.unwrap_err();
        assert!(refused.kind() == ErrorKind::LogElsewhere && refused.to_string().contains("the log here"), "{refused}");
        assert!(log.files() == files, "nothing in it was touched");

        let db = with(moved(&store).await).await.unwrap().open().await.unwrap();
        assert_eq!(shown(&db).await, 16);
        assert_sound(&db).await;
        db.close().await.unwrap();
    });
}

/// Two processes of one machine, whose disk has no locks: who was overtaken hears of it before it acknowledges.
#[test]
fn where_nothing_is_locked_a_writer_looks_first() {
    process(async {
        let log = Simulated::new(SimulatedOptions { seed: 1, lock: false, ..SimulatedOptions::default() });
        let tiers = Tiers { log, ..Tiers::new() };
        let old = tiers.open().await.unwrap();
        old.put(key(0), [0; 400]).await.unwrap();
        let new = tiers.open().await.unwrap();
        assert_eq!(shown(&new).await, 1);
        assert!(old.put(key(1), [1; 400]).await.is_err(), "nobody would find it");
        drop(old);
        assert_eq!(shown(&new).await, 1);
        new.close().await.unwrap();
    });
}

#[test]
fn readers_see_the_log_where_it_is_and_what_is_sealed_elsewhere() {
    process(async {
        let tiers = Tiers::new();
        let db = tiers.open().await.unwrap();
        db.put("sealed", "x").await.unwrap();
        db.checkpoint("one").await.unwrap();
        db.put("logged", "x").await.unwrap();
        db.put("marks it", "x").await.unwrap();
        let here = Db::builder(tiers.backend().await).open_read_only().await.unwrap();
        let there = Db::builder(Arc::new(tiers.store.clone())).open_read_only().await.unwrap();
        assert!(here.contains("sealed").await.unwrap() && here.contains("logged").await.unwrap());
        assert!(there.contains("sealed").await.unwrap() && !there.contains("logged").await.unwrap());
        db.checkpoint("two").await.unwrap();
        there.refresh().await.unwrap();
        assert!(there.contains("logged").await.unwrap());
        db.close().await.unwrap();
    });
}

/// From one tier to two, and on to none.
#[test]
fn a_store_moves_from_any_to_any() {
    process(async {
        let plain = Db::builder(Arc::new(Memory::new())).options(small_options()).open().await.unwrap();
        for n in 0..20 {
            plain.put(key(n), [n as u8; 400]).await.unwrap();
        }
        let tiers = Tiers::new();
        plain.copy_to(tiers.backend().await).await.unwrap();
        let tiered = tiers.open().await.unwrap();
        assert_eq!(shown(&tiered).await, 20);
        tiered.put(key(20), [20; 400]).await.unwrap();
        let back = Arc::new(Memory::new());
        tiered.copy_to(back.clone()).await.unwrap();
        let back = Db::builder(back).open().await.unwrap();
        assert_eq!(shown(&back).await, 21);
        for db in [plain, tiered, back] {
            db.close().await.unwrap();
        }

        // A log of fragments, left by a crash, is taken over by one that grows.
        let store = Tiers::new();
        let fragments = Db::builder(Arc::new(store.store.clone())).options(small_options()).open().await.unwrap();
        fragments.put(key(0), [0; 400]).await.unwrap();
        std::mem::forget(fragments);
        let tiered = store.open().await.unwrap();
        assert_eq!(shown(&tiered).await, 1);
        tiered.close().await.unwrap();
    });
}

async fn restored(live: Arc<dyn Backend>) -> Db {
    let place = Arc::new(Memory::new());
    Db::restore(live, None, place.clone()).await.unwrap();
    Db::builder(place).open().await.unwrap()
}

fn once() -> ShipOptions {
    ShipOptions { interval: None, ..ShipOptions::default() }
}

/// What a lost machine loses that has a live backup, in time.
#[test]
fn a_live_backup_is_never_older_than_its_interval() {
    for (beside, seconds) in [(false, 10), (true, 3)] {
        process(async {
            let (store, far) = (Arc::new(Memory::new()), Arc::new(Memory::create_only()));
            let live: Arc<dyn Backend> = Arc::new(Far::new(far, Duration::from_millis(20)));
            let db = Db::builder(store.clone()).options(small_options()).open().await.unwrap();
            let options = ShipOptions { interval: Some(Duration::from_secs(seconds)), ..ShipOptions::default() };
            let shipments = Arc::new(Mutex::new(0));
            let (counted, to, writer) = (shipments.clone(), live.clone(), db.clone());
            let told = move |_: &_| *counted.lock().unwrap() += 1;
            let shipping = tokio::spawn(async move {
                if beside {
                    let reader = Db::builder(store).options(small_options()).open_read_only().await.unwrap();
                    reader.ship_to(to, options, told).await
                } else {
                    writer.ship_to(to, options, told).await
                }
            });
            for n in 0..1000 {
                db.put(key(n), [n as u8; 400]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                if n % 197 == 100 {
                    let restored = restored(live.clone()).await;
                    // A shipment takes some of the far store's 20 ms.
                    assert!(n - shown(&restored).await <= seconds as u32 * 10 + 20, "{n}");
                    restored.close().await.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            let quiet = *shipments.lock().unwrap();
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!(*shipments.lock().unwrap(), quiet, "where nothing is committed, nothing is shipped");
            let restored = restored(live).await;
            assert_eq!(shown(&restored).await, 1000);
            restored.close().await.unwrap();
            db.close().await.unwrap();
            if beside {
                shipping.abort();
            } else {
                shipping.await.unwrap().unwrap();
            }
        });
    }
}

#[test]
fn whatever_ends_a_shipment_leaves_the_one_before() {
    let ship = |step: Option<u64>| {
        process(async {
            let live = Tiers::new().store;
            let db = Db::builder(Arc::new(Memory::new())).options(small_options()).open().await.unwrap();
            for n in 0..30 {
                db.put(key(n), [n as u8; 400]).await.unwrap();
            }
            db.ship_to(Arc::new(live.clone()), once(), |_| {}).await.unwrap();
            let first = live.steps();
            for n in 30..60 {
                db.put(key(n), [n as u8; 400]).await.unwrap();
            }
            db.compact().await.unwrap();
            let Some(step) = step else {
                db.ship_to(Arc::new(live.clone()), once(), |_| {}).await.unwrap();
                return live.steps() - first;
            };
            live.crash_at(first + step);
            // It may be done but for what it was to delete.
            let _ = db.ship_to(Arc::new(live.clone()), once(), |_| {}).await;
            let live = live.kill();
            let left = restored(Arc::new(live.clone())).await;
            assert!([30, 60].contains(&shown(&left).await), "step {step}");
            left.close().await.unwrap();
            db.ship_to(Arc::new(live.clone()), once(), |_| {}).await.unwrap();
            let all = restored(Arc::new(live.clone())).await;
            assert_eq!(shown(&all).await, 60, "step {step}");
            all.close().await.unwrap();
            let reader = Db::builder(Arc::new(live)).open_read_only().await.unwrap();
            let backups = reader.checkpoints().unwrap();
            assert_eq!(backups.iter().map(|backup| &*backup.name).collect::<Vec<_>>(), ["live"]);
            assert!(reader.collectable().await.unwrap().is_empty(), "step {step}");
            0
        })
    };
    let steps = ship(None);
    assert!(steps > 20, "{steps}");
    for step in 0..steps {
        ship(Some(step));
    }
}
