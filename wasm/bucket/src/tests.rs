#![allow(clippy::unwrap_used)]
use super::*;
use halite::Db;
use std::time::Duration;

const QUOTA: Quota = Quota { bytes: 100, keys: 10 };

async fn db() -> Db {
    Db::open("mem:").await.unwrap()
}

#[tokio::test]
async fn a_bucket_is_its_prefix_and_no_more() {
    let db = db().await;
    let (one, all) = (Bucket::new(&db, [0xff]), Bucket::new(&db, ""));
    for key in [&b"\xfe"[..], b"\xff", b"\xffa", b"\xff\xff"] {
        db.put(key, "v").await.unwrap();
    }
    let keys = async |bucket: &Bucket, keys: Keys| {
        let records = bucket.scan(&keys, false, true).next(100).await.unwrap();
        records.into_iter().map(|record| record.key.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&one, Keys::All).await, [&b""[..], b"a", b"\xff"]);
    assert_eq!(keys(&one, Keys::Range(Some(b"a".to_vec()), None)).await, [&b"a"[..], b"\xff"]);
    assert_eq!(keys(&all, Keys::All).await.len(), 4);
    one.delete_keys(&Keys::All).await.unwrap();
    assert_eq!(keys(&all, Keys::All).await, [b"\xfe"]);
}

#[tokio::test]
async fn names_never_meet() {
    let db = db().await;
    let buckets = Buckets::new().with_others(&db, "x");
    for (name, key) in [("", "abc"), ("a", "bc"), ("ab", "c"), ("abc", "")] {
        buckets.open(name).unwrap().put(key.as_bytes(), name.as_bytes(), None).await.unwrap();
    }
    for (name, key) in [("", "abc"), ("a", "bc"), ("ab", "c"), ("abc", "")] {
        let bucket = buckets.open(name).unwrap();
        assert_eq!(bucket.get(key.as_bytes()).await.unwrap().as_deref(), Some(name.as_bytes()));
        assert_eq!(bucket.usage().await.unwrap().keys, 1);
    }
}

#[tokio::test]
async fn cursors_are_remembered_for_a_while_and_are_one_buckets_own() {
    let db = db().await;
    let (a, b) = (Bucket::new(&db, "a"), Bucket::new(&db, "b"));
    for n in 0..1500 {
        a.put(format!("{n:04}").as_bytes(), b"", None).await.unwrap();
    }
    let page = a.list_keys(None).await.unwrap();
    let cursor = page.cursor.unwrap();
    assert!(matches!(b.list_keys(Some(&cursor)).await, Err(Error::Invalid(_))));
    let cursors = Cursors::default();
    let first = cursors.number(cursor);
    let rest = a.list_keys(Some(&cursors.cursor(first).unwrap())).await.unwrap();
    assert_eq!((page.keys.len() + rest.keys.len(), rest.keys.last().unwrap().as_str()), (1500, "1499"));
    let last = (0..5000).map(|n| cursors.number(n.to_string())).last().unwrap();
    assert!(cursors.cursor(first).is_err() && cursors.cursor(0).is_err());
    assert_eq!(cursors.cursor(last).unwrap(), "4999");
}

#[tokio::test]
async fn handles_share_a_quota_that_counts_what_was_there() {
    let db = db().await;
    db.put("p/old", [0; 50]).await.unwrap();
    let bucket = Bucket::new(&db, "p/").with_quota(QUOTA);
    let again = bucket.clone();
    bucket.put(b"a", &[0; 39], None).await.unwrap();
    assert_eq!(again.put(b"b", &[0; 10], None).await, Err(Error::QuotaExceeded));
    // Shrinking goes, even where there is too much.
    again.put(b"old", b"", None).await.unwrap();
    again.put(b"b", &[0; 10], None).await.unwrap();
    let usage = bucket.usage().await.unwrap();
    assert_eq!((usage.bytes, usage.keys), (3 + 40 + 11, 3));
}

/// Many write at once, each what there is room for once.
#[tokio::test]
async fn a_quota_is_not_exceeded_by_writers_together() {
    let db = db().await;
    let bucket = Bucket::new(&db, "p/").with_quota(QUOTA);
    let writers = (0..20u8).map(|n| {
        let bucket = bucket.clone();
        async move { bucket.put(&[n], &[0; 30], None).await }
    });
    let done = futures::future::join_all(writers).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 3);
    assert_eq!(bucket.usage().await.unwrap().bytes, 93);
}

#[tokio::test]
async fn a_transaction_is_charged_at_its_commit() {
    let db = db().await;
    let bucket = Bucket::new(&db, "p/").with_quota(QUOTA);
    let mut one = bucket.begin(true);
    one.put(b"a", &[0; 90], Some(Duration::from_secs(60))).unwrap();
    let mut two = bucket.begin(true);
    two.get(b"b").await.unwrap();
    two.put(b"c", &[0; 5], None).unwrap();
    bucket.put(b"b", b"1", None).await.unwrap();
    assert_eq!(two.commit().await, Err(Error::Conflict));
    one.commit().await.unwrap();
    assert_eq!(bucket.put(b"d", &[0; 8], None).await, Err(Error::QuotaExceeded));
    bucket.put(b"d", &[0; 6], None).await.unwrap();
    let mut large = bucket.begin(true);
    assert!(matches!(large.put(b"x", &vec![0; 65 << 20], None), Err(Error::Invalid(_))));
}
