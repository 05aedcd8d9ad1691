//! The one store of the component, opened when it is first used.

use halite::backends::Backend;
use halite::{Db, Options};
use halite_bucket::{Buckets, Cursors, Error, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Writes after which background work gets a turn, and how long that is.
const WRITES_PER_TURN: u32 = 256;
const TURN: Duration = Duration::from_millis(5);

static OPENED: Mutex<Option<Opened>> = Mutex::new(None);
static WRITES: AtomicU32 = AtomicU32::new(0);

/// What the cursors of `0.2.0-draft` stand for.
pub(crate) static CURSORS: LazyLock<Cursors> = LazyLock::new(Cursors::default);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of this thread alone asks nothing of the system")
});

/// The store, and the buckets in it.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) db: Db,
    pub(crate) buckets: Buckets,
}

/// Runs a call to its end.
pub(crate) fn block_on<F: Future>(call: F) -> F::Output {
    RUNTIME.block_on(call)
}

/// Runs a call that writes, and gives background work a turn now and then.
pub(crate) fn write<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    block_on(async {
        let done = call.await?;
        if WRITES.fetch_add(1, Ordering::Relaxed) % WRITES_PER_TURN == WRITES_PER_TURN - 1
            && let Some(opened) = now_open()
        {
            // What fails there fails the next write too, and is told then.
            let _ = opened.db.maintain(TURN).await;
        }
        Ok(done)
    })
}

fn now_open() -> Option<Opened> {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The store; opened now if it is not yet.
pub(crate) fn opened() -> Result<Opened> {
    if let Some(opened) = now_open() {
        return Ok(opened);
    }
    let db = block_on(open())?;
    let buckets = Buckets::new().with_others(&db, []);
    let opened = Opened { db, buckets };
    *OPENED.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.clone());
    Ok(opened)
}

async fn open() -> Result<Db> {
    let memory = std::env::var("HALITE_MEMORY").ok().map(|bytes| bytes.parse());
    let memory = memory.transpose().map_err(|_| Error::Invalid("HALITE_MEMORY is no number of bytes".to_owned()))?;
    let store = std::env::var("HALITE_STORE").ok();
    let backend = backend(store).map_err(halite::Error::from)?;
    let options = Options { memory_budget: memory, ..Options::default() };
    Ok(Db::builder(backend).options(options).open().await?)
}

/// The folder `store`.
#[cfg(not(feature = "lent"))]
fn backend(store: Option<String>) -> halite::backends::Result<Arc<dyn Backend>> {
    let folder = store.unwrap_or_else(|| "/data".to_owned());
    Ok(Arc::new(halite::backends::Local::open(folder, true)?))
}

/// What the host lends as `store`.
#[cfg(feature = "lent")]
fn backend(store: Option<String>) -> halite::backends::Result<Arc<dyn Backend>> {
    let name = store.unwrap_or_else(|| "default".to_owned());
    Ok(Arc::new(halite_lent::Lent::open(&name)?))
}

/// Closes it, if it is open.
pub(crate) fn close() -> Result<()> {
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner).take();
    opened.map_or(Ok(()), |opened| block_on(opened.db.close()).map_err(Error::from))
}
