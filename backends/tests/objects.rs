//! Object stores through OpenDAL's own store in memory, and what a URI says of them.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite_backends::opendal::{Operator, services};
use halite_backends::{Backend, Objects, ObjectsOptions, Path, conformance};
use std::sync::Arc;

fn memory(options: &ObjectsOptions) -> Arc<dyn Backend> {
    Arc::new(Objects::new(Operator::new(services::Memory::default()).unwrap(), options.clone()))
}

/// Objects there have no tags, so one cannot be told from a later one of its name.
#[tokio::test]
async fn memory_service() {
    conformance::run_where_names_are_used_once(|| memory(&ObjectsOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_service_in_small_parts_on_threads() {
    let options = ObjectsOptions { part_bytes: 60_000, parts_at_once: 1, ..ObjectsOptions::default() };
    conformance::run_where_names_are_used_once(|| memory(&options)).await;
}

#[tokio::test]
async fn several_handles_on_one_operator() {
    let operator = Operator::new(services::Memory::default()).unwrap();
    let handle = || -> Arc<dyn Backend> { Arc::new(Objects::new(operator.clone(), ObjectsOptions::default())) };
    conformance::racing_creates(&[handle(), handle(), handle()]).await;
}

/// A root is a store of its own, beside others in the same bucket.
#[tokio::test]
async fn a_root_keeps_stores_apart() {
    let operator = Operator::new(services::Memory::default()).unwrap();
    let all = Objects::new(operator, ObjectsOptions::default());
    all.create(&Path::new("a/manifest/1").unwrap(), "x".into()).await.unwrap();
    assert_eq!(all.foreign().await.unwrap(), None);
    let one = Objects::new(Operator::new(services::Memory::default().root("a")).unwrap(), ObjectsOptions::default());
    assert!(one.location().ends_with("/a/"), "{}", one.location());
    let listed: Vec<_> = one.list("").try_collect().await.unwrap();
    assert_eq!(listed, [], "another operator's memory");
}

#[cfg(all(feature = "s3", feature = "azblob"))]
mod by_uri {
    use halite_backends::{ErrorKind, open_uri};

    const SECRET: &str = "c2VjcmV0c2VjcmV0c2VjcmV0";

    #[test]
    fn a_uri_names_a_bucket_and_a_prefix_and_hides_its_options() {
        let s3 = format!(
            "s3://bucket/a/b?region=here&endpoint=http://localhost:1&secret_access_key={SECRET}&access_key_id=me"
        );
        let azblob = format!(
            "azblob://bucket/a/b?endpoint=http://localhost:1/account&account_name=account&account_key={SECRET}"
        );
        for (uri, location) in [(s3, "s3://bucket/a/b/"), (azblob, "azblob://bucket/a/b/")] {
            let store = open_uri(&uri, true).unwrap();
            assert_eq!(store.location(), location);
            let shown = format!("{store:?}");
            assert!(shown.contains(location) && !shown.contains(SECRET) && !shown.contains("me,"), "{shown}");
            assert!(!store.capabilities().append && !store.capabilities().lock);
        }
        // Of an Azure account the name says where it is.
        assert!(open_uri("azblob://bucket?account_name=account", true).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_secret() {
        let cases = [
            (format!("azblob://bucket?account_key={SECRET}!&account_name=a"), "account_key"),
            (format!("s3://bucket?assume_role_duration_seconds={SECRET}&region=here"), "assume_role_duration_seconds"),
            (format!("s3://me:{SECRET}@bucket?region=here"), "credentials belong"),
            (format!("s3://?region=here&secret_access_key={SECRET}"), "bucket"),
            (format!("memory://{SECRET}"), "`mem:`"),
            (format!("nothing://bucket?key={SECRET}"), "`nothing:` is not known"),
        ];
        for (uri, hint) in cases {
            let error = open_uri(&uri, true).expect_err(hint);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(hint) && !shown.contains(SECRET), "{hint}: {shown}");
        }
    }
}
