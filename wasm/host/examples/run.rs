//! Runs the command `halite.wasm` on a folder, within limits: as `wasmtime run --dir=FOLDER::/data` does, from a program.
//!
//! `cargo run -p halite-wasmtime --example run -- halite.wasm FOLDER ARGS...`, such as `--store /data put greeting hello`. It
//! takes all of its input first; of a terminal, Ctrl-D ends that.

use halite_wasmtime::wasmtime::Result;
use halite_wasmtime::{Access, End, Limits, Metering, Program, Run};
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, args @ ..] = &args[..] else {
        eprintln!("usage: run halite.wasm FOLDER ARGS...");
        return Ok(ExitCode::from(2));
    };
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let program = Program::load(program, Metering { time: true, ..Metering::default() })?;
    let limits = Limits { memory_bytes: Some(1 << 30), time: Some(Duration::from_secs(600)), ..Limits::default() };
    let run = Run::new(&program).args(["halite"]).args(args).input(input).limits(limits);
    let run = run.folder(folder, "/data", Access::ReadWrite)?;
    let outcome = tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(run.finish())?;
    print!("{}", outcome.out);
    eprint!("{}", outcome.err);
    Ok(match outcome.end {
        End::Exit(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        killed => {
            eprintln!("run: {killed:?}");
            ExitCode::FAILURE
        }
    })
}
