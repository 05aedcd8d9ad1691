//! Keys, values and numbers as text: exact where a program reads them, short where a person does.
//!
//! # Words
//! A *word* is how the shell reads and writes bytes: bare where nothing could be misread, else in double quotes with
//! the escapes `\"`, `\\`, `\n`, `\r`, `\t`, and `\xNN` for any other byte that is not printable text. What `list`
//! writes can be given back to `put`.
//!
//! An *answer* is a value that has a line for itself: as a word, but blanks within it need no quotes.

use std::fmt::Write;

/// `bytes` as a word.
pub(crate) fn word(bytes: &[u8]) -> String {
    let bare = |text: &str| !text.contains([' ', '"', '\'', '\\']) && !text.starts_with('#');
    plain(bytes).filter(|text| bare(text)).map_or_else(|| quoted(bytes), str::to_owned)
}

/// `bytes` as an answer.
pub(crate) fn answer(bytes: &[u8]) -> String {
    let bare = |text: &str| !text.starts_with(['"', ' ']) && !text.ends_with(' ');
    plain(bytes).filter(|text| bare(text)).map_or_else(|| quoted(bytes), str::to_owned)
}

/// The text of `bytes`, where it is printable, not empty, and cannot be taken for `(nil)` and the like.
fn plain(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let printable = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace());
    (!text.is_empty() && !text.starts_with('(') && text.chars().all(printable)).then_some(text)
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                ' ' => text.push(' '),
                // Line separators and the like: of no harm to us, but to who counts lines.
                c if c.is_control() || c.is_whitespace() => escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => text.push(c),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text.push('"');
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The words of a line as a person or program typed it, or what is wrong with it.
///
/// Words are parted by blanks. `"…"` keeps blanks and knows the escapes above and `\0`; `'…'` keeps everything; outside
/// of quotes `\` takes the next byte as it is.
pub(crate) fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        if byte.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match byte {
            b'"' => double_quoted(&mut rest, word)?,
            b'\'' => loop {
                match rest.next().ok_or("a ' is never closed")? {
                    b'\'' => break,
                    byte => word.push(byte),
                }
            },
            b'\\' => word.push(rest.next().ok_or("nothing follows the last \\")?),
            byte => word.push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(rest: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>) -> Result<(), String> {
    loop {
        let byte = rest.next().ok_or("a \" is never closed")?;
        let byte = match byte {
            b'"' => return Ok(()),
            b'\\' => match rest.next().ok_or("a \" is never closed")? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'0' => 0,
                b'x' => hex(rest.next(), rest.next())?,
                byte @ (b'"' | b'\\' | b'\'') => byte,
                other => {
                    return Err(format!(
                        "unknown escape \\{}: there are \\\" \\\\ \\n \\r \\t \\0 \\xNN",
                        char::from(other)
                    ));
                }
            },
            byte => byte,
        };
        word.push(byte);
    }
}

fn hex(high: Option<u8>, low: Option<u8>) -> Result<u8, String> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
        _ => Err("two hexadecimal digits must follow \\x".to_owned()),
    }
}

/// A count with its thousands set apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and what is counted: `1 record`, `2 records`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Bytes in a unit that suits them: `999 B`, `1.5 KiB`, `12.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut size = number as f64 / 1024.0;
    let mut unit = 0;
    // What would round up to 1024.0 of a unit is 1.0 of the next.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests;
