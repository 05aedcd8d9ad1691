//! Opens the store that a command works on.

use crate::failure::{Failure, Result};
use halite::{Compression, Db, ErrorKind, Options};

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) compression: Compression,
    /// Memory that it may take, in bytes.
    pub(crate) memory: Option<u64>,
    /// Bytes that merges leave alone.
    pub(crate) history: u64,
}

/// Opens the store at `uri`; one that is not there is created only if `create` says so, so that no question ever leaves
/// a new store behind.
pub(crate) async fn open(uri: &str, create: bool, settings: Settings) -> Result<Db> {
    try_open(uri, create, settings).await.map_err(|error| match error.kind() {
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
    })
}

async fn try_open(uri: &str, create: bool, settings: Settings) -> halite::Result<Db> {
    // A store in memory is always a new one.
    let create = create || uri.starts_with("mem:");
    let backend = halite::backends::open_uri(uri, create)?;
    let Settings { compression, memory, history } = settings;
    let options = Options {
        create_if_missing: create,
        compression,
        memory_budget: memory,
        history_bytes: history,
        ..Options::default()
    };
    Db::builder(backend).options(options).open().await
}
