//! Reads Rust source as tokens: which paths it names, which words it uses, which of it is test code.
//!
//! Tokens, not text, so that comments and strings say what they like, and `use std::{fs, io}` is seen as `std::fs`.
//! Items under `#[cfg(test)]` are left out; files that hold nothing else are named.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What a file's code, its tests left out, speaks of.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Every path, with the line it begins on: `use std::{fs, io}` gives `std::fs` and `std::io`.
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    /// Modules declared under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<String>,
}

impl Facts {
    /// The facts of `source`, or why it is not Rust.
    pub(crate) fn of(source: &str) -> Result<Facts, String> {
        let tokens: TokenStream = source.parse().map_err(|cause| format!("not Rust: {cause}"))?;
        let mut facts = Facts::default();
        facts.code(tokens);
        Ok(facts)
    }

    /// The first line on which `word` stands as a name of its own or within a path.
    pub(crate) fn line_of_word(&self, word: &str) -> Option<usize> {
        self.paths.iter().find(|(path, _)| path.iter().any(|part| part == word)).map(|&(_, line)| line)
    }

    fn code(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match (&tokens[at], tokens.get(at + 1)) {
                (TokenTree::Punct(hash), Some(TokenTree::Group(group)))
                    if hash.as_char() == '#' && is_cfg_test(group) =>
                {
                    self.skip_item(&tokens, at + 2)
                }
                (TokenTree::Ident(_), _) => self.path(&tokens, at, &[]),
                (TokenTree::Group(group), _) => {
                    self.code(group.stream());
                    at + 1
                }
                _ => at + 1,
            };
        }
    }

    /// Passes over the item that begins at `at`, to behind its `;` or its braces.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        let mut module = false;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Punct(end) if end.as_char() == ';' => break,
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                    break;
                }
                TokenTree::Ident(word) if module => {
                    self.test_modules.push(word.to_string());
                    module = false;
                }
                TokenTree::Ident(word) => module = word == "mod",
                _ => {}
            }
        }
        at
    }

    /// Takes the path that begins with the name at `at`, seen below `prefix`; returns where it ends.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, prefix: &[String]) -> usize {
        let line = tokens[at].span().start().line;
        let mut path = prefix.to_vec();
        while let Some(TokenTree::Ident(word)) = tokens.get(at) {
            path.push(word.to_string());
            at += 1;
            if !is_double_colon(tokens, at) {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(tree)) = tokens.get(at).filter(|token| is_braces(token)) {
                self.tree(tree.stream(), &path);
                return at + 1;
            }
        }
        self.paths.push((path, line));
        at
    }

    /// Takes the branches of a `use` tree below `prefix`.
    fn tree(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                // The new name of something renamed is no part of a path.
                TokenTree::Ident(word) if word == "as" => at + 2,
                TokenTree::Ident(_) => self.path(&tokens, at, prefix),
                TokenTree::Group(group) => {
                    self.tree(group.stream(), prefix);
                    at + 1
                }
                _ => at + 1,
            };
        }
    }
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

fn is_cfg_test(attribute: &Group) -> bool {
    let mut words = attribute.stream().into_iter();
    let cfg = matches!(words.next(), Some(TokenTree::Ident(word)) if word == "cfg");
    cfg && matches!(words.next(), Some(TokenTree::Group(what)) if what.stream().to_string() == "test")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let facts = Facts::of(source).unwrap();
        let paths: Vec<_> =
            facts.paths.iter().map(|(path, _)| path.join("::")).filter(|path| path.contains("::")).collect();
        assert_eq!(paths, expected, "{source}");
    }

    #[test]
    fn paths_are_seen_wherever_they_stand() {
        check("use std::fs::File;", &["std::fs::File"]);
        check("use std::{fs::{self, File as F}, io};", &["std::fs::self", "std::fs::File", "std::io"]);
        check("fn f() { let x = vec![::std::thread::spawn(g)]; }", &["std::thread::spawn"]);
        check("fn f(x: Vec<std::net::IpAddr>) {}", &["std::net::IpAddr"]);
        check("// std::fs\nconst S: &str = \"std::fs\"; /* std::fs */", &[]);
    }

    #[test]
    fn test_code_is_left_out() {
        let source =
            "#[cfg(test)]\n#[allow(x)]\nmod tests { use std::fs; }\n#[cfg(test)] pub(crate) mod fuzz;\nuse a::b;";
        check(source, &["a::b"]);
        assert_eq!(Facts::of(source).unwrap().test_modules, ["tests", "fuzz"]);
        check("#[cfg(not(test))] use a::b;", &["a::b"]);
    }

    #[test]
    fn words_have_lines() {
        let facts = Facts::of("fn a() {}\n\nfn b() { unsafe { c() } }").unwrap();
        assert_eq!(facts.line_of_word("unsafe"), Some(3));
        assert_eq!(facts.line_of_word("safe"), None);
        assert_eq!(Facts::of("#![forbid(unsafe_code)]").unwrap().line_of_word("unsafe"), None);
    }
}
