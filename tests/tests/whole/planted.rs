//! Bugs that other engines had, planted into this one, each to be found: `cargo xtask planted`.
//!
//! A test that has never failed proves little. Built with the feature `planted`, this program runs itself: once for each bug,
//! with the variable `HALITE_PLANTED` that names it and only with the tests that are to find it (the *gate*), and once for each
//! gate without any bug. A bug that a gate does not find fails the run,
//! and so does a gate that finds what is not there.

use halite::backends::planted::Bug;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Seeds of the simulation that a bug may go unseen for.
const SEEDS: u64 = 100;

/// Whole runs from a seed, until one fails.
#[test]
fn simulated() {
    for seed in 1..=SEEDS {
        if let Err(wrong) = halite_tests::case::Case::of(seed).run() {
            panic!("seed {seed}: {wrong}");
        }
    }
}

/// What is to find it: the names of tests begin with it.
fn gate(bug: Bug) -> &'static str {
    match bug {
        Bug::InputsLeaveFirst => "crashes::on_growing_files::merges",
        Bug::ChangeUnconditional => "changes::",
        Bug::SlotsSweptEarly => "snapshots::",
        Bug::PartsUnverified => "damage::every_bit_of_a_closed_store_on_growing_files",
        Bug::DamageSkipped | Bug::TornMiddle => "damage::every_bit_of_a_killed_store_on_growing_files",
        Bug::NoSalt | Bug::NoOffset => "damage::stale",
        Bug::SyncRetried | Bug::WaitersForgotten => "faults::on_growing_files::commits",
        Bug::FolderNotSynced => "crashes::on_growing_files::first_open",
        Bug::FragmentsDeletedEarly => "crashes::on_fragments::seals",
        Bug::SealNotSynced => "crashes::on_growing_files::seals",
        Bug::PublishedOutOfOrder => "pipeline::",
        Bug::OldLogDeletedEarly => "crashes::on_growing_files::recovery_of_a_kill",
        Bug::UnshippedDeleted | Bug::PublishedUnshipped => "tiers::what_was_acknowledged",
        Bug::ShippedUnread => "simulation::every_case",
        Bug::ElsewhereIgnored => "tiers::who_was_given_up",
        Bug::TornHeaderFatal => "crashes::on_growing_files::seals",
        Bug::ClaimForgotten => "protocol::on_growing_files",
        Bug::AcknowledgedAhead | Bug::FencedBehindGap => "in_flight::",
        Bug::OvertakenPublishes | Bug::OvertakenAcknowledges => "fencing::",
        Bug::NoFence | Bug::ConflictIsSuccess => "fencing::",
        Bug::OwnCreateConflicts => "faults::on_fragments::commits",
        Bug::ConditionIgnored => "liars::",
        Bug::EndReadOnce => "misreads::",
        Bug::BombsBelieved => "fuzz::what_claims",
        Bug::OffsetsWrap => "fuzz::offsets",
        Bug::CheckpointCollected => "checkpoints::",
        Bug::ReaderCollected => "snapshots::",
        Bug::DropStopsCommit => "cancel::",
        Bug::ErrorEndsScan | Bug::LengthUnchecked => "damage::every_bit_of_a_closed_store_on_growing_files",
        Bug::VerifyBlind => "damage::every_bit_of_a_closed_store_on_growing_files",
        Bug::TimeUnseen | Bug::ClockRunsBack => "clocks::",
        Bug::SnapshotSeesLater | Bug::SnapshotMissesOlder => "snapshots::",
        Bug::PhantomMissed | Bug::WriteSkew => "serializable::",
        Bug::NothingCollected => "leftovers::",
        Bug::DeletesNeedSpace => "full_disk::",
        Bug::AnyFileAccepted => "damage::every_file_replaced",
        Bug::NewerAccepted => "damage::what_is_newer",
        Bug::HalfBatch => "crashes::on_growing_files::batches",
        Bug::AckBeforeSync => "crashes::on_growing_files::commits",
        Bug::WatchSkips | Bug::WatchRepeats | Bug::WatchUnsettled => "watch::",
        _ => "planted::simulated",
    }
}

/// Gates that run at once.
const WORKERS: usize = 2;
/// A gate without a bug has ended by then, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// With a bug it hangs where it takes so many times as long as without, and so long at least.
const HANGS: (f64, Duration) = (5.0, Duration::from_secs(30));

#[test]
fn every_planted_bug_is_found() {
    let chosen = std::env::var("BUGS").ok();
    let is_chosen = |bug: &Bug| chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == bug.name()));
    let bugs: Vec<Bug> = Bug::ALL.iter().copied().filter(is_chosen).collect();
    let gates: BTreeSet<&str> = bugs.iter().map(|bug| gate(*bug)).collect();
    let (began, wrong) = (Instant::now(), Mutex::new(Vec::new()));
    let complain = |complaint: String| wrong.lock().expect("no worker panics").push(complaint);

    let seconds = Mutex::new(BTreeMap::new());
    in_parallel(gates.iter(), |gate| {
        let outcome = run(None, gate, PATIENCE);
        seconds.lock().expect("no worker panics").insert(*gate, outcome.seconds);
        if let Some((test, said)) = outcome.failed {
            complain(format!("without any bug {test} fails: {said}"));
        }
    });
    let seconds = seconds.into_inner().expect("no worker panics");

    println!("| class | promise | bug | found by | seconds |\n| ---: | --- | --- | --- | ---: |");
    in_parallel(bugs.iter(), |bug| {
        let gate = gate(*bug);
        let outcome = run(Some(*bug), gate, HANGS.1.max(Duration::from_secs_f64(seconds[gate] * HANGS.0)));
        let class = if bug.class() > 0 { bug.class().to_string() } else { "–".to_owned() };
        match outcome.failed {
            Some((test, said)) => println!(
                "| {class} | {} | {}: {} | `{test}`: {said} | {:.1} |",
                bug.promise(),
                bug.name(),
                bug.what(),
                outcome.seconds
            ),
            None => complain(format!("{} is not found by {gate} ({:.1} s)", bug.name(), outcome.seconds)),
        }
    });
    let wrong = wrong.into_inner().expect("no worker panics");
    let classes: BTreeSet<u8> = bugs.iter().map(|bug| bug.class()).filter(|class| *class > 0).collect();
    let (bugs, classes, gates, seconds) = (bugs.len(), classes.len(), gates.len(), began.elapsed().as_secs());
    println!(
        "{} of {bugs} planted bugs found, of {classes} classes, by {gates} gates, in {seconds} s",
        bugs - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Shows each item to `work`, a few at a time.
fn in_parallel<T: Copy + Send>(items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let items = Mutex::new(items);
    let next = || items.lock().expect("no worker panics").next();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

/// How a gate ended.
struct Outcome {
    /// The test that failed first, and what it said.
    failed: Option<(String, String)>,
    seconds: f64,
}

/// Runs a gate in a process of its own.
fn run(bug: Option<Bug>, gate: &str, patience: Duration) -> Outcome {
    let began = Instant::now();
    let this = std::env::current_exe().expect("a process knows its program");
    let mut command = Command::new(this);
    command.args(["--test-threads=1", gate]).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_remove("HALITE_PLANTED").envs(bug.map(|bug| ("HALITE_PLANTED", bug.name())));
    let mut child = command.spawn().expect("a program can be run twice");
    let mut output = child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let succeeded = ended_in_time(&mut child, patience);
    let output = reader.join().expect("it only reads").unwrap_or_default();
    let failed = match succeeded {
        Some(true) => None,
        Some(false) => Some(first_failure(&output)),
        None => Some((gate.to_owned(), format!("does not end within {} s", patience.as_secs()))),
    };
    assert!(failed.is_some() || !output.contains("running 0 tests"), "{gate} is the name of no test");
    Outcome { failed, seconds: began.elapsed().as_secs_f64() }
}

/// Whether it succeeded; `None` where it had to be killed.
fn ended_in_time(child: &mut Child, patience: Duration) -> Option<bool> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return Some(status.success());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it was killed");
    None
}

/// The first test that failed, by the summary at the end, and the beginning of what it said.
fn first_failure(output: &str) -> (String, String) {
    let mut lines = output.lines();
    let head = lines.by_ref().find_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"));
    let Some(test) = head else { return ("the process".to_owned(), "ended without a word".to_owned()) };
    let said = lines.skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default();
    (test.to_owned(), said.replace('|', "/").chars().take(120).collect())
}
