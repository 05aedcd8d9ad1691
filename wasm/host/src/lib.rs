//! Runs the WASI guest under wasmtime, on a folder of the host.
//!
//! It gives the guest what a WASI preview 1 host gives: arguments, an output and one preopened folder; no locks, no mapped
//! files, no synced folders.
// It is there for tests, and reports by panicking.
#![allow(clippy::missing_panics_doc)]

use halite_tests::scratch::cargo_build;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

const TARGET: &str = "wasm32-wasip1";
/// More than any run prints.
const OUTPUT_MAX: usize = 1 << 20;

/// What a run of the guest came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub output: String,
}

/// The guest, built and compiled once for each process.
fn guest() -> &'static (Engine, Module) {
    static GUEST: OnceLock<(Engine, Module)> = OnceLock::new();
    GUEST.get_or_init(|| {
        let engine = Engine::default();
        let module = Module::from_file(&engine, build()).expect("what cargo built is a module");
        (engine, module)
    })
}

fn build() -> PathBuf {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    if installed.is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).contains(TARGET)) {
        let added = Command::new("rustup").args(["target", "add", TARGET]).status();
        assert!(added.is_ok_and(|status| status.success()), "cannot add the target {TARGET}");
    }
    cargo_build(&["-p", "halite-guest", "--target", TARGET, "--profile", "guest"], "halite-guest.wasm")
}

/// Runs the guest with `args` and with `/data` standing for `folder`.
pub fn run(folder: &Path, args: &[&str]) -> Outcome {
    let (engine, module) = guest();
    let mut linker: Linker<WasiP1Ctx> = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |context| context).expect("a new linker has no such names");
    let output = MemoryOutputPipe::new(OUTPUT_MAX);
    let mut context = WasiCtxBuilder::new();
    context.arg("halite-guest").arg("/data").args(args).stdout(output.clone()).inherit_stderr();
    context.preopened_dir(folder, "/data", FsPerms::ReadWrite).expect("the folder is there");
    // File calls on this thread: much quicker than handing each to another one.
    context.allow_blocking_current_thread(true);
    let mut store = Store::new(engine, context.build_p1());
    let instance = linker.instantiate(&mut store, module).expect("the guest asks for nothing but WASI");
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("the guest is a command");
    let code = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(error) => error.downcast_ref::<I32Exit>().unwrap_or_else(|| panic!("the guest trapped: {error:?}")).0,
    };
    Outcome { code, output: String::from_utf8_lossy(&output.contents()).into_owned() }
}
