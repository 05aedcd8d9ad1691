//! How transactions end, and what they leave behind.

use super::*;

fn kind<T: std::fmt::Debug>(outcome: halite::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

/// In [`Db::transact`] a handle may outlive its transaction; so may a scan.
#[test]
fn what_has_ended_says_so() {
    everywhere(async |db, _| {
        with(&db, &[("a", "1"), ("b", "1")]).await;
        let kept = std::cell::RefCell::new(None);
        db.transact(async |transaction| {
            let mut scan = transaction.scan(..);
            scan.try_next().await?;
            transaction.put("c", "1")?;
            *kept.borrow_mut() = Some((transaction, scan));
            Ok(())
        })
        .await
        .unwrap();
        let (transaction, mut scan) = kept.take().unwrap();
        assert_eq!(kind(transaction.get("a").await), ErrorKind::InvalidInput);
        assert_eq!(kind(transaction.put("a", "2")), ErrorKind::InvalidInput);
        assert_eq!(kind(transaction.delete("a")), ErrorKind::InvalidInput);
        assert_eq!(kind(transaction.scan(..).try_next().await), ErrorKind::InvalidInput);
        assert_eq!(kind(scan.try_next().await), ErrorKind::InvalidInput);
        assert!(scan.try_next().await.unwrap().is_none(), "after an error it ends");
        assert_eq!(kind(transaction.commit().await), ErrorKind::InvalidInput);
        assert_eq!(read_all(&db).await.unwrap().len(), 3);
    });
}

#[test]
fn bad_writes_are_refused_at_once_and_end_nothing() {
    everywhere(async |db, _| {
        let transaction = db.begin();
        assert_eq!(kind(transaction.put(vec![0; (64 << 10) + 1], "")), ErrorKind::InvalidInput);
        transaction.put("a", "1").unwrap();
        transaction.commit_with(Durability::Deferred).await.unwrap();
        assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"1")));
    });
}

#[test]
fn after_reopen_and_close_old_transactions_fail() {
    for mut world in worlds() {
        process(async {
            let db = world.open().await.unwrap();
            db.put("a", "1").await.unwrap();
            let [writer, blind, reader] = [(); 3].map(|()| db.begin());
            assert_eq!(text(&writer, "a").await.as_deref(), Some("1"));
            writer.put("a", "2").unwrap();
            blind.put("b", "2").unwrap();
            assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
            let next = db.reopen().await.unwrap();
            for transaction in [writer, blind] {
                assert_eq!(kind(ends("commit", transaction.commit()).await.unwrap()), ErrorKind::Fenced);
            }
            let late = db.begin();
            late.put("a", "3").unwrap();
            assert_eq!(kind(late.commit().await), ErrorKind::Fenced);
            let runs = Cell::new(0);
            let again = db.transact(async |transaction| {
                runs.set(runs.get() + 1);
                transaction.put("a", "3")
            });
            assert_eq!((kind(again.await), runs.get()), (ErrorKind::Fenced, 1));
            assert_eq!(kind(db.increment("n", 1).await), ErrorKind::Fenced);
            assert_eq!(read_all(&next).await.unwrap().len(), 1);

            let open = next.begin();
            open.put("a", "4").unwrap();
            next.close().await.unwrap();
            assert_eq!(kind(open.get("b").await), ErrorKind::Closed);
            assert_eq!(kind(open.commit().await), ErrorKind::Closed);
            assert_eq!(kind(next.compare_and_swap("a", None, None).await), ErrorKind::Closed);
        });
    }
}

/// So much is written while it is open that there is no saying any more whether anything stands against it.
#[test]
fn a_transaction_older_than_the_window_is_refused() {
    for (window, segments, refused) in [(0, 1, false), (0, 4, true), (64 << 10, 4, false), (64 << 10, 40, true)] {
        for append in [true, false] {
            let options = Options { transaction_window_bytes: window, ..small_options() };
            let mut world = World::new(Store::memory(append), options, 9);
            process(async {
                let db = world.open().await.unwrap();
                let [old, reader] = [(); 2].map(|()| db.begin());
                assert!(!old.contains("mine").await.unwrap());
                assert!(!reader.contains("other:0").await.unwrap());
                old.put("mine", "1").unwrap();
                for n in 0..segments * 10 {
                    db.put(format!("other:{n}"), "x".repeat(380)).await.unwrap();
                }
                let blind = db.begin();
                blind.put("blind", "1").unwrap();
                let story = format!("window={window} segments={segments} append={append}");
                assert_eq!(conflicts(old).await, refused, "{story}");
                assert!(!reader.contains("other:0").await.unwrap(), "{story}");
                assert!(!conflicts(reader).await && !conflicts(blind).await, "{story}");
                // One that begins now is compared with what comes now.
                let young = db.begin();
                assert_eq!(young.contains("mine").await.unwrap(), !refused);
                young.put("young", "1").unwrap();
                assert!(!conflicts(young).await, "{story}");
                db.close().await.unwrap();
            });
        }
    }
}
