//! The commands `load` and `dump`: records from and to lines of text.
//!
//! `load` reads and parses on a thread of its own, a few batches ahead of the engine. Its writes are deferred and one
//! flush makes all of them durable: when the command has ended well, everything is; when it stops early, it says how
//! much is. A batch commits as a whole, and batches in the order of their lines, so what a kill leaves is always the
//! records of the first so many lines.

use crate::failure::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::lines::{Line, Lines};
use crate::output::Out;
use crate::progress::Progress;
use crate::record::{Parsed, Record};
use crate::text;
use futures::StreamExt;
use halite::{Db, Durability, Scan, WriteBatch, WriteOptions};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::time::Instant;

/// Records of one batch, and bytes at which it is committed with fewer.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;

/// What the engine takes; checked here so that the error can name the line.
const KEY_LEN_MAX: usize = 64 << 10;
const VALUE_LEN_MAX: usize = 1 << 30;

/// The longest line: a value of 1 GiB in base64, its key, and what stands around them.
const LINE_LEN_MAX: usize = (3 << 29) - 1;

type Input = Box<dyn BufRead + Send>;

/// Some lines' worth of records.
#[derive(Debug, Default)]
struct Part {
    batch: WriteBatch,
    /// Bytes of the input read up to its end.
    bytes: u64,
    /// Why it is the last one.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Input,
    Failure(Failure),
}

/// Turns lines into parts.
struct Parser {
    lines: Lines<Input>,
    /// Each line is a key, and its number the value.
    plain: bool,
}

impl Parser {
    fn part(&mut self) -> Part {
        let mut part = Part::default();
        let mut size = 0;
        while part.end.is_none() && part.batch.len() < BATCH_RECORDS && size < BATCH_BYTES {
            match self.record() {
                Ok(Some(record)) => {
                    size += record.key.len() + record.value.len();
                    part.batch = match record.expires_at {
                        Some(at) => part.batch.put_expiring(record.key, record.value, at),
                        None => part.batch.put(record.key, record.value),
                    };
                }
                Ok(None) => part.end = Some(End::Input),
                Err(failure) => part.end = Some(End::Failure(failure)),
            }
        }
        part.bytes = self.lines.bytes();
        part
    }

    /// The record of the next line that is not blank.
    fn record(&mut self) -> Result<Option<Parsed>> {
        loop {
            // The line in question where reading it fails.
            let number = self.lines.number() + 1;
            let line = self.lines.next().map_err(|cause| Failure::io(format!("cannot read line {number}"), cause))?;
            let parsed = match line {
                None => return Ok(None),
                Some(Line::TooLong) => Err("longer than any record can be".to_owned()),
                Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
                Some(Line::Whole(line)) if self.plain => {
                    Ok(Parsed { key: line.to_vec(), value: number.to_string().into_bytes(), expires_at: None })
                }
                Some(Line::Whole(line)) => Record::parse(line),
            };
            return parsed
                .and_then(within_limits)
                .map(Some)
                .map_err(|what| Failure::input(format!("line {number}: {what}")));
        }
    }
}

fn within_limits(record: Parsed) -> Result<Parsed, String> {
    let too_long = |what, len, max| format!("{what} too long len={len} max={max}");
    match (record.key.len(), record.value.len()) {
        (len, _) if len > KEY_LEN_MAX => Err(too_long("key", len, KEY_LEN_MAX)),
        (_, len) if len > VALUE_LEN_MAX => Err(too_long("value", len, VALUE_LEN_MAX)),
        _ => Ok(record),
    }
}

/// Where parts come from: a thread where there are threads.
#[cfg(not(target_family = "wasm"))]
struct Parts(tokio::sync::mpsc::Receiver<Part>);

#[cfg(not(target_family = "wasm"))]
impl Parts {
    fn of(mut parser: Parser) -> Parts {
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        // Not one of the runtime's threads: it may wait for input for ever, and nobody is to wait for it at the end.
        std::thread::spawn(move || {
            loop {
                let part = parser.part();
                let last = part.end.is_some();
                if sender.blocking_send(part).is_err() || last {
                    return;
                }
            }
        });
        Parts(receiver)
    }

    async fn next(&mut self) -> Part {
        self.0.recv().await.unwrap_or(Part { end: Some(End::Input), ..Part::default() })
    }
}

#[cfg(target_family = "wasm")]
struct Parts(Parser);

#[cfg(target_family = "wasm")]
impl Parts {
    fn of(parser: Parser) -> Parts {
        Parts(parser)
    }

    async fn next(&mut self) -> Part {
        self.0.part()
    }
}

/// Opens the input; its length, where it is known.
fn input(file: &OsStr) -> Result<(Input, Option<u64>)> {
    if file == "-" {
        return Ok((Box::new(BufReader::with_capacity(256 << 10, io::stdin())), None));
    }
    let failure = |cause| Failure::io(format!("cannot read {}", file.display()), cause);
    let opened = File::open(file).map_err(failure)?;
    let metadata = opened.metadata().map_err(failure)?;
    if metadata.is_dir() {
        return Err(failure(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(BufReader::with_capacity(256 << 10, opened)), metadata.is_file().then_some(metadata.len())))
}

pub(super) async fn load(db: &Db, file: &OsStr, plain: bool, out: &mut Out) -> Result<Exit> {
    let begin = Instant::now();
    let (input, len) = input(file)?;
    let interrupt = Interrupt::listen();
    let mut parts = Parts::of(Parser { lines: Lines::new(input, LINE_LEN_MAX), plain });
    let progress = Progress::new(len, false);
    let (mut records, mut bytes) = (0, 0);
    let stopped = loop {
        let part = tokio::select! {
            biased;
            () = interrupt.raised() => break Some(Failure::interrupted("interrupted")),
            part = parts.next() => part,
        };
        let len = part.batch.len() as u64;
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        if let Err(error) = db.write_with(part.batch, deferred).await {
            break Some(Failure::from(error));
        }
        (records, bytes) = (records + len, part.bytes);
        progress.at(bytes, records);
        match part.end {
            None => {}
            Some(End::Input) => break None,
            Some(End::Failure(failure)) => break Some(failure),
        }
    };
    let flushed = db.flush().await;
    progress.end();
    match (stopped, flushed) {
        (None, Err(error)) => return Err(error.into()),
        (Some(failure), Ok(())) => {
            let stored = text::counted(records, "record");
            return Err(failure.within(format!("the load stopped; {stored} before that place are stored")));
        }
        // What stopped the load most likely stopped the flush as well: the first cause is the one to tell.
        (Some(failure), Err(_)) => {
            let sent = text::counted(records, "record");
            return Err(failure.within(format!("the load stopped; of {sent} before that place some may be lost")));
        }
        (None, Ok(())) => {}
    }
    let seconds = begin.elapsed().as_secs_f64();
    out.document(&json!({ "loaded": records, "bytes": bytes, "seconds": seconds }), || {
        let rate = (records as f64 / seconds.max(1e-9)) as u64;
        let (records, bytes) = (text::counted(records, "record"), text::bytes(bytes));
        format!("loaded {records} from {bytes} in {seconds:.2} s ({} a second)\n", text::count(rate))
    })?;
    Ok(Exit::Done)
}

pub(super) async fn dump(mut scan: Scan, out: &mut Out) -> Result<Exit> {
    // Beside the records on one terminal, a bar would be in their way.
    let progress = Progress::new(None, io::stdout().is_terminal());
    let (mut records, mut bytes) = (0, 0);
    while let Some(entry) = scan.next().await {
        let entry = entry?;
        out.json(&Record::of(&entry))?;
        records += 1;
        bytes += (entry.key.len() + entry.value.len()) as u64;
        if records % 1024 == 0 {
            progress.at(bytes, records);
        }
    }
    progress.end();
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parser(input: &'static [u8], plain: bool) -> Parser {
        Parser { lines: Lines::new(Box::new(input), LINE_LEN_MAX), plain }
    }

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        let mut words = parser(b"one\n\n  \ntwo\r\n", true);
        let first = words.record().unwrap().unwrap();
        assert_eq!((&first.key[..], &first.value[..]), (&b"one"[..], &b"1"[..]));
        let second = words.record().unwrap().unwrap();
        assert_eq!((&second.key[..], &second.value[..]), (&b"two"[..], &b"4"[..]));
        assert!(words.record().unwrap().is_none());
    }

    #[test]
    fn a_bad_line_ends_the_part_with_what_was_before() {
        let part =
            parser(b"{\"key\":\"a\",\"value\":\"1\"}\n\nnonsense\n{\"key\":\"b\",\"value\":\"2\"}\n", false).part();
        assert_eq!(part.batch.len(), 1);
        let Some(End::Failure(failure)) = part.end else { panic!("{:?}", part.end) };
        assert!(failure.to_string().contains("line 3: "), "{failure}");
    }

    #[test]
    fn parts_are_bounded() {
        let lines = "word\n".repeat(BATCH_RECORDS + 1);
        let mut words = parser(lines.leak().as_bytes(), true);
        let first = words.part();
        assert_eq!((first.batch.len(), first.end.is_none()), (BATCH_RECORDS, true));
        assert_eq!((words.part().batch.len(), words.part().batch.len()), (1, 0));
    }

    #[test]
    fn keys_beyond_the_limit_are_refused() {
        let line = format!("{}\n", "x".repeat(KEY_LEN_MAX + 1));
        let failure = parser(line.leak().as_bytes(), true).record().unwrap_err();
        assert!(failure.to_string().contains("line 1: key too long"), "{failure}");
    }
}
