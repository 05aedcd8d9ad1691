#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::fuzz::{Dice, times};

fn compressed(codec: Codec, value: &[u8]) -> Option<Vec<u8>> {
    let mut compressing = Compressing::new(codec, value);
    while compressing.step() > 0 {}
    compressing.finish()
}

fn read(stored: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut parts = Parts::new(stored)?;
    let mut value = Vec::with_capacity(parts.len());
    while parts.next(&mut value)? > 0 {}
    Ok(value)
}

fn codecs() -> impl Iterator<Item = Codec> {
    [Codec::Lz4, Codec::Zstd].into_iter().filter(|codec| codec.is_here())
}

/// Text that compresses, and noise that does not.
fn mixed(dice: &mut Dice, len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(len + 64);
    while value.len() < len {
        match dice.below(4) {
            0 => value.extend((0..1 + dice.below(times(300_000))).map(|_| dice.below(256) as u8)),
            _ => value.extend(b"a page of some book, ".repeat(1 + dice.below(20_000))),
        }
    }
    value.truncate(len);
    value
}

#[test]
fn what_is_compressed_comes_back() {
    let mut dice = Dice::new(7);
    for codec in codecs() {
        let lens = [64, 100, 4096, PART_LEN - 1, PART_LEN, PART_LEN + 1, 3 * PART_LEN, 5 * PART_LEN + 17];
        for len in lens.into_iter().take(if cfg!(miri) { 3 } else { lens.len() }) {
            let value = b"the same again, ".repeat(len / 16 + 1)[..len].to_vec();
            let stored = compressed(codec, &value).unwrap();
            assert!(stored.len() <= len - len / 8, "{codec:?} {len}");
            assert_eq!(read(&stored).unwrap(), value);
            let value = mixed(&mut dice, len);
            if let Some(stored) = compressed(codec, &value) {
                assert_eq!(read(&stored).unwrap(), value, "{codec:?} {len}");
            }
        }
    }
}

/// A part that does not compress stands as it is among others that do.
#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn noise_among_text_costs_nothing() {
    let mut dice = Dice::new(1);
    let noise: Vec<u8> = (0..PART_LEN).map(|_| dice.below(256) as u8).collect();
    let value = [b"text".repeat(PART_LEN / 4), noise, b"more".repeat(PART_LEN / 2)].concat();
    for codec in codecs() {
        let stored = compressed(codec, &value).unwrap();
        assert!(stored.len() < PART_LEN + PART_LEN / 4);
        assert_eq!(read(&stored).unwrap(), value);
    }
}

#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn what_saves_too_little_is_left_as_it_is() {
    let mut dice = Dice::new(2);
    let noise: Vec<u8> = (0..3 * PART_LEN).map(|_| dice.below(256) as u8).collect();
    for codec in codecs() {
        assert_eq!(compressed(codec, b""), None);
        assert_eq!(compressed(codec, b"short"), None);
        assert_eq!(compressed(codec, &noise), None);
        // It does not take all of it to see that.
        let long = noise.repeat(8);
        let mut compressing = Compressing::new(codec, &long);
        let parts = std::iter::from_fn(|| Some(compressing.step()).filter(|&len| len > 0)).count();
        assert!(parts <= SAMPLE_LEN / PART_LEN, "{parts} parts of {}", long.len() / PART_LEN);
        assert!(compressing.finish().is_none());
    }
}

/// Every bit, every cut, and any bytes at all: a complaint or another value, never a panic, and never memory for a claim that
/// cannot be true.
#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn damage_is_a_complaint() {
    let mut dice = Dice::new(3);
    for codec in codecs() {
        let value = mixed(&mut dice, PART_LEN + 999);
        let value = [&b"text".repeat(1000)[..], &value].concat();
        let stored = compressed(codec, &value).unwrap_or_else(|| compressed(codec, &b"text".repeat(9999)).unwrap());
        for cut in (0..64).chain((64..stored.len()).step_by(997)) {
            assert!(read(&stored[..cut]).is_err(), "{codec:?} cut to {cut}");
        }
        assert!(matches!(read(&[&stored[..], b"x"].concat()), Err(Trouble::Damaged(_))));
        for _ in 0..300 {
            let mut damaged = stored.clone();
            let at = if dice.below(2) == 0 { dice.below(16) } else { dice.below(damaged.len()) };
            damaged[at] ^= 1 << dice.below(8);
            if let Ok(other) = read(&damaged) {
                assert!(other.len() <= VALUE_LEN_MAX);
            }
        }
    }
    for _ in 0..2000 {
        let len = dice.below(40);
        let bytes: Vec<u8> =
            (0..len).map(|at| if at == 0 { 1 + dice.below(2) as u8 } else { dice.below(256) as u8 }).collect();
        let _ = read(&bytes);
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_given_memory() {
    // A gibibyte, said to lie in a few bytes.
    for codec in codecs() {
        let mut bomb = vec![codec as u8];
        put_varint(VALUE_LEN_MAX, &mut bomb);
        for _ in 0..VALUE_LEN_MAX / PART_LEN {
            bomb.extend_from_slice(&[1, 0]);
        }
        assert_eq!(read(&bomb), Err(Trouble::Damaged("compressed value claims to hold more than it can")));
        let mut beyond = vec![codec as u8];
        put_varint(VALUE_LEN_MAX + 1, &mut beyond);
        assert!(read(&beyond).is_err());
    }
}

#[test]
fn an_unknown_codec_is_damage_and_a_missing_one_is_named() {
    assert!(matches!(read(&[0, 1, 1, b'x']), Err(Trouble::Damaged(_))));
    assert!(matches!(read(&[3, 1, 1, b'x']), Err(Trouble::Damaged(_))));
    for codec in [Codec::Lz4, Codec::Zstd].into_iter().filter(|codec| !codec.is_here()) {
        assert_eq!(read(&[codec as u8, 1, 1, b'x']), Err(Trouble::Lacks(codec.name())));
    }
}
