//! Every one-shot command, for people.

use super::{Place, with_records};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn put_get_exists_delete() {
    let place = Place::new();
    assert_eq!(place.ok(&["put", "a", "1"]), "OK\n");
    assert_eq!(place.ok(&["get", "a"]), "1\n");
    assert_eq!(place.ok(&["get", "a", "--raw"]), "1");
    assert_eq!(place.ok(&["exists", "a"]), "true\n");
    assert_eq!(place.ok(&["set", "a", "2"]), "OK\n");
    assert_eq!(place.ok(&["get", "a"]), "2\n");
    assert_eq!(place.ok(&["delete", "a"]), "OK\n");
    assert_eq!(place.ok(&["del", "a"]), "OK\n");
    assert_eq!(place.fails(1, &["get", "a"]), "halite: not found: a\n");
    let absent = place.run(&["exists", "a"]);
    assert_eq!((absent.code, absent.out.as_str(), absent.err.as_str()), (Some(1), "false\n", ""));
}

#[test]
fn empty_keys_and_values_are_like_any_other() {
    let place = Place::new();
    place.ok(&["put", "", "nothing"]);
    place.ok(&["put", "nothing", ""]);
    assert_eq!(place.ok(&["get", ""]), "nothing\n");
    assert_eq!(place.ok(&["get", "nothing"]), "\n");
    assert_eq!(place.ok(&["list"]), "\"\" nothing\nnothing \"\"\n");
}

#[test]
fn values_are_compressed_where_that_is_asked_for() {
    let place = Place::new();
    let value = "all work and no play\n".repeat(2000);
    place.feed(&["put", "plain", "-"], value.as_bytes());
    let before = place.ok(&["stats", "--format", "json"]);
    assert_eq!(place.feed(&["put", "packed", "-", "--compression", "lz4"], value.as_bytes()).out, "OK\n");
    assert_eq!(place.ok(&["get", "packed", "--raw"]), value);
    assert_eq!(place.ok(&["get", "plain", "--raw"]), value);
    let bytes = |stats: &str| -> u64 {
        let stats: serde_json::Value = serde_json::from_str(stats).unwrap();
        stats["record_bytes"].as_u64().unwrap()
    };
    let grown = bytes(&place.ok(&["stats", "--format", "json"])) - bytes(&before);
    assert!(grown < 2_000, "{grown}");
    assert!(place.ok(&["verify"]).contains('2'), "a compressed value is verified");
    place.fails(2, &["put", "a", "b", "--compression", "none", "--compression", "lzma"]);
}

#[test]
fn what_is_for_stores_that_are_far_away_does_no_harm_here() {
    let place = Place::new();
    place.ok(&["put", "a", "1"]);
    place.ok(&["--limits", "merge=20MiB/s,100/s,4", "--limits", "warm=1/s", "compact"]);
    let warm: serde_json::Value =
        serde_json::from_str(&place.ok(&["--limits", "read=1/s", "warm", "--prefix", "a", "--format", "json"]))
            .unwrap();
    assert_eq!((&warm["segments"], &warm["whole"]), (&json!(1), &json!(true)), "{warm}");
    assert!(place.ok(&["warm", "--index-only", "--max", "1MiB"]).contains("1 segment in 0 requests"));
    for wrong in ["merge", "merge=", "merge=fast", "publish=1/s", "nothing=1/s", "merge=0/s"] {
        let refused = place.fails(2, &["--limits", wrong, "get", "a"]);
        assert!(refused.contains("--limits"), "{wrong}: {refused}");
    }
}

#[test]
fn large_values_come_from_standard_input_and_go_to_standard_output() {
    let place = Place::new();
    let value = "0123456789abcdef".repeat(5 << 16);
    assert_eq!(place.feed(&["put", "large", "-"], value.as_bytes()).out, "OK\n");
    assert!(place.ok(&["get", "large", "--raw"]) == value);
    place.ok(&["compact"]);
    assert!(place.ok(&["get", "large", "--raw"]) == value);
    assert!(place.ok(&["verify"]).contains("no damage"));
}

#[test]
fn values_come_from_standard_input() {
    let place = Place::new();
    let value = "line one\nline two\n";
    assert_eq!(place.feed(&["put", "a", "-"], value.as_bytes()).out, "OK\n");
    assert_eq!(place.ok(&["get", "a", "--raw"]), value);
    place.feed(&["put", "none", "-"], b"");
    assert_eq!(place.ok(&["get", "none", "--raw"]), "");
}

#[test]
fn arguments_may_be_any_bytes() {
    let place = Place::new();
    let key = OsStr::from_bytes(b"\xff\xfe");
    place.ok(&["put".as_ref(), key, OsStr::from_bytes(b"\x80")]);
    let value = place.command(&["get".as_ref(), key]).output().unwrap();
    assert_eq!(value.stdout, b"\x80\n");
    assert_eq!(place.ok(&["list"]), "\"\\xff\\xfe\" \"\\x80\"\n");
    assert_eq!(place.ok(&["list".as_ref(), OsStr::from_bytes(b"\xff"), OsStr::new("--keys")]), "\"\\xff\\xfe\"\n");
}

#[test]
fn words_that_look_like_flags() {
    let place = Place::new();
    place.ok(&["put", "balance", "-5"]);
    assert_eq!(place.ok(&["get", "balance"]), "-5\n");
    place.ok(&["put", "--", "-k", "-v"]);
    assert_eq!(place.ok(&["get", "--", "-k"]), "-v\n");
}

#[test]
fn what_expires_is_gone() {
    let place = Place::new();
    place.ok(&["put", "soon", "1", "--ttl", "1ms"]);
    place.ok(&["put", "late", "1", "--ttl", "1h 30min"]);
    // A process takes longer than a millisecond; that clocks tick is all this relies on.
    assert!((0..1000).any(|_| place.run(&["get", "soon"]).code == Some(1)));
    assert_eq!(place.ok(&["list"]), "late 1\n");
}

#[test]
fn cas_changes_what_is_as_expected() {
    let place = Place::new();
    let no = |args: &[&str]| {
        let outcome = place.run(args);
        assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(1), "false\n", ""), "{args:?}");
    };
    assert_eq!(place.ok(&["cas", "a", "--if-absent", "1"]), "true\n");
    no(&["cas", "a", "--if-absent", "2"]);
    no(&["cas", "a", "2", "3"]);
    assert_eq!(place.ok(&["cas", "a", "1", "-5"]), "true\n");
    assert_eq!(place.ok(&["get", "a"]), "-5\n");
    no(&["cas", "a", "1", "--delete"]);
    assert_eq!(place.ok(&["cas", "a", "-5", "--delete"]), "true\n");
    no(&["cas", "a", "", "1"]);
    assert_eq!(place.ok(&["list"]), "");
    for wrong in
        [&["cas", "a"][..], &["cas", "a", "1"], &["cas", "a", "1", "2", "--delete"], &["cas", "a", "1", "2", "3"]]
    {
        place.fails(2, wrong);
    }
}

#[test]
fn incr_counts() {
    let place = Place::new();
    assert_eq!(place.ok(&["incr", "n"]), "1\n");
    assert_eq!(place.ok(&["incr", "n", "41"]), "42\n");
    assert_eq!(place.ok(&["incr", "n", "-50"]), "-8\n");
    assert_eq!(place.ok(&["get", "n"]), "-8\n");
    place.ok(&["put", "n", "many"]);
    let refusal = place.fails(2, &["incr", "n"]);
    assert!(refusal.contains("not a number of 64 bits value=\"many\""), "{refusal}");
    place.ok(&["put", "n", "9223372036854775807"]);
    assert!(place.fails(2, &["incr", "n"]).contains("overflow"));
    place.fails(2, &["incr", "n", "half"]);
}

#[test]
fn lifetimes_are_set_lifted_and_told() {
    let place = with_records(&[("a", "1")]);
    assert_eq!(place.ok(&["ttl", "a"]), "for ever\n");
    assert_eq!(place.ok(&["expire", "a", "2h"]), "true\n");
    let left = place.ok(&["ttl", "a"]);
    assert!(left.starts_with("1h 59m ") || left == "2h\n", "{left}");
    assert_eq!(place.ok(&["persist", "a"]), "true\n");
    // Its clock has not leapt, so there is nothing to be confirmed.
    assert_eq!(place.ok(&["confirm-time"]), "OK\n");
    assert_eq!(place.json(&["stats"])[0]["clock_ahead_millis"], 0);
    assert_eq!(place.json(&["ttl", "a"]), [json!({"key": "a", "exists": true, "ttl_millis": null})]);
    assert_eq!(place.fails(1, &["ttl", "b"]), "halite: not found: b\n");
    for args in [&["expire", "b", "1s"][..], &["persist", "b"]] {
        let absent = place.run(args);
        assert_eq!((absent.code, absent.out.as_str(), absent.err.as_str()), (Some(1), "false\n", ""));
    }
    place.fails(2, &["expire", "a", "soon"]);
    place.ok(&["expire", "a", "1ms"]);
    // As above.
    assert!((0..1000).any(|_| place.run(&["ttl", "a"]).code == Some(1)));
    let absent = place.run(&["--format", "json", "ttl", "a"]);
    assert_eq!((absent.code, absent.out.as_str()), (Some(1), "{\"key\":\"a\",\"exists\":false}\n"));
}

#[test]
fn list_takes_a_prefix_and_a_limit() {
    let place = with_records(&[("b", "4"), ("a:2", "two words"), ("a:1", "1"), ("a;", "3")]);
    assert_eq!(place.ok(&["list"]), "a:1 1\na:2 \"two words\"\na; 3\nb 4\n");
    assert_eq!(place.ok(&["ls", "a:"]), "a:1 1\na:2 \"two words\"\n");
    assert_eq!(place.ok(&["list", "--limit", "1"]), "a:1 1\n");
    assert_eq!(place.ok(&["list", "a", "--limit", "2", "--keys"]), "a:1\na:2\n");
    assert_eq!(place.ok(&["list", "--limit", "0"]), "");
    assert_eq!(place.ok(&["list", "none"]), "");
}

#[test]
fn scan_goes_over_a_range_both_ways() {
    let place = with_records(&[("b", "4"), ("a:2", "two words"), ("a:1", "1"), ("a;", "3")]);
    for (args, keys) in [
        (&[][..], "a:1 a:2 a; b"),
        (&["--rev"], "b a; a:2 a:1"),
        (&["--from", "a:2", "--to", "b"], "a:2 a;"),
        (&["--from", "a:2", "--to", "b", "--rev"], "a; a:2"),
        (&["--prefix", "a:", "--rev"], "a:2 a:1"),
        (&["--prefix", "a", "--from", "a:2"], "a:2 a;"),
        (&["--prefix", "a", "--from", "", "--to", "a;"], "a:1 a:2"),
        (&["--prefix", "a:", "--to", "b"], "a:1 a:2"),
        (&["--prefix", "b", "--to", "a:2"], ""),
        (&["--rev", "--limit", "1"], "b"),
        (&["--limit", "0"], ""),
        (&["--from", "c"], ""),
    ] {
        let args = [&["scan", "--keys-only"], args].concat();
        assert_eq!(place.ok(&args).split_whitespace().collect::<Vec<_>>().join(" "), keys, "{args:?}");
    }
    assert_eq!(place.ok(&["scan", "--rev", "--limit", "3"]), "b 4\na; 3\na:2 \"two words\"\n");
    assert_eq!(place.ok(&["scan", "--rev", "--limit", "1", "--format", "json"]), "{\"key\":\"b\",\"value\":\"4\"}\n");
    assert!(place.ok(&["help", "scan"]).contains("--rev"));
}

#[test]
fn ranges_are_deleted_by_one_record() {
    let place = with_records(&[("a", "1"), ("b:1", "2"), ("b:2", "3"), ("c", "4"), ("d", "5")]);
    assert_eq!(place.ok(&["delete", "--prefix", "b:"]), "OK\n");
    assert_eq!(place.ok(&["delete-range", "--from", "c", "--to", "d"]), "OK\n");
    assert_eq!(place.ok(&["list", "--keys"]), "a\nd\n");
    assert_eq!(place.ok(&["delete-range", "--to", "b"]), "OK\n");
    assert_eq!(place.ok(&["list", "--keys"]), "d\n");
    place.fails(2, &["delete-range"]);
    place.fails(2, &["delete"]);
    place.fails(2, &["delete", "a", "--prefix", "b"]);
}

#[test]
fn clear_wants_a_yes() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let refusal = place.fails(2, &["clear"]);
    assert!(refusal.contains("nobody to ask") && refusal.contains("hint: say `clear --yes`"), "{refusal}");
    assert_eq!(place.ok(&["list", "--keys"]), "a\nb\n");
    assert_eq!(place.ok(&["clear", "--yes"]), "OK\n");
    assert_eq!(place.ok(&["list"]), "");
}

#[test]
fn stats_tree_verify_and_compact_tell_of_the_store() {
    // Less than half of the first segment dies, so that no merge runs by itself.
    let place = with_records(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]);
    place.ok(&["put", "a", "6"]);
    place.ok(&["delete", "b"]);
    let stats = place.ok(&["stats"]);
    let number = |label: &str| stats.lines().find_map(|line| line.strip_prefix(label)).unwrap().trim().to_owned();
    assert_eq!((number("sealed segments"), number("of these tombstones")), ("3".to_owned(), "1".to_owned()), "{stats}");
    let tree = place.ok(&["tree"]);
    for part in [
        "3 segments, 7 records",
        "├─ memtable (active): 0 records",
        "└─ run: ",
        "keys a to e",
        "1 tombstone",
        "index: 5 entries",
    ] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    assert_eq!(place.ok(&["verify"]).split(',').next(), Some("no damage in 3 segments"));
    let gain = place.ok(&["compact"]);
    assert!(
        gain.contains(" in 3 segments -> ") && gain.contains("dropped 2 superseded, 1 deleted, 0 expired"),
        "{gain}"
    );
    assert!(place.ok(&["tree"]).contains("1 segment, 4 records,"));
    assert_eq!(place.ok(&["list"]), "a 6\nc 3\nd 4\ne 5\n");
}

#[test]
fn stores_are_named_by_path_uri_and_environment() {
    let place = Place::new();
    place.ok(&["--store", "one", "put", "a", "1"]);
    assert_eq!(place.ok(&["get", "a", "--store", "file:one"]), "1\n");
    assert_eq!(place.ok(&["--store", &format!("file://{}/one", place.path().display()), "get", "a"]), "1\n");
    let named = place.command(&["get", "a"]).env("HALITE_STORE", "one").output().unwrap();
    assert_eq!(named.stdout, b"1\n");
    assert_eq!(place.ok(&["--store", "mem:", "list"]), "");
    assert!(!place.store().exists());
}

#[test]
fn help_and_version() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for part in ["put", "shell", "--store", "HALITE_STORE", "./halite-data", "Exit codes:", "5  in use"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(place.ok(&["help", "load"]).contains("key_base64"));
    assert_eq!(place.ok(&["--version"]), format!("halite {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bench_measures_on_a_store_of_its_own() {
    let place = Place::new();
    let table = place.ok(&["bench", "--n", "300", "--puts", "5", "--writers", "2"]);
    for phase in
        ["load, then flush", "get, any key", "get, again", "get, absent key", "scan of 100", "put, synced", "2 writers"]
    {
        assert!(table.contains(phase), "{phase}: {table}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    place.ok(&["--store", "kept", "bench", "--n", "10", "--puts", "1", "--writers", "1"]);
    let refusal = place.fails(2, &["--store", "kept", "bench", "--n", "10"]);
    assert!(refusal.contains("not empty"), "{refusal}");
}

#[test]
fn changes_come_in_their_order_as_far_back_as_they_are_kept() {
    let place = Place::new();
    place.ok(&["put", "user:1", "Ada", "--keep-changes", "1MiB"]);
    place.ok(&["put", "b", "two words", "--ttl", "1h", "--keep-changes", "1MiB"]);
    place.ok(&["delete", "user:1", "--keep-changes", "1MiB"]);
    let all = "1 put user:1 Ada\n2 put b \"two words\"\n3 delete user:1\n";
    assert_eq!(place.ok(&["changes", "--keep-changes", "1MiB"]), all);
    place.ok(&["compact", "--keep-changes", "1MiB"]);
    assert_eq!(place.ok(&["changes", "--keep-changes", "1MiB"]), all);
    assert_eq!(place.ok(&["changes", "user:", "--from", "2", "--keep-changes", "1MiB"]), "3 delete user:1\n");
    let json = place.ok(&["changes", "--format", "json", "--limit", "2", "--from", "2", "--keep-changes", "1MiB"]);
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["seq"], &lines[0]["changes"][0]["value"]), (&json!(2), &json!("two words")));
    assert!(lines[0]["changes"][0]["expires_at"].is_u64());
    assert_eq!(lines[1], json!({ "seq": 3, "changes": [{ "key": "user:1", "deleted": true }] }));
    place.ok(&["compact"]);
    place.ok(&["put", "c", "3"]);
    assert_eq!(place.ok(&["changes"]), "4 put c 3\n");
    let gone = place.fails(1, &["changes", "--from", "1"]);
    assert!(gone.contains("from seq 4 on they are"), "{gone}");
    place.fails(2, &["changes", "--from", "9"]);
}

#[test]
fn changes_tell_of_deleted_ranges() {
    let place = Place::new();
    let script = "put a 1\nput b 2\nput c 3\ndelete-range --from b --to c\ndelete-range --from \"c d\"\n";
    assert_eq!(place.feed(&["shell", "--keep-changes", "1MiB"], script.as_bytes()).out, "OK\n".repeat(5));
    let puts = "1 put a 1\n2 put b 2\n3 put c 3\n";
    let ranges = "4 delete-range --from b --to c\n5 delete-range --from \"c d\"\n";
    assert_eq!(place.ok(&["changes", "--keep-changes", "1MiB"]), format!("{puts}{ranges}"));
    // Of a prefix, as far as they concern it.
    assert_eq!(place.ok(&["changes", "b", "--keep-changes", "1MiB"]), "2 put b 2\n4 delete-range --from b --to c\n");
    assert_eq!(
        place.ok(&["changes", "c", "--keep-changes", "1MiB"]),
        "3 put c 3\n5 delete-range --from \"c d\" --to d\n"
    );
    let found = place.json(&["changes", "--from", "4", "--keep-changes", "1MiB"]);
    let range = |seq: u64, from: &str, to: serde_json::Value| json!({ "seq": seq, "changes": [{ "key": from, "deleted": true, "from": { "key": from }, "to": to }] });
    assert_eq!(found, [range(4, "b", json!({ "key": "c" })), range(5, "c d", json!(null))]);
}
