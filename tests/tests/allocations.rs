//! A point read allocates nothing on the heap where the value is mapped.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::FutureExt;
use halite::{Options, WriteBatch, WriteOptions};
use halite_tests::world::{Store, World, process};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the promises that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; what was given out came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
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
