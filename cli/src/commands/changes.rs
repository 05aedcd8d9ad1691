//! The command `changes`: what was committed, in its order.

use super::records::bytes;
use crate::failure::{Exit, Result};
use crate::output::Out;
use crate::record::Record;
use crate::text::word;
use futures::StreamExt;
use halite::{Change, Commit, Db};
use serde_json::{Value, json};
use std::ffi::OsStr;

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
    for Change { seq, key, value, .. } in &commit.changes {
        let key = word(key);
        match value {
            Some(value) => out.line(&format!("{seq} put {key} {}", word(value)))?,
            None => out.line(&format!("{seq} delete {key}"))?,
        }
    }
    Ok(())
}

/// A change as a document: a record as `dump` writes it, or a key that is `deleted`.
fn document(change: &Change) -> Value {
    let mut record = Record::of_key(&change.key);
    if let Some(value) = &change.value {
        record.set(value, change.expires_at);
        return json!(record);
    }
    let mut document = json!(record);
    document["deleted"] = true.into();
    document
}
