//! The engine under WASI: one guest command, run by wasmtime on a folder that native code shares with it.
//!
//! WASI knows no file locks, no mapped files and no synced folders, so what this shows is that the same engine and the
//! same files work without them, and that a native writer and a WASI writer cannot both be acknowledged.
#![allow(clippy::unwrap_used)]

use halite::{Db, ErrorKind, Options};
use halite_host::{Outcome, run};
use halite_tests::scratch::Folder;

fn ok(output: &str) -> Outcome {
    Outcome { code: 0, output: output.into() }
}

fn native<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn open_put_get_close_reopen() {
    let folder = Folder::new("wasi-roundtrip");
    assert_eq!(run(folder.path(), &["roundtrip"]), ok("OK\nOK\nroundtrip OK\n"));
}

#[test]
fn each_side_reads_what_the_other_wrote() {
    let folder = Folder::new("wasi-exchange");
    let options = Options { segment_bytes_max: 4 << 10, ..Options::default() };
    let open = || async {
        let backend = halite::backends::Local::open(folder.path(), true).unwrap();
        Db::builder(std::sync::Arc::new(backend)).options(options.clone()).open().await.unwrap()
    };
    native(async {
        let db = open().await;
        for n in 0..200 {
            db.put(format!("native:{n:03}"), format!("value {n}")).await.unwrap();
        }
        db.close().await.unwrap();
    });
    assert_eq!(run(folder.path(), &["get", "native:123"]), ok("value 123\n"));
    assert_eq!(run(folder.path(), &["get", "absent"]), Outcome { code: 1, output: "(nil)\n".into() });
    assert!(run(folder.path(), &["list", "native:"]).output.ends_with("native:199 value 199\n200 entries\n"));
    assert_eq!(run(folder.path(), &["fill", "300"]), ok("OK\n"));
    assert_eq!(run(folder.path(), &["delete", "native:007"]), ok("OK\n"));
    native(async {
        let db = open().await;
        assert_eq!(db.get("native:007").await.unwrap(), None);
        assert_eq!(db.get("native:123").await.unwrap().as_deref(), Some(&b"value 123"[..]));
        for n in 0..300 {
            let value = db.get(format!("fill:{n:06}")).await.unwrap();
            assert_eq!(value.as_deref(), Some(format!("value {n}").as_bytes()));
        }
        halite_tests::world::assert_sound(&db).await;
        db.close().await.unwrap();
    });
}

#[test]
fn what_a_guest_left_unclosed_is_recovered_natively_and_the_other_way_round() {
    let folder = Folder::new("wasi-crash");
    assert_eq!(run(folder.path(), &["abandon", "a", "1"]), ok("OK\n"));
    native(async {
        let db = Db::open(folder.path().to_str().unwrap()).await.unwrap();
        assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
        db.put("b", "2").await.unwrap();
        // Dropped, not closed; the runtime takes its tasks with it.
    });
    assert_eq!(run(folder.path(), &["get", "b"]), ok("2\n"));
    assert_eq!(run(folder.path(), &["list"]), ok("a 1\nb 2\n2 entries\n"));
}

#[test]
fn a_guest_that_takes_over_fences_the_native_writer() {
    let folder = Folder::new("wasi-fence");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let db = runtime.block_on(async {
        let db = Db::open(folder.path().to_str().unwrap()).await.unwrap();
        db.put("a", "native").await.unwrap();
        db
    });
    assert_eq!(run(folder.path(), &["put", "b", "guest"]), ok("OK\n"));
    runtime.block_on(async {
        let refused = db.put("c", "native").await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Fenced | ErrorKind::Unknown), "{refused:?}");
        assert_eq!(db.put("d", "native").await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"native"[..]), "reads go on");
    });
    // It lets go of its lock, which the guest knew nothing of.
    drop((db, runtime));
    assert_eq!(run(folder.path(), &["list"]), ok("a native\nb guest\n2 entries\n"));
}
