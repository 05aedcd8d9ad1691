//! The commands that keep what is there now: checkpoint, backup, clone, restore.

use crate::args::{CheckpointCommand, Reading};
use crate::failure::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Out;
use crate::store::{self, Settings};
use crate::text::{self, bytes, counted};
use halite::backends::{Backend, shown_uri};
use halite::{Checkpoint, CheckpointOptions, CopyReport, Db, ShipOptions};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

pub(super) async fn checkpoint(db: &Db, command: &CheckpointCommand, out: &mut Out) -> Result<Exit> {
    match command {
        CheckpointCommand::Create { name, hold } => {
            let options = CheckpointOptions { hold_until: *hold };
            let checkpoint = db.checkpoint_with(name, options).await?;
            if out.is_json() {
                out.json(&document(&checkpoint))?
            } else {
                out.done()?
            }
            Ok(Exit::Done)
        }
        CheckpointCommand::List => list(&db.checkpoints().await?, out),
        CheckpointCommand::Delete { name } => deleted(name, db.delete_checkpoint(name).await?, out),
    }
}

/// Writes the checkpoints, one on a line.
pub(super) fn list(checkpoints: &[Checkpoint], out: &mut Out) -> Result<Exit> {
    let documents: Vec<Value> = checkpoints.iter().map(document).collect();
    out.document(&json!({ "checkpoints": documents }), || {
        let mut lines = String::new();
        for Checkpoint { name, seq, time, bytes, hold_until, anchor, .. } in checkpoints {
            let hold = hold_until.map_or_else(String::new, |until| format!(", held until {}", date(until)));
            let time = date(*time);
            let (name, bytes, seq) = (text::word(name.as_bytes()), text::bytes(*bytes), text::count(*seq));
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{name}: {time}, {bytes}, up to sequence number {seq}{hold}, anchor {anchor}");
        }
        lines
    })?;
    Ok(Exit::Done)
}

pub(super) fn date(millis: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    // Dates beyond the year 9999 have no such form.
    let time = time.filter(|_| millis < 253_402_300_800_000);
    time.map_or_else(|| format!("{millis} ms"), |time| humantime::format_rfc3339_seconds(time).to_string())
}

fn document(checkpoint: &Checkpoint) -> Value {
    let Checkpoint { name, seq, time, bytes, hold_until, anchor, .. } = checkpoint;
    let anchor = anchor.to_string();
    json!({ "name": name, "seq": seq, "time": time, "bytes": bytes, "hold_until": hold_until, "anchor": anchor })
}

/// Says whether there was something of that name to let go of.
fn deleted(name: &str, deleted: bool, out: &mut Out) -> Result<Exit> {
    if out.is_json() {
        out.json(&json!({ "name": name, "deleted": deleted }))?;
    } else {
        out.line(if deleted { "true" } else { "false" })?;
    }
    Ok(if deleted { Exit::Done } else { Exit::NotFound })
}

/// Where a copy is to be made.
pub(super) fn place(uri: &str) -> Result<Arc<dyn Backend>> {
    let opened = halite::backends::open_uri(uri, true).map_err(halite::Error::from);
    opened.map_err(|error| Failure::from(error).within(format!("cannot open {}", shown_uri(uri))))
}

pub(super) async fn delete_backup(target: &str, name: &str, out: &mut Out) -> Result<Exit> {
    let backups = halite::backends::open_uri(target, false).map_err(halite::Error::from)?;
    deleted(name, Db::delete_backup(backups, name).await?, out)
}

pub(super) async fn restore(
    from: &str,
    name: Option<&str>,
    target: &str,
    settings: Settings,
    out: &mut Out,
) -> Result<Exit> {
    // It says what is missing: backups at all, or that one.
    let backups = store::open_read_only(from, name.map_or(Reading::Newest, Reading::At), settings).await?;
    backups.close().await;
    let from = halite::backends::open_uri(from, false).map_err(halite::Error::from)?;
    let report = Db::restore(from, name, place(target)?).await?;
    said(&report, out)
}

/// Copies a store from anywhere to anywhere.
pub(super) async fn copy(from: &str, at: Reading<'_>, to: &str, settings: Settings, out: &mut Out) -> Result<Exit> {
    let reader = store::open_read_only(from, at, settings).await?;
    let copied = reader.copy_to(place(to)?).await;
    reader.close().await;
    said(&copied?, out)
}

/// Keeps a live backup until somebody presses Ctrl-C, and ships what came last then.
pub(super) async fn ship(
    uri: &str,
    target: &str,
    options: ShipOptions,
    settings: Settings,
    out: &mut Out,
) -> Result<Exit> {
    let reader = store::open_read_only(uri, Reading::Newest, settings).await?;
    let (target, interrupt) = (place(target)?, Interrupt::listen());
    let last = ShipOptions { interval: None, ..options.clone() };
    // What cannot be said does not keep anything from being shipped.
    let mut told = |report: &CopyReport| drop(said(report, out).and_then(|_| out.flush()));
    let is_once = options.interval.is_none();
    tokio::select! {
        done = reader.ship_to(target.clone(), options, &mut told) => done?,
        () = interrupt.raised() => {}
    }
    if !is_once {
        reader.ship_to(target, last, &mut told).await?;
    }
    reader.close().await;
    Ok(Exit::Done)
}

/// Says what a copy came to.
pub(super) fn said(report: &CopyReport, out: &mut Out) -> Result<Exit> {
    let document = json!({
        "seq": report.seq,
        "segments_copied": report.segments_copied,
        "bytes_copied": report.bytes_copied,
        "segments_shared": report.segments_shared,
        "bytes_shared": report.bytes_shared,
        "segments_kept": report.segments_kept,
        "bytes_kept": report.bytes_kept,
    });
    out.document(&document, || {
        let mut lines = String::new();
        for (what, segments, size) in [
            ("copied and verified", report.segments_copied, report.bytes_copied),
            ("shared", report.segments_shared, report.bytes_shared),
            ("there already", report.segments_kept, report.bytes_kept),
        ] {
            if segments > 0 {
                let _ = writeln!(lines, "{what}: {}, {}", counted(segments, "segment"), bytes(size));
            }
        }
        let seq = text::count(report.seq);
        let _ = writeln!(lines, "done, up to sequence number {seq}");
        lines
    })?;
    Ok(Exit::Done)
}
