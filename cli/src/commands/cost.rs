//! The command `cost`: what was asked of an object store, and what that comes to.

use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use crate::text;
use halite::backends::{Purpose, Requests, Traffic};
use halite::{Prices, Stats};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

pub(super) fn cost(stats: &Stats, prices: Option<&Path>, out: &mut Out) -> Result<Exit> {
    let prices = prices.map_or_else(|| Ok(Prices::default()), read)?;
    let cost = prices.estimate(stats);
    let traffic = &stats.traffic;
    let comes_to = |requests: &Requests| {
        let (requests, carried) = prices.of(requests);
        requests + carried
    };
    let requests = |row: &Requests| json!({ "requests": row.count, "bytes": row.bytes, "cost": comes_to(row) });
    let document = json!({
        "location": stats.location,
        "requests": self::requests(traffic, requests),
        "repeated": traffic.repeated,
        "stored_bytes": stats.segment_bytes + stats.log_bytes,
        "cost_of_requests": cost.requests,
        "cost_of_bytes_carried": cost.carried,
        "cost_of_keeping_a_month": cost.kept_a_month,
    });
    out.document(&document, || {
        let mut table = format!("{:<26}{}\n", "store", stats.location);
        for purpose in Purpose::ALL {
            for row in traffic.of(purpose) {
                let what = format!("{} {}", purpose.name(), row.kind.name());
                let (count, bytes) = (text::counted(row.count, "request"), text::bytes(row.bytes));
                // Writing to a string cannot fail.
                let _ = writeln!(table, "{what:<26}{count}, {bytes}: {:.6}", comes_to(row));
            }
        }
        let _ = writeln!(table, "{:<26}{}", "attempts repeated", traffic.repeated);
        let _ = writeln!(table, "{:<26}{}", "kept", text::bytes(stats.segment_bytes + stats.log_bytes));
        let _ = writeln!(table, "{:<26}{:.6}", "cost of requests", cost.requests);
        let _ = writeln!(table, "{:<26}{:.6}", "cost of bytes carried", cost.carried);
        let _ = writeln!(table, "{:<26}{:.6}", "cost of keeping, a month", cost.kept_a_month);
        table
    })?;
    Ok(Exit::Done)
}

/// What `say` says of the requests of each kind and purpose of which there were any: `{"merge": {"get": …}}`.
pub(super) fn requests(traffic: &Traffic, say: impl Fn(&Requests) -> Value) -> Value {
    let mut document = json!({});
    for row in &traffic.requests {
        document[row.purpose.name()][row.kind.name()] = say(row);
    }
    document
}

fn read(path: &Path) -> Result<Prices> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Failure::input(format!("cannot read the prices in {place}: {cause}")))?;
    serde_json::from_str(&text).map_err(|cause| Failure::input(format!("{place} holds no prices: {cause}")))
}
