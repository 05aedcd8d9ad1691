//! Checkpoints, readers, clones and backups at the command line.

use super::{Place, documents, with_records};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};

#[test]
fn checkpoints_keep_what_was_there() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    assert_eq!(place.ok(&["checkpoint", "create", "monday"]), "OK\n");
    place.ok(&["put", "a", "new"]);
    place.ok(&["delete", "b"]);
    place.ok(&["compact"]);
    assert_eq!(place.ok(&["--at", "monday", "list"]), "a 1\nb 2\n");
    assert_eq!(place.ok(&["get", "a", "--at", "monday"]), "1\n");
    assert_eq!(place.ok(&["list"]), "a new\n");
    let listed = place.ok(&["checkpoint", "list"]);
    assert!(listed.starts_with("monday: 20") && listed.contains("up to sequence number 2"), "{listed}");
    let document = &place.json(&["--read-only", "checkpoint", "list"])[0]["checkpoints"][0];
    assert_eq!((&document["name"], &document["seq"]), (&json!("monday"), &json!(2)));
    let said = place.fails(2, &["checkpoint", "create", "monday"]);
    assert!(said.contains("already") && said.contains("hint: choose another name"), "{said}");
    let said = place.fails(2, &["--at", "tuesday", "list"]);
    assert!(said.contains("there is no checkpoint \"tuesday\"") && said.contains("hint: "), "{said}");
    assert_eq!(place.ok(&["checkpoint", "delete", "monday"]), "true\n");
    assert_eq!(place.run(&["checkpoint", "delete", "monday"]).code, Some(1));
}

#[test]
fn what_was_noted_proves_that_a_store_is_what_it_was() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let anchor = place.json(&["checkpoint", "create", "noted"])[0]["anchor"].as_str().unwrap().to_owned();
    place.ok(&["put", "a", "new"]);
    place.ok(&["compact"]);
    let said = place.ok(&["verify", "--deep", "--anchor", &anchor, "--rate", "1GiB"]);
    assert!(said.contains("no damage") && said.contains("digests of 2 segments and 2 manifests"), "{said}");
    let report = &place.json(&["--read-only", "verify", "--digests", "--anchor", &anchor])[0];
    assert_eq!((&report["digests"], &report["records"], &report["damage"]), (&json!(2), &json!(0), &json!([])));
    // Another store of the same name, and a digest that nobody noted.
    let (number, digest) = anchor.split_once(':').unwrap();
    let wrong = format!("{number}:{}", digest.chars().rev().collect::<String>());
    let outcome = place.run(&["verify", "--anchor", &wrong]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(place.run(&["verify", "--anchor", &format!("99999:{digest}")]).out.contains("rolled back"));
    assert!(place.fails(2, &["verify", "--anchor", &format!("1:{digest}")]).contains("is not kept"));
    assert!(place.fails(2, &["verify", "--anchor", "nonsense"]).contains("a manifest's number"));
}

#[test]
fn reading_writes_nothing() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let files = || {
        let listed = std::process::Command::new("find").arg(place.store()).arg("-printf").arg("%p %s %T@\n").output();
        listed.unwrap().stdout
    };
    let before = files();
    assert_eq!(place.ok(&["--read-only", "get", "a"]), "1\n");
    assert_eq!(place.run(&["--read-only", "get", "c"]).code, Some(1));
    assert_eq!(place.ok(&["--read-only", "exists", "b"]), "true\n");
    assert_eq!(place.ok(&["--read-only", "scan", "--rev", "--keys-only"]), "b\na\n");
    assert_eq!(place.ok(&["--read-only", "dump"]).lines().count(), 2);
    assert!(place.ok(&["--read-only", "verify"]).contains("no damage in 1 segment, 2 records"));
    assert!(place.ok(&["--read-only", "tree"]).contains("1 segment"));
    assert_eq!(place.json(&["--read-only", "stats"])[0]["records"], json!(2));
    for command in [&["put", "a", "2"][..], &["compact"], &["shell"], &["checkpoint", "create", "x"], &["load", "-"]] {
        let said = place.fails(2, &[&["--read-only"], command].concat());
        assert!(said.contains("opened to read only"), "{command:?}: {said}");
    }
    assert_eq!(files(), before);
    let empty = Place::new();
    assert!(empty.fails(4, &["--read-only", "list"]).contains("there is no store at ./halite-data"));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

/// A shell has the store open; others read what it has committed, and copy it.
#[test]
fn others_read_and_copy_beside_a_shell() {
    let place = Place::new();
    let mut shell = place.spawn(&["shell"]);
    let (mut input, mut answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()).lines());
    let mut say = |line: &str| {
        writeln!(input, "{line}").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(say("put a 1"), "OK");
    // The second answer comes after the first write's mark, which tells that it is durable.
    assert_eq!(say("put b 2"), "OK");
    assert_eq!(say("get a"), "1");
    assert_eq!(place.run(&["list"]).code, Some(5), "who may write is alone");
    assert!(place.ok(&["--read-only", "list"]).starts_with("a 1\n"));
    assert_eq!(say("checkpoint create kept"), "OK");
    assert_eq!(say("put a new"), "OK");
    assert_eq!(place.ok(&["--at", "kept", "list"]), "a 1\nb 2\n");
    place.ok(&["backup", "backups", "first"]);
    assert!(place.ok(&["--store", "backups", "--at", "first", "list"]).contains("b 2\n"));
    place.ok(&["clone", "clone"]);
    assert!(place.ok(&["--store", "clone", "list"]).contains("b 2\n"));
    assert!(say("clone own").contains("segment"));
    drop(input);
    assert_eq!(shell.wait().unwrap().code(), Some(0));
    assert_eq!(place.ok(&["--store", "own", "list"]), "a new\nb 2\n");
}

#[test]
fn backups_come_back() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let first = &place.json(&["backup", "backups", "first"])[0];
    assert_eq!((&first["segments_copied"], &first["segments_kept"]), (&json!(1), &json!(0)));
    // Nothing is overwritten, so that no merge takes away what is there already.
    place.ok(&["put", "c", "3"]);
    let said = place.ok(&["backup", "backups", "second"]);
    assert!(said.contains("copied and verified: 1 segment") && said.contains("there already: 1 segment"), "{said}");
    let listed = place.json(&["--store", "backups", "--read-only", "checkpoint", "list"]);
    let names: Vec<_> = listed[0]["checkpoints"].as_array().unwrap().iter().map(|backup| &backup["name"]).collect();
    assert_eq!(names, [&json!("first"), &json!("second")]);
    assert_eq!(place.ok(&["--store", "backups", "--at", "first", "get", "a"]), "1\n");
    std::fs::remove_dir_all(place.store()).unwrap();
    place.ok(&["restore", "backups"]);
    assert_eq!(place.ok(&["list"]), "a 1\nb 2\nc 3\n");
    place.ok(&["--store", "old", "restore", "backups", "first"]);
    assert_eq!(place.ok(&["--store", "old", "list"]), "a 1\nb 2\n");
    assert_eq!(place.ok(&["backup", "backups", "first", "--delete"]), "true\n");
    assert_eq!(place.run(&["backup", "backups", "first", "--delete"]).code, Some(1));
    assert!(place.ok(&["--store", "backups", "--at", "second", "verify"]).contains("no damage"));
}

#[test]
fn what_cannot_be_copied_is_refused() {
    let place = with_records(&[("a", "1")]);
    place.ok(&["backup", "backups", "first"]);
    for (code, args, what) in [
        (2, &["backup", "backups", "first"][..], "already"),
        (2, &["clone", "backups"], "is not empty"),
        (2, &["restore", "backups"], "is not empty"),
        (2, &["--store", "new", "restore", "backups", "second"], "there is no checkpoint \"second\""),
        (4, &["--store", "new", "restore", "nowhere"], "there is no store at nowhere"),
        (2, &["--store", "backups", "put", "a", "1"], "keeps backups"),
    ] {
        let said = place.fails(code, args);
        assert!(said.contains(what) && said.contains("hint: "), "{args:?}: {said}");
    }
    assert!(!place.path().join("new").exists());
    let other = with_records(&[("b", "2")]);
    let backups = place.path().join("backups");
    let said = other.fails(2, &["backup", backups.to_str().unwrap(), "mine"]);
    assert!(said.contains("another database"), "{said}");
}

#[test]
fn the_shell_keeps_and_copies_too() {
    let place = with_records(&[("a", "1")]);
    let lines = b"checkpoint create x\ncheckpoint list\ncheckpoint delete x\nbackup backups now\nbackup backups now\n";
    let answers = place.feed(&["--format", "json", "shell"], lines);
    let answers = documents(&answers.out);
    assert_eq!(answers[0]["name"], json!("x"));
    assert_eq!(answers[1]["checkpoints"][0]["name"], json!("x"));
    assert_eq!(answers[2], json!({"name": "x", "deleted": true}));
    assert_eq!(answers[3]["segments_copied"], json!(1));
    assert_eq!(answers[4]["error"]["kind"], json!("already_exists"));
}

/// The past of a store that was told to keep it, and a checkpoint that nobody can delete.
#[test]
fn the_past_is_kept_and_held() {
    let place = Place::new();
    place.ok(&["--retention", "1min", "--retention-step", "10ms", "put", "a", "1"]);
    let between = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    std::thread::sleep(std::time::Duration::from_millis(20));
    // Told once, it keeps to it.
    place.ok(&["put", "a", "2"]);
    place.ok(&["compact"]);
    assert_eq!(place.ok(&["--at", &between, "get", "a"]), "1\n");
    assert_eq!(place.ok(&["--at", "0s", "get", "a"]), "2\n");
    let outcome = place.run(&["--at", "1h", "get", "a"]);
    assert!(outcome.code == Some(1) && outcome.err.contains("not kept"), "{outcome:?}");
    let stats = &place.json(&["stats"])[0];
    assert!(stats["moments"].as_u64() > Some(0) && stats["past_bytes"].as_u64() > Some(0), "{stats}");
    assert!(place.fails(2, &["--at", "yesterday", "get", "a"]).contains("there is no checkpoint"));

    let taken = &place.json(&["checkpoint", "create", "books", "--hold", "10years"])[0];
    assert!(taken["hold_until"].as_u64() > Some(1_900_000_000_000), "{taken}");
    let said = place.fails(2, &["checkpoint", "delete", "books"]);
    assert!(said.contains("cannot be deleted before") && said.contains("hint: wait"), "{said}");
    assert!(place.ok(&["checkpoint", "list"]).contains(", held until 20"));
    place.ok(&["backup", "backups", "kept", "--hold", "2999-01-01T00:00:00Z"]);
    assert!(place.fails(2, &["backup", "backups", "kept", "--delete"]).contains("cannot be deleted before"));
    place.ok(&["--retention", "0s", "put", "a", "3"]);
    assert_eq!(place.run(&["--at", &between, "get", "a"]).code, Some(1));
}

#[test]
fn what_nothing_names_can_be_listed_and_deleted() {
    let place = with_records(&[("a", "1")]);
    assert_eq!(place.ok(&["collect"]), "0 files deleted, 0 B\n");
    assert_eq!(place.ok(&["--read-only", "collect", "--dry-run"]), "0 files to delete, 0 B\n");
    let stray = place.store().join("manifest/0000000000000001");
    std::fs::write(&stray, "an old manifest that could not be deleted").unwrap();
    let listed = &place.json(&["--read-only", "collect", "--dry-run"])[0];
    assert_eq!(listed["files"], json!([{ "file": "manifest/0000000000000001", "bytes": 41, "why": "followed" }]));
    assert!(stray.exists());
    assert!(place.fails(2, &["--read-only", "collect"]).contains("opened to read only"));
    place.ok(&["collect"]);
    assert!(!stray.exists());
}

#[test]
fn a_store_is_copied_from_one_place_to_another() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    place.ok(&["checkpoint", "create", "then"]);
    place.ok(&["put", "a", "new"]);
    let said = place.ok(&["copy", "halite-data", "other"]);
    assert!(said.contains("copied and verified: 2 segments") && !said.contains("shared"), "{said}");
    assert_eq!(place.ok(&["--store", "other", "list"]), "a new\nb 2\n");
    place.ok(&["copy", "halite-data", "file:third", "--at", "then"]);
    assert_eq!(place.ok(&["--store", "third", "list"]), "a 1\nb 2\n");
    assert!(place.fails(2, &["copy", "halite-data", "other"]).contains("is not empty"));
    assert!(place.fails(4, &["copy", "nowhere", "fourth"]).contains("no store at nowhere"));
    assert!(!place.path().join("fourth").exists());
}

/// The log on one disk, the store on another; then the log's disk is lost.
#[test]
fn a_store_in_two_tiers_goes_on_without_its_log_only_if_that_is_said() {
    let place = Place::new();
    let tiers = |args: &[&str]| place.ok(&[&["--log", "log"], args].concat());
    tiers(&["put", "a", "1"]);
    assert_eq!(tiers(&["get", "a"]), "1\n");
    assert_eq!(place.ok(&["get", "a"]), "1\n", "closed, it needs no log");
    let mut shell = place.spawn(&["--log", "log", "shell"]);
    let (mut input, mut answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()).lines());
    writeln!(input, "put b 2").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), "OK");
    assert_eq!(place.run(&["--log", "log", "put", "c", "3"]).code, Some(5), "who may write is alone");
    shell.kill().unwrap();
    shell.wait().unwrap();

    for without in [&["put", "c", "3"][..], &["--log", "empty", "put", "c", "3"]] {
        let said = place.fails(5, without);
        assert!(said.contains("in a log that is kept elsewhere") && said.contains("--give-up-log"), "{said}");
    }
    assert_eq!(place.ok(&["--read-only", "list"]), "a 1\n", "what is sealed shows");
    assert_eq!(tiers(&["get", "b"]), "2\n");
    let mut shell = place.spawn(&["--log", "log", "shell"]);
    let (mut input, mut answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()).lines());
    writeln!(input, "put d 4").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), "OK");
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(place.ok(&["--give-up-log", "list"]), "a 1\nb 2\n");
    let said = place.fails(5, &["--log", "log", "list"]);
    assert!(said.contains("does not go on: it was given up") && said.contains("--give-up-log"), "{said}");
    assert_eq!(tiers(&["--give-up-log", "list"]), "a 1\nb 2\n", "given up is given up");
    assert_eq!(tiers(&["list"]), "a 1\nb 2\n");
    let said = place.fails(2, &["--log", "log", "--store", "other", "put", "a", "1"]);
    assert!(said.contains("is that of another database"), "{said}");
    assert!(place.fails(4, &["--store", "other", "list"]).contains("there is no store at other"), "nothing was made");
}

/// A live backup beside a process that writes and is killed.
#[test]
fn a_live_backup_follows_who_writes() {
    let place = with_records(&[("a", "1")]);
    let said = place.ok(&["ship", "live", "--once"]);
    assert!(said.contains("copied and verified: 1 segment"), "{said}");
    let mut shell = place.spawn(&["shell"]);
    let (mut input, mut answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()).lines());
    let mut ship = place.spawn(&["--format", "json", "ship", "live", "--interval", "20ms"]);
    let mut shipped = BufReader::new(ship.stdout.take().unwrap()).lines();
    assert_eq!(documents(&shipped.next().unwrap().unwrap())[0]["seq"], json!(1));
    writeln!(input, "put b 2\nput c 3").unwrap();
    assert_eq!((answers.next().unwrap().unwrap(), answers.next().unwrap().unwrap()), ("OK".into(), "OK".into()));
    while documents(&shipped.next().unwrap().unwrap())[0]["seq"] != json!(3) {}
    for child in [&mut shell, &mut ship] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.ok(&["--store", "restored", "restore", "live"]);
    assert_eq!(place.ok(&["--store", "restored", "list"]), "a 1\nb 2\nc 3\n");
}
