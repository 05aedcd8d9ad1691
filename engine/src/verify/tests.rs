//! What a verification by digests finds, and one by records does not: files that somebody has made to look right.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::backends::{Backend, Memory};
use crate::format::checksum;
use crate::format::header::Header;
use crate::format::names;
use crate::{Db, Options, ReadOnly};
use futures::TryStreamExt;

const DEEP: VerifyOptions = VerifyOptions { records: true, digests: true, bytes_per_second: None, anchor: None };

fn both() -> [Arc<Memory>; 2] {
    [Arc::new(Memory::new()), Arc::new(Memory::create_only())]
}

/// A store with two runs, of which the older is a checkpoint's and has been merged since.
async fn filled(backend: &Arc<Memory>) -> (Db, Anchor) {
    let options = Options { merge_in_background: false, ..Options::default() };
    let db = Db::builder(backend.clone()).options(options).open().await.unwrap();
    for number in 0..200 {
        db.put(format!("key {number}"), format!("value {number}")).await.unwrap();
    }
    let anchor = db.checkpoint("then").await.unwrap().anchor;
    for number in 100..150 {
        db.put(format!("key {number}"), "new").await.unwrap();
    }
    db.compact().await.unwrap();
    (db, anchor)
}

async fn deep(backend: &Arc<Memory>, anchor: Option<Anchor>) -> Result<VerifyReport> {
    let reader = Db::builder(backend.clone()).open_read_only().await?;
    by(&reader, VerifyOptions { anchor, ..DEEP }).await
}

async fn by(reader: &ReadOnly, options: VerifyOptions) -> Result<VerifyReport> {
    reader.verify_with(options, |_| {}).await
}

async fn files(backend: &Memory, folder: &str) -> Vec<(Path, Bytes)> {
    let listed: Vec<_> = backend.list(folder).try_collect().await.unwrap();
    let mut files = Vec::new();
    for meta in listed {
        files.push((meta.path.clone(), publish::read_all(backend, &meta.path).await.unwrap()));
    }
    files.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    files
}

async fn replace(backend: &Memory, path: &Path, bytes: impl Into<Bytes>) {
    backend.delete(path).await.unwrap();
    backend.create(path, bytes.into()).await.unwrap();
}

/// The segment with another byte in its first record's value, and the checksum that belongs to it.
fn forged(segment: &Bytes) -> Vec<u8> {
    let stream = Header::decode(segment).unwrap().stream();
    let mut bytes = segment.to_vec();
    let at = bytes.windows(6).position(|part| part == b"value ").unwrap();
    bytes[at] = b'V';
    // Back to where its record begins: there the checksum was right.
    let starts = |at: &usize| {
        let crc = u32::from_le_bytes(segment[*at..at + 4].try_into().unwrap());
        (at + 4..segment.len().min(at + 200))
            .find(|&end| checksum::crc(stream.salt, *at as u64, &segment[at + 4..end]) == crc)
    };
    let (start, end) = (128..at).rev().find_map(|start| Some((start, starts(&start)?))).unwrap();
    let crc = checksum::crc(stream.salt, start as u64, &bytes[start + 4..end]);
    bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[tokio::test]
async fn all_that_is_kept_has_the_digests_that_are_named() {
    for backend in both() {
        let (db, anchor) = filled(&backend).await;
        let mut told = Vec::new();
        let options = VerifyOptions { anchor: Some(anchor), ..DEEP };
        let report = db.verify_with(options, |at| told.push(at)).await.unwrap();
        assert_eq!(report.damage, []);
        // Those of the database, and the one that only the checkpoint names; the newest manifest and the checkpoint's.
        let segments = db.stats().segments + 1;
        assert_eq!((report.segments, report.digests, report.manifests), (segments, segments, 2));
        let last = told.last().unwrap();
        assert_eq!((last.bytes, last.segments), (last.bytes_total, last.segments_total));
        db.close().await.unwrap();

        let read_only = deep(&backend, Some(anchor)).await.unwrap();
        assert_eq!((read_only.damage.len(), read_only.digests), (0, report.digests));
        let noted = read_only.newest.unwrap();
        assert_eq!(noted.to_string().parse::<Anchor>().unwrap(), noted);
        assert_eq!(deep(&backend, Some(noted)).await.unwrap().damage, []);
    }
}

#[tokio::test]
async fn a_segment_that_was_made_to_look_right_is_found() {
    for backend in both() {
        let (db, _) = filled(&backend).await;
        db.close().await.unwrap();
        for (path, bytes) in files(&backend, names::SEGMENTS).await {
            replace(&backend, &path, forged(&bytes)).await;
            let reader = Db::builder(backend.clone()).open_read_only().await.unwrap();
            let report = by(&reader, VerifyOptions::default()).await.unwrap();
            assert_eq!(report.damage, [], "checksums are right");
            let report = by(&reader, DEEP).await.unwrap();
            assert_eq!(report.damage.len(), 1, "{report:?}");
            assert_eq!(report.damage[0].file, path.as_str());
            assert!(report.damage[0].what.starts_with("digest expected="), "{report:?}");
            // It does not get into a copy, nor leave a trace there.
            let target = Arc::new(Memory::create_only());
            let copied = reader.backup(target.clone(), "forged").await;
            if reader.tree().await.unwrap().runs.iter().any(|run| run.segments[0].file == path.as_str()) {
                assert_eq!(copied.unwrap_err().kind(), ErrorKind::Corruption);
                assert_eq!(files(&target, names::SEGMENTS).await.len(), 0);
            }
            replace(&backend, &path, bytes).await;
        }
        assert_eq!(deep(&backend, None).await.unwrap().damage, []);
    }
}

#[tokio::test]
async fn manifests_prove_each_other() {
    for backend in both() {
        let (db, anchor) = filled(&backend).await;
        db.close().await.unwrap();
        let kept = files(&backend, names::MANIFESTS).await;
        let (path, bytes) = kept.iter().find(|(path, _)| *path == Name::Manifest(anchor.manifest).path()).unwrap();
        let other = Manifest { created: 1, ..Manifest::decode(bytes).unwrap() };
        replace(&backend, path, other.encode().unwrap()).await;
        let report = deep(&backend, None).await.unwrap();
        assert_eq!((report.damage.len(), &*report.damage[0].file), (1, path.as_str()), "{report:?}");

        backend.delete(path).await.unwrap();
        let report = deep(&backend, None).await.unwrap();
        assert!(report.damage[0].what.contains("missing"), "{report:?}");
        replace(&backend, path, bytes.clone()).await;

        // The newest can be forged, and then only what was noted tells.
        let (path, bytes) = kept.last().unwrap();
        let newest = Manifest::decode(bytes).unwrap();
        let mut forged = Manifest { created: 1, ..newest.clone() };
        forged.past[0].digest = Digest::of(b"another");
        replace(&backend, path, forged.encode().unwrap()).await;
        assert!(!deep(&backend, Some(anchor)).await.unwrap().damage.is_empty());
        let noted = Anchor { manifest: newest.number, digest: newest.digest() };
        let report = deep(&backend, Some(noted)).await.unwrap();
        assert!(report.damage.iter().any(|damage| damage.what.contains("was noted")), "{report:?}");
    }
}

#[tokio::test]
async fn a_store_that_was_rolled_back_is_found_by_what_was_noted() {
    let backend = Arc::new(Memory::new());
    let (db, _) = filled(&backend).await;
    db.close().await.unwrap();
    let older = Arc::new(Memory::new());
    for (path, bytes) in files(&backend, "").await {
        older.create(&path, bytes).await.unwrap();
    }
    let db = Db::builder(backend.clone()).open().await.unwrap();
    db.put("more", "of it").await.unwrap();
    let anchor = db.checkpoint("now").await.unwrap().anchor;
    db.close().await.unwrap();
    assert_eq!(deep(&backend, Some(anchor)).await.unwrap().damage, []);
    let report = deep(&older, Some(anchor)).await.unwrap();
    assert!(report.damage[0].what.contains("rolled back"), "{report:?}");

    // What is not kept proves nothing, and that is no damage.
    let gone = Anchor { manifest: anchor.manifest - 1, ..anchor };
    assert_eq!(deep(&backend, Some(gone)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_faster_than_it_may() {
    let backend = Arc::new(Memory::new());
    let (db, _) = filled(&backend).await;
    let begun = Instant::now();
    let rate = NonZeroU64::new(1000);
    let report = db.verify_with(VerifyOptions { bytes_per_second: rate, ..DEEP }, |_| {}).await.unwrap();
    let (least, took) = (Duration::from_secs(report.bytes / 1000), begun.elapsed());
    assert!((least..least + Duration::from_secs(2)).contains(&took), "{took:?} for {} bytes", report.bytes);
    db.close().await.unwrap();
}
