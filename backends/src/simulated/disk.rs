//! The state all handles share: names, files, and the steps that change them, with what was planned to go wrong.

use super::inode::{Inode, Survives};
use super::random::Random;
use super::spoil::Spoiler;
use super::trace::Trace;
use super::{Fault, Repeat, SimulatedOptions, Step};
use crate::planted::{Bug, planted};
use crate::{Error, ErrorKind, Path, Result, in_folder};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

pub(super) type File = Arc<Mutex<Inode>>;

/// One change to the store. Every one is a step: it happens whole or not at all, and a crash falls between two.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Bytes at a place in a file.
    Write(File, u64, Bytes),
    /// A file's bytes and length made durable.
    Sync(File),
    /// As `Sync`, of a file that is not written again.
    SyncWhole(File),
    /// A file cut.
    Cut(File, u64),
    /// Space set aside.
    Reserve(File, u64),
    /// A new name for a file, durable with its folder.
    Link(Path, File),
    /// A name removed, durably with its folder.
    Unlink(Path),
    /// The names in a folder made durable.
    SyncFolder(String),
    /// A whole object with its name, durable at once, as an object store does it.
    Put(Path, Bytes),
    /// Leftovers removed.
    Tidy,
    /// Nothing: a call that only looks.
    Look(&'static str),
}

impl Effect {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Effect::Write(..) => "write",
            Effect::Sync(_) | Effect::SyncWhole(_) => "sync",
            Effect::Cut(..) => "cut",
            Effect::Reserve(..) => "reserve",
            Effect::Link(..) => "link",
            Effect::Unlink(_) => "unlink",
            Effect::SyncFolder(_) => "sync folder",
            Effect::Put(..) => "put",
            Effect::Tidy => "tidy",
            Effect::Look(what) => what,
        }
    }

    /// A hash of what is changed and how.
    fn digest(&self) -> u64 {
        let mut hasher = Trace(0);
        match self {
            Effect::Write(file, at, data) => (file.lock().id, at, data).hash(&mut hasher),
            Effect::Cut(file, len) | Effect::Reserve(file, len) => (file.lock().id, len).hash(&mut hasher),
            Effect::Put(path, data) => (path, data).hash(&mut hasher),
            Effect::Sync(file) | Effect::SyncWhole(file) => file.lock().id.hash(&mut hasher),
            Effect::Link(path, _) | Effect::Unlink(path) => path.hash(&mut hasher),
            Effect::SyncFolder(folder) => folder.hash(&mut hasher),
            Effect::Tidy | Effect::Look(_) => {}
        }
        hasher.finish()
    }
}

/// A change of names that its folder's next sync makes durable.
#[derive(Clone, Debug)]
enum NameChange {
    Link(Path, File),
    Unlink(Path),
}

impl NameChange {
    fn path(&self) -> &Path {
        let (NameChange::Link(path, _) | NameChange::Unlink(path)) = self;
        path
    }

    fn apply(self, names: &mut BTreeMap<Path, File>) {
        match self {
            NameChange::Link(path, file) => names.insert(path, file),
            NameChange::Unlink(path) => names.remove(&path),
        };
    }
}

type Matches = Box<dyn Fn(&Step<'_>) -> bool + Send>;

/// A fault that was planned.
pub(super) struct Rule {
    matches: Matches,
    fault: Fault,
    /// The step happens after its call has failed.
    late: bool,
    /// How often it is yet to strike.
    left: u32,
}

impl Rule {
    pub(super) fn new(fault: Fault, late: bool, matches: Matches) -> Rule {
        let left = match fault.repeat {
            Repeat::Once => 1,
            Repeat::Times(times) => times,
            Repeat::Forever => u32::MAX,
        };
        Rule { matches, fault, late, left }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Strikes, if this is the step.
    fn strike(&mut self, step: &Step<'_>) -> bool {
        let strikes = self.left > 0 && (self.matches)(step);
        if strikes && self.left < u32::MAX {
            self.left -= 1;
        }
        strikes
    }
}

/// A call whose future was dropped, and what of it arrives after all when that many steps have been taken.
struct Late {
    due: u64,
    /// Which comes first of those that are due at once.
    turn: u64,
    effects: VecDeque<Effect>,
}

/// How many files that were deleted are kept, to be brought back.
const DELETED_MAX: usize = 12;

pub(super) struct Disk {
    pub(super) options: SimulatedOptions,
    /// What every process sees.
    pub(super) names: BTreeMap<Path, File>,
    /// What is on the disk.
    durable_names: BTreeMap<Path, File>,
    /// In between, in order.
    name_changes: Vec<NameChange>,
    /// Files of unfinished calls, under names no one sees.
    pub(super) hidden: BTreeMap<u64, File>,
    /// The last files whose names went, the newest last.
    deleted: VecDeque<(Path, File)>,
    next_id: u64,
    pub(super) locked: bool,
    pub(super) steps: u64,
    pub(super) crash_at: Option<u64>,
    /// Whether the crash has come, of this disk or of another one of the same machine.
    pub(super) crash: Arc<AtomicBool>,
    pub(super) panic_at: Option<u64>,
    pub(super) rules: Vec<Rule>,
    pub(super) spoilers: Vec<Spoiler>,
    /// How many reads these have spoilt.
    pub(super) spoilt: u64,
    /// Lists show names that were made so many steps ago, or earlier.
    pub(super) lag: u64,
    /// How many names lists have left out because of it.
    pub(super) unlisted: u64,
    /// Steps that match one of these wait.
    pub(super) stalls: Vec<Matches>,
    /// Who waits.
    pub(super) stalled: Vec<Waker>,
    /// How many steps have failed so far, by call.
    pub(super) strikes: BTreeMap<&'static str, u64>,
    late: Vec<Late>,
    pub(super) trace: u64,
    pub(super) random: Random,
}

impl Disk {
    pub(super) fn new(options: SimulatedOptions) -> Disk {
        Disk {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            hidden: BTreeMap::new(),
            deleted: VecDeque::new(),
            next_id: 0,
            locked: false,
            steps: 0,
            crash_at: None,
            crash: Arc::default(),
            panic_at: None,
            rules: Vec::new(),
            spoilers: Vec::new(),
            spoilt: 0,
            lag: 0,
            unlisted: 0,
            stalls: Vec::new(),
            stalled: Vec::new(),
            strikes: BTreeMap::new(),
            late: Vec::new(),
            trace: 0,
            random: Random::new(options.seed),
            options,
        }
    }

    /// A new file that has no name yet.
    pub(super) fn new_file(&mut self, data: Option<Bytes>) -> File {
        let id = self.next_id;
        self.next_id += 1;
        Arc::new(Mutex::new(data.map_or_else(|| Inode::new(id), |data| Inode::whole(id, data))))
    }

    /// As [`Disk::new_file`], kept under a hidden name until it is linked.
    pub(super) fn new_hidden_file(&mut self) -> (u64, File) {
        let file = self.new_file(None);
        let id = file.lock().id;
        self.hidden.insert(id, file.clone());
        (id, file)
    }

    pub(super) fn is_crashed(&self) -> bool {
        if self.crash_at.is_some_and(|step| self.steps >= step) {
            self.crash.store(true, Ordering::Relaxed);
        }
        self.crash.load(Ordering::Relaxed)
    }

    /// Whether whoever takes the next step is to panic instead.
    pub(super) fn is_to_panic(&mut self) -> bool {
        self.panic_at.take_if(|step| *step == self.steps).is_some()
    }

    /// Takes one step of the call `op` about `path`: the effect, or what was planned in its stead.
    pub(super) fn step(&mut self, op: &'static str, path: &str, effect: Effect) -> Result<()> {
        if self.is_crashed() {
            return Err(Error::new(ErrorKind::Io, op, path, "crashed"));
        }
        self.deliver_late();
        let (name, digest) = (effect.name(), effect.digest());
        let step = Step { number: self.steps, op, effect: name, path };
        let struck = self.rules.iter_mut().find_map(|rule| rule.strike(&step).then_some((rule.fault, rule.late)));
        self.steps += 1;
        // Whoever shares the crash is to know of it from now on.
        self.is_crashed();
        let result = match struck {
            None => self.apply(op, path, effect),
            Some((fault, true)) => {
                let (due, turn) = (self.steps + self.random.below(16), self.random.next());
                self.delay(Late { due, turn, effects: [effect].into() });
                Err(injected(fault, op, path))
            }
            Some((fault, false)) if fault.applied => {
                self.apply(op, path, effect).and_then(|()| Err(injected(fault, op, path)))
            }
            Some((fault, false)) => {
                if let Effect::Sync(file) | Effect::SyncWhole(file) = effect {
                    file.lock().fail_sync();
                }
                Err(injected(fault, op, path))
            }
        };
        let is_refused = matches!(&result, Err(error) if error.kind() == ErrorKind::NoSpace);
        if struck.is_some() || is_refused {
            *self.strikes.entry(op).or_default() += 1;
        }
        let mut trace = Trace(self.trace);
        (op, name, path).hash(&mut trace);
        digest.hash(&mut trace);
        result.as_ref().err().map(Error::kind).hash(&mut trace);
        self.trace = trace.finish();
        result
    }

    /// Enters what a call has answered into the trace.
    pub(super) fn note(&mut self, answer: impl Hash) {
        let mut trace = Trace(self.trace);
        answer.hash(&mut trace);
        self.trace = trace.finish();
    }

    /// Space taken, what is reserved included.
    pub(super) fn used(&self) -> u64 {
        self.names.values().chain(self.hidden.values()).map(|file| file.lock().allocated()).sum()
    }

    /// A call is given up before these steps of it, which never happen, or happen at once, or later. That is drawn from what
    /// they are and when this is, not in turn: a runtime that ends drops its tasks in an order that depends on those of others.
    pub(super) fn abandon(&mut self, effects: VecDeque<Effect>) {
        let mut lot = Trace(self.options.seed ^ self.steps.rotate_left(32));
        effects.iter().for_each(|effect| (effect.name(), effect.digest()).hash(&mut lot));
        let mut random = Random::new(lot.finish());
        let due = match random.below(3) {
            0 => return,
            1 => self.steps,
            _ => self.steps + random.below(16),
        };
        self.delay(Late { due, turn: random.next(), effects });
    }

    fn delay(&mut self, late: Late) {
        let behind = self.late.partition_point(|other| (other.due, other.turn) <= (late.due, late.turn));
        self.late.insert(behind, late);
    }

    /// What is on its way arrives, late or not.
    pub(super) fn deliver_all(&mut self) {
        self.late.iter_mut().for_each(|late| late.due = 0);
        self.deliver_late();
    }

    fn deliver_late(&mut self) {
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|late| late.due <= self.steps);
        self.late = later;
        let due: Vec<Late> = due;
        for effect in due.into_iter().flat_map(|late| late.effects) {
            // Nobody hears of its failure.
            let _ = self.apply("late", "", effect);
        }
    }

    fn apply(&mut self, op: &'static str, path: &str, effect: Effect) -> Result<()> {
        match effect {
            Effect::Write(file, at, data) => {
                let at = usize::try_from(at).expect("a simulated file fits in memory");
                let taken = file.lock().allocated();
                self.claim_space(op, path, taken, (at + data.len()) as u64)?;
                file.lock().write(at, data);
            }
            Effect::Sync(file) => file.lock().sync(),
            Effect::SyncWhole(file) => {
                let mut inode = file.lock();
                inode.sync();
                inode.make_whole();
            }
            Effect::Cut(file, len) => file.lock().cut(usize::try_from(len).unwrap_or(usize::MAX)),
            Effect::Reserve(file, len) => {
                let taken = file.lock().allocated();
                self.claim_space(op, path, taken, len)?;
                file.lock().reserved = len;
                self.write_zeros_ahead(&file);
            }
            Effect::Link(name, file) => {
                self.refuse_taken(op, &name)?;
                self.hidden.remove(&file.lock().id);
                file.lock().named = self.steps;
                self.names.insert(name.clone(), file.clone());
                self.name_changes.push(NameChange::Link(name, file));
            }
            Effect::Unlink(name) => {
                if let Some(file) = self.names.remove(&name) {
                    self.remember(name.clone(), file);
                    if self.options.append {
                        self.name_changes.push(NameChange::Unlink(name));
                    } else {
                        self.durable_names.remove(&name);
                    }
                }
            }
            Effect::SyncFolder(_) if planted(Bug::FolderNotSynced) => {}
            Effect::SyncFolder(folder) => {
                let changes = std::mem::take(&mut self.name_changes);
                let (durable, others): (Vec<_>, _) =
                    changes.into_iter().partition(|change| change.path().folder() == folder);
                self.name_changes = others;
                durable.into_iter().for_each(|change| change.apply(&mut self.durable_names));
            }
            Effect::Put(name, data) => {
                self.refuse_taken(op, &name)?;
                self.claim_space(op, path, 0, data.len() as u64)?;
                let file = self.new_file(Some(data));
                file.lock().named = self.steps;
                self.names.insert(name.clone(), file.clone());
                self.durable_names.insert(name, file);
            }
            Effect::Tidy => self.hidden.clear(),
            Effect::Look(_) => {}
        }
        Ok(())
    }

    fn refuse_taken(&self, op: &'static str, name: &Path) -> Result<()> {
        if self.names.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, op, name, "the name is taken"));
        }
        Ok(())
    }

    /// Keeps a file whose name went, in the place of the one that went longest ago.
    fn remember(&mut self, name: Path, file: File) {
        if self.deleted.len() == DELETED_MAX {
            self.deleted.pop_front();
        }
        self.deleted.push_back((name, file));
    }

    /// Gives one of the files that were deleted its name again, unless another one has it.
    pub(super) fn bring_back(&mut self, choice: u64) -> Option<Path> {
        let index = choice.checked_rem(self.deleted.len() as u64)? as usize;
        let (path, file) = self.deleted.remove(index)?;
        if self.names.contains_key(&path) {
            return None;
        }
        self.name_changes.retain(|change| *change.path() != path);
        self.names.insert(path.clone(), file.clone());
        self.durable_names.insert(path.clone(), file);
        self.note(&path);
        Some(path)
    }

    /// The names in `folder`, with the lengths of their files, as far as lists show them.
    pub(super) fn listed(&mut self, folder: &str) -> Vec<(Path, u64)> {
        let since = if self.options.append { 0 } else { self.lag };
        let mut shown = Vec::new();
        let before = self.unlisted;
        for (path, file) in self.names.iter().filter(|(path, _)| in_folder(path, folder)) {
            let inode = file.lock();
            match since > 0 && inode.named > 0 && inode.named + since > self.steps {
                true => self.unlisted += 1,
                false => shown.push((path.clone(), inode.len())),
            }
        }
        if self.unlisted > before {
            *self.strikes.entry("list").or_default() += 1;
        }
        self.note(&shown);
        shown
    }

    /// Refuses what does not fit: a file that has `taken` bytes is to have `len`.
    fn claim_space(&self, op: &'static str, path: &str, taken: u64, len: u64) -> Result<()> {
        let Some(capacity) = self.options.capacity else { return Ok(()) };
        let more = len.saturating_sub(taken);
        if more > 0 && self.used().saturating_add(more) > capacity {
            return Err(Error::new(ErrorKind::NoSpace, op, path, "the simulated disk is full"));
        }
        Ok(())
    }

    /// What a local backend does in the background: zeros within the reserved space, synced or not yet.
    fn write_zeros_ahead(&mut self, file: &File) {
        if !self.random.one_in(3) {
            return;
        }
        let mut inode = file.lock();
        let room = inode.reserved.saturating_sub(inode.len()).min(32 * 1024);
        let zeros = self.random.below(room + 1) as usize;
        let at = inode.bytes().len();
        if zeros > 0 {
            inode.write(at, vec![0; zeros].into());
        }
        if self.random.one_in(2) {
            inode.sync();
        }
    }

    /// A copy of everything, as a new process finds it.
    pub(super) fn after_kill(&self) -> Disk {
        let mut copies = Copies::default();
        let mut copy = |file: &File| copies.of(file, Inode::after_kill);
        let mut all = |names: &BTreeMap<Path, File>| -> BTreeMap<Path, File> {
            names.iter().map(|(name, file)| (name.clone(), copy(file))).collect()
        };
        let (names, durable_names) = (all(&self.names), all(&self.durable_names));
        let name_changes = self.name_changes.iter().map(|change| match change {
            NameChange::Link(path, file) => NameChange::Link(path.clone(), copy(file)),
            unlink => unlink.clone(),
        });
        let name_changes = name_changes.collect();
        let hidden = self.hidden.iter().map(|(id, file)| (*id, copy(file))).collect();
        let deleted = self.deleted.iter().map(|(path, file)| (path.clone(), copy(file))).collect();
        let new = Disk::new(self.options.clone());
        Disk { names, durable_names, name_changes, hidden, deleted, next_id: self.next_id, ..new }
    }

    /// One of the states in which the disk may be found after a power cut.
    pub(super) fn after_power_cut(&self, survives: Survives, seed: u64) -> Disk {
        // The same seed leaves other things at another step.
        let mut random = Random::new(seed ^ self.steps.rotate_left(32));
        let mut names = self.durable_names.clone();
        // Journals keep the order of changes; not every file system has one.
        let in_order = random.one_in(3).then(|| random.below(self.name_changes.len() as u64 + 1));
        for (index, change) in (0..).zip(&self.name_changes) {
            let kept = match (survives, in_order) {
                (Survives::Nothing, _) => false,
                (Survives::Everything, _) => true,
                (Survives::Some, Some(count)) => index < count,
                (Survives::Some, None) => random.one_in(2),
            };
            if kept {
                change.clone().apply(&mut names);
            }
        }
        let mut copies = Copies::default();
        let mut image =
            |file: &File, random: &mut Random| copies.of(file, |inode| inode.after_power_cut(survives, random));
        let names: BTreeMap<_, _> = names.iter().map(|(name, file)| (name.clone(), image(file, &mut random))).collect();
        let mut hidden = BTreeMap::new();
        for (id, file) in &self.hidden {
            if survives == Survives::Everything || survives == Survives::Some && random.one_in(2) {
                hidden.insert(*id, image(file, &mut random));
            }
        }
        let deleted = self.deleted.iter().map(|(path, file)| (path.clone(), image(file, &mut random))).collect();
        let options = SimulatedOptions { seed: random.next(), ..self.options.clone() };
        Disk { durable_names: names.clone(), names, hidden, deleted, next_id: self.next_id, ..Disk::new(options) }
    }

    /// Puts a file there, live and durable, whatever was there.
    pub(super) fn place(&mut self, path: Path, data: Bytes) {
        let file = self.new_file(Some(data));
        self.name_changes.retain(|change| *change.path() != path);
        self.durable_names.insert(path.clone(), file.clone());
        self.names.insert(path, file);
    }

    /// Takes a file away, live and durable.
    pub(super) fn displace(&mut self, path: &Path) {
        self.name_changes.retain(|change| change.path() != path);
        self.durable_names.remove(path);
        self.names.remove(path);
    }
}

/// Copies of files, one each however many names refer to it.
#[derive(Default)]
struct Copies(HashMap<u64, File>);

impl Copies {
    fn of(&mut self, file: &File, copy: impl FnOnce(&Inode) -> Inode) -> File {
        let inode = file.lock();
        self.0.entry(inode.id).or_insert_with(|| Arc::new(Mutex::new(copy(&inode)))).clone()
    }
}

fn injected(fault: Fault, op: &'static str, path: &str) -> Error {
    Error::new(fault.kind, op, path, "injected")
}
