//! A component that counts its runs, on the plugin and composed with Halite's own component.
//!
//! ```console
//! $ cargo build --target wasm32-wasip2 --profile guest -p halite-guest -p halite-components
//! $ cd target/wasm32-wasip2/guest && cp halite_guest.wasm halite-guest.wasm
//! $ cargo run -p halite-wasmtime --example counter -- counter.wasm halite-guest.wasm FOLDER
//! ```

mod both_ways;

use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{Metering, Outcome, Program};
use std::path::Path;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [component, halite, folder] = &args[..] else {
        eprintln!("usage: counter counter.wasm halite-guest.wasm FOLDER");
        return Ok(());
    };
    let said = |outcome: Outcome| format!("{:?} {}{}", outcome.end, outcome.out, outcome.err);
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let db = halite::Db::open("mem:").await?;
        let program = Program::load(component, Metering::default())?;
        println!("on the plugin, in memory: {}", said(both_ways::plugged(&program, &db).await?));

        let program = both_ways::composed(component.as_ref(), halite.as_ref(), Metering::default())?;
        std::fs::create_dir_all(folder)?;
        println!("composed, in the folder: {}", said(both_ways::in_folder(&program, Path::new(folder)).await?));
        Ok(())
    })
}
