//! Large values on local files: what memory they take on their way in and out, and what becomes of damage in one.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use bytes::Bytes;
use futures::StreamExt;
use halite::{Db, ErrorKind, Options, WriteBatch};
use halite_tests::scratch::Folder;
use halite_tests::world::process;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

/// The system's allocator, which knows how much is allocated, and how much was at most.
struct Weighing;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Weighing = Weighing;

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), SeqCst) + layout.size();
        PEAK.fetch_max(now, SeqCst);
        // SAFETY: the caller keeps the promises that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as above; what was given out came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One test at a time is weighed.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|failed| failed.into_inner())
}

/// The memory that `work` takes at most, beyond what there was before, in bytes.
async fn weigh<T>(work: impl Future<Output = T>) -> (usize, T) {
    let before = NOW.load(SeqCst);
    PEAK.store(before, SeqCst);
    let done = work.await;
    (PEAK.load(SeqCst) - before, done)
}

const MIB: usize = 1 << 20;
const LEN: usize = 48 * MIB;
/// What a call may take for itself.
const LITTLE: usize = 6 * MIB;

fn value(seed: u64) -> Bytes {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(LEN / 8).flatten().collect::<Vec<u8>>().into()
}

async fn open(folder: &Path) -> Db {
    let backend = halite::backends::open_uri(folder.to_str().unwrap(), true).unwrap();
    let options = Options { segment_bytes_max: 8 << 20, merge_in_background: false, ..Options::default() };
    Db::builder(backend).options(options).open().await.unwrap()
}

/// Waits until a value that is longer than a segment has been sealed, and its memory given back.
async fn sealed(db: &Db) {
    while db.stats().log_bytes > 8 << 20 || db.stats().memtable_records > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn large_values_take_no_more_memory_than_they_must() {
    let _alone = alone();
    let folder = Folder::new("large");
    process(async {
        let (one, two) = (value(1), value(2));
        let db = open(folder.path()).await;
        let (taken, put) = weigh(db.put_bytes("shared", one.clone())).await;
        put.unwrap();
        assert!(taken < LITTLE, "{taken} bytes to write what is given away");
        sealed(&db).await;
        let (taken, put) = weigh(db.put("copied", &two)).await;
        put.unwrap();
        assert!(taken < LEN + LITTLE, "{taken} bytes to write what is only shown");
        sealed(&db).await;
        let batch = WriteBatch::new().put("small", "1").put_bytes("third", one.clone());
        let (taken, written) = weigh(db.write(batch)).await;
        written.unwrap();
        assert!(taken < LITTLE, "{taken} bytes to write a batch");
        sealed(&db).await;

        for (key, expected) in [("shared", &one), ("copied", &two), ("third", &one)] {
            let (taken, read) = weigh(db.get(key)).await;
            assert!(read.unwrap().unwrap() == *expected);
            assert!(taken < MIB, "{taken} bytes to read {key}");
        }
        let (taken, entries) = weigh(db.scan(..).count()).await;
        assert!(entries == 4 && taken < LITTLE, "{taken} bytes to scan {entries} entries");
        let (taken, report) = weigh(db.verify()).await;
        assert!(report.unwrap().damage.is_empty() && taken < LITTLE, "{taken} bytes to verify");
        let (taken, compacted) = weigh(db.compact()).await;
        compacted.unwrap();
        assert!(taken < LITTLE, "{taken} bytes to merge");
        assert!(db.get("copied").await.unwrap().unwrap() == two);
        db.put_bytes("last", two.clone()).await.unwrap();

        // A log that was not sealed is read into memory, one copy of it, when it is replayed.
        let (taken, opened) = weigh(db.reopen()).await;
        let db = opened.unwrap();
        assert!(taken < LEN + LITTLE, "{taken} bytes to replay");
        assert!(db.get("last").await.unwrap().unwrap() == two);
        db.close().await.unwrap();
    });
}

/// The one file of the store's segments that has at least that length.
fn segment(folder: &Path, len: u64) -> PathBuf {
    let files = fs::read_dir(folder.join("segments")).unwrap().map(|file| file.unwrap().path());
    let mut long = files.filter(|file| fs::metadata(file).unwrap().len() >= len);
    let found = long.next().unwrap();
    assert_eq!(long.next(), None);
    found
}

#[test]
fn damage_in_a_large_value_is_found_where_it_is() {
    let _alone = alone();
    let folder = Folder::new("large-damage");
    process(async {
        let db = open(folder.path()).await;
        db.put_bytes("key", value(3)).await.unwrap();
        db.put("other", "whole").await.unwrap();
        db.close().await.unwrap();

        let path = segment(folder.path(), LEN as u64);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, LEN as u64 / 2).unwrap();
        file.write_all_at(&[byte[0] ^ 4], LEN as u64 / 2).unwrap();

        let db = open(folder.path()).await;
        let error = db.get("key").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains("checksum"), "{error}");
        assert_eq!(db.get("other").await.unwrap().as_deref(), Some(&b"whole"[..]));
        let scanned: Vec<_> = db.scan(..).collect().await;
        assert!(scanned.iter().any(|entry| entry.is_err()));
        let damage = db.verify().await.unwrap().damage;
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!(db.compact().await.unwrap_err().kind(), ErrorKind::Corruption, "damage is not laundered");
        db.close().await.unwrap();
    });
}
