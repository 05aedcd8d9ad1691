//! Runs seeds of the simulation: `sim [--seeds COUNT] [--seed FIRST] [--replay COUNT] [--case FILE] [--list COUNT]`. Stops at the first
//! that fails, says how to replay it, and leaves it in a file, reduced to what it takes. `sim [--seed FIRST] --list COUNT`
//! goes on, and says what is wrong with each.

use halite_tests::case::Case;
use halite_tests::simulation::Gate;
use std::process::ExitCode;

/// Databases that live, crash and live on make and drop small things all the time.
#[cfg(not(target_family = "wasm"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many seeds meet all that a run may meet.
const MANY: u64 = 1000;

/// Where reduced runs are left.
const FOLDER: &str = "target/sim";

fn main() -> ExitCode {
    let (mut first, mut count, mut replays) = (1, None, None);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match (name.as_str(), value.parse::<u64>()) {
            ("--case", _) => return case(&value),
            ("--list", Ok(seeds)) => return list(first..first.saturating_add(seeds)),
            // One seed alone, unless it is said how many.
            ("--seed", Ok(seed)) => (first, count) = (seed, count.or(Some(1))),
            ("--seeds", Ok(seeds)) => count = Some(seeds),
            ("--replay", Ok(seeds)) => replays = Some(seeds),
            _ => {
                eprintln!("usage: sim [--seeds COUNT] [--seed FIRST] [--replay COUNT] [--case FILE] [--list COUNT]");
                return ExitCode::from(2);
            }
        }
    }
    let count = count.unwrap_or(MANY);
    // One in forty is run twice unless it is said how many.
    match Gate::new(first..first.saturating_add(count), replays.unwrap_or(count.div_ceil(40))).run() {
        Ok(figures) => {
            println!("{figures}");
            match if count < MANY { Ok(()) } else { figures.check_worth() } {
                Ok(()) => {
                    println!("{count} seeds from {first}: all right");
                    ExitCode::SUCCESS
                }
                Err(rare) => {
                    eprintln!("the seeds are worth less than they were: {rare}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(failure) => {
            eprintln!("{failure}");
            let file = format!("{FOLDER}/seed-{}.case", failure.seed());
            match std::fs::create_dir_all(FOLDER).and_then(|()| std::fs::write(&file, failure.file())) {
                Ok(()) => eprintln!("or, reduced: cargo xtask sim --case {file}"),
                Err(error) => eprintln!("{file} could not be written: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Says of each seed that fails what is wrong, without reducing it.
fn list(seeds: std::ops::Range<u64>) -> ExitCode {
    let mut failed = 0;
    for seed in seeds.clone() {
        if let Err(wrong) = Case::of(seed).run() {
            println!("seed {seed}: {wrong}");
            failed += 1;
        }
    }
    println!("{failed} of {} seeds failed", seeds.end - seeds.start);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case file.
fn case(file: &str) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{file} cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    match text.parse::<Case>().and_then(|case| case.run()) {
        Ok(_) => {
            println!("{file}: all right");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{file}: {wrong}");
            ExitCode::FAILURE
        }
    }
}
