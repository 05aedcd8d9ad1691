//! The command `inspect`: what single files of a store say.

use crate::args::InspectCommand;
use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use crate::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use halite::backends::open_uri;
use halite::inspect::{self, Fact, Inspection};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Keys and values are cut here for people.
const BYTES_SHOWN: usize = 1000;

/// Looks at a file of the store at `uri`, which is not opened.
pub(super) async fn run(uri: &str, what: &InspectCommand, out: &mut Out) -> Result<Exit> {
    let failed = |error: halite::Error| Failure::from(error).within(format!("cannot look into the store at {uri}"));
    let backend = open_uri(uri, false).map_err(|error| failed(error.into()))?;
    let found = match what {
        InspectCommand::Manifest { number } => inspect::manifest(backend, *number).await,
        InspectCommand::Segment { name } => inspect::segment(backend, name).await,
        InspectCommand::Record { place } => {
            let (name, offset) = split(place)?;
            inspect::record(backend, name, offset).await
        }
    };
    let found = found.map_err(failed)?;
    out.document(&document(&found), || told(&found))?;
    Ok(if found.damage.is_empty() { Exit::Done } else { Exit::Corruption })
}

/// Takes `NAME@OFFSET` apart.
fn split(place: &str) -> Result<(&str, u64)> {
    let offset = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    place
        .rsplit_once('@')
        .and_then(|(name, text)| Some((name, offset(text)?)))
        .ok_or_else(|| Failure::usage(format!("{place:?} is not NAME@OFFSET, the offset a number of bytes")))
}

fn document(found: &Inspection) -> Value {
    let mut document = json!({ "file": found.file, "length": found.len });
    for (name, fact) in &found.facts {
        document[*name] = value(fact);
    }
    let damage = found.damage.iter().map(|damage| json!({ "offset": damage.offset, "what": damage.what }));
    document["damage"] = damage.collect();
    document
}

fn value(fact: &Fact) -> Value {
    match fact {
        Fact::Flag(flag) => (*flag).into(),
        Fact::Number(number) => (*number).into(),
        Fact::Text(text) => text.as_str().into(),
        Fact::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        },
        Fact::List(facts) => facts.iter().map(value).collect(),
        Fact::Group(facts) => {
            Value::Object(facts.iter().map(|(name, fact)| ((*name).to_owned(), value(fact))).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

fn told(found: &Inspection) -> String {
    let mut text = format!("file: {}\nlength: {}\n", found.file, found.len);
    found.facts.iter().for_each(|(name, fact)| tell(name, fact, 0, &mut text));
    for damage in &found.damage {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "damage at {}: {}", damage.offset, damage.what);
    }
    text
}

/// A line for each fact, what belongs to it indented below.
fn tell(name: &str, fact: &Fact, depth: usize, text: &mut String) {
    let margin = "  ".repeat(depth);
    let line = match fact {
        Fact::Flag(flag) => flag.to_string(),
        Fact::Number(number) => number.to_string(),
        Fact::Text(word) => word.clone(),
        Fact::Bytes(bytes) if bytes.len() > BYTES_SHOWN => {
            format!("{} … ({})", text::word(&bytes[..BYTES_SHOWN]), text::bytes(bytes.len() as u64))
        }
        Fact::Bytes(bytes) => text::word(bytes),
        Fact::List(facts) if facts.is_empty() => "none".to_owned(),
        Fact::List(facts) => {
            let _ = writeln!(text, "{margin}{name}: {}", facts.len());
            facts.iter().enumerate().for_each(|(index, fact)| tell(&index.to_string(), fact, depth + 1, text));
            return;
        }
        Fact::Group(facts) => {
            let _ = writeln!(text, "{margin}{name}:");
            facts.iter().for_each(|(name, fact)| tell(name, fact, depth + 1, text));
            return;
        }
        _ => "none".to_owned(),
    };
    let _ = writeln!(text, "{margin}{name}: {line}");
}
