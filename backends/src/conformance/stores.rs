//! Promises about the store as a whole: lists, names, leftovers, the lock.

use super::{fails, good, holds, holds_bytes, list, path, pattern};
use crate::{Backend, ErrorKind, Path};
use futures::future::join_all;
use futures::{FutureExt, TryStreamExt};

/// A list shows what lies in the folder, at any depth, and nothing else.
pub async fn lists_go_by_folder(backend: &dyn Backend) {
    let promise = "a list shows the names in its folder and no others";
    holds(promise, good(promise, list(backend, "").await).is_empty());
    holds("a folder that is not there lists as empty", good(promise, list(backend, "a").await).is_empty());
    let names = ["a/1", "a/2", "a/b/3", "a-b/4", "ab/5", "b/a/6", "c"];
    for name in names {
        good(promise, backend.create(&path(name), name.into()).await);
    }
    let expected: &[(&str, &[&str])] = &[
        ("", &["a-b/4", "a/1", "a/2", "a/b/3", "ab/5", "b/a/6", "c"]),
        ("a", &["a/1", "a/2", "a/b/3"]),
        ("a/b", &["a/b/3"]),
        ("ab", &["ab/5"]),
        ("b", &["b/a/6"]),
        ("c", &[]),
        ("a/1", &[]),
        ("x/y", &[]),
    ];
    for (folder, shown) in expected {
        let listed = good(promise, list(backend, folder).await);
        let with_len: Vec<_> = shown.iter().map(|name| ((*name).to_owned(), name.len() as u64)).collect();
        assert_eq!(listed, with_len, "broken promise: {promise}: the list of {folder:?}");
    }
}

/// A list is complete, however many names there are.
pub async fn lists_show_many_objects(backend: &dyn Backend) {
    let promise = "a list shows every object, once";
    let names: Vec<_> = (0..1200).map(|number| path(&format!("log/{:02}/{number:06}", number % 7))).collect();
    for some in names.chunks(100) {
        let created = join_all(some.iter().map(|name| backend.create(name, name.as_str().to_owned().into()))).await;
        created.into_iter().for_each(|result| good(promise, result));
    }
    let mut expected: Vec<_> =
        names.iter().map(|name| (name.as_str().to_owned(), name.as_str().len() as u64)).collect();
    expected.sort();
    holds(promise, good(promise, list(backend, "log").await) == expected);
    holds(promise, good(promise, list(backend, "").await) == expected);
    let deleted = join_all(names.iter().map(|name| backend.delete(name))).await;
    deleted.into_iter().for_each(|result| good(promise, result));
    holds("a list shows nothing that was deleted", good(promise, list(backend, "").await).is_empty());
}

/// Every legal name works, the longest too.
pub async fn all_legal_names_work(backend: &dyn Backend) {
    let promise = "every legal name works";
    let long_part = format!("{}/{}", "p".repeat(119), "q".repeat(Path::LEN_MAX - 120));
    let many_parts = vec!["x"; Path::LEN_MAX.div_ceil(2)].join("/");
    for name in
        ["0", "-", "_", "a.", "a..b", "a.tmp", "abcdefghijklmnopqrstuvwxyz-0123456789_.", &long_part, &many_parts]
    {
        let name = path(name);
        good(promise, backend.create(&name, name.as_str().to_owned().into()).await);
        holds_bytes(promise, backend, &name, name.as_str().as_bytes()).await;
        holds(promise, good(promise, list(backend, "").await).iter().any(|(listed, _)| listed == name.as_str()));
        good(promise, backend.delete(&name).await);
    }
}

/// A folder that is no legal name lists as empty or is refused.
pub async fn lists_never_leave_the_store(backend: &dyn Backend) {
    let promise = "a list never leaves its store";
    good(promise, backend.create(&path("a/b"), "x".into()).await);
    for folder in ["..", "../..", "/", ".", "a/..", "a/", "A"] {
        let listed: Result<Vec<_>, _> = backend.list(folder).try_collect().await;
        match listed {
            Ok(metas) => holds(promise, metas.is_empty()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "broken promise: {promise}: {error:?}"),
        }
    }
}

/// A create whose future is dropped has made the object whole, or not at all, or does so later.
pub async fn dropped_creates_are_whole_or_absent(backend: &dyn Backend) {
    let promise = "a dropped create leaves the object whole or absent, and the store as good as before";
    let data = pattern(200_000, 10);
    let names: Vec<_> = (0..16).map(|number| path(&format!("dropped/{number}"))).collect();
    for name in &names {
        drop(backend.create(name, data.clone()).now_or_never());
    }
    for name in &names {
        match backend.create(name, data.clone()).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => good(promise, result),
        }
        holds_bytes(promise, backend, name, &data).await;
    }
    holds(promise, good(promise, list(backend, "").await).len() == names.len());
}

/// Tidying removes leftovers only.
pub async fn tidying_removes_nothing_real(backend: &dyn Backend) {
    let promise = "tidying removes nothing that is listed";
    good(promise, backend.tidy().await);
    for name in ["a", "b/c", "tmp", "b/a.tmp"] {
        good(promise, backend.create(&path(name), "x".into()).await);
    }
    let before = good(promise, list(backend, "").await);
    good(promise, backend.tidy().await);
    holds(promise, good(promise, list(backend, "").await) == before);
    holds_bytes(promise, backend, &path("b/c"), b"x").await;
}

/// The lock has one holder at a time, or is not there at all, as the capabilities say.
pub async fn the_lock_is_exclusive(backend: &dyn Backend) {
    if !backend.capabilities().lock {
        fails("without the capability, lock is Unsupported", ErrorKind::Unsupported, backend.lock().await);
        return;
    }
    let promise = "the lock has one holder, and is free when the guard is dropped";
    for _ in 0..3 {
        let held = good(promise, backend.lock().await);
        fails(promise, ErrorKind::InUse, backend.lock().await);
        good("the lock hinders no call", backend.exists(&path("a")).await);
        drop(held);
    }
    holds("the lock is not listed", good(promise, list(backend, "").await).is_empty());
}
