//! The commands that look after a store: stats, warm, verify, compact.

use super::cost;
use crate::args::{VerifyArgs, WarmArgs};
use crate::failure::{Exit, Result};
use crate::output::Out;
use crate::progress::Progress;
use crate::text;
use halite::{
    CompactOptions, CompactReport, Db, Latencies, Stats, Superfluous, VerifyOptions, VerifyProgress, VerifyReport,
    WarmOptions, WarmReport, Why,
};
use serde_json::{Value, json};
use std::fmt::Write;
use std::num::NonZeroU64;
use std::pin::pin;
use std::time::Duration;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(100);

/// One number of the store: its name in JSON, what people read, and how it is written for them.
struct Figure {
    name: &'static str,
    label: &'static str,
    number: u64,
    write: fn(u64) -> String,
}

fn figures(stats: &Stats) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name, label, number, write| figures.push(Figure { name, label, number, write });
    add("epoch", "epoch", stats.epoch, text::count);
    add("manifest", "manifest", stats.manifest, text::count);
    add("visible_seq", "last sequence number", stats.visible_seq, text::count);
    add("history_from", "changes are kept from", stats.history_from, text::count);
    add("moments", "moments of the past", stats.moments, text::count);
    add("past_bytes", "kept for the past", stats.past_bytes, text::bytes);
    add("segments", "sealed segments", stats.segments, text::count);
    add("runs", "runs", stats.runs, text::count);
    add("records", "records in them", stats.records, text::count);
    add("tombstones", "of these tombstones", stats.tombstones, text::count);
    add("segment_bytes", "bytes of segments", stats.segment_bytes, text::bytes);
    add("record_bytes", "of these records", stats.record_bytes, text::bytes);
    add("dead_bytes", "of these dead (estimate)", stats.dead_bytes, text::bytes);
    add("memtables", "memtables", stats.memtables, text::count);
    add("memtable_records", "records in them", stats.memtable_records, text::count);
    add("memtable_bytes", "memory of them", stats.memtable_bytes, text::bytes);
    add("log_bytes", "log", stats.log_bytes, text::bytes);
    add("unwritten_bytes", "of these only in memory", stats.unwritten_bytes, text::bytes);
    add("keydir_entries", "keydir slots", stats.keydir_entries, text::count);
    add("keydir_bytes", "memory of the keydir", stats.keydir_bytes, text::bytes);
    add("keydir_entries_max", "slots that fit the budget", stats.keydir_entries_max, text::count);
    add("resident_segments", "resident segments", stats.resident_segments, text::count);
    add("resident_entries", "keys in them", stats.resident_entries, text::count);
    add("fences_bytes", "memory of fences", stats.fences_bytes, text::bytes);
    add("mapped_filter_bytes", "mapped filters", stats.mapped_filter_bytes, text::bytes);
    add("cache_bytes", "memory of the cache", stats.cache_bytes, text::bytes);
    add("cache_bytes_max", "what it may take", stats.cache_bytes_max, text::bytes);
    add("cache_hits", "hits in the cache", stats.cache_hits, text::count);
    add("cache_misses", "misses of the cache", stats.cache_misses, text::count);
    add("filter_probes", "filters asked", stats.filter_probes, text::count);
    add("filter_false_positives", "of these in vain", stats.filter_false_positives, text::count);
    add("memory_bytes", "memory in all", stats.memory_bytes, text::bytes);
    add("memory_budget", "memory budget", stats.memory_budget, text::bytes);
    add("live_bytes", "bytes of live records", stats.live_bytes(), text::bytes);
    add("commits", "commits since opening", stats.commits, text::count);
    add("committed_records", "records they wrote", stats.committed_records, text::count);
    add("committed_bytes", "keys and values in them", stats.committed_bytes, text::bytes);
    add("log_writes", "writes of the log", stats.log_writes, text::count);
    add("log_syncs", "syncs of the log", stats.log_syncs, text::count);
    add("log_bytes_written", "bytes written to the log", stats.log_bytes_written, text::bytes);
    add("seals", "seals since opening", stats.seals, text::count);
    add("seal_bytes_written", "bytes they wrote", stats.seal_bytes_written, text::bytes);
    add("merges", "merges since opening", stats.merges, text::count);
    add("merge_bytes_written", "bytes they wrote", stats.merge_bytes_written, text::bytes);
    add("merge_records_dropped", "records they dropped", stats.merge_records_dropped, text::count);
    figures
}

pub(super) fn stats(stats: &Stats, out: &mut Out) -> Result<Exit> {
    let figures = figures(stats);
    let mut document = json!({ "location": stats.location });
    for figure in &figures {
        document[figure.name] = figure.number.into();
    }
    document["past_from"] = stats.past_from.map_or(Value::Null, Value::from);
    document["space_amplification"] = stats.space_amplification().map_or(Value::Null, Value::from);
    document["write_amplification"] = stats.write_amplification().map_or(Value::Null, Value::from);
    document["commit_latencies"] = latencies(&stats.commit_latencies);
    document["requests"] = cost::requests(&stats.traffic, |row| json!({ "requests": row.count, "bytes": row.bytes }));
    document["clock_ahead_millis"] = stats.clock_ahead_millis.into();
    document["seal_failure"] = stats.seal_failure.as_deref().map_or(Value::Null, Value::from);
    document["failure"] = stats.failure.as_deref().map_or(Value::Null, Value::from);
    out.document(&document, || {
        let mut text = format!("{:<26}{}\n", "store", stats.location);
        for figure in &figures {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<26}{}", figure.label, (figure.write)(figure.number));
        }
        for (label, amplification) in
            [("space amplification", stats.space_amplification()), ("write amplification", stats.write_amplification())]
        {
            if let Some(amplification) = amplification {
                let _ = writeln!(text, "{label:<26}{amplification:.2}");
            }
        }
        if let Some(from) = stats.past_from {
            let _ = writeln!(text, "{:<26}{}", "the past is kept from", super::copies::date(from));
        }
        let Latencies { count, p50, p99, max, .. } = stats.commit_latencies;
        if count > 0 {
            let _ = writeln!(text, "{:<26}{p50:?} median, {p99:?} 99%, {max:?} longest", "commits took");
        }
        if stats.clock_ahead_millis > 0 {
            let ahead = humantime::format_duration(Duration::from_secs(stats.clock_ahead_millis / 1000));
            let _ =
                writeln!(text, "{:<26}{ahead}; if it is right, say so by `halite confirm-time`", "the clock has leapt");
        }
        if let Some(failure) = &stats.seal_failure {
            let _ = writeln!(text, "{:<26}{failure}", "cannot seal for now");
        }
        if let Some(failure) = &stats.failure {
            let _ = writeln!(text, "{:<26}{failure}", "writing has stopped");
        }
        text
    })?;
    Ok(Exit::Done)
}

/// In microseconds.
fn latencies(latencies: &Latencies) -> Value {
    let micros = |time: Duration| time.as_micros() as u64;
    let Latencies { count, mean, p50, p90, p99, p999, max, .. } = *latencies;
    json!({
        "count": count,
        "mean_us": micros(mean),
        "p50_us": micros(p50),
        "p90_us": micros(p90),
        "p99_us": micros(p99),
        "p999_us": micros(p999),
        "max_us": micros(max),
    })
}

pub(super) fn warm_options(args: &WarmArgs) -> WarmOptions {
    WarmOptions { segment: args.segment.clone(), records: !args.index_only, bytes_max: args.max }
}

/// Says what a warm-up has done.
pub(super) fn warmed(report: &WarmReport, out: &mut Out) -> Result<Exit> {
    let WarmReport { segments, bytes, requests, is_whole, .. } = *report;
    let document = json!({ "segments": segments, "bytes": bytes, "requests": requests, "whole": is_whole });
    out.document(&document, || {
        let (segments, requests) = (text::counted(segments, "segment"), text::counted(requests, "request"));
        let short = if is_whole { "" } else { "; there was no room for more" };
        format!("{} of {segments} in {requests}{short}\n", text::bytes(bytes))
    })?;
    Ok(Exit::Done)
}

pub(super) fn verify_options(args: &VerifyArgs) -> VerifyOptions {
    VerifyOptions {
        records: !args.digests,
        digests: args.deep || args.digests || args.anchor.is_some(),
        bytes_per_second: args.rate.and_then(NonZeroU64::new),
        anchor: args.anchor,
    }
}

/// How far a verification has come, once it is known how much there is.
pub(super) struct Shown {
    progress: Option<Progress>,
    hidden: bool,
}

impl Shown {
    pub(super) fn new(hidden: bool) -> Shown {
        Shown { progress: None, hidden }
    }

    pub(super) fn at(&mut self, at: &VerifyProgress) {
        let progress = self.progress.get_or_insert_with(|| Progress::new(Some(at.bytes_total), self.hidden));
        progress.at(at.bytes, at.records);
    }

    pub(super) fn end(self) {
        if let Some(progress) = self.progress {
            progress.end();
        }
    }
}

/// Says what a verification has found.
pub(super) fn found(report: &VerifyReport, out: &mut Out) -> Result<Exit> {
    let damage =
        report.damage.iter().map(|damage| json!({ "file": damage.file, "offset": damage.offset, "what": damage.what }));
    let document = json!({
        "segments": report.segments,
        "records": report.records,
        "bytes": report.bytes,
        "digests": report.digests,
        "manifests": report.manifests,
        "newest": report.newest.map(|newest| newest.to_string()),
        "damage": damage.collect::<Vec<_>>(),
    });
    out.document(&document, || verified(report))?;
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Corruption })
}

fn verified(report: &VerifyReport) -> String {
    let mut text = String::new();
    for damage in &report.damage {
        let _ = writeln!(text, "damaged: {} file={} offset={}", damage.what, damage.file, damage.offset);
    }
    let segments = text::counted(report.segments, "segment");
    let records = text::counted(report.records, "record");
    let verdict = match report.damage.len() as u64 {
        0 => "no damage".to_owned(),
        places => text::counted(places, "damaged place"),
    };
    let _ = writeln!(text, "{verdict} in {segments}, {records}, {}", text::bytes(report.bytes));
    if let Some(newest) = report.newest {
        let digests = text::counted(report.digests, "segment");
        let manifests = text::counted(report.manifests, "manifest");
        let _ = writeln!(text, "digests of {digests} and {manifests} were compared; the newest manifest is {newest}");
    }
    text
}

/// Lists files that nothing names.
pub(super) fn superfluous(files: &[Superfluous], dry_run: bool, out: &mut Out) -> Result<Exit> {
    let why = |file: &Superfluous| match file.why {
        Why::Retired => "retired",
        Why::Leftover => "leftover",
        Why::Followed => "followed",
        _ => "superfluous",
    };
    let bytes = files.iter().map(|file| file.bytes).sum();
    let documents = files.iter().map(|file| json!({ "file": file.file, "bytes": file.bytes, "why": why(file) }));
    let document = json!({ "dry_run": dry_run, "files": documents.collect::<Vec<_>>(), "bytes": bytes });
    out.document(&document, || {
        let mut text = String::new();
        for file in files {
            let _ = writeln!(text, "{}: {}, {}", file.file, text::bytes(file.bytes), why(file));
        }
        let (count, verb) = (text::counted(files.len() as u64, "file"), if dry_run { "to delete" } else { "deleted" });
        let _ = writeln!(text, "{count} {verb}, {}", text::bytes(bytes));
        text
    })?;
    Ok(Exit::Done)
}

pub(super) async fn compact(db: &Db, rate: Option<u64>, out: &mut Out) -> Result<Exit> {
    let options = CompactOptions { bytes_per_second: rate.and_then(NonZeroU64::new) };
    let mut compacting = pin!(db.compact_with(options));
    let mut shown = None;
    let report = loop {
        match tokio::time::timeout(PROGRESS, &mut compacting).await {
            Ok(report) => break report?,
            Err(_) => {
                let Some(merging) = db.stats().merging else { continue };
                let progress = shown.get_or_insert_with(|| Progress::of_records(merging.records_total, out.is_shell()));
                progress.at(merging.records_done, merging.records_done);
            }
        }
    };
    if let Some(progress) = shown {
        progress.end();
    }
    let document = json!({
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "segments_before": report.segments_before,
        "segments_after": report.segments_after,
        "records_before": report.records_in,
        "records_after": report.records_out,
        "dropped_superseded": report.dropped_superseded,
        "dropped_deleted": report.dropped_deleted,
        "dropped_expired": report.dropped_expired,
        "dropped_covered": report.dropped_covered,
    });
    out.document(&document, || gained(&report))?;
    Ok(Exit::Done)
}

fn gained(report: &CompactReport) -> String {
    let (before, after) = (report.bytes_before, report.bytes_after);
    let gain = match before.checked_sub(after) {
        Some(gain) if gain > 0 => {
            format!("{} ({}%) gained", text::bytes(gain), (gain as f64 / before as f64 * 100.0).round())
        }
        Some(_) => "nothing to gain".to_owned(),
        None => format!("{} more", text::bytes(after - before)),
    };
    format!(
        "{} in {} -> {} in {}: {gain}\ndropped {} superseded, {} deleted, {} expired, {} in deleted ranges\n",
        text::bytes(before),
        text::counted(report.segments_before, "segment"),
        text::bytes(after),
        text::counted(report.segments_after, "segment"),
        text::count(report.dropped_superseded),
        text::count(report.dropped_deleted),
        text::count(report.dropped_expired),
        text::count(report.dropped_covered),
    )
}
