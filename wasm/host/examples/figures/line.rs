//! A line of the table, and what all measurements need.

use halite_wasmtime::wasmtime::{Error, Result};
use halite_wasmtime::{End, Outcome, Run};
use std::fmt;

/// One figure, as a row of a table.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) native: String,
    pub(crate) guest: String,
    pub(crate) ratio: String,
    pub(crate) asked: String,
    pub(crate) met: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { what, native, guest, ratio, asked, met } = self;
        write!(f, "| {what} | {native} | {guest} | {ratio} | {asked}{} |", if *met { "" } else { ", **missed**" })
    }
}

/// An end that is none of a measurement.
pub(crate) fn failed(outcome: &Outcome) -> Error {
    Error::msg(format!("{outcome:?}"))
}

/// Runs it to its end, which is to be a good one.
pub(crate) async fn finished(run: Run<'_>) -> Result<Outcome> {
    let outcome = run.finish().await?;
    if outcome.end == End::Exit(0) { Ok(outcome) } else { Err(failed(&outcome)) }
}
