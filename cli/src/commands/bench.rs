//! The command `bench`: what this machine and this store can do, phase by phase.
//!
//! Keys and values are random and differ from run to run in nothing, so two runs measure the same work. Every value read
//! is checked: a wrong answer fails the run. Times of single reads are taken of one in eight, as taking the time costs
//! as much as a quick read.

use crate::args::BenchArgs;
use crate::failure::{Exit, Failure, Result, say};
use crate::interrupt::Interrupt;
use crate::output::Out;
use crate::store::{self, Settings};
use crate::text;
use futures::StreamExt;
use halite::{Db, Durability, WriteBatch, WriteOptions};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LOAD_BATCH: u64 = 1000;
const SCAN_LIMIT: u64 = 100;
const SAMPLE_EVERY: u64 = 8;

/// Runs all phases on the store at `uri`, or on a temporary one.
pub(super) async fn run(args: &BenchArgs, uri: Option<&str>, settings: Settings, out: &mut Out) -> Result<Exit> {
    let temporary = if uri.is_none() { Some(Temporary::new()?) } else { None };
    let uri = match (uri, &temporary) {
        (Some(uri), _) => uri.to_owned(),
        (None, Some(folder)) => folder.uri(),
        (None, None) => unreachable!("a temporary store is made where none is named"),
    };
    let db = store::open(&uri, true, settings).await?;
    let measured = measure(args, &db).await;
    let stats = db.stats();
    let closed = db.close().await;
    let phases = measured?;
    closed?;
    drop(temporary);
    let document = json!({
        "n": args.n,
        "key_bytes": args.key_bytes,
        "value_bytes": args.value_bytes,
        "store": stats.location,
        "phases": phases.iter().map(Phase::document).collect::<Vec<_>>(),
        "segment_bytes": stats.segment_bytes,
        "keydir_bytes": stats.keydir_bytes,
    });
    out.document(&document, || {
        let mut table = format!(
            "{}, keys of {} bytes, values of {} bytes, in {}\n\n",
            text::counted(args.n, "record"),
            args.key_bytes,
            args.value_bytes,
            stats.location
        );
        let _ = writeln!(
            table,
            "{:<28}{:>12}{:>10}{:>14}{:>11}{:>11}{:>11}",
            "", "operations", "seconds", "a second", "median", "99 %", "slowest"
        );
        phases.iter().for_each(|phase| table.push_str(&phase.row()));
        table
    })?;
    Ok(Exit::Done)
}

async fn measure(args: &BenchArgs, db: &Db) -> Result<Vec<Phase>> {
    if db.scan(..).keys_only().limit(1).next().await.transpose()?.is_some() {
        return Err(Failure::usage("the store is not empty, and bench would write into it")
            .hint("name a new place with --store, or none for a temporary one"));
    }
    let work = Work { db, data: Data::of(args), interrupt: Interrupt::listen() };
    let mut phases = Vec::new();
    for phase in [
        work.load(args.n).await,
        work.settle(args.n).await,
        work.get("get, any key", args.n, 0, args.n).await,
        // The same keys: what had to be read is in memory now, as far as it has room.
        work.get("get, again", args.n, 0, args.n).await,
        work.get("get, absent key", args.n, args.n, args.n).await,
        work.scan(args.n, (args.n / 100).clamp(10, 10_000)).await,
        work.put(args.n * 2, args.puts).await,
        work.put_many(args.n * 2 + args.puts, args.writers, args.puts.div_ceil(args.writers).max(1) * 4).await,
    ] {
        phases.push(phase?);
    }
    Ok(phases)
}

/// What a phase came to.
#[derive(Debug)]
struct Phase {
    name: String,
    operations: u64,
    time: Duration,
    /// Sorted.
    samples: Vec<Duration>,
}

impl Phase {
    fn new(name: impl Into<String>, operations: u64, begin: Instant, mut samples: Vec<Duration>) -> Phase {
        let time = begin.elapsed();
        samples.sort_unstable();
        Phase { name: name.into(), operations, time, samples }
    }

    fn per_second(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64().max(1e-9)
    }

    /// The time within which this share of the operations was done.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.samples.len().checked_sub(1)?;
        Some(self.samples[(last as f64 * share).round() as usize])
    }

    fn document(&self) -> Value {
        let nanos = |share| self.quantile(share).map(|time| time.as_nanos() as u64);
        json!({
            "name": self.name,
            "operations": self.operations,
            "seconds": self.time.as_secs_f64(),
            "per_second": self.per_second(),
            "p50_ns": nanos(0.5),
            "p99_ns": nanos(0.99),
            "max_ns": nanos(1.0),
        })
    }

    fn row(&self) -> String {
        let time = |share| self.quantile(share).map_or_else(String::new, micros);
        format!(
            "{:<28}{:>12}{:>10.2}{:>14}{:>11}{:>11}{:>11}\n",
            self.name,
            text::count(self.operations),
            self.time.as_secs_f64(),
            text::count(self.per_second() as u64),
            time(0.5),
            time(0.99),
            time(1.0)
        )
    }
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// Keys and values by number.
#[derive(Clone, Copy, Debug)]
struct Data {
    key_bytes: usize,
    value_bytes: usize,
}

impl Data {
    fn of(args: &BenchArgs) -> Data {
        Data { key_bytes: args.key_bytes as usize, value_bytes: args.value_bytes as usize }
    }

    fn key(self, number: u64) -> Vec<u8> {
        // The first eight bytes are a permutation of the number, so no two keys are the same.
        fill(self.key_bytes, number)
    }

    fn value(self, number: u64) -> Vec<u8> {
        fill(self.value_bytes, !number)
    }
}

/// SplitMix64's mixer: a permutation of the 64-bit numbers.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn fill(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    let mut state = seed;
    while bytes.len() < len {
        state = mix(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

struct Work<'a> {
    db: &'a Db,
    data: Data,
    interrupt: Interrupt,
}

impl Work<'_> {
    fn go_on(&self) -> Result<()> {
        if self.interrupt.is_raised() { Err(Failure::interrupted("interrupted")) } else { Ok(()) }
    }

    async fn load(&self, n: u64) -> Result<Phase> {
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        let begin = Instant::now();
        for first in (0..n).step_by(LOAD_BATCH as usize) {
            self.go_on()?;
            let mut batch = WriteBatch::new();
            for number in first..n.min(first + LOAD_BATCH) {
                batch = batch.put(self.data.key(number), self.data.value(number));
            }
            self.db.write_with(batch, deferred).await?;
        }
        self.db.flush().await?;
        Ok(Phase::new("load, then flush", n, begin, Vec::new()))
    }

    /// Waits for what a load leaves to do, which would be a part of the figures that follow: all of it where there is one
    /// thread, a share where there are more. Operations are the records that were loaded.
    async fn settle(&self, n: u64) -> Result<Phase> {
        let begin = Instant::now();
        while !self.db.maintain(Duration::from_millis(100)).await? {
            self.go_on()?;
        }
        Ok(Phase::new("rest of seals and merges", n, begin, Vec::new()))
    }

    /// Gets `count` random keys of those numbered from `first`, of which there are `n`.
    async fn get(&self, name: &str, count: u64, first: u64, n: u64) -> Result<Phase> {
        let mut samples = Vec::with_capacity((count / SAMPLE_EVERY) as usize + 1);
        let begin = Instant::now();
        for turn in 0..count {
            self.go_on()?;
            let number = first + mix(turn) % n;
            let key = self.data.key(number);
            let value = if turn % SAMPLE_EVERY == 0 {
                let begin = Instant::now();
                let value = self.db.get(&key).await?;
                samples.push(begin.elapsed());
                value
            } else {
                self.db.get(&key).await?
            };
            let expected = (first == 0).then(|| self.data.value(number));
            if value.as_deref() != expected.as_deref() {
                return Err(wrong(&key));
            }
        }
        Ok(Phase::new(name, count, begin, samples))
    }

    /// Scans from random keys. Operations are entries; the times are those of whole scans.
    async fn scan(&self, n: u64, count: u64) -> Result<Phase> {
        let mut samples = Vec::with_capacity(count as usize);
        let (mut entries, begin) = (0, Instant::now());
        for turn in 0..count {
            self.go_on()?;
            let key = self.data.key(mix(turn) % n);
            let begin = Instant::now();
            let mut scan = self.db.scan(key.clone()..).limit(SCAN_LIMIT as usize);
            let first = scan.next().await.transpose()?;
            if first.is_none_or(|entry| entry.key != key) {
                return Err(wrong(&key));
            }
            entries += 1;
            while let Some(entry) = scan.next().await {
                entry?;
                entries += 1;
            }
            samples.push(begin.elapsed());
        }
        Ok(Phase::new(format!("scan of {SCAN_LIMIT}, entries"), entries, begin, samples))
    }

    async fn put(&self, first: u64, count: u64) -> Result<Phase> {
        let mut samples = Vec::with_capacity(count as usize);
        let begin = Instant::now();
        for number in first..first + count {
            self.go_on()?;
            samples.push(timed_put(self.db, self.data, number).await?);
        }
        Ok(Phase::new("put, synced", count, begin, samples))
    }

    async fn put_many(&self, first: u64, writers: u64, each: u64) -> Result<Phase> {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (db, data, interrupt) = (self.db.clone(), self.data, self.interrupt.clone());
                tokio::spawn(async move {
                    let mut samples = Vec::with_capacity(each as usize);
                    for turn in 0..each {
                        if interrupt.is_raised() {
                            break;
                        }
                        samples.push(timed_put(&db, data, first + writer * each + turn).await?);
                    }
                    Ok::<_, halite::Error>(samples)
                })
            })
            .collect();
        let mut samples = Vec::new();
        for task in tasks {
            let done = task.await.map_err(|cause| Failure::io("a writer failed", cause.into()))?;
            samples.extend(done?);
        }
        self.go_on()?;
        Ok(Phase::new(format!("put, synced, {writers} writers"), samples.len() as u64, begin, samples))
    }
}

async fn timed_put(db: &Db, data: Data, number: u64) -> halite::Result<Duration> {
    let (key, value) = (data.key(number), data.value(number));
    let begin = Instant::now();
    db.put(key, value).await?;
    Ok(begin.elapsed())
}

fn wrong(key: &[u8]) -> Failure {
    Failure::wrong_answer(format!("a read gave a wrong answer key={}", text::word(key)))
}

/// A folder beside us, removed with all in it at the end. Not the system's folder for temporary files: that is often
/// memory, where a sync costs nothing and says nothing.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Temporary> {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let path = PathBuf::from(format!("halite-bench-{}", since_epoch.as_nanos()));
        std::fs::create_dir(&path).map_err(|cause| {
            Failure::io("cannot make a folder for a temporary store here", cause).hint("name a place with --store")
        })?;
        Ok(Temporary(path))
    }

    fn uri(&self) -> String {
        format!("file:{}", self.0.display())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            say(format_args!("halite: cannot remove {}: {cause}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let samples = (1..=101).rev().map(Duration::from_millis).collect();
        let phase = Phase::new("x", 101, Instant::now(), samples);
        assert_eq!(phase.quantile(0.5), Some(Duration::from_millis(51)));
        assert_eq!(phase.quantile(1.0), Some(Duration::from_millis(101)));
        assert_eq!(Phase::new("x", 0, Instant::now(), Vec::new()).quantile(0.5), None);
    }

    #[test]
    fn data_is_the_same_each_time_and_differs_by_number() {
        let data = Data { key_bytes: 24, value_bytes: 150 };
        assert_eq!(data.key(7), data.key(7));
        assert!(data.key(7) != data.key(8) && data.key(7).len() == 24 && data.value(7).len() == 150);
    }
}
