//! Publishes manifests: creates the next number, and makes sure that nobody was quicker.
//!
//! # Guarantees
//! 1. A manifest is created, never replaced; whoever creates the newest number has won.
//! 2. After each creation the folder is listed: a writer that is not the newest has been overtaken and says `Fenced`.
//! 3. An answer lost on the way is settled by the nonce inside: the name holds our manifest, or another's.
//! 4. Files are deleted only after a manifest that lists them as retired is durable.

use crate::clock::EngineClock;
use crate::format::manifest::Manifest;
use crate::format::names::{self, Name};
use crate::random::Random;
use crate::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use halite_backends::{self as backends, Backend, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

#[derive(Debug)]
pub(crate) struct Publisher {
    backend: Arc<dyn Backend>,
    random: Arc<Random>,
    clock: Arc<EngineClock>,
    /// The newest manifest, which is ours. Locked while the next one is made.
    newest: Mutex<Manifest>,
    /// Its number, for the look before each acknowledgement.
    number: AtomicU64,
}

impl Publisher {
    /// Goes on from `newest`, which this writer created.
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        random: Arc<Random>,
        clock: Arc<EngineClock>,
        newest: Manifest,
    ) -> Publisher {
        let number = AtomicU64::new(newest.number);
        Publisher { backend, random, clock, newest: Mutex::new(newest), number }
    }

    /// Makes `edit` of the newest manifest durable as the next one, and returns it.
    ///
    /// # Errors
    /// `Fenced` where another writer has created the number, or a higher one. `NoSpace`: nothing happened. Anything
    /// else leaves the outcome open, and the writer must stop.
    pub(crate) async fn publish(&self, edit: impl FnOnce(&mut Manifest)) -> Result<Manifest> {
        let mut newest = self.newest.lock().await;
        let mut next = newest.clone();
        edit(&mut next);
        next.number = newest.number + 1;
        next.write_nonce = self.random.next();
        next.engine_time = self.clock.now();
        let listed = create(&*self.backend, &next).await?;
        self.number.store(next.number, Ordering::Release);
        *newest = next.clone();
        // What is older than the newest says nothing any more, except where its name fences a crashed writer.
        for number in listed.into_iter().filter(|&number| number < next.number && !next.kept_claims.contains(&number)) {
            self.backend.delete(&Name::Manifest(number).path()).await?;
        }
        Ok(next)
    }

    /// Looks whether another writer has claimed the database, which a claim shows by the next manifest's name.
    ///
    /// Only needed where the log grows: on fragments the fence takes the name the next fragment needs.
    pub(crate) async fn check_newest(&self) -> Result<()> {
        let number = self.number.load(Ordering::Acquire);
        if !self.backend.exists(&Name::Manifest(number + 1).path()).await? {
            return Ok(());
        }
        // It may be our own, just being published.
        let newest = self.newest.lock().await;
        if !self.backend.exists(&Name::Manifest(newest.number + 1).path()).await? {
            return Ok(());
        }
        Err(fenced(newest.number + 1))
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }
}

/// Creates `manifest` under its number, and returns the numbers that are there.
pub(crate) async fn create(backend: &dyn Backend, manifest: &Manifest) -> Result<Vec<u64>> {
    let path = Name::Manifest(manifest.number).path();
    let bytes =
        manifest.encode().map_err(|broken| Error::new(ErrorKind::Poisoned, format!("{broken}: this is a bug")))?;
    let mut outcome = backend.create(&path, bytes.clone()).await;
    // Lost answers: the same bytes again, until the name is taken, by us or not.
    for _ in 0..UNKNOWN_RETRIES {
        match &outcome {
            Err(error) if error.kind() == backends::ErrorKind::Unknown => {
                outcome = backend.create(&path, bytes.clone()).await
            }
            _ => break,
        }
    }
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == backends::ErrorKind::AlreadyExists => {
            let there = read(backend, manifest.number).await?;
            if there.write_nonce != manifest.write_nonce {
                return Err(fenced(manifest.number));
            }
        }
        Err(error) if error.kind() == backends::ErrorKind::NoSpace && !backend.exists(&path).await? => {
            return Err(error.into());
        }
        Err(error) => {
            let cause = Error::from(error);
            return Err(Error::caused_by(
                ErrorKind::Unknown,
                format!("whether manifest {path} was created is not known"),
                cause,
            ));
        }
    }
    let listed = list(backend).await?;
    match listed.iter().max() {
        Some(&highest) if highest > manifest.number => Err(fenced(highest)),
        _ => Ok(listed),
    }
}

/// How often a request whose answer was lost is sent again.
pub(crate) const UNKNOWN_RETRIES: u32 = 4;

/// The numbers of the manifests that are there, in no particular order.
pub(crate) async fn list(backend: &dyn Backend) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut listed = backend.list(names::MANIFESTS);
    while let Some(meta) = listed.try_next().await? {
        if let Some(Name::Manifest(number)) = Name::parse(meta.path.as_str()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Reads and checks manifest `number`.
pub(crate) async fn read(backend: &dyn Backend, number: u64) -> Result<Manifest> {
    let path = Name::Manifest(number).path();
    let bytes = read_all(backend, &path).await?;
    let manifest = Manifest::decode(&bytes).map_err(|fault| Error::in_file(&path, fault))?;
    if manifest.number != number {
        let what = format!("the manifest says it is number {}, its name says {number}", manifest.number);
        return Err(Error::corruption(&path, 0, what));
    }
    Ok(manifest)
}

/// The whole of `path`.
pub(crate) async fn read_all(backend: &dyn Backend, path: &Path) -> Result<bytes::Bytes> {
    let object = backend.open(path).await?;
    Ok(object.read(0..object.len()).await?)
}

fn fenced(number: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("another writer has created manifest {number}"))
}
