//! Files that are whole, files that are damaged at any byte, and files that are being written.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Db, Durability, ErrorKind, Options, WriteBatch, WriteOptions, publish};
use futures::TryStreamExt;
use halite_backends::{Backend, Memory};
use std::sync::Arc;
use std::time::Duration;

fn shared(memory: &Memory) -> Arc<dyn Backend> {
    Arc::new(memory.clone())
}

async fn open(memory: &Memory) -> Db {
    let options = Options { merge_in_background: false, ..Options::default() };
    Db::builder(shared(memory)).options(options).open().await.unwrap()
}

/// Some of everything: puts, one that expires, a delete, a range delete, a batch.
async fn write(db: &Db) {
    let hour = WriteOptions { ttl: Some(Duration::from_secs(3600)), ..WriteOptions::default() };
    db.put("apple", "green").await.unwrap();
    db.put_with("pear", "soft", hour).await.unwrap();
    db.write(WriteBatch::new().delete("pear").put("plum", [0xff, 0]).put("quince", "hard")).await.unwrap();
    db.delete_range("q".."r").await.unwrap();
}

async fn files(memory: &Memory, folder: &str) -> Vec<String> {
    let backend = shared(memory);
    let mut files: Vec<String> = backend.list(folder).map_ok(|meta| meta.path.to_string()).try_collect().await.unwrap();
    files.sort();
    files
}

fn group<'a>(found: &'a Inspection, name: &str) -> &'a [(&'static str, Fact)] {
    match found.get(name) {
        Some(Fact::Group(facts)) => facts,
        other => panic!("{name} is {other:?}"),
    }
}

fn number(facts: &[(&'static str, Fact)], name: &str) -> u64 {
    match facts.iter().find(|(found, _)| *found == name) {
        Some((_, Fact::Number(number))) => *number,
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn a_closed_store_tells_everything() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(&memory).await;
        write(&db).await;
        db.checkpoint("monday").await.unwrap();
        db.close().await.unwrap();
        let newest = manifest(shared(&memory), None).await.unwrap();
        assert_eq!(newest.damage, []);
        assert_eq!(newest.get("purpose"), Some(&Fact::Text("database".to_owned())));
        let Some(Fact::List(runs)) = newest.get("runs") else { panic!("{newest:?}") };
        let Some(Fact::List(checkpoints)) = newest.get("checkpoints") else { panic!("{newest:?}") };
        assert_eq!((runs.len(), checkpoints.len()), (1, 1));
        let Fact::Group(monday) = &checkpoints[0] else { panic!("{checkpoints:?}") };
        let then = manifest(shared(&memory), Some(number(monday, "manifest"))).await.unwrap();
        assert_eq!(then.get("number"), Some(&Fact::Number(number(monday, "manifest"))));
        let Fact::List(segments) = &runs[0] else { panic!("{runs:?}") };
        let Fact::Group(meta) = &segments[0] else { panic!("{segments:?}") };
        let (_, Fact::Text(file)) = &meta[0] else { panic!("{meta:?}") };
        // By its whole name, and by the last part.
        let found = segment(shared(&memory), file).await.unwrap();
        assert_eq!(segment(shared(&memory), file.rsplit('/').next().unwrap()).await.unwrap(), found);
        assert_eq!((found.damage.len(), found.get("sealed")), (0, Some(&Fact::Flag(true))));
        assert_eq!(found.len, number(group(&found, "in_manifest"), "len"));
        let parts = group(&found, "parts");
        assert_eq!(parts.len(), 6);
        for (name, part) in &parts[1..5] {
            let Fact::Group(part) = part else { panic!("{part:?}") };
            assert_eq!(part.last(), Some(&("whole", Fact::Flag(true))), "{name}");
        }
    }
}

#[tokio::test]
async fn records_are_told_one_by_one() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(&memory).await;
        write(&db).await;
        // Not closed: the log is where it is written.
        let folder = if memory.capabilities().append { "segments" } else { "log" };
        let (mut told, mut keys) = (Vec::new(), Vec::new());
        for file in files(&memory, folder).await {
            let mut at = if folder == "log" { 160 } else { 128 };
            loop {
                let found = match record(shared(&memory), &file, at).await {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                        break;
                    }
                    Ok(found) if !found.damage.is_empty() => break,
                    Ok(found) => found,
                };
                let Some(Fact::Text(kind)) = found.get("kind") else { panic!("{found:?}") };
                if kind != "mark" {
                    told.push(kind.clone());
                    keys.extend(found.get("key").or(found.get("from")).cloned());
                }
                if kind == "put" && keys.len() == 4 {
                    assert_eq!(found.get("value"), Some(&Fact::Bytes(vec![0xff, 0].into())));
                }
                at = number(&found.facts, "next");
            }
        }
        assert_eq!(told, ["put", "put", "tombstone", "put", "put", "range tombstone"]);
        let expected = ["apple", "pear", "pear", "plum", "quince", "q"];
        assert_eq!(keys, expected.map(|key| Fact::Bytes(key.into())));
        db.close().await.unwrap();
    }
}

/// A log that is being written has no damage, whenever one looks.
#[tokio::test]
async fn a_store_at_work_can_be_looked_at() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(&memory).await;
        let folder = if memory.capabilities().append { "segments" } else { "log" };
        let mut records = 0;
        for round in 0..20 {
            let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
            db.put_with(format!("key {round}"), vec![round; 500], deferred).await.unwrap();
            if round % 7 == 6 {
                db.flush().await.unwrap();
                db.core().log.rotate().unwrap();
            }
            for file in files(&memory, folder).await {
                let found = segment(shared(&memory), &file).await.unwrap();
                assert_eq!(found.damage, [], "{file}");
                if let Some(Fact::Group(log)) = found.get("log") {
                    records = number(log, "records").max(records);
                }
            }
            assert_eq!(manifest(shared(&memory), None).await.unwrap().damage, []);
        }
        assert!(records >= 5, "{records}");
        db.close().await.unwrap();
    }
}

/// Of a file with a flipped bit, or cut off, everything can be asked: it is told what is wrong, and nothing panics.
#[tokio::test]
async fn damage_is_told_and_never_a_panic() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(&memory).await;
        write(&db).await;
        db.close().await.unwrap();
        let db = open(&memory).await;
        write(&db).await;
        let all = files(&memory, "").await;
        for file in &all {
            let path = Path::new(file.clone()).unwrap();
            let whole = publish::read_all(&memory, &path).await.unwrap();
            let step = (whole.len() / 150).max(1);
            for at in (0..whole.len()).step_by(step) {
                let mut flipped = whole.to_vec();
                flipped[at] ^= 0x10;
                check_damaged(&memory, file, &path, flipped, at).await;
                check_damaged(&memory, file, &path, whole[..at].to_vec(), at).await;
            }
            memory.delete(&path).await.unwrap();
            memory.create(&path, whole).await.unwrap();
        }
        drop(db);
    }
}

async fn check_damaged(memory: &Memory, file: &str, path: &Path, bytes: Vec<u8>, at: usize) {
    memory.delete(path).await.unwrap();
    memory.create(path, bytes.clone().into()).await.unwrap();
    // A version of the format, or a feature, that this code does not know is no damage.
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::NotAStore, "{file} at {at}: {error:?}");
    if file.starts_with("manifest") {
        match manifest(shared(memory), u64::from_str_radix(file.rsplit('/').next().unwrap(), 16).ok()).await {
            Ok(found) => assert!(!found.damage.is_empty(), "{file} at {at}"),
            Err(error) => refused(error),
        }
        return;
    }
    let Ok(found) = segment(shared(memory), file).await.map_err(refused) else { return };
    // Of what is not sealed yet nobody knows how long it should be: what is missing at its end may not have been written.
    let is_told =
        !found.damage.is_empty() || found.get("log").is_some() || found.get("sealed") == Some(&Fact::Flag(false));
    assert!(is_told, "{file} at {at}: {found:?}");
    for offset in [0, 128, 149, 160, 181, at as u64] {
        match record(shared(memory), file, offset).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidInput => assert!(offset >= bytes.len() as u64),
            Err(error) => refused(error),
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let memory = Memory::new();
    let kind = async |found: Result<Inspection>| found.unwrap_err().kind();
    assert_eq!(kind(manifest(shared(&memory), None).await).await, ErrorKind::NotFound);
    let db = open(&memory).await;
    assert_eq!(kind(manifest(shared(&memory), Some(99)).await).await, ErrorKind::NotFound);
    for name in ["", "LOCK", "manifest/0000000000000001", "segments/1", "../etc/passwd"] {
        assert_eq!(kind(segment(shared(&memory), name).await).await, ErrorKind::InvalidInput, "{name}");
        assert_eq!(kind(record(shared(&memory), name, 128).await).await, ErrorKind::InvalidInput, "{name}");
    }
    let absent = "0000000000000001-0000000000000001-0000000000000001";
    assert_eq!(kind(segment(shared(&memory), absent).await).await, ErrorKind::NotFound);
    assert_eq!(kind(record(shared(&memory), absent, 128).await).await, ErrorKind::NotFound);
    let file = files(&memory, "segments").await.pop();
    if let Some(file) = file {
        assert_eq!(kind(record(shared(&memory), &file, u64::MAX).await).await, ErrorKind::InvalidInput);
    }
    db.close().await.unwrap();
}
