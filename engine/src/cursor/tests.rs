#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::fuzz::Dice;
use crate::segment::Segment;
use crate::segment::testing::*;
use halite_backends::{Backend, Memory};
use std::sync::Arc;

/// All indexed records of any segments come out, of one key the newest first, as they went in.
#[tokio::test]
async fn merged_segments_give_all_their_records() {
    let mut dice = Dice::new(1);
    for round in 0..40 {
        let memory = Memory::new();
        let unmapped = Unmapped(memory.clone());
        let backend: &dyn Backend = if round % 2 == 0 { &memory } else { &unmapped };
        let mut expected = Vec::new();
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        for number in 1..=1 + dice.below(5) as u64 {
            let count = 1 + dice.below(200);
            let records = any_records(&mut dice, count, number * 10_000);
            let sorted = dice.below(2) == 0;
            let meta = if sorted {
                write_sorted(&memory, number, &records).await
            } else {
                write_dense(&memory, number, &records).await
            };
            segments.push(open(backend, &meta).await.unwrap());
            expected.extend(newest(&records).into_values());
        }
        expected.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));

        let mut merged = Merged::new(&segments, Arc::default());
        let mut last_key = None;
        for record in &expected {
            let found = merged.next().await.unwrap().unwrap();
            let is_older = last_key.replace(&record.key) == Some(&record.key);
            assert_eq!(found.superseded(), is_older);
            let value = if is_older { &[][..] } else { record.new_record().value };
            assert_eq!((found.record().key, found.record().value), (&record.key[..], value));
            assert_eq!((found.record().seq, found.record().kind), (record.seq, record.new_record().kind));
            assert_eq!((found.record().expires_at, &found.value()[..]), (record.expires_at, value));
        }
        assert!(merged.next().await.unwrap().is_none());
    }
}
