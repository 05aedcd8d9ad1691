//! A plugin system: each plugin is a component that a stranger wrote, and has a bucket of its own, a quota, and limits.
//!
//! `cargo run -p halite-wasmtime --example plugins -- STORE COMPONENT...`

mod system;

use halite_wasmtime::Program;
use halite_wasmtime::bucket::Quota;
use halite_wasmtime::wasmtime::Result;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let store = args.next().unwrap_or_else(|| "mem:".to_owned());
    let quota = Quota { bytes: 1 << 20, keys: 10_000 };
    let paths: Vec<_> = args.collect();
    let load = |path: &String| Ok((Program::load(path, system::METERING)?, quota));
    let plugins = paths.iter().map(load).collect::<Result<Vec<_>>>()?;
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let db = halite::Db::open(store).await?;
        for (path, (end, out, bytes)) in paths.iter().zip(system::run(&db, &plugins).await?) {
            println!("{path}: {end:?}, {bytes} bytes in its bucket\n{out}");
        }
        Ok(db.close().await?)
    })
}
