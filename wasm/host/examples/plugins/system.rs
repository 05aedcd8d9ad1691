//! Runs what strangers wrote, each on a bucket of its own.

use halite_wasmtime::bucket::{Bucket, Buckets, Quota};
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{End, Limits, Metering, Program, Run};
use std::time::Duration;

/// What no plugin gets more of.
const LIMITS: Limits = Limits {
    memory_bytes: Some(64 << 20),
    fuel: Some(10_000_000_000),
    time: Some(Duration::from_secs(60)),
    output_bytes: 64 << 10,
    handles: 100,
};

/// What they have to be compiled with, so that they can be stopped.
pub(crate) const METERING: Metering = Metering { fuel: true, time: true };

/// Runs each of `plugins`, with the quota beside it, and says how it ended, what it printed, and what its bucket
/// holds.
pub(crate) async fn run(db: &halite::Db, plugins: &[(Program, Quota)]) -> Result<Vec<(End, String, u64)>> {
    let mut ended = Vec::new();
    for (number, (program, quota)) in plugins.iter().enumerate() {
        // The plugin calls it `default`, as all of them do; what it is, is up to us.
        let bucket = Bucket::new(db, format!("plugins/{number}/")).with_quota(*quota);
        let guest = Guest::new(Buckets::new().with("default", bucket.clone()));
        let outcome = Run::new(program).args(["plugin"]).guest(guest).limits(LIMITS).finish().await?;
        ended.push((outcome.end, outcome.out, bucket.usage().await?.bytes));
    }
    Ok(ended)
}
