//! What must hold in every manifest, checked before it is written and after it is read.
//!
//! 1. Number and epoch are at least 1; the log's epoch is at most the manifest's; kept claims are numbered below or as
//!    the manifest itself.
//! 2. `last_sealed_seq < next_seq`, and no run holds a seq above `last_sealed_seq`.
//! 3. Runs are newest first and disjoint in seq; none is empty.
//! 4. The segments of a run are ordered by key and disjoint; no segment stands twice.
//! 5. In each segment: the number is at least 1; `base_seq <= min_seq <= max_seq`; `min_key <= max_key`, neither longer
//!    than 65 536 bytes; `1 <= entries`, and `entries + range_tombstones <= records`; `tombstones + range_tombstones +
//!    expiring <= records`; both expiries are there where `expiring` is above 0, else neither, and `min_expiry <=
//!    max_expiry`; `live_bytes <= record_bytes <= 2^32`; the file is longer than its header and records; `swept` is at
//!    most `last_sealed_seq`; and `1 <= born`, which is at most the manifest's number.
//! 6. Retired names are names of ours, each once, and no segment of a run is among them; `1 <= born <= retired`, which is
//!    at most the manifest's number.
//! 7. Checkpoints have different names of 1 to 255 bytes, and were taken by different manifests, in order, numbered from
//!    1 and up to the manifest's own; each shows nothing above `last_sealed_seq`.
//! 8. `1 <= history_from <= next_seq`, and a run with a seq of `history_from` or above is one segment in log order.
//! 9. Range tombstones are in the order of their keys and do not overlap; each ends behind its start, neither longer than
//!    65 537 bytes, and has a seq of 1 up to `last_sealed_seq`.
//! 10. Only the first manifest has no previous digest. The past is in the order of its numbers, which begin at 1 and are
//!     below the manifest's own, and holds those of all its checkpoints but its own.

use super::{CheckpointMeta, Manifest, Past, RangeTombstone, Retired, RunMeta, SegmentMeta};
use crate::format::digest::Digest;
use crate::format::header::HEADER_LEN;
use crate::format::names::Name;
use crate::format::{BOUND_LEN_MAX, CHECKPOINT_NAME_LEN_MAX, KEY_LEN_MAX, STREAM_LEN_MAX};
use std::collections::HashSet;

/// Checks all rules; the error says which is broken, and by what.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    numbers(manifest)?;
    runs(manifest)?;
    range_tombstones(manifest)?;
    retired(manifest)?;
    checkpoints(manifest)?;
    history(manifest)?;
    past(manifest)
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Rules 1 and 2.
fn numbers(manifest: &Manifest) -> Result<(), String> {
    let Manifest { number, epoch, log, .. } = manifest;
    require(*number >= 1 && *epoch >= 1, || format!("manifest number or epoch is zero number={number} epoch={epoch}"))?;
    require(log.epoch <= *epoch, || {
        format!("log is of a later epoch than the manifest log={} epoch={epoch}", log.epoch)
    })?;
    let future = manifest.kept_claims.iter().find(|claim| *claim > number);
    require(future.is_none(), || format!("a manifest keeps a later one number={number} kept={future:?}"))?;
    require(log.last_sealed_seq < log.next_seq, || {
        format!("next seq is not new last_sealed_seq={} next_seq={}", log.last_sealed_seq, log.next_seq)
    })
}

/// Rules 2 to 5.
fn runs(manifest: &Manifest) -> Result<(), String> {
    let mut seqs_end = manifest.log.last_sealed_seq.saturating_add(1);
    let mut ids = HashSet::new();
    for (index, run) in manifest.runs.iter().enumerate() {
        require(!run.segments.is_empty(), || format!("a run is empty run={index}"))?;
        require(run.max_seq() < seqs_end, || {
            format!("a run reaches into what is newer run={index} max_seq={} newer={seqs_end}", run.max_seq())
        })?;
        seqs_end = run.min_seq();
        for segment in &run.segments {
            figures(segment).map_err(|broken| format!("{broken} segment={}", segment.id))?;
            require((1..=manifest.number).contains(&segment.born), || {
                format!("a segment is not born yet born={} segment={}", segment.born, segment.id)
            })?;
            require(segment.swept <= manifest.log.last_sealed_seq, || {
                format!("a segment is swept of what is not sealed swept={} segment={}", segment.swept, segment.id)
            })?;
            require(ids.insert(segment.id), || format!("a segment stands twice segment={}", segment.id))?;
        }
        ordered(run)?;
    }
    Ok(())
}

/// Rule 4.
fn ordered(run: &RunMeta) -> Result<(), String> {
    let overlap = run.segments.windows(2).find(|pair| pair[0].max_key >= pair[1].min_key);
    overlap.map_or(Ok(()), |pair| {
        Err(format!("keys of a run's segments overlap segment={} next={}", pair[0].id, pair[1].id))
    })
}

/// Rule 5.
fn figures(segment: &SegmentMeta) -> Result<(), String> {
    let s = segment;
    require(s.id.number >= 1, || "segment number is zero".into())?;
    require(s.base_seq <= s.min_seq && s.min_seq <= s.max_seq, || {
        format!("seqs out of order base={} min={} max={}", s.base_seq, s.min_seq, s.max_seq)
    })?;
    require(s.min_key <= s.max_key, || "smallest key above the largest".into())?;
    let key_len = s.min_key.len().max(s.max_key.len());
    require(key_len <= KEY_LEN_MAX, || format!("key too long len={key_len}"))?;
    let of_keys = s.records.saturating_sub(s.range_tombstones);
    require((1..=of_keys).contains(&s.entries), || {
        format!("counts do not fit records={} range_tombstones={} entries={}", s.records, s.range_tombstones, s.entries)
    })?;
    require(s.tombstones <= of_keys && s.expiring <= of_keys - s.tombstones, || {
        format!("counts do not fit records={} tombstones={} expiring={}", s.records, s.tombstones, s.expiring)
    })?;
    let expiries_fit = match (s.min_expiry, s.max_expiry) {
        (None, None) => s.expiring == 0,
        (Some(min), Some(max)) => s.expiring > 0 && min <= max,
        _ => false,
    };
    require(expiries_fit, || format!("expiries do not fit expiring={}", s.expiring))?;
    require(s.record_bytes <= STREAM_LEN_MAX && s.live_bytes <= s.record_bytes, || {
        format!("bytes do not fit records={} live={}", s.record_bytes, s.live_bytes)
    })?;
    let least = s.record_bytes + HEADER_LEN as u64;
    require(s.len > least, || format!("file is too short for its records len={} least={least}", s.len))
}

/// Rule 9.
fn range_tombstones(manifest: &Manifest) -> Result<(), String> {
    for RangeTombstone { start, end, seq } in &manifest.range_tombstones {
        let ends = end.as_ref().is_none_or(|end| start < end);
        require(ends, || format!("a range tombstone ends where it begins or before seq={seq}"))?;
        let len = start.len().max(end.as_ref().map_or(0, Vec::len));
        require(len <= BOUND_LEN_MAX, || format!("key too long len={len}"))?;
        require((1..=manifest.log.last_sealed_seq).contains(seq), || {
            format!("a range tombstone deletes what is not sealed seq={seq}")
        })?;
    }
    let apart = |pair: &[RangeTombstone]| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start);
    require(manifest.range_tombstones.windows(2).all(apart), || "range tombstones overlap".into())
}

/// Rule 6.
fn retired(manifest: &Manifest) -> Result<(), String> {
    let mut names: HashSet<Name> = manifest.segments().map(|segment| Name::Segment(segment.id)).collect();
    for Retired { name: path, born, retired, .. } in &manifest.retired {
        let name = Name::parse(path);
        require(name.is_some(), || format!("retired name is none of ours name={path:?}"))?;
        require(name.is_none_or(|name| names.insert(name)), || {
            format!("a file in use is retired, or one twice name={path}")
        })?;
        require(1 <= *born && born <= retired && *retired <= manifest.number, || {
            format!("manifests of a retired file do not fit born={born} retired={retired} name={path}")
        })?;
    }
    Ok(())
}

/// Rule 7.
fn checkpoints(manifest: &Manifest) -> Result<(), String> {
    let mut names = HashSet::new();
    let mut last = 0;
    for CheckpointMeta { name, manifest: number, seq, .. } in &manifest.checkpoints {
        require((1..=CHECKPOINT_NAME_LEN_MAX).contains(&name.len()), || {
            format!("name of a checkpoint has a wrong length len={}", name.len())
        })?;
        require(names.insert(name), || format!("two checkpoints have one name name={name:?}"))?;
        require(last < *number && *number <= manifest.number, || {
            format!("manifest of a checkpoint does not fit manifest={number} name={name:?}")
        })?;
        require(*seq <= manifest.log.last_sealed_seq, || {
            format!("a checkpoint shows what is not sealed seq={seq} name={name:?}")
        })?;
        last = *number;
    }
    Ok(())
}

/// Rule 8.
fn history(manifest: &Manifest) -> Result<(), String> {
    let (from, next) = (manifest.history_from, manifest.log.next_seq);
    require((1..=next).contains(&from), || format!("history begins nowhere history_from={from} next_seq={next}"))?;
    let in_order = |run: &RunMeta| matches!(&run.segments[..], [segment] if !segment.sorted);
    let merged = manifest.runs.iter().find(|run| run.max_seq() >= from && !in_order(run));
    merged.map_or(Ok(()), |run| {
        Err(format!("history begins before what was merged history_from={from} max_seq={}", run.max_seq()))
    })
}

/// Rule 10.
fn past(manifest: &Manifest) -> Result<(), String> {
    let Manifest { number, previous, past, checkpoints, .. } = manifest;
    require((*previous == Digest::NONE) == (*number == 1), || {
        format!("the digest of the manifest before does not fit number={number} previous={previous}")
    })?;
    let numbers: Vec<u64> = past.iter().map(|Past { number, .. }| *number).collect();
    let in_order = numbers.is_sorted_by(|a, b| a < b);
    let fit = numbers.first().is_none_or(|&first| first >= 1) && numbers.last().is_none_or(|last| last < number);
    require(in_order && fit, || format!("numbers of the past do not fit number={number} past={numbers:?}"))?;
    let lost = checkpoints.iter().find(|it| it.manifest != *number && numbers.binary_search(&it.manifest).is_err());
    lost.map_or(Ok(()), |it| Err(format!("the manifest of a checkpoint is not kept name={:?}", it.name)))
}
