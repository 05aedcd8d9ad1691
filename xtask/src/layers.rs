//! Proves the layers: which crate may use which, what the engine never touches, and that `format` is pure.
//!
//! ```text
//! cli   examples   wasm   tests   ->   halite (engine)   ->   halite-backends          xtask stands apart
//! ```

use crate::run::{Result, cargo, root};
use crate::scan::Facts;
use crate::tidy::{self, Source};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Each crate, and those of this workspace that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("halite-backends", &[]),
    ("halite", &["halite-backends"]),
    ("halite-cli", &["halite", "halite-tests"]),
    ("halite-examples", &["halite"]),
    ("halite-bucket", &["halite"]),
    ("halite-components", &["halite", "halite-lent", "halite-tests"]),
    ("halite-guest", &["halite", "halite-bucket", "halite-lent"]),
    ("halite-lent", &["halite"]),
    ("halite-wasmtime", &["halite", "halite-bucket", "halite-tests"]),
    ("halite-tests", &["halite", "halite-backends"]),
    ("xtask", &[]),
];

/// What tokio offers on WASI; the engine asks for nothing else.
const TOKIO_FEATURES: &[&str] = &["rt", "sync", "time", "macros", "io-util"];

/// Crates that do what the engine leaves to backends.
const NOT_IN_ENGINE: &[&str] = &["libc", "memmap2", "mio", "object_store", "opendal", "rand", "rustix", "tempfile"];

/// Paths that the engine's code never names, and why.
const NOT_NAMED_IN_ENGINE: &[(&[&str], &str)] = &[
    (&["std", "fs"], "files belong to backends"),
    (&["std", "net"], "the network belongs to backends"),
    (&["std", "os"], "operating systems belong to backends"),
    (&["std", "process"], "a library neither starts nor ends processes"),
    (&["std", "thread"], "the engine has tasks, no threads"),
    (&["tokio", "fs"], "files belong to backends"),
    (&["tokio", "net"], "the network belongs to backends"),
];

/// The one file that may name what it gives to callers who have none: a thread for the runtime that they do not have.
const THREADS_MAY_BE_NAMED_IN: &str = "engine/src/blocking/host.rs";

/// What code in `format` may name of the engine, and of the backends (a name is pure; what it names is not).
const FORMAT_MAY_NAME: &[&str] = &["format", "hash", "planted", "Seq"];
const FORMAT_MAY_NAME_OF_BACKENDS: &[&str] = &["Path"];

/// What it may not name at all.
const NOT_NAMED_IN_FORMAT: &[(&[&str], &str)] = &[
    (&["async"], "`format` is synchronous"),
    (&["await"], "`format` is synchronous"),
    (&["futures"], "`format` is synchronous"),
    (&["parking_lot"], "`format` has no state to lock"),
    (&["std", "io"], "`format` does no I/O"),
    (&["std", "sync"], "`format` has no state to share"),
    (&["std", "time"], "`format` knows no clock"),
    (&["tokio"], "`format` is synchronous"),
    (&["tracing"], "`format` tells its caller, nobody else"),
];

pub(crate) fn check() -> Result {
    crates()?;
    let sources = tidy::sources()?;
    let lib = sources.iter().find(|source| source.path == Path::new("engine/src/lib.rs"));
    if !lib.is_some_and(|lib| lib.text.contains("#![forbid(unsafe_code)]")) {
        return Err("engine/src/lib.rs does not say #![forbid(unsafe_code)]".to_owned());
    }
    let code = code_of(&sources, Path::new("engine/src"))?;
    let mut found = Vec::new();
    for (source, facts) in &code {
        let path = source.path.display();
        if let Some(line) = facts.line_of_word("unsafe") {
            found.push(format!("{path}:{line}: `unsafe` in the engine"));
        }
        let may_name_threads = source.path == Path::new(THREADS_MAY_BE_NAMED_IN);
        let exempt = |(ban, _): &&(&[&str], &str)| may_name_threads && *ban == ["std", "thread"];
        let banned: Vec<_> = NOT_NAMED_IN_ENGINE.iter().filter(|ban| !exempt(ban)).copied().collect();
        found.extend(named(facts, &banned).map(|(line, what)| format!("{path}:{line}: {what}")));
        if let Ok(inside) = source.path.strip_prefix("engine/src/format") {
            found.extend(impurities(inside, facts).map(|(line, what)| format!("{path}:{line}: {what}")));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("layers are broken:\n{}", found.join("\n"))) }
}

/// The facts of each file below `folder` that is no test.
fn code_of<'a>(sources: &'a [Source], folder: &Path) -> Result<Vec<(&'a Source, Facts)>> {
    let mut code = Vec::new();
    let mut tests: HashSet<PathBuf> = HashSet::new();
    for source in sources.iter().filter(|source| source.path.starts_with(folder)) {
        let facts = Facts::of(&source.text).map_err(|cause| format!("{}: {cause}", source.path.display()))?;
        let modules = source.module_folder();
        for module in &facts.test_modules {
            tests.insert(modules.join(module));
        }
        code.push((source, facts));
    }
    let is_test = |source: &Source| source.path.ancestors().any(|path| tests.contains(&path.with_extension("")));
    code.retain(|(source, _)| !is_test(source));
    Ok(code)
}

/// Where `facts` name what is banned.
fn named<'a>(facts: &'a Facts, banned: &'a [(&[&str], &str)]) -> impl Iterator<Item = (usize, String)> + 'a {
    facts.paths.iter().flat_map(move |(path, line)| {
        let hits = banned
            .iter()
            .filter(move |(ban, _)| path.iter().map(String::as_str).take(ban.len()).eq(ban.iter().copied()));
        hits.map(move |(_, why)| (*line, format!("names {}, but {why}", path.join("::"))))
    })
}

/// Where code of `format` reaches out of it; `inside` is its file, seen from there.
fn impurities<'a>(inside: &Path, facts: &'a Facts) -> impl Iterator<Item = (usize, String)> + 'a {
    // From `mod.rs`, one `super` leaves `format`; from a file beside it, two do.
    let modules = inside.with_extension("");
    let depth = modules.components().filter(|part| part.as_os_str() != "mod").count();
    let reaches_out = move |path: &[String]| match path.first().map(String::as_str) {
        Some("crate") => path.get(1).is_some_and(|name| !FORMAT_MAY_NAME.contains(&name.as_str())),
        Some("halite_backends") => {
            path.get(1).is_some_and(|name| !FORMAT_MAY_NAME_OF_BACKENDS.contains(&name.as_str()))
        }
        Some("super") => path.iter().take_while(|part| *part == "super").count() > depth,
        _ => false,
    };
    let out = facts.paths.iter().filter(move |(path, _)| reaches_out(path));
    let out = out.map(|(path, line)| (*line, format!("`format` reaches out of itself: {}", path.join("::"))));
    out.chain(named(facts, NOT_NAMED_IN_FORMAT))
}

/// Checks what the crates' manifests ask for.
fn crates() -> Result {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|cause| format!("cargo metadata: {cause}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, may)) = CRATES.iter().find(|(known, _)| *known == name) else {
            return Err(format!("crate {name} has no place in the layers; give it one in xtask/src/layers.rs"));
        };
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        for dependency in dependencies {
            judge(name, may, dependency)?;
        }
        inherits_lints(name, package["manifest_path"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

fn judge(name: &str, may: &[&str], dependency: &Value) -> Result {
    let on = dependency["name"].as_str().unwrap_or_default();
    let ours = CRATES.iter().any(|(known, _)| *known == on);
    if ours && !may.contains(&on) {
        return Err(format!("{name} must not depend on {on}: arrows point down only"));
    }
    // What tests use is their own affair.
    if name != "halite" || dependency["kind"] == "dev" {
        return Ok(());
    }
    if NOT_IN_ENGINE.contains(&on) {
        return Err(format!("the engine must not depend on {on}: that is a backend's work"));
    }
    let features = dependency["features"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unknown = features.iter().filter_map(Value::as_str).find(|feature| !TOKIO_FEATURES.contains(feature));
    match unknown {
        Some(feature) if on == "tokio" => Err(format!("the engine must not ask tokio for `{feature}`: WASI lacks it")),
        _ => Ok(()),
    }
}

/// A crate that forgets `[lints] workspace = true` is linted by nobody.
fn inherits_lints(name: &str, manifest: &str) -> Result {
    let text = std::fs::read_to_string(root().join(manifest)).map_err(|cause| format!("{manifest}: {cause}"))?;
    if text.contains("[lints]\nworkspace = true") {
        return Ok(());
    }
    Err(format!("{name} does not inherit the workspace's lints: add `[lints] workspace = true`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn findings(file: &str, source: &str) -> usize {
        let facts = Facts::of(source).unwrap();
        named(&facts, NOT_NAMED_IN_ENGINE).count() + impurities(Path::new(file), &facts).count()
    }

    /// One canary of each kind must fail.
    #[test]
    fn what_is_banned_is_found() {
        assert_eq!(findings("frame.rs", "use std::fs::File;"), 1);
        assert_eq!(findings("frame.rs", "use std::{io, thread};"), 2);
        assert_eq!(findings("frame.rs", "use crate::version::Version;"), 1);
        assert_eq!(findings("frame.rs", "use super::super::commit;"), 1);
        assert_eq!(findings("mod.rs", "use super::commit;"), 1);
        assert_eq!(findings("frame.rs", "async fn f() { g().await }"), 2);
        assert_eq!(findings("frame.rs", "use crate::{Seq, format::names}; use super::mark; use bytes::Bytes;"), 0);
        assert_eq!(findings("names.rs", "use halite_backends::{Backend, Path};"), 1);
        assert_eq!(findings("frame/part.rs", "use super::super::mark;"), 0);
    }

    #[test]
    fn arrows_point_down() {
        let on = |name: &str| json!({"name": name, "kind": null, "features": []});
        assert!(judge("halite-cli", &["halite"], &on("halite")).is_ok());
        assert!(judge("halite-backends", &[], &on("halite")).is_err());
        assert!(judge("halite", &["halite-backends"], &on("memmap2")).is_err());
        let tokio = |feature: &str| json!({"name": "tokio", "kind": null, "features": [feature]});
        assert!(judge("halite", &["halite-backends"], &tokio("sync")).is_ok());
        assert!(judge("halite", &["halite-backends"], &tokio("net")).is_err());
    }
}
