//! Any mix of resident segments and others gives the same answers.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::segment::testing::Unmapped;
use crate::version::View;
use crate::{Db, ErrorKind, Options, WriteOptions};
use halite_backends::{Backend, Memory, Purpose};
use std::collections::BTreeMap;
use std::time::Duration;

/// All writes in the order of their seqs: key, value unless it is a delete, and expiry.
type Writes = Vec<(Seq, String, Option<String>, Option<u64>)>;

fn key(number: u64) -> String {
    format!("key{number:03}")
}

/// Several segments: a run of many, then runs of one, with overwrites, deletes and expiries in all; and two memtables'
/// worth of records that are not sealed.
async fn fill(db: &Db, writes: &mut Writes) {
    let mut number = 1_u64;
    let mut dice = |below: u64| {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (number >> 33) % below
    };
    for round in 0..5 {
        for _ in 0..if round == 0 { 100 } else { 12 } {
            let key = key(dice(40));
            let value = format!("{round} {}", "v".repeat(dice(200) as usize));
            let ttl = (dice(4) == 0).then(|| Duration::from_secs([1, 1_000_000][dice(2) as usize]));
            if round > 0 && dice(4) == 0 {
                db.delete(&key).await.unwrap();
                writes.push((db.stats().visible_seq, key, None, None));
            } else {
                db.put_with(&key, &value, WriteOptions { ttl, ..WriteOptions::default() }).await.unwrap();
                let entry = db.get_entry(&key).await.unwrap().unwrap();
                writes.push((entry.seq, key, Some(value), entry.expires_at));
            }
        }
        match round {
            0 => drop(db.compact().await.unwrap()),
            4 => {}
            _ => {
                db.core().log.rotate().unwrap();
                db.core().log.all_sealed().await.unwrap();
            }
        }
    }
}

fn expected(writes: &Writes, at: Seq, now: u64) -> BTreeMap<&str, (&str, Seq)> {
    let mut state = BTreeMap::new();
    for (seq, key, value, expires_at) in writes.iter().filter(|write| write.0 <= at) {
        match value {
            Some(value) if expires_at.is_none_or(|at| at > now) => state.insert(key.as_str(), (value.as_str(), *seq)),
            _ => state.remove(key.as_str()),
        };
    }
    state
}

async fn every_subset(backend: Arc<dyn Backend>) {
    let options = Options {
        segment_bytes_max: Options::SEGMENT_BYTES_MIN,
        merge_in_background: false,
        memory_budget: Some(64 << 20),
        ..Options::default()
    };
    let db = Db::builder(backend).options(options).seed(7).open().await.unwrap();
    let mut writes = Writes::new();
    fill(&db, &mut writes).await;
    let core = db.core().clone();
    let version = core.versions.get();
    let segments: Vec<_> = version.segments().cloned().collect();
    assert!(version.runs.len() >= 4 && version.runs.iter().any(|run| run.segments.len() > 1));
    let mut residents = Vec::new();
    for segment in &segments {
        // A second stay of each: the slots of the first are there too, and to be passed over.
        residents.push(core.residency.settle(&core.keydir, segment, Purpose::Warm, |_| {}).await.unwrap().unwrap());
    }
    let sealed = version.runs[0].max_seq;
    let now = core.clock.now();
    for subset in 0..1_u32 << segments.len() {
        let chosen = residents.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1);
        let chosen: Vec<_> = chosen.map(|(_, resident)| resident.clone()).collect();
        let subset_of = Version::with_residents(version.memtables.clone(), version.runs.clone(), &chosen);
        let subset_of = Arc::new(subset_of);
        for at in (sealed..=core.log.visible()).step_by(1 + subset as usize % 3).chain([Seq::MAX]) {
            for now in [now, now + 100_000] {
                let expected = expected(&writes, at, now);
                let view = View { version: subset_of.clone(), at, now };
                // One number beyond those that are used: absent keys, inside the segments' ranges and outside.
                for key in (0..42).map(key).chain(["".into(), "key0005".into(), "zz".into()]) {
                    let found = get_at(&core, &view, key.as_bytes()).await.unwrap();
                    let found = found.map(|newest| (newest.value, newest.seq));
                    let found = found.as_ref().map(|(value, seq)| (std::str::from_utf8(value).unwrap(), *seq));
                    assert_eq!(found, expected.get(key.as_str()).copied(), "{key} at={at} subset={subset:b}");
                }
            }
        }
    }
    let stats = db.stats();
    assert!(stats.filter_probes > 1000 && stats.filter_false_positives < stats.filter_probes / 100, "{stats:?}");
    drop((residents, version));
    db.close().await.unwrap();
}

#[tokio::test]
async fn every_subset_of_residents_gives_the_same_answers() {
    every_subset(Arc::new(Memory::new())).await;
}

#[tokio::test]
async fn and_where_the_log_is_kept_in_fragments() {
    every_subset(Arc::new(Memory::create_only())).await;
}

#[tokio::test]
async fn and_where_nothing_is_mapped() {
    every_subset(Arc::new(Unmapped(Memory::new()))).await;
}

/// What is older must not be touched, damaged or not, once the answer is known.
#[tokio::test]
async fn damage_in_older_segments_does_not_show_in_newer_answers() {
    let memory = Memory::new();
    let options = Options { merge_in_background: false, ..Options::default() };
    let open = async |budget| {
        let options = Options { memory_budget: Some(budget), ..options.clone() };
        Db::builder(Arc::new(memory.clone())).options(options).open().await.unwrap()
    };
    let db = open(1 << 30).await;
    db.put("both", "old").await.unwrap();
    db.put("old", "old").await.unwrap();
    db.close().await.unwrap();
    let older = memory_segment(&memory).await;
    let db = open(1 << 30).await;
    db.put("both", "new").await.unwrap();
    db.close().await.unwrap();
    memory.delete(&older).await.unwrap();
    for budget in [0, 1 << 30] {
        let db = open(budget).await;
        db.loaded().await.unwrap();
        assert_eq!(db.get("both").await.unwrap().as_deref(), Some(&b"new"[..]));
        let error = db.get("old").await.unwrap_err();
        assert_eq!((error.kind(), error.place()), (ErrorKind::Corruption, Some((older.as_str(), 0))));
        assert_eq!(db.stats().resident_segments, u64::from(budget > 0));
        let report = db.verify().await.unwrap();
        assert_eq!(report.damage.iter().map(|damage| damage.file.as_str()).collect::<Vec<_>>(), [older.as_str()]);
        db.close().await.unwrap();
    }
}

async fn memory_segment(memory: &Memory) -> halite_backends::Path {
    use futures::TryStreamExt;
    memory.list("segments").try_next().await.unwrap().unwrap().path
}
