#![allow(clippy::unwrap_used)]
use super::*;

fn check_words(line: &str, expected: &[&[u8]]) {
    assert_eq!(words(line.as_bytes()).unwrap(), expected, "{line}");
}

#[test]
fn words_are_read_as_a_shell_reads_them() {
    check_words("", &[]);
    check_words("  put  a\t1 \r", &[b"put", b"a", b"1"]);
    check_words(r#"put "two words" 'and "three"'"#, &[b"put", b"two words", b"and \"three\""]);
    check_words(r#"a"b c"d'e f' \ g"#, &[b"ab cde f", b" g"]);
    check_words(r#""" ''"#, &[b"", b""]);
    check_words(r#""\n\r\t\0\\\"\x00\xfF""#, &[b"\n\r\t\0\\\"\x00\xff"]);
    check_words(r"\\ \'", &[b"\\", b"'"]);
    check_words("é", &["é".as_bytes()]);
}

#[test]
fn what_is_no_word_is_refused() {
    for line in ["\"", "'", "\\", "\"\\", "\"\\x1\"", "\"\\xg0\"", "\"\\q\"", "a \"b"] {
        assert!(words(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn words_are_bare_where_nothing_can_be_misread() {
    for (bytes, expected) in [
        (&b"user:1"[..], "user:1"),
        ("größe".as_bytes(), "größe"),
        (b"", r#""""#),
        (b"two words", r#""two words""#),
        (b"(nil)", r#""(nil)""#),
        (b"#1", r##""#1""##),
        (b"it's", r#""it's""#),
        (b"\n\t\x00\x7f\xff", r#""\n\t\x00\x7f\xff""#),
        (b"a\\b\"", r#""a\\b\"""#),
        ("\u{2028}".as_bytes(), r#""\xe2\x80\xa8""#),
    ] {
        assert_eq!(word(bytes), expected);
    }
}

#[test]
fn answers_keep_their_blanks() {
    for (bytes, expected) in [
        (&b"two words"[..], "two words"),
        (b"it's a \"word\"", "it's a \"word\""),
        (b"\"quoted\"", r#""\"quoted\"""#),
        (b" led", r#"" led""#),
        (b"(nil)", r#""(nil)""#),
        (b"a\nb", r#""a\nb""#),
        (b"", r#""""#),
    ] {
        assert_eq!(answer(bytes), expected);
    }
}

/// Every word written is read back as the same bytes, and is one line.
#[test]
fn words_survive_the_round_trip() {
    let mut state = 1_u64;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..state % 7)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Half of them from where trouble comes from.
                if state >> 63 == 0 {
                    b" \"'\\\n\x00#(\xe2\x80\xa8a"[(state >> 40) as usize % 12]
                } else {
                    (state >> 50) as u8
                }
            })
            .collect();
        let text = word(&bytes);
        assert!(text.lines().count() == 1, "{text:?}");
        assert_eq!(words(text.as_bytes()).unwrap(), [bytes], "{text:?}");
        state = state.wrapping_add(1);
    }
}

#[test]
fn numbers_are_short() {
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([0, 1023, 1024, 1536].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]);
    assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
    assert_eq!(bytes(u64::MAX), "16.0 EiB");
    assert_eq!(counted(1, "record"), "1 record");
    assert_eq!(counted(2000, "record"), "2,000 records");
}
