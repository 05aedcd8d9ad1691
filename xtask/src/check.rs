//! The gates that need no test run, cheapest first.

use crate::run::{Result, cargo, heading, program};
use crate::{layers, links, public, test, tidy};

pub(crate) const WASI: &str = "wasm32-wasip1";
/// What components are built for.
pub(crate) const WASI_COMPONENTS: &str = "wasm32-wasip2";

/// All gates.
pub(crate) fn check() -> Result {
    heading("format");
    component("rustfmt")?;
    cargo(&["fmt", "--all", "--check"]).run()?;
    cargo(&["fmt", "--manifest-path", "xtask/slatedb/Cargo.toml", "--check"]).run()?;
    heading("layers: arrows point down, the engine does no I/O, `format` is pure");
    layers::check()?;
    heading("tidy: first lines, leftovers, sizes, links, what is public");
    tidy::check()?;
    links::check()?;
    public::check()?;
    heading("lints");
    component("clippy")?;
    // Tests that need servers are not among all targets, as they are not run with all tests.
    for targets in [&["--all-targets"][..], &["--test", "servers"]] {
        let workspace = ["clippy", "--workspace", "--features", test::FEATURES];
        cargo(&[&workspace[..], targets, &["--", "-D", "warnings"]].concat()).run()?;
    }
    for features in ["--no-default-features", "--features=zstd,metrics"] {
        cargo(&["clippy", "-p", "halite", "--all-targets", features, "--", "-D", "warnings"]).run()?;
    }
    heading("documentation");
    cargo(&["doc", "--workspace", "--no-deps"]).var("RUSTDOCFLAGS", "-D warnings").run()?;
    wasm()
}

/// What must build for WASI, as far as lints look at it: that it links shows where `halite.wasm` is made of it.
pub(crate) fn wasm() -> Result {
    heading("WASI builds");
    target(WASI)?;
    let crates = ["-p", "halite-backends", "-p", "halite", "-p", "halite-cli"];
    cargo(&[&["clippy", "--target", WASI][..], &crates, &["--", "-D", "warnings"]].concat()).run()?;
    target(WASI_COMPONENTS)?;
    let crates = ["-p", "halite-guest", "-p", "halite-lent", "-p", "halite-components"];
    cargo(&[&["clippy", "--target", WASI_COMPONENTS][..], &crates, &["--", "-D", "warnings"]].concat()).run()
}

/// Installs a part of the toolchain where it is missing.
fn component(name: &str) -> Result {
    let tool = if name == "clippy" { "clippy" } else { "fmt" };
    match cargo(&[tool, "--version"]).output() {
        Ok(_) => Ok(()),
        Err(_) => program("rustup", &["component", "add", name]).run(),
    }
}

fn target(name: &str) -> Result {
    // The folder of the target's standard library, whether or not it is there.
    let folder = program("rustc", &["--print", "target-libdir", "--target", name]).output()?;
    if std::path::Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    program("rustup", &["target", "add", name]).run()
}
