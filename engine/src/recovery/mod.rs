//! Opening: newest manifest, claim, fence, replay, and a second manifest that makes it real.
//!
//! Recovery may crash at any point and any number of times. Until the second manifest is durable nothing of the old log
//! is deleted and nothing is acknowledged, so that the next opening finds the same log. What was replayed is written to
//! a new segment before it is relied on: the old one may be in the page cache and nowhere else.

pub(crate) mod apart;
mod carry;
pub(crate) mod claim;
pub(crate) mod files;
pub(crate) mod fragments;
mod replay;

use crate::budget::Budget;
use crate::clock::{Clock, EngineClock};
use crate::commit::{self, Draft, Log, NewDraft, Prior};
use crate::compaction::{self, Compactor};
use crate::core::{Core, Epoch, Numbers};
use crate::cover::{self, Cover};
use crate::dead;
use crate::format::header::{Header, Layout, Predecessor};
use crate::format::manifest::{LogState, Manifest, RunMeta, SegmentMeta};
use crate::keydir::Keydir;
use crate::listing::Listing;
use crate::memtable::Memtable;
use crate::pipeline::{self, Sealer};
use crate::planted::{Bug, planted};
use crate::publish::Publisher;
use crate::random::Random;
use crate::residency::{self, Residency};
use crate::retire::{self, Retiring};
use crate::segment::{Files, Segment};
use crate::stores::Stores;
use crate::tasks::Tasks;
use crate::version::Run;
use crate::versions::Versions;
use crate::{Error, ErrorKind, Options, Result, timers};
use carry::Carried;
use halite_backends::{Backend, Lock, Purpose};
use parking_lot::Mutex;
use replay::Replayer;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::Notify;

/// What an opening needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: Options,
    /// The memory budget, in bytes.
    pub(crate) memory: u64,
    pub(crate) clock: Arc<dyn Clock>,
    /// Engine time that is known from elsewhere, in milliseconds; 0 if none.
    pub(crate) seen: u64,
    pub(crate) random: Arc<Random>,
    pub(crate) single_writer: bool,
    /// What is in a log that is kept elsewhere is given up.
    pub(crate) give_up_log: bool,
    /// The database that it must be, where that is known.
    pub(crate) database: Option<[u8; 16]>,
    /// The store's lock, where this process holds it already.
    pub(crate) lock: Option<Box<dyn Lock>>,
}

/// After an unclean end the sequence goes on this far ahead, so that no number is used twice that a reader may have
/// seen on a record that was lost. A log holds fewer records than that: it has fewer bytes.
const SEQ_SKIP: u64 = 1 << 32;

/// Opens the database, creating it if need be.
#[tracing::instrument(target = "halite", level = "info", skip_all, fields(store = %setup.backend.location()))]
pub(crate) async fn open(mut setup: Setup) -> Result<Arc<Core>> {
    let tasks = Tasks::current()?;
    let stores = Stores::new(setup.backend, &setup.options.limits);
    setup.backend = stores.shared(Purpose::Open);
    if setup.lock.is_none() && setup.backend.capabilities().lock {
        // First, as a lock leaves a file.
        claim::check_place(&setup).await?;
        setup.lock = Some(setup.backend.lock().await?);
    }
    let clock = Arc::new(EngineClock::new(setup.clock.clone(), setup.options.max_forward_jump));
    clock.saw(setup.seen);
    let (claimed, there) = claim::claim(&setup, &clock).await?;
    if let Some(log) = setup.backend.log_apart() {
        log.bind(claimed.database).await?;
    }
    setup.backend.tidy().await?;
    let epoch =
        Epoch { database: claimed.database, hash_seed: claimed.hash_seed, epoch: claimed.epoch, nonce: claimed.nonce };
    let numbers = Arc::new(Numbers::from(claimed.log.next_segment.max(1)));
    let publisher =
        Publisher::new(stores.shared(Purpose::Publish), setup.random.clone(), clock.clone(), claimed.clone());

    let replayer = Replayer {
        backend: &*setup.backend,
        claim: &claimed,
        there: &there,
        epoch: &epoch,
        numbers: &numbers,
        clock: &clock,
        random: &setup.random,
    };
    let replayed = replayer.replay().await?;
    let next_segment = numbers.peek();
    let first_segment = replayed.carried.front().map_or(next_segment, |first| first.draft.id().number);
    if planted(Bug::OldLogDeletedEarly) {
        retire::delete_early(stores.of(Purpose::Collect), &replayed.retired).await;
    }
    let manifest = publisher
        .publish(|manifest| {
            manifest.runs.splice(0..0, replayed.runs.iter().cloned());
            cover::note(manifest, &replayed.cover);
            replayed.retired.iter().for_each(|name| manifest.retire_log(name.clone()));
            manifest.history_from = manifest.history_from.max(replayed.history_from);
            manifest.log.state = LogState::Open;
            manifest.log.epoch = epoch.epoch;
            manifest.log.nonce = epoch.nonce;
            manifest.log.first_segment = first_segment;
            manifest.log.first_fragment = 0;
            manifest.log.last_sealed_seq = replayed.last_sealed_seq;
            manifest.log.next_seq = replayed.next_seq;
            manifest.log.next_segment = next_segment;
            manifest.log.home = setup.backend.log_home();
        })
        .await?;
    let retiring = Retiring::default();
    retire::collect_at_opening(stores.of(Purpose::Collect), &manifest, &retiring).await;
    assemble(setup, stores, tasks, clock, epoch, numbers, publisher, retiring, manifest, replayed, there).await
}

/// Opens the store of `core` anew, in the same process.
pub(crate) async fn reopen(core: &Arc<Core>) -> Result<Arc<Core>> {
    core.log.stop();
    let _no_merge = core.compactor.stop().await;
    let lock = core.lock.lock().take();
    core.end_writing(Error::new(ErrorKind::Fenced, "the database was opened anew"));
    open(Setup {
        backend: core.stores.plain().clone(),
        // Where there seems to be no store any more, none is to be made in its place.
        options: Options { create_if_missing: false, ..core.options.clone() },
        memory: core.budget.total,
        clock: core.clock.wall(),
        seen: 0,
        random: core.random.clone(),
        single_writer: false,
        give_up_log: false,
        database: Some(core.epoch.database),
        lock,
    })
    .await
}

/// Puts the parts together and starts them.
#[allow(clippy::too_many_arguments, reason = "these are the parts that it is put together from")]
async fn assemble(
    setup: Setup,
    stores: Stores,
    tasks: Tasks,
    clock: Arc<EngineClock>,
    epoch: Epoch,
    numbers: Arc<Numbers>,
    publisher: Publisher,
    retiring: Retiring,
    manifest: Manifest,
    replayed: replay::Replayed,
    there: Listing,
) -> Result<Arc<Core>> {
    let budget = Budget::of(setup.memory, &setup.options);
    let files = Files::new(stores.clone(), epoch.database, epoch.hash_seed, 0);
    let files = Arc::new(files.within(budget.total));
    let residency = Residency::new(budget.slots(0, false), &retiring);
    let segment = |meta: &SegmentMeta| Segment::new(&files, meta);
    let run = |run: &RunMeta| Arc::new(Run::new(run.segments.iter().map(segment).collect()));
    let cover = Cover::from_manifest(&manifest.range_tombstones);
    let versions = Arc::new(Versions::new(manifest.runs.iter().map(run).collect(), cover, manifest.history_from));
    let capabilities = setup.backend.capabilities();
    let new_draft = new_draft(epoch, numbers.clone(), setup.random.clone(), clock.clone());
    let replay::Replayed { runs: replayed_runs, cover: replayed_cover, carried, last_seq, next_seq, .. } = replayed;
    let last = carried.back().map(Carried::as_predecessor);
    let prior = match last {
        Some(Predecessor { number, len, last_seq }) => Prior { number, len, last_seq, next_seq },
        None => Prior { number: 0, len: 0, last_seq, next_seq },
    };
    carried.iter().for_each(|carried| versions.begin_memtable(carried.draft.memtable.clone()));
    let log =
        Log::new(&setup.options, &budget, epoch.hash_seed, capabilities.append, versions.clone(), new_draft, prior);
    log.await_seals(carried.iter().map(Carried::len));
    let sealer = Sealer::default();
    let mut successors: Vec<_> = carried.iter().skip(1).map(|carried| carried.draft.id().number).collect();
    successors.push(log.inspect(|queue| queue.active().id().number));
    for (carried, successor) in carried.into_iter().zip(successors) {
        sealer.push(carried.into_sealable(successor));
    }
    let core = Arc::new(Core {
        capabilities,
        epoch,
        clock,
        random: setup.random,
        tasks,
        log_is_apart: setup.backend.log_home().is_some(),
        versions,
        keydir: Keydir::new(),
        residency,
        files,
        budget,
        log: Arc::new(log),
        publisher,
        sealer,
        compactor: Compactor::default(),
        retiring,
        unlooked: Notify::new(),
        numbers,
        closed: AtomicBool::new(false),
        closing: tokio::sync::Mutex::new(()),
        background: Mutex::new(Vec::new()),
        lock: Mutex::new(setup.lock),
        stores,
        options: setup.options,
    });
    #[cfg(feature = "metrics")]
    {
        core.log.meters.announce(&core.stores.plain().location());
        crate::meters::emit::sizes(&core);
    }
    start(&core, manifest, there, replayed_runs.len(), replayed_cover);
    Ok(core)
}

/// Starts the background tasks.
fn start(core: &Arc<Core>, manifest: Manifest, there: Listing, replayed_runs: usize, replayed_cover: Cover) {
    let committer = commit::run(core.clone());
    if core.capabilities.append {
        core.spawn("committer", core.log.start(committer));
        core.spawn("sync timer", timers::sync(core.clone()));
    } else {
        // A writer that drives it may be polled outside of the runtime, whose time it needs.
        let tasks = core.tasks.clone();
        core.spawn("committer", core.log.start(async move { tasks.inside(committer).await }));
    }
    core.spawn("sealer", pipeline::run(core.clone()));
    core.spawn("reaper", retire::run(core.clone()));
    core.spawn("flush timer", timers::flush(core.clone()));
    if manifest.retention.window > 0 {
        let step = Duration::from_millis(manifest.retention.step);
        core.spawn("moments", timers::seals(core.clone(), step));
    }
    if let Some(interval) = core.options.seal_interval.or(core.log_is_apart.then_some(timers::SHIPPED_WITHIN)) {
        core.spawn("seal timer", timers::seals(core.clone(), interval));
    }
    if core.log_is_apart {
        core.spawn("look", timers::look(core.clone()));
    }
    core.spawn("collector", retire::collect_leftovers(core.clone(), manifest, there));
    core.spawn("residency", residency::run(core.clone()));
    core.spawn("dead counter", count_dead(core.clone(), replayed_runs, replayed_cover));
    core.residency.look();
    if core.options.merge_in_background {
        core.spawn("compactor", compaction::run(core.clone()));
    }
}

/// Counts what the newest `replayed` runs of the opening have made useless, and the range tombstones of `cover`.
async fn count_dead(core: Arc<Core>, replayed: usize, cover: Cover) {
    let version = core.versions.load().sealed();
    dead::covered(&version, &cover).await;
    for segment in version.runs.iter().take(replayed).flat_map(|run| &run.segments) {
        dead::recovered(&core, &version, segment).await;
    }
    core.compactor.look();
}

/// How the log makes its next segment.
fn new_draft(epoch: Epoch, numbers: Arc<Numbers>, random: Arc<Random>, clock: Arc<EngineClock>) -> NewDraft {
    Box::new(move |prior: Prior| {
        let header = Header {
            database: epoch.database,
            id: epoch.segment(numbers.next()),
            salt: random.next(),
            hash_seed: epoch.hash_seed,
            base_seq: prior.next_seq,
            created: clock.trusted(),
            layout: Layout::Dense,
            predecessor: (prior.number > 0).then_some(Predecessor {
                number: prior.number,
                len: prior.len,
                last_seq: prior.last_seq,
            }),
        };
        Arc::new(Draft { memtable: Arc::new(Memtable::new(header.stream())), header })
    })
}

#[cfg(test)]
mod tests;
