//! One suite that every backend passes: each promise of the trait, asked of a backend from outside.
//!
//! The checks are plain functions over `&dyn Backend`, each on a store of its own, so that they serve backends that
//! others write. They need no particular runtime beyond what the backend itself needs, and no clock.
//!
//! ```
//! use halite_backends::{Memory, conformance};
//! use std::sync::Arc;
//! # async fn example() {
//! conformance::run(|| Arc::new(Memory::new())).await;
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
//! ```
//!
//! # What it cannot see
//! Whether durable means durable: that takes pulling the plug. Whether other machines see the same store: open two
//! handles on one store and run [`racing_creates`] on both.

mod growing;
mod objects;
mod stores;

pub use growing::*;
pub use objects::*;
pub use stores::*;

use crate::{Backend, Error, ErrorKind, Path, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use std::sync::Arc;

/// Asks every promise of a backend. `factory` makes a new, empty store each time.
///
/// # Panics
/// Where a promise is broken; the message names it.
pub async fn run(factory: impl Fn() -> Arc<dyn Backend>) {
    open_objects_never_become_others(&*factory()).await;
    run_where_names_are_used_once(factory).await;
}

/// As [`run`], for a store that cannot tell an object from a later one of the same name: the engine never gives a name to
/// other bytes.
///
/// # Panics
/// Where a promise is broken; the message names it.
pub async fn run_where_names_are_used_once(factory: impl Fn() -> Arc<dyn Backend>) {
    created_objects_are_whole_and_listed(&*factory()).await;
    second_creates_fail(&*factory()).await;
    racing_creates(&[factory()]).await;
    reads_are_exact(&*factory()).await;
    absent_names_are_not_found(&*factory()).await;
    deletes_are_idempotent(&*factory()).await;
    open_objects_outlive_their_names_or_say_so(&*factory()).await;
    maps_are_the_object(&*factory()).await;
    shared_objects_live_by_themselves(&*factory(), &*factory()).await;
    uploads_appear_at_finish(&*factory()).await;
    uploads_given_up_leave_nothing(&*factory()).await;
    large_objects_are_whole(&*factory()).await;
    reads_run_at_once(&*factory()).await;

    lists_go_by_folder(&*factory()).await;
    lists_show_many_objects(&*factory()).await;
    all_legal_names_work(&*factory()).await;
    lists_never_leave_the_store(&*factory()).await;
    dropped_creates_are_whole_or_absent(&*factory()).await;
    tidying_removes_nothing_real(&*factory()).await;
    the_lock_is_exclusive(&*factory()).await;

    growing_files_are_as_the_capabilities_say(&*factory()).await;
    appends_arrive_in_order(&*factory()).await;
    growing_files_are_created_once(&*factory()).await;
    reserving_shows_nothing(&*factory()).await;
    truncation_forgets_the_tail(&*factory()).await;
    large_appends_arrive_whole(&*factory()).await;
    growing_files_are_read_while_they_grow(&*factory()).await;
    unfinished_files_keep_what_was_appended(&*factory()).await;
}

/// A name that is known to be fine.
fn path(name: &str) -> Path {
    Path::new(name).expect("the suite uses legal names")
}

/// Bytes that differ from place to place and from `salt` to `salt`.
fn pattern(len: usize, salt: u32) -> Bytes {
    let at =
        |index: usize| ((index as u32).wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(97)) >> 13) as u8;
    (0..len).map(at).collect::<Vec<_>>().into()
}

/// What a call that must succeed returned.
#[track_caller]
fn good<T>(promise: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("broken promise: {promise}: failed with {error:?}"),
    }
}

/// Checks that a call failed, and how.
#[track_caller]
fn fails<T>(promise: &str, kind: ErrorKind, result: Result<T>) {
    match result {
        Ok(_) => panic!("broken promise: {promise}: succeeded, and should have failed with {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "broken promise: {promise}: failed otherwise: {error:?}"),
    }
}

/// Checks a fact.
#[track_caller]
fn holds(promise: &str, fact: bool) {
    assert!(fact, "broken promise: {promise}");
}

/// Checks that an object is there and holds just `data`.
async fn holds_bytes(promise: &str, backend: &dyn Backend, path: &Path, data: &[u8]) {
    let object = good(promise, backend.open(path).await);
    assert_eq!(object.len(), data.len() as u64, "broken promise: {promise}: the length");
    assert_eq!(object.is_empty(), data.is_empty(), "broken promise: {promise}: is_empty");
    let read = good(promise, object.read(0..object.len()).await);
    assert!(read == data, "broken promise: {promise}: other bytes than were written");
}

/// All names in a folder with their lengths, in order.
async fn list(backend: &dyn Backend, folder: &str) -> Result<Vec<(String, u64)>, Error> {
    let metas: Vec<_> = backend.list(folder).try_collect().await?;
    let mut names: Vec<_> = metas.into_iter().map(|meta| (meta.path.as_str().to_owned(), meta.len)).collect();
    names.sort();
    Ok(names)
}
