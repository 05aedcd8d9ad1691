//! The promises, one function each.

use crate::draft::wasi::keyvalue as old;
use crate::draft2::wasi::keyvalue as new;
use crate::own::halite::store::store as own;
use new::atomics::{Cas, CasError};
use own::{Bucket, Error, Isolation, Keys, Lifetime, Order, Put, Write};

/// Tries all of them.
pub(crate) fn all(what: Option<&str>) {
    let tries: &[(&str, fn())] = match what {
        Some("rights") => &[("rights", rights), ("quotas", quotas), ("expired things leave the quota", expired)],
        Some("handles") => &[("handles", handles)],
        Some("huge") => &[("what is huge", huge)],
        Some("again") => &[("what was written before", again)],
        _ => &[
            ("reads and writes", reads_and_writes),
            ("the older draft", older_draft),
            ("listing keys", listing),
            ("compare-and-swap", swapping),
            ("counting", counting),
            ("many at once", many),
            ("bytes", bytes),
            ("ranges", ranges),
            ("lifetimes", lifetimes),
            ("batches", batches),
            ("transactions", transactions),
            ("snapshots", snapshots),
            ("nonsense", nonsense),
            ("leaving something behind", leave),
        ],
    };
    for (name, run) in tries {
        run();
        println!("{name}");
    }
}

fn b(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn reads_and_writes() {
    let bucket = new::store::open("default").unwrap();
    assert_eq!(bucket.get("a").unwrap(), None);
    assert!(!bucket.exists("a").unwrap());
    bucket.set("a", b"1").unwrap();
    bucket.set("", b"empty").unwrap();
    bucket.set("none", b"").unwrap();
    assert_eq!(bucket.get("a").unwrap(), Some(b("1")));
    assert_eq!(bucket.get("").unwrap(), Some(b("empty")));
    assert_eq!(bucket.get("none").unwrap(), Some(Vec::new()));
    bucket.set("a", b"2").unwrap();
    // Another handle is the same bucket, and another bucket is not.
    assert_eq!(new::store::open("default").unwrap().get("a").unwrap(), Some(b("2")));
    assert_eq!(new::store::open("other").unwrap().get("a").unwrap(), None);
    bucket.delete("a").unwrap();
    bucket.delete("a").unwrap();
    assert_eq!(bucket.get("a").unwrap(), None);
    let large = vec![7; 300_000];
    bucket.set("large", &large).unwrap();
    assert_eq!(bucket.get("large").unwrap(), Some(large));
    for key in ["", "none", "large"] {
        bucket.delete(key).unwrap();
    }
    assert_eq!(bucket.list_keys(None).unwrap().keys, Vec::<String>::new());
}

fn older_draft() {
    let bucket = old::store::open("default").unwrap();
    bucket.set("a", b"1").unwrap();
    // It is the same bucket that the newer one shows.
    assert_eq!(new::store::open("default").unwrap().get("a").unwrap(), Some(b("1")));
    assert_eq!(bucket.get("a").unwrap(), Some(b("1")));
    assert!(bucket.exists("a").unwrap());
    assert_eq!(old::atomics::increment(&bucket, "n", 5).unwrap(), 5);
    assert_eq!(old::atomics::increment(&bucket, "n", 2).unwrap(), 7);
    assert!(old::atomics::increment(&bucket, "n", u64::MAX).is_err());
    old::batch::set_many(&bucket, &[("x".into(), b("1")), ("y".into(), b("2"))]).unwrap();
    let found = old::batch::get_many(&bucket, &["y".into(), "z".into()]).unwrap();
    assert_eq!(found, [Some(("y".to_owned(), b("2"))), None]);
    let page = bucket.list_keys(None).unwrap();
    assert_eq!((page.keys, page.cursor), (["a", "n", "x", "y"].map(str::to_owned).to_vec(), None));
    assert!(bucket.list_keys(Some(u64::MAX)).is_err(), "that is no cursor");
    old::batch::delete_many(&bucket, &["a", "n", "x", "y", "z"].map(str::to_owned)).unwrap();
    assert!(bucket.list_keys(None).unwrap().keys.is_empty());
}

/// More keys than a page holds.
fn listing() {
    const COUNT: usize = 2500;
    let name = |n: usize| format!("key {n:05}");
    let (bucket, other) = (new::store::open("default").unwrap(), new::store::open("other").unwrap());
    for start in (0..COUNT).step_by(500) {
        let pairs: Vec<_> = (start..start + 500).map(|n| (name(n), b("v"))).collect();
        new::batch::set_many(&bucket, &pairs).unwrap();
    }
    let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bucket.list_keys(cursor.as_deref()).unwrap();
        keys.extend(page.keys);
        pages += 1;
        let Some(next) = page.cursor else { break };
        assert!(other.list_keys(Some(&next)).is_err(), "a cursor is its bucket's own");
        cursor = Some(next);
    }
    assert!(pages > 1);
    assert_eq!(keys, (0..COUNT).map(name).collect::<Vec<_>>());
    for wrong in ["", "nonsense", "0123456789abcdef", "ü0123456789abcde", &"f".repeat(40)] {
        assert!(bucket.list_keys(Some(wrong)).is_err(), "{wrong}");
    }
    let (bucket, mut keys, mut cursor) = (old::store::open("default").unwrap(), 0, None);
    loop {
        let page = bucket.list_keys(cursor).unwrap();
        keys += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, COUNT);
    own::open("default").unwrap().delete_keys(&Keys::All).unwrap();
    assert!(bucket.list_keys(None).unwrap().keys.is_empty());
}

fn swapping() {
    let bucket = new::store::open("default").unwrap();
    let cas = Cas::new(&bucket, "c").unwrap();
    assert_eq!(cas.current().unwrap(), None);
    new::atomics::swap(cas, b"1").unwrap();
    let (one, two) = (Cas::new(&bucket, "c").unwrap(), Cas::new(&bucket, "c").unwrap());
    assert_eq!(one.current().unwrap(), Some(b("1")));
    new::atomics::swap(one, b"2").unwrap();
    let Err(CasError::CasFailed(again)) = new::atomics::swap(two, b"3") else { panic!("it was written meanwhile") };
    assert_eq!(again.current().unwrap(), Some(b("2")));
    // The same value, written again, is another one.
    bucket.set("c", b"2").unwrap();
    let Err(CasError::CasFailed(again)) = new::atomics::swap(again, b"3") else { panic!("it was written meanwhile") };
    new::atomics::swap(again, b"3").unwrap();
    assert_eq!(bucket.get("c").unwrap(), Some(b("3")));
    // Never swapped, and no harm done.
    drop(Cas::new(&bucket, "c").unwrap());
    bucket.delete("c").unwrap();
}

fn counting() {
    let bucket = new::store::open("default").unwrap();
    assert_eq!(new::atomics::increment(&bucket, "n", 5).unwrap(), 5);
    assert_eq!(new::atomics::increment(&bucket, "n", -7).unwrap(), -2);
    assert_eq!(bucket.get("n").unwrap(), Some(b("-2")));
    bucket.set("n", b"many").unwrap();
    assert!(new::atomics::increment(&bucket, "n", 1).is_err());
    bucket.delete("n").unwrap();
    assert_eq!(new::atomics::increment(&bucket, "n", i64::MAX).unwrap(), i64::MAX);
    assert!(new::atomics::increment(&bucket, "n", 1).is_err());
    bucket.delete("n").unwrap();
}

fn many() {
    let bucket = new::store::open("default").unwrap();
    new::batch::set_many(&bucket, &[("a".into(), b("1")), ("b".into(), b("2")), ("a".into(), b("3"))]).unwrap();
    let found = new::batch::get_many(&bucket, &["b".into(), "x".into(), "a".into(), "b".into()]).unwrap();
    let pair = |key: &str, value: &str| Some((key.to_owned(), b(value)));
    assert_eq!(found, [pair("b", "2"), None, pair("a", "3"), pair("b", "2")]);
    new::batch::delete_many(&bucket, &["a".into(), "x".into(), "b".into()]).unwrap();
    assert_eq!(new::batch::get_many(&bucket, &["a".into(), "b".into()]).unwrap(), [None, None]);
    new::batch::set_many(&bucket, &[]).unwrap();
    new::batch::delete_many(&bucket, &[]).unwrap();
}

fn put(bucket: &Bucket, key: &[u8], value: &[u8]) {
    bucket.put(key, value, Lifetime::ForEver).unwrap();
}

/// Keys that are no text are there for those who have bytes, and left out of lists of text.
fn bytes() {
    let (bucket, text) = (own::open("default").unwrap(), new::store::open("default").unwrap());
    put(&bucket, b"\xff\xfe", b"\x80");
    put(&bucket, b"a", b"1");
    put(&bucket, b"\0", b"");
    assert_eq!(bucket.get(b"\xff\xfe").unwrap(), Some(vec![0x80]));
    assert!(bucket.exists(b"\0").unwrap() && !bucket.exists(b"\0\0").unwrap());
    assert_eq!(text.list_keys(None).unwrap().keys, ["\0", "a"]);
    let record = bucket.get_record(b"a").unwrap().unwrap();
    assert_eq!((record.key, record.value, record.expires_at), (b("a"), b("1"), None));
    bucket.delete_keys(&Keys::All).unwrap();
    assert!(!bucket.exists(b"\xff\xfe").unwrap());
}

fn scanned(scan: own::Scan) -> String {
    let mut keys = Vec::new();
    loop {
        let records = scan.next(2).unwrap();
        if records.is_empty() {
            return keys.join(" ");
        }
        keys.extend(records.into_iter().map(|record| String::from_utf8(record.key).unwrap()));
    }
}

fn ranges() {
    let (bucket, other) = (own::open("default").unwrap(), own::open("other").unwrap());
    for key in ["a", "b:1", "b:2", "b:3", "c", "d"] {
        put(&bucket, key.as_bytes(), b"v");
        put(&other, key.as_bytes(), b"not this");
    }
    let range = |start: Option<&str>, end: Option<&str>| Keys::Range((start.map(b), end.map(b)));
    for (keys, forward) in [
        (Keys::All, "a b:1 b:2 b:3 c d"),
        (Keys::Prefix(b("b:")), "b:1 b:2 b:3"),
        (Keys::Prefix(b("x")), ""),
        (range(None, None), "a b:1 b:2 b:3 c d"),
        (range(Some("b:2"), Some("d")), "b:2 b:3 c"),
        (range(None, Some("b:2")), "a b:1"),
        (range(Some("c"), None), "c d"),
        (range(Some("d"), Some("a")), ""),
    ] {
        assert_eq!(scanned(bucket.scan(&keys, Order::empty()).unwrap()), forward, "{keys:?}");
        let backward: Vec<_> = forward.split_whitespace().rev().collect();
        assert_eq!(scanned(bucket.scan(&keys, Order::REVERSE).unwrap()), backward.join(" "), "{keys:?}");
    }
    let records = bucket.scan(&Keys::All, Order::KEYS_ONLY | Order::REVERSE).unwrap().next(1).unwrap();
    assert_eq!((records.len(), &records[0].key[..], &records[0].value[..]), (1, &b"d"[..], &b""[..]));
    assert_eq!(bucket.scan(&Keys::All, Order::empty()).unwrap().next(0).unwrap().len(), 0);
    bucket.delete_keys(&range(Some("b:2"), Some("d"))).unwrap();
    bucket.delete_keys(&Keys::Prefix(b("a"))).unwrap();
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "b:1 d");
    // Large records come a few at a time.
    for n in 0..5 {
        put(&bucket, &[b'l', n], &vec![n; 600_000]);
    }
    let scan = bucket.scan(&Keys::Prefix(b("l")), Order::empty()).unwrap();
    let mut steps = Vec::new();
    while let Some(last) = Some(scan.next(100).unwrap().len()).filter(|&count| count > 0) {
        steps.push(last);
    }
    assert!(steps.len() > 1 && steps.iter().sum::<usize>() == 5, "{steps:?}");
    bucket.delete_keys(&Keys::All).unwrap();
    assert_eq!(scanned(other.scan(&Keys::All, Order::empty()).unwrap()), "a b:1 b:2 b:3 c d");
    other.delete_keys(&Keys::All).unwrap();
}

fn lifetimes() {
    let bucket = own::open("default").unwrap();
    let lifetime = |key: &[u8]| bucket.get_lifetime(key).unwrap();
    bucket.put(b"a", b"1", Lifetime::Milliseconds(3_600_000)).unwrap();
    assert!(matches!(lifetime(b"a"), Some(Lifetime::Milliseconds(left)) if left > 3_000_000));
    assert!(bucket.get_record(b"a").unwrap().unwrap().expires_at.is_some());
    assert!(bucket.set_lifetime(b"a", Lifetime::ForEver).unwrap());
    assert!(matches!(lifetime(b"a"), Some(Lifetime::ForEver)));
    assert!(bucket.set_lifetime(b"a", Lifetime::Milliseconds(0)).unwrap());
    assert_eq!(bucket.get(b"a").unwrap(), None);
    assert!(lifetime(b"a").is_none() && !bucket.set_lifetime(b"a", Lifetime::ForEver).unwrap());
    bucket.put(b"b", b"1", Lifetime::Milliseconds(0)).unwrap();
    assert!(!bucket.exists(b"b").unwrap());
    bucket.put(b"c", b"1", Lifetime::Milliseconds(u64::MAX)).unwrap();
    bucket.delete(b"c").unwrap();
}

fn batches() {
    let bucket = own::open("default").unwrap();
    put(&bucket, b"b", b"old");
    let write = |key: &str, lifetime| Write::Put(Put { key: b(key), value: b("new"), lifetime });
    bucket
        .write(&[
            write("a", Lifetime::ForEver),
            Write::Delete(b("b")),
            write("c", Lifetime::Milliseconds(3_600_000)),
            write("d", Lifetime::ForEver),
            Write::DeleteKeys(Keys::Prefix(b("d"))),
            write("e", Lifetime::ForEver),
        ])
        .unwrap();
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "a c e");
    assert!(matches!(bucket.get_lifetime(b"c").unwrap(), Some(Lifetime::Milliseconds(_))));
    assert!(matches!(bucket.get_lifetime(b"a").unwrap(), Some(Lifetime::ForEver)));
    // One that cannot be takes the others with it.
    let too_long = Write::Put(Put { key: vec![b'x'; 70_000], value: Vec::new(), lifetime: Lifetime::ForEver });
    assert!(matches!(bucket.write(&[Write::Delete(b("a")), too_long]), Err(Error::Invalid(_))));
    assert!(bucket.exists(b"a").unwrap());
    assert!(bucket.compare_and_swap(b"a", Some(b"new"), Some(b"newer")).unwrap());
    assert!(!bucket.compare_and_swap(b"a", Some(b"new"), None).unwrap());
    assert!(bucket.compare_and_swap(b"a", Some(b"newer"), None).unwrap());
    assert!(bucket.compare_and_swap(b"a", None, Some(b"1")).unwrap());
    assert_eq!(bucket.increment(b"a", 41).unwrap(), 42);
    bucket.delete_keys(&Keys::All).unwrap();
}

fn transactions() {
    let bucket = own::open("default").unwrap();
    put(&bucket, b"a", b"1");
    let one = bucket.begin(Isolation::Serializable).unwrap();
    assert_eq!(one.get(b"a").unwrap(), Some(b("1")));
    one.put(b"b", b"2", Lifetime::ForEver).unwrap();
    one.delete(b"a").unwrap();
    assert_eq!(scanned(one.scan(&Keys::All, Order::empty()).unwrap()), "b");
    assert!(bucket.exists(b"a").unwrap() && !bucket.exists(b"b").unwrap(), "nobody sees it yet");
    own::Transaction::commit(one).unwrap();
    assert!(!bucket.exists(b"a").unwrap() && bucket.exists(b"b").unwrap());
    // What it has read was changed.
    let two = bucket.begin(Isolation::Serializable).unwrap();
    assert_eq!(two.get(b"b").unwrap(), Some(b("2")));
    two.put(b"c", b"3", Lifetime::ForEver).unwrap();
    put(&bucket, b"b", b"changed");
    assert!(matches!(own::Transaction::commit(two), Err(Error::Conflict)));
    assert!(!bucket.exists(b"c").unwrap());
    // Snapshot isolation asks for what is written only.
    let three = bucket.begin(Isolation::Snapshot).unwrap();
    three.get(b"b").unwrap();
    three.put(b"c", b"3", Lifetime::Milliseconds(3_600_000)).unwrap();
    put(&bucket, b"b", b"changed again");
    own::Transaction::commit(three).unwrap();
    assert!(matches!(bucket.get_lifetime(b"c").unwrap(), Some(Lifetime::Milliseconds(_))));
    let four = bucket.begin(Isolation::Serializable).unwrap();
    four.delete_keys(&Keys::All).unwrap();
    drop(four);
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "b c");
    let five = bucket.begin(Isolation::Serializable).unwrap();
    five.delete_keys(&Keys::All).unwrap();
    own::Transaction::commit(five).unwrap();
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "");
    own::Transaction::commit(bucket.begin(Isolation::Serializable).unwrap()).unwrap();
}

fn snapshots() {
    let bucket = own::open("default").unwrap();
    put(&bucket, b"a", b"1");
    let (snapshot, scan) = (bucket.snapshot().unwrap(), bucket.scan(&Keys::All, Order::empty()).unwrap());
    put(&bucket, b"a", b"2");
    put(&bucket, b"b", b"3");
    assert_eq!(snapshot.get(b"a").unwrap(), Some(b("1")));
    assert_eq!(snapshot.get(b"b").unwrap(), None);
    assert_eq!(scanned(snapshot.scan(&Keys::All, Order::REVERSE).unwrap()), "a");
    assert_eq!(scanned(scan), "a");
    bucket.delete_keys(&Keys::All).unwrap();
}

fn nonsense() {
    let (bucket, text) = (own::open("default").unwrap(), new::store::open("default").unwrap());
    let long = "x".repeat(70_000);
    assert!(matches!(bucket.put(long.as_bytes(), b"", Lifetime::ForEver), Err(Error::Invalid(_))));
    assert!(matches!(text.set(&long, b""), Err(new::store::Error::Other(_))));
    assert!(matches!(text.get(&long), Ok(None) | Err(new::store::Error::Other(_))));
    assert!(text.list_keys(None).unwrap().keys.is_empty(), "nothing of it was written");
    // A transaction does not become larger than its host allows.
    let (large, transaction) = (vec![0; 4 << 20], bucket.begin(Isolation::Snapshot).unwrap());
    let refused = (0..20).find_map(|_| transaction.put(b"a", &large, Lifetime::ForEver).err());
    assert!(matches!(refused, Some(Error::Invalid(_))), "{refused:?}");
    let long = "x".repeat(300);
    assert!(matches!(new::store::open(&long), Err(new::store::Error::NoSuchStore)));
    assert!(matches!(old::store::open(&long), Err(old::store::Error::NoSuchStore)));
    assert!(matches!(own::open(&long), Err(Error::NoSuchBucket)));
}

/// Of so many handles that these are too many, and some are to be had again once others are let go of.
/// What is there is given, however much it is; what is brought is not taken.
fn huge() {
    let bucket = new::store::open("default").unwrap();
    let value = bucket.get("huge").unwrap().unwrap();
    println!("got {}", value.len());
    bucket.set("larger", &value).unwrap();
}

fn handles() {
    let (bucket, text) = (own::open("default").unwrap(), new::store::open("default").unwrap());
    let mut held = Vec::new();
    let refused = loop {
        match bucket.snapshot() {
            Ok(snapshot) => held.push(snapshot),
            Err(error) => break error,
        }
        assert!(held.len() < 10_000, "there is no limit");
    };
    let too_many = |why: &str| why.contains("too many handles");
    assert!(matches!(&refused, Error::Other(why) if too_many(why)), "{refused:?}");
    assert!(matches!(bucket.begin(Isolation::Snapshot), Err(Error::Other(why)) if too_many(&why)));
    assert!(matches!(new::store::open("default"), Err(new::store::Error::Other(why)) if too_many(&why)));
    assert!(matches!(Cas::new(&text, "a"), Err(new::store::Error::Other(why)) if too_many(&why)));
    // What takes none goes on.
    put(&bucket, b"a", b"1");
    held.truncate(held.len() / 2);
    own::Transaction::commit(bucket.begin(Isolation::Serializable).unwrap()).unwrap();
    bucket.delete(b"a").unwrap();
}

fn leave() {
    new::store::open("default").unwrap().set("left", b"behind").unwrap();
}

fn again() {
    let bucket = new::store::open("default").unwrap();
    assert_eq!(bucket.get("left").unwrap(), Some(b("behind")));
    bucket.delete("left").unwrap();
}

fn rights() {
    assert!(matches!(new::store::open("denied"), Err(new::store::Error::AccessDenied)));
    assert!(matches!(old::store::open("denied"), Err(old::store::Error::AccessDenied)));
    assert!(matches!(own::open("denied"), Err(Error::AccessDenied)));
    assert!(matches!(new::store::open("unknown"), Err(new::store::Error::NoSuchStore)));
    let (text, bucket) = (new::store::open("read-only").unwrap(), own::open("read-only").unwrap());
    assert_eq!(text.get("a").unwrap(), Some(b("1")));
    let denied = [
        text.set("a", b"2").unwrap_err(),
        text.delete("a").unwrap_err(),
        new::atomics::increment(&text, "a", 1).unwrap_err(),
        new::batch::set_many(&text, &[("a".into(), b("2"))]).unwrap_err(),
        new::batch::delete_many(&text, &["a".into()]).unwrap_err(),
    ];
    assert!(denied.iter().all(|error| matches!(error, new::store::Error::AccessDenied)), "{denied:?}");
    let swap = new::atomics::swap(Cas::new(&text, "a").unwrap(), b"2");
    assert!(matches!(swap, Err(CasError::StoreError(new::store::Error::AccessDenied))));
    let transaction = bucket.begin(Isolation::Serializable).unwrap();
    let denied = [
        bucket.put(b"a", b"2", Lifetime::ForEver).unwrap_err(),
        bucket.delete(b"a").unwrap_err(),
        bucket.delete_keys(&Keys::All).unwrap_err(),
        bucket.write(&[Write::Delete(b("a"))]).unwrap_err(),
        bucket.compare_and_swap(b"a", Some(b"1"), None).unwrap_err(),
        bucket.increment(b"a", 1).unwrap_err(),
        bucket.set_lifetime(b"a", Lifetime::Milliseconds(0)).unwrap_err(),
        transaction.put(b"a", b"2", Lifetime::ForEver).unwrap_err(),
        transaction.delete(b"a").unwrap_err(),
        transaction.delete_keys(&Keys::All).unwrap_err(),
    ];
    assert!(denied.iter().all(|error| matches!(error, Error::AccessDenied)), "{denied:?}");
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "a");
}

/// Of 1000 bytes and 3 keys.
fn quotas() {
    let bucket = own::open("small").unwrap();
    let full = |done: Result<(), Error>| assert!(matches!(done, Err(Error::QuotaExceeded)), "{done:?}");
    put(&bucket, b"a", &[0; 499]);
    put(&bucket, b"b", &[0; 499]);
    full(bucket.put(b"c", b"", Lifetime::ForEver));
    full(bucket.put(b"b", &[0; 500], Lifetime::ForEver));
    // What takes no more room than before goes.
    put(&bucket, b"b", &[1; 499]);
    put(&bucket, b"b", &[1; 100]);
    put(&bucket, b"c", &[1; 100]);
    full(bucket.put(b"d", b"", Lifetime::ForEver));
    full(bucket.write(&[Write::Put(Put { key: b("d"), value: b(""), lifetime: Lifetime::ForEver })]));
    full(bucket.compare_and_swap(b"d", None, Some(b"")).map(drop));
    full(bucket.increment(b"d", 1).map(drop));
    let transaction = bucket.begin(Isolation::Serializable).unwrap();
    transaction.put(b"d", b"", Lifetime::ForEver).unwrap();
    full(own::Transaction::commit(transaction));
    // One that makes room for itself.
    let transaction = bucket.begin(Isolation::Serializable).unwrap();
    transaction.delete(b"c").unwrap();
    transaction.put(b"d", b"7", Lifetime::ForEver).unwrap();
    own::Transaction::commit(transaction).unwrap();
    assert!(!bucket.compare_and_swap(b"d", Some(b"8"), Some(b"9")).unwrap());
    assert_eq!(bucket.increment(b"d", 1).unwrap(), 8);
    assert_eq!(scanned(bucket.scan(&Keys::All, Order::empty()).unwrap()), "a b d");
    let text = new::store::open("small").unwrap();
    assert!(matches!(text.set("e", b""), Err(new::store::Error::Other(_))));
    bucket.delete_keys(&Keys::Prefix(b("a"))).unwrap();
    put(&bucket, b"e", &[0; 800]);
    full(bucket.put(b"f", b"", Lifetime::ForEver));
    bucket.delete_keys(&Keys::All).unwrap();
}

fn expired() {
    let bucket = own::open("small").unwrap();
    for key in [b"a", b"b", b"c"] {
        bucket.put(key, b"", Lifetime::Milliseconds(0)).unwrap();
    }
    put(&bucket, b"d", &[0; 900]);
    assert!(matches!(bucket.put(b"e", &[0; 900], Lifetime::ForEver), Err(Error::QuotaExceeded)));
    bucket.delete_keys(&Keys::All).unwrap();
}
