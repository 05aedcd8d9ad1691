//! The shell at a terminal: line editing, history, completion of commands and keys.
//!
//! History is kept in `~/.halite_history`, readable by its owner only, or in the file that `HALITE_HISTORY` names; empty,
//! it turns history off. A line that begins with a blank is not kept.

use crate::failure::{Failure, Result};
use crate::text;
use futures::StreamExt;
use halite::Db;
use rustyline::completion::Completer;
use rustyline::config::{Builder, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use tokio::runtime::Handle;

const HISTORY_LINES: usize = 10_000;
const KEYS_OFFERED: usize = 50;

/// Whether a person sits at both ends.
pub(super) fn is_wanted() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Reads lines from a person.
pub(super) struct Editor {
    editor: rustyline::Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    pub(super) fn new(db: &Db, grammar: &clap::Command) -> Result<Editor> {
        let config = Builder::new().completion_type(CompletionType::List).history_ignore_space(true);
        let config = config.max_history_size(HISTORY_LINES).map_err(failure)?.build();
        let mut editor = rustyline::Editor::with_config(config).map_err(failure)?;
        editor.set_helper(Some(Completion { db: db.clone(), runtime: Handle::current(), commands: names(grammar) }));
        let history = history_file();
        if let Some(history) = &history {
            // There is none at first.
            let _ = editor.load_history(history);
        }
        Ok(Editor { editor, history })
    }

    /// The next line; `None` at the end. Ctrl-C drops the line begun.
    pub(super) fn line(&mut self) -> Result<Option<String>> {
        loop {
            // Waiting for a person, this thread is none of the runtime's.
            match tokio::task::block_in_place(|| self.editor.readline("halite> ")) {
                Ok(line) => {
                    self.remember(&line);
                    return Ok(Some(line));
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(cause) => return Err(failure(cause)),
            }
        }
    }

    fn remember(&mut self, line: &str) {
        // A shell without history is still a shell: nothing here may stop it.
        let kept = !line.trim().is_empty() && self.editor.add_history_entry(line).unwrap_or(false);
        if let Some(history) = self.history.as_ref().filter(|_| kept) {
            let _ = self.editor.append_history(history);
        }
    }
}

fn failure(cause: ReadlineError) -> Failure {
    Failure::io("cannot read from the terminal", io::Error::other(cause))
}

fn history_file() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HALITE_HISTORY") {
        return Some(named).filter(|name| !name.is_empty()).map(PathBuf::from);
    }
    std::env::home_dir().map(|home| home.join(".halite_history"))
}

/// The commands, by all their names.
fn names(grammar: &clap::Command) -> Vec<String> {
    let commands = grammar.get_subcommands();
    commands.flat_map(clap::Command::get_name_and_visible_aliases).map(str::to_owned).collect()
}

/// Completes the first word as a command, and the next as a key.
struct Completion {
    db: Db,
    runtime: Handle,
    commands: Vec<String>,
}

impl Completion {
    fn commands(&self, begun: &str) -> Vec<String> {
        let mut found: Vec<_> = self.commands.iter().filter(|name| name.starts_with(begun)).cloned().collect();
        found.sort_unstable();
        found
    }

    /// Keys that begin so, as words; only such as need no quotes, as what is begun is bare.
    fn keys(&self, begun: &str) -> Vec<String> {
        let scan = self.db.prefix(begun).keys_only().limit(KEYS_OFFERED);
        let entries: Vec<_> = self.runtime.block_on(scan.collect());
        let words = entries.into_iter().flatten().map(|entry| text::word(&entry.key));
        words.filter(|word| !word.starts_with('"')).collect()
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let begun = &before[start..];
        let mut words = before[..start].split_whitespace();
        Ok(match (words.next(), words.next()) {
            (None, _) | (Some("help"), None) => (start, self.commands(begun)),
            (Some("put" | "set" | "get" | "delete" | "del" | "exists" | "list" | "ls"), None) => {
                (start, self.keys(begun))
            }
            _ => (start, Vec::new()),
        })
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustyline::history::DefaultHistory;

    fn complete(line: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let db = runtime.block_on(async {
            let db = Db::open("mem:").await.unwrap();
            for key in ["user:1", "user:2", "user two", "group:1"] {
                db.put(key, "").await.unwrap();
            }
            db
        });
        let commands = ["get", "list", "ls", "help"].map(str::to_owned).to_vec();
        let completion = Completion { db, runtime: runtime.handle().clone(), commands };
        let history = DefaultHistory::new();
        completion.complete(line, line.len(), &Context::new(&history)).unwrap().1
    }

    #[test]
    fn commands_and_keys_are_completed() {
        assert_eq!(complete("l"), ["list", "ls"]);
        assert_eq!(complete("help g"), ["get"]);
        assert_eq!(complete("get user"), ["user:1", "user:2"]);
        assert_eq!(complete("get gr"), ["group:1"]);
        assert!(complete("get user:1 x").is_empty() && complete("nonsense x").is_empty());
    }
}
