//! Copies: clones, backups, and restoring one.
//!
//! A copy is a store of its own in another place. A *clone* is a database that shares the source's segments where the
//! storage can, and goes its own way from there. A *backup* is a store that keeps versions by name, as checkpoints, and is
//! not written to by anybody else; each run brings what is not there yet. What is written anew is read back and verified.
//! To *restore* is to clone a version of a backup, sharing nothing.
//!
//! # After a crash
//! A copy in the making is a store of a purpose of its own, so that nobody takes it for whole. A segment appears whole or
//! not at all, and one manifest in the end makes the copy: run again, it goes on with the segments that are there.

mod api;
mod place;
mod ship;
mod transfer;

use crate::checkpoint::{self, CheckpointOptions};
use crate::core::Core;
use crate::cover::Cover;
use crate::format::manifest::{CheckpointMeta, Log, LogState, Manifest, Purpose, RunMeta};
use crate::random::Random;
use crate::version::Version;
use crate::{Error, ErrorKind, Result, Seq};
use halite_backends::{Backend, Purpose as Use};
use place::Place;
pub use ship::ShipOptions;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What a copy came to.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::backends::Memory;
/// use std::sync::Arc;
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let backups = Arc::new(Memory::new());
/// let first = db.backup(backups.clone(), "monday").await?;
/// let second = db.backup(backups, "tuesday").await?;
/// assert_eq!((first.segments_copied, second.segments_copied, second.segments_kept), (1, 0, 1));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The last commit in it.
    pub seq: Seq,
    /// Segments that were written anew, and verified.
    pub segments_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Segments that share the source's bytes.
    pub segments_shared: u64,
    /// Their bytes.
    pub bytes_shared: u64,
    /// Segments that were there already.
    pub segments_kept: u64,
    /// Their bytes.
    pub bytes_kept: u64,
}

/// What is copied.
#[derive(Debug)]
pub(crate) struct Source {
    /// Names what `version` has sealed.
    pub(crate) manifest: Manifest,
    pub(crate) version: Arc<Version>,
    /// The last commit in what is sealed.
    pub(crate) sealed: Seq,
    /// The engine time to go on from.
    pub(crate) time: u64,
    pub(crate) random: Arc<Random>,
}

impl Source {
    /// All that `core` has taken, sealed. The segments stay for as long as this is held.
    pub(crate) async fn of(core: Arc<Core>) -> Result<Source> {
        core.log.seal().await?;
        loop {
            core.check_open()?;
            let version = core.versions.get();
            let manifest = core.publisher.look(Clone::clone);
            let held: HashSet<_> = version.segments().map(|segment| segment.meta.id).collect();
            if manifest.segments().count() == held.len() && manifest.segments().all(|meta| held.contains(&meta.id)) {
                let (sealed, time) = (manifest.log.last_sealed_seq, core.clock.trusted());
                let version = Arc::new(Version::new(Vec::new(), version.runs.clone()));
                return Ok(Source { manifest, version, sealed, time, random: core.random.clone() });
            }
            // A seal or a merge has published, and its version takes over in a moment.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether it is a backup itself, with which nothing is to be shared.
    fn is_backup(&self) -> bool {
        self.manifest.purpose == Purpose::Backup
    }

    fn segments(&self) -> impl Iterator<Item = &Arc<crate::segment::Segment>> {
        self.version.segments()
    }
}

/// Makes the empty `target` a database of its own that holds what `source` does. Segments are shared if `share` where the
/// storage can.
pub(crate) async fn clone(source: &Source, target: Arc<dyn Backend>, share: bool) -> Result<CopyReport> {
    let mut place = Place::open(target, source, Purpose::Unfinished).await?;
    let mut report = CopyReport::default();
    let brought = bring(source, &mut place, share, &mut report).await?;
    report.seq = brought.seq;
    place.publish(source, brought, |manifest| manifest.purpose = Purpose::Database).await?;
    tracing::info!(target = place.location(), ?report, "cloned");
    Ok(report)
}

/// Adds what `source` holds to the backups in `target`, by that name; with `replace` in the place of one of that name.
pub(crate) async fn backup(
    source: &Source,
    target: Arc<dyn Backend>,
    name: String,
    options: CheckpointOptions,
    replace: bool,
) -> Result<CopyReport> {
    checkpoint::check_name(&name)?;
    let mut place = Place::open(target, source, Purpose::Backup).await?;
    if replace {
        checkpoint::remove(&mut place.manifest.clone(), &name, source.time)?;
    } else {
        checkpoint::check_absent(&place.manifest, &name)?;
    }
    let mut report = CopyReport::default();
    let brought = bring(source, &mut place, false, &mut report).await?;
    let seq = brought.seq;
    let add = |manifest: &mut Manifest| {
        let (number, time) = (manifest.number, source.time);
        let bytes = manifest.segments().map(|meta| meta.len).sum();
        let hold_until = options.hold_until.unwrap_or(0);
        manifest.checkpoints.retain(|checkpoint| checkpoint.name != name);
        manifest.checkpoints.push(CheckpointMeta { name, manifest: number, seq, time, bytes, hold_until });
    };
    place.publish(source, brought, add).await?;
    place.collect().await?;
    report.seq = seq;
    tracing::info!(target = place.location(), ?report, "backed up");
    Ok(report)
}

/// Lets go of the backup of that name; false where there is none.
pub(crate) async fn delete_backup(target: Arc<dyn Backend>, name: &str, random: Random, now: u64) -> Result<bool> {
    let mut place = Place::open_backup(target).await?;
    let now = now.max(place.manifest.engine_time);
    let mut left = place.manifest.clone();
    if !checkpoint::remove(&mut left, name, now)? {
        return Ok(false);
    }
    place.change(&random, |manifest| manifest.checkpoints = left.checkpoints).await?;
    place.collect().await?;
    Ok(true)
}

/// What was brought to a place.
#[derive(Debug)]
struct Brought {
    /// The runs, newest first.
    runs: Vec<RunMeta>,
    /// What range tombstones that were not sealed cover.
    cover: Cover,
    /// The last commit in it.
    seq: Seq,
    /// From which seq on nothing is missing of what the runs were made of.
    history_from: Seq,
}

/// Sees to it that all of `source` is in `place`.
async fn bring(source: &Source, place: &mut Place, share: bool, report: &mut CopyReport) -> Result<Brought> {
    let Manifest { runs, history_from, .. } = &source.manifest;
    let mut brought =
        Brought { runs: runs.clone(), cover: Cover::default(), seq: source.sealed, history_from: *history_from };
    // What is not sealed is written, oldest first, as segments of the copy alone, in key order.
    for memtable in source.version.memtables.iter().rev().filter(|memtable| !memtable.is_empty()) {
        let cover = memtable.cover();
        if let Some(meta) = place.write(source, memtable, &cover).await? {
            report.segments_copied += 1;
            report.bytes_copied += meta.len;
            brought.runs.insert(0, RunMeta { segments: vec![meta] });
        }
        brought.cover = brought.cover.with(&cover);
        brought.seq = memtable.max_seq();
        brought.history_from = brought.seq + 1;
    }
    for segment in source.segments() {
        place.bring(&segment.read_for(Use::Copy), share, report).await?;
    }
    Ok(brought)
}

/// The log of a copy: closed cleanly, behind `sealed`.
fn closed_log(source: &Manifest, epoch: u64, sealed: Seq) -> Log {
    Log {
        state: LogState::ClosedCleanly,
        epoch,
        last_sealed_seq: sealed,
        next_seq: source.log.next_seq.max(sealed.saturating_add(1)),
        first_fragment: 0,
        home: None,
        ..source.log
    }
}

/// Why a store cannot take a copy.
fn refused(kind: ErrorKind, location: &str, why: &str) -> Error {
    Error::new(kind, format!("{location} {why}"))
}
