//! The encoding of typed keys: bytes that sort as the values do.
//!
//! | type | bytes |
//! | --- | --- |
//! | `()` | none |
//! | `bool` | 0 or 1 |
//! | `u8` to `u128` | big-endian |
//! | `i8` to `i128` | big-endian, the sign bit inverted |
//! | `char` | its code point as a `u32` |
//! | `String`, `Vec<u8>`, `Bytes` | the bytes, each 00 followed by ff; then 00 00 |
//! | `Option` | 0; or 1 and the value |
//! | `[T; N]`, tuples | the parts, one after the other |
//!
//! These numbers are in files: they never change.
//!
//! # Guarantees
//! For values `a`, `b` of one type and their encodings `A`, `B`:
//! 1. `A < B` as bytes if and only if `a < b`.
//! 2. Where `a != b`, neither of `A` and `B` begins with the other: an encoding tells where it ends, so parts can stand one
//!    after the other, and guarantee 1 holds for the whole.

use bytes::Bytes;
use std::fmt;

/// Bytes that are not the encoding of a value of the type asked for.
///
/// ```
/// use halite::{Key, KeyError};
/// fn even(bytes: &mut &[u8]) -> Result<u32, KeyError> {
///     let number = u32::decode(bytes)?;
///     if number % 2 == 0 { Ok(number) } else { Err(KeyError::new("it is odd")) }
/// }
/// let mut encoded = Vec::new();
/// 7_u32.encode(&mut encoded);
/// assert_eq!(even(&mut &encoded[..]).unwrap_err().to_string(), "it is odd");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(&'static str);

impl KeyError {
    /// For implementations of [`Key`]: what was found, in a few words.
    pub fn new(what: &'static str) -> KeyError {
        KeyError(what)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for KeyError {}

/// A type whose values can be keys of a [`Collection`](crate::Collection): its encoding sorts as its values do.
///
/// Implemented for integers of fixed size, `bool`, `char`, `String`, `Vec<u8>`, [`Bytes`], `Option`, arrays, and tuples of up
/// to six. A type of your own implements it by way of these:
///
/// ```
/// use halite::{Key, KeyError};
/// /// Sorts by year, then by number.
/// #[derive(PartialEq, Eq, PartialOrd, Ord)]
/// struct Invoice { year: u16, number: u32 }
///
/// impl Key for Invoice {
///     fn encode(&self, out: &mut Vec<u8>) {
///         (self.year, self.number).encode(out);
///     }
///     fn decode(bytes: &mut &[u8]) -> Result<Invoice, KeyError> {
///         let (year, number) = Key::decode(bytes)?;
///         Ok(Invoice { year, number })
///     }
/// }
/// ```
///
/// An implementation promises that encodings sort as the values do, that none of two different ones begins with the other,
/// that `decode` gives what was encoded, and that all this stays so for as long as there are stores with such keys.
pub trait Key: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes an encoding from the front of `bytes`, leaving what follows it.
    ///
    /// # Errors
    /// Where `bytes` does not begin with one. It never panics, whatever the bytes.
    fn decode(bytes: &mut &[u8]) -> Result<Self, KeyError>;
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], KeyError> {
    let (front, rest) = bytes.split_at_checked(len).ok_or(KeyError("it is cut short"))?;
    *bytes = rest;
    Ok(front)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], KeyError> {
    let (front, rest) = bytes.split_first_chunk().ok_or(KeyError("it is cut short"))?;
    *bytes = rest;
    Ok(*front)
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        // The one place where bytes must sort as numbers do.
        #[allow(clippy::big_endian_bytes)]
        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            #[inline]
            fn decode(bytes: &mut &[u8]) -> Result<$type, KeyError> {
                Ok(<$type>::from_be_bytes(take_array(bytes)?))
            }
        }
    )*};
}

macro_rules! signed {
    ($($type:ty as $unsigned:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                (self.cast_unsigned() ^ <$type>::MIN.cast_unsigned()).encode(out);
            }

            #[inline]
            fn decode(bytes: &mut &[u8]) -> Result<$type, KeyError> {
                let bits = <$unsigned>::decode(bytes)? ^ <$type>::MIN.cast_unsigned();
                Ok(bits.cast_signed())
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);
signed!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

impl Key for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut &[u8]) -> Result<(), KeyError> {
        Ok(())
    }
}

impl Key for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Result<bool, KeyError> {
        match u8::decode(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(KeyError("it holds a bool that is neither true nor false")),
        }
    }
}

impl Key for char {
    fn encode(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<char, KeyError> {
        char::from_u32(u32::decode(bytes)?).ok_or(KeyError("it holds a char that is no code point"))
    }
}

/// Behind a 00 that is part of the value; and what follows the 00 behind the last byte.
const ESCAPED: u8 = 0xff;
const END: u8 = 0x00;

/// Appends `bytes` without their end: what all longer ones begin with too.
pub(super) fn encode_open(bytes: &[u8], out: &mut Vec<u8>) {
    let mut parts = bytes.split(|&byte| byte == 0);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(&[0, ESCAPED]);
        out.extend_from_slice(part);
    }
}

/// Appends `bytes` and their end.
pub(super) fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    encode_open(bytes, out);
    out.extend_from_slice(&[0, END]);
}

fn decode_bytes(bytes: &mut &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut value = Vec::new();
    loop {
        let len = bytes.iter().position(|&byte| byte == 0).ok_or(KeyError("it holds bytes or text without an end"))?;
        value.extend_from_slice(take(bytes, len)?);
        match take_array(bytes)? {
            [0, END] => return Ok(value),
            [0, ESCAPED] => value.push(0),
            _ => return Err(KeyError("it holds bytes or text with a 00 that is neither part of it nor its end")),
        }
    }
}

impl Key for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Vec<u8>, KeyError> {
        decode_bytes(bytes)
    }
}

impl Key for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Bytes, KeyError> {
        decode_bytes(bytes).map(Bytes::from)
    }
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self.as_bytes(), out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<String, KeyError> {
        String::from_utf8(decode_bytes(bytes)?).map_err(|_| KeyError("it holds text that is not UTF-8"))
    }
}

impl<T: Key> Key for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Option<T>, KeyError> {
        match u8::decode(bytes)? {
            0 => Ok(None),
            1 => T::decode(bytes).map(Some),
            _ => Err(KeyError("it holds an Option that is neither None nor Some")),
        }
    }
}

impl<T: Key, const N: usize> Key for [T; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|part| part.encode(out));
    }

    fn decode(bytes: &mut &[u8]) -> Result<[T; N], KeyError> {
        let mut parts = Vec::new();
        for _ in 0..N {
            parts.push(T::decode(bytes)?);
        }
        parts.try_into().map_err(|_| KeyError("it is cut short"))
    }
}

macro_rules! tuple {
    ($($part:ident $index:tt),*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)*
            }

            fn decode(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                Ok(($($part::decode(bytes)?,)*))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

#[cfg(test)]
mod tests;
