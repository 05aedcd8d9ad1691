//! The plugin: gives guests buckets of a [`halite::Db`], through `wasi:keyvalue` and `halite:store`, and lends them storage.
//!
//! | interface | versions |
//! | --- | --- |
//! | `wasi:keyvalue` `store`, `atomics`, `batch` | `0.2.0-draft2` (with compare-and-swap), `0.2.0-draft` |
//! | `halite:store` | `0.1.0`: byte keys, ranges, lifetimes, atomic batches, transactions, snapshots |
//! | `halite:storage` | `0.1.0`: no database, but a backend for a guest that runs the engine itself |
//!
//! # Concurrency
//! Calls are asynchronous: while a guest waits for its commit, its host goes on. Each instance makes one call at a time; many
//! instances over one database share its commits.
//!
//! # Guarantees
//! 1. A guest reaches the buckets and the stores that its [`Guest`] names, and no other key of the database.
//! 2. What a guest is told to be written is in the database, whatever becomes of the guest.

mod keyvalue;
mod storage;
mod store;

use bytes::Bytes;
use halite::backends::Backend;
use halite_bucket::{Buckets, Cursors};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};

/// What one instance is given.
#[derive(Clone, Debug)]
pub struct Guest {
    buckets: Buckets,
    cursors: Arc<Cursors>,
    stores: BTreeMap<String, Arc<dyn Backend>>,
}

impl Guest {
    /// An instance that may open these.
    pub fn new(buckets: Buckets) -> Guest {
        Guest { buckets, cursors: Arc::default(), stores: BTreeMap::new() }
    }

    /// Lends it `backend`, which it calls `name`, to keep a store of its own there: memory, a folder, an object store, or
    /// any of them [`Bounded`](crate::Bounded). The guest runs the engine, with the backend of the crate `halite-lent`.
    #[must_use]
    pub fn lend(mut self, name: impl Into<String>, backend: Arc<dyn Backend>) -> Guest {
        self.stores.insert(name.into(), backend);
        self
    }

    /// With a memory of cursors that it shares with others, so that a page of `0.2.0-draft` goes on in another instance.
    #[must_use]
    pub fn with_cursors(mut self, cursors: &Arc<Cursors>) -> Guest {
        self.cursors = cursors.clone();
        self
    }
}

/// The parts of a store's data that the plugin works with.
#[derive(Debug)]
pub struct View<'a> {
    /// What the instance is given.
    pub guest: &'a Guest,
    /// Where its handles are. Each may hold a snapshot, or a transaction of up to 64 MiB: limit how many there are, by
    /// [`ResourceTable::set_max_capacity`]. A guest that wants more gets an error.
    pub table: &'a mut ResourceTable,
}

impl View<'_> {
    /// Puts what it asked for among its handles; an error of the guest's where it has too many.
    fn give<T, E>(&mut self, asked: halite_bucket::Result<T>) -> Result<Result<Resource<T>, E>>
    where
        T: Send + 'static,
        E: From<halite_bucket::Error>,
    {
        let it = match asked {
            Ok(it) => it,
            Err(error) => return Ok(Err(error.into())),
        };
        match self.table.push(it) {
            Ok(handle) => Ok(Ok(handle)),
            Err(ResourceTableError::Full) => Ok(Err(halite_bucket::Error::TooManyHandles.into())),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the guest gets, in its own words.
fn answer<T, E: From<halite_bucket::Error>>(done: halite_bucket::Result<T>) -> Result<Result<T, E>> {
    Ok(done.map_err(E::from))
}

fn value<E: From<halite_bucket::Error>>(
    found: halite_bucket::Result<Option<Bytes>>,
) -> Result<Result<Option<Vec<u8>>, E>> {
    answer(found.map(|found| found.map(Vec::from)))
}

/// The data of a [`wasmtime::Store`] whose instance uses the plugin.
pub trait HaliteView: Send {
    /// Its parts.
    fn halite(&mut self) -> View<'_>;
}

/// What [`add_to_linker`] gives views of.
#[derive(Debug)]
struct Plugin;

impl HasData for Plugin {
    type Data<'a> = View<'a>;
}

/// Gives components the interfaces above.
///
/// ```
/// use halite_bucket::{Bucket, Buckets};
/// use halite_wasmtime::plugin::{self, Guest, HaliteView, View};
/// use halite_wasmtime::wasmtime::{Engine, component::{Linker, ResourceTable}};
///
/// struct State {
///     guest: Guest,
///     table: ResourceTable,
/// }
///
/// impl HaliteView for State {
///     fn halite(&mut self) -> View<'_> {
///         View { guest: &self.guest, table: &mut self.table }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let db = halite::Db::open("mem:").await?;
/// let mut linker: Linker<State> = Linker::new(&Engine::default());
/// plugin::add_to_linker(&mut linker)?;
/// let guest = Guest::new(Buckets::new().with("default", Bucket::new(&db, "plugins/hello/")));
/// let store = halite_wasmtime::wasmtime::Store::new(linker.engine(), State { guest, table: ResourceTable::new() });
/// # drop(store);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where one of them is there already.
pub fn add_to_linker<T: HaliteView + 'static>(linker: &mut Linker<T>) -> Result<()> {
    keyvalue::draft::bindings::Imports::add_to_linker::<T, Plugin>(linker, T::halite)?;
    keyvalue::draft2::bindings::Imports::add_to_linker::<T, Plugin>(linker, T::halite)?;
    store::bindings::Imports::add_to_linker::<T, Plugin>(linker, T::halite)?;
    storage::bindings::Imports::add_to_linker::<T, Plugin>(linker, T::halite)
}
