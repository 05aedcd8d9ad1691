//! Gates that need a nightly toolchain: an interpreter that knows what is undefined, sanitizers, and a fuzzer that goes by what
//! an input makes the code do.
//!
//! Continuous integration runs none of them. Each counts, and fails where it has counted less than it must. They build below
//! `target` in folders of their own, as none of their flags fits another build.

use crate::reliability::{Gate, run};
use crate::run::{Program, Result, heading, program, root};

/// So many gates run side by side: most of their tests use one thread.
const AT_ONCE: usize = 2;

/// Cargo of the nightly toolchain.
fn cargo(args: &[&str]) -> Program {
    program("rustup", &[&["run", "nightly", "cargo"], args].concat())
}

/// What the nightly toolchain builds for. It is named in builds with sanitizers, so that their flags are not for build
/// scripts too. The toolchain must be here, with `component`.
fn require(component: &str) -> Result<String> {
    let installed = program("rustup", &["component", "list", "--installed", "--toolchain", "nightly"]).output();
    if !installed.is_ok_and(|list| list.lines().any(|line| line.starts_with(component))) {
        let install = format!("rustup toolchain install nightly --component {component}");
        return Err(format!("no nightly toolchain with {component} is here, so nothing was run; to get it: {install}"));
    }
    let host = program("rustup", &["run", "nightly", "rustc", "--print", "host-tuple"]).output()?;
    Ok(host.trim().to_owned())
}

/// Tests of formats, in two parts that run side by side, and how many they are.
const FORMATS: [(&str, u64, &[&str]); 2] = [
    (
        "formats: blocks to headers",
        27,
        &["block", "checksum", "compressed", "digest", "fences", "filter", "footer", "header"],
    ),
    (
        "formats: hints to varints, and fragments and frames",
        58,
        &[
            "fragment",
            "frame",
            "fuzz",
            "hints",
            "manifest",
            "mark",
            "names",
            "preamble",
            "reader",
            "statistics",
            "tail",
            "varint",
        ],
    ),
];

/// Under the interpreter. It makes few system calls and maps no files: so of the backends what touches memory alone, and of
/// the engine its formats, whose tests take fewer inputs there.
pub(crate) fn miri() -> Result {
    require("miri")?;
    let tests = |what, least, package, names: &[&str]| {
        let test = ["miri", "test", "--target-dir", "target/miri", "-p", package, "--lib", "--"];
        // Those draw their inputs by a library that takes minutes there.
        let program = cargo(&[&test[..], names, &["--skip", "any_"]].concat());
        Gate { what, least, program: program.var("MIRIFLAGS", "-Zmiri-disable-isolation") }
    };
    let formats = |&(what, least, modules): &(_, _, &[&str])| {
        let names: Vec<String> = modules.iter().map(|module| format!("format::{module}::")).collect();
        tests(what, least, "halite", &names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut gates: Vec<Gate> = FORMATS.iter().map(formats).collect();
    gates.push(tests("backends", 5, "halite-backends", &["memory::", "path::", "bounds::"]));
    run(gates, AT_ONCE, false)
}

/// What of backends and engine is run with AddressSanitizer: all that maps, reads and writes files, and what takes bytes apart.
const ADDRESSES: &[&str] = &["local::", "cached::", "memory::", "tiered::", "format::", "segment::", "value::"];

/// What is run with ThreadSanitizer: what threads share, and the engine called by many at once.
const THREADS: &[&str] = &["local::", "cached::", "limit::", "readers_", "commit::", "blocking::"];

/// Tests built to notice wrong addresses, and tests built to notice what threads do to the same memory without an order.
pub(crate) fn sanitize() -> Result {
    let host = require("rust-src")?;
    let test = |sanitizer: &str, args: &[&str]| {
        // What was not built to tell of its own steps is taken for a race, so for threads the standard library is built too.
        let std: &[&str] = if sanitizer == "thread" { &["-Zbuild-std"] } else { &[] };
        let folder = format!("target/{sanitizer}");
        let test = ["test", "--target", &*host, "--target-dir", &*folder, "-p", "halite-backends"];
        cargo(&[std, &test, args].concat()).var("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"))
    };
    let engine = |sanitizer, names: &[&str]| test(sanitizer, &[&["-p", "halite", "--lib", "--"], names].concat());
    let backends = |sanitizer| test(sanitizer, &["--test", "conformance"]);
    let gate = |what, least, program| Gate { what, least, program };
    let gates = vec![
        gate("addresses: backends and engine", 178, engine("address", ADDRESSES)),
        gate("threads: backends and engine", 99, engine("thread", THREADS)),
        gate("addresses: all that a backend does", 9, backends("address")),
        gate("threads: all that a backend does", 9, backends("thread")),
    ];
    run(gates, AT_ONCE, false)
}

/// Addresses are looked at, libFuzzer sees where an input leads, and all complains that can.
const FUZZED: &str = "-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1 --cfg fuzzing";

/// What is fuzzed, how many inputs it must have had in each second, and how long they may be.
const TARGETS: &[(&str, u64, u64)] = &[("decoders", 1000, 4096), ("operations", 1, 1024)];

/// Each target for so many seconds, with the inputs that are kept and those that earlier runs have found.
pub(crate) fn fuzz(seconds: u64) -> Result {
    let host = require("rustc")?;
    heading("build");
    let manifest = ["--manifest-path", "tests/fuzz/Cargo.toml", "--target-dir", "target/fuzz", "--target", &*host];
    cargo(&[&["build", "--release"], &manifest[..]].concat()).var("RUSTFLAGS", FUZZED).run()?;
    let folder = |name: &str| {
        let made = root().join("target/fuzz").join(name);
        std::fs::create_dir_all(&made).map_err(|cause| format!("{}: {cause}", made.display()))?;
        Ok::<_, String>(made.display().to_string())
    };
    let seeds = folder("seeds")?;
    let mut gates = Vec::new();
    for &(what, least, len) in TARGETS {
        let found = folder(&format!("corpus/{what}"))?;
        let failed = format!("-artifact_prefix={}/", folder(&format!("failed/{what}"))?);
        let (time, len) = (format!("-max_total_time={seconds}"), format!("-max_len={len}"));
        let kept = if what == "decoders" { seeds.clone() } else { format!("tests/fuzz/corpus/{what}") };
        let target = format!("target/fuzz/{host}/release/{what}");
        let args = [&*found, &*kept, &*time, &*len, &*failed, "-print_final_stats=1"];
        gates.push(Gate { what, least: least * seconds, program: program(&target, &args).var("SEEDS", &*seeds) });
    }
    run(gates, AT_ONCE, false)
}
