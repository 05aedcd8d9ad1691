//! `inspect`: single files, whole, damaged, and while they are written.

use super::{Place, with_records};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};

/// The name of the only segment of a store.
fn segment(place: &Place) -> String {
    let manifest = &place.json(&["inspect", "manifest"])[0];
    manifest["runs"][0][0]["file"].as_str().unwrap().to_owned()
}

/// Damages the byte at `offset` of a file.
fn flip(place: &Place, file: &str, offset: usize) {
    let path = place.store().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn what_is_whole_is_told() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let manifest = &place.json(&["inspect", "manifest"])[0];
    assert_eq!((&manifest["purpose"], &manifest["damage"]), (&json!("database"), &json!([])));
    assert_eq!(manifest["log"]["state"], "closed cleanly");
    let number = manifest["number"].to_string();
    assert_eq!(&place.json(&["inspect", "manifest", &number])[0], manifest);
    let text = place.ok(&["inspect", "manifest"]);
    assert!(text.contains(&format!("number: {number}\n")) && text.contains("\n      min_key: a\n"), "{text}");

    let name = segment(&place);
    let found = &place.json(&["inspect", "segment", &name])[0];
    assert_eq!((&found["sealed"], &found["records_verified"]), (&json!(true), &json!(2)));
    assert_eq!(found["parts"]["filter"]["whole"], true);
    assert_eq!(found["length"], found["in_manifest"]["len"]);

    // From the first frame on each tells where the next one is.
    let (mut at, mut records) = (128, Vec::new());
    while at < found["parts"]["index"]["offset"].as_u64().unwrap() {
        let frame = place.json(&["inspect", "record", &format!("{name}@{at}")]).remove(0);
        at = frame["next"].as_u64().unwrap();
        if frame["kind"] == "put" {
            records.push(format!("{} {}", frame["key"].as_str().unwrap(), frame["value"].as_str().unwrap()));
        }
    }
    assert_eq!(records, ["a 1", "b 2"]);
    let hex = place.ok(&["inspect", "record", &format!("{name}@0x80")]);
    assert!(hex.contains("kind: mark\n"), "{hex}");
}

#[test]
fn what_is_damaged_is_told_with_its_place() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let name = segment(&place);
    let at = 150;
    flip(&place, &name, at);
    let outcome = place.run(&["--format", "json", "inspect", "segment", &name]);
    let found: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(found["damage"][0]["offset"].as_u64().unwrap() <= at as u64, "{found}");
    let outcome = place.run(&["inspect", "record", &format!("{name}@149")]);
    assert!(outcome.code == Some(3) && outcome.out.contains("damage at 149: "), "{outcome:?}");
    // Header and footer.
    for at in [40, std::fs::metadata(place.store().join(&name)).unwrap().len() as usize - 10] {
        flip(&place, &name, at);
        let outcome = place.run(&["inspect", "segment", &name]);
        assert!(outcome.code == Some(3) && outcome.out.contains("damage at "), "{outcome:?}");
    }
    let newest = place.json(&["inspect", "manifest"])[0]["file"].as_str().unwrap().to_owned();
    flip(&place, &newest, 100);
    let outcome = place.run(&["inspect", "manifest"]);
    assert!(outcome.code == Some(3) && outcome.out.contains("checksum"), "{outcome:?}");
}

#[test]
fn beside_a_writer_it_tells_what_is_there() {
    let place = Place::new();
    let mut shell = place.spawn(&["shell"]);
    let (mut input, mut answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
    let mut ask = |line: &str| {
        writeln!(input, "{line}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask("put a 1"), "OK\n");
    assert_eq!(ask("put b 2"), "OK\n");
    let log = std::fs::read_dir(place.store().join("segments")).unwrap().next().unwrap().unwrap();
    let name = log.file_name().into_string().unwrap();
    let found = &place.json(&["inspect", "segment", &name])[0];
    assert_eq!((&found["sealed"], &found["log"]["records"]), (&json!(false), &json!(2)));
    assert_eq!(place.json(&["inspect", "manifest"])[0]["log"]["state"], "open");
    assert_eq!(ask("put c 3"), "OK\n");
    assert_eq!(place.json(&["inspect", "segment", &name])[0]["log"]["records"], 3);
    drop(input);
    assert!(shell.wait().unwrap().success());
}

#[test]
fn what_is_not_there_is_an_error() {
    let place = Place::new();
    let said = place.fails(4, &["inspect", "manifest"]);
    assert!(said.contains("./halite-data"), "{said}");
    let place = with_records(&[("a", "1")]);
    place.fails(4, &["inspect", "manifest", "99"]);
    place.fails(2, &["inspect", "segment", "manifest/0000000000000001"]);
    place.fails(4, &["inspect", "segment", "0000000000000009-0000000000000009-0000000000000009"]);
    for wrong in ["", "x", "x@", "x@y", "@1"] {
        place.fails(2, &["inspect", "record", wrong]);
    }
    let name = segment(&place);
    assert!(place.fails(2, &["inspect", "record", &format!("{name}@999999999")]).contains("behind the end"));
}
