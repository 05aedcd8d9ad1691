#![allow(clippy::unwrap_used)]
use crate::backends::{Backend, Memory};
use crate::{Db, Durability, Options, VerifyOptions, WriteBatch, WriteOptions};
use std::sync::Arc;

/// All that is written is counted, and what is counted is what is there.
#[tokio::test]
async fn what_is_written_is_what_is_counted() {
    for (memory, grows) in [(Memory::new(), true), (Memory::create_only(), false)] {
        let options = Options { segment_bytes_max: 64 << 10, merge_in_background: false, ..Options::default() };
        let backend: Arc<dyn Backend> = Arc::new(memory);
        let db = Db::builder(backend).options(options).open().await.unwrap();
        assert_eq!(db.stats().write_amplification(), None);
        assert_eq!(db.stats().space_amplification(), None);
        for round in 0..4 {
            for number in 0..100_u32 {
                db.put(number.to_le_bytes(), [round; 396]).await.unwrap();
            }
        }
        let deferred = WriteOptions { durability: Durability::Deferred, ttl: None };
        db.write_with(WriteBatch::new().put("a", "b").delete("c"), deferred).await.unwrap();
        db.flush().await.unwrap();
        let stats = db.stats();
        assert_eq!((stats.commits, stats.committed_records, stats.committed_bytes), (401, 402, 160_003));
        let latencies = stats.commit_latencies;
        assert_eq!(latencies.count, 400, "a deferred commit does not wait");
        assert!(latencies.p50 <= latencies.p99 && latencies.p99 <= latencies.max && latencies.mean <= latencies.max);
        assert!((401..=402).contains(&stats.log_writes) && stats.log_syncs >= 400, "{stats:?}");
        // Each commit has a mark before it, of a few dozen bytes, and one behind it; a fragment has a header of 160 bytes.
        let beside = (stats.log_bytes_written - stats.committed_bytes) / 401;
        assert!(if grows { (20..100).contains(&beside) } else { (160..300).contains(&beside) }, "{beside}");

        let before = db.compact().await.unwrap();
        let stats = db.stats();
        assert_eq!((stats.merges, stats.merge_records_dropped), (1, before.records_in - before.records_out));
        assert!(stats.seals >= 2);
        assert_eq!(stats.merge_bytes_written, stats.segment_bytes, "what the merge wrote is all there is");
        assert_eq!(stats.live_bytes(), stats.record_bytes, "nothing is dead");
        // Where the log grows a seal adds index and filter; fragments are written again, without what is superseded.
        let of_seals = stats.seal_bytes_written as f64 / stats.committed_bytes as f64;
        assert!(if grows { (0.01..0.2).contains(&of_seals) } else { (0.3..1.2).contains(&of_seals) }, "{of_seals}");
        let written = stats.log_bytes_written + stats.seal_bytes_written + stats.merge_bytes_written;
        assert_eq!(stats.write_amplification(), Some(written as f64 / 160_003.0));
        assert!((1.0..1.3).contains(&stats.space_amplification().unwrap()), "{stats:?}");
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_verification_tells_how_far_it_is() {
    let options = Options { segment_bytes_max: 256 << 10, merge_in_background: false, ..Options::default() };
    let db = Db::builder(Arc::new(Memory::new())).options(options).open().await.unwrap();
    for number in 0..6_u32 {
        db.put(number.to_le_bytes(), vec![7; 1 << 20]).await.unwrap();
    }
    db.put("small", "value").await.unwrap();
    db.compact().await.unwrap();
    let mut told = Vec::new();
    let report = db.verify_with(VerifyOptions::default(), |at| told.push(at)).await.unwrap();
    let (first, last) = (told[0], told[told.len() - 1]);
    assert_eq!((first.segments, first.bytes, first.records), (0, 0, 0));
    assert_eq!((last.segments, last.bytes, last.records), (report.segments, report.bytes, report.records));
    for (before, after) in told.iter().zip(&told[1..]) {
        assert!(before.segments <= after.segments && before.bytes <= after.bytes && before.records <= after.records);
        assert!((before.segments_total, before.bytes_total) == (after.segments_total, after.bytes_total));
        assert!(after.bytes <= after.bytes_total && after.segments <= after.segments_total);
    }
    assert_eq!((last.segments_total, last.bytes_total), (report.segments, report.bytes));
    assert!(told.len() as u64 > last.segments + 3, "also within segments: {}", told.len());
    db.close().await.unwrap();
}
