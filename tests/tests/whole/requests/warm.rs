//! What is not asked for any more: what was read before, or warmed, and what a local disk has kept.

use super::*;
use halite::backends::Cached;
use halite_tests::scratch::Folder;

#[test]
fn a_warm_cache_on_a_local_disk_asks_the_store_for_nothing() {
    let bucket = Bucket::new();
    merged(&bucket);
    let folder = Folder::new("cache");
    // The requests of a process that reads here and there, and the blocks that it found.
    let read_some = || {
        process(async {
            let handle = bucket.handle();
            let cached = Cached::open(handle.clone(), folder.path(), 64 << 20).await.unwrap();
            let reader = Db::builder(Arc::new(cached.clone())).options(options()).open_read_only().await.unwrap();
            let before = read(&handle.traffic()).0;
            for n in (0..RECORDS).step_by(5) {
                let value = reader.get(format!("{n:06}")).await.unwrap();
                assert_eq!(value.as_deref(), Some(&[n as u8; VALUE_LEN][..]));
            }
            reader.close().await;
            (read(&handle.traffic()).0 - before, cached.cache().hits)
        })
    };
    let (cold, _) = read_some();
    assert!(cold > 50, "{cold}");
    // A disk that does not keep up has not kept all at once.
    let warm = (0..20).map(|_| read_some()).find(|(requests, _)| *requests == 0);
    assert!(warm.is_some_and(|(_, hits)| hits > RECORDS / 5), "{warm:?}");
}

#[test]
fn what_is_warm_asks_the_store_for_nothing() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let (reader, handle) = bucket.reader().await;
        let before = read(&handle.traffic());
        let report = reader.warm(KeyRange::prefix("0012"), WarmOptions::default()).await.unwrap();
        let after = read(&handle.traffic());
        assert!(report.is_whole && report.segments == 1, "{report:?}");
        assert_eq!(report.requests, after.0 - before.0);
        // Filter, fences, index and a hundred records of this segment, with some neighbours.
        assert!(report.requests <= 7, "{report:?}");
        assert!((100 * VALUE_LEN as u64..400 * VALUE_LEN as u64).contains(&report.bytes), "{report:?}");
        assert_eq!(reads(&reader, &handle, 1200..1300).await, 0);
        assert!(reads(&reader, &handle, 3000..3001).await > 0);
        // What is there is not read again.
        let again = reader.warm("0012".."0013", WarmOptions::default()).await.unwrap();
        assert_eq!(again.requests, 0, "{again:?}");

        let index = WarmOptions { records: false, ..WarmOptions::default() };
        let report = reader.warm(.., index).await.unwrap();
        assert_eq!((report.segments, report.is_whole), (reader.stats().unwrap().segments, true));
        // A cold read is one request then.
        assert_eq!(reads(&reader, &handle, (100..4000).step_by(1000)).await, 4);
        reader.close().await;
    });
    process(async {
        // By segment, and within bounds; given up, it leaves nothing under way.
        let far = Far::new(bucket.handle(), Duration::from_millis(100));
        let handle: Arc<dyn Backend> = Arc::new(far);
        let reader = Db::builder(handle.clone()).options(options()).open_read_only().await.unwrap();
        let segment = reader.tree().await.unwrap().runs[0].segments[0].file.clone();
        let some = WarmOptions { bytes_max: Some(100 << 10), segment: Some(segment), ..WarmOptions::default() };
        let before = read(&handle.traffic()).1;
        let report = reader.warm(.., some.clone()).await.unwrap();
        assert!(!report.is_whole && report.segments == 1 && report.bytes <= 100 << 10, "{report:?}");
        assert!(read(&handle.traffic()).1 - before <= 101 << 10, "what opening takes comes besides");
        let unknown = WarmOptions { segment: Some("segments/none".into()), ..some };
        assert_eq!(reader.warm(.., unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
        let given_up = reader.warm(.., WarmOptions::default());
        assert!(tokio::time::timeout(Duration::from_millis(150), given_up).await.is_err());
        settle().await;
        let before = handle.traffic();
        settle().await;
        assert_eq!(handle.traffic(), before);
        assert!(reader.warm(.., WarmOptions::default()).await.unwrap().is_whole);
        assert_eq!(reads(&reader, &handle, (0..RECORDS).step_by(7)).await, 0);
        reader.close().await;
    });
}

/// Warm on the disk of this machine it stays for the next process, which has only memory to fill.
#[test]
fn what_is_warm_on_a_local_disk_is_so_for_the_next_process() {
    let bucket = Bucket::new();
    merged(&bucket);
    let folder = Folder::new("warm");
    // Of 64 KiB of memory nothing is left that could keep a record.
    let reader = async |handle: &Arc<dyn Backend>| {
        let cached = Cached::open(handle.clone(), folder.path(), 64 << 20).await.unwrap();
        let options = Options { memory_budget: Some(64 << 10), ..options() };
        let reader = Db::builder(Arc::new(cached.clone())).options(options).open_read_only().await.unwrap();
        (reader, cached)
    };
    let warm = || {
        process(async {
            let handle = bucket.handle();
            let (reader, cached) = reader(&handle).await;
            let report =
                reader.warm(.., WarmOptions { bytes_max: Some(60 << 20), ..WarmOptions::default() }).await.unwrap();
            reader.close().await;
            (report, cached.cache().bytes)
        })
    };
    // A disk that does not keep up has not kept all at once.
    let warmed = (0..20).map(|_| warm()).find(|(report, _)| report.requests == 0);
    assert!(warmed.is_some_and(|(_, bytes)| bytes > RECORDS * VALUE_LEN as u64), "{warmed:?}");
    process(async {
        let handle = bucket.handle();
        let (reader, _cached) = reader(&handle).await;
        assert_eq!(reads(&reader, &handle, (0..RECORDS).step_by(3)).await, 0);
        reader.close().await;
    });
}

#[test]
fn a_writer_and_local_files_are_warmed_too() {
    let folder = Folder::new("warm-local");
    let db = halite::blocking::Db::open(folder.path().to_str().unwrap()).unwrap();
    for n in 0..2000 {
        db.put(format!("{n:04}"), [1; 100]).unwrap();
    }
    db.compact().unwrap();
    let sealed = db.stats().segment_bytes;
    let report = db.warm(.., WarmOptions::default()).unwrap();
    assert!(
        report.is_whole && report.requests == 0 && report.bytes > sealed / 2 && report.bytes <= sealed,
        "{report:?}"
    );
    let none = db.warm("x".., WarmOptions::default()).unwrap();
    assert_eq!((none.segments, none.bytes), (0, 0));
    db.close().unwrap();
}
