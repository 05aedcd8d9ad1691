//! Results on their way out, in the format asked for.
//!
//! One-shot commands and the shell give the same results and differ in how a program tells where they end: a command's
//! end is the end of its output, a shell's answer is one line or ends with a line in parentheses.

use crate::args::Format;
use crate::failure::{Failure, Result};
use crate::record::Record;
use crate::text;
use halite::Entry;
use serde::Serialize;
use serde_json::json;
use std::io::{self, BufWriter, Stdout, Write};

/// Where results go.
#[derive(Debug)]
pub(crate) struct Out {
    format: Format,
    shell: bool,
    writer: BufWriter<Stdout>,
}

impl Out {
    pub(crate) fn stdout(format: Format) -> Out {
        Out { format, shell: false, writer: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// From now on results are a shell's answers.
    pub(crate) fn be_shell(&mut self) {
        self.shell = true;
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn is_shell(&self) -> bool {
        self.shell
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(Failure::output)
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(Failure::output)
    }

    /// A line of JSON.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.writer, document).map_err(|cause| Failure::output(cause.into()))?;
        self.raw(b"\n")
    }

    /// What was asked is done.
    pub(crate) fn done(&mut self) -> Result<()> {
        if self.is_json() { self.json(&json!({ "ok": true })) } else { self.line("OK") }
    }

    /// A document of JSON, or its text.
    pub(crate) fn document(&mut self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.is_json() {
            return self.json(document);
        }
        self.raw(text().as_bytes())?;
        if self.shell { self.line("(end)") } else { Ok(()) }
    }

    /// One of many records.
    pub(crate) fn record(&mut self, entry: &Entry, keys_only: bool) -> Result<()> {
        match (self.is_json(), keys_only) {
            (true, true) => self.json(&Record::of_key(&entry.key)),
            (true, false) => self.json(&Record::of(entry)),
            (false, true) => self.line(&text::word(&entry.key)),
            (false, false) => {
                self.raw(text::word(&entry.key).as_bytes())?;
                self.raw(b" ")?;
                self.line(&text::word(&entry.value))
            }
        }
    }

    /// The end of many records, where it would not be seen otherwise.
    pub(crate) fn end_of_records(&mut self, count: u64) -> Result<()> {
        match (self.shell, self.is_json()) {
            (false, _) => Ok(()),
            (true, true) => self.json(&json!({ "count": count })),
            (true, false) => self.line(&format!("({})", text::counted(count, "record"))),
        }
    }

    /// A failure as a shell's answer.
    pub(crate) fn failure(&mut self, failure: &Failure) -> Result<()> {
        if self.is_json() { self.json(&failure.json()) } else { self.line(&format!("(error) {}", failure.line())) }
    }
}
