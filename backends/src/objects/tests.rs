#![allow(clippy::unwrap_used)]
use super::*;
use opendal::services;

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
