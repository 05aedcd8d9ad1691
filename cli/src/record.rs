//! A record as a line of JSON: what `dump` writes, `load` reads, and `get`, `list` and `scan` write with `--format json`.
//!
//! `{"key": "…", "value": "…"}`. Bytes that are not UTF-8 stand as `key_base64` or `value_base64` (standard alphabet,
//! padded) instead. `expires_at`, in milliseconds since the Unix epoch, is there where the record has an end.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use halite::Entry;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Reads base64 with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The line as it stands in a file. Unknown fields are refused: a misspelt `expires_at` must not make a record immortal.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) expires_at: Option<u64>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Record<'a> {
        let mut record = Record::of_key(&entry.key);
        record.set(&entry.value, entry.expires_at);
        record
    }

    /// Gives it a value, and an end.
    pub(crate) fn set(&mut self, value: &'a [u8], expires_at: Option<u64>) {
        match std::str::from_utf8(value) {
            Ok(text) => self.value = Some(text.into()),
            Err(_) => self.value_base64 = Some(STANDARD.encode(value)),
        }
        self.expires_at = expires_at;
    }

    /// A key alone.
    pub(crate) fn of_key(key: &'a [u8]) -> Record<'a> {
        match std::str::from_utf8(key) {
            Ok(text) => Record { key: Some(text.into()), ..Record::default() },
            Err(_) => Record { key_base64: Some(STANDARD.encode(key)), ..Record::default() },
        }
    }

    /// Reads a line, or says what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Parsed, String> {
        let record: Record<'_> = serde_json::from_slice(line).map_err(|cause| {
            // Of the place in the input only the column is of use: it is always the first line.
            let cause = cause.to_string();
            cause.replace(" at line 1 column ", " at column ")
        })?;
        let key = one_of("key", record.key, record.key_base64)?;
        let value = one_of("value", record.value, record.value_base64)?;
        Ok(Parsed { key, value, expires_at: record.expires_at })
    }
}

fn one_of(name: &str, text: Option<Cow<'_, str>>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(base64)) => LENIENT.decode(base64).map_err(|cause| format!("{name}_base64 is not base64: {cause}")),
        (None, None) => Err(format!("neither \"{name}\" nor \"{name}_base64\"")),
        (Some(_), Some(_)) => Err(format!("both \"{name}\" and \"{name}_base64\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, key: &[u8], value: &[u8], expires_at: Option<u64>) {
        assert_eq!(Record::parse(line.as_bytes()), Ok(Parsed { key: key.into(), value: value.into(), expires_at }));
    }

    #[test]
    fn lines_are_read() {
        check(r#"{"key": "a", "value": "1"}"#, b"a", b"1", None);
        check(r#" {"value":"\n\u00e9","key":""} "#, b"", "\né".as_bytes(), None);
        check(r#"{"key_base64": "/w==", "value_base64": "AAE"}"#, b"\xff", b"\x00\x01", None);
        check(r#"{"key": "a", "value": "", "expires_at": 1700000000000}"#, b"a", b"", Some(1_700_000_000_000));
    }

    #[test]
    fn bad_lines_say_why() {
        for (line, why) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("word", "expected"),
            ("[]", "invalid"),
            (r#"{"key": "a"}"#, "neither \"value\""),
            (r#"{"value": "a"}"#, "neither \"key\""),
            (r#"{"key": "a", "key_base64": "YQ==", "value": ""}"#, "both \"key\""),
            (r#"{"key": 1, "value": ""}"#, "invalid type"),
            (r#"{"key": "a", "value": "", "expire_at": 1}"#, "unknown field"),
            (r#"{"key": "a", "value": "", "expires_at": -1}"#, "invalid value"),
            (r#"{"key": "a", "key": "b", "value": ""}"#, "duplicate"),
            (r#"{"key": "a", "value_base64": "!"}"#, "not base64"),
            (r#"{"key": "a", "value": "\ud800"}"#, "escape"),
            (r#"{"key": "a", "value": "1"} x"#, "trailing"),
        ] {
            let wrong = Record::parse(line.as_bytes()).expect_err(line);
            assert!(wrong.contains(why) && !wrong.contains("line 1"), "{line}: {wrong}");
        }
        assert!(Record::parse(b"{\"key\": \"\xff\", \"value\": \"\"}").is_err());
    }
}
