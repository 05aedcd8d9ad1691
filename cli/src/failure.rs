//! What went wrong, why, and what to do next: on standard error and as an exit code.

use crate::args::Format;
use halite::ErrorKind;
use serde_json::{Value, json};
use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::io;

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// How the program ends. The numbers never change: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    NotFound = 1,
    Usage = 2,
    Corruption = 3,
    Io = 4,
    InUse = 5,
    Conflict = 6,
    /// As a shell reports the death by signal 2.
    Interrupted = 130,
}

/// Why a command did not do what was asked. Boxed, as it is in the way of every result.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    exit: Exit,
    /// In JSON; these names never change.
    kind: &'static str,
    message: String,
    /// Why, outermost first.
    causes: Vec<String>,
    /// What to do next.
    hint: Option<String>,
    /// For damage: the file and the offset in it.
    place: Option<(String, u64)>,
    /// Whether it was our own output that failed.
    output: bool,
    /// Whoever read our output has enough: no failure to speak of.
    quiet: bool,
}

impl Failure {
    fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure(Box::new(Parts {
            exit,
            kind,
            message,
            causes: Vec::new(),
            hint: None,
            place: None,
            output: false,
            quiet: false,
        }))
    }

    /// What was asked makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "usage", message).hint("see `halite help`, or `halite help COMMAND`")
    }

    /// Input that is not what it should be.
    pub(crate) fn input(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "input", message)
    }

    /// A file or stream outside the store failed.
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Failure {
        let mut failure = Failure::new(Exit::Io, "io", what);
        failure.0.causes.push(cause.to_string());
        failure
    }

    /// Writing results failed. That the reader went away is no failure: `halite list | head` is a good use.
    pub(crate) fn output(cause: io::Error) -> Failure {
        let quiet = cause.kind() == io::ErrorKind::BrokenPipe;
        let mut failure = Failure::io("cannot write to standard output", cause);
        (failure.0.output, failure.0.quiet, failure.0.exit) = (true, quiet, if quiet { Exit::Done } else { Exit::Io });
        failure
    }

    /// The engine said what cannot be.
    pub(crate) fn wrong_answer(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Corruption, "wrong_answer", message)
            .hint("this is a bug, or failing memory: please report it")
    }

    /// Somebody pressed Ctrl-C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Interrupted, "interrupted", message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.0.hint = Some(hint.into());
        self
    }

    /// This failure, put in other words.
    pub(crate) fn instead(mut self, message: impl Into<String>) -> Failure {
        self.0.message = message.into();
        self
    }

    /// This failure as the cause of a larger one.
    pub(crate) fn within(mut self, message: impl Into<String>) -> Failure {
        let cause = std::mem::replace(&mut self.0.message, message.into());
        self.0.causes.insert(0, cause);
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    /// Whether it was our own output that failed, so that there is nobody to tell there.
    pub(crate) fn is_output(&self) -> bool {
        self.0.output
    }

    /// Writes it to standard error.
    pub(crate) fn report(&self, format: Format) {
        match format {
            _ if self.0.quiet => {}
            Format::Plain => say(format_args!("halite: {self}")),
            Format::Json => say(format_args!("{}", self.json())),
        }
    }

    /// The failure as a document.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({ "kind": self.0.kind, "message": self.0.message, "exit_code": self.0.exit as u8 });
        if !self.0.causes.is_empty() {
            error["causes"] = json!(self.0.causes);
        }
        if let Some((file, offset)) = &self.0.place {
            (error["file"], error["offset"]) = (json!(file), json!(offset));
        }
        if let Some(hint) = &self.0.hint {
            error["hint"] = json!(hint);
        }
        json!({ "error": error })
    }

    /// The failure in one line, without the hint.
    pub(crate) fn line(&self) -> String {
        let mut line = self.0.message.clone();
        for cause in &self.0.causes {
            // Writing to a string cannot fail.
            let _ = write!(line, ": {cause}");
        }
        line.replace(['\n', '\r'], " ")
    }
}

/// Writes a line to standard error. Where that cannot be written to, the exit code has to do (`eprintln!` would panic).
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr().lock(), format_args!("{line}\n"));
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for cause in &self.0.causes {
            write!(f, "\n  because: {cause}")?;
        }
        self.0.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl From<halite::Error> for Failure {
    fn from(error: halite::Error) -> Failure {
        let (exit, kind, hint) = meaning(error.kind());
        let mut failure = Failure::new(exit, kind, error.to_string()).hint(hint);
        failure.0.place = error.place().map(|(file, offset)| (file.to_owned(), offset));
        let mut cause = StdError::source(&error);
        while let Some(next) = cause {
            failure.0.causes.push(next.to_string());
            cause = next.source();
        }
        failure
    }
}

/// What a kind of error means for who runs the program: the exit code, its name in JSON, and what to do next.
fn meaning(kind: ErrorKind) -> (Exit, &'static str, &'static str) {
    match kind {
        ErrorKind::InvalidInput => (Exit::Usage, "invalid_input", "correct it and try again; nothing happened"),
        ErrorKind::Unsupported => (Exit::Usage, "unsupported", "use a halite that was built with it"),
        ErrorKind::WrongType => (Exit::Usage, "wrong_type", "read it with the types that it was written with"),
        ErrorKind::NotFound => (
            Exit::Io,
            "no_store",
            "check --store; `halite put KEY VALUE`, `load` and `shell` create a store where none is",
        ),
        ErrorKind::AlreadyExists => (Exit::Usage, "already_exists", "choose another name; nothing happened"),
        ErrorKind::NotAStore => {
            (Exit::Usage, "not_a_store", "name another place with --store, or use a newer halite; nothing was touched")
        }
        ErrorKind::InUse => {
            (Exit::InUse, "in_use", "another process has the store open (a shell, say): end it there, then try again")
        }
        ErrorKind::LogElsewhere => (
            Exit::InUse,
            "log_elsewhere",
            "name the folder that holds it with --log; if that is lost, --give-up-log goes on without what was in it",
        ),
        ErrorKind::Corruption => (
            Exit::Corruption,
            "corruption",
            "run `halite verify` to list all damage; what is not damaged stays readable: `dump` it, or restore a backup",
        ),
        ErrorKind::Cancelled => (Exit::Interrupted, "cancelled", "nothing has changed"),
        ErrorKind::Gone => {
            (Exit::NotFound, "gone", "leave out --from to see what is still kept, or begin anew with `dump`")
        }
        ErrorKind::Held => (Exit::Usage, "held", "wait until then: nothing was deleted"),
        ErrorKind::NoSpace => (Exit::Io, "no_space", "free some space and try again; nothing of this write happened"),
        ErrorKind::PermissionDenied => {
            (Exit::Io, "permission_denied", "check who owns the store and its mode, or run as its owner")
        }
        ErrorKind::Fenced => {
            (Exit::InUse, "fenced", "another writer has taken over; make sure that only one runs, then try again")
        }
        ErrorKind::Unknown => {
            (Exit::Io, "unknown", "the write may have happened or not: look, then repeat it if need be")
        }
        ErrorKind::Poisoned => {
            (Exit::Io, "poisoned", "writing has stopped after the failure above: set that right, then start again")
        }
        ErrorKind::Conflict => (
            Exit::Conflict,
            "conflict",
            "nothing happened: begin a transaction again, and do in it what this one was to do",
        ),
        ErrorKind::Closed => (Exit::Io, "closed", "open the store again"),
        _ => (Exit::Io, "io", "the storage failed: look at the disk and the system's messages, then try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::output(io::ErrorKind::BrokenPipe.into());
        assert!(failure.is_output() && failure.0.quiet && failure.exit() == Exit::Done);
        assert_eq!(Failure::output(io::ErrorKind::StorageFull.into()).exit(), Exit::Io);
    }

    #[test]
    fn a_failure_reads_top_down() {
        let failure = Failure::input("line 3: no key").within("cannot load data").hint("correct it");
        assert_eq!(failure.to_string(), "cannot load data\n  because: line 3: no key\n  hint: correct it");
        assert_eq!(failure.line(), "cannot load data: line 3: no key");
        assert_eq!(failure.json()["error"]["causes"][0], "line 3: no key");
    }
}
