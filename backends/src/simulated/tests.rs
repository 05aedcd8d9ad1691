//! That the simulated disk does to its user what its header says, no less and no more.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Appender, Backend, Error, Result};
use futures::{FutureExt, TryStreamExt};
use std::collections::BTreeSet;

const SEEDS: std::ops::Range<u64> = 0..64;

fn disk(seed: u64) -> Simulated {
    Simulated::new(SimulatedOptions { seed, ..SimulatedOptions::default() })
}

/// Without `yields` every call is ready at its first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready at the first poll")
}

fn path(name: &str) -> Path {
    Path::new(name).unwrap()
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn fault(at_step: u64, kind: ErrorKind, repeat: Repeat, applied: bool) -> Fault {
    Fault { at_step, kind, repeat, applied }
}

/// All the images in which a disk may be found, the killed process's first.
fn images(disk: &Simulated) -> impl Iterator<Item = Simulated> {
    std::iter::once(disk.kill()).chain(SEEDS.map(|seed| disk.power_cut(seed)))
}

fn appender(disk: &Simulated, name: &str) -> Box<dyn Appender> {
    now(disk.append(&path(name))).unwrap()
}

#[test]
fn a_create_crashed_at_any_step_is_whole_or_absent_and_kept_once_it_returned() {
    let (name, data) = (path("manifest/1"), Bytes::from(vec![7; 10_000]));
    let count = {
        let disk = disk(1);
        now(disk.create(&name, data.clone())).unwrap();
        disk.steps()
    };
    assert_eq!(count, 4, "write, sync, link, sync folder");
    let mut found = BTreeSet::new();
    for step in 0..=count {
        let disk = disk(1);
        disk.crash_at(step);
        let created = now(disk.create(&name, data.clone()));
        assert_eq!((created.is_ok(), disk.is_crashed()), (step == count, true));
        assert_eq!(kind(now(disk.exists(&name))), Some(ErrorKind::Io), "a crashed disk answers nothing");
        for image in images(&disk) {
            let read = image.read_file(&name);
            assert!(read.is_none() || read.as_ref() == Some(&data), "half an object");
            assert!(read.is_some() || created.is_err(), "what returned stays");
            assert!(read.is_none() || step > 2, "there before its link");
            found.insert((step, read.is_some()));
            now(image.tidy()).unwrap();
            assert_eq!(image.leftovers(), 0);
        }
    }
    assert!(found.contains(&(3, true)) && found.contains(&(3, false)), "a name not synced is there or not");
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_loses_keeps_or_tears_the_rest() {
    let disk = disk(1);
    let name = path("log/1");
    let mut file = appender(&disk, "log/1");
    let synced = 5 * 512 + 100;
    now(file.append(vec![vec![1; synced].into()], true)).unwrap();
    for _ in 0..20 {
        now(file.append(vec![vec![2; 1000].into()], false)).unwrap();
    }
    let live = disk.read_file(&name).unwrap();
    let exact = |seed| disk.power_cut(seed).read_file(&name).unwrap();
    assert_eq!(exact(0), live.slice(..synced));
    assert_eq!(exact(1), live);
    let (mut torn, mut zeros, mut garbage, mut short, mut out_of_order) = (0, 0, 0, 0, 0);
    for seed in SEEDS {
        let image = exact(seed);
        assert_eq!(image, exact(seed), "one seed, one image");
        assert!(image.len() >= synced && image[..synced].iter().all(|byte| *byte == 1), "synced bytes stay");
        // The sector that holds the last synced byte is old or new: zeros to its end, or data.
        let boundary = &image[synced..image.len().min(6 * 512)];
        assert!(boundary.iter().all(|byte| *byte == 2 || *byte == 0), "a sector with synced bytes is not garbage");
        short += u32::from(image.len() < live.len());
        let sectors: Vec<_> = image[6 * 512.min(image.len() / 512)..].chunks(512).collect();
        let is_new = |sector: &[u8]| sector.iter().all(|byte| *byte == 2);
        zeros += u32::from(sectors.iter().any(|sector| sector.iter().all(|byte| *byte == 0)));
        garbage += u32::from(sectors.iter().any(|sector| sector.iter().any(|byte| *byte > 2)));
        torn +=
            u32::from(sectors.chunks(8).any(|page| page.iter().any(|s| is_new(s)) && !page.iter().all(|s| is_new(s))));
        let first_lost = sectors.iter().position(|sector| !is_new(sector)).unwrap_or(sectors.len());
        out_of_order += u32::from(sectors[first_lost..].iter().any(|sector| is_new(sector)));
    }
    for (what, count) in
        [("torn", torn), ("zeros", zeros), ("garbage", garbage), ("short", short), ("order", out_of_order)]
    {
        assert!(count > 3, "{what} in {count} images only");
    }
}

#[test]
fn states_in_between_and_a_length_apart_from_the_data_are_found() {
    let disk = disk(1);
    let mut file = appender(&disk, "log/1");
    for byte in 1..=4 {
        now(file.append(vec![vec![byte; 100].into()], false)).unwrap();
    }
    let found: BTreeSet<_> = (2..200).map(|seed| disk.power_cut(seed).read_file(&path("log/1")).unwrap()).collect();
    let has = |wanted: &dyn Fn(&Bytes) -> bool| found.iter().any(wanted);
    assert!(has(&|image| image.is_empty()));
    assert!(has(&|image| image.len() == 400 && image[100..].iter().all(|byte| *byte == 0) && image[0] == 1));
    assert!(has(&|image| image.len() == 400 && image.iter().all(|byte| *byte == 0)), "the length without the data");
    assert!(has(&|image| image.len() == 200 && image[199] == 2));
}

#[test]
fn a_delete_is_undone_by_a_power_cut_until_a_create_in_its_folder_returns() {
    let disk = disk(1);
    now(disk.create(&path("a/1"), "x".into())).unwrap();
    now(disk.delete(&path("a/1"))).unwrap();
    now(disk.create(&path("b/1"), "x".into())).unwrap();
    let is_back =
        |disk: &Simulated| SEEDS.filter(|seed| disk.power_cut(*seed).read_file(&path("a/1")).is_some()).count();
    assert!((1..SEEDS.count()).contains(&is_back(&disk)), "another folder's sync does not count");
    assert!(disk.kill().read_file(&path("a/1")).is_none());
    now(disk.create(&path("a/2"), "x".into())).unwrap();
    assert_eq!(is_back(&disk), 0);
}

#[test]
fn a_killed_process_loses_nothing_but_a_power_cut_after_it_may() {
    let disk = disk(1);
    let mut file = appender(&disk, "log/1");
    now(file.append(vec![vec![1; 9000].into()], false)).unwrap();
    let killed = disk.kill();
    assert_eq!(killed.read_file(&path("log/1")).unwrap().len(), 9000);
    assert_eq!(killed.power_cut(0).read_file(&path("log/1")).unwrap().len(), 0);
    now(file.append(vec![vec![1; 9000].into()], true)).unwrap();
    assert_eq!(killed.read_file(&path("log/1")).unwrap().len(), 9000, "the dead process writes elsewhere");
    let object = now(killed.open(&path("log/1"))).unwrap();
    assert_eq!(now(object.read(0..9000)).unwrap(), vec![1; 9000]);
}

#[test]
fn after_a_failed_sync_a_later_one_succeeds_without_the_lost_pages() {
    let disk = disk(1);
    let mut file = appender(&disk, "log/1");
    now(file.append(vec![vec![1; 4096].into()], true)).unwrap();
    disk.fail_when(fault(0, ErrorKind::Io, Repeat::Once, false), |step| step.effect == "sync");
    assert_eq!(kind(now(file.append(vec![vec![2; 4096].into()], true))), Some(ErrorKind::Io));
    assert_eq!(kind(now(file.append(vec![vec![3; 4096].into()], true))), Some(ErrorKind::Io), "not used again");
    // Somebody trusts the file all the same.
    let inode = disk.disk.lock().names[&path("log/1")].clone();
    let write = disk::Effect::Write(inode.clone(), 8192, vec![3; 4096].into());
    disk.disk.lock().step("append", "log/1", write).unwrap();
    disk.disk.lock().step("append", "log/1", disk::Effect::Sync(inode)).unwrap();
    let image = disk.power_cut(0).read_file(&path("log/1")).unwrap();
    assert_eq!((image.len(), image[0], image[4096], image[8192]), (12_288, 1, 0, 3), "a hole in synced data");
    assert_eq!(disk.read_file(&path("log/1")).unwrap()[4096], 2, "which no process sees before the power goes");
}

#[test]
fn an_error_at_any_step_is_typed_and_leaves_what_it_says() {
    let scenario = |disk: &Simulated| {
        now(async {
            disk.create(&path("a/1"), "one".into()).await?;
            let mut file = disk.append(&path("a/2")).await?;
            file.reserve(100).await?;
            file.append(vec![vec![1; 100_000].into()], true).await?;
            file.finish().await?;
            let object = disk.open(&path("a/2")).await?;
            object.read(0..10).await?;
            disk.exists(&path("a/3")).await?;
            disk.list("a").try_collect::<Vec<_>>().await?;
            disk.delete(&path("a/1")).await
        })
    };
    let whole = disk(1);
    scenario(&whole).unwrap();
    for step in 0..whole.steps() {
        for repeat in [Repeat::Once, Repeat::Forever] {
            for applied in [true, false] {
                let disk = disk(1);
                disk.fail(fault(step, ErrorKind::PermissionDenied, repeat, applied));
                assert_eq!(kind(scenario(&disk)), Some(ErrorKind::PermissionDenied));
                assert_eq!(kind(now(disk.exists(&path("x")))).is_some(), repeat == Repeat::Forever);
                disk.clear_faults();
                now(disk.exists(&path("x"))).unwrap();
            }
        }
    }
    let lost_answer = |applied| {
        let disk = disk(1);
        disk.fail_when(fault(0, ErrorKind::Unknown, Repeat::Once, applied), |step| step.effect == "link");
        assert_eq!(kind(now(disk.create(&path("a"), "x".into()))), Some(ErrorKind::Unknown));
        now(disk.exists(&path("a"))).unwrap()
    };
    assert!(lost_answer(true) && !lost_answer(false));
}

#[test]
fn a_full_disk_refuses_before_a_byte_is_reserved_and_takes_more_when_there_is_room() {
    for append in [true, false] {
        let disk = Simulated::new(SimulatedOptions { append, capacity: Some(10_000), ..SimulatedOptions::default() });
        now(disk.create(&path("a"), vec![1; 6000].into())).unwrap();
        assert_eq!(kind(now(disk.create(&path("b"), vec![1; 6000].into()))), Some(ErrorKind::NoSpace));
        assert_eq!((disk.files().len(), disk.leftovers()), (1, 0));
        now(disk.delete(&path("a"))).unwrap();
        now(disk.create(&path("b"), vec![1; 6000].into())).unwrap();
        disk.set_capacity(Some(20_000));
        now(disk.create(&path("c"), vec![1; 6000].into())).unwrap();
    }
    let disk = Simulated::new(SimulatedOptions { capacity: Some(10_000), ..SimulatedOptions::default() });
    let mut file = appender(&disk, "log/1");
    now(file.reserve(8000)).unwrap();
    assert_eq!(kind(now(file.reserve(12_000))), Some(ErrorKind::NoSpace));
    assert_eq!(kind(now(disk.create(&path("b"), vec![1; 3000].into()))), Some(ErrorKind::NoSpace), "it is set aside");
    now(file.append(vec![vec![1; 8000].into()], true)).unwrap();
    assert_eq!(kind(now(file.append(vec![vec![1; 8000].into()], true))), Some(ErrorKind::NoSpace));
}

#[test]
fn reserving_shows_zeros_ahead_now_and_then() {
    let ahead = SEEDS.filter(|seed| {
        let disk = disk(*seed);
        let mut file = appender(&disk, "log/1");
        now(file.append(vec!["abc".into()], true)).unwrap();
        now(file.reserve(20_000)).unwrap();
        let bytes = disk.read_file(&path("log/1")).unwrap();
        assert!(bytes.starts_with(b"abc") && bytes[3..].iter().all(|byte| *byte == 0));
        now(file.append(vec!["def".into()], false)).unwrap();
        assert!(disk.read_file(&path("log/1")).unwrap().starts_with(b"abcdef"));
        now(file.finish()).unwrap();
        assert_eq!(disk.read_file(&path("log/1")).unwrap(), "abcdef");
        bytes.len() > 3
    });
    assert!((5..60).contains(&ahead.count()));
}

/// Polls a future `polls` times, then drops it.
fn poll_and_drop(future: impl Future<Output = Result<()>>, polls: usize) -> Option<Result<()>> {
    let mut future = Box::pin(future);
    (0..polls).find_map(|_| future.as_mut().now_or_never())
}

#[test]
fn a_dropped_call_never_happens_or_happens_whole_or_happens_later() {
    let (name, data) = (path("manifest/1"), Bytes::from(vec![7; 10_000]));
    let (mut never, mut at_once, mut later) = (0, 0, 0);
    for seed in 0..200 {
        for polls in 0..8 {
            let disk = Simulated::new(SimulatedOptions { seed, yields: true, ..SimulatedOptions::default() });
            let done = poll_and_drop(disk.create(&name, data.clone()), polls);
            let first = disk.read_file(&name);
            for _ in 0..20 {
                while disk.exists(&path("x")).now_or_never().is_none() {}
            }
            let last = disk.read_file(&name);
            for read in [&first, &last] {
                assert!(read.is_none() || read.as_ref() == Some(&data), "half an object");
            }
            assert!(done.is_none() || first.is_some(), "what returned is there");
            match (done, first, last) {
                (Some(_), ..) => {}
                (None, None, None) => never += 1,
                (None, None, Some(_)) => later += 1,
                (None, Some(_), _) => at_once += 1,
            }
        }
    }
    assert!(never > 50 && at_once > 50 && later > 50, "never {never}, at once {at_once}, later {later}");
}

/// A runtime that ends drops its tasks in an order that depends on what other runtimes of the program have done.
#[test]
fn calls_that_are_dropped_together_may_be_dropped_in_any_order() {
    let run = |seed, first_is_dropped_first| {
        let disk = Simulated::new(SimulatedOptions { seed, yields: true, ..SimulatedOptions::default() });
        let (first, second) = (path("a/1"), path("a/2"));
        let mut one = disk.create(&first, vec![1; 1000].into());
        let mut two = disk.create(&second, vec![2; 2000].into());
        let _ = (one.as_mut().now_or_never(), two.as_mut().now_or_never());
        if first_is_dropped_first {
            drop((one, two))
        } else {
            drop((two, one))
        }
        let mut seen = Vec::new();
        for _ in 0..20 {
            while disk.exists(&path("x")).now_or_never().is_none() {}
            seen.push([&first, &second].map(|path| disk.read_file(path)));
        }
        (seen, disk.trace_hash())
    };
    let both: Vec<_> = SEEDS.map(|seed| (run(seed, true), run(seed, false))).collect();
    assert!(both.iter().all(|(one, other)| one == other));
    let told = |(seen, _): &(Vec<[Option<Bytes>; 2]>, u64)| {
        seen.iter().any(|[first, second]| first.is_some() != second.is_some())
    };
    assert!(both.iter().any(|(one, _)| told(one)), "each has a fate of its own");
}

#[test]
fn a_replay_leaves_the_same_trace_and_a_change_another() {
    let run = |seed, byte: u8| {
        let disk = Simulated::new(SimulatedOptions { seed, yields: true, ..SimulatedOptions::default() });
        let all = async {
            disk.create(&path("a"), vec![byte; 10].into()).await?;
            let mut file = disk.append(&path("b")).await?;
            file.reserve(5000).await?;
            file.append(vec![vec![byte; 1000].into()], true).await
        };
        let mut all = Box::pin(all);
        let mut polls = 0;
        while all.as_mut().now_or_never().is_none() {
            polls += 1;
        }
        (disk.trace_hash(), polls)
    };
    assert_eq!(run(1, 1), run(1, 1));
    assert_ne!(run(1, 1).0, run(1, 2).0, "other bytes, another trace");
    assert!((2..20).any(|seed| run(seed, 1).1 != run(1, 1).1), "other seeds, other schedules");
}

#[test]
fn tools_change_files_behind_everyones_back() {
    let disk = disk(1);
    let name = path("a");
    disk.write_file(&name, "hello");
    assert!(disk.flip_bit(&name, 1, 0) && !disk.flip_bit(&name, 5, 0) && !disk.flip_bit(&path("b"), 0, 0));
    assert_eq!(disk.read_file(&name).unwrap(), "hdllo");
    assert_eq!(now(disk.open(&name)).unwrap().map().unwrap(), "hdllo");
    assert_eq!(disk.power_cut(0).read_file(&name).unwrap(), "hdllo");
    disk.truncate_file(&name, 2);
    assert_eq!(disk.files(), [(name.clone(), 2)]);
    disk.truncate_file(&name, 4);
    assert_eq!(disk.power_cut(7).read_file(&name).unwrap(), "hd\0\0");
    disk.remove_file(&name);
    assert!(disk.power_cut(1).files().is_empty() && disk.read_file(&name).is_none());
    assert_eq!(disk.steps(), 1, "only the open was a step");
}

#[test]
fn an_object_store_loses_nothing_that_returned() {
    let disk = Simulated::new(SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() });
    now(disk.create(&path("a"), "x".into())).unwrap();
    now(disk.create(&path("b"), "x".into())).unwrap();
    now(disk.delete(&path("a"))).unwrap();
    assert_eq!(disk.steps(), 3);
    assert!(images(&disk).all(|image| image.files() == [(path("b"), 1)]));
}
