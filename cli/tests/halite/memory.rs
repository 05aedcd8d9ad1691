//! `--memory`: the process keeps within a limit that the system enforces, with a store several times as large.
//!
//! The limit is on what it may write to of its own (`RLIMIT_DATA`): heap, stacks, private mappings. Files that are mapped do not
//! count; they are the system's page cache.

use super::Place;
use std::fmt::Write;
use std::process::{Command, Output, Stdio};

/// What is promised, and what else a process has: stacks of threads, what the allocator sets aside for each of them, the
/// program's own data.
const BUDGET: &str = "16MiB";
const LIMIT_KIB: u64 = (16 + 112) << 10;
/// Less than one memtable takes where the budget is large, however soon the ones before it are sealed.
const LESS_KIB: u64 = 64 << 10;

/// Large records, ten times the budget in all, and as many keys as take half of it in the keydir.
const LARGE: usize = 40_000;
const LARGE_LEN: usize = 4_000;
const SMALL: usize = 300_000;

/// Runs `halite` under a limit.
fn limited(limit_kib: u64, place: &Place, args: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -d {limit_kib}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_halite"));
    // What glibc sets aside for each thread is not the same from run to run.
    command.env("MALLOC_ARENA_MAX", "2");
    command.args(args).current_dir(place.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = match input {
        Some(file) => Stdio::from(std::fs::File::open(place.path().join(file)).unwrap()),
        None => Stdio::null(),
    };
    command.stdin(input).output().unwrap()
}

fn ok(place: &Place, args: &[&str], input: Option<&str>) -> Vec<u8> {
    let output = limited(LIMIT_KIB, place, &[&["--memory", BUDGET], args].concat(), input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {} {said}", output.status);
    output.stdout
}

/// Keys in no order, as they would come in no order.
fn key(number: usize) -> String {
    format!("{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn the_process_keeps_within_the_budget() {
    let place = Place::new();
    let (mut large, mut small) = (String::new(), String::new());
    for number in 0..LARGE {
        let key = key(number);
        let value = key.repeat(LARGE_LEN / key.len());
        writeln!(large, "{{\"key\":\"large:{key}\",\"value\":\"{value}\"}}").unwrap();
    }
    for number in 0..SMALL {
        writeln!(small, "small:{}", key(number)).unwrap();
    }
    std::fs::write(place.path().join("large.jsonl"), large).unwrap();
    std::fs::write(place.path().join("small.txt"), small).unwrap();

    // Such limits bite: with more to spend, the same command is ended by one.
    let spendthrift = ["--store", "spendthrift", "--memory", "2GiB", "load", "-"];
    assert!(!limited(LESS_KIB, &place, &spendthrift, Some("large.jsonl")).status.success(), "the limit limits nothing");
    std::fs::remove_dir_all(place.path().join("spendthrift")).unwrap();

    ok(&place, &["load", "-"], Some("large.jsonl"));
    ok(&place, &["load", "--lines", "-"], Some("small.txt"));
    // Half of it is overwritten, and merged beside that.
    ok(&place, &["load", "--lines", "-"], Some("small.txt"));
    for number in (0..LARGE).step_by(LARGE / 3) {
        let key = key(number);
        let found = ok(&place, &["get", &format!("large:{key}")], None);
        assert_eq!(String::from_utf8(found).unwrap().trim_end(), key.repeat(LARGE_LEN / key.len()));
    }
    ok(&place, &["compact"], None);
    ok(&place, &["verify"], None);
    let keys = ok(&place, &["scan", "--keys-only"], None);
    assert_eq!(keys.iter().filter(|byte| **byte == b'\n').count(), LARGE + SMALL);
    let backwards = ok(&place, &["scan", "--rev", "--limit", "2000"], None);
    assert_eq!(backwards.iter().filter(|byte| **byte == b'\n').count(), 2000);
}
