//! Keeps the source as a book is kept: every file says what it is, nothing half-done stays, small files stay small.

use crate::run::{Result, root};
use std::path::{Path, PathBuf};

/// Lines a source file may have, and a file of tests.
const LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 1200;

/// Marks of work left undone. Written in halves, so that this file passes.
const LEFTOVERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("tod", "o!("), concat!("db", "g!(")];

/// A source file of the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// Seen from the workspace's folder.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// The folder of this module's own modules.
    pub(crate) fn module_folder(&self) -> PathBuf {
        let owner = self.path.file_stem().is_some_and(|name| name == "lib" || name == "main" || name == "mod");
        if owner { self.path.parent().map(Path::to_owned).unwrap_or_default() } else { self.path.with_extension("") }
    }

    pub(crate) fn is_test(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "tests.rs") || self.path.iter().any(|part| part == "tests")
    }
}

/// All Rust files of the workspace.
pub(crate) fn sources() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files("rs")? {
        let text =
            std::fs::read_to_string(root().join(&path)).map_err(|cause| format!("{}: {cause}", path.display()))?;
        sources.push(Source { path, text });
    }
    Ok(sources)
}

/// All files of the workspace with this extension, in order, seen from its folder; not what cargo or stores put there.
pub(crate) fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(root().join(&folder)).map_err(|cause| format!("{}: {cause}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|cause| format!("{}: {cause}", folder.display()))?;
            let name = entry.file_name();
            let path = folder.join(&name);
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != "target" && name != "halite-data" && !name.as_encoded_bytes().starts_with(b".") {
                folders.push(path);
            } else if !is_folder && path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn check() -> Result {
    let found: Vec<String> = sources()?.iter().flat_map(findings).collect();
    if found.is_empty() { Ok(()) } else { Err(format!("untidy:\n{}", found.join("\n"))) }
}

fn findings(source: &Source) -> Vec<String> {
    let path = source.path.display();
    let mut found = Vec::new();
    let sibling_tests = source.path.file_name().is_some_and(|name| name == "tests.rs");
    if !sibling_tests && !source.text.starts_with("//! ") {
        found.push(format!("{path}:1: does not open with `//!` and what it is"));
    }
    let max = if source.is_test() { TEST_LINES_MAX } else { LINES_MAX };
    let lines = source.text.lines().count();
    if lines > max {
        found.push(format!("{path}: {lines} lines, more than {max}: are there two ideas in it?"));
    }
    for (index, line) in source.text.lines().enumerate() {
        if let Some(mark) = LEFTOVERS.iter().find(|mark| line.contains(**mark)) {
            found.push(format!("{path}:{}: {mark}", index + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        findings(&Source { path: path.into(), text: text.to_owned() }).len()
    }

    #[test]
    fn what_is_untidy_is_found() {
        assert_eq!(count("a.rs", "//! A file.\n"), 0);
        assert_eq!(count("a.rs", "fn a() {}\n"), 1);
        assert_eq!(count("a/tests.rs", "fn a() {}\n"), 0);
        assert_eq!(count("a.rs", concat!("//! A file.\n// TO", "DO: more\n")), 1);
        assert_eq!(count("a.rs", &format!("//! A file.\n{}", "\n".repeat(LINES_MAX))), 1);
    }

    #[test]
    fn modules_lie_beside_or_below() {
        let folder = |path: &str| Source { path: path.into(), text: String::new() }.module_folder();
        assert_eq!(folder("engine/src/lib.rs"), Path::new("engine/src"));
        assert_eq!(folder("engine/src/format/mod.rs"), Path::new("engine/src/format"));
        assert_eq!(folder("engine/src/format/frame.rs"), Path::new("engine/src/format/frame"));
    }
}
