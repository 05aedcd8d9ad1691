//! The shell: one line, one command, one answer, for a person at a terminal or a program at a pipe.
//!
//! # Protocol
//! Fed from a pipe, the shell answers each line in order, once the command has its durability, and flushes: a program
//! that has read `OK` knows that its write survives a power cut. It may send many lines ahead of the answers.
//! 1. Blank lines and lines that begin with `#` get no answer.
//! 2. An answer is one line, except for `list`, `scan`, `stats`, `tree`, `verify`, `compact`, `checkpoint list`, `backup`,
//!    `clone` and `help`: theirs ends with the only line of it that begins with `(`.
//! 3. What fails is answered with `(error) …` in one line, and the shell goes on.
//! 4. With `--format json`, every answer is one line of JSON; that of `list` and `scan` is one for each record, then
//!    `{"count": N}`. What fails is answered with `{"error": {…}}`.
//! 5. Between `begin` and `commit` or `rollback`, `put`, `get`, `delete`, `exists`, `list` and `scan` are a transaction's. A
//!    commit that fails ends it too, and has had no effect (unless its outcome is unknown).
//! 6. At the end of the input, or with `quit`, an open transaction is given up, the store is closed, and the exit code is
//!    0.

#[cfg(not(target_family = "wasm"))]
mod editor;
mod help;

use crate::args::DataCommand;
use crate::commands;
use crate::failure::{Exit, Failure, Result};
use crate::lines::{Line, Lines};
use crate::output::Out;
use crate::{args, text};
use clap::{FromArgMatches, Parser, Subcommand};
use halite::{Db, Isolation, Transaction, TransactionOptions};
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::ops::ControlFlow;

/// The longest line; what is longer goes through `halite put KEY -`.
const LINE_LEN_MAX: usize = 64 << 20;

/// What may stand on a line.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_subcommand = true, disable_help_flag = true)]
struct Words {
    #[command(subcommand)]
    command: ShellCommand,
}

#[derive(Debug, Subcommand)]
enum ShellCommand {
    #[command(flatten)]
    Data(DataCommand),
    /// Make everything so far durable
    Flush,
    /// Begin a transaction: what follows happens at its `commit`, all of it or nothing
    Begin {
        /// Compare only what it writes with what others write, not what it reads
        #[arg(long)]
        snapshot: bool,
    },
    /// Commit the open transaction, durably
    Commit,
    /// Give the open transaction up
    Rollback,
    /// Show what can be typed
    Help {
        /// About one command
        command: Option<String>,
    },
    /// Close the store and leave
    #[command(visible_alias = "exit")]
    Quit,
}

/// Turns lines into commands.
struct Grammar(clap::Command);

impl Grammar {
    fn new() -> Grammar {
        use clap::CommandFactory;
        Grammar(Words::command())
    }

    /// The command of a line; `None` where there is none.
    fn parse(&mut self, line: &[u8]) -> Result<Option<ShellCommand>> {
        if line.trim_ascii_start().starts_with(b"#") {
            return Ok(None);
        }
        let words = text::words(line).map_err(Failure::input)?;
        if words.is_empty() {
            return Ok(None);
        }
        let words: Vec<OsString> = words.into_iter().map(os_string).collect::<Result<_>>()?;
        let parsed = self.0.try_get_matches_from_mut(words).and_then(|matches| Words::from_arg_matches(&matches));
        parsed.map(|words| Some(words.command)).map_err(|refusal| args::explain(&refusal))
    }
}

#[cfg(unix)]
fn os_string(word: Vec<u8>) -> Result<OsString> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(word))
}

#[cfg(target_os = "wasi")]
fn os_string(word: Vec<u8>) -> Result<OsString> {
    Ok(std::os::wasi::ffi::OsStringExt::from_vec(word))
}

#[cfg(not(any(unix, target_os = "wasi")))]
fn os_string(word: Vec<u8>) -> Result<OsString> {
    String::from_utf8(word).map(OsString::from).map_err(|_| Failure::input("not UTF-8, which this system asks for"))
}

/// Answers lines until there are no more.
pub(crate) async fn run(db: &Db, out: &mut Out) -> Result<Exit> {
    out.be_shell();
    let mut shell = Shell { db: db.clone(), grammar: Grammar::new(), transaction: None };
    #[cfg(not(target_family = "wasm"))]
    if editor::is_wanted() {
        return at_terminal(&mut shell, out).await;
    }
    let mut lines = Lines::new(io::stdin().lock(), LINE_LEN_MAX);
    while let Some(line) = next(&mut lines)? {
        if shell.answer(line, out).await?.is_break() {
            break;
        }
    }
    Ok(Exit::Done)
}

#[cfg(not(target_family = "wasm"))]
async fn at_terminal(shell: &mut Shell, out: &mut Out) -> Result<Exit> {
    let mut editor = editor::Editor::new(&shell.db, &shell.grammar.0)?;
    println!("halite {}, {}; `help` shows what can be typed", env!("CARGO_PKG_VERSION"), shell.db.stats().location);
    while let Some(line) = editor.line()? {
        if shell.answer(Ok(line.as_bytes()), out).await?.is_break() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn next<R: BufRead>(lines: &mut Lines<R>) -> Result<Option<Result<&[u8]>>> {
    let line = lines.next().map_err(|cause| Failure::io("cannot read standard input", cause))?;
    let too_long =
        || Failure::input(format!("line too long max={LINE_LEN_MAX}")).hint("`halite put KEY -` takes a longer value");
    Ok(line.map(|line| match line {
        Line::Whole(line) => Ok(line),
        Line::TooLong => Err(too_long()),
    }))
}

/// A shell at work.
struct Shell {
    db: Db,
    grammar: Grammar,
    /// The open transaction, between `begin` and its end.
    transaction: Option<Transaction>,
}

impl Shell {
    /// Does what a line says and writes the answer. Only a failure to write it ends the shell.
    async fn answer(&mut self, line: Result<&[u8]>, out: &mut Out) -> Result<ControlFlow<()>> {
        let done = match line.and_then(|line| self.grammar.parse(line)) {
            Ok(None) => return Ok(ControlFlow::Continue(())),
            Ok(Some(ShellCommand::Quit)) => return Ok(ControlFlow::Break(())),
            Ok(Some(command)) => self.execute(command, out).await,
            Err(failure) => Err(failure),
        };
        match done {
            Ok(()) => {}
            Err(failure) if failure.is_output() => return Err(failure),
            Err(failure) => out.failure(&failure)?,
        }
        out.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    async fn execute(&mut self, command: ShellCommand, out: &mut Out) -> Result<()> {
        match command {
            ShellCommand::Data(command) => match &self.transaction {
                Some(transaction) => commands::transaction::data(&self.db, transaction, &command, out).await.map(drop),
                None => commands::data(&self.db, &command, out).await.map(drop),
            },
            ShellCommand::Flush => {
                self.db.flush().await?;
                out.done()
            }
            ShellCommand::Begin { snapshot } => {
                if self.transaction.is_some() {
                    return Err(Failure::input("a transaction is open: `commit` or `rollback` first"));
                }
                let isolation = if snapshot { Isolation::Snapshot } else { Isolation::Serializable };
                let options = TransactionOptions { isolation, ..TransactionOptions::default() };
                self.transaction = Some(self.db.begin_with(options));
                out.done()
            }
            ShellCommand::Commit => {
                self.take_transaction()?.commit().await?;
                out.done()
            }
            ShellCommand::Rollback => {
                self.take_transaction()?.rollback();
                out.done()
            }
            ShellCommand::Help { command } => help::help(&mut self.grammar.0, command.as_deref(), out),
            ShellCommand::Quit => unreachable!("it ends the loop"),
        }
    }

    fn take_transaction(&mut self) -> Result<Transaction> {
        self.transaction.take().ok_or_else(|| Failure::input("no transaction is open: `begin` one"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Words::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Option<ShellCommand>> {
        Grammar::new().parse(line.as_bytes())
    }

    #[test]
    fn lines_are_commands() {
        assert!(
            parse("").unwrap().is_none() && parse("  ").unwrap().is_none() && parse(" # a remark").unwrap().is_none()
        );
        let Some(ShellCommand::Data(DataCommand::Put { key, value, .. })) = parse("set 'a b' \"\\xff\"").unwrap()
        else {
            panic!("no put")
        };
        assert_eq!((key.as_encoded_bytes(), value.as_encoded_bytes()), (&b"a b"[..], &b"\xff"[..]));
        assert!(matches!(parse("exit").unwrap(), Some(ShellCommand::Quit)));
    }

    #[test]
    fn refusals_are_one_line() {
        for line in [
            "nonsense",
            "put",
            "put a",
            "put a b c",
            "get",
            "get a b",
            "list --limit x",
            "put a \"b",
            "put a b --ttl 0s",
        ] {
            let failure = parse(line).unwrap_err().line();
            assert!(!failure.contains('\n') && !failure.is_empty(), "{line}: {failure}");
        }
    }

    #[test]
    fn long_lines_are_answered() {
        let mut lines = Lines::new(&b"12345\nget a\n"[..], 4);
        assert!(next(&mut lines).unwrap().unwrap().is_err());
    }
}
