//! The command `changes`: what was committed, in its order.

use super::records::bytes;
use crate::failure::{Exit, Result};
use crate::output::Out;
use crate::record::Record;
use crate::text::word;
use futures::StreamExt;
use halite::{Change, Commit, Db, KeyRange};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::ops::Bound;

/// Writes the commits from `from` on, or the first that is still kept, up to now.
pub(super) async fn changes(
    db: &Db,
    prefix: Option<&OsStr>,
    from: Option<u64>,
    limit: Option<usize>,
    out: &mut Out,
) -> Result<Exit> {
    db.flush().await?;
    let stats = db.stats();
    let from = from.unwrap_or(stats.history_from);
    let watch = db.watch(prefix.map_or(&[][..], bytes), from).until(stats.visible_seq);
    let mut commits = watch.take(limit.unwrap_or(usize::MAX));
    let mut count = 0;
    while let Some(commit) = commits.next().await {
        show(&commit?, out)?;
        count += 1;
    }
    out.end_of_records(count)?;
    Ok(Exit::Done)
}

fn show(commit: &Commit, out: &mut Out) -> Result<()> {
    if out.is_json() {
        let changes: Vec<Value> = commit.changes.iter().map(document).collect();
        return out.json(&json!({ "seq": commit.seq, "changes": changes }));
    }
    for change in &commit.changes {
        let (seq, key) = (change.seq, word(&change.key));
        match (&change.value, &change.range) {
            (Some(value), _) => out.line(&format!("{seq} put {key} {}", word(value)))?,
            (None, None) => out.line(&format!("{seq} delete {key}"))?,
            (None, Some(range)) => {
                let to = end(range).map_or(String::new(), |to| format!(" --to {}", word(to)));
                out.line(&format!("{seq} delete-range --from {key}{to}"))?
            }
        }
    }
    Ok(())
}

/// Before which key a deleted range ends, if it does.
fn end(range: &KeyRange) -> Option<&[u8]> {
    match &range.end {
        Bound::Excluded(end) | Bound::Included(end) => Some(end),
        Bound::Unbounded => None,
    }
}

/// A change as a document: a record as `dump` writes it, or a key that is `deleted`; with it, of a range, all `from` there on
/// up to but without `to`, each a key as in a record.
fn document(change: &Change) -> Value {
    let mut record = Record::of_key(&change.key);
    if let Some(value) = &change.value {
        record.set(value, change.expires_at);
        return json!(record);
    }
    let mut document = json!(record);
    document["deleted"] = true.into();
    if let Some(range) = &change.range {
        document["from"] = json!(Record::of_key(&change.key));
        document["to"] = end(range).map_or(Value::Null, |to| json!(Record::of_key(to)));
    }
    document
}
