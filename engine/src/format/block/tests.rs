#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::{Result, fuzz};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;

const STREAM: Stream = Stream { salt: 0x5a17, base_seq: 1000 };
const OFFSET: u64 = 70_000;

fn span(number: u32) -> Span {
    let seq = 1000 + u64::from(number) * 3;
    let content = match number % 4 {
        0 => Content::One(Facts { seq, kind: Kind::Put, expires_at: None }),
        1 => Content::One(Facts { seq, kind: Kind::Tombstone, expires_at: None }),
        2 => Content::One(Facts { seq, kind: Kind::Put, expires_at: Some(1_700_000_000_000) }),
        _ => Content::Several(2 + number),
    };
    Span { offset: 128 + number * 50, len: 1 + number, content }
}

fn encode(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for (number, key) in keys.into_iter().enumerate() {
        builder.push(key.as_ref(), &span(number as u32), STREAM.base_seq);
    }
    let mut out = BytesMut::new();
    let len = builder.len();
    assert_eq!(builder.finish(&mut out), len);
    assert_eq!(out.len(), len);
    assert!(builder.is_empty());
    seal(&STREAM, OFFSET, &mut out);
    out.to_vec()
}

fn open(bytes: &[u8]) -> Result<BlockCursor> {
    let mut cursor = BlockCursor::empty();
    cursor.open(&STREAM, OFFSET, Bytes::copy_from_slice(bytes))?;
    Ok(cursor)
}

fn read(bytes: &[u8]) -> Result<Vec<(Vec<u8>, Span)>> {
    let mut cursor = open(bytes)?;
    let mut out = Vec::new();
    while cursor.advance()? {
        out.push((cursor.key().to_vec(), *cursor.span()));
    }
    Ok(out)
}

/// What the entries before the cursor are.
fn read_backward(cursor: &mut BlockCursor) -> Vec<(Vec<u8>, Span)> {
    let mut out = Vec::new();
    while cursor.retreat().unwrap() {
        out.push((cursor.key().to_vec(), *cursor.span()));
    }
    assert!(!cursor.retreat().unwrap());
    out
}

/// Encodes the keys, reads them back, and seeks each of `targets` every way.
fn check(keys: &[Vec<u8>], targets: &[Vec<u8>]) {
    let bytes = encode(keys);
    let model: BTreeMap<Vec<u8>, Span> =
        keys.iter().enumerate().map(|(number, key)| (key.clone(), span(number as u32))).collect();
    assert_eq!(read(&bytes).unwrap(), model.clone().into_iter().collect::<Vec<_>>());

    let mut cursor = open(&bytes).unwrap();
    assert!(!cursor.retreat().unwrap());
    cursor.seek_end();
    assert!(read_backward(&mut cursor).into_iter().eq(model.clone().into_iter().rev()));
    for target in targets.iter().chain(keys) {
        let expected = model.range(target.clone()..).next();
        let found = cursor.seek(target).unwrap();
        assert_eq!(found.then(|| (cursor.key(), cursor.span())), expected.map(|(key, span)| (&key[..], span)));

        for or_equal in [false, true] {
            cursor.seek_behind(target, or_equal).unwrap();
            let end = if or_equal { Bound::Included(target) } else { Bound::Excluded(target) };
            let expected = model.range::<Vec<u8>, _>((Bound::Unbounded, end)).rev();
            let expected = expected.map(|(key, span)| (key.clone(), *span));
            assert!(read_backward(&mut cursor).into_iter().eq(expected), "{target:?} {or_equal}");
        }

        cursor.seek_back(target).unwrap();
        let expected = model.range(..=target.clone()).next_back().or(model.first_key_value()).unwrap();
        assert_eq!((cursor.key(), cursor.span()), (&expected.0[..], expected.1));
        // And it goes on from there.
        let next = model.range(expected.0.clone()..).nth(1).map(|(key, _)| &key[..]);
        assert_eq!(cursor.advance().unwrap().then(|| cursor.key()), next);
    }
}

#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn keys_come_back_and_are_found() {
    let numbered = |count: usize| (0..count).map(|n| format!("key{n:05}").into_bytes()).collect::<Vec<_>>();
    let targets: Vec<Vec<u8>> =
        ["", "k", "key", "key00015", "key000155", "key00016", "key9", "\u{ff}"].map(|key| key.into()).to_vec();
    for count in [1, 2, 15, 16, 17, 31, 32, 33, 200] {
        check(&numbered(count), &targets);
    }
    check(&[vec![]], &targets);
    check(&[vec![], vec![0], vec![0, 0], vec![0xff; 10], vec![0xff; KEY_LEN_MAX]], &targets);
}

/// Whoever looks ahead is shown each entry once, before the cursor comes to it or just then.
#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn looking_ahead_shows_what_comes() {
    let bytes = encode((0..100).map(|number| format!("key {number:03}")));
    for (backward, count) in [false, true].into_iter().flat_map(|way| [1, 2, 7, 1000].map(|count| (way, count))) {
        let mut cursor = open(&bytes).unwrap();
        if backward {
            cursor.seek_end();
        }
        let (mut shown, mut walked) = (Vec::new(), Vec::new());
        while if backward { cursor.retreat() } else { cursor.advance() }.unwrap() {
            if cursor.is_unseen(backward) {
                shown.push(*cursor.span());
                cursor.look_ahead(backward, count, |span| shown.push(*span));
            }
            walked.push(*cursor.span());
            assert!(shown.starts_with(&walked));
        }
        assert_eq!((shown.len(), walked.len()), (100, 100));
    }
}

#[test]
fn known_bytes() {
    let bytes = encode(["ab", "abc"]);
    let entries = b"\x00\x02\x01\x80\x01\x01\x00ab\x02\x01\x02\xb2\x01\x02\x03c";
    assert_eq!(bytes[..entries.len()], entries[..]);
    assert_eq!(bytes[entries.len()..bytes.len() - 4], *b"\x00\x00\x00\x00\x01\x00\x00\x00");
}

#[test]
fn damage_and_displacement_are_noticed() {
    for bytes in [encode([""]), encode(["key1", "key2", "key3", "other"])] {
        fuzz::every_damage_is_noticed(&bytes, read);
        let mut cursor = BlockCursor::empty();
        assert!(cursor.open(&STREAM, OFFSET + 1, Bytes::copy_from_slice(&bytes)).is_err());
        let other = Stream { salt: 1, ..STREAM };
        assert!(cursor.open(&other, OFFSET, Bytes::copy_from_slice(&bytes)).is_err());
    }
}

/// Blocks whose checksum holds though their bytes are nonsense: no panic, and keys within their limits.
#[test]
fn mutated_blocks() {
    let keys: Vec<String> = (0..40).map(|n| format!("key{n:03}")).collect();
    let seeds: Vec<Vec<u8>> =
        [encode(&keys), encode(["", "a", "b"])].map(|block| block[..block.len() - CRC_LEN].to_vec()).to_vec();
    fuzz::mutate(&seeds, 200_000, |bytes| {
        let _ = open(bytes).map(|_| ());
        let mut sealed = [bytes, &[0; CRC_LEN]].concat();
        seal(&STREAM, OFFSET, &mut sealed);
        let Ok(mut cursor) = open(&sealed) else { return };
        cursor.look_ahead(false, usize::MAX, |_| ());
        while let Ok(true) = cursor.advance() {
            assert!(cursor.key().len() <= KEY_LEN_MAX);
        }
        for target in [&b""[..], b"key020", b"z"] {
            if let Ok(true) = cursor.seek(target) {
                assert!(cursor.key() >= target);
            }
            let _ = cursor.seek_back(target);
            let mut retreated = cursor.seek_behind(target, false).and_then(|()| cursor.retreat());
            while let Ok(true) = retreated {
                assert!(cursor.key().len() <= KEY_LEN_MAX);
                retreated = cursor.retreat();
            }
        }
    });
}

proptest! {
    #[test]
    fn any_keys_come_back_and_are_found(
        keys in proptest::collection::btree_set(proptest::collection::vec(0xfcu8.., 0..6), 1..80),
        targets in proptest::collection::vec(proptest::collection::vec(0xfbu8.., 0..6), 0..20),
    ) {
        check(&keys.into_iter().collect::<Vec<_>>(), &targets);
    }
}
