//! A disk that is really full.
//!
//! The story: a small file system is mounted in a namespace of its own, where an ordinary user may do that, and this
//! test runs there a second time. Space runs out while reserving, creating, uploading, appending and filling ahead; each
//! time the call says so, nothing half is left, and the store is as good as new when there is room again.
//!
//! Where the system allows no such namespace the test says so and ends; the simulated disk (`simulated/tests.rs`) and
//! `/dev/full` stand in for it there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::TryStreamExt;
use halite_backends::{Backend, ErrorKind, Local, Path, Result};
use std::path::PathBuf;
use std::process::Command;

const FOLDER: &str = "HALITE_TEST_SMALL_DISK";

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        return runtime.block_on(fill_the_disk(&PathBuf::from(folder)));
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("full-disk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // The mount is gone with its namespace, that is with the process.
    let script = r#"mount -t tmpfs -o size=6m none "$1" && exec "$2" --exact "$3" --nocapture"#;
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&folder)
        .arg(std::env::current_exe().unwrap())
        .arg("a_full_disk_loses_nothing_and_recovers")
        .env(FOLDER, &folder)
        .status();
    std::fs::remove_dir(&folder).unwrap();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        // What the test harness ends with when a test fails; no tool in the chain does.
        Ok(Some(101)) => panic!("the test failed on the small disk, see above"),
        other => eprintln!("NOT RUN: no small file system can be mounted here ({other:?})"),
    }
}

fn path(name: &str) -> Path {
    Path::new(name).unwrap()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn names(store: &Local) -> Vec<String> {
    let mut metas: Vec<_> = store.list("").try_collect().await.unwrap();
    metas.sort_by(|one, two| one.path.cmp(&two.path));
    metas.iter().map(|meta| meta.path.to_string()).collect()
}

async fn fill_the_disk(folder: &std::path::Path) {
    let store = Local::open(folder, true).unwrap();
    let large = Bytes::from(vec![3; 8_000_000]);
    let data = Bytes::from(vec![7; 4096]);

    // Reserving: nothing changes, and the appender goes on.
    let mut appender = store.append(&path("segments/1")).await.unwrap();
    appender.append(vec![data.clone()], true).await.unwrap();
    for _ in 0..3 {
        assert_eq!(kind(appender.reserve(50_000_000).await), Some(ErrorKind::NoSpace));
    }
    assert_eq!(std::fs::metadata(folder.join("segments/1")).unwrap().len(), 4096);
    appender.reserve(2_000_000).await.unwrap();
    appender.append(vec![data.clone()], true).await.unwrap();

    // A refusal leaves what was set aside before: it is there although everything else is taken.
    assert_eq!(kind(appender.reserve(50_000_000).await), Some(ErrorKind::NoSpace));
    let mut other = store.append(&path("segments/0")).await.unwrap();
    while other.reserve(other.len() + 4096).await.is_ok() {
        other.append(vec![data.clone()], false).await.unwrap();
    }
    appender.append(vec![Bytes::from(vec![7; 2_000_000 - 2 * 4096])], true).await.unwrap();
    drop(other);
    store.delete(&path("segments/0")).await.unwrap();
    appender.reserve(2_200_000).await.unwrap();

    // Creating and uploading: no name, no leftover.
    assert_eq!(kind(store.create(&path("manifest/1"), large.clone()).await), Some(ErrorKind::NoSpace));
    let mut upload = store.upload(&path("segments/2")).await.unwrap();
    assert_eq!(kind(upload.write(large.clone()).await), Some(ErrorKind::NoSpace));
    assert_eq!(kind(upload.write(data.clone()).await), Some(ErrorKind::Io), "it is not used again");
    assert!(upload.finish().await.is_err());
    assert_eq!(names(&store).await, ["segments/1"]);
    assert_eq!(std::fs::read_dir(folder.join("manifest")).unwrap().count(), 0);

    // Small synced appends, zeros filled ahead, up to the last page: each one reserved is written.
    let full = loop {
        match appender.reserve(appender.len() + 4096).await {
            Ok(()) => appender.append(vec![data.clone()], true).await.unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    let len = appender.len();
    assert!(len > 4_500_000, "only {len} bytes fitted");
    assert_eq!(kind(store.create(&path("manifest/1"), large.slice(..500_000)).await), Some(ErrorKind::NoSpace));
    appender.finish().await.unwrap();
    let map = store.open(&path("segments/1")).await.unwrap().map().unwrap();
    assert!(map.len() as u64 == len && map.iter().all(|byte| *byte == 7));
    drop(map);

    // Without reserving, an append fails half-way and ends the appender.
    let mut appender = store.append(&path("segments/3")).await.unwrap();
    assert_eq!(kind(appender.append(vec![large.clone()], true).await), Some(ErrorKind::NoSpace));
    assert_eq!(kind(appender.append(vec![data.clone()], true).await), Some(ErrorKind::Io));
    drop(appender);

    // Room again.
    store.delete(&path("segments/1")).await.unwrap();
    store.delete(&path("segments/3")).await.unwrap();
    store.create(&path("manifest/1"), large.slice(..1_000_000)).await.unwrap();
    let mut appender = store.append(&path("segments/4")).await.unwrap();
    appender.reserve(2_000_000).await.unwrap();
    appender.append(vec![large.slice(..2_000_000)], true).await.unwrap();
    appender.finish().await.unwrap();
    assert_eq!(names(&store).await, ["manifest/1", "segments/4"]);

    // What was set aside by a process that was killed is given back, and not a byte of what it wrote.
    let name = path("segments/5");
    let mut appender = store.append(&name).await.unwrap();
    appender.append(vec![large.slice(..100_000)], true).await.unwrap();
    appender.reserve(2_000_000).await.unwrap();
    std::mem::forget(appender);
    assert_eq!(kind(store.create(&path("manifest/2"), large.slice(..1_500_000)).await), Some(ErrorKind::NoSpace));
    store.tidy().await.unwrap();
    store.create(&path("manifest/2"), large.slice(..1_500_000)).await.unwrap();
    assert_eq!(std::fs::read(folder.join("segments/5")).unwrap(), large[..100_000]);
}
