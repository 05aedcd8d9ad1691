//! The commands on records: put, get, delete, delete-range, exists, list, scan, clear.

use crate::args::{RangeArgs, ScanArgs};
use crate::failure::{Exit, Failure, Result, say};
use crate::output::Out;
use crate::record::Record;
use crate::text;
use futures::{Stream, StreamExt};
use halite::{Db, Entry, KeyRange, Scan, WriteBatch, WriteOptions};
use serde_json::json;
use std::ffi::OsStr;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::ops::Bound;
use std::time::Duration;

/// A value longer than this is refused by the engine; there is no need to read all of it first.
const VALUE_LEN_READ: u64 = (1 << 30) + 1;

/// The bytes of an argument: on Unix, just those that were given.
pub(super) fn bytes(arg: &OsStr) -> &[u8] {
    arg.as_encoded_bytes()
}

pub(super) async fn put(db: &Db, key: &OsStr, value: &OsStr, ttl: Option<Duration>, out: &mut Out) -> Result<Exit> {
    let options = WriteOptions { ttl, ..WriteOptions::default() };
    // In the shell, standard input is where commands come from.
    if value == "-" && !out.is_shell() {
        let mut value = Vec::new();
        let input = io::stdin().lock().take(VALUE_LEN_READ).read_to_end(&mut value);
        input.map_err(|cause| Failure::io("cannot read the value from standard input", cause))?;
        db.write_with(WriteBatch::new().put_bytes(bytes(key), value), options).await?;
    } else {
        db.put_with(bytes(key), bytes(value), options).await?;
    }
    out.done()?;
    Ok(Exit::Done)
}

pub(super) async fn get(db: &Db, key: &OsStr, raw: bool, out: &mut Out) -> Result<Exit> {
    show(bytes(key), db.get_entry(bytes(key)).await?, raw, out)
}

/// Writes what a key holds.
pub(super) fn show(key: &[u8], entry: Option<Entry>, raw: bool, out: &mut Out) -> Result<Exit> {
    if raw && out.is_shell() {
        return Err(Failure::usage("--raw is not for the shell: nobody could tell where the answer ends")
            .hint("leave it out, or use `halite get KEY --raw`"));
    }
    let Some(entry) = entry else {
        if out.is_json() {
            out.json(&absent(key))?;
        } else {
            said_not_found(key, out)?;
        }
        return Ok(Exit::NotFound);
    };
    match (out.is_json(), out.is_shell()) {
        (true, _) => out.json(&Record::of(&entry))?,
        (false, _) if raw => out.raw(&entry.value)?,
        (false, true) => out.line(&text::answer(&entry.value))?,
        (false, false) => {
            out.raw(&entry.value)?;
            out.raw(b"\n")?;
        }
    }
    Ok(Exit::Done)
}

/// Says that a key is absent, to a person.
pub(super) fn said_not_found(key: &[u8], out: &mut Out) -> Result<()> {
    if out.is_shell() {
        return out.line("(nil)");
    }
    // Nothing is what there is; whoever reads only the exit code need not read this.
    say(format_args!("halite: not found: {}", text::word(key)));
    Ok(())
}

/// An absent key as a document.
fn absent(key: &[u8]) -> serde_json::Value {
    let mut document = json!(Record::of_key(key));
    document["value"] = serde_json::Value::Null;
    document
}

pub(super) async fn delete(db: &Db, key: Option<&OsStr>, prefix: Option<&OsStr>, out: &mut Out) -> Result<Exit> {
    if let Some(prefix) = prefix {
        return delete_range(db, KeyRange::prefix(bytes(prefix)), out).await;
    }
    db.delete(key.map_or(&[][..], bytes)).await?;
    out.done()?;
    Ok(Exit::Done)
}

pub(super) async fn delete_range(db: &Db, range: KeyRange, out: &mut Out) -> Result<Exit> {
    db.delete_range(range).await?;
    out.done()?;
    Ok(Exit::Done)
}

/// The keys from one up to another, if these are given.
pub(super) fn between(from: Option<&OsStr>, to: Option<&OsStr>) -> KeyRange {
    (
        from.map_or(Bound::Unbounded, |from| Bound::Included(bytes(from))),
        to.map_or(Bound::Unbounded, |to| Bound::Excluded(bytes(to))),
    )
        .into()
}

pub(super) async fn exists(db: &Db, key: &OsStr, out: &mut Out) -> Result<Exit> {
    show_exists(bytes(key), db.contains(bytes(key)).await?, out)
}

/// Says whether a key is there.
pub(super) fn show_exists(key: &[u8], exists: bool, out: &mut Out) -> Result<Exit> {
    if out.is_json() {
        let mut document = json!(Record::of_key(key));
        document["exists"] = exists.into();
        out.json(&document)?;
    } else {
        out.line(if exists { "true" } else { "false" })?;
    }
    Ok(if exists { Exit::Done } else { Exit::NotFound })
}

pub(super) async fn list(
    db: &Db,
    prefix: Option<&OsStr>,
    limit: Option<usize>,
    keys: bool,
    out: &mut Out,
) -> Result<Exit> {
    records(db.prefix(prefix.map_or(&[][..], bytes)), limit, keys, out).await
}

pub(super) async fn scan(db: &Db, args: &ScanArgs, out: &mut Out) -> Result<Exit> {
    let scan = db.scan(range(&args.range));
    let scan = if args.rev { scan.rev() } else { scan };
    records(scan, args.limit, args.keys_only, out).await
}

/// The keys that meet all that was said.
pub(super) fn range(args: &RangeArgs) -> KeyRange {
    let [prefix, from] = [&args.prefix, &args.from].map(|key| key.as_deref().map_or(&[][..], bytes));
    let of_prefix = KeyRange::prefix(prefix);
    let end = match (&of_prefix.end, args.to.as_deref().map(bytes)) {
        (Bound::Excluded(end), Some(to)) => Bound::Excluded(to.min(end)),
        (_, Some(to)) => Bound::Excluded(to),
        (end, None) => end.as_ref().map(|end| &end[..]),
    };
    (Bound::Included(from.max(prefix)), end).into()
}

async fn records(mut scan: Scan, limit: Option<usize>, keys_only: bool, out: &mut Out) -> Result<Exit> {
    if let Some(limit) = limit {
        scan = scan.limit(limit);
    }
    if keys_only {
        scan = scan.keys_only();
    }
    show_all(scan, keys_only, out).await
}

/// Writes the records of a scan.
pub(super) async fn show_all(
    mut scan: impl Stream<Item = halite::Result<Entry>> + Unpin,
    keys_only: bool,
    out: &mut Out,
) -> Result<Exit> {
    let mut count = 0;
    while let Some(entry) = scan.next().await {
        out.record(&entry?, keys_only)?;
        count += 1;
    }
    out.end_of_records(count)?;
    Ok(Exit::Done)
}

pub(super) async fn clear(db: &Db, yes: bool, out: &mut Out) -> Result<Exit> {
    if !yes {
        let asked = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !asked {
            return Err(Failure::usage("clear deletes all records, and there is nobody to ask")
                .hint("say `clear --yes` if that is what you want"));
        }
        if !confirmed(&db.stats().location, &mut io::stdin().lock(), &mut io::stderr())? {
            let nothing = "nothing was deleted";
            if out.is_json() {
                out.json(&json!({ "ok": false }))?
            } else {
                out.line(nothing)?
            }
            return Ok(Exit::Done);
        }
    }
    db.clear().await?;
    out.done()?;
    Ok(Exit::Done)
}

/// Asks a person whether to go on.
fn confirmed(location: &str, input: &mut impl BufRead, output: &mut impl Write) -> Result<bool> {
    let asked = write!(output, "Delete all records of {location}? [y/N] ").and_then(|()| output.flush());
    asked.map_err(|cause| Failure::io("cannot ask", cause))?;
    let mut answer = String::new();
    input.read_line(&mut answer).map_err(|cause| Failure::io("cannot read the answer", cause))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in
            [("y\n", true), ("YES\r\n", true), ("\n", false), ("", false), ("yesno\n", false), ("n\n", false)]
        {
            let mut question = Vec::new();
            assert_eq!(confirmed("file:data", &mut answer.as_bytes(), &mut question).unwrap(), yes, "{answer:?}");
            assert_eq!(question, b"Delete all records of file:data? [y/N] ");
        }
    }
}
