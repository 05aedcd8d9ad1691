//! Every command under WASI, held against the native program.

use super::figures::command::{self, Sides};
use super::{METERING, Place, block_on, native, program};
use halite_wasmtime::End;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the native program in the same manner, and returns its exit code and what it printed.
fn natively(place: &Place, args: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(native());
    command.current_dir(place.0.path()).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const LOADED: &str = r#"{"key": "user:1", "value": "Ada"}
{"key": "user:2", "value": "two words"}
{"key_base64": "//4=", "value_base64": "gA=="}
"#;

const SHELL: &str = "put s:1 one\nbegin\nput s:2 two\nget s:2\ncommit\nget s:2\nnonsense\nincr n 5\nscan --prefix s: --rev\n\
                     flush\nhelp get\nquit\n";

/// Each command with its input, in an order in which they have something to do.
const SCRIPT: &[(&[&str], &str)] = &[
    (&["get", "a"], ""),
    (&["put", "a", "1"], ""),
    (&["get", "a"], ""),
    (&["get", "a", "--raw"], ""),
    (&["put", "from stdin", "-"], "line one\nline two\n"),
    (&["get", "from stdin"], ""),
    (&["put", "soon", "x", "--ttl", "1h"], ""),
    (&["exists", "soon"], ""),
    (&["persist", "soon"], ""),
    (&["ttl", "soon"], ""),
    (&["expire", "nothing", "1s"], ""),
    (&["cas", "a", "1", "2"], ""),
    (&["cas", "a", "1", "3"], ""),
    (&["cas", "b", "--if-absent", "4", "--format", "json"], ""),
    (&["incr", "n", "41"], ""),
    (&["incr", "n"], ""),
    (&["incr", "from stdin"], ""),
    (&["load", "-"], LOADED),
    (&["load", "-"], "nonsense\n"),
    (&["list"], ""),
    (&["list", "user:", "--keys", "--limit", "1"], ""),
    (&["scan", "--rev", "--from", "b"], ""),
    (&["dump"], ""),
    (&["--read-only", "dump", "--format", "json"], ""),
    (&["changes", "--limit", "3"], ""),
    (&["shell"], SHELL),
    (&["shell", "--format", "json"], SHELL),
    (&["checkpoint", "create", "before"], ""),
    (&["delete", "a"], ""),
    (&["delete", "--prefix", "user:"], ""),
    (&["delete-range", "--from", "n", "--to", "o"], ""),
    (&["list", "--keys"], ""),
    (&["--at", "before", "list"], ""),
    (&["--at", "never", "list"], ""),
    (
        &["put", "packed", "-", "--compression", "lz4"],
        "all work and no play all work and no play all work and no play\n",
    ),
    (&["get", "packed", "--raw"], ""),
    (&["put", "packed", "x", "--compression", "zstd"], ""),
    (&["compact"], ""),
    (&["checkpoint", "list", "--format", "plain"], ""),
    (&["checkpoint", "delete", "before"], ""),
    (&["backup", "backups", "monday"], ""),
    (&["--store", "restored", "restore", "backups", "monday"], ""),
    (&["--store", "restored", "list"], ""),
    (&["clone", "copy"], ""),
    (&["--store", "copy", "list"], ""),
    (&["backup", "backups", "monday", "--delete"], ""),
    (&["repair", "mended"], ""),
    (&["--store", "mended", "list"], ""),
    (&["clear"], ""),
    (&["clear", "--yes"], ""),
    (&["list"], ""),
    (&["stats"], ""),
    (&["tree", "--format", "json"], ""),
    (&["verify"], ""),
    (&["--store", "measured", "bench", "--n", "300", "--puts", "5", "--writers", "2"], ""),
    (&["--store", "ftp://x", "get", "a"], ""),
    (&["--store", "none", "get", "a"], ""),
    (&["nonsense"], ""),
    (&["--version"], ""),
    (&["help", "put"], ""),
];

/// What these print tells of times, sizes of files or the platform, and differs from run to run.
const VARYING: &[&str] = &["load", "stats", "tree", "bench", "compact", "checkpoint list", "zstd"];

#[test]
fn every_command_does_what_it_does_natively() {
    let (here, there) = (Place::new("wasi-native"), Place::new("wasi-guest"));
    let mut differ = String::new();
    for &(args, input) in SCRIPT {
        let (code, out, err) = natively(&here, args, input);
        let outcome = there.feed(args, input);
        assert_eq!(outcome.end, End::Exit(code), "{args:?}: {outcome:?}, natively {out} {err}");
        let line = args.join(" ");
        let same = if VARYING.iter().any(|varying| line.contains(varying)) {
            outcome.out.is_empty() == out.is_empty()
        } else {
            (outcome.out.as_str(), unnumbered(&outcome.err)) == (out.as_str(), unnumbered(&err))
        };
        if !same {
            differ.push_str(&format!("{line}: {outcome:?}\n  natively {out} {err}\n"));
        }
    }
    assert!(differ.is_empty(), "{differ}");
}

/// Without the numbers of errors, which each system has its own of.
fn unnumbered(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_number, rest)| rest))
}

#[test]
fn the_example_counts_visits_on_both_sides() {
    let place = Place::new("wasi-in-turn");
    assert_eq!(block_on(super::in_turn::run(program(), place.0.path())).unwrap(), ["1", "2", "3"]);
}

/// As `cargo xtask bench --wasm` takes them, but of hardly anything: that they can be taken.
#[test]
fn the_command_is_measured_beside_the_native_program() {
    let place = Place::new("wasi-figures");
    let sides = Sides {
        native: native(),
        command: program(),
        metering: METERING,
        folder: place.0.path(),
        records: 300,
        puts: 20,
        rounds: 1,
    };
    let lines = block_on(command::all(&sides)).unwrap();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].starts_with("| memory: random reads, a second | "), "{lines:?}");
    assert!(lines[4].starts_with("| 300 records: open, one get, close; cold | "), "{lines:?}");
}

#[test]
fn each_side_reads_what_the_other_wrote() {
    let place = Place::new("wasi-exchange");
    let big = "0123456789abcdef".repeat(20_000);
    block_on(async {
        let options = halite::Options { segment_bytes_max: 4 << 10, ..halite::Options::default() };
        let backend = halite::backends::Local::open(place.store(), true).unwrap();
        let db = halite::Db::builder(std::sync::Arc::new(backend)).options(options).open().await.unwrap();
        for n in 0..200 {
            db.put(format!("native:{n:03}"), format!("value {n}")).await.unwrap();
        }
        db.put("big", big.clone()).await.unwrap();
        db.close().await.unwrap();
    });
    assert_eq!(place.ok(&["get", "native:123"]), "value 123\n");
    assert_eq!(place.run(&["get", "absent"]).end, End::Exit(1));
    assert!(place.ok(&["get", "big"]) == big.clone() + "\n");
    let listed = place.ok(&["list", "native:"]);
    assert_eq!((listed.lines().count(), listed.lines().last()), (200, Some("native:199 \"value 199\"")));
    let lines: String =
        (0..3000).map(|n| format!("{{\"key\": \"wasi:{n:04}\", \"value\": \"value {n}\"}}\n")).collect();
    assert_eq!(place.feed(&["load", "-"], &lines).end, End::Exit(0));
    place.ok(&["delete", "native:007"]);
    // Whoever comes next has nothing to recover.
    assert!(place.ok(&["inspect", "manifest"]).contains("closed cleanly"));
    block_on(async {
        let db = place.open().await;
        assert_eq!(db.get("native:007").await.unwrap(), None);
        assert_eq!(db.get("native:123").await.unwrap().as_deref(), Some(&b"value 123"[..]));
        for n in 0..3000 {
            let value = db.get(format!("wasi:{n:04}")).await.unwrap();
            assert_eq!(value.as_deref(), Some(format!("value {n}").as_bytes()));
        }
        halite_tests::world::assert_sound(&db).await;
        db.close().await.unwrap();
    });
    assert!(place.ok(&["verify"]).contains("no damage"));
}
