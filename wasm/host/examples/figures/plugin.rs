//! A call of `wasi:keyvalue`, beside the engine's own.

use super::line::{Line, failed, finished};
use halite_wasmtime::bucket::{Bucket, Buckets};
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{Program, Run};
use std::time::Instant;

/// A `get` of `wasi:keyvalue` by the component `speed`, `rounds` times of each of its keys, beside the same of the bucket.
pub(crate) async fn get(speed: &Program, rounds: u32) -> Result<Line> {
    let db = halite::Db::open("mem:").await?;
    let bucket = Bucket::new(&db, "speed/");
    let guest = Guest::new(Buckets::new().with("default", bucket.clone()));
    let outcome = finished(Run::new(speed).args(["speed", &rounds.to_string()]).guest(guest)).await?;
    let guest: f64 = outcome.out.split_whitespace().next().ok_or_else(|| failed(&outcome))?.parse()?;
    let keys: Vec<String> = (0..1000).map(|n| format!("key:{n:08}")).collect();
    let begin = Instant::now();
    for key in (0..rounds).flat_map(|_| &keys) {
        let found = bucket.get(key.as_bytes()).await?;
        assert_eq!(found.map(|value| value.len()), Some(150));
    }
    let native = begin.elapsed().as_nanos() as f64 / (f64::from(rounds) * keys.len() as f64);
    Ok(Line {
        what: "`get` of `wasi:keyvalue` on the plugin".to_owned(),
        native: format!("{native:.0} ns"),
        guest: format!("{guest:.0} ns"),
        ratio: format!("+{:.2} µs", (guest - native) / 1000.0),
        asked: "≤ 2 µs more".to_owned(),
        met: guest - native <= 2000.0,
    })
}
