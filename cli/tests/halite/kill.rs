//! The `halite` program killed for real, with signal 9, in the middle of what it does.
//!
//! A shell is fed through a pipe, far ahead of its answers, and killed after a random number of them; `load` and
//! `compact` are killed at random moments. Afterwards the engine finds a prefix of what was asked for with every
//! acknowledged write in it, and `verify` is content.

use halite::{Db, Durability};
use halite_tests::history::{History, Loss, Value, compare};
use halite_tests::random::Random;
use halite_tests::scratch::Folder;
use halite_tests::world::{bytes, read_all, soundness};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Rounds of each kind: a hundred together.
const SHELLS: u64 = 60;
const LOADS: u64 = 16;
const MERGES: u64 = 24;
const _: () = assert!(SHELLS + LOADS + MERGES == 100);

fn halite(folder: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halite"));
    command.arg("--store").arg(folder.join("store")).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Opens what is left with the library, judges it, and closes it (or leaves it to the next opening's recovery).
pub(super) fn judge(folder: &Path, history: &mut History, close: bool, story: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(folder.join("store").to_str().unwrap()).await.expect(story);
        let found = read_all(&db).await.expect(story);
        let survivors = history.judge(&found, 0, Loss::Kill).unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
        println!("{story}: {} of {} survived", found.len(), history.len());
        history.keep(&survivors);
        soundness(&db).await.expect(story);
        if close {
            db.close().await.expect(story);
        }
    });
}

pub(super) fn enter(history: &mut History, key: &str, value: &str) -> usize {
    let value = Value { bytes: bytes(value.as_bytes()), expires_at: None };
    history.enter(vec![(key.as_bytes().to_vec(), Some(value))])
}

#[test]
fn a_shell_killed_between_its_answers() {
    let folder = Folder::new("kill-shell");
    let mut random = Random::new(1);
    let mut history = History::default();
    for round in 0..SHELLS {
        let mut child = halite(folder.path(), &["shell"]);
        let mut input = child.stdin.take().unwrap();
        let puts: Vec<_> = (0..300).map(|n| (format!("k{}", random.below(40)), format!("{round}.{n}"))).collect();
        let lines: String = puts.iter().map(|(key, value)| format!("put {key} {value}\n")).collect();
        // Fails once the shell is gone.
        let feeder = std::thread::spawn(move || drop(input.write_all(lines.as_bytes())));
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let entered: Vec<_> = puts.iter().map(|(key, value)| enter(&mut history, key, value)).collect();
        let mut acknowledged = 0;
        // Every fourth is killed while it opens, which is mostly a recovery.
        let opening = round % 4 == 0;
        if opening {
            std::thread::sleep(Duration::from_micros(random.below(8_000)));
        }
        for answer in answers.take(if opening { 0 } else { random.below(80) as usize }) {
            assert_eq!(answer.unwrap(), "OK");
            acknowledged += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        feeder.join().unwrap();
        for &commit in &entered[..acknowledged] {
            history.acknowledge(commit, Durability::Synced);
        }
        judge(folder.path(), &mut history, round % 2 == 0, &format!("round {round}, {acknowledged} answers"));
    }
    println!("counted: {SHELLS} kills");
}

#[test]
fn a_load_killed_in_the_middle() {
    for round in 0..LOADS {
        let folder = Folder::new("kill-load");
        let mut random = Random::new(round);
        let mut history = History::default();
        let mut lines = String::new();
        for n in 0..20_000 {
            let (key, value) = (format!("k{n:05}"), format!("value {n}"));
            enter(&mut history, &key, &value);
            lines.push_str(&format!("{{\"key\": \"{key}\", \"value\": \"{value}\"}}\n"));
        }
        let mut child = halite(folder.path(), &["load", "-"]);
        let mut input = child.stdin.take().unwrap();
        // The pipe holds 64 KiB, so what it has taken beyond that was read.
        let fed = random.below(lines.len() as u64) as usize;
        input.write_all(&lines.as_bytes()[..fed]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        judge(folder.path(), &mut history, true, &format!("round {round}, {fed} bytes fed"));
    }
    println!("counted: {LOADS} kills");
}

#[test]
fn a_compaction_killed_in_the_middle() {
    let folder = Folder::new("kill-compact");
    let mut random = Random::new(3);
    for round in 0..MERGES {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let state = runtime.block_on(async {
            let db = Db::open(folder.path().join("store").to_str().unwrap()).await.unwrap();
            for start in (0..3000).step_by(500) {
                let batch = (start..start + 500).fold(halite::WriteBatch::new(), |batch, n| {
                    if (n + round) % 5 == 0 {
                        batch.delete(format!("k{n}"))
                    } else {
                        batch.put(format!("k{n}"), format!("{round} {n} {}", "x".repeat(100)))
                    }
                });
                db.write(batch).await.unwrap();
            }
            let state = read_all(&db).await.unwrap();
            db.close().await.unwrap();
            state
        });
        let mut child = halite(folder.path(), &["compact"]);
        // Killed when the store's folders have changed so many times, and a few looks later.
        let (mut changes, mut looks) = (random.below(16), random.below(50));
        let mut last = names(&folder.path().join("store"));
        while looks > 0 && child.try_wait().unwrap().is_none() {
            let now = names(&folder.path().join("store"));
            looks -= u64::from(changes == 0);
            changes = changes.saturating_sub(u64::from(now != last));
            last = now;
        }
        println!("round {round}: {}", if looks == 0 { "killed on the way" } else { "it was done already" });
        let _ = child.kill();
        child.wait().unwrap();
        runtime.block_on(async {
            let db = Db::open(folder.path().join("store").to_str().unwrap()).await.unwrap();
            compare(&state, &read_all(&db).await.unwrap()).unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
            soundness(&db).await.unwrap();
            db.close().await.unwrap();
        });
    }
    println!("counted: {MERGES} kills");
}

/// All names below a folder, those of leftovers too, and the lengths of files.
fn names(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            names.extend(self::names(&path));
        }
        names.push((path, entry.metadata().map_or(0, |metadata| metadata.len())));
    }
    names.sort();
    names
}
