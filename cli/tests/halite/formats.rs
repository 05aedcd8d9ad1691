//! `--format json`: what programs rely on.

use super::{Place, documents, with_records};
use serde_json::{Value, json};

#[test]
fn results_are_documents() {
    let place = Place::new();
    assert_eq!(place.json(&["put", "a", "1"]), [json!({"ok": true})]);
    assert_eq!(place.json(&["get", "a"]), [json!({"key": "a", "value": "1"})]);
    assert_eq!(place.json(&["exists", "a"]), [json!({"key": "a", "exists": true})]);
    place.ok(&["put", "b", "two\nlines", "--ttl", "1h"]);
    let [first, second] = &place.json(&["list"])[..] else { panic!("not two") };
    assert_eq!(first, &json!({"key": "a", "value": "1"}));
    assert_eq!((&second["value"], second["expires_at"].is_u64()), (&json!("two\nlines"), true));
    assert_eq!(place.json(&["list", "--keys"]), [json!({"key": "a"}), json!({"key": "b"})]);
    assert_eq!(place.json(&["delete", "a"]), [json!({"ok": true})]);
    assert_eq!(place.json(&["clear", "--yes"]), [json!({"ok": true})]);
}

#[test]
fn absence_is_a_document_and_an_exit_code() {
    let place = with_records(&[]);
    for (command, document) in
        [("get", json!({"key": "a", "value": null})), ("exists", json!({"key": "a", "exists": false}))]
    {
        let outcome = place.run(&["--format", "json", command, "a"]);
        assert_eq!((outcome.code, outcome.err.as_str(), documents(&outcome.out)), (Some(1), "", vec![document]));
    }
}

#[test]
fn bytes_that_are_no_text_are_base64() {
    let place = Place::new();
    let line = r#"{"key_base64":"/w==","value_base64":"AIA="}"#;
    assert_eq!(place.feed(&["load", "-"], line.as_bytes()).code, Some(0));
    let expected = json!({"key_base64": "/w==", "value_base64": "AIA="});
    assert_eq!(place.json(&["list"]), std::slice::from_ref(&expected));
    assert_eq!(place.json(&["dump"]), [expected]);
    let tree = &place.json(&["tree"])[0];
    assert_eq!(tree["runs"][0]["segments"][0]["min_key_base64"], "/w==");
}

#[test]
fn inspection_has_documents() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let stats = &place.json(&["stats"])[0];
    assert_eq!((&stats["segments"], &stats["records"], &stats["failure"]), (&json!(1), &json!(2), &Value::Null));
    let tree = &place.json(&["tree"])[0];
    let segment = &tree["runs"][0]["segments"][0];
    assert_eq!((&segment["records"], &segment["min_key"], &segment["max_key"]), (&json!(2), &json!("a"), &json!("b")));
    assert!(segment["parts"]["index"].as_u64().unwrap() > 0);
    let report = &place.json(&["verify"])[0];
    assert_eq!((&report["records"], &report["damage"]), (&json!(2), &json!([])));
    let gain = &place.json(&["compact"])[0];
    assert_eq!((&gain["segments_before"], &gain["records_after"]), (&json!(1), &json!(2)));
    let loaded = documents(&place.feed(&["--format", "json", "load", "--lines", "-"], b"x\ny\n").out);
    assert_eq!((&loaded[0]["loaded"], &loaded[0]["bytes"]), (&json!(2), &json!(4)));
    let bench = &place.json(&["--store", "mem:", "bench", "--n", "100", "--puts", "2", "--writers", "1"])[0];
    assert_eq!((&bench["n"], bench["phases"].as_array().unwrap().len()), (&json!(100), 8));
    assert!(bench["phases"][2]["p50_ns"].is_u64());
}

#[test]
fn errors_are_documents_on_standard_error() {
    let place = Place::new();
    for (code, kind, args) in [
        (4, "no_store", &["get", "a"][..]),
        (2, "invalid_input", &["--store", "foo:bar", "list"]),
        (2, "usage", &["list", "--limit", "x"]),
        (2, "usage", &["gett", "a"]),
        (2, "usage", &["clear", "--store", "mem:"]),
        (4, "io", &["load", "absent.jsonl"]),
    ] {
        let said = place.fails(code, &[&["--format", "json"], args].concat());
        let error = &documents(&said)[0]["error"];
        assert_eq!((&error["kind"], &error["exit_code"]), (&json!(kind), &json!(code)), "{said}");
        assert!(
            error["message"].as_str().is_some_and(|message| !message.is_empty() && !message.contains('\n')),
            "{said}"
        );
    }
}
