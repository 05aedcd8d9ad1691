//! What scans of an object store ask for, and for how many of its latencies they wait: time is virtual here, so that nothing
//! else takes any.

use super::{Bucket, RECORDS, VALUE_LEN, merged, options, read, settle};
use futures::TryStreamExt;
use halite::backends::Backend;
use halite::{Db, KeyRange};
use halite_tests::far::Far;
use halite_tests::world::process;
use std::sync::Arc;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(100);

/// What a scan asks for beyond what it needs is no more than that again; and what it needs comes in large parts, the next on
/// its way while one is used.
#[test]
fn a_scan_reads_ahead_in_few_requests() {
    let bucket = Bucket::new();
    merged(&bucket);
    let reader = async || {
        let far = Far::new(bucket.handle(), LATENCY);
        let reader = Db::builder(Arc::new(far.clone())).options(options()).open_read_only().await.unwrap();
        (reader, far)
    };
    for backward in [false, true] {
        process(async {
            let (reader, far) = reader().await;
            let scan = |range: KeyRange| if backward { reader.scan(range).rev() } else { reader.scan(range) };
            let (before, begun) = (read(&far.traffic()), tokio::time::Instant::now());
            let mut all = scan((..).into());
            for count in 0..RECORDS {
                let n = if backward { RECORDS - 1 - count } else { count };
                let entry = all.try_next().await.unwrap().unwrap();
                assert_eq!(entry.key, format!("{n:06}"));
                assert_eq!(entry.value, [n as u8; VALUE_LEN][..]);
            }
            assert!(all.try_next().await.unwrap().is_none());
            let (requests, bytes) = (read(&far.traffic()).0 - before.0, read(&far.traffic()).1 - before.1);
            let segments = reader.stats().unwrap().segments;
            // Backward it goes by the index.
            let of_index = if backward { 6 * segments } else { 0 };
            assert!(requests <= 12 + 4 * segments + of_index, "{requests} requests, {segments} segments");
            assert!(bytes <= RECORDS * (VALUE_LEN as u64 + 40), "nothing is read twice: {bytes}");
            // Virtual time: most of what is asked for is on its way before it is needed.
            let waited = begun.elapsed().as_millis() / LATENCY.as_millis();
            assert!(waited <= 8 + 2 * u128::from(segments + of_index), "{waited} latencies");

            let before = read(&far.traffic()).1;
            let some = if backward { (..="001000").into() } else { ("001000"..).into() };
            let some: Vec<_> = scan(some).limit(50).try_collect().await.unwrap();
            assert_eq!((some.len(), &some[0].key[..]), (50, &b"001000"[..]));
            let bytes = read(&far.traffic()).1 - before;
            assert!(bytes <= 4 * 50 * VALUE_LEN as u64, "{bytes}");
        });
    }
    process(async {
        // Where it ends is known from the beginning: by its range, by its limit, and where the next segment begins.
        for (range, limit) in [((.."003000").into(), usize::MAX), (KeyRange::from(.."002000"), 1000)] {
            let (reader, far) = reader().await;
            let count = if limit == 1000 { 1000 } else { 3000 };
            let (before, begun) = (read(&far.traffic()).1, tokio::time::Instant::now());
            assert_eq!(reader.scan(range).limit(limit).try_collect::<Vec<_>>().await.unwrap().len(), count);
            let bytes = read(&far.traffic()).1 - before;
            let most = count as u64 * (VALUE_LEN as u64 + 40) + (600 << 10);
            assert!(bytes <= most, "{bytes}, {most} at most");
            let waited = begun.elapsed().as_millis() / LATENCY.as_millis();
            assert!(waited <= 6, "{waited} latencies");
        }
        // From the middle on: end, filter and footer; index; records.
        let (reader, far) = reader().await;
        let (before, begun) = (read(&far.traffic()).0, tokio::time::Instant::now());
        assert_eq!(reader.scan("000100".."000500").try_collect::<Vec<_>>().await.unwrap().len(), 400);
        let found = (read(&far.traffic()).0 - before, begun.elapsed().as_millis() / LATENCY.as_millis());
        // To have the object at hand is a call, too; and the last piece may go beyond what was foreseen.
        assert!(found.0 <= 4 && found.1 <= 5, "{found:?}");
    });
    process(async {
        // Of keys alone it finds the same.
        let (reader, far) = reader().await;
        let only: Vec<_> = reader.scan(..).keys_only().map_ok(|entry| entry.key).try_collect().await.unwrap();
        assert!(only.iter().eq((0..RECORDS).map(|n| format!("{n:06}")).collect::<Vec<_>>().iter()));
        // Given up in the middle, it leaves nothing under way.
        let mut scan = reader.scan(..);
        for _ in 0..500 {
            scan.try_next().await.unwrap();
        }
        drop(scan);
        settle().await;
        let before = far.traffic();
        settle().await;
        assert_eq!(far.traffic(), before);
    });
}

/// Where it is known how far a scan goes it waits for what tells where it begins, and for the first records; segments that lie
/// behind the first are opened and read meanwhile. (They are short here: the last one is there one latency after the others.
/// And to have an object at hand is a call, too.)
#[test]
fn a_scan_whose_end_is_known_waits_for_its_beginning() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let far = Far::new(bucket.handle(), LATENCY);
        let reader = Db::builder(Arc::new(far.clone())).options(options()).open_read_only().await.unwrap();
        for (story, latencies) in [("from nothing", 6), ("index known", 2)] {
            let (before, begun) = (read(&far.traffic()).1, tokio::time::Instant::now());
            let found: Vec<_> = reader.scan("000100".."003900").try_collect().await.unwrap();
            assert_eq!(found.len(), 3800, "{story}");
            let waited = begun.elapsed().as_millis() / LATENCY.as_millis();
            assert!(waited <= latencies, "{story}: {waited} latencies");
            let bytes = read(&far.traffic()).1 - before;
            assert!(bytes <= 3850 * (VALUE_LEN as u64 + 40), "{story}: {bytes} bytes, and nothing is read twice");
        }
        reader.close().await;
    });
}
