#![allow(clippy::unwrap_used)]
use super::*;
use crate::backends::{Backend, Memory, Simulated, SimulatedOptions};
use crate::{Compression, Db, Options, WriteBatch};
use futures::TryStreamExt;
use std::sync::Arc;

async fn open(backend: &Arc<dyn Backend>, compression: Compression) -> Db {
    let options = Options { compression, segment_bytes_max: 1 << 20, ..Options::default() };
    Db::builder(backend.clone()).options(options).open().await.unwrap()
}

pub(super) fn backends() -> Vec<Arc<dyn Backend>> {
    let simulated = |append| Arc::new(Simulated::new(SimulatedOptions { append, ..SimulatedOptions::default() }));
    vec![Arc::new(Memory::new()), Arc::new(Memory::create_only()), simulated(true), simulated(false)]
}

/// Values that compress well, a little, and not at all, of one part and of several.
fn values() -> Vec<Vec<u8>> {
    let noise = |len: usize| -> Vec<u8> {
        let mut state = len as u64 | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect()
    };
    let text = |len: usize| b"the same line of text, again and again\n".repeat(len / 39 + 1)[..len].to_vec();
    let lens = [0, 1, 63, 64, 200, 5_000, PART_LEN - 1, PART_LEN, PART_LEN + 1, 3 * PART_LEN + 5];
    let mut values: Vec<_> = lens.iter().map(|&len| text(len)).collect();
    values.extend([noise(100), noise(PART_LEN + 1), [noise(3_000), text(PART_LEN), noise(10)].concat()]);
    values
}

async fn check(db: &Db, values: &[Vec<u8>]) {
    let snapshot = db.snapshot();
    for (number, value) in values.iter().enumerate() {
        let key = format!("{number:03}");
        assert!(db.get(&key).await.unwrap().unwrap() == *value, "{key}");
        assert!(db.get_entry(&key).await.unwrap().unwrap().value == *value, "{key}");
        assert!(snapshot.get(&key).await.unwrap().unwrap() == *value, "{key}");
        assert!(db.contains(&key).await.unwrap());
        assert!(db.begin().get(&key).await.unwrap().unwrap() == *value, "{key}");
    }
    let forward: Vec<_> = db.scan(..).try_collect().await.unwrap();
    let mut backward: Vec<_> = db.scan(..).rev().try_collect().await.unwrap();
    backward.reverse();
    assert!(forward == backward);
    assert!(forward.iter().map(|entry| &entry.value[..]).eq(values.iter().map(|value| &value[..])));
    assert!(db.verify().await.unwrap().damage.is_empty());
}

fn compressions() -> impl Iterator<Item = Compression> {
    [Compression::Lz4, Compression::Zstd].into_iter().filter(|way| way.codec().unwrap().is_here())
}

/// In memtables, sealed, replayed and merged, on every kind of backend, and in one store with what is not compressed.
#[tokio::test]
async fn compressed_values_read_as_they_were_written() {
    for (backend, compression) in compressions().flat_map(|way| backends().into_iter().map(move |on| (on, way))) {
        let values = values();
        let db = open(&backend, compression).await;
        let mut batch = WriteBatch::new();
        for (number, value) in values.iter().enumerate() {
            match number % 2 {
                0 => db.put(format!("{number:03}"), value).await.unwrap(),
                _ => batch = batch.put(format!("{number:03}"), value),
            }
        }
        db.write(batch).await.unwrap();
        check(&db, &values).await;
        db.reopen().await.unwrap().close().await.unwrap();
        let db = open(&backend, Compression::None).await;
        check(&db, &values).await;
        // What is written without compression stands among what was written with it, and merges pass both on.
        db.put("005", &values[5]).await.unwrap();
        check(&db, &values).await;
        db.compact().await.unwrap();
        check(&db, &values).await;
        db.checkpoint("all").await.unwrap();
        let reader = Db::builder(backend.clone()).open_at("all").await.unwrap();
        for (number, value) in values.iter().enumerate() {
            assert!(reader.get(format!("{number:03}")).await.unwrap().unwrap() == *value);
        }
        reader.close().await;
        let total: usize = values.iter().map(Vec::len).sum();
        assert!((db.stats().segment_bytes as usize) < total / 2, "merges do not decompress");
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_compresses_takes_less_of_the_log() {
    for (compression, fits) in compressions().map(|way| (way, true)).chain([(Compression::None, false)]) {
        let backend: Arc<dyn Backend> = Arc::new(Memory::new());
        let db = open(&backend, compression).await;
        db.put("key", b"row ".repeat(10_000)).await.unwrap();
        assert_eq!(db.stats().log_bytes < 4_000, fits);
        // A value that does not compress is shared as ever.
        db.put("plain", [7; 40]).await.unwrap();
        let (once, again) = (db.get("plain").await.unwrap().unwrap(), db.get("plain").await.unwrap().unwrap());
        assert_eq!(once.as_ptr(), again.as_ptr());
        db.close().await.unwrap();
    }
}

#[tokio::test]
#[cfg(not(feature = "zstd"))]
async fn a_codec_that_is_not_there_is_named() {
    let builder = Db::builder(Arc::new(Memory::new()));
    let error =
        builder.options(Options { compression: Compression::Zstd, ..Options::default() }).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`zstd`"), "{error}");
    let stored = Bytes::from_static(&[Codec::Zstd as u8, 1, 1, b'x']);
    let error = Value::new(stored, true, || None).read().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("`zstd`"), "{error}");
}

/// How often `work` is polled, and what it gives.
pub(super) async fn polls<T>(work: impl Future<Output = T>) -> (usize, T) {
    let mut count = 0;
    tokio::pin!(work);
    let done = std::future::poll_fn(|cx| {
        count += 1;
        work.as_mut().poll(cx)
    });
    let done = done.await;
    (count, done)
}

/// Polls of a commit, of a read and of a scan: none may compress or decompress for long.
#[tokio::test]
async fn long_values_and_many_values_are_compressed_in_steps() {
    let db = open(&(Arc::new(Memory::new()) as Arc<dyn Backend>), Compression::Lz4).await;
    let long = b"the same line of text, again and again\n".repeat(50_000);
    let (count, written) = polls(db.put("long", &long)).await;
    written.unwrap();
    assert!(count > long.len() / (2 * PART_LEN), "{count} polls to write it");
    let (count, read) = polls(db.get("long")).await;
    assert!(read.unwrap().unwrap() == long);
    assert!(count > long.len() / (8 * PART_LEN), "{count} polls to read it");
    db.delete("long").await.unwrap();

    let mut batch = WriteBatch::new();
    for number in 0..2_000 {
        batch = batch.put(format!("{number:05}"), &long[..1000 + number % 7]);
    }
    let (count, written) = polls(db.write(batch)).await;
    written.unwrap();
    assert!(count > 10, "{count} polls to write a batch");
    let (count, entries) = polls(db.scan(..).try_collect::<Vec<_>>()).await;
    assert_eq!(entries.unwrap().len(), 2_000);
    assert!(count > 2, "{count} polls to scan it");
    db.close().await.unwrap();
}
