#![allow(clippy::unwrap_used)]
use super::*;
use futures::FutureExt;

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory backend is ready at the first poll")
}

fn path(name: &str) -> Path {
    Path::new(name).unwrap()
}

#[test]
fn created_and_finished_objects_map_without_copying() {
    let store = Memory::new();
    let data = Bytes::from_static(b"hello");
    now(store.create(&path("a"), data.clone())).unwrap();
    let mapped = now(store.open(&path("a"))).unwrap().map().unwrap();
    assert_eq!(mapped.as_ptr(), data.as_ptr());

    let mut appender = now(store.append(&path("b"))).unwrap();
    now(appender.append(vec![data.clone()], true)).unwrap();
    let early = now(store.open(&path("b"))).unwrap();
    assert!(early.map().is_none(), "a growing file does not map");
    now(appender.finish()).unwrap();
    let (one, two) = (early.map().unwrap(), now(store.open(&path("b"))).unwrap().map().unwrap());
    assert_eq!(one, data);
    assert_eq!(one.as_ptr(), two.as_ptr());
    now(store.delete(&path("b"))).unwrap();
    assert_eq!(now(early.read(1..3)).unwrap(), "el", "readers keep what they opened");
}

#[test]
fn an_object_that_shrank_under_its_reader_is_an_error() {
    let store = Memory::new();
    let mut appender = now(store.append(&path("a"))).unwrap();
    now(appender.append(vec!["hello".into()], false)).unwrap();
    let object = now(store.open(&path("a"))).unwrap();
    now(appender.truncate(2)).unwrap();
    assert_eq!(now(object.read(0..5)).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(now(object.read(0..2)).unwrap(), "he");
    assert_eq!(now(appender.truncate(3)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_lock_is_shared_by_clones_but_not_by_handles_without_it() {
    let store = Memory::new();
    let held = now(store.lock()).unwrap();
    assert_eq!(now(store.clone().lock()).unwrap_err().kind(), ErrorKind::InUse);
    let second = store.without_lock();
    assert!(!second.capabilities().lock);
    assert_eq!(now(second.lock()).unwrap_err().kind(), ErrorKind::Unsupported);
    now(second.create(&path("a"), Bytes::new())).unwrap();
    assert!(now(store.exists(&path("a"))).unwrap(), "they share the store");
    drop(held);
    now(store.lock()).unwrap();
}
