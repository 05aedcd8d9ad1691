//! Two ways to give one component its bucket.

use halite_wasmtime::bucket::{Bucket, Buckets};
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::wasmtime::{Error, Result};
use halite_wasmtime::{Access, Metering, Outcome, Program, Run};
use std::path::Path;
use wasm_compose::composer::ComponentComposer;
use wasm_compose::config::Config;

/// On the plugin: its bucket is a part of `db`.
pub(crate) async fn plugged(component: &Program, db: &halite::Db) -> Result<Outcome> {
    let bucket = Bucket::new(db, "counter/");
    Run::new(component).args(["counter"]).guest(Guest::new(Buckets::new().with("default", bucket))).finish().await
}

/// Composed with Halite's component, `halite-guest.wasm` (by this name: it becomes one of WIT, which has no underscores). What
/// that makes needs a folder and nothing else of its host, `wasmtime run --dir=data::/data` for one.
pub(crate) fn composed(component: &Path, halite: &Path, metering: Metering) -> Result<Program> {
    let config = Config { definitions: vec![halite.to_owned()], ..Config::default() };
    let binary = ComponentComposer::new(component, &config).compose();
    Program::compile(&binary.map_err(|error| Error::msg(format!("{error:#}")))?, metering)
}

/// Runs such a one.
pub(crate) async fn in_folder(composed: &Program, folder: &Path) -> Result<Outcome> {
    Run::new(composed).args(["counter"]).folder(folder, "/data", Access::ReadWrite)?.finish().await
}
