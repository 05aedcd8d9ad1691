//! Transactions that are run again until nothing stands against them.

use super::*;

/// A hundred tasks that each add one to the same number: none is lost, and none fails.
#[test]
fn contended_updates_all_count() {
    everywhere(async |db, _| {
        let tasks = (0..24).map(|task| {
            let db = db.clone();
            async move {
                let isolation = BOTH[task % 2];
                let options = TransactionOptions { isolation, attempts_max: 1000, ..TransactionOptions::default() };
                db.transact_with(options, async |transaction| {
                    let sum = number(&transaction, "n").await + 1;
                    transaction.put("n", sum.to_string())?;
                    Ok(sum)
                })
                .await
                .unwrap()
            }
        });
        let mut sums = ends("24 tasks", futures::future::join_all(tasks)).await.unwrap();
        sums.sort_unstable();
        assert_eq!(sums, (1..=24).collect::<Vec<_>>());
    });
}

#[test]
fn attempts_are_bounded() {
    everywhere(async |db, _| {
        for (attempts_max, expected) in [(0, 1), (1, 1), (7, 7)] {
            let runs = Cell::new(0);
            let options = TransactionOptions { attempts_max, ..TransactionOptions::default() };
            let outcome = db.transact_with(options, async |transaction| {
                runs.set(runs.get() + 1);
                transaction.get("a").await?;
                transaction.put("b", "1")?;
                db.put("a", "1").await
            });
            assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(runs.get(), expected);
            assert_eq!(db.get("b").await.unwrap(), None);
        }
    });
}

/// A failure of the work rolls back and is the answer; so is what it returns after having rolled back itself.
#[test]
fn the_work_may_give_up() {
    everywhere(async |db, _| {
        let failed = db.transact(async |transaction| {
            transaction.put("a", "1")?;
            transaction.put(vec![0; 1 << 20], "too long")
        });
        assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let answer = db.transact(async |transaction| {
            transaction.put("a", "1")?;
            transaction.rollback();
            Ok("not today")
        });
        assert_eq!(answer.await.unwrap(), "not today");
        assert!(read_all(&db).await.unwrap().is_empty());
        let own_commit = db.transact(async |transaction| {
            transaction.put("a", "1")?;
            transaction.commit_with(Durability::Written).await?;
            Ok(3)
        });
        assert_eq!(own_commit.await.unwrap(), 3);
        assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"1")));
    });
}

/// Its future can be spawned, whichever way the work is written.
#[test]
fn it_runs_on_any_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let db = Db::open("mem:").await.unwrap();
        let (one, two) = (db.clone(), db.clone());
        let keys = ["a".to_owned(), "b".to_owned()];
        let first = tokio::spawn(async move {
            let keys = &keys;
            one.transact(|transaction| async move {
                transaction.put(&keys[0], "1")?;
                transaction.get(&keys[1]).await
            })
            .await
        });
        let second = tokio::spawn(async move {
            two.transact(async |transaction| {
                transaction.get("a").await?;
                transaction.put("c", "1")
            })
            .await
        });
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        db.close().await.unwrap();
    });
}
