//! Halite as a component: exports `wasi:keyvalue` (both drafts) and `halite:store`, over a store in a folder that it is lent.
//!
//! Composed with a component that imports these, it makes one that needs nothing but WASI. The folder is what
//! `HALITE_STORE` says, `/data` if it says nothing; `HALITE_MEMORY` is the memory budget in bytes. Any name of a bucket will
//! do: each is a part of the store, `Buckets::with_others` of `halite-bucket` says which.
//!
//! Built with the feature `lent`, it asks its host for storage instead, through `halite:storage`: for the store that
//! `HALITE_STORE` names, `default` if it says nothing.
//!
//! # Concurrency
//! Nothing runs between calls. What the engine does in the background gets on while a call waits, and every few hundred
//! writes for some milliseconds; `halite:store/maintenance` gives it more.
//!
//! # After a crash
//! What a call has answered is durable. An instance that just ends was never closed: the next one recovers the store.
#![cfg(target_family = "wasm")]

mod keyvalue;
mod maintenance;
mod opened;
mod store;

/// What implements all the interfaces.
struct Component;
