//! Everything about WASI: the builds, the command that is handed out and its size, the tests under wasmtime.

use crate::check::{self, WASI};
use crate::run::{Result, cargo, heading, install, program, root};
use std::path::PathBuf;

/// The largest `halite.wasm`, in bytes.
const COMMAND_BYTES_MAX: u64 = 2 << 20;
/// Tells the tests which `halite.wasm` to test.
pub(crate) const COMMAND: &str = "HALITE_WASM";
/// Tells them which native program to hold against it.
pub(crate) const NATIVE: &str = "HALITE_NATIVE";
/// What Rust makes use of for this target, and `halite.wasm` no longer says when it is stripped.
const FEATURES: [&str; 7] =
    ["bulk-memory", "multivalue", "mutable-globals", "nontrapping-float-to-int", "reference-types", "sign-ext", "simd"];

pub(crate) fn wasm() -> Result {
    check::wasm()?;
    let command = command()?;
    heading("tests under wasmtime");
    cargo(&["test", "-p", "halite-wasmtime"]).var(COMMAND, command.display().to_string()).run()
}

/// Makes `halite.wasm` as it is handed out, and sees to its size.
pub(crate) fn command() -> Result<PathBuf> {
    heading("halite.wasm");
    cargo(&["build", "-p", "halite-cli", "--target", WASI, "--profile", "wasm"]).run()?;
    let target = root().join("target");
    let (built, path) = (target.join(WASI).join("wasm/halite.wasm"), target.join("halite.wasm"));
    install("wasm-opt", "--version", "binaryen");
    let paths = [&built, &path].map(|path| path.display().to_string());
    let shrunk = program("wasm-opt", &["-Os", &paths[0], "-o", &paths[1]]);
    FEATURES.iter().fold(shrunk, |shrunk, feature| shrunk.arg(&format!("--enable-{feature}"))).run()?;
    let len = std::fs::metadata(&path).map_err(|cause| format!("{}: {cause}", path.display()))?.len();
    println!("{}: {len} bytes", path.display());
    if len > COMMAND_BYTES_MAX {
        return Err(format!("halite.wasm has {len} bytes, more than {COMMAND_BYTES_MAX}"));
    }
    Ok(path)
}

/// Measures the command and a component against the native program, all of them as they are handed out.
pub(crate) fn bench(records: u64) -> Result {
    let command = command()?;
    heading("the native program, the components, and who runs them");
    cargo(&["build", "--release", "-p", "halite-cli", "--bin", "halite"]).run()?;
    let components = ["-p", "halite-components", "--bin", "speed", "--target", check::WASI_COMPONENTS];
    cargo(&[&["build", "--release"][..], &components].concat()).run()?;
    let target = root().join("target");
    let native = target.join("release/halite");
    let components = target.join(check::WASI_COMPONENTS).join("release");
    let figures = ["run", "--release", "-p", "halite-wasmtime", "--example", "figures", "--"];
    let paths = [native, command, components].map(|path| path.display().to_string());
    paths.iter().fold(cargo(&figures), |figures, path| figures.arg(path)).arg(&records.to_string()).run()
}
