//! What the engines are asked to do.

use crate::engine::{Engine, HALITE, Reader, client};
use crate::figures::{self, Figures};
use crate::store::{Asked, Store};
use crate::{BUDGET, FLUSH_INTERVAL, KEY_LEN, Result, VALUE_LEN, key, scattered, value};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::time::{Duration, Instant};

/// Records of a batch.
const BATCH: u64 = 100;
/// Tasks that each wait until what they put is durable, and how often each does.
const TASKS: u64 = 64;
const PUTS: u64 = 20;
/// How long it is written at a steady pace, and how long nothing is done.
const STEADY: Duration = Duration::from_secs(3);
/// Point reads that find something, opens from nothing, and keys that are not there.
const READS: u64 = 200;
const OPENS: u64 = 3;
const ABSENT: u64 = 3000;
/// Records of a scan.
const SCANNED: u64 = 100_000;
/// Reads through the local cache, of each engine: of the one that is quick there, for long enough.
const CACHED: [u64; 2] = [400_000, 40_000];
/// A scan needs neighbours.
pub(crate) const RECORDS_MIN: u64 = SCANNED + 20_000;

struct Timed<T> {
    done: T,
    asked: Asked,
    took: Duration,
}

async fn timed<T>(store: &Store, work: impl Future<Output = Result<T>>) -> Result<Timed<T>> {
    let (before, begun) = (store.asked(), Instant::now());
    let done = work.await?;
    Ok(Timed { done, took: begun.elapsed(), asked: store.asked().since(before) })
}

/// All but what has nothing to do with the store's latency.
pub(crate) async fn all(engine: usize, store: &Store, records: u64, figures: &mut Figures) -> Result {
    write(engine, store, records, figures).await?;
    open(engine, store, figures).await?;
    read(engine, store, records, figures).await?;
    scan(engine, store, records, figures).await
}

async fn load(db: &Engine, records: u64) -> Result {
    for first in (0..records).step_by(BATCH as usize) {
        db.put_many((first..records.min(first + BATCH)).map(|number| scattered(records, number))).await?;
    }
    db.flush().await
}

async fn write(engine: usize, store: &Store, records: u64, figures: &mut Figures) -> Result {
    let db = Engine::open(engine, &store.endpoint, BUDGET, true).await?;
    let before = store.asked();
    let Timed { took, .. } = timed(store, load(&db, records)).await?;
    figures.note(figures::INGEST, engine, records as f64 / took.as_secs_f64() / 1000.0);
    db.seal().await?;
    let sent = store.asked().since(before).sent - db.merged();
    let user = records * (KEY_LEN + VALUE_LEN as u64);
    figures.note(figures::UPLOADED, engine, sent as f64 / user as f64);

    let tasks = (0..TASKS).map(|task| {
        let db = &db;
        async move {
            for put in 0..PUTS {
                db.put_durably(scattered(records, task * PUTS + put)).await?;
            }
            Result::Ok(())
        }
    });
    let tasks: FuturesUnordered<_> = tasks.collect();
    let Timed { took, .. } = timed(store, tasks.try_collect::<()>()).await?;
    figures.note(figures::DURABLE, engine, (TASKS * PUTS) as f64 / took.as_secs_f64());
    let alone = async {
        for number in 0..10 {
            tokio::time::sleep(FLUSH_INTERVAL * 2).await;
            db.put_durably(number).await?;
        }
        Ok(())
    };
    let Timed { took, .. } = timed(store, alone).await?;
    figures.note(figures::DURABLE_LATENCY, engine, (took / 10 - FLUSH_INTERVAL * 2).as_secs_f64() * 1000.0);

    for (measure, durably) in [(figures::PACED, false), (figures::PACED_DURABLE, true)] {
        db.flush().await?;
        let Timed { asked, took, .. } = timed(store, steadily(&db, durably)).await?;
        let intervals = took.as_secs_f64() / FLUSH_INTERVAL.as_secs_f64();
        figures.note(measure, engine, asked.puts as f64 / intervals);
    }
    db.flush().await?;
    // What goes on behind a flush comes to its end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = async {
        tokio::time::sleep(STEADY).await;
        Ok(())
    };
    let Timed { asked, .. } = timed(store, idle).await?;
    figures.note(figures::IDLE, engine, asked.total() as f64 / STEADY.as_secs_f64());
    db.seal().await?;
    db.merge().await?;
    db.close().await
}

/// A put each millisecond; each waited for by somebody, or by nobody.
async fn steadily(db: &Engine, durably: bool) -> Result {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let until = Instant::now() + STEADY;
    let mut waiting = FuturesUnordered::new();
    for number in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(done) = waiting.next(), if !waiting.is_empty() => {
                Result::Ok(done)??;
                continue;
            }
        }
        if Instant::now() > until {
            break;
        }
        if durably {
            waiting.push(db.put_durably(number));
        } else {
            db.put_many([number].into_iter()).await?;
        }
    }
    waiting.try_collect().await
}

async fn open(engine: usize, store: &Store, figures: &mut Figures) -> Result {
    for _ in 0..OPENS {
        let opened = timed(store, Reader::open(engine, &store.endpoint, BUDGET, None)).await?;
        figures.note(figures::OPEN_TO_READ, engine, opened.asked.total() as f64);
        opened.done.close().await?;
        let opened = timed(store, Engine::open(engine, &store.endpoint, BUDGET, false)).await?;
        figures.note(figures::OPEN_TO_WRITE, engine, opened.asked.total() as f64);
        opened.done.close().await?;
    }
    Ok(())
}

async fn check(reader: &Reader, number: u64) -> Result {
    match reader.get(key(number)).await? {
        Some(found) if found[..] == value(number)[..] => Ok(()),
        _ => Err(format!("record {number} is not what was put").into()),
    }
}

async fn read(engine: usize, store: &Store, records: u64, figures: &mut Figures) -> Result {
    for number in 0..OPENS {
        let reader = Reader::open(engine, &store.endpoint, BUDGET, None).await?;
        let first = timed(store, check(&reader, scattered(records, number * 397 + 1))).await?;
        figures.note(figures::FROM_NOTHING, engine, first.asked.gets as f64 / reader.runs().await? as f64);
        reader.close().await?;
    }
    let reader = Reader::open(engine, &store.endpoint, BUDGET, None).await?;
    // SlateDB has read all filters and indexes then, as there are few files.
    reader.warm((0..50).map(|n| n * records / 50)).await?;
    let (mut times, mut own_times, mut gets) = (Vec::new(), Vec::new(), 0);
    let (client, path) = raw(store, 1 << 20).await?;
    for number in 0..READS {
        let got = timed(store, check(&reader, scattered(records, number * 397 + 11))).await?;
        gets += got.asked.gets;
        times.push(got.took.as_secs_f64());
        let begun = Instant::now();
        let at = number * 4096 % (1 << 19);
        client.get_range(&path, at..at + 4096).await?;
        own_times.push(begun.elapsed().as_secs_f64());
    }
    figures.note(figures::KNOWN, engine, gets as f64 / READS as f64);
    figures.note(figures::KNOWN_LATENCY, engine, middle(times) / middle(own_times));
    let absent = async {
        for number in 0..ABSENT {
            if reader.get(format!("{}?", key(scattered(records, number * 397 + 7)))).await?.is_some() {
                return Err("an absent key is there".into());
            }
        }
        Ok(())
    };
    let Timed { asked, .. } = timed(store, absent).await?;
    figures.note(figures::ABSENT, engine, asked.gets as f64 / ABSENT as f64 / reader.runs().await? as f64);
    reader.close().await
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// An object of so many bytes and some more, and who reads it.
async fn raw(store: &Store, bytes: u64) -> Result<(std::sync::Arc<dyn object_store::ObjectStore>, Path)> {
    let (client, path) = (client(&store.endpoint)?, Path::from(format!("raw/{bytes}")));
    client.put(&path, vec![7; bytes as usize + 1000].into()).await?;
    Ok((client, path))
}

async fn scan(engine: usize, store: &Store, records: u64, figures: &mut Figures) -> Result {
    let bytes = SCANNED * (KEY_LEN + VALUE_LEN as u64);
    let (client, path) = raw(store, bytes).await?;
    let mut own = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        client.get_range(&path, 1000..bytes + 1000).await?;
        own.push(begun.elapsed().as_secs_f64());
    }
    let own = middle(own);
    for turn in 0..OPENS {
        let first = turn * (records - SCANNED) / OPENS;
        let reader = Reader::open(engine, &store.endpoint, BUDGET, None).await?;
        let cold = timed(store, reader.scan(first..first + SCANNED)).await?;
        figures.note(figures::SCAN_FROM_NOTHING, engine, own / cold.took.as_secs_f64());
        reader.close().await?;
        let reader = Reader::open(engine, &store.endpoint, BUDGET, None).await?;
        reader.warm((0..50).map(|n| n * records / 50)).await?;
        let known = timed(store, reader.scan(first..first + SCANNED)).await?;
        figures.note(figures::SCAN, engine, own / known.took.as_secs_f64());
        reader.close().await?;
    }
    Ok(())
}

/// Reads through a cache on the local disk, and of local files.
pub(crate) async fn cached(engine: usize, store: &Store, records: u64, figures: &mut Figures) -> Result {
    let db = Engine::open(engine, &store.endpoint, BUDGET, true).await?;
    load(&db, records).await?;
    db.seal().await?;
    db.merge().await?;
    db.close().await?;
    let folder = std::env::temp_dir().join(format!("halite-beside-slatedb-{}", std::process::id()));
    let disk = folder.join(figures::NAMES[engine]);
    std::fs::create_dir_all(&disk)?;
    // Memory does not hold all, so that it is the disk that is read.
    let budget = records * (KEY_LEN + VALUE_LEN as u64) / 8;
    let reader = Reader::open(engine, &store.endpoint, budget, Some(&disk)).await?;
    let reads = CACHED[engine];
    for _ in 0..2 {
        reader.scan(0..records).await?;
        rate(&reader, records, reads / 4).await?;
    }
    let Timed { done: cached, asked, .. } = timed(store, rate(&reader, records, reads)).await?;
    eprintln!("  {} GETs while the cache was read", asked.gets);
    figures.note(figures::CACHED, engine, cached / 1000.0);
    reader.close().await?;
    if engine == HALITE {
        let local = Reader::local(&store.endpoint, &folder.join("local"), budget).await?;
        rate(&local, records, reads / 4).await?;
        figures.note(figures::CACHED_SHARE, engine, cached / rate(&local, records, reads).await?);
        local.close().await?;
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Point reads a second, at random.
async fn rate(reader: &Reader, records: u64, reads: u64) -> Result<f64> {
    let begun = Instant::now();
    for number in 0..reads {
        check(reader, scattered(records, number * 397 + 11)).await?;
    }
    Ok(reads as f64 / begun.elapsed().as_secs_f64())
}
