//! What goes wrong in a run: faults of the storage as plain data, and how a run's mixture of them is drawn.

use crate::random::Random;
use halite::backends::{ErrorKind, Fault, Repeat, Simulated, Spoil, Step};
use std::sync::atomic::{AtomicU32, Ordering};

/// The effects of steps that change nothing.
pub const LOOKS: [&str; 6] = ["open", "read", "stat", "list", "lock", "begin"];

/// Which steps a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// All of them.
    Any,
    /// What changes the store.
    Change,
    /// What does not.
    Look,
    /// Writes to a growing file.
    Append,
    /// Syncs, of files and folders.
    Sync,
    /// New names, for whole objects or files.
    Create,
    /// Parts of large objects, and their end.
    Upload,
    /// Space set aside.
    Reserve,
    /// Names that go.
    Delete,
    /// Reads.
    Read,
    /// Objects opened.
    Open,
    /// Lists, and looks for a name.
    List,
    /// All that is about manifests.
    Manifest,
    /// All that is about sealed segments, or growing ones.
    Segment,
}

impl Call {
    /// All kinds of calls.
    pub const ALL: [Call; 14] = [
        Call::Any,
        Call::Change,
        Call::Look,
        Call::Append,
        Call::Sync,
        Call::Create,
        Call::Upload,
        Call::Reserve,
        Call::Delete,
        Call::Read,
        Call::Open,
        Call::List,
        Call::Manifest,
        Call::Segment,
    ];

    /// Whether that step is one of them.
    pub fn matches(self, step: &Step<'_>) -> bool {
        match self {
            Call::Any => true,
            Call::Change => !LOOKS.contains(&step.effect),
            Call::Look => LOOKS.contains(&step.effect),
            Call::Append => step.op == "append",
            Call::Sync => step.effect.starts_with("sync"),
            Call::Create => step.effect == "link" || step.effect == "put",
            Call::Upload => step.op == "upload",
            Call::Reserve => step.op == "reserve",
            Call::Delete => step.op == "delete",
            Call::Read => step.op == "read",
            Call::Open => step.op == "open",
            Call::List => step.op == "list" || step.op == "look for",
            Call::Manifest => step.path.starts_with("manifest/"),
            Call::Segment => step.path.starts_with("segments/"),
        }
    }
}

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// An error, and nothing happened.
    Fails,
    /// An error, although it happened.
    FailsDone,
    /// There is no room for it.
    NoSpace,
    /// The answer is lost; it happened.
    Lost,
    /// The answer is lost; it did not happen.
    LostUndone,
    /// The answer is lost, and it happens some steps later. (On object stores; a disk does not answer before it is done.)
    Late,
    /// It happens twice, and the second time it finds the name taken. (Where something whole is created.)
    Twice,
    /// What is read comes out wrong.
    Spoilt(Spoil),
    /// It waits for so many milliseconds of virtual time; with all others that match.
    Stalls(u64),
}

impl Harm {
    /// All but [`Harm::Stalls`].
    pub const PLAIN: [Harm; 11] = [
        Harm::Fails,
        Harm::FailsDone,
        Harm::NoSpace,
        Harm::Lost,
        Harm::LostUndone,
        Harm::Late,
        Harm::Twice,
        Harm::Spoilt(Spoil::Flipped),
        Harm::Spoilt(Spoil::Short),
        Harm::Spoilt(Spoil::Elsewhere),
        Harm::Spoilt(Spoil::Stale),
    ];

    /// Its name in a case file.
    pub fn name(self) -> String {
        match self {
            Harm::Spoilt(spoil) => format!("{spoil:?}"),
            Harm::Stalls(_) => "Stalls".to_owned(),
            plain => format!("{plain:?}"),
        }
    }
}

/// A fault, planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultOp {
    /// Which steps.
    pub call: Call,
    /// How many of them are spared first.
    pub after: u32,
    /// How many are struck then; all that follow if `None`.
    pub times: Option<u32>,
    /// In which way.
    pub harm: Harm,
}

impl FaultOp {
    /// Plans it on `disk`. Where it says so, somebody has to let things go on after that many milliseconds.
    pub fn plan(self, disk: &Simulated, is_object_store: bool) -> Option<u64> {
        let FaultOp { call, after, times, harm } = self;
        let spared = AtomicU32::new(after);
        let strikes = move |step: &Step<'_>| {
            let can = match harm {
                Harm::NoSpace => Call::Change.matches(step),
                Harm::Twice => step.op == "create" && Call::Create.matches(step),
                _ => true,
            };
            let is_spared =
                || spared.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            can && call.matches(step) && !is_spared()
        };
        let repeat = match times {
            None => Repeat::Forever,
            Some(times) => Repeat::Times(times),
        };
        let (kind, applied) = match harm {
            Harm::Fails => (ErrorKind::Io, false),
            Harm::FailsDone => (ErrorKind::Io, true),
            Harm::NoSpace => (ErrorKind::NoSpace, false),
            Harm::Lost => (ErrorKind::Unknown, true),
            Harm::LostUndone | Harm::Late => (ErrorKind::Unknown, false),
            Harm::Twice => (ErrorKind::AlreadyExists, true),
            Harm::Spoilt(spoil) => {
                disk.spoil_when(spoil, repeat, strikes);
                return None;
            }
            Harm::Stalls(millis) => {
                disk.stall_when(strikes);
                return Some(millis);
            }
        };
        let fault = Fault { at_step: disk.steps(), kind, repeat, applied };
        match harm {
            Harm::Late if is_object_store => disk.delay_when(fault, strikes),
            _ => disk.fail_when(fault, strikes),
        }
        None
    }
}

/// What may go wrong in one run, so that rare mixtures are met too, and runs in which nothing does: by default, nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// In how many of 100 operations.
    pub(crate) often: u64,
    pub(crate) faults: bool,
    pub(crate) full: bool,
    pub(crate) crashes: bool,
    pub(crate) rivals: bool,
    pub(crate) clock: bool,
    pub(crate) drops: bool,
    pub(crate) brought_back: bool,
    pub(crate) lag: bool,
    calls: Vec<Call>,
    harms: Vec<Harm>,
    forever: bool,
}

impl Trouble {
    pub(crate) fn draw(random: &mut Random) -> Trouble {
        let often = random.pick(&[0, 3, 3, 10, 25]);
        let mut some = || random.chance(45);
        let (faults, full, crashes) = (some(), some(), some());
        let (rivals, clock, drops, forever) = (some(), some(), some(), some());
        let (brought_back, lag) = (some(), some());
        let calls = (0..4).map(|_| random.pick(&Call::ALL)).collect();
        let harms = (0..3).map(|_| match random.chance(15) {
            true => Harm::Stalls(random.pick(&[1, 80, 3_000, 60_000])),
            false => random.pick(&Harm::PLAIN),
        });
        let harms = harms.collect();
        Trouble { often, faults, full, crashes, rivals, clock, drops, brought_back, lag, calls, harms, forever }
    }

    pub(crate) fn fault(&self, random: &mut Random) -> FaultOp {
        let times = random.pick(&[Some(1), Some(1), Some(2), Some(5), None]).or((!self.forever).then_some(3));
        let (call, harm) = (random.pick(&self.calls), random.pick(&self.harms));
        FaultOp { call, after: random.below_one_of(&[1, 4, 40]) as u32, times, harm }
    }
}
