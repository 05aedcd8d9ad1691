//! Memory that runs out: an allocation that the system refuses ends the process, wherever it is, and nothing acknowledged is lost.
//!
//! As in [`kill`](super::kill) a shell is fed through a pipe. The limit is that of [`memory`](super::memory), on what the process
//! may write to of its own, here far below what it was told that it may take.

use super::kill::{enter, judge};
use halite::Durability;
use halite_tests::history::History;
use halite_tests::scratch::Folder;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Less than an opening takes, and what is added in each round. Below some 8 MiB the runtime panics, as it cannot begin its
/// threads; at 2 and at 3 MiB a process was seen that did not end then, for a reason that is not known.
const LIMIT_KIB: u64 = 8 << 10;
const STEP_KIB: u64 = 2 << 10;
const ROUNDS: u64 = 20;
/// With what the process takes besides, more than the last round's limit, but less than a segment takes.
const VALUES: usize = 300;
const VALUE_LEN: usize = 150_000;

/// The signals by which a process ends that hangs, and one in which an allocation has failed; and how one ends that panics.
const HUNG: i32 = 9;
const ABORTED: i32 = 6;
const PANICKED: i32 = 101;

fn limited_shell(limit_kib: u64, folder: &Path) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -c 0; ulimit -d {limit_kib}; exec timeout -s KILL 60 \"$0\" \"$@\""));
    command
        .arg(env!("CARGO_BIN_EXE_halite"))
        .arg("--store")
        .arg(folder.join("store"))
        .args(["--memory", "2GiB", "shell"]);
    // The same threads on each machine, and no backtraces, which take memory too.
    command.env("MALLOC_ARENA_MAX", "2").env("TOKIO_WORKER_THREADS", "2").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn an_allocation_fails_anywhere() {
    let folder = Folder::new("out-of-memory");
    let mut history = History::default();
    let (mut at_first, mut on_the_way) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = limited_shell(LIMIT_KIB + round * STEP_KIB, folder.path());
        let mut input = child.stdin.take().unwrap();
        let value = |n: usize| format!("{round}.{n}.{}", "x".repeat(VALUE_LEN));
        let puts: Vec<_> = (0..VALUES).map(|n| (format!("k{}", n % 7), value(n))).collect();
        let entered: Vec<_> = puts.iter().map(|(key, value)| enter(&mut history, key, value)).collect();
        // Fails once the shell is gone.
        let feeder = std::thread::spawn(move || {
            let mut lines = puts.iter().map(|(key, value)| format!("put {key} {value}\n"));
            let _ = lines.try_for_each(|line| input.write_all(line.as_bytes()));
        });
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = answers.map_while(Result::ok).filter(|answer| answer == "OK").count();
        let status = child.wait().unwrap();
        feeder.join().unwrap();
        let code = status.code().or(status.signal()).unwrap();
        assert!(![0, HUNG, PANICKED].contains(&code), "round {round}, {acknowledged} answers: {status}");
        match acknowledged {
            0 => at_first += 1,
            _ => on_the_way += u64::from(code == ABORTED),
        }
        for &commit in &entered[..acknowledged] {
            history.acknowledge(commit, Durability::Synced);
        }
        judge(folder.path(), &mut history, round % 2 == 0, &format!("round {round}, {acknowledged} answers, {status}"));
    }
    assert!(at_first > 0 && on_the_way >= ROUNDS / 4, "{at_first} at first, {on_the_way} on the way");
    println!("counted: {ROUNDS} processes out of memory");
}
