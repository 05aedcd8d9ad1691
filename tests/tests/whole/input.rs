//! Bad input and bad days: each a clear error of the right kind, nothing lost, no panic.
#![allow(clippy::unwrap_used)]

use halite::backends::{Local, Memory, SimulatedOptions};
use halite::{Db, Durability, ErrorKind, Options, WriteBatch, WriteOptions};
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, ends, process, read_all, small_options, soundness};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn text(folder: &Folder) -> String {
    folder.path().to_str().unwrap().to_owned()
}

fn real<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: halite::Result<T>, kind: ErrorKind, words: &[&str]) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let said = format!("{error:?}");
    for word in words {
        assert!(said.contains(word), "{said} does not say {word}");
    }
}

#[test]
fn keys_and_values_beyond_the_limits_are_refused_and_those_at_the_limits_are_not() {
    process(async {
        let db = Db::builder(Arc::new(Memory::new())).open().await.unwrap();
        let longest = vec![b'k'; 64 << 10];
        let longer = vec![b'k'; (64 << 10) + 1];
        db.put(&longest, "v").await.unwrap();
        db.put("", "the empty key").await.unwrap();
        db.put("empty", "").await.unwrap();
        refused(db.put(&longer, "v").await, ErrorKind::InvalidInput, &["65537", "65536"]);
        refused(db.delete(&longer).await, ErrorKind::InvalidInput, &["65536"]);
        refused(db.write(WriteBatch::new().put("a", "1").put(&longer, "v")).await, ErrorKind::InvalidInput, &["65536"]);
        assert_eq!(db.get("a").await.unwrap(), None, "a refused batch writes nothing");
        assert_eq!(db.get(&longer).await.unwrap(), None, "such a key is never there");
        assert_eq!(db.get(&longest).await.unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(db.get("").await.unwrap().as_deref(), Some(&b"the empty key"[..]));
        assert_eq!(db.get("empty").await.unwrap().as_deref(), Some(&b""[..]));
        let reopened = db.reopen().await.unwrap();
        assert_eq!(read_all(&reopened).await.unwrap().len(), 3);
        reopened.close().await.unwrap();
    });
}

#[test]
fn a_value_beyond_the_limit_is_refused() {
    process(async {
        let db = Db::builder(Arc::new(Memory::new())).open().await.unwrap();
        // Zeroed memory that is never touched costs nothing.
        let too_long = vec![0; (1 << 30) + 1];
        refused(db.put("k", &too_long).await, ErrorKind::InvalidInput, &["1073741825", "1073741824"]);
        drop(too_long);
        db.put("k", "v").await.unwrap();
        db.close().await.unwrap();
    });
}

#[test]
fn a_lifetime_belongs_to_puts_without_an_expiry_of_their_own() {
    let mut world = World::new(Store::memory(true), small_options(), 1);
    let clock = world.clock.clone();
    process(async {
        let db = world.open().await.unwrap();
        db.put("gone", "x").await.unwrap();
        let ttl = |millis| WriteOptions { durability: Durability::Synced, ttl: Some(Duration::from_millis(millis)) };
        let batch = WriteBatch::new().put("a", "1").put_expiring("b", "2", clock.millis() + 5_000).delete("gone");
        db.write_with(batch, ttl(1_000)).await.unwrap();
        db.put_with("for ever", "3", WriteOptions { ttl: Some(Duration::MAX), ..WriteOptions::default() })
            .await
            .unwrap();
        db.delete_with("a", ttl(1)).await.unwrap();
        db.put_with("a", "4", ttl(1_000)).await.unwrap();
        let at =
            |db: Db, key: &'static str| async move { db.get_entry(key).await.unwrap().map(|entry| entry.expires_at) };
        assert_eq!(at(db.clone(), "a").await, Some(Some(clock.millis() + 1_000)));
        assert_eq!(at(db.clone(), "b").await, Some(Some(clock.millis() + 5_000)));
        assert_eq!(at(db.clone(), "for ever").await, Some(None));
        clock.advance(1_000);
        assert_eq!(at(db.clone(), "a").await, None);
        assert_eq!(at(db.clone(), "gone").await, None);
        clock.advance(4_000);
        assert_eq!(at(db.clone(), "b").await, None);
        // A clock set back brings nothing back, not at the next opening either.
        db.close().await.unwrap();
        clock.set(clock.millis() - 1_000_000);
        let db = world.open().await.unwrap();
        assert_eq!(read_all(&db).await.unwrap().len(), 1);
        db.close().await.unwrap();
    });
}

#[test]
fn options_out_of_bounds_are_refused() {
    let wrong: [fn(&mut Options); 10] = [
        |options| options.segment_bytes_max = 4095,
        |options| options.segment_bytes_max = u64::MAX,
        |options| options.segment_fragments_max = 0,
        |options| options.fragments_in_flight_max = 0,
        |options| options.unsealed_max = 0,
        |options| options.merge_dead_share = f64::NAN,
        |options| options.merge_dead_share = 1.5,
        |options| options.space_amplification = 0.9,
        |options| options.space_amplification = f64::NAN,
        |options| options.runs_max = 0,
    ];
    for wrong in wrong {
        let mut options = Options::default();
        wrong(&mut options);
        let opened = process(Db::builder(Arc::new(Memory::new())).options(options).open());
        refused(opened, ErrorKind::InvalidInput, &[]);
    }
}

#[test]
fn unknown_locations_are_refused() {
    real(async {
        for location in ["ftp://host/data", "s3:", "nonsense://", ""] {
            refused(Db::open(location).await, ErrorKind::InvalidInput, &[]);
        }
    });
}

/// Else the first timer would panic, some time later.
#[test]
fn in_a_runtime_without_time_nothing_is_opened() {
    let folder = Folder::new("no-time");
    let store = format!("{}/store", text(&folder));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    refused(runtime.block_on(Db::open(&store)), ErrorKind::InvalidInput, &["has no time", "enable_time()"]);
    assert!(!std::path::Path::new(&store).exists());
}

#[test]
fn outside_a_runtime_nothing_is_opened() {
    let mut open = std::pin::pin!(Db::builder(Arc::new(Memory::new())).open());
    let Poll::Ready(opened) = open.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("there is nothing to wait for");
    };
    refused(opened, ErrorKind::InvalidInput, &["runtime"]);
}

#[test]
fn where_no_store_is_and_none_is_to_be_made_nothing_is_made() {
    let folder = Folder::new("absent");
    let absent = folder.path().join("absent");
    real(async {
        let options = Options { create_if_missing: false, ..Options::default() };
        let opened = match Local::open(&absent, false) {
            Ok(local) => Db::builder(Arc::new(local)).options(options.clone()).open().await,
            Err(error) => Err(error.into()),
        };
        refused(opened, ErrorKind::NotFound, &[]);
        let memory = Db::builder(Arc::new(Memory::new())).options(options).open().await;
        refused(memory, ErrorKind::NotFound, &[]);
    });
}

#[test]
fn a_folder_that_is_no_store_is_refused_and_left_alone() {
    let folder = Folder::new("photos");
    std::fs::write(folder.path().join("holiday.jpg"), b"a beach").unwrap();
    refused(real(Db::open(text(&folder))), ErrorKind::NotAStore, &[]);
    let file = folder.path().join("holiday.jpg");
    let opened = real(Db::open(file.to_str().unwrap()));
    assert!(opened.is_err(), "a file is no folder");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["holiday.jpg"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"a beach");
}

#[test]
fn a_second_writer_is_told_that_the_store_is_in_use() {
    let folder = Folder::new("twice");
    real(async {
        let first = Db::open(text(&folder)).await.unwrap();
        refused(Db::open(text(&folder)).await, ErrorKind::InUse, &[]);
        first.put("k", "v").await.unwrap();
        first.close().await.unwrap();
        let second = Db::open(text(&folder)).await.unwrap();
        assert_eq!(second.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        second.close().await.unwrap();
    });
}

#[test]
fn a_closed_handle_says_that_it_is_closed() {
    process(async {
        let db = Db::builder(Arc::new(Memory::new())).open().await.unwrap();
        db.close().await.unwrap();
        db.close().await.unwrap();
        refused(db.put("k", "v").await, ErrorKind::Closed, &[]);
        refused(db.get("k").await, ErrorKind::Closed, &[]);
        refused(db.flush().await, ErrorKind::Closed, &[]);
        refused(db.compact().await, ErrorKind::Closed, &[]);
        refused(db.verify().await, ErrorKind::Closed, &[]);
        refused(read_all(&db).await, ErrorKind::Closed, &[]);
    });
}

#[cfg(unix)]
#[test]
fn without_the_rights_the_error_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("rights");
    real(async {
        let db = Db::open(text(&folder)).await.unwrap();
        db.put("k", "v").await.unwrap();
        db.close().await.unwrap();
    });
    let mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    // The superuser may do everything.
    let is_root = std::fs::read_dir(folder.path()).is_ok();
    if !is_root {
        refused(real(Db::open(text(&folder))), ErrorKind::PermissionDenied, &[]);
    }
    mode(0o700);
    real(async {
        let db = Db::open(text(&folder)).await.unwrap();
        assert_eq!(db.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        db.close().await.unwrap();
    });
}

/// The disk fills up. Writes are refused, reads and deletes go on; with room again, so does writing; nothing is lost.
#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    for append in [true, false] {
        let options = SimulatedOptions { seed: 6, append, capacity: Some(512 << 10), ..SimulatedOptions::default() };
        let mut world = World::new(Store::simulated(options), small_options(), 6);
        let mut kept = Vec::new();
        process(async {
            let mut db = world.open().await.unwrap();
            let mut refusals = 0;
            for n in 0..3_000 {
                let key = format!("k{n:04}");
                match ends("put", db.put(&key, [b'v'; 400]))
                    .await
                    .unwrap_or_else(|hangs| panic!("append={append} {key}: {hangs}"))
                {
                    Ok(()) => kept.push(key),
                    Err(error) => {
                        let full = error.kind() == ErrorKind::NoSpace || error.backend().is_some_and(is_full);
                        assert!(full, "append={append}: {error:?}");
                        refusals += 1;
                        for key in &kept {
                            assert!(db.contains(key).await.unwrap(), "append={append}: reads go on");
                        }
                    }
                }
                if refusals == 5 {
                    break;
                }
            }
            assert!(refusals > 0 && kept.len() > 50, "append={append}: the disk was full after {} puts", kept.len());
            world.store.simulator().set_capacity(None);
            // Where the log itself was hit, writing goes on after `reopen`.
            if ends("put", db.put("room", "again")).await.unwrap().is_err() {
                db = ends("reopen", db.reopen()).await.unwrap().unwrap();
                ends("put", db.put("room", "again")).await.unwrap().unwrap();
            }
            kept.push("room".to_owned());
            ends("compact", db.compact()).await.unwrap().unwrap();
            ends("close", db.close()).await.unwrap().unwrap();
        });
        process(async {
            let db = world.open().await.unwrap();
            let found = read_all(&db).await.unwrap();
            for key in &kept {
                assert!(found.contains_key(key.as_bytes()), "append={append}: {key} is lost");
            }
            soundness(&db).await.unwrap();
        });
    }
}

fn is_full(error: &halite::backends::Error) -> bool {
    error.kind() == halite::backends::ErrorKind::NoSpace
}

/// A store written by a later version, which this one must not touch.
#[test]
fn a_store_of_a_newer_format_is_refused() {
    let options = SimulatedOptions { seed: 8, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(options), small_options(), 8);
    process(async {
        let db = world.open().await.unwrap();
        db.put("k", "v").await.unwrap();
        db.close().await.unwrap();
    });
    let simulator = world.store.simulator();
    let newest = simulator.files().into_iter().map(|(name, _)| name).filter(|name| name.folder() == "manifest").max();
    let newest = newest.unwrap();
    let mut manifest = simulator.read_file(&newest).unwrap().to_vec();
    halite_tests::format::make_newer(&mut manifest);
    simulator.write_file(&newest, manifest);
    let before = simulator.files();
    let opened = process(world.open());
    refused(opened, ErrorKind::NotAStore, &["version"]);
    assert_eq!(world.store.simulator().files(), before, "nothing was touched");
}
