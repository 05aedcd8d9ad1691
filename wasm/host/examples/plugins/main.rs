//! A plugin system: each plugin is a component that a stranger wrote, and has a bucket of its own, a quota, and limits.
//!
//! `cargo run -p halite-wasmtime --example plugins -- STORE COMPONENT...`

mod system;

use halite_wasmtime::bucket::Quota;
use halite_wasmtime::wasmtime::Result;
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let store = args.next().unwrap_or_else(|| "mem:".to_owned());
    let quota = Quota { bytes: 1 << 20, keys: 10_000 };
    let paths: Vec<_> = args.map(|path| (PathBuf::from(path), quota)).collect();
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let db = halite::Db::open(store).await?;
        for ((path, _), (end, out, bytes)) in paths.iter().zip(system::run(&db, &paths).await?) {
            println!("{}: {end:?}, {bytes} bytes in its bucket\n{out}", path.display());
        }
        Ok(db.close().await?)
    })
}
