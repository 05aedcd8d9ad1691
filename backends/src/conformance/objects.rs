//! Promises about whole objects: creating, uploading, reading, mapping, deleting.

use super::{fails, good, holds, holds_bytes, list, path, pattern};
use crate::{Backend, ErrorKind};
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;

/// What was created is there at once: it exists, opens, reads back whole and is listed, the empty object too.
pub async fn created_objects_are_whole_and_listed(backend: &dyn Backend) {
    let promise = "a created object is there at once, whole and listed";
    for (name, len) in [("a", 0), ("b", 1), ("folder/c", 511), ("folder/deeper/d", 70_000)] {
        let (name, data) = (path(name), pattern(len, 1));
        good(promise, backend.create(&name, data.clone()).await);
        holds(promise, good(promise, backend.exists(&name).await));
        holds_bytes(promise, backend, &name, &data).await;
        let entry = (name.as_str().to_owned(), len as u64);
        holds(promise, good(promise, list(backend, "").await).contains(&entry));
    }
}

/// A name is created once; a second attempt fails and changes nothing, until the name is deleted.
pub async fn second_creates_fail(backend: &dyn Backend) {
    let promise = "a second create of a name fails with AlreadyExists and changes nothing";
    let name = path("manifest/1");
    good(promise, backend.create(&name, "first".into()).await);
    for data in ["first", "second", ""] {
        fails(promise, ErrorKind::AlreadyExists, backend.create(&name, data.into()).await);
        holds_bytes(promise, backend, &name, b"first").await;
    }
    let promise = "a deleted name can be created again";
    good(promise, backend.delete(&name).await);
    good(promise, backend.create(&name, "third".into()).await);
    holds_bytes(promise, backend, &name, b"third").await;
}

/// Of many creates at once, exactly one wins, and the object is the winner's. `handles` all lead to the same store:
/// give several to prove a store that several processes share.
pub async fn racing_creates(handles: &[Arc<dyn Backend>]) {
    let promise = "of racing creates exactly one succeeds, and the object is the winner's, whole";
    const RACERS: usize = 16;
    for round in 0..8 {
        let name = path(&format!("race/{round}"));
        let data: Vec<_> = (0..RACERS).map(|racer| pattern(5000, racer as u32)).collect();
        let attempts =
            data.iter().zip(handles.iter().cycle()).map(|(data, backend)| backend.create(&name, data.clone()));
        let results = join_all(attempts).await;
        let winners: Vec<_> = (0..RACERS).filter(|racer| results[*racer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "broken promise: {promise}: the winners of round {round} were {winners:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "broken promise: {promise}: a loser got {error:?}");
        }
        for backend in handles {
            holds_bytes(promise, &**backend, &name, &data[winners[0]]).await;
        }
    }
}

/// A read returns the bytes of its range, all of them and no others, or an error.
pub async fn reads_are_exact(backend: &dyn Backend) {
    let promise = "a read returns exactly its range";
    let (name, data) = (path("segments/1"), pattern(10_000, 3));
    good(promise, backend.create(&name, data.clone()).await);
    let object = good(promise, backend.open(&name).await);
    for (start, end) in
        [(0, 0), (0, 1), (0, 10_000), (1, 9_999), (4095, 4097), (4096, 8192), (9_999, 10_000), (10_000, 10_000)]
    {
        let read = good(promise, object.read(start..end).await);
        holds(promise, read == data[start as usize..end as usize]);
    }
    let promise = "a read past the end fails with UnexpectedEof and returns no part";
    for (start, end) in [(0, 10_001), (10_000, 10_001), (20_000, 20_001), (5, u64::MAX), (u64::MAX, u64::MAX)] {
        fails(promise, ErrorKind::UnexpectedEof, object.read(start..end).await);
    }
    let promise = "a range that ends before it begins is InvalidInput";
    let (start, end) = (7, 3);
    fails(promise, ErrorKind::InvalidInput, object.read(start..end).await);
}

/// What is not there does not exist and does not open; nothing is made by asking.
pub async fn absent_names_are_not_found(backend: &dyn Backend) {
    let promise = "an absent name does not exist, opens with NotFound, and is not made by asking";
    let taken = path("a/b/c");
    good(promise, backend.create(&taken, "x".into()).await);
    // Also names that are folders of others.
    for name in ["x", "x/y", "a", "a/b", "a/b/c-d", "a/b/d"].map(path) {
        holds(promise, !good(promise, backend.exists(&name).await));
        fails(promise, ErrorKind::NotFound, backend.open(&name).await);
    }
    holds(promise, good(promise, list(backend, "").await) == [("a/b/c".into(), 1)]);
}

/// Deleting removes the name from everything that shows it, and is Ok where there is none.
pub async fn deletes_are_idempotent(backend: &dyn Backend) {
    let promise = "delete removes the name, and is Ok where there is none";
    let (name, other) = (path("segments/1"), path("segments/2"));
    good(promise, backend.delete(&name).await);
    good(promise, backend.create(&name, "x".into()).await);
    good(promise, backend.create(&other, "y".into()).await);
    for _ in 0..2 {
        good(promise, backend.delete(&name).await);
        holds(promise, !good(promise, backend.exists(&name).await));
        fails(promise, ErrorKind::NotFound, backend.open(&name).await);
        holds(promise, good(promise, list(backend, "segments").await) == [("segments/2".into(), 1)]);
    }
}

/// An object opened before its name was deleted reads as before, or says that it is gone.
pub async fn open_objects_outlive_their_names_or_say_so(backend: &dyn Backend) {
    let promise = "an open object whose name was deleted reads as before or fails with NotFound";
    let (name, data) = (path("segments/1"), pattern(50_000, 4));
    good(promise, backend.create(&name, data.clone()).await);
    let object = good(promise, backend.open(&name).await);
    let map = object.map();
    good(promise, backend.delete(&name).await);
    match object.read(100..40_000).await {
        Ok(read) => holds(promise, read == data[100..40_000]),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "broken promise: {promise}: {error:?}"),
    }
    drop(object);
    holds("mapped bytes stay valid whatever happens to the name", map.is_none_or(|map| map == data));
}

/// An open object is not taken for a later one of the same name.
pub async fn open_objects_never_become_others(backend: &dyn Backend) {
    let promise = "an open object whose name went to another reads as before or fails with NotFound";
    let (name, data) = (path("segments/1"), pattern(50_000, 4));
    good(promise, backend.create(&name, data.clone()).await);
    let object = good(promise, backend.open(&name).await);
    let map = object.map();
    good(promise, backend.delete(&name).await);
    good(promise, backend.create(&name, pattern(50_000, 5)).await);
    match object.read(100..40_000).await {
        Ok(read) => holds(promise, read == data[100..40_000]),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "broken promise: {promise}: {error:?}"),
    }
    drop(object);
    holds("mapped bytes stay valid whatever happens to the name", map.is_none_or(|map| map == data));
}

/// Where an object maps, the map is the object.
pub async fn maps_are_the_object(backend: &dyn Backend) {
    let promise = "a map holds the object's bytes, all of them and no more";
    for len in [0, 1, 4095, 4096, 4097, 100_000] {
        let (name, data) = (path(&format!("segments/{len}")), pattern(len, 6));
        good(promise, backend.create(&name, data.clone()).await);
        let object = good(promise, backend.open(&name).await);
        holds(promise, object.map().is_none_or(|map| map == data));
        holds(promise, object.map().is_none_or(|map| map == data));
    }
}

/// An object that another store takes over, where it can, is there, whole, and each name lives by itself.
pub async fn shared_objects_live_by_themselves(source: &dyn Backend, target: &dyn Backend) {
    let promise = "an adopted object is there, whole, and outlives the name it was adopted from";
    let (from, to, data) = (path("segments/1"), path("segments/2"), pattern(70_000, 9));
    good(promise, source.create(&from, data.clone()).await);
    let Some(shared) = good(promise, source.open(&from).await).shared() else { return };
    let before = good(promise, list(target, "").await);
    if !good(promise, target.adopt(&to, &shared).await) {
        holds("what cannot be adopted leaves nothing", good(promise, list(target, "").await) == before);
        return;
    }
    holds_bytes(promise, target, &to, &data).await;
    fails("a name that is taken is not adopted", ErrorKind::AlreadyExists, target.adopt(&to, &shared).await);
    good(promise, source.delete(&from).await);
    holds_bytes(promise, target, &to, &data).await;
    good(promise, target.delete(&to).await);
    holds(promise, !good(promise, target.exists(&to).await));
}

/// An upload shows nothing until it is finished, and then everything.
pub async fn uploads_appear_at_finish(backend: &dyn Backend) {
    let promise = "an uploaded object appears when the upload is finished, whole";
    for (count, len) in [(0, 0), (1, 0), (1, 10), (100, 100), (3, 600_000)] {
        let name = path(&format!("segments/{count}-{len}"));
        let parts: Vec<_> = (0..count).map(|part| pattern(len, part)).collect();
        let before = good(promise, list(backend, "").await);
        let mut upload = good(promise, backend.upload(&name).await);
        for part in &parts {
            good(promise, upload.write(part.clone()).await);
            holds(promise, !good(promise, backend.exists(&name).await));
        }
        holds("an unfinished upload is not listed", good(promise, list(backend, "").await) == before);
        good(promise, upload.finish().await);
        holds_bytes(promise, backend, &name, &parts.concat()).await;
        let entry = (name.as_str().to_owned(), u64::from(count) * len as u64);
        holds(promise, good(promise, list(backend, "segments").await).contains(&entry));
    }
}

/// An upload aborted or dropped never appears, and its name is free.
pub async fn uploads_given_up_leave_nothing(backend: &dyn Backend) {
    let promise = "an upload aborted or dropped never appears";
    let name = path("segments/1");
    for abort in [true, false] {
        let mut upload = good(promise, backend.upload(&name).await);
        good(promise, upload.write(pattern(1_500_000, 7)).await);
        if abort {
            good(promise, upload.abort().await);
        } else {
            drop(upload);
        }
        holds(promise, !good(promise, backend.exists(&name).await));
        holds(promise, good(promise, list(backend, "").await).is_empty());
    }
    good("the name of an upload given up is free", backend.create(&name, "x".into()).await);
}

/// Large objects arrive whole, however they are made.
pub async fn large_objects_are_whole(backend: &dyn Backend) {
    let promise = "a large object is whole";
    let data = pattern(9_000_000, 8);
    good(promise, backend.create(&path("one"), data.clone()).await);
    holds_bytes(promise, backend, &path("one"), &data).await;
    let mut upload = good(promise, backend.upload(&path("two")).await);
    let mut rest = data.clone();
    for part_len in [1, 5_000_000, 0, 70_000].into_iter().cycle() {
        let part = rest.split_to(rest.len().min(part_len));
        good(promise, upload.write(part).await);
        if rest.is_empty() {
            break;
        }
    }
    good(promise, upload.finish().await);
    holds_bytes(promise, backend, &path("two"), &data).await;
}

/// One object serves many reads at once.
pub async fn reads_run_at_once(backend: &dyn Backend) {
    let promise = "reads of one object may run at once";
    let (name, data) = (path("segments/1"), pattern(100_000, 9));
    good(promise, backend.create(&name, data.clone()).await);
    let object = good(promise, backend.open(&name).await);
    let reads = (0..64_u64).map(|read| object.read(read * 1000..read * 1000 + 1500));
    for (read, bytes) in join_all(reads).await.into_iter().enumerate() {
        let bytes: Bytes = good(promise, bytes);
        holds(promise, bytes == data[read * 1000..read * 1000 + 1500]);
    }
}
