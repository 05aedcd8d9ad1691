//! The command `cost`: what was asked of an object store, and what that comes to.

use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use crate::text;
use halite::backends::{Purpose, RequestKind, Requests};
use halite::{Prices, Stats};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

pub(super) fn cost(stats: &Stats, prices: Option<&Path>, out: &mut Out) -> Result<Exit> {
    let prices = prices.map_or_else(|| Ok(Prices::default()), read)?;
    let cost = prices.estimate(stats);
    let traffic = &stats.traffic;
    let rows = traffic.requests.iter().map(|row| {
        json!({ "kind": kind(row.kind), "purpose": purpose(row.purpose), "requests": row.count, "bytes": row.bytes })
    });
    let document = json!({
        "location": stats.location,
        "requests": rows.collect::<Vec<Value>>(),
        "repeated": traffic.repeated,
        "stored_bytes": stats.segment_bytes + stats.log_bytes,
        "cost_of_requests": cost.requests,
        "cost_of_bytes_carried": cost.carried,
        "cost_of_keeping_a_month": cost.kept_a_month,
    });
    out.document(&document, || {
        let mut table = format!("{:<26}{}\n", "store", stats.location);
        for Requests { kind: of_kind, purpose: of_purpose, count, bytes, .. } in &traffic.requests {
            let what = format!("{} {}", kind(*of_kind), purpose(*of_purpose));
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{what:<26}{}, {}", text::counted(*count, "request"), text::bytes(*bytes));
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

fn read(path: &Path) -> Result<Prices> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Failure::input(format!("cannot read the prices in {place}: {cause}")))?;
    serde_json::from_str(&text).map_err(|cause| Failure::input(format!("{place} holds no prices: {cause}")))
}

fn kind(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Put => "put",
        RequestKind::Get => "get",
        RequestKind::Head => "head",
        RequestKind::List => "list",
        RequestKind::Delete => "delete",
        _ => "other",
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Manifests => "manifests",
        Purpose::Log => "log",
        Purpose::Segments => "segments",
        _ => "other",
    }
}
