//! What is asked of the allocator: nothing by a point read whose value is mapped, by an upload no more than its parts take, and by
//! what walks over many runs no more than the memory budget says, however far away they are.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::FutureExt;
use halite::{Options, WriteBatch, WriteOptions};
use halite_tests::world::{Store, World, process};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "servers")]
mod sink;
mod walks;

/// The system's allocator, which counts what each thread asks of it, and how much all of them hold.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that are held.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most that were.
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; what was given out came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Held by a test while it looks at how much all threads hold.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often `work` allocates.
fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = COUNT.get();
    let outcome = work();
    (COUNT.get() - before, outcome)
}

#[test]
fn a_point_read_allocates_nothing() {
    process(async {
        let options = Options { merge_in_background: false, segment_bytes_max: 64 << 10, ..Options::default() };
        let mut world = World::new(Store::memory(true), options, 7);
        let db = world.open().await.unwrap();
        let key = |number: u32| number.to_le_bytes();
        // What is overwritten in many segments has a slot for each of them.
        for round in 0..20 {
            let batch = (0..300).fold(WriteBatch::new(), |batch, number| batch.put(key(number), [round; 150]));
            db.write(batch).await.unwrap();
        }
        // Sealed, so that all are found through the keydir, but for one.
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        let options = WriteOptions { ttl: Some(Duration::from_secs(1000)), ..WriteOptions::default() };
        db.put_with(key(1), [20; 150], options).await.unwrap();
        assert!(db.stats().runs >= 10 && db.stats().memtable_records > 0, "{:?}", db.stats());
        let get = |number| db.get(key(number)).now_or_never().expect("nothing is waited for").unwrap();
        assert_eq!(allocations(|| vec![1]).0, 1, "the count is right");
        // What a thread needs once.
        get(0);
        for number in 0..400 {
            let (count, value) = allocations(|| get(number));
            assert_eq!(value.is_some(), number < 300);
            assert_eq!(count, 0, "for key {number}");
        }
    });
}

/// Of a large object no more is in memory than its parts that are under way, the next one, one that is being filled, and what
/// speaking takes.
#[cfg(feature = "servers")]
#[test]
fn an_upload_takes_no_more_than_its_parts() {
    use halite::backends::{ObjectsOptions, Path, open_uri};
    const CHUNK: usize = 256 << 10;
    const LEN: usize = 192 << 20;
    const SPEAKING: usize = 4 << 20;
    let _alone = alone();
    let ObjectsOptions { part_bytes, parts_at_once, .. } = ObjectsOptions::default();
    let (port, taken) = sink::serve();
    let uri = format!(
        "s3://bucket?endpoint=http://127.0.0.1:{port}&region=us-east-1&access_key_id=a&secret_access_key=b\
         &disable_config_load=true"
    );
    let store = open_uri(&uri, true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = HELD.load(Ordering::Relaxed);
    runtime.block_on(async {
        let mut upload = store.upload(&Path::new("segments/large").unwrap()).await.unwrap();
        PEAK.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
        for chunk in 0..LEN / CHUNK {
            upload.write(vec![chunk as u8; CHUNK].into()).await.unwrap();
        }
        upload.finish().await.unwrap();
    });
    assert!(taken.load(Ordering::Relaxed) >= LEN as u64, "all was sent");
    let (peak, bound) = (PEAK.load(Ordering::Relaxed) - before, part_bytes * (parts_at_once + 2) + SPEAKING);
    assert!(peak < bound, "{peak} bytes at once");
}
