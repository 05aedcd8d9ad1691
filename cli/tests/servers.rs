//! The program on real object stores, as a newcomer would use it; `cargo xtask servers` starts them.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

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

/// A warm-up keeps within its limit, which is asked for as the help says, and leaves what it has read to the next command.
#[test]
fn a_warm_up_keeps_within_its_limit_and_fills_the_cache() {
    let (_, store) = place("HALITE_S3", "warm");
    let home = tempfile::tempdir().unwrap();
    let records = home.path().join("records");
    for load in 0..3 {
        let lines: String = (0..300).map(|n| format!("key {load} {n:04} {}\n", "x".repeat(200))).collect();
        std::fs::write(&records, lines).unwrap();
        good(&store, &["load", "--lines", records.to_str().unwrap()]);
    }
    let cache = format!("{}:64MiB", home.path().join("cache").display());
    let asked = |limits: &str| {
        let begun = Instant::now();
        let told =
            good(&store, &["--cache", &cache, "--limits", limits, "--format", "json", "warm", "--prefix", "key"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{told}"));
        assert!(number("segments") == 3 && told["whole"] == true, "{told}");
        (number("requests"), number("bytes"), begun.elapsed())
    };
    let (requests, bytes, elapsed) = asked("warm=1/s");
    assert!(requests >= 3 && bytes > 3 * 300 * 200, "{requests} requests, {bytes} bytes");
    assert!(elapsed > Duration::from_secs(requests - 1) - Duration::from_millis(100), "{requests} in {elapsed:?}");
    let (again, _, _) = asked("warm=100MiB/s,1000/s,4");
    assert!(again < requests, "{again} requests, and {requests} before");
    assert_eq!(halite(&store, &["--limits", "publish=1/s", "get", "a"]).status.code(), Some(2));
}

/// Whatever the program is asked, and however much it tells, of success or failure, it shows no credential.
#[test]
fn credentials_are_never_shown() {
    const SECRET: &str = "Open5e5ame0Open5e5ame0";
    let (_, s3) = place("HALITE_S3", "secret");
    let s3 = s3.replace("secret_access_key=test", &format!("secret_access_key={SECRET}"));
    let (_, azblob) = place("HALITE_AZBLOB", "secret");
    let (_, key) = azblob.split_once("account_key=").unwrap();
    let key = key.split('&').next().unwrap().to_owned();
    let away = |store: &str| {
        let (before, rest) = store.split_once("127.0.0.1:").unwrap();
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap();
        format!("{before}127.0.0.1:1{}", &rest[digits..])
    };
    for (store, secret) in [(s3, SECRET.to_owned()), (azblob, key)] {
        // In a query a plus may be written otherwise.
        let written = [secret.replace("%2B", "+"), secret];
        let ask = |store: &str, args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_halite"));
            let output = command.args(["--store", store]).args(args).env("HALITE_EVENTS", "trace").output().unwrap();
            let told = [&output.stdout[..], &output.stderr[..]].concat();
            let told = String::from_utf8_lossy(&told);
            for secret in &written {
                assert!(!told.contains(secret), "{args:?}: {told}");
            }
            assert!(told.contains("TRACE") || told.contains("DEBUG"), "it tells much: {told}");
            output.status.success()
        };
        for args in
            [&["put", "a", "1"][..], &["checkpoint", "create", "now"], &["compact"], &["stats", "--format", "json"]]
        {
            assert!(ask(&store, args), "{args:?}");
        }
        assert!(ask(&store, &["verify", "--deep"]) && ask(&store, &["cost"]));
        // Nobody is there; and with a bucket that is not there.
        assert!(!ask(&away(&store), &["get", "a"]));
        assert!(!ask(&store.replacen("://halite/", "://nowhere/", 1), &["put", "a", "1"]));
    }
}

/// What the README says to a newcomer, word by word.
#[test]
fn the_readme_can_be_followed() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, chapter) = readme.split_once("\n## Object stores\n").unwrap();
    let (_, session) = chapter.split_once("```console\n").unwrap();
    let (session, _) = session.split_once("```").unwrap();
    let (_, store) = place("HALITE_S3", "readme");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_halite")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let (mut commands, mut shown, mut said) = (0, String::new(), String::new());
    for line in session.lines() {
        let Some(command) = line.strip_prefix("$ ") else {
            shown += &format!("{line}\n");
            continue;
        };
        // Whoever runs this has started the servers, and has the variable.
        if !command.starts_with("halite ") {
            continue;
        }
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", command]).env("PATH", path.as_ref().unwrap()).env("HALITE_S3", &store).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        said += &String::from_utf8(output.stdout).unwrap();
        commands += 1;
    }
    assert!(commands >= 2 && said == shown, "{commands} commands said {said:?}, not {shown:?}");
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
    drop(asked);
    assert!(shell.wait().unwrap().success());
}
