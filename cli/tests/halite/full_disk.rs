//! A disk that is really full: a clear error, what is there can be read and deleted, and with room again all goes on.
//!
//! As in the backends' test of the same name, a small file system is mounted in a namespace of its own, and the test
//! runs there a second time. Where the system allows no such namespace the test says so and ends.

use super::{Outcome, Place};
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "HALITE_TEST_SMALL_DISK";
const RECORDS: usize = 200_000;

#[test]
fn what_a_full_disk_holds_can_be_read_and_deleted() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return fill_the_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    // The mount is gone with its namespace, that is with the process.
    let script = r#"mount -t tmpfs -o size=32m none "$1" && exec "$2" --exact "$3" --nocapture"#;
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg("full_disk::what_a_full_disk_holds_can_be_read_and_deleted")
        .env(FOLDER, folder.path())
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        // What the test harness ends with when a test fails; no tool in the chain does.
        Ok(Some(101)) => panic!("the test failed on the small disk, see above"),
        other => eprintln!("NOT RUN: no small file system can be mounted here ({other:?})"),
    }
}

fn fill_the_disk(folder: &Path) {
    let place = Place::new();
    let store = folder.join("store");
    let store = store.to_str().unwrap();
    let run =
        |args: &[&str], input: &str| -> Outcome { place.feed(&[&["--store", store], args].concat(), input.as_bytes()) };
    let ok = |args: &[&str]| {
        let outcome = run(args, "");
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{args:?}: {outcome:?}");
        outcome.out
    };
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![1; 26 << 20]).unwrap();
    // Short records, whose index is large beside them.
    let lines: String = (0..RECORDS).map(|number| format!("key{number:07}\n")).collect();

    let outcome = run(&["load", "--lines", "-"], &lines);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(4), ""), "{outcome:?}");
    assert!(outcome.err.contains("No space left") && outcome.err.contains("hint: free some space"), "{outcome:?}");
    let (_, said) = outcome.err.split_once("the load stopped; ").unwrap();
    let (stored, _) = said.split_once(" records before that place are stored").unwrap();
    let stored: usize = stored.replace(',', "").parse().unwrap();
    assert!(stored > 10_000, "{stored}");

    // The store was closed in order: opening it has nothing to write anew.
    let keys = ok(&["list", "--keys"]);
    assert_eq!(keys.lines().count(), stored);
    assert_eq!(ok(&["get", "key0000000"]), "1\n");
    assert!(ok(&["verify"]).starts_with("no damage"));

    // Refused again in a process that finds it full, where a delete still goes through.
    let outcome = run(&["load", "--lines", "-"], &lines);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert_eq!(ok(&["delete", "key0000000"]), "OK\n");
    assert_eq!(run(&["get", "key0000000"], "").code, Some(1));

    // Room again.
    std::fs::remove_file(&ballast).unwrap();
    let outcome = run(&["load", "--lines", "-"], &lines);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(ok(&["list", "--keys"]).lines().count(), RECORDS);
    assert!(ok(&["verify"]).starts_with("no damage"));
}
