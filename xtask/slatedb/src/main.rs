//! Halite beside SlateDB on one object store, in one run: what they are asked to do is the same, and so are the store, its
//! latency, the flush interval, and the memory for caches.
//!
//! `cargo xtask bench --object-stores` runs it. The store is [`store`], a server that speaks S3 and is as far away as it is
//! told to be: both engines come to it over HTTP, each through its own client, and it counts what they ask for. Each round
//! each engine has a store to itself; the medians of the rounds stand in the tables.

mod engine;
mod figures;
mod memory;
mod store;
mod work;

use engine::ENGINES;
use figures::Figures;
use std::error::Error;
use std::time::Duration;
use store::Store;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) const KEY_LEN: u64 = 24;
pub(crate) const VALUE_LEN: usize = 150;
/// In both engines.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// What a connection to the store carries in a second: about what one to a large object store does.
pub(crate) const BANDWIDTH: u64 = 100_000_000;
/// What each engine is told to take, of which a quarter is for the cache of SlateDB.
pub(crate) const BUDGET: u64 = 256 << 20;

pub(crate) fn key(number: u64) -> String {
    format!("key-{number:020}")
}

/// Bytes that nobody compresses.
pub(crate) fn value(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut value: Vec<u8> = (0..VALUE_LEN.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    value.truncate(VALUE_LEN);
    value
}

/// Numbers below `records`, each once, in no order.
pub(crate) fn scattered(records: u64, number: u64) -> u64 {
    // A prime, and no divisor of a round number.
    number * 1_000_003 % records
}

fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args[..] {
        [memory::CHILD, role, engine, endpoint, budget, records] => {
            runtime.block_on(memory::child(role, engine.parse()?, endpoint, budget.parse()?, records.parse()?))
        }
        [latencies, records, rounds] => {
            let latencies: std::result::Result<Vec<u64>, _> = latencies.split(',').map(str::parse).collect();
            runtime.block_on(run(&latencies?, records.parse()?, rounds.parse()?))
        }
        _ => {
            Err("usage: beside-slatedb LATENCY[,LATENCY…] RECORDS ROUNDS, in milliseconds; RECORDS from 120000".into())
        }
    }
}

async fn run(latencies: &[u64], records: u64, rounds: u64) -> Result {
    if records < work::RECORDS_MIN {
        return Err(format!("{records} records are too few for a scan: {} at least", work::RECORDS_MIN).into());
    }
    let mut tables = String::new();
    for &millis in latencies {
        let mut figures = Figures::default();
        for round in 1..=rounds {
            for engine in ENGINES {
                eprintln!("{millis} ms, round {round} of {rounds}, {}:", figures::NAMES[engine]);
                let store = Store::start(BANDWIDTH)?;
                store.set_latency(Duration::from_millis(millis));
                work::all(engine, &store, records, &mut figures).await?;
            }
        }
        tables += &figures.table(&format!("{millis} ms"));
    }
    let mut figures = Figures::default();
    for engine in ENGINES {
        eprintln!("local cache and memory, {}:", figures::NAMES[engine]);
        let store = Store::start(BANDWIDTH)?;
        work::cached(engine, &store, records, &mut figures).await?;
        memory::measure(engine, &mut figures).await?;
    }
    tables += &figures.table("whatever the latency");
    println!(
        "{records} records, keys of {KEY_LEN} bytes and values of {VALUE_LEN}; flush interval {FLUSH_INTERVAL:?}, \
         {} MiB of memory; each connection carries {} MB/s; medians of {rounds} rounds\n{tables}",
        BUDGET >> 20,
        BANDWIDTH / 1_000_000
    );
    println!("{NOTES}");
    Ok(())
}

const NOTES: &str = "¹ Log and sorted files, before anything is merged. SlateDB compacts only when it is told to here.
² At random, in one task; SlateDB's disk cache keeps files in parts of 4 MiB.
³ Reads and a scan in a process of its own, puts in another; their anonymous memory is looked at: what they take above what
they had before. SlateDB has no budget; its cache and what it may leave unflushed are told to keep within it.";
