//! What the guest costs: the same work natively and under WASI, in one run. `cargo xtask bench --wasm` builds what it needs.
//!
//! `figures halite halite.wasm COMPONENTS RECORDS`: the native program, the command, the folder of the components, and how
//! many records the stores have. Each line says what is asked of it; those that fall short are marked.

mod measure;

use halite_wasmtime::wasmtime::Result;
use measure::Programs;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [native, command, components, records] = &args[..] else {
        eprintln!("usage: figures halite halite.wasm COMPONENTS RECORDS");
        return Ok(());
    };
    let programs = Programs { native: native.into(), command: command.into(), components: components.into() };
    let lines = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(measure::all(&programs, records.parse()?))?;
    println!("| | native | guest | | asked |\n| --- | ---: | ---: | ---: | --- |");
    for line in lines {
        println!("{line}");
    }
    Ok(())
}
