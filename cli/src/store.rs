//! Opens the store that a command works on.

use crate::args::{self, Reading};
use crate::failure::{Failure, Result};
use halite::backends::{self, Backend, open_uri, shown_uri};
#[cfg(not(target_family = "wasm"))]
use halite::backends::{Cached, Local, Tiered};
use halite::{Compression, Db, ErrorKind, Limits, Options, ReadOnly};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) compression: Compression,
    /// Memory that it may take, in bytes.
    pub(crate) memory: Option<u64>,
    /// Bytes that merges leave alone.
    pub(crate) history: u64,
    /// For how long the past is kept, and how precisely.
    pub(crate) retention: Option<Duration>,
    pub(crate) retention_step: Option<Duration>,
    pub(crate) cache: Option<Cache>,
    /// A folder for the log.
    pub(crate) log: Option<PathBuf>,
    pub(crate) give_up_log: bool,
    pub(crate) limits: Limits,
}

/// A folder in which what is read of a store that is far away stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    pub(crate) folder: PathBuf,
    /// Bytes that it may take.
    pub(crate) bytes_max: u64,
}

/// Opens the store at `uri`; one that is not there is created only if `create` says so, so that no question ever leaves
/// a new store behind.
pub(crate) async fn open(uri: &str, create: bool, settings: Settings) -> Result<Db> {
    try_open(uri, create, settings).await.map_err(|error| explain(uri, error))
}

/// Opens the store at `uri`, or a checkpoint of it, to read only.
pub(crate) async fn open_read_only(uri: &str, reading: Reading<'_>, settings: Settings) -> Result<ReadOnly> {
    let options = Options { memory_budget: settings.memory, limits: settings.limits, ..Options::default() };
    let backend = reach(uri, false, &settings).await.map_err(|error| explain(uri, error))?;
    let builder = || Db::builder(backend.clone()).options(options.clone());
    let newest = builder().open_read_only().await.map_err(|error| explain(uri, error))?;
    let Reading::At(name) = reading else { return Ok(newest) };
    if newest.checkpoints()?.iter().any(|checkpoint| checkpoint.name == name) {
        newest.close().await;
        return builder().open_at(name).await.map_err(|error| explain(uri, error));
    }
    newest.close().await;
    if let Ok(time) = args::time(name, SystemTime::now(), true) {
        return builder().open_at_time(time).await.map_err(|error| explain(uri, error));
    }
    Err(Failure::input(format!("there is no checkpoint {name:?} in {}", shown_uri(uri)))
        .hint("`halite --read-only checkpoint list` shows those that there are"))
}

/// Opens the store at `uri` to read only, if another process has it open to write.
pub(crate) async fn open_beside(uri: &str, settings: Settings) -> Result<Option<ReadOnly>> {
    let backend = reach(uri, false, &settings).await.map_err(|error| explain(uri, error))?;
    if !backend.capabilities().lock {
        return Ok(None);
    }
    // Nothing is written to a place that is no store, not even a lock.
    let reader = open_read_only(uri, Reading::Newest, settings).await?;
    match backend.lock().await {
        Ok(_free) => Ok(None),
        Err(error) if error.kind() == backends::ErrorKind::InUse => Ok(Some(reader)),
        Err(error) => Err(explain(uri, error.into())),
    }
}

/// The storage at `uri`. It is all in folders of one host, so that a cache would stay empty, and a log apart be of no use.
#[cfg(target_family = "wasm")]
async fn reach(uri: &str, create: bool, settings: &Settings) -> halite::Result<Arc<dyn Backend>> {
    let Settings { log, cache: _stays_empty, .. } = settings;
    match log {
        Some(folder) => {
            let (kind, folder) = (backends::ErrorKind::Unsupported, folder.display());
            Err(backends::Error::new(kind, "open the log", folder, "under WASI it stays with the store").into())
        }
        None => Ok(open_uri(uri, create)?),
    }
}

/// The storage at `uri`, with the log where it is to be.
#[cfg(not(target_family = "wasm"))]
async fn reach(uri: &str, create: bool, settings: &Settings) -> halite::Result<Arc<dyn Backend>> {
    let store = with_cache(open_uri(uri, create)?, settings).await?;
    let Some(folder) = &settings.log else { return Ok(store) };
    let log = Arc::new(Local::open(folder, create)?);
    Ok(Arc::new(Tiered::open(log, store).await?))
}

/// `store`, with the cache in front of it, if there is one and it is far away.
#[cfg(not(target_family = "wasm"))]
async fn with_cache(store: Arc<dyn Backend>, settings: &Settings) -> halite::Result<Arc<dyn Backend>> {
    let Some(Cache { folder, bytes_max }) = settings.cache.as_ref().filter(|_| store.capabilities().remote) else {
        return Ok(store);
    };
    match Cached::open(store.clone(), folder, *bytes_max).await {
        Ok(cached) => Ok(Arc::new(cached)),
        // One process has it; the others do without, and are told the same.
        Err(error) if error.kind() == backends::ErrorKind::InUse => Ok(store),
        Err(error) => Err(error.into()),
    }
}

/// Whether the store is an object store. None of these has a lock, so that opening one to write takes it from whoever
/// writes to it.
pub(crate) fn is_remote(uri: &str) -> bool {
    uri.contains("://") && !uri.starts_with("file:")
}

/// What an error at opening means.
fn explain(uri: &str, error: halite::Error) -> Failure {
    let uri = shown_uri(uri);
    match error.kind() {
        // The library's words say it all, and what it was given may hold a secret.
        ErrorKind::InvalidInput | ErrorKind::Unsupported => Failure::from(error),
        ErrorKind::NotFound => {
            let message = format!("there is no store at {uri}");
            // The backend knows why not, as where the folder is missing; the engine would say the same again.
            if error.backend().is_some() {
                Failure::from(error).within(message)
            } else {
                Failure::from(error).instead(message)
            }
        }
        // To look for more damage, or to read what is whole, it would have to be open.
        ErrorKind::Corruption => Failure::from(error)
            .within(format!("cannot open the store at {uri}"))
            .hint("put back this file, or the whole store, from a backup; data files have not been touched"),
        _ => Failure::from(error).within(format!("cannot open the store at {uri}")),
    }
}

async fn try_open(uri: &str, create: bool, settings: Settings) -> halite::Result<Db> {
    // A store in memory is always a new one.
    let create = create || uri.starts_with("mem:");
    let backend = reach(uri, create, &settings).await?;
    let Settings { compression, memory, history, retention, retention_step, give_up_log, limits, .. } = settings;
    let options = Options {
        create_if_missing: create,
        compression,
        memory_budget: memory,
        history_bytes: history,
        retention,
        retention_step,
        limits,
        ..Options::default()
    };
    let builder = Db::builder(backend).options(options);
    if give_up_log { builder.give_up_log() } else { builder }.open().await
}
