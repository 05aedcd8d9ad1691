//! Runs seeds of the simulation: `sim [--seed FIRST] [--seeds COUNT]`. Stops at the first that fails, and says how to
//! replay it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut first = 1;
    let mut count = None;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match (name.as_str(), args.next().and_then(|value| value.parse::<u64>().ok())) {
            // One seed alone, unless it is said how many.
            ("--seed", Some(seed)) => (first, count) = (seed, count.or(Some(1))),
            ("--seeds", Some(seeds)) => count = Some(seeds),
            _ => {
                eprintln!("usage: sim [--seeds COUNT] [--seed FIRST]");
                return ExitCode::from(2);
            }
        }
    }
    let seeds = first..first.saturating_add(count.unwrap_or(1000));
    for seed in seeds.clone() {
        if let Err(failure) = halite_tests::simulation::run(seed) {
            eprintln!("{failure}");
            return ExitCode::FAILURE;
        }
    }
    println!("{} seeds from {first}: all right", seeds.end - first);
    ExitCode::SUCCESS
}
