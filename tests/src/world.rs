//! A store, the clock and the settings its databases are opened with, and the history of what was done to it.

use crate::clock::ManualClock;
use crate::figures::Figures;
use crate::history::{History, Loss, State};
use crate::kept::Kept;
use crate::random::mix;
use bytes::Bytes;
use futures::TryStreamExt;
use halite::backends::{self, Backend, Memory, Path, Simulated, SimulatedOptions, Tiered};
use halite::{Db, Options, ReadOnly, VerifyOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longer than anything may take, in the virtual time of a test: who waits for this long hangs. (A store that cannot be reached is
/// waited for five minutes.)
pub const FOR_EVER: Duration = Duration::from_secs(600);

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Store {
    /// The plain reference: a kill loses nothing that was written, and there are no power cuts.
    Memory(Memory),
    /// The simulator.
    Simulated(Simulated),
    /// Two of them: the log on a machine's disk, and the store that all machines see.
    Tiered([Simulated; 2]),
    /// A store of the real world, whose every call is done when it returns: [`Waiting`](crate::waiting::Waiting), or one that
    /// blocks. A kill loses nothing that was written, and it has no power cuts.
    Real(Arc<dyn Backend>),
}

impl Store {
    /// An empty store in the memory backend; of growing files if `append`, else create-only.
    pub fn memory(append: bool) -> Store {
        Store::Memory(if append { Memory::new() } else { Memory::create_only() })
    }

    /// An empty simulated store.
    pub fn simulated(options: SimulatedOptions) -> Store {
        Store::Simulated(Simulated::new(options))
    }

    /// A simulated store in two tiers, both empty: the log on a disk of these options, and an object store.
    pub fn tiered(log: SimulatedOptions) -> Store {
        let store = SimulatedOptions { append: false, lock: false, capacity: None, ..log.clone() };
        Store::of_tiers(Simulated::new(log), Simulated::new(store))
    }

    fn of_tiers(log: Simulated, store: Simulated) -> Store {
        log.ships_to(&store);
        Store::Tiered([log, store])
    }

    /// What an engine opens, of a store in one tier.
    pub fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Store::Memory(memory) => Arc::new(memory.clone()),
            Store::Simulated(simulated) => Arc::new(simulated.clone()),
            Store::Tiered(_) => panic!("two tiers are found by `reach`"),
            Store::Real(real) => real.clone(),
        }
    }

    /// What an engine opens, of any store.
    ///
    /// # Errors
    /// As the backends say.
    pub async fn reach(&self) -> backends::Result<Arc<dyn Backend>> {
        match self {
            Store::Tiered([log, store]) => {
                Ok(Arc::new(Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await?))
            }
            other => Ok(other.backend()),
        }
    }

    /// The simulator, where there is one alone.
    pub fn simulator(&self) -> &Simulated {
        match self {
            Store::Simulated(simulated) => simulated,
            _ => panic!("a test that injects faults uses the simulator"),
        }
    }

    /// All simulators beneath it.
    pub fn disks(&self) -> &[Simulated] {
        match self {
            Store::Simulated(simulated) => std::slice::from_ref(simulated),
            Store::Tiered(tiers) => tiers,
            Store::Memory(_) | Store::Real(_) => &[],
        }
    }

    /// Whether its log grows in files.
    pub fn grows(&self) -> bool {
        matches!(self, Store::Tiered(_)) || self.backend().capabilities().append
    }

    /// Whether it can be locked.
    pub fn has_lock(&self) -> bool {
        match self {
            Store::Tiered([log, _]) => log.capabilities().lock,
            other => other.backend().capabilities().lock,
        }
    }

    /// Whether the crash that was planned has come.
    pub fn is_crashed(&self) -> bool {
        self.disks().iter().any(Simulated::is_crashed)
    }

    /// Whether nothing is to go wrong, but for a crash.
    pub fn is_healthy(&self) -> bool {
        self.disks().iter().all(Simulated::is_healthy)
    }

    /// What is there after the process was killed.
    pub fn kill(&self) -> Store {
        match self {
            Store::Simulated(simulated) => Store::Simulated(simulated.kill()),
            Store::Tiered([log, store]) => Store::of_tiers(log.kill(), store.kill()),
            other => other.clone(),
        }
    }

    /// What is there after the power went.
    pub fn power_cut(&self, seed: u64) -> Store {
        match self {
            Store::Simulated(simulated) => Store::Simulated(simulated.power_cut(seed)),
            Store::Tiered([log, store]) => Store::of_tiers(log.power_cut(seed), store.power_cut(seed)),
            other => other.clone(),
        }
    }

    /// What another machine finds, whose disk is empty. (Where there is one tier nothing is lost with a machine.)
    fn elsewhere(&self, seed: u64) -> Store {
        match self {
            Store::Tiered([log, store]) => {
                let options = SimulatedOptions { seed, capacity: None, ..log.options() };
                Store::of_tiers(Simulated::new(options), store.kill())
            }
            other => other.kill(),
        }
    }

    /// What is there after `loss`.
    pub fn after(&self, loss: Loss, seed: u64) -> Store {
        match loss {
            Loss::Kill => self.kill(),
            Loss::PowerCut => self.power_cut(seed),
            Loss::Machine => self.elsewhere(seed),
        }
    }
}

/// A store with all that a test knows of it.
#[derive(Debug)]
pub struct World {
    /// Where the data is.
    pub store: Store,
    /// The wall clock of every database opened here.
    pub clock: ManualClock,
    /// The settings of every database opened here.
    pub options: Options,
    /// What was done so far.
    pub history: History,
    /// The checkpoints that should be there.
    pub kept: Kept,
    /// What has ended the last process, if it was not a close: what is found next is judged by it.
    pub ended: Option<Loss>,
    /// The machine that had the log was lost since.
    pub log_is_lost: bool,
    /// So the next opening says that it gives up the log.
    pub gives_up_log: bool,
    /// The open database. It outlives the runtime of a killed process, so that nothing is tidied up.
    pub db: Option<Db>,
    /// A reader beside it, of another process.
    pub reader: Option<ReadOnly>,
    /// Where backups are kept, which no crash meets.
    pub backups: Memory,
    /// What each of them should show.
    pub backed_up: BTreeMap<String, State>,
    /// What was counted so far.
    pub figures: Figures,
    seed: u64,
    openings: u64,
    trace: u64,
}

impl World {
    /// A world around an empty store.
    pub fn new(store: Store, options: Options, seed: u64) -> World {
        let clock = ManualClock::new(1_700_000_000_000);
        World {
            store,
            clock,
            options,
            history: History::default(),
            kept: Kept::default(),
            ended: None,
            log_is_lost: false,
            gives_up_log: false,
            db: None,
            reader: None,
            backups: Memory::new(),
            backed_up: BTreeMap::new(),
            figures: Figures::default(),
            seed,
            openings: 0,
            trace: 0,
        }
    }

    /// This world at this moment, but on `store`: a copy that goes its own way.
    pub fn fork(&self, store: Store) -> World {
        World {
            store,
            clock: ManualClock::new(self.clock.latest()),
            options: self.options.clone(),
            history: self.history.clone(),
            kept: self.kept.clone(),
            ended: self.ended,
            log_is_lost: self.log_is_lost,
            gives_up_log: self.gives_up_log,
            db: None,
            reader: None,
            backups: Memory::new(),
            backed_up: BTreeMap::new(),
            figures: Figures::default(),
            seed: self.seed,
            openings: self.openings + 1_000,
            trace: 0,
        }
    }

    /// Another process on the same store, whose nonces and salts are its own.
    pub fn rival(&mut self) -> World {
        self.openings += 1_000_000;
        self.fork(self.store.clone())
    }

    /// Opens a database here.
    ///
    /// # Errors
    /// As the engine says.
    pub async fn open(&mut self) -> halite::Result<Db> {
        self.openings += 1;
        let seed = mix(self.seed, self.openings);
        self.name_log(seed);
        let builder = Db::builder(self.store.reach().await?).options(self.options.clone());
        let builder = if self.gives_up_log { builder.give_up_log() } else { builder };
        builder.clock(Arc::new(self.clock.clone())).seed(seed).open().await
    }

    /// An empty log gets a number by chance when it is opened: by one that is drawn from the seed.
    fn name_log(&self, seed: u64) {
        let home = Path::new("tiered/home").expect("it is a path");
        if let Store::Tiered([log, store]) = &self.store
            && log.read_file(&home).is_none()
        {
            let said = format!("{seed:016x} {}", store.location());
            log.write_file(&home, format!("{:08x} {said}", crc32c::crc32c(said.as_bytes())));
        }
    }

    /// Opens the checkpoint of that name, read-only.
    ///
    /// # Errors
    /// As the engine says.
    pub async fn open_at(&self, checkpoint: &str) -> halite::Result<ReadOnly> {
        let builder = Db::builder(self.store.reach().await?).options(self.options.clone());
        builder.clock(Arc::new(self.clock.clone())).open_at(checkpoint).await
    }

    /// Opens the store read-only.
    ///
    /// # Errors
    /// As the engine says.
    pub async fn open_read_only(&self) -> halite::Result<ReadOnly> {
        let builder = Db::builder(self.store.reach().await?).options(self.options.clone());
        builder.clock(Arc::new(self.clock.clone())).open_read_only().await
    }

    /// The process ends by `loss`: nothing of it goes on, and the store is what that leaves.
    pub fn end(&mut self, loss: Loss, seed: u64) {
        self.figures.end(loss);
        self.count_strikes();
        self.store = self.store.after(loss, seed);
        self.log_is_lost |= loss == Loss::Machine;
        // What the process has left on other machines is judged apart.
        let left = if loss == Loss::Machine { Loss::Kill } else { loss };
        self.ended = Some(self.ended.map_or(left, |earlier| worse(earlier, left)));
        self.db = None;
        if !self.store.disks().is_empty() {
            // What is left is another store, to the simulator.
            self.reader = None;
        }
    }

    /// What readers must see now.
    pub fn expected(&self) -> State {
        self.history.visible(self.time())
    }

    /// Engine time.
    pub fn time(&self) -> u64 {
        self.clock.latest()
    }

    /// How many steps of the store have failed.
    pub fn strikes(&self) -> u64 {
        self.store.disks().iter().map(Simulated::strikes).sum()
    }

    /// Whether what the store was asked for has ever come out wrong.
    pub fn has_spoilt_reads(&self) -> bool {
        self.store.disks().iter().any(|disk| disk.spoilt() > 0)
    }

    /// Whether the store has ever left out of a list what was there.
    pub fn has_lagged(&self) -> bool {
        self.store.disks().iter().any(|disk| disk.unlisted() > 0)
    }

    /// Enters into the figures how many steps of the store have failed, which is about to be another one.
    pub fn count_strikes(&mut self) {
        for disk in self.store.disks() {
            for (call, count) in disk.strikes_by_call() {
                *self.figures.strikes.entry(call).or_default() += count;
            }
            self.figures.spoilt += disk.spoilt();
            self.figures.unlisted += disk.unlisted();
        }
    }

    /// Operation `number` is done, when its process has lived for so much virtual `time`: enters into the trace what has come
    /// of it.
    pub fn enter_trace(&mut self, number: usize, time: Duration) {
        let asked = self.store.disks().iter().fold(0, |all, disk| mix(all, disk.trace_hash()));
        let (commits, synced) = (self.history.len() as u64, self.history.spared(Some(Loss::PowerCut)) as u64);
        let time = time.as_millis() as u64;
        for part in [number as u64, time, asked, self.clock.millis(), commits, synced] {
            self.trace = mix(self.trace, part);
        }
    }

    /// A hash of all that was asked of the store, of its answers and of what came of the operations: the same at each run.
    pub fn trace(&self) -> u64 {
        self.trace
    }
}

/// What two ends in a row spare at most.
pub fn worse(a: Loss, b: Loss) -> Loss {
    a.max(b)
}

/// Small settings, so that a few kilobytes see segments sealed and merged, and small intervals.
pub fn small_options() -> Options {
    Options {
        flush_interval: Duration::from_millis(20),
        sync_interval: Duration::from_millis(50),
        segment_bytes_max: Options::SEGMENT_BYTES_MIN,
        segment_fragments_max: 6,
        unsealed_max: 1,
        merge_dead_share: 0.4,
        write_buffer_bytes: 512,
        fragment_bytes: 512,
        refresh_interval: None,
        ..Options::default()
    }
}

/// One process: a runtime of its own, whose time is virtual, and which takes all its tasks with it when it ends.
pub fn process<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// What a process runs in, where it has several turns.
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs no resources that can be missing")
}

/// `future`, or a failure if it never ends. The clock is virtual and moves when all tasks wait: no real time passes.
///
/// # Errors
/// That it hangs.
pub async fn ends<F: Future>(what: &str, future: F) -> Result<F::Output, String> {
    tokio::time::timeout(FOR_EVER, future).await.map_err(|_| format!("{what} hangs"))
}

/// All that a database shows.
///
/// # Errors
/// As the engine says.
pub async fn read_all(db: &Db) -> halite::Result<State> {
    db.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await
}

/// What `verify` complains about; nothing, on a sound database.
///
/// # Errors
/// A description of the damage found, or of the failure to look for it.
pub async fn soundness(db: &Db) -> Result<(), String> {
    let deep = VerifyOptions { digests: true, ..VerifyOptions::default() };
    let report = db.verify_with(deep, |_| {}).await.map_err(|error| format!("verify failed: {error:?}"))?;
    if report.damage.is_empty() { Ok(()) } else { Err(format!("verify found damage: {:?}", report.damage)) }
}

/// Fails the test unless `verify` finds nothing wrong.
pub async fn assert_sound(db: &Db) {
    soundness(db).await.expect("the store is sound");
}

/// A value as the engine returns it.
pub fn bytes(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}
