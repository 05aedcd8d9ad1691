//! The `halite` program under `strace`: an audit of what it asks of the system, and calls that fail from outside.
//!
//! 1. **Audit.** Before a commit is acknowledged, the write that carries it is durable, by itself (`RWF_DSYNC`) or by a sync
//!    of its file behind it; the file's name, and that of each manifest before it, by a sync of their folder. Each
//!    acknowledgement of a session is held against the recorded calls.
//! 2. **Faults.** Calls on which the store stands fail, once in each thread or from then on, with an I/O error, for want of
//!    space or of descriptors. However the program ends, it ends, and what it has acknowledged is there at the next opening.
//!
//! Where there is no `strace`, or it may not trace, the tests fail: a gate that is skipped is none. `cargo xtask test` installs
//! it where it can; `HALITE_ALLOW_MISSING=strace` says that it is not wanted.

use halite::{Db, Durability};
use halite_tests::history::{History, Loss, Value};
use halite_tests::scratch::{Folder, can_trace};
use halite_tests::world::{bytes, read_all, soundness};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const COMMITS: usize = 60;

/// The value of commit `number`: it stands in the trace as it is.
fn value(number: usize) -> String {
    format!("the-value-of-commit-{number:04}-{}", "x".repeat(400))
}

/// Runs a shell under `strace` with `args` on the store in `folder`, and gives it as many puts; the answers.
fn shell(folder: &Path, args: &[&str]) -> Vec<String> {
    // Who hangs gets no further, and has acknowledged no more than it has.
    let mut command = Command::new("timeout");
    command
        .args(["60", "strace", "-f", "-y", "-s", "1000000"])
        .args(args)
        .arg(env!("CARGO_BIN_EXE_halite"))
        .arg("--store")
        .arg(folder.join("store"));
    command.arg("shell").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines: String = (0..COMMITS).map(|number| format!("put k{} {}\n", number % 20, value(number))).collect();
    // Fails once the shell has given up.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// One recorded call: when it began and when it had returned, by lines.
#[derive(Clone, Debug)]
struct Call {
    began: usize,
    ended: usize,
    name: String,
    /// All between the parentheses and behind them.
    text: String,
}

impl Call {
    fn succeeded(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, result)| !result.starts_with('-'))
    }

    /// The file of its first descriptor, as `-y` shows it.
    fn file(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once('<')?;
        rest.split_once('>').map(|(path, _)| path)
    }

    fn is_write_to(&self, file: &str) -> bool {
        self.name.contains("write") && self.file() == Some(file)
    }

    /// A write that returns when its bytes are durable.
    fn is_durable_write(&self) -> bool {
        self.name == "pwritev2" && self.text.contains("RWF_DSYNC") && self.succeeded()
    }

    fn syncs(&self, file: &str) -> bool {
        matches!(&*self.name, "fsync" | "fdatasync") && self.succeeded() && self.file() == Some(file)
    }
}

/// The calls of a trace, those that were interrupted put together.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut pending: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((process, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some((_, rest)) = text.strip_prefix("<... ").and_then(|resumed| resumed.split_once(" resumed>")) {
            if let Some(call) = pending.remove(process).and_then(|index| calls.get_mut(index)) {
                call.ended = line;
                call.text.push_str(rest);
            }
        } else if let Some((name, rest)) = text.split_once('(') {
            let unfinished = rest.strip_suffix("<unfinished ...>");
            if unfinished.is_some() {
                pending.insert(process, calls.len());
            }
            let text = unfinished.unwrap_or(rest).to_owned();
            let ended = if unfinished.is_some() { usize::MAX } else { line };
            calls.push(Call { began: line, ended, name: name.to_owned(), text });
        }
    }
    calls
}

/// What the calls leave open: acknowledgements of commits that were not durable. Returns how many were looked at.
fn audit(calls: &[Call], store: &str) -> Result<usize, String> {
    let acknowledgements: Vec<&Call> =
        calls.iter().filter(|call| call.name.contains("write") && call.text.contains("\"OK\\n")).collect();
    let told: usize = acknowledgements.iter().map(|call| call.text.matches("OK\\n").count()).sum();
    let mut looked_at = 0;
    let mut answers =
        acknowledgements.iter().flat_map(|call| (0..call.text.matches("OK\\n").count()).map(move |_| call));
    for number in 0..told {
        let answer = answers.next().expect("there are so many");
        let in_store = |call: &&Call| call.file().is_some_and(|file| file.starts_with(store));
        let marked = format!("commit-{number:04}-");
        let written =
            calls.iter().find(|call| call.name.contains("write") && call.text.contains(&marked) && in_store(call));
        let written = written.ok_or_else(|| format!("commit {number} is acknowledged, but no file was written to"))?;
        let file = written.file().expect("it is in the store").to_owned();
        let last = calls.iter().rfind(|call| call.is_write_to(&file) && call.text.contains(&marked));
        let last = last.expect("there is one at least");
        let between = |call: &&Call, from: usize| call.began > from && call.ended < answer.began;
        let is_durable = last.is_durable_write() && last.ended < answer.began;
        if !is_durable && !calls.iter().any(|call| call.syncs(&file) && between(&call, last.ended)) {
            return Err(format!("commit {number} is acknowledged, but {file} was not synced behind it"));
        }
        for made in calls.iter().filter(|call| names_made(call, store).is_some() && call.ended < written.began) {
            let name = names_made(made, store).expect("it makes one");
            if name != file && !name.contains("/manifest/") {
                continue;
            }
            let folder = Path::new(&name).parent().and_then(Path::to_str).unwrap_or_default();
            if !calls.iter().any(|call| call.syncs(folder) && between(&call, made.ended)) {
                return Err(format!("commit {number} relies on {name}, but {folder} was not synced"));
            }
        }
        looked_at += 1;
    }
    Ok(looked_at)
}

/// The name in the store that a call makes, if it makes one.
fn names_made(call: &Call, store: &str) -> Option<String> {
    let quoted: Vec<&str> = call.text.split('"').skip(1).step_by(2).collect();
    let name = match &*call.name {
        "openat" if call.text.contains("O_CREAT") => quoted.first(),
        "link" | "linkat" | "rename" | "renameat" | "renameat2" => quoted.last(),
        _ => None,
    }?;
    (call.succeeded() && name.starts_with(store) && !name.contains("/.")).then(|| (*name).to_owned())
}

const LOOKED_AT: &str = "openat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat";

#[test]
fn every_acknowledged_commit_was_synced_and_so_were_the_names_that_it_relies_on() {
    if !can_trace() {
        return;
    }
    let folder = Folder::new("audit");
    let store = folder.path().join("store").canonicalize().unwrap_or_else(|_| folder.path().join("store"));
    let store = store.to_str().unwrap();
    let mut looked_at = 0;
    // Once where a store is made, twice where there is one.
    for session in 0..3 {
        let trace = folder.path().join(format!("trace-{session}"));
        let answers = shell(folder.path(), &["-e", &format!("trace={LOOKED_AT}"), "-o", trace.to_str().unwrap()]);
        assert_eq!(answers.iter().filter(|answer| *answer == "OK").count(), COMMITS, "{answers:?}");
        let trace = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
        let recorded = calls(&trace);
        looked_at += audit(&recorded, store).unwrap_or_else(|wrong| panic!("session {session}: {wrong}"));
        // The canaries: without its syncs the very same session is found out, and without those of folders too.
        let of_files =
            |call: &Call| call.name == "fdatasync" || (call.name == "fsync" && call.text.contains("/segments/"));
        let left = recorded.iter().filter(|call| !of_files(call)).cloned();
        let left: Vec<_> = left.map(|call| Call { text: call.text.replace("RWF_DSYNC", "0"), ..call }).collect();
        assert!(audit(&left, store).is_err(), "syncs of files are not missed");
        let of_folders = |call: &Call| call.name == "fsync" && !call.text.contains("/segments/0");
        let left: Vec<_> = recorded.iter().filter(|call| !of_folders(call)).cloned().collect();
        assert!(audit(&left, store).is_err(), "syncs of folders are not missed");
    }
    assert_eq!(looked_at, 3 * COMMITS);
    println!("counted: {looked_at} acknowledgements audited");
}

/// Opens what a session has left, and judges it: the first `acknowledged` of its commits must be there, in a prefix.
fn judge(folder: &Path, acknowledged: usize, story: &str) {
    let mut history = History::default();
    for number in 0..COMMITS {
        let value = Value { bytes: bytes(value(number).as_bytes()), expires_at: None };
        let commit = history.enter(vec![(format!("k{}", number % 20).into_bytes(), Some(value))]);
        if number < acknowledged {
            history.acknowledge(commit, Durability::Synced);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = folder.join("store");
        let db = Db::open(store.to_str().unwrap()).await.unwrap_or_else(|error| panic!("{story}: {error:?}"));
        let found = read_all(&db).await.expect(story);
        history.judge(&found, 0, Loss::Kill).unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
        soundness(&db).await.expect(story);
        db.close().await.expect(story);
    });
}

/// Calls, and how they fail.
const FAULTS: &[(&str, &[&str])] = &[
    ("openat", &["EIO", "ENOSPC", "EMFILE"]),
    ("pread64", &["EIO"]),
    // Not `write`: that is how threads wake each other.
    ("pwrite64,pwritev,pwritev2", &["EIO", "ENOSPC"]),
    ("fallocate", &["ENOSPC", "EIO"]),
    ("ftruncate", &["EIO"]),
    ("fsync", &["EIO"]),
    ("fdatasync", &["EIO"]),
    ("link,linkat", &["EIO", "ENOSPC"]),
    ("rename,renameat,renameat2", &["EIO"]),
    ("unlink,unlinkat", &["EIO"]),
    ("getdents64", &["EIO"]),
];

/// Which of each thread's calls fail: that one alone, or from it on.
const WHEN: [&str; 5] = ["1", "3", "8", "1+", "5+"];

/// What a session may take, though it is over in a moment.
const PATIENCE: Duration = Duration::from_secs(55);

#[test]
fn what_is_acknowledged_stays_whichever_call_fails() {
    if !can_trace() {
        return;
    }
    let (mut sessions, mut struck, mut partial) = (0, 0, 0);
    for (calls, errors) in FAULTS {
        for (error, when) in errors.iter().flat_map(|error| WHEN.map(|when| (error, when))) {
            let folder = Folder::new("fault");
            // Every other one finds a store that is there already: then other calls come first.
            if sessions % 2 == 0 {
                judge(folder.path(), 0, "an empty store");
            }
            let inject = format!("inject={calls}:error={error}:when={when}");
            let trace = folder.path().join("trace");
            let began = Instant::now();
            let options = ["-o", trace.to_str().unwrap(), "-e", &format!("trace={calls}"), "-e", &inject];
            let answers = shell(folder.path(), &options);
            assert!(began.elapsed() < PATIENCE, "{inject}: the program hangs");
            let acknowledged = answers.iter().take_while(|answer| *answer == "OK").count();
            judge(folder.path(), acknowledged, &format!("{inject}: {acknowledged} acknowledged"));
            let trace = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
            let of_store = |line: &&str| line.ends_with("(INJECTED)") && line.contains("/store");
            struck += trace.lines().filter(of_store).count();
            partial += usize::from(acknowledged < COMMITS);
            sessions += 1;
        }
    }
    println!("counted: {struck} system calls about the store failed, in {sessions} sessions; {partial} ended early");
}
