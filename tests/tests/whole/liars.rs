//! Stores that do not keep to the one condition on which a second writer is kept out, and say nothing of it.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use halite::backends::{
    self, Appender, Backend, Capabilities, Lock, Memory, Meta, Object, Path, Simulated, SimulatedOptions, Uploader,
};
use halite::{Db, ErrorKind};
use halite_tests::world::process;
use std::sync::Arc;

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// A create replaces what is there, as where a condition is dropped on the way.
    Replaces,
    /// A create of what is there changes nothing, but says that it did.
    Pretends,
    /// What was created is not listed.
    Hides,
}

#[derive(Debug)]
struct Liar {
    inner: Memory,
    lie: Option<Lie>,
}

#[async_trait]
impl Backend for Liar {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        "liar:".to_owned()
    }

    async fn lock(&self) -> backends::Result<Box<dyn Lock>> {
        self.inner.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> backends::Result<()> {
        match (self.lie, self.inner.create(path, data.clone()).await) {
            (Some(Lie::Replaces), Err(_)) => {
                self.inner.delete(path).await?;
                self.inner.create(path, data).await
            }
            (Some(Lie::Pretends), _) => Ok(()),
            (_, outcome) => outcome,
        }
    }

    async fn upload(&self, path: &Path) -> backends::Result<Box<dyn Uploader>> {
        self.inner.upload(path).await
    }

    async fn append(&self, path: &Path) -> backends::Result<Box<dyn Appender>> {
        self.inner.append(path).await
    }

    async fn open(&self, path: &Path) -> backends::Result<Arc<dyn Object>> {
        self.inner.open(path).await
    }

    async fn exists(&self, path: &Path) -> backends::Result<bool> {
        self.inner.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, backends::Result<Meta>> {
        match self.lie {
            Some(Lie::Hides) => stream::empty().boxed(),
            _ => self.inner.list(folder),
        }
    }

    async fn delete(&self, path: &Path) -> backends::Result<()> {
        self.inner.delete(path).await
    }
}

#[test]
fn a_store_that_lies_is_refused() {
    for lie in [Lie::Replaces, Lie::Pretends, Lie::Hides] {
        process(async {
            let store = Arc::new(Liar { inner: Memory::create_only(), lie: Some(lie) });
            let refused = Db::builder(store).open().await.expect_err("no store for two writers");
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{lie:?}: {refused:?}");
            assert!(refused.to_string().contains("does not create names exclusively"), "{lie:?}: {refused}");
        });
    }
}

#[test]
fn a_store_that_does_not_is_taken() {
    process(async {
        let store = Arc::new(Liar { inner: Memory::create_only(), lie: None });
        let db = Db::builder(store).open().await.unwrap();
        db.close().await.unwrap();
    });
}

/// A store that passed the proof, and whose lists fall behind what was created later.
#[test]
fn a_store_whose_lists_lag_is_refused_and_loses_nothing() {
    process(async {
        let disk = Simulated::new(SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() });
        let open = || Db::builder(Arc::new(disk.clone())).open();
        let db = open().await.unwrap();
        db.put("a", "1").await.unwrap();

        // So far behind that the store seems to be empty: no other one is made in its place.
        disk.lag_lists(1_000_000);
        let refused = open().await.expect_err("it does not list what it creates");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
        disk.heal();
        db.put("b", "2").await.unwrap();
        db.checkpoint("before").await.unwrap();

        // So far that what was just created is not seen, nor would be what others have.
        disk.lag_lists(2);
        let failed = db.checkpoint("after").await.expect_err("it does not list what it creates");
        assert_eq!(failed.kind(), ErrorKind::Unknown, "{failed:?}");
        let refused = open().await.expect_err("it does not list what it creates");
        assert_eq!(refused.kind(), ErrorKind::Unknown, "{refused:?}");
        assert!(format!("{refused:?}").contains("does not list what was created"), "{refused:?}");
        disk.heal();
        let db = open().await.unwrap();
        for (key, value) in [("a", "1"), ("b", "2")] {
            assert_eq!(db.get(key).await.unwrap().as_deref(), Some(value.as_bytes()));
        }
        db.close().await.unwrap();
    });
}
