//! Every bit of every file damaged, one at a time; files cut short, prolonged, lost and exchanged.
//!
//! On a store that was closed, and on one that was killed with a log to replay, on growing files and on fragments. The
//! engine gives the right answers, or an error of kind `Corruption` that names file and offset; it never gives a wrong
//! answer, never forgets a commit in silence, and never panics.
#![allow(clippy::unwrap_used)]

use halite::backends::{Path, SimulatedOptions};
use halite::{Durability, Error, ErrorKind};
use halite_tests::history::{Loss, State};
use halite_tests::ops::{KEYS, Op, delete, key, put, put_ttl};
use halite_tests::play::{Policy, play};
use halite_tests::random::Random;
use halite_tests::world::{Store, World, ends, process, read_all, small_options};
use std::collections::BTreeSet;

/// A store with two sealed segments; `killed` with a log besides, else closed.
fn small_store(append: bool, killed: bool) -> World {
    store_after(append, &story(killed))
}

fn store_after(append: bool, story: &[Op]) -> World {
    let options = SimulatedOptions { seed: 4, append, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(options), small_options(), 4);
    play(&mut world, story, Policy::Strict).unwrap();
    world
}

/// How such a store comes to be.
fn story(killed: bool) -> Vec<Op> {
    let level = Durability::Synced;
    let mut before = vec![
        Op::Batch(vec![put(8, 30), put(9, 0), put(0, 10), put(3, 20), put_ttl(10, 30, 1_000_000)], level),
        Op::Write(delete(9), level),
        Op::Reopen,
        Op::Write(put(8, 40), level),
        Op::Write(put(11, 10), level),
    ];
    match killed {
        false => before.push(Op::Close),
        true => before.extend([
            Op::Reopen,
            Op::Write(put(9, 25), level),
            Op::Batch(vec![put(12, 10), delete(11)], level),
            Op::Write(put(13, 60), Durability::Written),
            Op::Kill,
        ]),
    }
    before
}

fn stores() -> impl Iterator<Item = (String, World)> {
    [(true, false), (true, true), (false, false), (false, true)]
        .into_iter()
        .map(|(append, killed)| (format!("append={append} killed={killed}"), small_store(append, killed)))
}

/// How a damaged store met its reader.
#[derive(Debug, Default)]
struct Findings {
    /// Opening was refused.
    refused: bool,
    /// Files that errors and `verify` have named.
    named: BTreeSet<String>,
}

/// An error that damage may cause. Notes the file it names.
fn note(findings: &mut Findings, error: &Error, context: &str) {
    assert_eq!(error.kind(), ErrorKind::Corruption, "{context}: {error:?}");
    let Some((file, _)) = error.place() else { panic!("{context}: no file and offset: {error:?}") };
    assert!(!format!("{error:?}").contains("panicked"), "{context}: {error:?}");
    findings.named.insert(file.to_owned());
}

/// Opens the store, reads all there is in all ways, and checks every answer.
///
/// What was written to a log and not synced may look torn once it is damaged, so that a damaged log may end before it; so
/// all answers together must be those of one state that holds at least what was synced.
fn read_damaged(world: &World, damaged: Store, context: &str) -> Findings {
    let mut world = world.fork(damaged);
    let mut findings = Findings::default();
    let (time, history) = (world.clock.millis(), world.history.clone());
    let mut possible: Vec<State> =
        (history.spared(Some(Loss::PowerCut))..=history.stages()).map(|count| history.prefix(count, time)).collect();
    let keys: BTreeSet<_> = (0..KEYS).map(key).collect();
    process(async {
        let db = match ends("open", world.open()).await.expect(context) {
            Ok(db) => db,
            Err(error) => {
                note(&mut findings, &error, context);
                findings.refused = true;
                return;
            }
        };
        match ends("scan", read_all(&db)).await.expect(context) {
            Ok(found) => {
                possible.retain(|state| *state == found);
                assert!(!possible.is_empty(), "{context}: a wrong state: {found:?}");
            }
            Err(error) => note(&mut findings, &error, context),
        }
        for key in keys {
            match ends("get", db.get(&key)).await.expect(context) {
                Ok(found) => {
                    possible.retain(|state| state.get(&key) == found.as_ref());
                    assert!(!possible.is_empty(), "{context}: a wrong answer for key {key:?}: {found:?}");
                }
                Err(error) => note(&mut findings, &error, context),
            }
        }
        let report = ends("verify", db.verify()).await.expect(context).expect(context);
        findings.named.extend(report.damage.into_iter().map(|damage| damage.file));
    });
    findings
}

fn files(world: &World) -> Vec<(Path, u64)> {
    world.store.simulator().files()
}

fn newest_manifest(world: &World) -> Path {
    files(world).into_iter().map(|(name, _)| name).filter(|name| name.folder() == "manifest").max().unwrap()
}

/// The bits to flip of the byte at `offset`.
fn bits_of(offset: u64, written: u64) -> std::ops::Range<u8> {
    let one = (offset % 8) as u8;
    if offset < written { 0..8 } else { one..one + 1 }
}

/// Damages one bit at a time: each of each file, and of the zeros that are set aside behind a growing log one of each byte.
fn flip_everywhere(append: bool, killed: bool) {
    let mut flipped = 0;
    let world = small_store(append, killed);
    let newest = newest_manifest(&world);
    for (file, len) in files(&world) {
        let content = world.store.simulator().read_file(&file).unwrap();
        let zeros = content.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        // The last of them may belong to what was written.
        let written = len - zeros.saturating_sub(64);
        let mut unnoticed = 0;
        for offset in 0..len {
            for bit in bits_of(offset, written) {
                flipped += 1;
                let damaged = world.store.kill();
                assert!(damaged.simulator().flip_bit(&file, offset, bit));
                let context = format!("append={append} killed={killed} {file} offset {offset} bit {bit}");
                let findings = read_damaged(&world, damaged, &context);
                let others: Vec<_> = findings.named.iter().filter(|named| **named != file.as_str()).collect();
                assert!(others.is_empty(), "{context}: the damage is said to be in {others:?}");
                unnoticed += u64::from(findings.named.is_empty());
                // The newest manifest and the sealed segments of a closed store hold no byte that does not matter.
                let live = file == newest || (!killed && file.folder() == "segments");
                assert!(!(live && findings.named.is_empty()), "{context}: not noticed, not by verify either");
            }
        }
        println!("append={append} killed={killed} {file}: {len} bytes, {unnoticed} damaged bits without effect");
    }
    println!("counted: {flipped} bits flipped");
}

#[test]
fn every_bit_of_a_closed_store_on_growing_files() {
    flip_everywhere(true, false);
}

#[test]
fn every_bit_of_a_killed_store_on_growing_files() {
    flip_everywhere(true, true);
}

#[test]
fn every_bit_of_a_closed_store_on_fragments() {
    flip_everywhere(false, false);
}

#[test]
fn every_bit_of_a_killed_store_on_fragments() {
    flip_everywhere(false, true);
}

/// Two places at once, drawn from all files: but not both in a log that grows, where a hole and the mark that tells of it
/// together look like a torn tail.
#[test]
fn two_bits_anywhere() {
    const ROUNDS: u64 = 400;
    let mut random = Random::new(22);
    for (story, world) in stores() {
        let files = files(&world);
        let growing_log = growing_log(&story, &world);
        for _ in 0..ROUNDS {
            let mut draw = || {
                let (file, len) = &files[random.below(files.len() as u64) as usize];
                (file, random.below(*len), random.below(8) as u8)
            };
            let (first, second) = (draw(), draw());
            if first == second || (first.0 == second.0 && Some(first.0) == growing_log.as_ref()) {
                continue;
            }
            let damaged = world.store.kill();
            for (file, offset, bit) in [first, second] {
                assert!(damaged.simulator().flip_bit(file, offset, bit));
            }
            read_damaged(&world, damaged, &format!("{story}: {first:?} and {second:?}"));
        }
    }
}

/// Files that end early, but for the growing log: what is cut off its end cannot be told from what never came.
#[test]
fn every_file_cut_short_anywhere() {
    let mut cuts = 0;
    for (story, world) in stores() {
        let growing_log = growing_log(&story, &world);
        for (file, len) in files(&world).into_iter().filter(|(file, _)| Some(file) != growing_log.as_ref()) {
            for left in 0..len {
                let damaged = world.store.kill();
                damaged.simulator().truncate_file(&file, left);
                cuts += 1;
                read_damaged(&world, damaged, &format!("{story}: {file} of {len} bytes cut to {left}"));
            }
        }
    }
    println!("counted: {cuts} truncations");
}

/// The file that the killed process was writing.
fn growing_log(story: &str, world: &World) -> Option<Path> {
    let is_growing = story == "append=true killed=true";
    is_growing
        .then(|| files(world).into_iter().map(|(file, _)| file).filter(|file| file.folder() == "segments").max())
        .flatten()
}

#[test]
fn every_file_prolonged() {
    for (story, world) in stores() {
        for (file, _) in files(&world) {
            for tail in [&[0; 1][..], &[0; 5000], &[0xff; 1], &[0x5a; 700], b"{\"not\": \"ours\"}"] {
                let damaged = world.store.kill();
                let whole = [&damaged.simulator().read_file(&file).unwrap()[..], tail].concat();
                damaged.simulator().write_file(&file, whole);
                read_damaged(&world, damaged, &format!("{story}: {file} with {} more bytes", tail.len()));
            }
        }
    }
}

/// Any file but two is missed: the newest manifest, without which the one before it is a store of its own, and the last
/// file of a log, which cannot be told from one that never came.
#[test]
fn every_file_lost() {
    for (story, world) in stores() {
        let files = files(&world);
        let last_fragment = files.iter().map(|(file, _)| file).filter(|file| file.as_str().starts_with("log/")).max();
        let not_missed = [growing_log(&story, &world), last_fragment.cloned(), Some(newest_manifest(&world))];
        for (file, _) in files.iter().filter(|(file, _)| !not_missed.iter().flatten().any(|other| other == file)) {
            let damaged = world.store.kill();
            damaged.simulator().remove_file(file);
            read_damaged(&world, damaged, &format!("{story}: {file} lost"));
        }
    }
}

/// A file in the place of another, or of one that was there before.
#[test]
fn every_two_files_exchanged() {
    for (story, world) in stores() {
        let files = files(&world);
        for (a, _) in &files {
            for (b, _) in files.iter().filter(|(b, _)| a < b) {
                let damaged = world.store.kill();
                let simulator = damaged.simulator();
                let (in_a, in_b) = (simulator.read_file(a).unwrap(), simulator.read_file(b).unwrap());
                simulator.write_file(a, in_b);
                simulator.write_file(b, in_a);
                read_damaged(&world, damaged, &format!("{story}: {a} and {b} exchanged"));
            }
        }
    }
}

/// A file in the place of one that was there before, or of itself at another time: from an older copy of the store, say.
#[test]
fn every_file_replaced_by_one_of_earlier() {
    for (title, world) in stores() {
        let story = story(title.ends_with("killed=true"));
        let append = title.starts_with("append=true");
        // The same seed, and so the same names: each beginning of the story is the store as it was then.
        let mut earlier = BTreeSet::new();
        for count in 1..story.len() {
            let then = store_after(append, &story[..count]);
            let content = |(file, _): (Path, u64)| (then.store.simulator().read_file(&file).unwrap(), file);
            earlier.extend(files(&then).into_iter().map(content));
        }
        // What was at the end of a growing log and is not there cannot be told from what never came.
        let growing_log = growing_log(&title, &world);
        for (file, _) in files(&world).into_iter().filter(|(file, _)| Some(file) != growing_log.as_ref()) {
            let now = world.store.simulator().read_file(&file).unwrap();
            for (bytes, was) in earlier.iter().filter(|(bytes, was)| was.folder() == file.folder() && *bytes != now) {
                let damaged = world.store.kill();
                damaged.simulator().write_file(&file, bytes.clone());
                read_damaged(&world, damaged, &format!("{title}: {file} as {was} was ({} bytes)", bytes.len()));
            }
        }
    }
}

/// Sectors that a crash leaves unwritten may hold what another file has left there, or the same file elsewhere: frames that
/// are whole, of the right length and at the right place, but of another segment or offset.
///
/// Three segments are written alike, but what the first one holds behind its first commit is deleted since.
#[test]
fn stale_bytes_behind_the_end_of_a_log_are_no_part_of_it() {
    let write = |write| Op::Write(write, Durability::Synced);
    let story = [write(put(8, 30)), write(put(9, 30)), Op::Reopen, write(delete(9)), Op::Reopen];
    let world = store_after(true, &[&story[..], &[write(put(8, 30)), Op::Kill]].concat());
    let segments: Vec<Path> =
        files(&world).into_iter().map(|(file, _)| file).filter(|file| file.folder() == "segments").collect();
    let (first, log) = (segments.iter().min().unwrap(), segments.iter().max().unwrap());
    let simulator = world.store.simulator();
    let (stale, live) = (simulator.read_file(first).unwrap(), simulator.read_file(log).unwrap());
    let value = world.expected().remove(&b"user:0008"[..]).unwrap();
    let begin = live.windows(value.len()).position(|window| window == value).expect("values stand in logs as they are");
    let end = begin + value.len();
    // Where the log ends is not said from outside: everywhere from there on.
    for cut in end..end + 100 {
        let left = live[..cut.min(live.len())].to_vec();
        for (what, tail) in [("another segment", &stale[cut..]), ("the same segment", &live[128..end])] {
            let damaged = world.store.kill();
            damaged.simulator().write_file(log, [&left[..], tail].concat());
            let findings = read_damaged(&world, damaged, &format!("bytes of {what} from {cut} on"));
            assert!(!findings.refused, "a crash can leave bytes of {what} from {cut} on");
        }
    }
}

/// A file with a feature that this version does not know is refused as such, before anything else in it is judged.
#[test]
fn what_is_newer_is_refused_as_such() {
    const FEATURES: std::ops::Range<usize> = 12..16;
    const CRC: std::ops::Range<usize> = 20..24;
    for (story, world) in stores() {
        let segments = files(&world).into_iter().map(|(file, _)| file).filter(|file| file.folder() == "segments");
        for file in segments.chain([newest_manifest(&world)]) {
            let damaged = world.store.kill();
            let mut bytes = damaged.simulator().read_file(&file).unwrap().to_vec();
            bytes[FEATURES].copy_from_slice(&(1_u32 << 31).to_le_bytes());
            let crc = crc32c::crc32c(&bytes[..CRC.start]);
            bytes[CRC].copy_from_slice(&crc.to_le_bytes());
            damaged.simulator().write_file(&file, bytes);
            let mut newer = world.fork(damaged);
            process(async {
                let read = async { read_all(&newer.open().await?).await };
                let error = read.await.expect_err(&format!("{story}: {file} with an unknown feature"));
                assert_eq!(error.kind(), ErrorKind::NotAStore, "{story}: {file}: {error:?}");
            });
        }
    }
}

/// After damage to one record the others are still read, by `get` and around it.
#[test]
fn damage_in_one_value_leaves_the_others_readable() {
    let world = small_store(true, false);
    let value = world.expected().remove(&b"user:0008"[..]).unwrap();
    let (file, offset) = files(&world)
        .into_iter()
        .find_map(|(file, _)| {
            let content = world.store.simulator().read_file(&file).unwrap();
            let offset = content.windows(value.len()).position(|window| window == value)?;
            Some((file, offset as u64))
        })
        .expect("values stand in segments as they are");
    let damaged = world.store.kill();
    damaged.simulator().flip_bit(&file, offset, 0);
    let mut fork = world.fork(damaged);
    process(async {
        let db = fork.open().await.unwrap();
        let error = db.get("user:0008").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let (named, at) = error.place().unwrap();
        assert_eq!(named, file.as_str());
        assert!(at <= offset && offset - at < 100, "the record at {at} holds byte {offset}");
        let others: State = world.expected().into_iter().filter(|(key, _)| key != b"user:0008").collect();
        for (key, value) in others {
            assert_eq!(db.get(&key).await.unwrap(), Some(value));
        }
        assert_eq!(db.compact().await.unwrap_err().kind(), ErrorKind::Corruption, "a merge launders no damage");
        db.put("user:0008", "whole again").await.unwrap();
        assert_eq!(db.get("user:0008").await.unwrap().as_deref(), Some(&b"whole again"[..]));
    });
}
