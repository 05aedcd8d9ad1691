//! What the guest costs: the same work natively and under WASI, in one run. `cargo xtask bench --wasm` builds what it needs.
//!
//! `figures halite halite.wasm COMPONENTS RECORDS`: the native program, the command, the folder of the components, and how
//! many records the stores have. Each line says what is asked of it; those that fall short are marked.

mod command;
mod line;
mod plugin;

use halite_wasmtime::wasmtime::{Error, Result};
use halite_wasmtime::{Metering, Program};
use line::Line;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [native, command, components, records] = &args[..] else {
        eprintln!("usage: figures halite halite.wasm COMPONENTS RECORDS");
        return Ok(());
    };
    let (binary, metering) = (Path::new(command), Metering::default());
    let scratch = Scratch::new()?;
    let sides = command::Sides {
        native: &std::path::absolute(native)?,
        command: &Program::load(binary, metering)?,
        metering,
        folder: &scratch.0,
        records: records.parse()?,
        puts: 200_000,
        rounds: 3,
    };
    let speed = Program::load(Path::new(components).join("speed.wasm"), metering)?;
    let lines = tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let mut lines = command::all(&sides).await?;
        lines.push(plugin::get(&speed, 200).await?);
        lines.push(size(binary)?);
        Ok::<_, Error>(lines)
    })?;
    println!("| | native | guest | | asked |\n| --- | ---: | ---: | ---: | --- |");
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// How large the command is.
fn size(command: &Path) -> Result<Line> {
    let bytes = std::fs::metadata(command)?.len();
    Ok(Line {
        what: "`halite.wasm`, bytes".to_owned(),
        native: String::new(),
        guest: bytes.to_string(),
        ratio: String::new(),
        asked: "≤ 2 MiB".to_owned(),
        met: bytes <= 2 << 20,
    })
}

/// A folder beside us, removed at the end: that of the system is often memory.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let path = std::path::absolute(format!("halite-figures-{}", std::process::id()))?;
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
