//! Lines of input as bytes, numbered, and none longer than a limit: whoever feeds us an endless line gets an error, not
//! all our memory.

use std::io::{self, BufRead};

/// Reads lines one by one.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    limit: usize,
    number: u64,
    bytes: u64,
    line: Vec<u8>,
}

/// A line, without its end.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// Longer than the limit; it has been passed over.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, limit: usize) -> Lines<R> {
        Lines { reader, limit, number: 0, bytes: 0, line: Vec::new() }
    }

    /// The number of the line read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` at the end of the input. Its end is `\n` or `\r\n`; the last one needs none.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(cause),
            };
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            let text = &buffer[..end.unwrap_or(taken)];
            any |= taken > 0;
            too_long |= self.line.len() + text.len() > self.limit;
            if !too_long {
                self.line.extend_from_slice(text);
            }
            self.reader.consume(taken);
            self.bytes += taken as u64;
            if end.is_some() || taken == 0 {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if too_long {
            // The memory of a line that came to nothing is not kept.
            self.line = Vec::new();
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Whole(self.line.strip_suffix(b"\r").unwrap_or(&self.line))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::BufReader;

    /// `None` stands for a line that is too long.
    fn check(input: &str, expected: &[Option<&str>]) {
        for capacity in [1, 3, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, input.as_bytes()), 4);
            for (index, expected) in expected.iter().enumerate() {
                let expected = expected.map_or(Line::TooLong, |text| Line::Whole(text.as_bytes()));
                assert_eq!(lines.next().unwrap(), Some(expected), "{input:?}");
                assert_eq!(lines.number(), index as u64 + 1);
            }
            assert_eq!(lines.next().unwrap(), None, "{input:?}");
            assert_eq!(lines.bytes(), input.len() as u64);
        }
    }

    #[test]
    fn lines_end_with_lf_crlf_or_the_input() {
        check("", &[]);
        check("\n", &[Some("")]);
        check("a\nbc\r\n\nd", &[Some("a"), Some("bc"), Some(""), Some("d")]);
    }

    #[test]
    fn long_lines_are_passed_over() {
        check("1234\n12345\nend\n", &[Some("1234"), None, Some("end")]);
        check("1234567890", &[None]);
    }
}
