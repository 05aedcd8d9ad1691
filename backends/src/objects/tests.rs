#![allow(clippy::unwrap_used)]
use super::*;
use crate::Limit;
use opendal::services;
use std::num::NonZeroU32;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";

fn memory() -> Objects {
    Objects::new(Operator::new(services::Memory::default()).unwrap(), ObjectsOptions::default())
}

#[tokio::test]
async fn a_folder_marker_is_no_object_and_foreign_names_are_told() {
    let store = memory();
    assert_eq!(store.foreign().await.unwrap(), None);
    store.shared.once.create_dir("prefix/").await.unwrap();
    assert_eq!(store.foreign().await.unwrap(), None);
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(listed, []);
    store.shared.once.write("Holiday Photo.jpg", "x").await.unwrap();
    assert_eq!(store.foreign().await.unwrap().as_deref(), Some("Holiday Photo.jpg"));
}

/// Each page of a long list is a request, and waits for its turn as one.
#[tokio::test(start_paused = true)]
async fn the_pages_of_a_list_keep_within_its_limit() {
    let store = memory();
    for n in 0..2 * PAGE + 1 {
        store.create(&Path::new(format!("names/{n:05}")).unwrap(), "x".into()).await.unwrap();
    }
    let limit = Limit { requests_per_second: NonZeroU32::new(1), at_once: NonZeroU32::new(1), ..Limit::default() };
    let limited = store.for_purpose(Purpose::Collect, &Limiter::new(limit)).unwrap();
    let begun = tokio::time::Instant::now();
    let listed: Vec<_> = limited.list("names").try_collect().await.unwrap();
    assert_eq!((listed.len(), begun.elapsed()), (2 * PAGE + 1, Duration::from_secs(2)));
    assert_eq!(store.traffic().count(RequestKind::List), 3);
    let listed: Vec<_> = store.list("names/0").try_collect().await.unwrap();
    assert_eq!(listed, [], "it is no folder");
}

/// A cache that keeps ten bytes is not to keep the megabyte, or the connection's buffer, that they came in.
#[tokio::test]
async fn what_is_read_has_memory_of_its_own() {
    let (store, path) = (memory(), Path::new("segments/1").unwrap());
    store.create(&path, vec![7; 1 << 20].into()).await.unwrap();
    for object in [store.open(&path).await.unwrap(), store.open_known(&path, 1 << 20).await.unwrap()] {
        let bytes = object.read(1000..1010).await.unwrap();
        assert!(bytes.is_unique() && bytes[..] == [7; 10]);
        let bytes = object.read(0..1 << 20).await.unwrap();
        assert!(bytes.is_unique() && bytes.len() == 1 << 20);
    }
    assert!(store.read_whole(&path).await.unwrap().is_unique());
}

/// What OpenDAL says of an error names the request, signature included.
#[test]
fn errors_say_what_happened_and_hide_what_must_not_be_seen() {
    let uri = format!("http://127.0.0.1:1/c/a?sig={SECRET}&se=2026");
    let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, format!("connection refused for {uri}"));
    let error = opendal::Error::new(opendal::ErrorKind::Unexpected, format!("send request to {uri}"))
        .with_context("uri", &uri)
        .set_source(source);
    let path = Path::new("manifest/1").unwrap();
    let shown = memory().failed("create", &path, &error);
    assert_eq!(shown.kind(), ErrorKind::Io);
    let (display, debug) = (shown.to_string(), format!("{shown:?}"));
    assert!(!display.contains(SECRET) && !debug.contains(SECRET), "{debug}");
    assert!(display.contains("manifest/1") && display.contains("connection refused"), "{display}");

    let secrets = Secrets::of([("secret_access_key", SECRET), ("region", "here"), ("session_token", "")]);
    let told = opendal::Error::new(opendal::ErrorKind::ConfigInvalid, format!("{SECRET} is no key of here"));
    let shown = secrets.error(ErrorKind::InvalidInput, "open", "s3://bucket/", &told);
    assert_eq!(shown.to_string(), "cannot open s3://bucket/: … is no key of here");
    assert_eq!(format!("{secrets:?}"), "Secrets");
}
