#![allow(clippy::unwrap_used)]
use super::*;
use crate::backends::{Backend, Memory};
use crate::{ErrorKind, Options};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    title: String,
    likes: u32,
}

fn post(title: &str, likes: u32) -> Post {
    Post { title: title.to_owned(), likes }
}

async fn open(memory: Memory) -> Db {
    let backend: Arc<dyn Backend> = Arc::new(memory);
    let options = Options { segment_bytes_max: 4096, ..Options::default() };
    Db::builder(backend).options(options).open().await.unwrap()
}

#[tokio::test]
async fn a_collection_is_a_map() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(memory).await;
        let posts = db.collection::<(String, i32), Post>("posts");
        let mut model = BTreeMap::new();
        for (author, number) in [("ada", 3), ("ada", -1), ("bob", 0), ("", 7), ("ad\0a", 1), ("ada", i32::MIN)] {
            let (key, value) = ((author.to_owned(), number), post(author, number as u32));
            posts.put(&key, &value).await.unwrap();
            model.insert(key, value);
        }
        assert_eq!(posts.get(("ada".to_owned(), -1)).await.unwrap(), Some(post("ada", u32::MAX)));
        assert_eq!(posts.get(("ada".to_owned(), 4)).await.unwrap(), None);
        assert!(posts.contains(("bob".to_owned(), 0)).await.unwrap());

        let all: Vec<_> = posts.scan(..).try_collect().await.unwrap();
        assert_eq!(all, model.clone().into_iter().collect::<Vec<_>>());
        let (from, to) = (("ada".to_owned(), -1), ("b".to_owned(), 0));
        let some: Vec<_> = posts.scan(&from..&to).try_collect().await.unwrap();
        assert_eq!(some, model.range(from..to).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>());
        let adas: Vec<_> = posts.prefix(("ada",)).keys().try_collect().await.unwrap();
        assert_eq!(adas.iter().map(|key| key.1).collect::<Vec<_>>(), [i32::MIN, -1, 3]);
        assert_eq!(posts.scan(..).limit(2).count().await, 2);

        posts.delete(("ada".to_owned(), 3)).await.unwrap();
        assert_eq!(posts.prefix(("ada",)).count().await, 2);
        let gone = WriteOptions { ttl: Some(Duration::ZERO), ..WriteOptions::default() };
        posts.put_with(("bob".to_owned(), 0), &post("bob", 1), gone).await.unwrap();
        assert_eq!(posts.get(("bob".to_owned(), 0)).await.unwrap(), None);
        db.close().await.unwrap();
    }
}

/// Names that begin with one another, and that hold what ends names: none reaches into another.
#[tokio::test]
async fn collections_keep_apart_whatever_their_names() {
    let db = open(Memory::new()).await;
    let names = ["", "\0", "\0\0", "a", "a\0", "a\0\0", "a\0\u{1}", "ab", "b", "a\u{ff}"];
    db.put("a", "no collection").await.unwrap();
    for (index, name) in names.iter().enumerate() {
        let collection = db.collection::<Option<String>, usize>(name);
        for key in [None, Some(String::new()), Some("\0".to_owned()), Some("b".to_owned())] {
            collection.put(&key, &index).await.unwrap();
        }
    }
    for (index, name) in names.iter().enumerate() {
        let collection = db.collection::<Option<String>, usize>(name);
        let entries: Vec<_> = collection.scan(..).try_collect().await.unwrap();
        assert_eq!(entries.len(), 4, "{name:?}");
        assert!(entries.iter().all(|(_, value)| *value == index), "{name:?}");
        assert_eq!(collection.scan(Some(String::new())..).count().await, 3, "{name:?}");
        assert_eq!(collection.scan(..=None).count().await, 1, "{name:?}");
    }
    assert_eq!(db.scan(..).count().await, names.len() * 4 + 1);
}

#[tokio::test]
async fn batches_are_atomic_across_collections_and_snapshots_stand_still() {
    let db = open(Memory::new()).await;
    let posts = db.collection::<u64, Post>("posts");
    let titles = db.collection::<String, u64>("titles");
    let mut batch = WriteBatch::new();
    posts.put_in(&mut batch, 1, &post("one", 0)).unwrap();
    titles.put_in(&mut batch, "one", &1).unwrap();
    titles.put_in(&mut batch, "two", &2).unwrap();
    titles.delete_in(&mut batch, "two");
    db.write(batch).await.unwrap();
    let before = db.snapshot();
    assert_eq!(db.get_entry(titles.place.encode_key(&"one")).await.unwrap().unwrap().seq, 2);

    titles.delete("one").await.unwrap();
    posts.put(1, &post("uno", 1)).await.unwrap();
    let (old_posts, old_titles) = (before.collection::<u64, Post>("posts"), before.collection::<String, u64>("titles"));
    assert_eq!(old_posts.get(1).await.unwrap(), Some(post("one", 0)));
    assert_eq!(old_titles.scan(..).try_collect::<Vec<_>>().await.unwrap(), [("one".to_owned(), 1)]);
    assert!(!titles.contains("one").await.unwrap() && !titles.contains("two").await.unwrap());
    assert_eq!(old_titles.prefix("o").keys().try_collect::<Vec<_>>().await.unwrap(), ["one"]);
}

#[tokio::test]
async fn what_does_not_decode_names_collection_and_key() {
    let db = open(Memory::new()).await;
    db.collection::<String, String>("texts").put("k", &"longer than a number".to_owned()).await.unwrap();
    let numbers = db.collection::<String, u64>("texts");
    let error = numbers.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    let text = error.to_string();
    assert!(text.contains("collection=texts") && text.contains(r"key=k\x00\x00"), "{text}");

    // A scan goes on behind an entry that it cannot decode.
    numbers.put("l", &7).await.unwrap();
    let found: Vec<_> = numbers.scan(..).collect().await;
    assert_eq!(found[0].as_ref().unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(*found[1].as_ref().unwrap(), ("l".to_owned(), 7));

    let other_keys = db.collection::<u8, String>("texts");
    let error = other_keys.scan(..).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert!(error.to_string().contains("2 bytes are left over"), "{error}");
}

#[tokio::test]
async fn ranges_of_one_collection_are_deleted_and_of_no_other() {
    let db = open(Memory::new()).await;
    let (users, others) = (db.collection::<u32, String>("users"), db.collection::<u32, String>("users\0"));
    for number in 0..10 {
        users.put(number, &"u".to_owned()).await.unwrap();
        others.put(number, &"o".to_owned()).await.unwrap();
    }
    users.delete_range(3..7).await.unwrap();
    let mut batch = WriteBatch::new();
    users.delete_range_in(&mut batch, 8..);
    users.put_in(&mut batch, 9, &"again".to_owned()).unwrap();
    db.write(batch).await.unwrap();
    let left: Vec<_> = users.scan(..).map(|entry| entry.unwrap().0).collect().await;
    assert_eq!(left, [0, 1, 2, 7, 9]);
    users.clear().await.unwrap();
    assert_eq!((users.scan(..).count().await, others.scan(..).count().await), (0, 10));
}

/// Reads and writes are the transaction's: it sees its own, others do not until it is committed, and what it has read
/// stands against it.
#[tokio::test]
async fn collections_in_a_transaction() {
    let db = open(Memory::new()).await;
    let (users, names) = (db.collection::<u32, String>("users"), db.collection::<String, u32>("names"));
    for number in [1, 2, 3] {
        users.put(number, &number.to_string()).await.unwrap();
    }
    let begin = || {
        let transaction = db.begin();
        let users = transaction.collection::<u32, String>("users");
        let names = transaction.collection::<String, u32>("names");
        (transaction, users, names)
    };
    let (transaction, in_users, in_names) = begin();
    in_users.delete(2).unwrap();
    in_users.put(5, &"5".to_owned()).unwrap();
    in_users.put_with(6, &"6".to_owned(), Duration::ZERO).unwrap();
    in_names.put("five", &5).unwrap();
    assert_eq!((in_users.get(5).await.unwrap().as_deref(), in_users.get(2).await.unwrap()), (Some("5"), None));
    assert!(!in_users.contains(6).await.unwrap(), "it has expired");
    let all: Vec<u32> = in_users.scan(..).keys().try_collect().await.unwrap();
    assert_eq!(all, [1, 3, 5]);
    let last: Vec<_> = in_users.scan(..=3).rev().limit(1).try_collect().await.unwrap();
    assert_eq!(last, [(3, "3".to_owned())]);
    assert_eq!((users.scan(..).count().await, names.scan(..).count().await), (3, 0), "nothing shows yet");
    transaction.commit().await.unwrap();
    assert_eq!((users.scan(..).count().await, names.get("five").await.unwrap()), (3, Some(5)));
    assert_eq!(in_users.put(7, &"7".to_owned()).unwrap_err().kind(), ErrorKind::InvalidInput, "it has ended");

    let (transaction, in_users, in_names) = begin();
    in_users.delete_range(..3).unwrap();
    in_names.clear().unwrap();
    assert_eq!((in_users.scan(..).count().await, in_names.scan(..).count().await), (2, 0));
    users.put(4, &"4".to_owned()).await.unwrap();
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Conflict, "a key came where it has looked");
    assert_eq!((users.scan(..).count().await, names.scan(..).count().await), (4, 1));
}

#[tokio::test]
async fn what_serde_cannot_encode_is_refused() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            // postcard needs to know lengths ahead.
            serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
        }
    }
    let db = open(Memory::new()).await;
    let collection = db.collection::<u8, Endless>("endless");
    let mut batch = WriteBatch::new();
    assert_eq!(collection.put_in(&mut batch, 1, &Endless).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(batch.is_empty());
    assert_eq!(collection.put(1, &Endless).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let in_transaction = db.begin().collection::<u8, Endless>("endless");
    assert_eq!(in_transaction.put(1, &Endless).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// The example in `FORMAT.md`.
#[test]
fn a_key_is_the_pair_of_name_and_key() {
    assert_eq!(Place::new("users").encode_key(&7_u32), *b"users\0\0\0\0\0\x07");
}
