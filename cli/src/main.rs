//! The `halite` program: parses arguments, calls the library, and turns what comes back into text and an exit code.

mod args;
mod commands;
mod events;
mod failure;
mod interrupt;
mod lines;
mod output;
mod progress;
mod record;
mod shell;
mod store;
mod text;

use args::{Args, Format};
use clap::Parser;
use failure::{Exit, Failure, Result};
use output::Out;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refusal) => return refuse(&refusal),
    };
    let format = args.format;
    events::subscribe(format);
    let exit = match run(args) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.report(format);
            failure.exit()
        }
    };
    ExitCode::from(exit as u8)
}

fn run(args: Args) -> Result<Exit> {
    let mut out = Out::stdout(args.format);
    let exit = runtime()?.block_on(commands::run(args, &mut out))?;
    out.flush()?;
    Ok(exit)
}

/// Threads of its own let the engine write, seal and merge while the main thread reads input or waits for a person.
#[cfg(not(target_family = "wasm"))]
fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|cause| Failure::io("cannot start the runtime", cause))
}

#[cfg(target_family = "wasm")]
fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|cause| Failure::io("cannot start the runtime", cause))
}

/// Shows why the arguments make no sense, or the help that was asked for.
fn refuse(refusal: &clap::Error) -> ExitCode {
    let asked_for = !refusal.use_stderr();
    let mut args = std::env::args_os().skip_while(|arg| arg != "--format" && arg != "--format=json");
    let json =
        args.next().is_some_and(|arg| arg == "--format=json" || args.next().is_some_and(|value| value == "json"));
    if json && !asked_for {
        let failure = args::explain(refusal);
        failure.report(Format::Json);
        return ExitCode::from(failure.exit() as u8);
    }
    // Nobody is left to tell when this fails.
    let _ = refusal.print();
    ExitCode::from(if asked_for { Exit::Done as u8 } else { Exit::Usage as u8 })
}
