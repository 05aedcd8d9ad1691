#![allow(clippy::unwrap_used)]
use super::list::{around, union};
use super::*;
use crate::format::fuzz::Dice;
use crate::range::Direction;

const KEYS: usize = 24;

fn key(number: usize) -> Bytes {
    Bytes::from(vec![b'a' + number as u8])
}

fn any(dice: &mut Dice, seq: Seq) -> Stretch {
    let start = dice.below(KEYS);
    let end = start + 1 + dice.below(KEYS - start);
    let end = if end == KEYS && dice.below(2) == 0 { None } else { Some(key(end)) };
    Stretch { start: key(start), end, seq }
}

/// The newest of `tombstones` over a key, up to `at`: by looking at all.
fn expected(tombstones: &[Stretch], number: usize, at: Seq) -> Seq {
    let over = |stretch: &&Stretch| {
        stretch.seq <= at && stretch.start <= key(number) && stretch.end.as_ref().is_none_or(|end| key(number) < *end)
    };
    tombstones.iter().filter(over).map(|stretch| stretch.seq).max().unwrap_or(0)
}

fn check_sound(cover: &Cover) {
    let apart = |pair: &[Stretch]| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start);
    assert!(cover.stretches.windows(2).all(apart), "{cover:?}");
    assert!(cover.stretches.iter().all(|stretch| stretch.end.as_ref().is_none_or(|end| stretch.start < *end)));
}

#[test]
fn covers_and_lists_tell_the_newest_over_each_key() {
    let mut dice = Dice::new(1);
    for round in 0..60 {
        let count = if round == 0 { 9000 } else { 1 + dice.below(600) };
        let tombstones: Vec<Stretch> = (1..=count as Seq).map(|seq| any(&mut dice, 3 * seq)).collect();
        let mut list = CoverList::default();
        tombstones.iter().for_each(|stretch| list.push(stretch.clone()));
        assert_eq!(list.len(), count);
        for at in [0, 2, 3, dice.below(3 * count) as Seq, 3 * count as Seq, Seq::MAX] {
            let mut covers = Vec::new();
            list.covers(at, &mut covers);
            assert!(covers.windows(2).all(|pair| pair[0].max_seq() > pair[1].max_seq()), "newest first");
            let whole = union(covers.iter().rev().map(|cover| Cover::clone(cover)).collect());
            covers.iter().for_each(|cover| check_sound(cover));
            check_sound(&whole);
            let mut forward = Hidden::new(covers.clone(), Direction::Forward);
            for number in 0..KEYS {
                let (key, expected) = (key(number), expected(&tombstones, number, at));
                assert_eq!(list.over(&key, at), expected);
                assert_eq!(whole.over(&key), expected);
                assert_eq!(forward.over(&key), expected);
                let interval = around(&covers, &key);
                assert_eq!(interval.seq, expected);
                assert!(interval.start.is_none_or(|start| start <= key) && interval.end.is_none_or(|end| key < end));
            }
            let mut backward = Hidden::new(covers, Direction::Backward);
            for number in (0..KEYS).rev() {
                assert_eq!(backward.over(&key(number)), self::expected(&tombstones, number, at));
            }
            assert_eq!(Cover::from_manifest(&whole.to_manifest()), whole);
            assert_eq!(whole.detached(), whole);
        }
    }
}

#[test]
fn what_covers_all_keys_between_two() {
    let mut dice = Dice::new(2);
    for _ in 0..500 {
        let tombstones: Vec<Stretch> = (1..=1 + dice.below(6) as Seq).map(|seq| any(&mut dice, seq)).collect();
        let cover = union(tombstones.iter().cloned().map(Cover::of).collect());
        let (first, last) = (dice.below(KEYS), dice.below(KEYS));
        let (first, last) = (first.min(last), first.max(last));
        // Between two letters there are other keys: a hole must be wide enough to hold one letter, or open between two.
        let over = cover.over_all(&key(first), &key(last));
        let each = (first..=last).map(|number| expected(&tombstones, number, Seq::MAX)).min().unwrap();
        assert_eq!(over, Some(each).filter(|&seq| seq > 0), "{cover:?} {first} {last}");
        let between = cover.between(&key(first), &key(last));
        let reaches = |stretch: &&Stretch| stretch.start <= key(last) && !stretch.is_below(&key(first));
        assert!(between.iter().eq(cover.stretches.iter().filter(reaches)));
    }
}

fn segment(keys: (usize, usize), swept: Seq) -> SegmentMeta {
    let mut meta = crate::format::manifest::tests::segment(1, (1, 1), ("", ""));
    (meta.min_key, meta.max_key, meta.swept) = (key(keys.0).to_vec(), key(keys.1).to_vec(), swept);
    meta
}

#[test]
fn only_what_may_still_hide_something_is_kept() {
    let stretch = |start, end, seq| Stretch { start: key(start), end: Some(key(end)), seq };
    let cover = Cover { stretches: vec![stretch(1, 3, 10), stretch(3, 5, 20), stretch(8, 9, 30)] };
    let kept = |segments: &[SegmentMeta]| {
        let kept = cover.needed_by(segments.iter());
        kept.stretches.iter().map(|stretch| stretch.seq).collect::<Vec<_>>()
    };
    assert!(kept(&[]).is_empty());
    assert_eq!(kept(&[segment((0, 20), 0)]), [10, 20, 30]);
    assert_eq!(kept(&[segment((0, 20), 10)]), [20, 30]);
    assert!(kept(&[segment((0, 20), 30)]).is_empty());
    assert!(kept(&[segment((0, 0), 0), segment((5, 7), 0), segment((9, 20), 0)]).is_empty());
    assert_eq!(kept(&[segment((2, 2), 0), segment((4, 8), 20)]), [10, 30]);
    assert_eq!(kept(&[segment((2, 3), 10), segment((0, 1), 9)]), [10, 20]);
}
