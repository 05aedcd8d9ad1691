//! The shell, driven by a program: one answer a line, in order, when the command is done.

use super::{Place, documents, with_records};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};

/// Feeds lines to a shell and returns its answers.
fn shell(place: &Place, lines: &str) -> String {
    let outcome = place.feed(&["shell"], lines.as_bytes());
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
    outcome.out
}

#[test]
fn a_line_has_an_answer() {
    let place = Place::new();
    for (line, answer) in [
        ("get a", "(nil)"),
        ("put a 1", "OK"),
        ("get a", "1"),
        ("set a 'two words'", "OK"),
        ("get a", "two words"),
        ("exists a", "true"),
        ("del a", "OK"),
        ("exists a", "false"),
        ("put \"a key\" \"\\x00\\xff\\n\"", "OK"),
        ("get 'a key'", "\"\\x00\\xff\\n\""),
        ("put nil (nil)", "OK"),
        ("get nil", "\"(nil)\""),
        ("put empty \"\"", "OK"),
        ("get empty", "\"\""),
        ("put dash -", "OK"),
        ("get dash", "-"),
        ("ls a", "\"a key\" \"\\x00\\xff\\n\"\n(1 record)"),
        ("list --keys --limit 2", "\"a key\"\ndash\n(2 records)"),
        ("list none", "(0 records)"),
        ("scan --rev --keys-only --limit 2", "nil\nempty\n(2 records)"),
        ("scan --from dash --to nil", "dash -\nempty \"\"\n(2 records)"),
        ("flush", "OK"),
        ("clear --yes", "OK"),
        ("list", "(0 records)"),
    ] {
        assert_eq!(shell(&place, &format!("{line}\n")), format!("{answer}\n"), "{line}");
    }
}

#[test]
fn what_fails_is_answered_and_the_shell_goes_on() {
    let place = Place::new();
    let lines = "nonsense\nput a\nput a \"1\nput a 1 2\nlist --limit x\n\nput a 1 --ttl soon\nclear\nhelp nonsense\n# a remark\nput a 1\nget a";
    let answers = shell(&place, lines);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 10, "{answers:?}");
    assert!(answers[..8].iter().all(|answer| answer.starts_with("(error) ")), "{answers:?}");
    assert_eq!(answers[8..], ["OK", "1"]);
}

/// Raw bytes have no end that a program could see.
#[test]
fn answers_are_never_raw() {
    let place = Place::new();
    let answers = shell(&place, "put a \"1\\n2\"\nget a --raw\nget a\n");
    assert_eq!(answers, "OK\n(error) --raw is not for the shell: nobody could tell where the answer ends\n\"1\\n2\"\n");
}

#[test]
fn long_answers_have_an_end() {
    let place = with_records(&[("a", "1")]);
    for command in ["stats", "tree", "verify", "compact", "help", "help put"] {
        let answer = shell(&place, &format!("{command}\n"));
        let lines: Vec<&str> = answer.lines().collect();
        assert!(lines.len() > 1 && lines.last() == Some(&"(end)"), "{answer}");
        assert_eq!(lines.iter().filter(|line| line.starts_with('(')).count(), 1, "{answer}");
    }
}

#[test]
fn transactions_happen_at_their_commit() {
    let place = with_records(&[("a", "1"), ("b", "2")]);
    let lines = [
        ("commit", "(error) no transaction is open: `begin` one"),
        ("rollback", "(error) no transaction is open: `begin` one"),
        ("begin", "OK"),
        ("begin", "(error) a transaction is open: `commit` or `rollback` first"),
        ("get a", "1"),
        ("put a 3", "OK"),
        ("put c 4 --ttl 1h", "OK"),
        ("delete b", "OK"),
        ("get a", "3"),
        ("get b", "(nil)"),
        ("exists c", "true"),
        ("list --keys", "a\nc\n(2 records)"),
        ("list b --limit 1", "(0 records)"),
        ("scan --rev --to b --keys-only", "a\n(1 record)"),
        ("delete-range --from a", "OK"),
        ("list", "(0 records)"),
        ("incr n", "(error) this command cannot be part of a transaction: `commit` or `rollback` first"),
        ("clear --yes", "(error) this command cannot be part of a transaction: `commit` or `rollback` first"),
        ("rollback", "OK"),
        ("list", "a 1\nb 2\n(2 records)"),
        ("begin --snapshot", "OK"),
        ("put a 5", "OK"),
        ("commit", "OK"),
        ("get a", "5"),
        ("cas a 5 6", "true"),
        ("cas a 5 7", "false"),
        ("incr n 3", "3"),
        ("ttl n", "for ever"),
        ("ttl none", "(nil)"),
        ("begin", "OK"),
        ("put a 8", "OK"),
    ];
    let input: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
    let expected: String = lines.iter().map(|(_, answer)| format!("{answer}\n")).collect();
    assert_eq!(shell(&place, &input), expected);
    assert_eq!(place.ok(&["get", "a"]), "6\n", "at the end of the input it was given up");
}

#[test]
fn quit_ends_it() {
    let place = Place::new();
    assert_eq!(shell(&place, "put a 1\nquit\nput a 2\n"), "OK\n");
    assert_eq!(shell(&place, "get a\nexit\nget a\n"), "1\n");
}

/// Each answer is there before the next line is sent, and tells the truth: a store that is killed then has the write.
#[test]
fn a_program_can_wait_for_each_answer() {
    let place = Place::new();
    let mut child = place.spawn(&["shell"]);
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for n in 0..50 {
        writeln!(input, "put key{n} {n}").unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "OK\n");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.run(&["list", "--keys"]).out.lines().count(), 50);
}

#[test]
fn answers_may_be_json() {
    let place = Place::new();
    let lines = "put a 1\nget a\nget b\nexists a\nlist\nnonsense\nverify\n";
    let outcome = place.feed(&["--format", "json", "shell"], lines.as_bytes());
    let answers = documents(&outcome.out);
    assert_eq!(
        answers[..6],
        [
            json!({"ok": true}),
            json!({"key": "a", "value": "1"}),
            json!({"key": "b", "value": null}),
            json!({"key": "a", "exists": true}),
            json!({"key": "a", "value": "1"}),
            json!({"count": 1}),
        ]
    );
    assert_eq!(answers[6]["error"]["kind"], "usage");
    assert_eq!((&answers[7]["damage"], answers.len()), (&json!([]), 8));
}

#[test]
fn lines_may_be_any_bytes() {
    let place = Place::new();
    let outcome = place.feed(&["shell"], b"put \xff \xfe\nget \xff\n\x00\x01\n");
    assert!(outcome.out.starts_with("OK\n\"\\xfe\"\n(error) "), "{outcome:?}");
}
