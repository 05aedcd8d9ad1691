//! What the conformance suite cannot see: files, folders, rights, leftovers, and several handles on one folder.
#![allow(clippy::unwrap_used)]

use super::*;
use futures::FutureExt;
use futures::future::join_all;
use std::fs;
use std::path::PathBuf;

/// A folder of its own for one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("halite-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn store(&self) -> Local {
        Local::open(&self.0, true).unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn path(name: &str) -> Path {
    Path::new(name).unwrap()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_store_is_a_folder_that_only_its_owner_can_use() {
    let folder = Folder::new("rights");
    assert_eq!(kind(Local::open(&folder.0, false)), Some(ErrorKind::NotFound));
    let nested = folder.0.join("x/y");
    let store = Local::open(&nested, true).unwrap();
    store.create(&path("segments/a"), "x".into()).await.unwrap();
    drop(store.append(&path("log/b")).await.unwrap());
    drop(store.lock().await.unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| fs::metadata(nested.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("segments"), mode("log")), (0o700, 0o700, 0o700));
        assert_eq!((mode("segments/a"), mode("log/b"), mode("LOCK")), (0o600, 0o600, 0o600));
    }
    let file = nested.join("segments/a");
    assert_eq!(kind(Local::open(&file, false)), Some(ErrorKind::InvalidInput), "a file is no store");
    assert!(Local::open(&nested, false).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_is_exclusive_across_handles() {
    let folder = Folder::new("exclusive");
    for round in 0..20 {
        let name = path(&format!("manifest/{round}"));
        let racers = (0..8_u8).map(|racer| {
            let (store, name) = (folder.store(), name.clone());
            tokio::spawn(async move { (racer, store.create(&name, vec![racer; 1000].into()).await) })
        });
        let results: Vec<_> = join_all(racers).await.into_iter().map(|result| result.unwrap()).collect();
        let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).map(|(racer, _)| *racer).collect();
        let [winner] = winners[..] else { panic!("{} winners", winners.len()) };
        for (racer, result) in results {
            assert!(racer == winner || kind(result) == Some(ErrorKind::AlreadyExists));
        }
        let object = folder.store().open(&name).await.unwrap();
        assert_eq!(object.read(0..object.len()).await.unwrap(), vec![winner; 1000], "the winner's bytes, whole");
    }
    assert!(folder.names("manifest").iter().all(|name| !name.starts_with('.')), "losers tidy up after themselves");
}

/// Opening a pipe would wait for ever.
#[tokio::test]
#[cfg(unix)]
async fn what_is_no_file_does_not_exist() {
    let folder = Folder::new("pipe");
    let store = folder.store();
    assert!(std::process::Command::new("mkfifo").arg(folder.0.join("pipe")).status().unwrap().success());
    fs::create_dir(folder.0.join("folder")).unwrap();
    for name in ["pipe", "folder"] {
        assert_eq!(kind(store.open(&path(name)).await), Some(ErrorKind::NotFound));
        assert!(!store.exists(&path(name)).await.unwrap());
    }
    assert_eq!(store.list("").try_collect::<Vec<_>>().await.unwrap(), []);
}

#[tokio::test]
async fn leftovers_are_hidden_and_tidied() {
    let folder = Folder::new("leftovers");
    let store = folder.store();
    store.create(&path("manifest/1"), "x".into()).await.unwrap();
    fs::write(folder.0.join("manifest/.tmp-0123"), "half").unwrap();
    fs::write(folder.0.join(".tmp-4567"), "half").unwrap();
    fs::write(folder.0.join("Notes.txt"), "the user's own").unwrap();
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(listed, [Meta::new(path("manifest/1"), 1)]);
    store.tidy().await.unwrap();
    assert_eq!(folder.names("manifest"), ["1"]);
    let mut names = folder.names("");
    names.sort();
    assert_eq!(names, ["Notes.txt", "manifest"], "nothing but leftovers is removed");
}

#[tokio::test]
async fn a_create_whose_leftover_was_tidied_fails_without_a_trace() {
    let folder = Folder::new("tidied");
    let store = folder.store();
    let mut upload = store.upload(&path("segments/1")).await.unwrap();
    upload.write("half".into()).await.unwrap();
    store.tidy().await.unwrap();
    assert_eq!(kind(upload.finish().await), Some(ErrorKind::Io));
    assert!(!store.exists(&path("segments/1")).await.unwrap());
}

#[tokio::test]
async fn an_upload_dropped_or_aborted_leaves_nothing() {
    let folder = Folder::new("upload");
    let store = folder.store();
    let name = path("segments/1");
    for abort in [true, false] {
        let mut upload = store.upload(&name).await.unwrap();
        for _ in 0..3 {
            upload.write(vec![7; 700_000].into()).await.unwrap();
        }
        assert_eq!(folder.names("segments").len(), 1, "the temporary file");
        if abort {
            upload.abort().await.unwrap();
        } else {
            drop(upload);
            // The removal runs on a thread; a later call to the same pool does not wait for it.
            while !folder.names("segments").is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert!(folder.names("segments").is_empty());
    }
}

#[tokio::test]
async fn mapped_bytes_outlive_the_file() {
    let folder = Folder::new("map");
    let store = folder.store();
    let name = path("segments/1");
    let data: Bytes = (0..100_000_u32).map(|i| i as u8).collect::<Vec<_>>().into();
    store.create(&name, data.clone()).await.unwrap();
    let object = store.open(&name).await.unwrap();
    let map = object.map().unwrap();
    let again = object.map().unwrap();
    assert_eq!(map.as_ptr(), again.as_ptr(), "one map for all");
    let slice = map.slice(50_000..60_000);
    store.delete(&name).await.unwrap();
    drop((object, map, again, store, folder));
    assert_eq!(slice, data.slice(50_000..60_000));
}

#[tokio::test]
async fn a_file_whose_length_changed_is_not_mapped() {
    let folder = Folder::new("grown");
    let store = folder.store();
    let name = path("segments/1");
    let mut appender = store.append(&name).await.unwrap();
    appender.append(vec!["abc".into()], true).await.unwrap();
    let object = store.open(&name).await.unwrap();
    appender.append(vec!["def".into()], false).await.unwrap();
    assert!(object.map().is_none());
    assert_eq!(object.read(0..3).await.unwrap(), "abc");
    fs::File::options().write(true).open(folder.0.join("segments/1")).unwrap().set_len(1).unwrap();
    assert_eq!(kind(object.read(0..3).await), Some(ErrorKind::UnexpectedEof), "cut behind our back");
}

#[tokio::test]
async fn the_lock_keeps_a_second_handle_out_and_says_who_has_it() {
    let folder = Folder::new("lock");
    let (one, two) = (folder.store(), folder.store());
    let held = one.lock().await.unwrap();
    let error = two.lock().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains("this very process"), "{error}");
    drop(held);
    two.lock().await.unwrap();
}

#[tokio::test]
async fn small_synced_appends_are_filled_ahead_and_read_back() {
    let folder = Folder::new("fill");
    let store = folder.store();
    let name = path("segments/1");
    let mut appender = store.append(&name).await.unwrap();
    let mut expected = Vec::new();
    // Enough to pass through several fills, in sizes that end on no page.
    for i in 0..3000_u32 {
        let record = vec![1 + (i % 250) as u8; 900 + i as usize % 700];
        expected.extend_from_slice(&record);
        let (head, tail) = record.split_at(record.len() / 3);
        let parts = vec![Bytes::copy_from_slice(head), Bytes::new(), Bytes::copy_from_slice(tail)];
        appender.append(parts, i % 3 > 0).await.unwrap();
        assert_eq!(appender.len(), expected.len() as u64);
    }
    let physical = fs::metadata(folder.0.join("segments/1")).unwrap().len();
    assert!(physical > appender.len(), "zeros lie ahead");
    let bytes = fs::read(folder.0.join("segments/1")).unwrap();
    assert!(bytes[..expected.len()] == expected[..], "zeros never land on data");
    assert!(bytes[expected.len()..].iter().all(|byte| *byte == 0));
    appender.truncate(1_000_000).await.unwrap();
    expected.truncate(1_000_000);
    for _ in 0..100 {
        appender.append(vec!["after".into()], true).await.unwrap();
        expected.extend_from_slice(b"after");
    }
    appender.finish().await.unwrap();
    assert!(fs::read(folder.0.join("segments/1")).unwrap() == expected, "finished at the exact length");
    assert!(store.open(&name).await.unwrap().map().unwrap() == expected);
}

#[tokio::test]
async fn space_reserved_is_given_back_at_the_end() {
    let folder = Folder::new("reserve");
    let store = folder.store();
    let mut appender = store.append(&path("a")).await.unwrap();
    appender.reserve(1_000_000).await.unwrap();
    assert!(appender.is_empty());
    assert_eq!(fs::metadata(folder.0.join("a")).unwrap().len(), 0, "the length stays");
    appender.append(vec!["abc".into()], true).await.unwrap();
    appender.finish().await.unwrap();
    let meta = fs::metadata(folder.0.join("a")).unwrap();
    assert_eq!(meta.len(), 3);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert!(meta.blocks() * 512 < 1_000_000, "{} blocks", meta.blocks());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn space_reserved_is_given_back_when_the_appender_is_abandoned() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("abandoned");
    let mut appender = folder.store().append(&path("log/a")).await.unwrap();
    appender.append(vec!["kept".into()], true).await.unwrap();
    appender.reserve(8 << 20).await.unwrap();
    let taken = || fs::metadata(folder.0.join("log/a")).unwrap().blocks() * 512;
    assert!(taken() >= 8 << 20 || cfg!(not(target_os = "linux")));
    drop(appender);
    assert!(taken() < 1 << 20, "{} bytes are still taken", taken());
    assert_eq!(fs::read(folder.0.join("log/a")).unwrap(), b"kept");
}

#[tokio::test]
async fn an_appender_whose_call_was_given_up_is_not_used_again() {
    let folder = Folder::new("given-up");
    let store = folder.store();
    let mut appender = store.append(&path("a")).await.unwrap();
    // Larger than what runs inline, so the first poll cannot finish it.
    let mut call = appender.append(vec![vec![1; 4_000_000].into()], true);
    assert!((&mut call).now_or_never().is_none());
    drop(call);
    assert_eq!(kind(appender.append(vec!["x".into()], true).await), Some(ErrorKind::Io));
    assert_eq!(kind(appender.finish().await), Some(ErrorKind::Io));
}

#[test]
fn without_a_runtime_everything_runs_inline() {
    let folder = Folder::new("inline");
    let store = folder.store();
    let all = async {
        let mut appender = store.append(&path("a")).await?;
        for _ in 0..100 {
            appender.reserve(appender.len() + 2000).await?;
            appender.append(vec![vec![5; 2000].into()], true).await?;
        }
        appender.finish().await?;
        let object = store.open(&path("a")).await?;
        object.read(0..object.len()).await
    };
    assert_eq!(all.now_or_never().unwrap().unwrap(), vec![5; 200_000]);
}
