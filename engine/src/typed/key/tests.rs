#![allow(clippy::unwrap_used)]
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Debug;

fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// Both guarantees, and that what was encoded comes back and leaves what follows.
fn check<K: Key + Ord + Debug>(a: &K, b: &K) {
    let (bytes_a, bytes_b) = (encoded(a), encoded(b));
    assert_eq!(bytes_a.cmp(&bytes_b), a.cmp(b), "guarantee 1: {a:?} {b:?}");
    assert_eq!(bytes_a.starts_with(&bytes_b), a == b, "guarantee 2: {a:?} {b:?}");
    assert_eq!(bytes_b.starts_with(&bytes_a), a == b, "guarantee 2: {a:?} {b:?}");
    let followed = [&bytes_a[..], &bytes_b].concat();
    let mut rest = &followed[..];
    assert_eq!(K::decode(&mut rest).unwrap(), *a);
    assert_eq!(rest, bytes_b);
    for cut in 0..bytes_a.len() {
        assert!(K::decode(&mut &bytes_a[..cut]).is_err(), "{a:?} cut to {cut}");
    }
}

/// Text and bytes in which everything that matters to the encoding is frequent.
fn tricky_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0x00), Just(0x01), Just(0xfe), Just(0xff), any::<u8>()], 0..6)
}

fn tricky_text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), any::<char>()], 0..6)
        .prop_map(|chars| chars.into_iter().collect())
}

/// Neighbours and extremes of integers are frequent.
macro_rules! integers {
    ($($name:ident: $type:ty),*) => {$(
        fn $name() -> impl Strategy<Value = $type> {
            prop_oneof![
                Just(<$type>::MIN), Just(<$type>::MIN + 1), Just(<$type>::MAX - 1), Just(<$type>::MAX),
                Just(0 as $type), Just(1 as $type), Just((0 as $type).wrapping_sub(1)), any::<$type>()
            ]
        }
    )*};
}

integers!(any_u8: u8, any_u16: u16, any_u32: u32, any_u64: u64, any_u128: u128);
integers!(any_i8: i8, any_i16: i16, any_i32: i32, any_i64: i64, any_i128: i128);

proptest! {
    #[test]
    fn integers(a in (any_u8(), any_u16(), any_u32(), any_u64(), any_u128()), b in (any_u8(), any_u16(), any_u32(), any_u64(), any_u128())) {
        check(&a.0, &b.0);
        check(&a.1, &b.1);
        check(&a.2, &b.2);
        check(&a.3, &b.3);
        check(&a.4, &b.4);
        check(&a, &b);
    }

    #[test]
    fn signed_integers(a in (any_i8(), any_i16(), any_i32(), any_i64(), any_i128()), b in (any_i8(), any_i16(), any_i32(), any_i64(), any_i128())) {
        check(&a.0, &b.0);
        check(&a.1, &b.1);
        check(&a.2, &b.2);
        check(&a.3, &b.3);
        check(&a.4, &b.4);
        check(&a, &b);
    }

    #[test]
    fn bytes_and_text(a in (tricky_bytes(), tricky_text()), b in (tricky_bytes(), tricky_text())) {
        check(&a.0, &b.0);
        check(&a.1, &b.1);
        check(&Bytes::from(a.0.clone()), &Bytes::from(b.0.clone()));
        check(&a, &b);
        check(&(a.1, a.0), &(b.1, b.0));
    }

    #[test]
    fn nested(
        a in (proptest::option::of(tricky_text()), any::<(bool, char)>(), [tricky_bytes(), tricky_bytes()], any::<[u8; 3]>()),
        b in (proptest::option::of(tricky_text()), any::<(bool, char)>(), [tricky_bytes(), tricky_bytes()], any::<[u8; 3]>()),
    ) {
        check(&a, &b);
        check(&(Some(a.0.clone()), ()), &(Some(b.0.clone()), ()));
        check(&(a.0, a.2, 7_u8, a.3, (), a.1), &(b.0, b.2, 7_u8, b.3, (), b.1));
    }

    /// Values that share all but one part, as neighbours in a collection do.
    #[test]
    fn neighbours(shared in tricky_bytes(), more in tricky_bytes(), a in any_u8(), b in any_u8(), tail in tricky_text()) {
        let longer = [&shared[..], &more].concat();
        check(&(shared.clone(), a, tail.clone()), &(longer.clone(), b, tail.clone()));
        check(&(Some(shared.clone()), a), &(None, b));
        check(&(shared, tail.clone()), &(longer, tail));
    }

    #[test]
    fn whatever_the_bytes_decoding_never_panics(bytes in vec(any::<u8>(), 0..40)) {
        let _ = <(String, Option<(bool, char, Bytes)>)>::decode(&mut &bytes[..]);
        let _ = <(Vec<u8>, i128, [Option<u16>; 3])>::decode(&mut &bytes[..]);
        // What decodes is what would have been encoded: no key has two encodings.
        let mut rest = &bytes[..];
        if let Ok(key) = <(Option<Vec<u8>>, bool, char, u8)>::decode(&mut rest) {
            assert_eq!(encoded(&key), bytes[..bytes.len() - rest.len()]);
        }
    }
}

/// The table at the top, byte by byte: it is in files.
#[test]
fn encodings_never_change() {
    assert_eq!(encoded(&0x0102_0304_u32), [1, 2, 3, 4]);
    assert_eq!(encoded(&-1_i16), [0x7f, 0xff]);
    assert_eq!(encoded(&1_i16), [0x80, 0x01]);
    assert_eq!(encoded(&"a\0b".to_owned()), *b"a\0\xffb\0\0");
    assert_eq!(encoded(&vec![0_u8]), *b"\0\xff\0\0");
    assert_eq!(encoded(&[0_u8, 255]), [0, 255]);
    assert_eq!(encoded(&(Some(true), None::<u8>, 'x')), [1, 1, 0, 0, 0, 0, b'x']);
    assert!(encoded(&()).is_empty());
}

/// `FORMAT.md` tells the same as the table at the top of the module.
#[test]
fn the_format_page_has_the_same_table() {
    let (page, module) = (include_str!("../../../../FORMAT.md"), include_str!("../key.rs"));
    let rows = module.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(2);
    for row in rows {
        assert!(page.contains(row), "FORMAT.md lacks: {row}");
    }
}
