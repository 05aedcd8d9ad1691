//! The engine as a WASI command: works on a store in a folder that the host has opened for it.
//!
//! ```text
//! halite-guest FOLDER put KEY VALUE     answers OK once the value is durable
//! halite-guest FOLDER get KEY           prints the value, or (nil)
//! halite-guest FOLDER delete KEY
//! halite-guest FOLDER list [PREFIX]     prints each key and its value, a line each, and how many there were
//! halite-guest FOLDER fill COUNT        puts COUNT keys, in batches
//! halite-guest FOLDER abandon KEY VALUE like put, but ends without closing the store, as a crash would
//! halite-guest FOLDER roundtrip         puts, closes, opens again, and checks
//! ```
//!
//! Exit codes: 0 done, 1 the key is absent, 2 wrong usage, 4 the engine reported an error.

use futures::TryStreamExt;
use halite::{Db, Durability, Options, Result, WriteBatch, WriteOptions};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [folder, command @ ..] = &args[..] else {
        return usage();
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::from(4);
        }
    };
    match runtime.block_on(run(folder, command)) {
        Ok(Some(code)) => code,
        Ok(None) => usage(),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(4)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: halite-guest FOLDER (put K V | get K | delete K | list [PREFIX] | fill N | abandon K V | roundtrip)"
    );
    ExitCode::from(2)
}

/// Does what is asked for; `None` if that is not understood.
async fn run(folder: &str, command: &[&str]) -> Result<Option<ExitCode>> {
    match *command {
        ["roundtrip"] => return roundtrip(folder).await.map(Some),
        // The store is opened for commands that exist only.
        ["put" | "abandon", _, _] | ["get" | "delete" | "fill", _] | ["list"] | ["list", _] => {}
        _ => return Ok(None),
    }
    let db = Db::open(folder).await?;
    let mut code = ExitCode::SUCCESS;
    match *command {
        ["put", key, value] => {
            db.put(key, value).await?;
            println!("OK");
        }
        ["abandon", key, value] => {
            db.put(key, value).await?;
            println!("OK");
            std::process::exit(0);
        }
        ["get", key] => match db.get(key).await? {
            Some(value) => println!("{}", String::from_utf8_lossy(&value)),
            None => {
                println!("(nil)");
                code = ExitCode::from(1);
            }
        },
        ["delete", key] => {
            db.delete(key).await?;
            println!("OK");
        }
        ["list", ..] => list(&db, command.get(1).copied().unwrap_or_default()).await?,
        ["fill", count] => match count.parse() {
            Ok(count) => fill(&db, count).await?,
            Err(_) => return Ok(None),
        },
        _ => return Ok(None),
    }
    db.close().await?;
    Ok(Some(code))
}

async fn list(db: &Db, prefix: &str) -> Result<()> {
    let mut scan = db.prefix(prefix);
    let mut count = 0;
    while let Some(entry) = scan.try_next().await? {
        println!("{} {}", String::from_utf8_lossy(&entry.key), String::from_utf8_lossy(&entry.value));
        count += 1;
    }
    println!("{count} entries");
    Ok(())
}

async fn fill(db: &Db, count: u32) -> Result<()> {
    let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
    for start in (0..count).step_by(100) {
        let batch = (start..count.min(start + 100))
            .fold(WriteBatch::new(), |batch, n| batch.put(format!("fill:{n:06}"), format!("value {n}")));
        db.write_with(batch, deferred).await?;
    }
    db.flush().await?;
    println!("OK");
    Ok(())
}

/// Puts, overwrites and deletes with segments small enough that several are sealed, closes, opens again, and checks.
async fn roundtrip(folder: &str) -> Result<ExitCode> {
    let backend = halite::backends::Local::open(folder, true)?;
    let options = Options { segment_bytes_max: 16 << 10, ..Options::default() };
    let db = Db::builder(std::sync::Arc::new(backend)).options(options).open().await?;
    fill(&db, 1000).await?;
    fill(&db, 500).await?;
    db.delete("fill:000007").await?;
    db.put("answer", "42").await?;
    db.close().await?;

    let db = Db::open(folder).await?;
    let answer = db.get("answer").await?;
    let deleted = db.get("fill:000007").await?;
    let count = db.prefix("fill:").try_fold(0, |count, _| async move { Ok(count + 1) }).await?;
    db.compact().await?;
    let compacted = db.prefix("fill:").try_fold(0, |count, _| async move { Ok(count + 1) }).await?;
    db.close().await?;
    if answer.as_deref() == Some(b"42") && deleted.is_none() && (count, compacted) == (999, 999) {
        println!("roundtrip OK");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("wrong: answer={answer:?} deleted={deleted:?} count={count} compacted={compacted}");
    Ok(ExitCode::from(4))
}
