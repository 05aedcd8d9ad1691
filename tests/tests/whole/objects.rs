//! The proof of a store, before the first database is made in it; and a store whose lists take their time.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use halite::backends::{
    self as backends, Appender, Backend, Capabilities, Fault, Lock, Memory, Meta, Object, Path, Repeat, Simulated,
    SimulatedOptions, Uploader,
};
use halite::{Db, ErrorKind};
use halite_tests::world::{process, small_options};
use std::sync::Arc;
use std::time::Duration;

/// What a store may do that is none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// A create replaces what is there.
    Replaces,
    /// A create of a name that is taken changes nothing, and says that it did.
    Agrees,
    /// Lists do not show what was just created.
    ListsLate,
    /// None: but a list of everything takes a second, once the manifests are listed.
    ListsSlowly,
}

#[derive(Debug)]
struct Liar(Memory, Lie);

#[async_trait::async_trait]
impl Backend for Liar {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn location(&self) -> String {
        self.0.location()
    }

    async fn lock(&self) -> backends::Result<Box<dyn Lock>> {
        self.0.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> backends::Result<()> {
        if self.1 == Lie::Replaces {
            self.0.delete(path).await?;
        }
        match self.0.create(path, data).await {
            Err(_) if self.1 == Lie::Agrees => Ok(()),
            outcome => outcome,
        }
    }

    async fn upload(&self, path: &Path) -> backends::Result<Box<dyn Uploader>> {
        self.0.upload(path).await
    }

    async fn append(&self, path: &Path) -> backends::Result<Box<dyn Appender>> {
        self.0.append(path).await
    }

    async fn open(&self, path: &Path) -> backends::Result<Arc<dyn Object>> {
        self.0.open(path).await
    }

    async fn exists(&self, path: &Path) -> backends::Result<bool> {
        self.0.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, backends::Result<Meta>> {
        if self.1 == Lie::ListsLate && folder == "proof" {
            return Box::pin(futures::stream::empty());
        }
        if self.1 == Lie::ListsSlowly && folder.is_empty() {
            let rest = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.0.list("").try_filter(|meta| std::future::ready(meta.path.folder() != "manifest"))
            };
            return self.0.list("manifest").chain(stream::once(rest).flatten()).boxed();
        }
        self.0.list(folder)
    }

    async fn delete(&self, path: &Path) -> backends::Result<()> {
        self.0.delete(path).await
    }
}

#[test]
fn a_store_that_lies_is_refused_unless_a_single_writer_is_declared() {
    for lie in [Lie::Replaces, Lie::Agrees, Lie::ListsLate] {
        process(async {
            let store = || Arc::new(Liar(Memory::create_only(), lie));
            let error = Db::builder(store()).options(small_options()).open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{lie:?}: {error:?}");
            assert!(error.to_string().contains("declare a single writer"), "{lie:?}: {error}");
            let db = Db::builder(store()).options(small_options()).single_writer().open().await.unwrap();
            db.put("a", "1").await.unwrap();
            db.close().await.unwrap();
        });
    }
}

/// Answers get lost on good stores too: who was told that the name is taken may have taken it.
#[test]
fn a_store_whose_answers_get_lost_is_proved() {
    for (kind, repeat) in
        [(backends::ErrorKind::Unknown, Repeat::Once), (backends::ErrorKind::AlreadyExists, Repeat::Once)]
    {
        process(async {
            let disk = Simulated::new(SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() });
            let fault = Fault { at_step: 0, kind, repeat, applied: true };
            disk.fail_when(fault, |step| step.effect == "put" && step.path.starts_with("proof/"));
            let db = Db::builder(Arc::new(disk)).options(small_options()).open().await.unwrap();
            db.put("a", "1").await.unwrap();
            db.close().await.unwrap();
        });
    }
}

/// A list shows the manifests of before, and segments of after: nothing is missing, somebody is at work.
#[test]
fn a_store_that_another_process_opens_while_it_is_listed_is_not_taken_for_damaged() {
    process(async {
        let store = Memory::create_only();
        let builder = |backend| Db::builder(backend).options(small_options());
        let db = builder(Arc::new(store.clone())).open().await.unwrap();
        db.put("first", "1").await.unwrap();
        // The newest manifest stays, whatever comes after it.
        db.checkpoint("kept").await.unwrap();
        std::mem::forget(db);

        let slow = tokio::spawn(builder(Arc::new(Liar(store.clone(), Lie::ListsSlowly))).open());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let other = builder(Arc::new(store.clone())).open().await.unwrap();
        for n in 0..40 {
            other.put(format!("{n}"), [7; 300]).await.unwrap();
        }
        let segments: Vec<_> = store.list("segments").try_collect().await.unwrap();
        assert!(segments.len() > 2, "segments of the other's epoch are there to be met: {segments:?}");
        let db = slow.await.unwrap().unwrap();
        assert_eq!(db.scan(..).count().await, 41);
        let told = other.put("late", "x").await.unwrap_err().kind();
        assert!(matches!(told, ErrorKind::Fenced | ErrorKind::Unknown), "{told:?}");
        db.close().await.unwrap();
    });
}
