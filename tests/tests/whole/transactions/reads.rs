//! What a transaction reads: one moment, and its own writes on top.

use super::*;

#[test]
fn a_transaction_reads_its_own_writes() {
    everywhere(async |db, world| {
        with(&db, &[("a", "1"), ("b", "1"), ("d", "1")]).await;
        let transaction = db.begin();
        transaction.put("b", "2").unwrap();
        transaction.put("c", "2").unwrap();
        transaction.delete("d").unwrap();
        transaction.put_with("e", "2", Duration::ZERO).unwrap();
        transaction.put_with("f", "2", Duration::from_millis(5)).unwrap();
        transaction.put("g", "3").unwrap();
        transaction.delete("g").unwrap();
        // Its time stands still.
        world.clock.advance(1000);
        let expected = [("a", "1"), ("b", "2"), ("c", "2"), ("f", "2")];
        let found: Vec<_> = transaction.scan(..).try_collect().await.unwrap();
        let pairs: Vec<_> = found.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        assert_eq!(pairs, expected.map(|(key, value)| (Bytes::from(key), Bytes::from(value))));
        assert!(found[0].seq > 0 && found[1..].iter().all(|entry| entry.seq == 0));
        for key in ["a", "b", "c", "d", "e", "f", "g"] {
            let expected = expected.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
            assert_eq!(text(&transaction, key).await.as_deref(), expected, "{key}");
            assert_eq!(transaction.contains(key).await.unwrap(), expected.is_some());
        }
        assert_eq!(db.get("c").await.unwrap(), None);
        let keys: Vec<_> = transaction.scan("b"..="f").keys_only().limit(2).try_collect().await.unwrap();
        assert!(keys.iter().map(|entry| &entry.key[..]).eq([b"b", b"c"]));
        assert!(keys.iter().all(|entry| entry.value.is_empty()));
        transaction.commit().await.unwrap();
        assert_eq!(keys_of(&db).await, ["a", "b", "c"], "what expired while it was open is gone");
    });
}

async fn keys_of(db: &Db) -> Vec<String> {
    read_all(db).await.unwrap().into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

/// A scan of a transaction shows what a model of it does, whatever lies in the store, in memory and in its writes.
#[test]
fn scans_agree_with_a_model() {
    everywhere(async |db, _| {
        let mut random = Random::new(77);
        for round in 0..30 {
            for _ in 0..20 {
                let key = format!("k{}", random.below(40));
                let options = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
                match random.chance(25) {
                    true => db.delete_with(key, options).await.unwrap(),
                    false => db.put_with(key, "x".repeat(random.below(90) as usize), options).await.unwrap(),
                }
            }
            let transaction = begin(&db, random.pick(&BOTH));
            let mut model = read_all(&db).await.unwrap();
            for n in 0..random.below(30) {
                let key = format!("k{}", random.below(40));
                if random.chance(40) {
                    transaction.delete(&key).unwrap();
                    model.remove(key.as_bytes());
                } else {
                    transaction.put(&key, format!("{n}")).unwrap();
                    model.insert(key.into_bytes(), format!("{n}").into());
                }
            }
            let (from, to) = (format!("k{}", random.below(40)), format!("k{}", random.below(40)));
            let limit = random.pick(&[0, 1, 5, usize::MAX]);
            let found = transaction.scan(from.clone()..to.clone()).limit(limit);
            let found: Vec<_> = found.map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
            let inside = |key: &[u8]| from.as_bytes() <= key && key < to.as_bytes();
            let expected = model.iter().filter(|(key, _)| inside(key)).take(limit);
            let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
            assert_eq!(found, expected, "round {round}, {from}..{to}");
            transaction.commit().await.unwrap();
            assert_eq!(read_all(&db).await.unwrap(), model);
        }
    });
}

/// What lies behind the entry at which a scan was left was not read.
#[test]
fn a_scan_counts_as_far_as_it_got() {
    everywhere(async |db, _| {
        for (write, conflict) in [("0", false), ("a", true), ("c", true), ("d", true), ("da", false), ("x", false)] {
            for held in [true, false] {
                for by_limit in [true, false] {
                    with(&db, &[("b", "1"), ("d", "1"), ("f", "1")]).await;
                    let transaction = db.begin();
                    let mut scan = transaction.scan("a"..);
                    if by_limit {
                        scan = scan.limit(2);
                    }
                    for key in [b"b", b"d"] {
                        assert_eq!(&scan.try_next().await.unwrap().unwrap().key[..], key);
                    }
                    if by_limit {
                        assert!(scan.try_next().await.unwrap().is_none());
                    }
                    let _held = held.then_some(scan);
                    transaction.put("sum", "2").unwrap();
                    db.put(write, "new").await.unwrap();
                    assert_eq!(conflicts(transaction).await, conflict, "{write} held={held} by_limit={by_limit}");
                    db.delete(write).await.unwrap();
                    db.delete("sum").await.unwrap();
                }
            }
        }
    });
}

/// Nor was anything read that was not asked for, and all of it once the scan has come to its end.
#[test]
fn a_scan_to_its_end_counts_whole_and_one_not_begun_not_at_all() {
    everywhere(async |db, _| {
        for (begun, write, conflict) in
            [(false, "b", false), (true, "c", true), (true, "a", true), (true, "e", false), (true, "dz", true)]
        {
            with(&db, &[("b", "1")]).await;
            let transaction = db.begin();
            let scan = transaction.scan("a".."e");
            if begun {
                assert_eq!(scan.try_collect::<Vec<_>>().await.unwrap().len(), 1);
            }
            transaction.put("sum", "1").unwrap();
            db.put(write, "new").await.unwrap();
            assert_eq!(conflicts(transaction).await, conflict, "{write}");
            db.delete(write).await.unwrap();
        }
    });
}

/// Its own writes are no reads: others may change what it has only seen as its own.
#[test]
fn what_it_has_written_itself_was_not_read() {
    everywhere(async |db, _| {
        let transaction = db.begin();
        transaction.put("a", "mine").unwrap();
        assert_eq!(text(&transaction, "a").await.as_deref(), Some("mine"));
        db.put("a", "yours").await.unwrap();
        assert!(!conflicts(transaction).await);
        assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"mine")));
    });
}

/// What was read as there and has expired since would not be there at the moment of the commit.
#[test]
fn what_expires_meanwhile_stands_against_it() {
    everywhere(async |db, world| {
        for isolation in BOTH {
            for by_scan in [true, false] {
                let options = WriteOptions { ttl: Some(Duration::from_millis(100)), ..WriteOptions::default() };
                db.put_with("session", "1", options).await.unwrap();
                let (one, two) = (begin(&db, isolation), begin(&db, isolation));
                for (transaction, seen) in [(&one, "1"), (&two, "2")] {
                    match by_scan {
                        true => assert_eq!(keys(transaction, "session").await.len(), 1),
                        false => assert!(transaction.contains("session").await.unwrap()),
                    }
                    transaction.put(seen, "1").unwrap();
                }
                world.clock.advance(99);
                assert!(!conflicts(one).await);
                world.clock.advance(1);
                assert_eq!(conflicts(two).await, isolation == Isolation::Serializable);
            }
        }
    });
}
