//! One merge: reads its inputs in key order, writes what is still needed, and puts the result in their place.
//!
//! # Guarantees
//! 1. Every record that goes in comes out or is counted as dropped, by reason; a merge that does not add up is not
//!    published. What comes out was read against its checksum: damage is not laundered.
//! 2. Only records in sealed, published segments count as newer, and range tombstones that a manifest names: what is only
//!    in the log may yet be lost, and the older record must then still be there.
//! 3. Inputs leave the manifest together, in the manifest that brings the output.
//! 4. A merge that is given up leaves nothing behind, but where the storage fails, or the manifest may name its outputs.

use super::outside::Outside;
use super::pace::{Pace, Running};
use super::rules::{Facts, Fate, fate};
use super::{CompactReport, size};
use crate::core::Core;
use crate::cover::{self, Cover};
use crate::cursor::Merged;
use crate::format::frame::{Kind, Record};
use crate::format::manifest::{Manifest, RunMeta, SegmentMeta};
use crate::format::names::{Name, SegmentId};
use crate::planted::{Bug, planted};
use crate::residency::Resident;
use crate::seal;
use crate::segment::{Segment, SortedWriter, filters};
use crate::turn::Turn;
use crate::version::{Run, Version};
use crate::versions::history_after;
use crate::{Error, ErrorKind, Result, Seq, dead};
use bytes::Bytes;
use halite_backends::Purpose;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Memory that a segment being written may always take for what will stand behind its records.
const WRITER_MEMORY_MIN: u64 = 256 << 10;

/// Merges `inputs`, segments of the version's `runs` (neighbours, newest first), and publishes the result in place.
///
/// The inputs are either all segments of those runs, or some of one run.
#[tracing::instrument(target = "halite", level = "debug", skip_all, fields(segments = inputs.len(), bytes = inputs.iter().map(|input| input.meta.len).sum::<u64>()))]
pub(super) async fn merge<'a>(
    core: &'a Core,
    version: &'a Arc<Version>,
    runs: Range<usize>,
    inputs: Vec<Arc<Segment>>,
    pace: Pace<'a>,
) -> Result<CompactReport> {
    let records = inputs.iter().map(|input| input.meta.entries).sum();
    let mut merge = Merge {
        len_max: len_max(core),
        memory_max: core.budget.work.max(WRITER_MEMORY_MIN),
        passing: passing(version, &runs),
        core,
        version,
        outside: Outside::new(core, version, &runs),
        runs,
        inputs,
        report: CompactReport::default(),
        running: pace.begin(records),
        open: None,
        begun: Vec::new(),
        written: Vec::new(),
        outputs: Vec::new(),
        idle: HashMap::new(),
    };
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

/// How long the outputs may be. Where they are not mapped, parts of them have to fit into the cache.
fn len_max(core: &Core) -> u64 {
    if core.files.unmapped() { core.budget.segment_bytes } else { core.options.segment_bytes_max }
}

/// The share of absent keys that the filters of what comes of `runs` may let pass.
fn passing(version: &Version, runs: &Range<usize>) -> f64 {
    let all = version.segments().map(|segment| segment.meta.entries).sum();
    let merged = version.runs[runs.clone()].iter().flat_map(|run| &run.segments);
    let merged = merged.map(|segment| segment.meta.entries).sum();
    filters::share_of_merged(version.runs.len() - runs.len() + 1, merged, all)
}

struct Merge<'a> {
    // Constant after construction.
    core: &'a Core,
    version: &'a Arc<Version>,
    runs: Range<usize>,
    inputs: Vec<Arc<Segment>>,
    /// How long an output may be, and how much memory it may take meanwhile, in bytes.
    len_max: u64,
    memory_max: u64,
    /// The share of absent keys that the outputs' filters may let pass.
    passing: f64,

    outside: Outside<'a>,
    report: CompactReport,
    running: Running<'a>,
    /// The output that is being written.
    open: Option<SortedWriter>,
    /// Outputs that were begun, those of them that are written, and those of these that are open.
    begun: Vec<SegmentId>,
    written: Vec<SegmentMeta>,
    outputs: Vec<Arc<Segment>>,
    /// Newer segments with tombstones that will have nothing left to hide, by serial, and these tombstones' bytes.
    idle: HashMap<u64, (Arc<Segment>, u64)>,
}

impl Merge<'_> {
    /// Reads the inputs and writes the outputs.
    async fn rewrite(&mut self) -> Result<()> {
        let now = self.core.clock.trusted();
        let (dead, inputs) = self.split();
        for segment in dead {
            self.report.records_in += segment.meta.entries;
            self.report.dropped_covered += segment.meta.entries;
        }
        let inputs: Vec<_> = inputs.iter().map(|input| input.read_for(Purpose::Merge)).collect();
        let mut records = Merged::new(&inputs, self.version.cover.clone());
        let mut turn = Turn::default();
        while let Some(record) = records.next().await? {
            if turn.take(record.record().len).await {
                // Short merges are not given up: where a store is only ever open for a moment, none would be done.
                self.running.check()?;
            }
            self.report.records_in += 1;
            self.running.read();
            if record.superseded() {
                self.report.dropped_superseded += 1;
                continue;
            }
            if record.covered() {
                self.report.dropped_covered += 1;
                continue;
            }
            let value = record.value();
            let record = record.record();
            match self.judge(&record, now).await? {
                Fate::Keep => self.write(&record, value, now).await?,
                Fate::KeepAsTombstone => {
                    let tombstone =
                        Record { kind: Kind::Tombstone, value: &[], compressed: false, expires_at: None, ..record };
                    self.write(&tombstone, &Bytes::new(), now).await?;
                }
                Fate::DropSuperseded => self.report.dropped_superseded += 1,
                Fate::DropDeleted => self.report.dropped_deleted += 1,
                Fate::DropExpired => self.report.dropped_expired += 1,
            }
        }
        self.finish_open().await
    }

    /// The inputs that range tombstones cover altogether, which need not be read, and the others.
    fn split(&self) -> (Vec<Arc<Segment>>, Vec<Arc<Segment>>) {
        self.inputs.iter().cloned().partition(|segment| self.version.cover.covers_all_of(&segment.meta))
    }

    /// Up to which range tombstone the outputs hold nothing that one of them covers.
    fn swept(&self) -> Seq {
        let before = self.inputs.iter().map(|input| input.meta.swept).min().unwrap_or(0);
        self.version.cover.max_seq().max(before)
    }

    /// Writes a record, whose value is `value` too, into the open output; begins that, or the next one, if need be.
    async fn write(&mut self, record: &Record<'_>, value: &Bytes, now: u64) -> Result<()> {
        let core = self.core;
        self.report.records_out += 1;
        self.running.wrote(record.len).await?;
        let len = record.len as u64;
        if self.open.as_ref().is_some_and(|open| open.len() + len > self.len_max || open.memory() > self.memory_max) {
            self.finish_open().await?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let id = core.epoch.segment(core.numbers.next());
                let base_seq = self.inputs.iter().map(|input| input.meta.min_seq).min().unwrap_or(1);
                let header = seal::sorted_header(&core.epoch, id, core.random.next(), base_seq, now);
                self.begun.push(id);
                let writer = SortedWriter::new(core.stores.of(Purpose::Merge), &header).await?;
                self.open.insert(writer.let_pass(self.passing).swept(self.swept()))
            }
        };
        open.push(seal::rewritten(record), Some(value)).await
    }

    async fn finish_open(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.written.push(open.finish().await?.meta);
        }
        Ok(())
    }

    /// What becomes of the newest record of a key among the inputs.
    async fn judge(&mut self, record: &Record<'_>, now: u64) -> Result<Fate> {
        let sought = self.outside.seek(record.key);
        let newer = self.outside.newer(&sought).await?;
        let expired = record.expires_at.is_some_and(|at| at <= now);
        let matters = match &newer {
            Some(newer) => newer.kind == Kind::Tombstone,
            None => expired || record.kind == Kind::Tombstone,
        };
        let older_possible = matters && self.outside.older_possible(&sought).await?;
        if let Some(newer) = &newer
            && newer.kind == Kind::Tombstone
            && !older_possible
        {
            let idle = self.idle.entry(newer.segment.serial()).or_insert_with(|| (newer.segment.clone(), 0));
            idle.1 += newer.len;
        }
        Ok(fate(Facts { kind: record.kind, expired, newer_seen: newer.is_some(), older_possible }))
    }

    /// Puts the outputs in the place of the inputs: in the manifest, then in the version.
    async fn publish(&mut self) -> Result<CompactReport> {
        let report = &mut self.report;
        let of_keys = report.dropped_superseded + report.dropped_deleted + report.dropped_expired;
        let dropped = of_keys + report.dropped_covered;
        let indexed: u64 = self.inputs.iter().map(|input| input.meta.entries).sum();
        if report.records_in != indexed || report.records_in != report.records_out + dropped {
            let message = format!("a merge does not add up, so it is not published: this is a bug {report:?}");
            return Err(Error::new(ErrorKind::Poisoned, message));
        }
        let core = self.core;
        let touched: Vec<Arc<Run>> = self.version.runs[self.runs.clone()].to_vec();
        let mut residents: Vec<Arc<Resident>> = Vec::new();
        for meta in &self.written {
            let segment = core.open_segment(meta, Purpose::Merge).await?;
            self.outputs.push(segment.clone());
            residents.extend(core.residency.settle(&core.keydir, &segment, Purpose::Merge, |_| {}).await?);
        }
        let mut segments = self.outputs.clone();
        let stays = |segment: &&Arc<Segment>| !self.inputs.iter().any(|input| Arc::ptr_eq(input, segment));
        segments.extend(touched.iter().flat_map(|run| &run.segments).filter(stays).cloned());
        segments.sort_by(|a, b| a.meta.min_key.cmp(&b.meta.min_key));
        let run = (!segments.is_empty()).then(|| Arc::new(Run::new(segments)));
        let history_from = history_after(&touched);
        if planted(Bug::InputsLeaveFirst) {
            core.publish(|manifest| self.edit(manifest, None, history_from)).await?;
        }
        if planted(Bug::SlotsSweptEarly) {
            self.sweep_early();
        }
        core.publish(|manifest| self.edit(manifest, run.as_deref(), history_from)).await?;
        let after = core.versions.merged(&touched, run, residents).sealed();
        core.retiring.retire(&self.inputs);
        core.residency.look();
        self.count_dead(&after).await;
        (self.report.bytes_before, self.report.segments_before) = size(self.version);
        (self.report.bytes_after, self.report.segments_after) = size(&core.versions.load());
        let meters = &core.log.meters;
        meters.merges.add(1);
        meters.merge_bytes.add(self.written.iter().map(|meta| meta.len).sum());
        meters.merge_records_dropped.add(dropped);
        #[cfg(feature = "metrics")]
        crate::meters::emit::sizes(core);
        Ok(self.report)
    }

    fn edit(&self, manifest: &mut Manifest, run: Option<&Run>, history_from: Seq) {
        manifest.history_from = manifest.history_from.max(history_from);
        let is_input = |meta: &SegmentMeta| self.inputs.iter().any(|input| input.meta.id == meta.id);
        let is_touched = |run: &RunMeta| run.segments.iter().any(is_input);
        let place = manifest.runs.iter().position(is_touched).unwrap_or(manifest.runs.len());
        manifest.runs.retain(|run| !is_touched(run));
        let place = if planted(Bug::RunMisplaced) { 0 } else { place };
        if let Some(run) = run {
            let segments = run.segments.iter().map(|segment| segment.meta.clone()).collect();
            manifest.runs.insert(place, RunMeta { segments });
        }
        cover::note(manifest, &Cover::default());
        dead::note(manifest, self.version.segments());
    }

    /// What must never happen: see [`Bug`].
    fn sweep_early(&self) {
        let is_input = |segment: &Arc<Segment>| self.inputs.iter().any(|input| Arc::ptr_eq(input, segment));
        for shard in 0..crate::keydir::SHARDS {
            self.core.keydir.remove_segments(&|kid| self.version.segment(kid).is_some_and(is_input), shard);
        }
    }

    /// Counts what this merge and what was sealed meanwhile have made dead.
    async fn count_dead(&self, after: &Version) {
        for (segment, bytes) in self.idle.values() {
            segment.add_dead(*bytes);
        }
        dead::during_merge(self.core, self.version, after, &self.outputs).await;
    }

    /// Removes what was written in vain, as far as that is possible; the next opening removes the rest.
    async fn discard(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.abort().await
        {
            tracing::warn!(%error, "what a merge that was given up had begun to write could not be removed");
        }
        // What is open is deleted when nobody holds it any more.
        self.core.retiring.retire(&self.outputs);
        for id in self.begun.iter().skip(self.outputs.len()) {
            if let Err(error) = self.core.stores.of(Purpose::Collect).delete(&Name::Segment(*id).path()).await {
                tracing::warn!(%error, "the output of a merge that was given up could not be deleted");
            }
        }
    }
}
