//! The command `tree`: memtables, runs and segments with their indexes, as a tree with counts and bytes.

use crate::failure::{Exit, Result};
use crate::output::Out;
use crate::text::{self, bytes, count, counted};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use halite::{MemtableNode, RunNode, SegmentNode, Tree};
use serde_json::{Value, json};
use std::fmt::Write;

/// Keys are cut here: they say where a segment lies, not what is in it.
const KEY_SHOWN: usize = 40;

pub(super) fn tree(location: &str, tree: &Tree, out: &mut Out) -> Result<Exit> {
    out.document(&document(location, tree), || drawing(location, tree))?;
    Ok(Exit::Done)
}

/// A line of the drawing and what hangs below it.
#[derive(Debug)]
struct Node {
    text: String,
    children: Vec<Node>,
}

fn leaf(text: String) -> Node {
    Node { text, children: Vec::new() }
}

fn drawing(location: &str, tree: &Tree) -> String {
    let segments = || tree.runs.iter().flat_map(|run| &run.segments);
    let records = segments().map(|segment| segment.records).sum::<u64>();
    let in_memory = tree.memtables.iter().map(|memtable| memtable.records).sum::<u64>();
    let text = format!(
        "{location}: {}, {}, {}",
        counted(segments().count() as u64, "segment"),
        counted(records + in_memory, "record"),
        bytes(segments().map(|segment| segment.bytes).sum()),
    );
    let mut children: Vec<Node> =
        tree.memtables.iter().enumerate().map(|(index, node)| memtable(index, node)).collect();
    children.extend(tree.runs.iter().map(run));
    let mut drawing = String::new();
    draw(&Node { text, children }, "", "", &mut drawing);
    drawing
}

fn memtable(index: usize, node: &MemtableNode) -> Node {
    let which = if index == 0 { "active" } else { "being sealed" };
    leaf(format!("memtable ({which}): {}, {} of memory", counted(node.records, "record"), bytes(node.bytes)))
}

fn run(run: &RunNode) -> Node {
    let (first, last) = run.seqs;
    let size = run.segments.iter().map(|segment| segment.bytes).sum();
    let text = format!(
        "run: sequence numbers {} to {}, {}, {}",
        count(first),
        count(last),
        counted(run.segments.len() as u64, "segment"),
        bytes(size)
    );
    Node { text, children: run.segments.iter().map(segment).collect() }
}

fn segment(segment: &SegmentNode) -> Node {
    let order = if segment.sorted { "in key order" } else { "in log order" };
    let mut records = counted(segment.records, "record");
    for (number, what) in [(segment.tombstones, "tombstone"), (segment.expiring, "expiring")] {
        if number > 0 {
            let number = if what == "tombstone" { counted(number, what) } else { format!("{} {what}", count(number)) };
            let _ = write!(records, ", {number}");
        }
    }
    let live = segment.record_bytes.saturating_sub(segment.dead_bytes);
    let (smallest, largest) = &segment.keys;
    let mut children = vec![
        leaf(format!("keys {} to {}", key(smallest), key(largest))),
        leaf(format!("records: {records}, {order}: {} live, {} dead", bytes(live), bytes(segment.dead_bytes))),
    ];
    let parts = segment.parts.iter().map(|(name, len)| match *name {
        "index" => leaf(format!("index: {}, {}", entries(segment.entries), bytes(*len))),
        name => leaf(format!("{name}: {}", bytes(*len))),
    });
    children.extend(parts);
    let resident = if segment.resident { ", resident" } else { "" };
    Node { text: format!("{}: {}{resident}", segment.file, bytes(segment.bytes)), children }
}

fn entries(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "entry" } else { "entries" })
}

fn key(key: &[u8]) -> String {
    if key.len() <= KEY_SHOWN {
        return text::word(key);
    }
    format!("{}… ({} bytes)", text::word(&key[..KEY_SHOWN]), count(key.len() as u64))
}

/// Draws `node` after `lead`, and all below it after `below`.
fn draw(node: &Node, lead: &str, below: &str, drawing: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(drawing, "{lead}{}", node.text);
    let last = node.children.len().saturating_sub(1);
    for (index, child) in node.children.iter().enumerate() {
        let (branch, trunk) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(child, &format!("{below}{branch}"), &format!("{below}{trunk}"), drawing);
    }
}

fn document(location: &str, tree: &Tree) -> Value {
    let memtables = tree.memtables.iter().map(|node| json!({ "records": node.records, "memory_bytes": node.bytes }));
    let runs = tree.runs.iter().map(|run| {
        let segments: Vec<Value> = run.segments.iter().map(segment_document).collect();
        json!({ "min_seq": run.seqs.0, "max_seq": run.seqs.1, "segments": segments })
    });
    json!({
        "location": location,
        "memtables": memtables.collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(),
    })
}

fn segment_document(segment: &SegmentNode) -> Value {
    let mut document = json!({
        "file": segment.file,
        "bytes": segment.bytes,
        "digest": segment.digest.to_string(),
        "sorted": segment.sorted,
        "resident": segment.resident,
        "min_seq": segment.seqs.0,
        "max_seq": segment.seqs.1,
        "records": segment.records,
        "index_entries": segment.entries,
        "tombstones": segment.tombstones,
        "expiring": segment.expiring,
        "record_bytes": segment.record_bytes,
        "dead_bytes": segment.dead_bytes,
        "parts": segment.parts.iter().map(|(name, len)| ((*name).to_owned(), Value::from(*len))).collect::<serde_json::Map<_, _>>(),
    });
    for (name, key) in [("min_key", &segment.keys.0), ("max_key", &segment.keys.1)] {
        match std::str::from_utf8(key) {
            Ok(text) => document[name] = text.into(),
            Err(_) => document[format!("{name}_base64")] = STANDARD.encode(key).into(),
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_drawn() {
        let inner = Node { text: "b".into(), children: vec![leaf("c".into()), leaf("d".into())] };
        let root = Node { text: "a".into(), children: vec![inner, leaf("e".into())] };
        let mut drawing = String::new();
        draw(&root, "", "", &mut drawing);
        assert_eq!(drawing, "a\n├─ b\n│  ├─ c\n│  └─ d\n└─ e\n");
    }

    #[test]
    fn long_keys_are_cut() {
        assert_eq!(key(b"short"), "short");
        assert_eq!(key(&[b'x'; 41]), format!("{}… (41 bytes)", "x".repeat(40)));
    }
}
