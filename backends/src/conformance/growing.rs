//! Promises about growing files. Where the capabilities say that there are none, the checks are content with that.

use super::{fails, good, holds, holds_bytes, list, path, pattern};
use crate::{Backend, ErrorKind};

/// Growing files work, or are Unsupported.
pub async fn growing_files_are_as_the_capabilities_say(backend: &dyn Backend) {
    let name = path("segments/1");
    if backend.capabilities().append {
        let promise = "a growing file is there, empty, when append returns";
        let appender = good(promise, backend.append(&name).await);
        holds(promise, appender.is_empty());
        holds(promise, good(promise, backend.exists(&name).await));
        holds(promise, good(promise, list(backend, "segments").await) == [("segments/1".into(), 0)]);
    } else {
        let promise = "without the capability, append is Unsupported and makes nothing";
        fails(promise, ErrorKind::Unsupported, backend.append(&name).await);
        holds(promise, !good(promise, backend.exists(&name).await));
    }
}

/// What was appended reads back in order, in one call or many, synced or not.
pub async fn appends_arrive_in_order(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "appended bytes are there in order when the call returns";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    let mut expected = Vec::new();
    for call in 0..200_u32 {
        let parts: Vec<_> = (0..call % 5).map(|part| pattern((call * 7 + part * 131) as usize % 3000, call)).collect();
        expected.extend(parts.concat());
        good(promise, appender.append(parts, call % 3 == 0).await);
        if call % 50 == 0 {
            good(promise, appender.sync().await);
            good("a sync with nothing to do is Ok", appender.sync().await);
        }
        assert_eq!(appender.len(), expected.len() as u64, "broken promise: len counts what was appended");
        let object = good(promise, backend.open(&name).await);
        let read = good(promise, object.read(0..expected.len() as u64).await);
        holds(promise, read == expected);
    }
    good(promise, appender.finish().await);
    holds_bytes("a finished file has the exact length", backend, &name, &expected).await;
    let object = good(promise, backend.open(&name).await);
    holds("the map of a finished file is the file", object.map().is_none_or(|map| map == expected));
    holds(promise, good(promise, list(backend, "").await) == [("segments/1".into(), expected.len() as u64)]);
}

/// A growing file's name is taken, by either kind of creation.
pub async fn growing_files_are_created_once(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "append and create refuse a name that is taken, and change nothing";
    let (growing, whole) = (path("segments/1"), path("segments/2"));
    let mut appender = good(promise, backend.append(&growing).await);
    good(promise, appender.append(vec!["abc".into()], true).await);
    good(promise, backend.create(&whole, "def".into()).await);
    for name in [&growing, &whole] {
        // A log that is apart does not ask the store.
        if name == &growing || backend.log_apart().is_none() {
            fails(promise, ErrorKind::AlreadyExists, backend.append(name).await);
        }
        fails(promise, ErrorKind::AlreadyExists, backend.create(name, "x".into()).await);
    }
    good(promise, appender.append(vec!["ghi".into()], true).await);
    good(promise, appender.finish().await);
    holds_bytes(promise, backend, &growing, b"abcghi").await;
    holds_bytes(promise, backend, &whole, b"def").await;
}

/// Reserved space is no content: at most zeros behind the end, given back at the finish.
pub async fn reserving_shows_nothing(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "reserved space is not content: zeros at most, given back at the end";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    for step in 1..50_u64 {
        good(promise, appender.reserve(step * 20_000).await);
        good(promise, appender.reserve(10).await);
        assert_eq!(appender.len(), (step - 1) * 1000, "broken promise: {promise}: the length");
        good(promise, appender.append(vec![pattern(1000, step as u32)], step % 2 == 0).await);
        let object = good(promise, backend.open(&name).await);
        let rest = good(promise, object.read(appender.len()..object.len()).await);
        holds(promise, rest.iter().all(|byte| *byte == 0));
    }
    good(promise, appender.finish().await);
    let expected: Vec<u8> = (1..50_u32).flat_map(|step| pattern(1000, step)).collect();
    holds_bytes(promise, backend, &name, &expected).await;
}

/// After a cut, appending goes on where it was made.
pub async fn truncation_forgets_the_tail(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "appending goes on where the file was cut";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    let data = pattern(100_000, 11);
    good(promise, appender.append(vec![data.clone()], false).await);
    fails("a cut beyond the end is InvalidInput", ErrorKind::InvalidInput, appender.truncate(100_001).await);
    let mut expected = data.to_vec();
    for cut in [100_000, 77_777, 4096, 1, 0] {
        good(promise, appender.truncate(cut).await);
        assert_eq!(appender.len(), cut, "broken promise: {promise}: the length");
        expected.truncate(cut as usize);
        good(promise, appender.append(vec![pattern(500, cut as u32)], cut % 2 == 0).await);
        expected.extend(pattern(500, cut as u32));
        let object = good(promise, backend.open(&name).await);
        let read = good(promise, object.read(0..expected.len() as u64).await);
        holds(promise, read == expected);
        let rest = good(promise, object.read(expected.len() as u64..object.len()).await);
        holds("nothing of the old tail is left", rest.iter().all(|byte| *byte == 0));
    }
    good(promise, appender.finish().await);
    holds_bytes(promise, backend, &name, &expected).await;
}

/// Appends of many megabytes, and of many thousand parts, arrive whole.
pub async fn large_appends_arrive_whole(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "a large append arrives whole";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    let data = pattern(9_000_000, 12);
    let many: Vec<_> = (0..data.len()).step_by(3001).map(|at| data.slice(at..data.len().min(at + 3001))).collect();
    good(promise, appender.append(many, true).await);
    good(promise, appender.append(vec![data.clone()], false).await);
    let slivers: Vec<_> = (0..5000).map(|at| data.slice(at..at + 1)).collect();
    good(promise, appender.append(slivers, true).await);
    good(promise, appender.finish().await);
    holds_bytes(promise, backend, &name, &[&data[..], &data[..], &data[..5000]].concat()).await;
}

/// A reader sees what was there when it opened the file, unchanged, while the file grows.
pub async fn growing_files_are_read_while_they_grow(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "an object keeps the length it was opened with, and its bytes";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    let data = pattern(50_000, 13);
    good(promise, appender.append(vec![data.slice(..20_000)], true).await);
    let early = good(promise, backend.open(&name).await);
    let early_len = early.len();
    holds(promise, early_len >= 20_000);
    good(promise, appender.append(vec![data.slice(20_000..)], true).await);
    assert_eq!(early.len(), early_len, "broken promise: {promise}");
    holds(promise, good(promise, early.read(5_000..20_000).await) == data[5_000..20_000]);
    good(promise, appender.finish().await);
    holds(promise, good(promise, early.read(0..20_000).await) == data[..20_000]);
}

/// A file that was never finished holds what was appended; zeros at most follow.
pub async fn unfinished_files_keep_what_was_appended(backend: &dyn Backend) {
    if !backend.capabilities().append {
        return;
    }
    let promise = "an appender dropped leaves what was appended, followed by zeros at most";
    let name = path("segments/1");
    let mut appender = good(promise, backend.append(&name).await);
    let data = pattern(30_000, 14);
    for at in (0..30_000).step_by(1000) {
        good(promise, appender.reserve(at as u64 + 1000).await);
        good(promise, appender.append(vec![data.slice(at..at + 1000)], true).await);
    }
    drop(appender);
    let object = good(promise, backend.open(&name).await);
    let read = good(promise, object.read(0..object.len()).await);
    holds(promise, read.starts_with(&data) && read[data.len()..].iter().all(|byte| *byte == 0));
    fails("the name stays taken", ErrorKind::AlreadyExists, backend.append(&name).await);
}
