//! A seeded disk in memory that fails in every way the engine must survive: the base of all crash tests.
//!
//! The same seed and the same calls give the same run. Every change is a *step*; a test runs a scenario once to count
//! the steps, then again with a crash or an error at each of them, and opens what is left.
//!
//! # The faults, and why they can be survived
//! 1. **Process crash** ([`Simulated::crash_at`], then [`Simulated::kill`]): every step before it has happened, none
//!    after. Calls consist of several steps (a create writes, syncs, links, syncs the folder; an append of 1 MiB writes
//!    16 times), so a crash leaves calls done in part. Survivable: nothing visible is half, but growing files, whose
//!    records carry checksums.
//! 2. **Power cut** ([`Simulated::power_cut`]): what was synced stays. What was not is lost, kept or torn, each file,
//!    page (4 KiB) and name for itself, in no order, and a file's length apart from its data. Names made or deleted
//!    count as synced when their folder is. Survivable because a sector (512 bytes) that holds a synced byte is found
//!    old or new: zeros and garbage (old bytes of the same file among it) appear only in sectors without one.
//! 3. **Errors** ([`Simulated::fail`], [`Simulated::fail_when`], [`Simulated::delay_when`]): at one step, some, or from
//!    one on, of any kind, and either nothing happened, or it happened although it failed, or happens later. A sync that fails leaves its pages clean but not durable, as
//!    Linux does: a later sync succeeds without writing them. Survivable because errors are not ambiguous about what
//!    they leave open, and by never trusting a file again whose sync failed.
//! 4. **No space** ([`SimulatedOptions::capacity`]): `reserve`, writes and creates fail. Survivable because `reserve`
//!    fails before a byte is written.
//! 5. **Futures that are dropped** at any point: what was left of the call never happens, or happens at once, or some
//!    steps *later*, when somebody else may own the store. Survivable by rules 3, 4 and 7 of the single writer.
//! 6. **Calls that stall** ([`Simulated::stall_when`]), for as long as a test likes. Survivable by waiting.
//! 7. **Zeros ahead**: `reserve` may make a file longer, by zeros synced or not. Survivable because no record begins
//!    with zeros.
//! 8. **Damage** ([`Simulated::flip_bit`] and its neighbours): any byte at any time. Not survivable, but to be found.
//! 9. **Reads that come out wrong** ([`Simulated::spoil_when`]): flipped, short, misdirected or stale, once or again and
//!    again, but never twice in a row of a growing file. Survivable because everything read has a checksum bound
//!    to its place, and where a log ends is read twice.
//!
//! 10. **Files brought back** ([`Simulated::bring_back`]): one that was deleted has its name again. Survivable because no
//!     name is used twice, and nobody goes by a name that the newest manifest does not lead to.
//! 11. **Lists that lag** ([`Simulated::lag_lists`]) behind what was created, on object stores. To be refused: who does not
//!     find there what it has just created cannot know whether it is the newest.
//!
//! With [`SimulatedOptions::append`] false it is an object store: no growing files, and each object durable with its
//! name in one step.

mod call;
mod disk;
mod inode;
mod random;
mod spoil;
#[cfg(test)]
mod tests;
mod trace;

use crate::{ErrorKind, Path};
use bytes::Bytes;
use disk::{Disk, Rule};
use inode::Survives;
use parking_lot::Mutex;
pub use spoil::Spoil;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

/// What kind of disk is simulated.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Path, Simulated, SimulatedOptions};
/// let disk = Simulated::new(SimulatedOptions { seed: 7, append: true, ..SimulatedOptions::default() });
/// let path = Path::new("log/1")?;
/// let mut log = disk.append(&path).await?;
/// log.append(vec!["synced".into()], true).await?;
/// log.append(vec!["not".into()], false).await?;
/// let after = disk.power_cut(0); // nothing that was not synced survives
/// assert_eq!(after.open(&path).await?.len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedOptions {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Files can grow, and names are durable when their folder is synced; else it is an object store. Default: true.
    pub append: bool,
    /// There is an exclusive lock. Default: true.
    pub lock: bool,
    /// Objects are shared memory ([`Object::map`](crate::Object::map)); else they can only be read. Default: true.
    pub map: bool,
    /// Bytes that fit on the disk, reserved ones included. Default: no limit.
    pub capacity: Option<u64>,
    /// Calls are pending now and then, before, between and after their steps, so that tasks mix in more ways.
    /// Default: false, every call is ready at its first poll.
    pub yields: bool,
}

impl Default for SimulatedOptions {
    fn default() -> SimulatedOptions {
        SimulatedOptions { seed: 0, append: true, lock: true, map: true, capacity: None, yields: false }
    }
}

/// Whether a fault strikes again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, ErrorKind, Fault, Path, Repeat, Simulated, SimulatedOptions};
/// let disk = Simulated::new(SimulatedOptions::default());
/// disk.fail(Fault { at_step: 0, kind: ErrorKind::Io, repeat: Repeat::Once, applied: false });
/// let path = Path::new("name")?;
/// assert!(disk.create(&path, "bytes".into()).await.is_err());
/// assert!(disk.create(&path, "bytes".into()).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// One step fails.
    Once,
    /// So many steps that match fail.
    Times(u32),
    /// So does every later one that matches.
    Forever,
}

/// An error planned ahead.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, ErrorKind, Fault, Path, Repeat, Simulated, SimulatedOptions};
/// let disk = Simulated::new(SimulatedOptions::default());
/// let path = Path::new("log/1")?;
/// let mut log = disk.append(&path).await?;
/// // The next step happens, and its caller hears that it has failed.
/// disk.fail(Fault { at_step: disk.steps(), kind: ErrorKind::Io, repeat: Repeat::Once, applied: true });
/// assert!(log.append(vec!["bytes".into()], false).await.is_err());
/// assert_eq!(disk.read_file(&path).as_deref(), Some(&b"bytes"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The first step it strikes, counted from 0 (see [`Simulated::steps`]).
    pub at_step: u64,
    /// The error that is returned.
    pub kind: ErrorKind,
    /// For how long.
    pub repeat: Repeat,
    /// The step happens although its call fails (for `Unknown`, usually). Else nothing of it happens; a sync marks
    /// its pages clean all the same.
    pub applied: bool,
}

/// One step of a call, as [`Simulated::fail_when`] sees it.
///
/// ```
/// use halite_backends::{ErrorKind, Fault, Repeat, Simulated, SimulatedOptions, Step};
/// let disk = Simulated::new(SimulatedOptions::default());
/// let fault = Fault { at_step: 0, kind: ErrorKind::Io, repeat: Repeat::Forever, applied: false };
/// disk.fail_when(fault, |step: &Step<'_>| step.op == "sync" && step.path.starts_with("segments/"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Counted from 0.
    pub number: u64,
    /// The call: `create`, `upload`, `append`, `reserve`, `sync`, `truncate`, `finish`, `open`, `read`, `look for`,
    /// `list`, `delete`, `tidy`, `lock`. (`append` is both the creation of a growing file and an append to it.)
    pub op: &'static str,
    /// The change: `write`, `sync`, `cut`, `reserve`, `link`, `unlink`, `sync folder`, `put`, `tidy`; where nothing
    /// changes `open`, `read`, `stat`, `list`, `lock`, `begin`.
    pub effect: &'static str,
    /// The name the call is about; a folder for `list`; else empty.
    pub path: &'a str,
}

/// A simulated disk. Clones are handles on the same one. See the [module](self) for what it does to its user.
#[derive(Clone)]
pub struct Simulated {
    disk: Arc<Mutex<Disk>>,
}

impl Simulated {
    /// An empty disk.
    pub fn new(options: SimulatedOptions) -> Simulated {
        Simulated::from(Disk::new(options))
    }

    /// What kind of disk it is now.
    pub fn options(&self) -> SimulatedOptions {
        self.disk.lock().options.clone()
    }

    /// Steps taken so far, which is the number of the next one. Every call that touches the disk takes at least one,
    /// reads included.
    pub fn steps(&self) -> u64 {
        self.disk.lock().steps
    }

    /// Plans an error.
    pub fn fail(&self, fault: Fault) {
        let Fault { at_step, repeat, .. } = fault;
        let matches = move |step: &Step<'_>| match repeat {
            Repeat::Once => step.number == at_step,
            Repeat::Times(_) | Repeat::Forever => step.number >= at_step,
        };
        self.disk.lock().rules.push(Rule::new(fault, false, Box::new(matches)));
    }

    /// Plans an error at the first step (or at every one) that `matches`, from step [`Fault::at_step`] on.
    ///
    /// ```
    /// # use halite_backends::{ErrorKind, Fault, Repeat, Simulated, SimulatedOptions};
    /// let disk = Simulated::new(SimulatedOptions::default());
    /// let fault = Fault { at_step: 0, kind: ErrorKind::Unknown, repeat: Repeat::Once, applied: true };
    /// disk.fail_when(fault, |step| step.op == "create" && step.path.starts_with("manifest/"));
    /// ```
    pub fn fail_when(&self, fault: Fault, matches: impl Fn(&Step<'_>) -> bool + Send + 'static) {
        let matches = move |step: &Step<'_>| step.number >= fault.at_step && matches(step);
        self.disk.lock().rules.push(Rule::new(fault, false, Box::new(matches)));
    }

    /// As [`fail_when`](Simulated::fail_when), but what was asked for happens all the same up to 16 steps later, as a
    /// request does that was held up on its way.
    pub fn delay_when(&self, fault: Fault, matches: impl Fn(&Step<'_>) -> bool + Send + 'static) {
        let matches = move |step: &Step<'_>| step.number >= fault.at_step && matches(step);
        self.disk.lock().rules.push(Rule::new(fault, true, Box::new(matches)));
    }

    /// Steps that match are not taken, and their calls are pending, until [`resume`](Simulated::resume).
    pub fn stall_when(&self, matches: impl Fn(&Step<'_>) -> bool + Send + 'static) {
        self.disk.lock().stalls.push(Box::new(matches));
    }

    /// Lets all go on that is stalled, and stalls nothing more.
    pub fn resume(&self) {
        let stalled = {
            let mut disk = self.disk.lock();
            disk.stalls.clear();
            std::mem::take(&mut disk.stalled)
        };
        stalled.into_iter().for_each(Waker::wake);
    }

    /// Whatever is still on its way, of calls that were dropped or whose answers were lost, arrives now.
    pub fn deliver(&self) {
        self.disk.lock().deliver_all();
    }

    /// From this step on (counted from 0) nothing happens any more, and every call fails with `Io`, "crashed".
    pub fn crash_at(&self, step: u64) {
        self.disk.lock().crash_at = Some(step);
    }

    /// At this step (counted from 0) whoever takes it panics, once.
    pub fn panic_at(&self, step: u64) {
        self.disk.lock().panic_at = Some(step);
    }

    /// Makes this disk the log's of a machine, and `store` where its finished files are shipped to: a crash of either is the
    /// crash of both.
    ///
    /// ```
    /// use halite_backends::{Backend, Path, Simulated, SimulatedOptions};
    /// let [log, store] = [(); 2].map(|()| Simulated::new(SimulatedOptions::default()));
    /// log.ships_to(&store);
    /// store.crash_at(0);
    /// assert!(store.is_crashed() && log.is_crashed());
    /// ```
    pub fn ships_to(&self, store: &Simulated) {
        // One lock at a time.
        let crash = store.disk.lock().crash.clone();
        self.disk.lock().crash = crash;
    }

    /// Whether the crash has come.
    pub fn is_crashed(&self) -> bool {
        self.disk.lock().is_crashed()
    }

    /// Forgets all planned errors and the crash; what they have done stays.
    pub fn clear_faults(&self) {
        let mut disk = self.disk.lock();
        disk.rules.clear();
        disk.spoilers.clear();
        (disk.crash_at, disk.lag) = (None, 0);
        disk.crash.store(false, Ordering::Relaxed);
    }

    /// Forgets all planned errors, as [`clear_faults`](Simulated::clear_faults) does, but not the crash; nothing is
    /// stalled, and there is room for everything.
    pub fn heal(&self) {
        {
            let mut disk = self.disk.lock();
            disk.rules.clear();
            disk.spoilers.clear();
            (disk.options.capacity, disk.lag) = (None, 0);
        }
        self.resume();
    }

    /// Whether nothing is to go wrong, but for a crash: no errors are planned, nothing is stalled, and room is not limited.
    pub fn is_healthy(&self) -> bool {
        let disk = self.disk.lock();
        let no_faults = disk.rules.iter().all(|rule| rule.is_spent());
        let no_spoilers = disk.spoilers.iter().all(|spoiler| spoiler.left == 0);
        no_faults && no_spoilers && disk.stalls.is_empty() && disk.options.capacity.is_none() && disk.lag == 0
    }

    /// Gives a file that was deleted its name again, durably, unless another one has the name: one of the last twelve, which
    /// `choice` chooses. Says which.
    pub fn bring_back(&self, choice: u64) -> Option<Path> {
        self.disk.lock().bring_back(choice)
    }

    /// From now on lists show names only when so many steps have been taken since they were made. (Where files grow, they
    /// show them at once all the same.)
    pub fn lag_lists(&self, steps: u64) {
        self.disk.lock().lag = steps;
    }

    /// How many names lists have left out so far because they lag.
    pub fn unlisted(&self) -> u64 {
        self.disk.lock().unlisted
    }

    /// How many steps have failed so far as planned, or for want of space.
    pub fn strikes(&self) -> u64 {
        self.disk.lock().strikes.values().sum()
    }

    /// As [`strikes`](Simulated::strikes), by the call that failed.
    pub fn strikes_by_call(&self) -> BTreeMap<&'static str, u64> {
        self.disk.lock().strikes.clone()
    }

    /// Bytes that are taken, what is reserved included.
    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    /// A new disk as it may be found if the power goes *now* (or went at the crash). Nothing is planned to fail on it.
    ///
    /// Seed 0 leaves just what was synced, seed 1 everything; any other a mixture.
    pub fn power_cut(&self, seed: u64) -> Simulated {
        let survives = match seed {
            0 => Survives::Nothing,
            1 => Survives::Everything,
            _ => Survives::Some,
        };
        Simulated::from(self.disk.lock().after_power_cut(survives, seed))
    }

    /// A new disk as the next process finds it if this one is killed *now* (or was at the crash): all steps so far
    /// have happened, and what was not synced may still be lost by a power cut. Nothing is planned to fail on it.
    pub fn kill(&self) -> Simulated {
        Simulated::from(self.disk.lock().after_kill())
    }

    /// All files with their lengths, leftovers of unfinished calls left out.
    pub fn files(&self) -> Vec<(Path, u64)> {
        self.disk.lock().names.iter().map(|(path, file)| (path.clone(), file.lock().len())).collect()
    }

    /// How many leftovers of unfinished calls there are.
    pub fn leftovers(&self) -> usize {
        self.disk.lock().hidden.len()
    }

    /// A file's bytes, if it is there. Not a step.
    pub fn read_file(&self, path: &Path) -> Option<Bytes> {
        self.disk.lock().names.get(path).map(|file| Bytes::copy_from_slice(file.lock().bytes()))
    }

    /// Puts a file there, whole and durable, in place of what was there. Not a step.
    pub fn write_file(&self, path: &Path, data: impl Into<Bytes>) {
        self.disk.lock().place(path.clone(), data.into());
    }

    /// Takes a file away, durably. Not a step.
    pub fn remove_file(&self, path: &Path) {
        self.disk.lock().displace(path);
    }

    /// Flips one bit (0 to 7) of one byte, in memory and on the disk. False where there is no such byte. Not a step.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        assert!(bit < 8, "a byte has bits 0 to 7, not {bit}");
        self.tamper(path, |bytes| {
            if let Some(byte) = usize::try_from(offset).ok().and_then(|offset| bytes.get_mut(offset)) {
                *byte ^= 1 << bit;
            }
        }) > offset
    }

    /// Cuts a file, or makes it longer by zeros, in memory and on the disk. Not a step.
    pub fn truncate_file(&self, path: &Path, len: u64) {
        let len = usize::try_from(len).expect("a simulated file fits in memory");
        self.tamper(path, |bytes| bytes.resize(len, 0));
    }

    /// Changes how many bytes fit. Fewer than there are is legal: then only nothing more fits.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk.lock().options.capacity = capacity;
    }

    /// A rolling hash of every step, its arguments and its result, what was read included: equal for two runs that did
    /// the same.
    pub fn trace_hash(&self) -> u64 {
        self.disk.lock().trace
    }

    /// Changes a file's bytes; returns its length afterwards, 0 where there is none.
    fn tamper(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) -> u64 {
        match self.disk.lock().names.get(path) {
            Some(file) => {
                let mut inode = file.lock();
                inode.tamper(change);
                inode.len()
            }
            None => 0,
        }
    }
}

impl From<Disk> for Simulated {
    fn from(disk: Disk) -> Simulated {
        Simulated { disk: Arc::new(Mutex::new(disk)) }
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk.lock();
        f.debug_struct("Simulated").field("options", &disk.options).field("steps", &disk.steps).finish_non_exhaustive()
    }
}
