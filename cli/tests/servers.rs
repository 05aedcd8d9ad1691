//! The program on real object stores, as a newcomer would use it; `cargo xtask servers` starts them.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

/// A place in the bucket that the variable `name` says: its URI without options, and with them.
fn place(name: &str, prefix: &str) -> (String, String) {
    let uri = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask servers`"));
    let (bucket, options) = uri.split_once('?').unwrap();
    let place = format!("{bucket}/cli-{}-{prefix}", std::process::id());
    (place.clone(), format!("{place}?{options}"))
}

fn halite(store: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halite")).arg("--store").arg(store).args(args).output().unwrap()
}

#[track_caller]
fn good(store: &str, args: &[&str]) -> String {
    let output = halite(store, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_store_is_made_asked_copied_and_moved() {
    for server in ["HALITE_S3", "HALITE_AZBLOB"] {
        let (shown, store) = place(server, "first");
        let (_, copy) = place(server, "copy");
        let missing = halite(&store, &["get", "a"]);
        assert_eq!(missing.status.code(), Some(4), "{missing:?}");
        let said = String::from_utf8(missing.stderr).unwrap();
        assert!(said.contains("there is no store at") && said.contains(&shown), "{said}");
        assert!(!said.contains("account_key") && !said.contains("secret"), "{said}");

        good(&store, &["put", "apple", "red"]);
        good(&store, &["put", "pear", "green"]);
        assert_eq!(good(&store, &["get", "apple"]), "red\n");
        assert_eq!(good(&store, &["list", "--keys"]), "apple\npear\n");
        good(&store, &["delete", "apple"]);
        assert_eq!(halite(&store, &["get", "apple"]).status.code(), Some(1));
        good(&store, &["compact"]);
        good(&store, &["verify"]);
        let stats = good(&store, &["stats"]);
        assert!(stats.contains(&shown) && !stats.contains("secret") && !stats.contains("account_key"), "{stats}");
        good(&store, &["clone", &copy]);
        good(&copy, &["put", "plum", "blue"]);
        assert_eq!(good(&copy, &["list", "--keys"]), "pear\nplum\n");
        assert_eq!(good(&store, &["list", "--keys"]), "pear\n");

        let home = tempfile::tempdir().unwrap();
        let local = home.path().join("local");
        good(&copy, &["clone", local.to_str().unwrap()]);
        assert_eq!(good(local.to_str().unwrap(), &["get", "plum"]), "blue\n");
    }
}

/// What one command has read of a store, the next finds on the local disk.
#[test]
fn a_cache_serves_the_next_command() {
    let (_, store) = place("HALITE_S3", "cached");
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("cache");
    let cache = format!("{}:64MiB", folder.display());
    good(&store, &["put", "apple", "red"]);
    good(&store, &["compact"]);
    let blocks =
        || std::fs::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "LOCK").count();
    for _ in 0..2 {
        assert_eq!(good(&store, &["--cache", &cache, "get", "apple"]), "red\n");
        assert!(blocks() > 0);
    }
}

/// A question disturbs nobody: where no lock says that a store is in use, it is only read.
#[test]
fn a_question_does_not_fence_who_writes() {
    let (_, store) = place("HALITE_S3", "beside");
    good(&store, &["put", "a", "1"]);
    let mut shell = Command::new(env!("CARGO_BIN_EXE_halite"))
        .args(["--store", &store, "shell"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut asked, mut answers) = (shell.stdin.take().unwrap(), std::io::BufReader::new(shell.stdout.take().unwrap()));
    let mut ask = |line: &str| {
        use std::io::{BufRead, Write};
        writeln!(asked, "{line}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask("put b 2"), "OK\n");
    assert_eq!(good(&store, &["get", "b"]), "2\n");
    assert_eq!(good(&store, &["list", "--keys"]), "a\nb\n");
    assert_eq!(ask("put c 3"), "OK\n");
    drop(ask);
    drop(asked);
    assert!(shell.wait().unwrap().success());
}
