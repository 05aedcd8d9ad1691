//! What a commit under WASI asks of the system, counted by `strace` of the program that runs it.
#![cfg(target_os = "linux")]

use super::built;
use halite_tests::scratch::{Folder, can_trace, cargo_build};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const COMMITS: usize = 25;

/// The example `run`: as it was built along with this test, if it was; by itself it would have wasmtime built again.
fn runner() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let along = this.parent().and_then(Path::parent).map(|built| built.join("examples").join("run"));
    let along = along.filter(|run| run.is_file());
    along.unwrap_or_else(|| cargo_build(&["-p", "halite-wasmtime", "--example", "run"], "run"))
}

#[test]
fn a_commit_is_one_write_and_one_real_sync() {
    if !can_trace() {
        return;
    }
    let runner = runner();
    let folder = Folder::new("wasi-strace");
    let mut command = Command::new("timeout");
    command.args([
        "120",
        "strace",
        "-f",
        "-y",
        "-s",
        "0",
        "-e",
        "trace=write,writev,pwrite64,pwritev,fsync,fdatasync",
        "-o",
    ]);
    command.arg(folder.path().join("trace")).arg(runner).arg(built("halite.wasm")).arg(folder.path());
    command.args(["--store", "/data/store", "shell"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines: String = (0..COMMITS).map(|n| format!("put k{n} value-{n}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().filter(|&line| line == "OK").count(), COMMITS);

    let trace = std::fs::read_to_string(folder.path().join("trace")).unwrap();
    let to_segments = |name: &str| {
        let is_it = |line: &&str| line.contains(&format!(" {name}(")) && line.contains("/store/segments/");
        trace.lines().filter(is_it).count()
    };
    let (datasyncs, syncs) = (to_segments("fdatasync"), to_segments("fsync"));
    let writes = ["write", "writev", "pwrite64", "pwritev"].map(to_segments).iter().sum::<usize>();
    println!("{COMMITS} commits: {writes} writes, {datasyncs} fdatasync, {syncs} fsync");
    // One of each for a commit; a mark behind it where nothing follows at once; and what opening and closing take.
    assert!((COMMITS..COMMITS + 10).contains(&datasyncs), "{datasyncs} syncs");
    assert!((COMMITS..2 * COMMITS + 20).contains(&writes), "{writes} writes");
}
