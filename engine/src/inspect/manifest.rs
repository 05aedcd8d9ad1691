//! What a manifest says.

use super::{Fact, Inspection, hex, hex_of};
use crate::format::manifest::{
    CheckpointMeta, Log, LogState, Manifest, Past, Purpose, RangeTombstone, Retired, SegmentMeta,
};
use crate::format::names::Name;
use crate::{Error, ErrorKind, Result, publish};
use halite_backends::Backend;
use std::sync::Arc;

/// Looks at manifest `number` of the store, the newest if `None`.
///
/// # Errors
/// `NotFound` where there is none (a writer deletes the older ones, but for those of checkpoints and of claims that are
/// kept); `NotAStore` where it is of a newer format; `Io`, `PermissionDenied`.
pub async fn manifest(backend: Arc<dyn Backend>, number: Option<u64>) -> Result<Inspection> {
    let mut looks = 0;
    loop {
        let there = publish::list(&*backend).await?;
        let Some(chosen) = number.or_else(|| there.iter().copied().max()) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no store at {}", backend.location())));
        };
        let path = Name::Manifest(chosen).path();
        match publish::read_all(&*backend, &path).await {
            // A writer at work has published the next one and deleted this one in between.
            Err(error) if error.kind() == ErrorKind::NotFound && number.is_none() && looks < LOOKS => looks += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let numbers: Vec<String> = there.iter().map(u64::to_string).collect();
                let message = format!("there is no manifest {chosen}; there are numbers={}", numbers.join(","));
                return Err(Error::caused_by(ErrorKind::NotFound, message, error));
            }
            bytes => {
                let bytes = bytes?;
                let mut found = Inspection::new(&path, bytes.len() as u64);
                if let Some(manifest) = found.note(Manifest::decode(&bytes))? {
                    tell(&manifest, &mut found);
                    if manifest.number != chosen {
                        let what =
                            format!("the manifest says it is number {}, its name says {chosen}", manifest.number);
                        found.damaged(crate::format::Damage::new(0, what));
                    }
                }
                return Ok(found);
            }
        }
    }
}

/// How often the newest is looked for again that vanished meanwhile.
const LOOKS: u32 = 32;

fn tell(manifest: &Manifest, found: &mut Inspection) {
    let Manifest { number, epoch, nonce, write_nonce, database, hash_seed, created, engine_time, .. } = manifest;
    let Manifest { log, runs, range_tombstones, history_from, retired, checkpoints, kept_claims, .. } = manifest;
    found.add("number", *number);
    found.add("epoch", *epoch);
    found.add("nonce", hex(*nonce));
    found.add("write_nonce", hex(*write_nonce));
    found.add("database", hex_of(database));
    found.add("hash_seed", hex(*hash_seed));
    found.add("created", *created);
    found.add("engine_time", *engine_time);
    found.add("log", of_log(log));
    let run = |segments: &[SegmentMeta]| Fact::List(segments.iter().map(of_segment).collect());
    found.add("runs", Fact::List(runs.iter().map(|it| run(&it.segments)).collect()));
    found.add("range_tombstones", Fact::List(range_tombstones.iter().map(of_range_tombstone).collect()));
    found.add("history_from", *history_from);
    found.add("retired", Fact::List(retired.iter().map(of_retired).collect()));
    found.add("checkpoints", Fact::List(checkpoints.iter().map(of_checkpoint).collect()));
    found.add("kept_claims", Fact::List(kept_claims.iter().copied().map(Fact::Number).collect()));
    let proof = manifest.proof.map(|proof| {
        Fact::Group(vec![
            ("create_if_absent", proof.create_if_absent.into()),
            ("listed", proof.listed.into()),
            ("single_writer_declared", proof.single_writer_declared.into()),
        ])
    });
    found.add("proof", proof.unwrap_or(Fact::None));
    let purpose = match manifest.purpose {
        Purpose::Database => "database",
        Purpose::Backup => "backup",
        Purpose::Unfinished => "unfinished copy",
    };
    found.add("purpose", purpose);
    found.add("previous", manifest.previous.to_string());
    found.add("past", Fact::List(manifest.past.iter().map(of_past).collect()));
}

fn of_past(past: &Past) -> Fact {
    Fact::Group(vec![
        ("number", past.number.into()),
        ("digest", past.digest.to_string().into()),
        ("time", past.time.into()),
    ])
}

fn of_log(log: &Log) -> Fact {
    let state = match log.state {
        LogState::Open => "open",
        LogState::ClosedCleanly => "closed cleanly",
    };
    Fact::Group(vec![
        ("state", state.into()),
        ("epoch", log.epoch.into()),
        ("nonce", hex(log.nonce)),
        ("first_segment", log.first_segment.into()),
        ("first_fragment", log.first_fragment.into()),
        ("last_sealed_seq", log.last_sealed_seq.into()),
        ("next_segment", log.next_segment.into()),
        ("next_seq", log.next_seq.into()),
        ("home", log.home.map_or(Fact::None, hex)),
    ])
}

/// A segment as a manifest knows it.
pub(super) fn of_segment(meta: &SegmentMeta) -> Fact {
    Fact::Group(vec![
        ("file", Name::Segment(meta.id).to_string().into()),
        ("len", meta.len.into()),
        ("salt", hex(meta.salt)),
        ("base_seq", meta.base_seq.into()),
        ("sorted", meta.sorted.into()),
        ("footer_crc", format!("{:08x}", meta.footer_crc).into()),
        ("digest", meta.digest.to_string().into()),
        ("min_seq", meta.min_seq.into()),
        ("max_seq", meta.max_seq.into()),
        ("min_key", meta.min_key.clone().into()),
        ("max_key", meta.max_key.clone().into()),
        ("records", meta.records.into()),
        ("entries", meta.entries.into()),
        ("tombstones", meta.tombstones.into()),
        ("range_tombstones", meta.range_tombstones.into()),
        ("expiring", meta.expiring.into()),
        ("min_expiry", meta.min_expiry.into()),
        ("max_expiry", meta.max_expiry.into()),
        ("record_bytes", meta.record_bytes.into()),
        ("live_bytes", meta.live_bytes.into()),
        ("dead_bytes", meta.dead_bytes.into()),
        ("swept", meta.swept.into()),
        ("born", meta.born.into()),
    ])
}

fn of_range_tombstone(range: &RangeTombstone) -> Fact {
    Fact::Group(vec![
        ("start", range.start.clone().into()),
        ("end", range.end.clone().into()),
        ("seq", range.seq.into()),
    ])
}

fn of_retired(retired: &Retired) -> Fact {
    Fact::Group(vec![
        ("file", retired.name.as_str().into()),
        ("born", retired.born.into()),
        ("retired", retired.retired.into()),
    ])
}

fn of_checkpoint(checkpoint: &CheckpointMeta) -> Fact {
    Fact::Group(vec![
        ("name", checkpoint.name.as_str().into()),
        ("manifest", checkpoint.manifest.into()),
        ("seq", checkpoint.seq.into()),
        ("time", checkpoint.time.into()),
        ("bytes", checkpoint.bytes.into()),
    ])
}
