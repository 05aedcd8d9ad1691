//! The command `repair`.

use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use crate::text;
use halite::RepairReport;
use halite::backends::{open_uri, shown_uri};
use serde_json::json;
use std::ffi::OsStr;
use std::fmt::Write;

/// Brings what is whole of the store at `damaged` into a new one at `target`.
pub(super) async fn run(damaged: &str, target: &OsStr, out: &mut Out) -> Result<Exit> {
    let target = target.to_str().ok_or_else(|| Failure::usage("a store's name must be UTF-8"))?;
    let shown = shown_uri(damaged);
    let failed = |error: halite::Error| Failure::from(error).within(format!("cannot repair the store at {shown}"));
    let from = open_uri(damaged, false).map_err(|error| failed(error.into()))?;
    let to = open_uri(target, true).map_err(|error| failed(error.into()))?;
    let report = halite::repair(from, to).await.map_err(failed)?;
    let losses = report
        .losses
        .iter()
        .map(|loss| json!({ "file": loss.file, "offset": loss.offset, "bytes": loss.bytes, "what": loss.what }));
    let document = json!({
        "files": report.files,
        "records": report.records,
        "keys": report.keys,
        "lost_bytes": report.lost_bytes,
        "losses": losses.collect::<Vec<_>>(),
    });
    out.document(&document, || told(&report))?;
    Ok(if report.losses.is_empty() { Exit::Done } else { Exit::Corruption })
}

fn told(report: &RepairReport) -> String {
    let mut text = String::new();
    for loss in &report.losses {
        let _ = writeln!(text, "lost: {} file={} offset={} bytes={}", loss.what, loss.file, loss.offset, loss.bytes);
    }
    let keys = text::counted(report.keys, "key");
    let records = text::counted(report.records, "record");
    let files = text::counted(report.files, "file");
    let _ = writeln!(text, "brought over {keys}, out of {records} in {files}; {} lost", text::bytes(report.lost_bytes));
    text
}
