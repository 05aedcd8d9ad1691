//! Everything about WASI: the builds, the command that is handed out and its size, the tests under wasmtime.

use crate::check::{self, WASI};
use crate::run::{Result, cargo, heading, root};

/// The largest `halite.wasm`, in bytes.
const COMMAND_BYTES_MAX: u64 = 2 << 20;

pub(crate) fn wasm() -> Result {
    check::wasm()?;
    command()?;
    heading("tests under wasmtime");
    cargo(&["test", "-p", "halite-wasmtime"]).run()
}

/// Makes `halite.wasm` as it is handed out.
fn command() -> Result {
    heading("halite.wasm");
    cargo(&["build", "-p", "halite-cli", "--target", WASI, "--profile", "wasm"]).run()?;
    let path = root().join("target").join(WASI).join("wasm/halite.wasm");
    let len = std::fs::metadata(&path).map_err(|cause| format!("{}: {cause}", path.display()))?.len();
    println!("{}: {len} bytes", path.display());
    if len > COMMAND_BYTES_MAX {
        return Err(format!("halite.wasm has {len} bytes, more than {COMMAND_BYTES_MAX}"));
    }
    Ok(())
}
