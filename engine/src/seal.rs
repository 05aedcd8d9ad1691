//! Sealing one segment: it gets its index, filter and footer, enters the manifest and then the keydir's versions.
//!
//! Where the log grows in files the index is appended to what is there already, so nothing is written twice; where it
//! consists of fragments the records are written anew, in key order. That is a seal's first half, and concerns nobody else;
//! the second, from the keydir to the version, is done for one segment after the other. What puts the halves of several
//! segments together is the [pipeline](crate::pipeline).
//!
//! # Guarantees
//! 1. Readers see each record throughout: in the memtable until the moment its segment takes over.
//! 2. Fragments are deleted only after a manifest that no longer needs them is durable.
//! 3. A segment is where all machines see it before a manifest names it. Where the log is apart that waits for the store, however
//!    long that takes.

use crate::commit::{Draft, Sealable, Sealed, Source};
use crate::core::{Core, Epoch};
use crate::cover::{self, Cover, Hidden};
use crate::format::frame::{NewRecord, Record};
use crate::format::header::{Header, Layout};
use crate::format::manifest::{Manifest, RunMeta, SegmentMeta};
use crate::format::names::{Name, SegmentId};
use crate::memtable::{Item, Memtable};
use crate::planted::{Bug, planted};
use crate::publish::{Published, never_refuses};
use crate::range::Direction;
use crate::segment::{DenseEntry, LogFile, Segment, SortedWriter, Tail, TailBuilder, filters};
use crate::turn::Turn;
use crate::value::LARGE_LEN;
use crate::version::Run;
use crate::{Error, ErrorKind, Result, Seq, dead, retire};
use futures::future::join;
use futures::{FutureExt, StreamExt, stream};
use halite_backends::{self as backends, Backend, Path, Purpose};
use std::sync::Arc;

/// Fragments of a sealed segment that are deleted at once, where each call takes its time.
const DELETES_AT_ONCE: usize = 16;

/// The first half: writes the segment. After `NoSpace` it can be tried again; where the log consists of fragments, after any
/// failure.
pub(crate) async fn write(core: &Core, sealable: &mut Sealable) -> Result<()> {
    if sealable.written.is_none() {
        let written = write_anew(core, sealable).await?;
        count(core, sealable, written.as_ref().map(|tail| &tail.meta));
        sealable.written = Some(written.map(|tail| Segment::just_written(&core.files, tail)));
    }
    Ok(())
}

/// The second half, once all segments before it have had theirs: brings the segment that was written into the keydir, the
/// manifest and the version. After `NoSpace` it can be tried again. What is left to do is to [clear up](clear_up).
#[tracing::instrument(name = "seal", target = "halite", level = "debug", skip_all, fields(segment = %sealable.draft.id()))]
pub(crate) async fn bring_in(core: &Core, sealable: &mut Sealable) -> Result<Outdated> {
    let draft = sealable.draft.clone();
    let cover = draft.memtable.cover();
    let sealed = match &sealable.sealed {
        Some(sealed) => sealed.clone(),
        None => {
            let sealed = match sealable.written.iter().flatten().next() {
                Some(segment) => Some(bring(core, segment, &draft.memtable).await?),
                None => None,
            };
            dead::covered(&core.versions.get(), &cover).await;
            sealable.sealed.insert(sealed).clone()
        }
    };
    let (segment, resident) = sealed.unzip();
    let log = sealable.done_with(core.epoch, segment.is_none());
    if planted(Bug::FragmentsDeletedEarly) {
        for path in &log {
            retire::delete(core, path.as_str()).await;
        }
    }
    let published = publish(core, sealable, segment.as_ref(), &log, &cover).await?;
    match &segment {
        Some(segment) => {
            segment.forget_tail();
            let meta = &segment.meta;
            tracing::debug!(segment = %meta.id, records = meta.records, bytes = meta.len, "sealed");
        }
        None => tracing::debug!(segment = %draft.id(), "nothing was left to be sealed"),
    }
    let run = segment.map(|segment| Arc::new(Run::new(vec![segment])));
    core.versions.sealed(&draft.memtable, run, resident.flatten(), &cover);
    core.residency.look();
    #[cfg(feature = "metrics")]
    crate::meters::emit::sizes(core);
    Ok(Outdated { published, log })
}

/// What a segment that was brought in has made useless.
#[derive(Debug)]
pub(crate) struct Outdated {
    published: Published,
    log: Vec<Path>,
}

/// Deletes what a segment has made useless.
pub(crate) async fn clear_up(core: &Core, outdated: Outdated) {
    let Outdated { published, log } = outdated;
    let log = if core.capabilities.durable_names { log } else { Vec::new() };
    let deletes: Vec<_> = log.iter().map(|path| retire::delete(core, path.as_str()).boxed()).collect();
    let at_once = if core.capabilities.remote { DELETES_AT_ONCE } else { 1 };
    let of_log = stream::iter(deletes).buffer_unordered(at_once).count();
    join(core.publisher.forget_older(&published), of_log).await;
}

/// Counts what a seal has written.
fn count(core: &Core, sealable: &Sealable, written: Option<&SegmentMeta>) {
    let Some(meta) = written else { return };
    let bytes = match &sealable.source {
        Source::File { end, .. } => meta.len - end,
        Source::Fragments(_) => meta.len,
    };
    core.log.meters.seals.add(1);
    core.log.meters.seal_bytes.add(bytes);
}

/// Brings the segment that was just written where it belongs, however often that has to be tried.
async fn bring(core: &Core, segment: &Arc<Segment>, memtable: &Arc<Memtable>) -> Result<Sealed> {
    let mut patience = core.patience();
    loop {
        let shipped = ship(core.stores.of(Purpose::Seal), &segment.meta).await;
        let outcome = match shipped {
            Ok(()) => settle(core, segment, memtable).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome
            && patience.bears(error).await
        {
            continue;
        }
        patience.over();
        return outcome;
    }
}

/// Ships the segment, if it was written to a log that is apart.
pub(crate) async fn ship(backend: &dyn Backend, meta: &SegmentMeta) -> Result<()> {
    match backend.log_apart() {
        Some(log) => Ok(log.ship(&Name::Segment(meta.id).path()).await?),
        None => Ok(()),
    }
}

/// Opens the segment that was just written, and brings its slots into the keydir.
async fn settle(core: &Core, segment: &Arc<Segment>, memtable: &Arc<Memtable>) -> Result<Sealed> {
    segment.read_for(Purpose::Seal).open().await?;
    let resident = dead::settle(core, segment, memtable).await?;
    Ok((segment.clone(), resident))
}

/// Writes the sealed form of a full segment; `None` where its own range tombstones cover all of it.
async fn write_anew(core: &Core, sealable: &mut Sealable) -> Result<Option<Tail>> {
    let draft = sealable.draft.clone();
    let cover = draft.memtable.cover();
    let passing = filters::share_of_one(core.versions.load().runs.len() + 1);
    match &mut sealable.source {
        Source::File { appender, end } => {
            let meta = seal_in_place(&draft, &cover, appender, *end, passing).await?;
            // It is mapped, or was shipped: what is there is looked at.
            Ok(meta.map(|meta| Tail { parts: Vec::new(), meta }))
        }
        Source::Fragments(_) => {
            let id = core.epoch.segment(core.numbers.next());
            let (salt, now) = (core.random.next(), core.clock.trusted());
            let store = core.stores.of(Purpose::Seal);
            let written = write_sorted(store, &core.epoch, &draft.memtable, &cover, id, salt, now).await;
            if written.is_err() {
                discard(core, id).await;
            }
            written
        }
    }
}

/// Removes what may be there of a segment that could not be written, as far as that is possible; the next opening removes the
/// rest.
async fn discard(core: &Core, id: SegmentId) {
    if let Err(error) = core.stores.of(Purpose::Collect).delete(&Name::Segment(id).path()).await {
        tracing::warn!(%error, "what a seal that has failed may have written could not be deleted");
    }
}

/// Publishes the sealed segment as the newest run, what its range tombstones cover, and the log as beginning behind it: what
/// is done with of that is `done_with`.
async fn publish(
    core: &Core,
    sealable: &Sealable,
    segment: Option<&Arc<Segment>>,
    done_with: &[Path],
    cover: &Cover,
) -> Result<Published> {
    let last_seq = sealable.draft.memtable.max_seq();
    let edit = |manifest: &mut Manifest| {
        if let Some(segment) = segment {
            manifest.runs.insert(0, RunMeta { segments: vec![segment.meta.clone()] });
        }
        if !planted(Bug::RangeDeleteNotKept) {
            cover::note(manifest, cover);
        }
        dead::note(manifest, core.versions.load().segments().chain(segment));
        manifest.log.first_segment = sealable.successor + u64::from(planted(Bug::ReplayTooFar));
        manifest.log.last_sealed_seq = last_seq;
        manifest.log.next_seq = manifest.log.next_seq.max(last_seq + 1);
        // A log that was not kept as it is, or not at all, is no history any more.
        if segment.is_none_or(|segment| segment.meta.sorted) {
            manifest.history_from = last_seq + 1;
        }
        if let Source::Fragments(numbers) = &sealable.source {
            manifest.log.first_fragment = numbers.end + u64::from(planted(Bug::ReplayTooFar));
        }
        done_with.iter().for_each(|path| manifest.retire_log(path.to_string()));
    };
    core.publish_alone(never_refuses(edit)).await.map(|Ok(published)| published)
}

/// Appends index, filter and footer to the segment's own file, and ends it. Where `cover`, what its own range tombstones
/// cover, leaves nothing for an index it only ends the file.
pub(crate) async fn seal_in_place(
    draft: &Draft,
    cover: &Cover,
    appender: &mut Option<LogFile>,
    end: u64,
    passing: f64,
) -> Result<Option<SegmentMeta>> {
    let tail = build_tail(&draft.header, &draft.memtable, cover, end, passing).await;
    let Some(mut file) = appender.take() else {
        return Err(Error::new(ErrorKind::Poisoned, "a seal that has failed cannot be tried again"));
    };
    // Once it is written to, the file's end is unknown if anything fails, for want of space too: no seal can be tried
    // again.
    let torn =
        |error: backends::Error| Error::caused_by(ErrorKind::Io, "a segment's seal failed half-way", error.into());
    let Some(Tail { parts, mut meta }) = tail else {
        file.finish().await.map_err(torn)?;
        return Ok(None);
    };
    let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
    if let Err(error) = file.reserve(end + len).await {
        // Nothing was written: the file is as it was.
        *appender = Some(file);
        return Err(error.into());
    }
    file.append(parts, false).await.map_err(torn)?;
    meta.digest = file.digest();
    if planted(Bug::SealNotSynced) {
        return Ok(Some(meta));
    }
    file.finish().await.map_err(torn)?;
    Ok(Some(meta))
}

/// What is to stand behind a log that ends at `end`; `None` where no key is left.
async fn build_tail(header: &Header, memtable: &Memtable, cover: &Cover, end: u64, passing: f64) -> Option<Tail> {
    let ordered = memtable.ordered(true).await;
    let mut tail = TailBuilder::new(header).let_pass(passing);
    let mut hidden = Hidden::new(vec![Arc::new(cover.clone())], Direction::Forward);
    let mut newest = vec![false; memtable.len()];
    let mut keys = 0;
    let mut turn = Turn::default();
    for (entry, item, is_newest) in memtable.in_order(&ordered) {
        if is_newest && hidden.over(item.record.key) < item.record.seq {
            newest[entry as usize] = true;
            keys += 1;
            tail.push(item.record.key, &dense(&item));
        } else {
            tail.unindexed(&dense(&item));
        }
        turn.take(0).await;
    }
    if keys == 0 {
        return None;
    }
    for (entry, is_newest) in (0..).zip(newest) {
        if is_newest {
            let item = memtable.at(entry);
            tail.hint(item.hash, item.offset, item.record.len as u32);
        } else if memtable.is_range(entry) {
            tail.unindexed(&dense(&memtable.at(entry)));
        }
        turn.take(0).await;
    }
    Some(tail.finish(end).await)
}

fn dense(item: &Item<'_>) -> DenseEntry {
    let Record { seq, kind, expires_at, len, .. } = item.record;
    DenseEntry { offset: item.offset, len: len as u32, seq, kind, expires_at }
}

/// Writes the newest record of each key of `memtable` into a segment of its own, in key order, without those that its own
/// range tombstones, which are `cover`, delete; `None` where none is left.
pub(crate) async fn write_sorted(
    backend: &dyn Backend,
    epoch: &Epoch,
    memtable: &Memtable,
    cover: &Cover,
    id: SegmentId,
    salt: u64,
    now: u64,
) -> Result<Option<Tail>> {
    let header = sorted_header(epoch, id, salt, memtable.base_seq(), now);
    let mut writer = None;
    let filled = fill(&mut writer, backend, &header, memtable, cover).await;
    match (writer, filled) {
        (Some(writer), Ok(())) => writer.finish().await.map(Some),
        (Some(writer), Err(cause)) => {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, "what a seal that has failed had begun to write could not be removed");
            }
            Err(cause)
        }
        (None, filled) => filled.map(|()| None),
    }
}

/// Gives `writer`, which begins with the first of them, the records of `memtable` that are to be written.
async fn fill(
    writer: &mut Option<SortedWriter>,
    backend: &dyn Backend,
    header: &Header,
    memtable: &Memtable,
    cover: &Cover,
) -> Result<()> {
    let ordered = memtable.ordered(true).await;
    let mut hidden = Hidden::new(vec![Arc::new(cover.clone())], Direction::Forward);
    let mut turn = Turn::default();
    for (entry, Item { record, .. }, is_newest) in memtable.in_order(&ordered) {
        if is_newest && hidden.over(record.key) < record.seq {
            let writer = match writer {
                Some(writer) => writer,
                None => writer.insert(SortedWriter::new(backend, header).await?.swept(memtable.max_seq())),
            };
            let large = (record.value.len() >= LARGE_LEN).then(|| memtable.share(entry, record.value));
            writer.push(rewritten(&record), large.as_ref()).await?;
        }
        turn.take(record.len).await;
    }
    Ok(())
}

/// `record` as a segment in key order holds it: batches mean nothing there.
pub(crate) fn rewritten<'a>(record: &Record<'a>) -> NewRecord<'a> {
    let Record { seq, kind, key, value, compressed, expires_at, .. } = *record;
    NewRecord { seq, kind, key, value, compressed, expires_at, last_of_batch: false }
}

/// The header of a segment whose records are in key order.
pub(crate) fn sorted_header(epoch: &Epoch, id: SegmentId, salt: u64, base_seq: Seq, created: u64) -> Header {
    let Epoch { database, hash_seed, .. } = *epoch;
    Header { database, id, salt, hash_seed, base_seq, created, layout: Layout::Sorted, predecessor: None }
}
