//! How much memory an engine takes beside a store that is large against what it may take: as a reader and as a writer, each in a
//! process of its own.

use crate::engine::{Engine, Reader};
use crate::figures::{self, Figures};
use crate::store::Store;
use crate::{KEY_LEN, Result, VALUE_LEN, key, scattered, value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Begins the arguments of such a process.
pub(crate) const CHILD: &str = "memory";

/// What it may take, of which the first is held against what is asked of it, beside a hundred times as large a store; the others show
/// what goes with it.
const BUDGETS: [u64; 3] = [8 << 20, 32 << 20, 128 << 20];
const RECORDS: u64 = 100 * BUDGETS[0] / (KEY_LEN + VALUE_LEN as u64) + 1;
const ROLES: [&str; 2] = ["reader", "writer"];
/// Records that each batch of the load has.
const BATCH: u64 = 1000;
const READS: u64 = 5000;
const SCANNED: u64 = 100_000;
const PUTS: u64 = 300_000;
/// How often the process is looked at.
const STEP: Duration = Duration::from_millis(2);

/// Fills a store with ample memory, and has other processes read and write it with little.
pub(crate) async fn measure(engine: usize, figures: &mut Figures) -> Result {
    let store = Store::start(u64::MAX)?;
    let db = Engine::open(engine, &store.endpoint, crate::BUDGET, true).await?;
    for first in (0..RECORDS).step_by(BATCH as usize) {
        db.put_many((first..RECORDS.min(first + BATCH)).map(|number| scattered(RECORDS, number))).await?;
    }
    db.seal().await?;
    db.close().await?;
    for budget in BUDGETS {
        let mut most = 0;
        for role in ROLES {
            let peak = most_taken(engine, &store, budget, role).await?;
            eprintln!("  a {role} with {} MiB: {:.1} MiB at most", budget >> 20, peak as f64 / f64::from(1 << 20));
            most = peak.max(most);
        }
        if budget == BUDGETS[0] {
            figures.note(figures::MEMORY, engine, most as f64 / budget as f64);
        }
    }
    Ok(())
}

/// How much a process takes at most that reads `store`, or writes it, with `budget`.
async fn most_taken(engine: usize, store: &Store, budget: u64, role: &str) -> Result<u64> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?);
    child.args([CHILD, role, &engine.to_string(), &store.endpoint, &budget.to_string(), &RECORDS.to_string()]);
    let output = child.output().await?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("the process that was to show its memory failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// That process: prints how many bytes it took at most.
pub(crate) async fn child(role: &str, engine: usize, endpoint: &str, budget: u64, records: u64) -> Result {
    let before = anonymous()?;
    let (peak, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let looks = std::thread::spawn({
        let (peak, is_over) = (peak.clone(), is_over.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(STEP);
            }
        }
    });
    let told = |what: &str| eprintln!("    {what}: {} MiB", peak.load(Ordering::Relaxed).saturating_sub(before) >> 20);
    if role == ROLES[0] {
        read(engine, endpoint, budget, records, told).await?;
    } else {
        write(engine, endpoint, budget).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    looks.join().map_err(|_| "whoever looked has panicked")?;
    println!("{}", peak.load(Ordering::Relaxed) - before);
    Ok(())
}

async fn read(engine: usize, endpoint: &str, budget: u64, records: u64, told: impl Fn(&str)) -> Result {
    let reader = Reader::open(engine, endpoint, budget, None).await?;
    told("opened");
    for number in 0..READS {
        let number = scattered(records, number * 397 + 11);
        if reader.get(key(number)).await?.is_none_or(|found| found[..] != value(number)[..]) {
            return Err(format!("record {number} is not what was put").into());
        }
    }
    told("and read at random");
    reader.scan(records / 2..records / 2 + SCANNED).await?;
    told("and scanned");
    reader.close().await
}

async fn write(engine: usize, endpoint: &str, budget: u64) -> Result {
    let db = Engine::open(engine, endpoint, budget, false).await?;
    for first in (0..PUTS).step_by(100) {
        db.put_many(first..first + 100).await?;
    }
    db.flush().await?;
    db.close().await
}

/// Bytes of memory that belong to this process alone and to no file.
fn anonymous() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
