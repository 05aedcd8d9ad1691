//! One store, which a native program and the command under WASI share in turn.
//!
//! `cargo run -p halite-wasmtime --example in_turn -- halite.wasm FOLDER`, with the `halite.wasm` that `cargo xtask wasm` makes.

mod visits;

use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{Metering, Program};
use std::path::Path;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder] = &args[..] else {
        eprintln!("usage: in_turn halite.wasm FOLDER");
        return Ok(());
    };
    std::fs::create_dir_all(folder)?;
    let program = Program::load(program, Metering::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let [first, second, third] = runtime.block_on(visits::run(&program, Path::new(folder)))?;
    println!("natively: {first}\nunder WASI: {second}\nnatively: {third}");
    Ok(())
}
