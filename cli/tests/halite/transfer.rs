//! `load` and `dump`: there and back, bad lines, interruption, readers that leave.

use super::{Place, documents, outcome, with_records};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

#[test]
fn what_is_dumped_can_be_loaded() {
    let (one, two) = (Place::new(), Place::new());
    let lines = concat!(
        r#"{"key":"","value":"empty"}"#,
        "\n",
        r#"{"key":"a","value":"line\nline"}"#,
        "\n",
        r#"{"key":"b","value":"","expires_at":9999999999999}"#,
        "\n",
        r#"{"key":"ü","value_base64":"/w=="}"#,
        "\n",
        r#"{"key_base64":"/wA=","value":"z"}"#,
        "\n",
    );
    assert_eq!(one.feed(&["load", "-"], lines.as_bytes()).code, Some(0));
    let dumped = one.ok(&["dump"]);
    assert_eq!(dumped, lines);
    std::fs::write(two.path().join("dump.jsonl"), &dumped).unwrap();
    let loaded = two.run(&["load", "dump.jsonl"]);
    assert!(loaded.out.starts_with("loaded 5 records from "), "{loaded:?}");
    assert_eq!(two.ok(&["dump"]), dumped);
}

#[test]
fn many_records_are_loaded_in_order() {
    let place = Place::new();
    let lines: String = (0..20_000)
        .map(|n| format!("{}\n", json!({"key": format!("k{}", n % 15_000), "value": n.to_string()})))
        .collect();
    assert_eq!(place.feed(&["load", "-"], lines.as_bytes()).code, Some(0));
    let dumped = documents(&place.ok(&["dump"]));
    assert_eq!(dumped.len(), 15_000);
    // The later of two records stands.
    assert_eq!(place.ok(&["get", "k4999"]), "19999\n");
    assert_eq!(place.ok(&["get", "k5000"]), "5000\n");
    assert_eq!(place.run(&["verify"]).code, Some(0));
}

#[test]
fn plain_lines_are_keys() {
    let place = Place::new();
    std::fs::write(place.path().join("words"), b"apple\n\nzebra crossing\r\n\xff\n").unwrap();
    place.ok(&["load", "--lines", "words"]);
    assert_eq!(place.ok(&["list"]), "apple 1\n\"zebra crossing\" 3\n\"\\xff\" 4\n");
}

#[test]
fn a_bad_line_is_named_and_what_was_before_it_is_stored() {
    let place = Place::new();
    for (bad, why) in [
        (&b"nonsense"[..], "expected"),
        (b"{\"key\": \"b\"}", "neither \"value\""),
        (b"{\"key\": \"b\", \"value\": \"\xff\"}", "unicode"),
        (b"{\"key\": \"b\", \"value\": \"1\", \"ttl\": 5}", "unknown field"),
    ] {
        let lines = [b"{\"key\":\"a\",\"value\":\"1\"}\n\n", bad, b"\n{\"key\":\"c\",\"value\":\"3\"}\n"].concat();
        let stopped = place.feed(&["load", "-"], &lines);
        assert_eq!((stopped.code, stopped.out.as_str()), (Some(2), ""), "{stopped:?}");
        for part in ["1 record before that place are stored", "line 3: ", why] {
            assert!(stopped.err.contains(part), "{part}: {stopped:?}");
        }
        assert_eq!(place.ok(&["list"]), "a 1\n");
    }
    let long = format!("{{\"key\":\"{}\",\"value\":\"\"}}\n", "k".repeat(65_537));
    let stopped = place.feed(&["load", "-"], long.as_bytes());
    assert!(stopped.code == Some(2) && stopped.err.contains("line 1: key too long len=65537 max=65536"), "{stopped:?}");
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::new();
    let said = place.fails(4, &["load", "absent.jsonl"]);
    assert!(said.contains("cannot read absent.jsonl") && said.contains("because: No such file"), "{said}");
    assert!(place.fails(4, &["load", "."]).contains("directory"));
    assert_eq!(place.ok(&["list"]), "");
}

/// The load is asked to stop while it waits for more input: it says how much it has stored, and that much is there.
#[test]
fn ctrl_c_leaves_what_was_said_to_be_stored() {
    let place = Place::new();
    let mut child = place.spawn(&["load", "--lines", "-"]);
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds: once it is written, the load has begun to read and listens for signals.
    let words: String = (0..40_000).map(|n| format!("word {n:06}\n")).collect();
    input.write_all(words.as_bytes()).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let stopped = outcome(child.wait_with_output().unwrap());
    drop(input);
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    let said: String =
        stopped.err.split("; ").nth(1).unwrap().chars().take_while(|c| *c != ' ').filter(|c| *c != ',').collect();
    let count: usize = said.parse().unwrap();
    let stored = place.ok(&["list", "--keys"]);
    assert_eq!(stored.lines().count(), count);
    assert!(stored.lines().enumerate().all(|(n, key)| key == format!("\"word {n:06}\"")));
}

#[test]
fn a_reader_may_leave() {
    let place = Place::new();
    let words: String = (0..50_000).map(|n| format!("word{n}\n")).collect();
    assert_eq!(place.feed(&["load", "--lines", "-"], words.as_bytes()).code, Some(0));
    for command in ["list", "dump"] {
        let mut child = place.command(&[command]).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        drop(output);
        let left = outcome(child.wait_with_output().unwrap());
        assert_eq!((left.code, left.err.as_str()), (Some(0), ""), "{command}");
    }
    assert_eq!(place.run(&["verify"]).code, Some(0));
}

#[test]
fn a_range_is_dumped_alone() {
    let place = with_records(&[("a", "1"), ("b/1", "2"), ("b/2", "3"), ("c", "4")]);
    let keys = |args: &[&str]| {
        let lines = place.ok(&[&["dump"], args].concat());
        documents(&lines).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["--prefix", "b/"]), ["b/1", "b/2"]);
    assert_eq!(keys(&["--from", "b/2"]), ["b/2", "c"]);
    assert_eq!(keys(&["--to", "b/2", "--read-only"]), ["a", "b/1"]);
}
