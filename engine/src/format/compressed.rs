//! Compressed values: what a put whose flags have bit 4 holds for its value.
//!
//! | size | field of a compressed value |
//! | ---: | --- |
//! | 1 | codec: 1 LZ4 (blocks), 2 Zstandard (frames) |
//! | 1..5 | length of the value, uncompressed |
//! | | its parts |
//!
//! The value is cut into parts of 2^17 bytes, but for the last, so that none takes long:
//!
//! | size | field of a part |
//! | ---: | --- |
//! | 1..3 | length as stored, at most that of the part |
//! | | the part: compressed by itself, or as it is where its length as stored says so |
//!
//! # Guarantees
//! 1. Nothing is allocated by a length before the parts have been counted and found large enough for what they claim to hold:
//!    LZ4 makes at most 255 bytes of one, Zstandard 2^15.
//! 2. What is damaged is a complaint and never a panic.

use super::{VALUE_LEN_MAX, reader::Reader, varint};
use crate::planted::{Bug, planted};

/// Values are compressed and read in parts of this length: well below a millisecond each.
pub(crate) const PART_LEN: usize = 128 << 10;

/// After this much it shows whether a value compresses at all.
const SAMPLE_LEN: usize = 8 * PART_LEN;

/// A way of compressing. The numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Lz4 = 1,
    Zstd = 2,
}

/// Why a compressed value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is damaged.
    Damaged(&'static str),
    /// This build lacks the codec of this name.
    Lacks(&'static str),
}

impl Codec {
    fn of(number: u8) -> Option<Codec> {
        [Codec::Lz4, Codec::Zstd].into_iter().find(|codec| *codec as u8 == number)
    }

    /// Its name, which is that of the feature that brings it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Whether this build has it.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Codec::Lz4 => cfg!(feature = "lz4"),
            Codec::Zstd => cfg!(all(feature = "zstd", not(target_family = "wasm"))),
        }
    }

    /// The most bytes that it makes of one.
    fn ratio_max(self) -> u64 {
        match self {
            Codec::Lz4 => 255,
            Codec::Zstd => 1 << 15,
        }
    }

    /// Appends `part`, compressed; false where that did not work, and `out` may then hold anything.
    #[allow(unused_variables, reason = "without any codec")]
    fn compress(self, part: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let written = match self {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => {
                out.resize(start + lz4_flex::block::get_maximum_output_size(part.len()), 0);
                lz4_flex::block::compress_into(part, &mut out[start..]).ok()
            }
            #[cfg(all(feature = "zstd", not(target_family = "wasm")))]
            Codec::Zstd => zstandard::compress(part, out),
            #[allow(unreachable_patterns)]
            _ => None,
        };
        out.truncate(start + written.unwrap_or(0));
        written.is_some()
    }

    /// Fills `part` from its compressed form.
    #[allow(unused_variables, reason = "without any codec")]
    fn decompress(self, stored: &[u8], part: &mut [u8]) -> Result<(), Trouble> {
        if !self.is_here() {
            return Err(Trouble::Lacks(self.name()));
        }
        let written: Option<usize> = match self {
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4_flex::block::decompress_into(stored, part).ok(),
            #[cfg(all(feature = "zstd", not(target_family = "wasm")))]
            Codec::Zstd => zstandard::decompress(stored, part),
            #[allow(unreachable_patterns)]
            _ => None,
        };
        if written == Some(part.len()) { Ok(()) } else { Err(Trouble::Damaged("value does not decompress")) }
    }
}

/// Zstandard with what it works in kept for the next part: making that anew takes longer than a small value does.
#[cfg(all(feature = "zstd", not(target_family = "wasm")))]
mod zstandard {
    use std::cell::RefCell;
    use zstd::DEFAULT_COMPRESSION_LEVEL;
    use zstd::bulk::{Compressor, Decompressor};

    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(DEFAULT_COMPRESSION_LEVEL).ok());
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
    }

    /// Appends `part`, compressed, to `out`.
    pub(super) fn compress(part: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let start = out.len();
        out.resize(start + zstd::zstd_safe::compress_bound(part.len()), 0);
        let compress = |kept: &RefCell<Option<Compressor<'static>>>| {
            kept.borrow_mut().as_mut()?.compress_to_buffer(part, &mut out[start..]).ok()
        };
        COMPRESSOR.with(compress)
    }

    /// Fills `part` from its compressed form.
    pub(super) fn decompress(stored: &[u8], part: &mut [u8]) -> Option<usize> {
        DECOMPRESSOR.with(|kept| kept.borrow_mut().as_mut()?.decompress_to_buffer(stored, part).ok())
    }
}

/// Compresses a value, part by part.
#[derive(Debug)]
pub(crate) struct Compressing<'a> {
    codec: Codec,
    len: usize,
    rest: &'a [u8],
    out: Vec<u8>,
    part: Vec<u8>,
}

impl<'a> Compressing<'a> {
    pub(crate) fn new(codec: Codec, value: &'a [u8]) -> Compressing<'a> {
        let mut out = vec![codec as u8];
        put_varint(value.len(), &mut out);
        Compressing { codec, len: value.len(), rest: value, out, part: Vec::new() }
    }

    /// Compresses the next part, and returns its length: 0 once there is nothing more to do.
    pub(crate) fn step(&mut self) -> usize {
        if self.rest.is_empty() || !self.saves() {
            return 0;
        }
        let (part, rest) = self.rest.split_at(self.rest.len().min(PART_LEN));
        self.part.clear();
        let smaller = self.codec.compress(part, &mut self.part) && self.part.len() < part.len();
        let stored = if smaller { &self.part[..] } else { part };
        put_varint(stored.len(), &mut self.out);
        self.out.extend_from_slice(stored);
        self.rest = rest;
        part.len()
    }

    /// Whether at least an eighth of the whole may be saved yet: less is not worth what reading costs then. A value that begins
    /// with a good deal of noise is taken for noise.
    fn saves(&self) -> bool {
        let done = self.len - self.rest.len();
        let is_noise = done >= SAMPLE_LEN && self.out.len() > done - done / 16;
        !is_noise && self.out.len() <= self.len - self.len.div_ceil(8)
    }

    /// The compressed form, if it saves enough.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (self.rest.is_empty() && self.saves()).then_some(self.out)
    }
}

fn put_varint(number: usize, out: &mut Vec<u8>) {
    let mut bytes = [0; varint::LEN_MAX];
    let len = varint::write(number as u64, &mut bytes);
    out.extend_from_slice(&bytes[..len]);
}

/// The parts of a compressed value, from the first to the last.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    codec: Codec,
    /// Bytes of the value that are to come.
    left: usize,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Those of what a record stores. They have been counted then: guarantee 1.
    pub(crate) fn new(stored: &'a [u8]) -> Result<Parts<'a>, Trouble> {
        let bad_head = || Trouble::Damaged("compressed value has an impossible head");
        let mut head = Reader::new(stored);
        let codec = head.u8().and_then(Codec::of).ok_or_else(bad_head)?;
        let len = head.count(VALUE_LEN_MAX).ok_or_else(bad_head)?;
        if !codec.is_here() {
            return Err(Trouble::Lacks(codec.name()));
        }
        let parts = Parts { codec, left: len, rest: &stored[head.at()..] };
        let (mut rest, mut left) = (parts.rest, len);
        while left > 0 {
            let (part_len, bytes, behind) = next_part(rest, left)?;
            if (bytes.len() as u64) * codec.ratio_max() < part_len as u64 && !planted(Bug::BombsBelieved) {
                return Err(Trouble::Damaged("compressed value claims to hold more than it can"));
            }
            (rest, left) = (behind, left - part_len);
        }
        if !rest.is_empty() {
            return Err(Trouble::Damaged("compressed value has bytes behind its parts"));
        }
        Ok(parts)
    }

    /// Length of the parts to come, uncompressed: at first, that of the value.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// Appends the next part, uncompressed, to `value`, and returns its length: 0 behind the last.
    pub(crate) fn next(&mut self, value: &mut Vec<u8>) -> Result<usize, Trouble> {
        if self.left == 0 {
            return Ok(0);
        }
        let (len, bytes, rest) = next_part(self.rest, self.left)?;
        if bytes.len() == len {
            value.extend_from_slice(bytes);
        } else {
            let start = value.len();
            value.resize(start + len, 0);
            self.codec.decompress(bytes, &mut value[start..])?;
        }
        (self.rest, self.left) = (rest, self.left - len);
        Ok(len)
    }
}

/// Length and stored bytes of the part with which `parts` begin, and what follows; `left` bytes of the value are to come.
fn next_part(parts: &[u8], left: usize) -> Result<(usize, &[u8], &[u8]), Trouble> {
    let part_len = left.min(PART_LEN);
    let mut head = Reader::new(parts);
    let stored_len =
        head.count(part_len).ok_or(Trouble::Damaged("part of a compressed value has an impossible length"))?;
    let body = parts[head.at()..].split_at_checked(stored_len);
    let (bytes, rest) = body.ok_or(Trouble::Damaged("part of a compressed value is cut short"))?;
    Ok((part_len, bytes, rest))
}

#[cfg(test)]
mod tests;
