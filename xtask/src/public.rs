//! Proves two things of what the libraries make public: every type has a doctest, on itself or on one of its methods; and
//! whatever async callers have, `halite::blocking` has under the same name.
//!
//! Read as text, which is enough for how the source is written: an item begins a line, and its documentation stands above it.

use crate::run::Result;
use crate::tidy::{self, Source};
use std::collections::{BTreeMap, BTreeSet};

/// The libraries. What is below `blocking` has namesakes above, and is told apart.
const LIBRARIES: &[&str] = &[BLOCKING, ENGINE, "backends/src"];
const BLOCKING: &str = "engine/src/blocking";
const ENGINE: &str = "engine/src";

/// What blocking callers have by another name: opening takes a builder, which is async.
const NOT_BLOCKING: &[(&str, &str)] = &[("Db", "builder")];

/// A type, in its library.
type Type = (&'static str, String);

pub(crate) fn check() -> Result {
    let public = Public::of(&tidy::sources()?);
    let missing = [public.without_doctest(), public.without_blocking()].concat();
    if missing.is_empty() { Ok(()) } else { Err(format!("public, but not all that it takes:\n{}", missing.join("\n"))) }
}

/// What is public.
#[derive(Debug, Default)]
struct Public {
    /// Types, and where they are.
    types: BTreeMap<Type, String>,
    with_doctest: BTreeSet<Type>,
    methods: BTreeMap<Type, BTreeSet<String>>,
}

impl Public {
    fn of(sources: &[Source]) -> Public {
        let mut public = Public::default();
        for source in sources.iter().filter(|source| !source.is_test()) {
            let Some(library) = LIBRARIES.iter().find(|folder| source.path.starts_with(folder)) else { continue };
            read(&source.text, |line, name, method, has_doctest| {
                let name: Type = (library, name.to_owned());
                if has_doctest {
                    public.with_doctest.insert(name.clone());
                }
                match method {
                    Some(method) => drop(public.methods.entry(name).or_default().insert(method.to_owned())),
                    None => drop(public.types.insert(name, format!("{}:{line}", source.path.display()))),
                }
            });
        }
        public
    }

    fn without_doctest(&self) -> Vec<String> {
        let missing = self.types.iter().filter(|(name, _)| !self.with_doctest.contains(name));
        missing.map(|((_, name), place)| format!("{place}: {name} has no doctest")).collect()
    }

    fn without_blocking(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let blocking = self.types.iter().filter(|((library, _), _)| *library == BLOCKING);
        for ((_, name), place) in blocking {
            let methods = |library| self.methods.get(&(library, name.clone())).cloned().unwrap_or_default();
            let lacking = &methods(ENGINE) - &methods(BLOCKING);
            let lacking = lacking.iter().filter(|method| !NOT_BLOCKING.contains(&(name, method)));
            missing
                .extend(lacking.map(|method| format!("{place}: {name} lacks {method}, which its async namesake has")));
        }
        missing
    }
}

/// Calls `found` for each public type and method: with its line, the type's name, the method's if it is one, and whether a
/// doctest stands above it.
fn read(text: &str, mut found: impl FnMut(usize, &str, Option<&str>, bool)) {
    let (mut of, mut has_doctest, mut fenced) = (None, false, false);
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix("///") {
            if comment.trim_start().starts_with("```") {
                fenced = !fenced;
                // Drawings and the like name what they are.
                has_doctest |= fenced && comment.trim() == "```";
            }
            continue;
        }
        if trimmed.starts_with("#[") {
            continue;
        }
        let method = ["pub fn ", "pub async fn "].iter().find_map(|start| trimmed.strip_prefix(start)).map(word);
        if let Some(name) = ["pub struct ", "pub enum ", "pub trait "].iter().find_map(|item| line.strip_prefix(item)) {
            found(index + 1, word(name), None, has_doctest);
        } else if line.starts_with("impl") {
            of = implemented(line);
        } else if line.starts_with('}') {
            of = None;
        } else if let (Some(of), Some(method)) = (of, method) {
            found(index + 1, of, Some(method), has_doctest);
        }
        has_doctest = false;
    }
}

/// The type that an `impl` is of.
fn implemented(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '<') - i32::from(*c == '>');
            depth == 0
        })?;
        rest = &rest[end.0 + 1..];
    }
    let of = rest.split(" for ").last()?;
    Some(word(of.trim_start()))
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(files: &[(&str, &str)]) -> Public {
        let source = |(path, text): &(&str, &str)| Source { path: path.into(), text: (*text).to_owned() };
        Public::of(&files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn a_doctest_stands_on_the_type_or_on_a_method() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(public(&[("engine/src/it.rs", text)]).without_doctest(), expected, "{text}");
        };
        check("/// It.\npub struct It;\n", &["engine/src/it.rs:2: It has no doctest"]);
        check("/// It.\n///\n/// ```\n/// it();\n/// ```\n#[derive(Debug)]\npub struct It;\n", &[]);
        check("/// ```text\n/// drawn\n/// ```\npub enum It {\n}\n", &["engine/src/it.rs:4: It has no doctest"]);
        let method = "impl<T: Into<U>, U> It<T> {\n    /// ```\n    /// it();\n    /// ```\n    pub fn do_it() {}\n}\n";
        check(&format!("pub struct It<T>(T);\n{method}"), &[]);
        check(&format!("pub struct Other;\n{method}"), &["engine/src/it.rs:1: Other has no doctest"]);
        check("pub(crate) struct Hidden;\n", &[]);
    }

    #[test]
    fn blocking_callers_have_what_async_ones_have() {
        let engine =
            "impl Db {\n    pub async fn get(&self) {}\n    pub fn put(&self) {}\n    pub fn builder() {}\n}\n";
        let check = |blocking: &str, expected: &[&str]| {
            let files = [("engine/src/db.rs", engine), ("engine/src/blocking/mod.rs", blocking)];
            assert_eq!(public(&files).without_blocking(), expected, "{blocking}");
        };
        check("pub struct Db;\nimpl Db {\n    pub fn get(&self) {}\n    pub fn put(&self) {}\n}\n", &[]);
        let lacks = "engine/src/blocking/mod.rs:1: Db lacks put, which its async namesake has";
        check("pub struct Db;\nimpl Db {\n    pub fn get(&self) {}\n}\n", &[lacks]);
    }
}
