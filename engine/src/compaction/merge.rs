//! One merge: reads its inputs in key order, writes what is still needed, and puts the result in their place.
//!
//! # Guarantees
//! 1. Every record that goes in is checked against its checksum, and comes out or is counted as dropped, by reason; a
//!    merge that does not add up is not published.
//! 2. Only records in sealed, published segments count as newer: what is only in the log may yet be lost, and the older
//!    record must then still be there.
//! 3. Inputs leave the manifest together, in the manifest that brings the output.

use super::rules::{Facts, Fate, fate};
use super::{CompactReport, size};
use crate::core::Core;
use crate::cursor::Merged;
use crate::format::frame::{Kind, Record};
use crate::format::manifest::{Manifest, RunMeta, SegmentMeta};
use crate::format::names::Name;
use crate::hash::{self, Fingerprint};
use crate::seal::{self, ENTRIES_PER_TURN, breathe};
use crate::segment::{Segment, SortedWriter};
use crate::version::{Run, Version};
use crate::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Merges `inputs`, segments of the version's `runs` (neighbours, newest first), and publishes the result in place.
///
/// The inputs are either all segments of those runs, or some of one run.
pub(super) async fn merge(
    core: &Core,
    version: &Arc<Version>,
    runs: Range<usize>,
    inputs: Vec<Arc<Segment>>,
) -> Result<CompactReport> {
    let report = CompactReport::default();
    let mut merge = Merge { core, version, runs, inputs, report, written: Vec::new(), outputs: Vec::new() };
    let outcome = match merge.rewrite().await {
        Ok(()) => merge.publish().await,
        Err(error) => Err(error),
    };
    // Where publishing failed otherwise than for want of space, the manifest may name the outputs: they stay, and the
    // next opening decides.
    if core.log.check().is_ok() && outcome.is_err() {
        merge.discard().await;
    }
    outcome
}

struct Merge<'a> {
    core: &'a Core,
    version: &'a Arc<Version>,
    runs: Range<usize>,
    inputs: Vec<Arc<Segment>>,
    report: CompactReport,
    /// Outputs that are written, and those of them that are in the keydir.
    written: Vec<SegmentMeta>,
    outputs: Vec<Arc<Segment>>,
}

impl Merge<'_> {
    /// Reads the inputs and writes the outputs.
    async fn rewrite(&mut self) -> Result<()> {
        let core = self.core;
        let base_seq = self.inputs.iter().map(|input| input.meta.min_seq).min().unwrap_or(1);
        let now = core.clock.now();
        let mut records = Merged::new(&self.inputs);
        let mut writer: Option<SortedWriter> = None;
        let mut turn = 0;
        while let Some(record) = records.next().await? {
            breathe(&mut turn).await;
            if turn.is_multiple_of(ENTRIES_PER_TURN) {
                // Short merges are not given up: where a store is only ever open for a moment, none would be done.
                core.compactor.check()?;
            }
            self.report.records_in += 1;
            if record.superseded() {
                self.report.dropped_superseded += 1;
                continue;
            }
            let value = record.value().clone();
            let record = record.record();
            let fate = self.judge(&record, now).await?;
            let kept = match fate {
                Fate::Keep => record,
                Fate::KeepAsTombstone => Record { kind: Kind::Tombstone, value: &[], expires_at: None, ..record },
                _ => continue,
            };
            self.report.records_out += 1;
            if writer.as_ref().is_some_and(|writer| writer.len() + kept.len as u64 > core.options.segment_bytes_max)
                && let Some(full) = writer.take()
            {
                self.written.push(full.finish().await?);
            }
            let open = match &mut writer {
                Some(open) => open,
                None => {
                    let id = core.epoch.segment(core.numbers.next());
                    let header = seal::sorted_header(&core.epoch, id, core.random.next(), base_seq, now);
                    writer.insert(SortedWriter::new(&*core.backend, &header).await?)
                }
            };
            open.push_shared(seal::rewritten(&kept), (fate == Fate::Keep).then_some(&value)).await?;
        }
        if let Some(last) = writer {
            self.written.push(last.finish().await?);
        }
        Ok(())
    }

    /// What becomes of the newest record of a key among the inputs.
    async fn judge(&mut self, record: &Record<'_>, now: u64) -> Result<Fate> {
        let fingerprint = Fingerprint::of(hash::hash(self.core.epoch.hash_seed, record.key));
        let candidates = self.core.keydir.candidates(fingerprint);
        let mut newer_seen = false;
        let mut older_possible = false;
        for slot in candidates.iter() {
            let Some((segment, run)) = self.outside(slot.kid) else { continue };
            if run < self.runs.start {
                newer_seen = newer_seen || segment.read_record(slot.offset, slot.len).await?.key() == record.key;
            } else if run >= self.runs.end {
                // Whether it is this very key does not matter: a tombstone too many does no harm.
                older_possible = true;
            }
        }
        let expired = record.expires_at.is_some_and(|at| at <= now);
        let fate = fate(Facts { kind: record.kind, expired, newer_seen, older_possible });
        match fate {
            Fate::DropSuperseded => self.report.dropped_superseded += 1,
            Fate::DropDeleted => self.report.dropped_deleted += 1,
            Fate::DropExpired => self.report.dropped_expired += 1,
            Fate::Keep | Fate::KeepAsTombstone => {}
        }
        Ok(fate)
    }

    /// The segment that the keydir calls `kid` and the place of its run, if it is no input and in the merge's version.
    ///
    /// The other segments of a run of which only some are merged hold other keys.
    fn outside(&self, kid: u32) -> Option<(&Arc<Segment>, usize)> {
        let segment = self.version.segment(kid)?;
        let run = self.version.runs.iter().position(|run| run.segments.iter().any(|other| other.kid == kid))?;
        (!self.runs.contains(&run)).then_some((segment, run))
    }

    /// Puts the outputs in the place of the inputs: in the manifest, then in the version.
    async fn publish(&mut self) -> Result<CompactReport> {
        let report = &mut self.report;
        let dropped = report.dropped_superseded + report.dropped_deleted + report.dropped_expired;
        let indexed: u64 = self.inputs.iter().map(|input| input.meta.entries).sum();
        if report.records_in != indexed || report.records_in != report.records_out + dropped {
            let message = format!("a merge does not add up, so it is not published: this is a bug {report:?}");
            return Err(Error::new(ErrorKind::Poisoned, message));
        }
        let core = self.core;
        let touched: Vec<Arc<Run>> = self.version.runs[self.runs.clone()].to_vec();
        for meta in &self.written {
            let segment = core.open_segment(meta).await?;
            self.outputs.push(segment.clone());
            seal::enter_slots(&core.keydir, &segment, |_| {}).await?;
        }
        let mut segments = self.outputs.clone();
        let stays = |segment: &&Arc<Segment>| !self.inputs.iter().any(|input| Arc::ptr_eq(input, segment));
        segments.extend(touched.iter().flat_map(|run| &run.segments).filter(stays).cloned());
        segments.sort_by(|a, b| a.meta.min_key.cmp(&b.meta.min_key));
        let run = (!segments.is_empty()).then(|| Arc::new(Run::new(segments)));
        core.publish(|manifest| self.edit(manifest, run.as_deref())).await?;
        core.versions.merged(&touched, run);
        core.retiring.retire(&self.inputs);
        (self.report.bytes_before, self.report.segments_before) = size(self.version);
        (self.report.bytes_after, self.report.segments_after) = size(&core.versions.load());
        core.compactor.merges.fetch_add(1, Ordering::Relaxed);
        core.compactor.bytes_written.fetch_add(self.written.iter().map(|meta| meta.len).sum(), Ordering::Relaxed);
        core.compactor.records_dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(self.report)
    }

    fn edit(&self, manifest: &mut Manifest, run: Option<&Run>) {
        let is_input = |meta: &SegmentMeta| self.inputs.iter().any(|input| input.meta.id == meta.id);
        let is_touched = |run: &RunMeta| run.segments.iter().any(is_input);
        let place = manifest.runs.iter().position(is_touched).unwrap_or(manifest.runs.len());
        manifest.runs.retain(|run| !is_touched(run));
        if let Some(run) = run {
            let segments = run.segments.iter().map(|segment| segment.meta.clone()).collect();
            manifest.runs.insert(place, RunMeta { segments });
        }
        seal::note_dead(manifest, self.version.segments());
        manifest.retired.extend(self.inputs.iter().map(|input| input.path().as_str().to_owned()));
    }

    /// Removes what was written in vain, as far as that is possible; the next opening removes the rest.
    async fn discard(&self) {
        self.core.retiring.retire(&self.outputs);
        for meta in self.written.iter().skip(self.outputs.len()) {
            if let Err(error) = self.core.backend.delete(&Name::Segment(meta.id).path()).await {
                tracing::warn!(%error, "the output of a merge that was given up could not be deleted");
            }
        }
    }
}
