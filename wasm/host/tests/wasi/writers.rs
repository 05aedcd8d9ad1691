//! Two writers of one store, where no lock keeps them apart: the later one takes over, and the earlier one is told.

use super::{Place, block_on};
use halite::ErrorKind;
use halite_wasmtime::{End, Output};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::io::{AsyncWriteExt, DuplexStream};

/// Runs `run` until it has printed so many lines.
async fn printed<F: Future>(run: &mut Pin<&mut F>, out: &Output, lines: usize) {
    poll_fn(|context| {
        assert!(run.as_mut().poll(context).is_pending(), "it has ended: {}", out.text());
        if out.text().lines().count() >= lines {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A shell's standard input.
async fn type_in(keyboard: &mut DuplexStream, line: &str) {
    keyboard.write_all(line.as_bytes()).await.unwrap();
}

#[test]
fn what_a_killed_instance_left_is_recovered_natively_and_the_other_way_round() {
    let place = Place::new("wasi-crash");
    block_on(async {
        let (mut keyboard, stdin) = tokio::io::duplex(1024);
        let shell = place.wasi(&["shell"]).stdin(stdin);
        let out = shell.out();
        {
            let mut shell = pin!(shell.finish());
            type_in(&mut keyboard, "put a 1\n").await;
            printed(&mut shell, &out, 1).await;
            // Dropped while it waits for the next line: it never closes its store.
        }
        assert_eq!(out.text(), "OK\n");
        let db = place.open().await;
        assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
        db.put("b", "2").await.unwrap();
        // Dropped, not closed; the runtime takes its tasks with it.
    });
    assert_eq!(place.ok(&["get", "b"]), "2\n");
    assert_eq!(place.ok(&["list"]), "a 1\nb 2\n");
}

#[test]
fn an_instance_that_takes_over_fences_the_native_writer() {
    let place = Place::new("wasi-fence");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let db = runtime.block_on(async {
        let db = place.open().await;
        db.put("a", "native").await.unwrap();
        db
    });
    assert_eq!(place.ok(&["put", "b", "guest"]), "OK\n");
    runtime.block_on(async {
        let refused = db.put("c", "native").await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Fenced | ErrorKind::Unknown), "{refused:?}");
        assert_eq!(db.put("d", "native").await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(db.get("a").await.unwrap().as_deref(), Some(&b"native"[..]), "reads go on");
    });
    // It lets go of its lock, which the guest knew nothing of.
    drop((db, runtime));
    assert_eq!(place.ok(&["list"]), "a native\nb guest\n");
}

#[test]
fn whoever_takes_over_fences_an_instance() {
    for native in [false, true] {
        let place = Place::new("wasi-fenced");
        block_on(async {
            let (mut keyboard, stdin) = tokio::io::duplex(1024);
            let shell = place.wasi(&["shell"]).stdin(stdin);
            let out = shell.out();
            let mut shell = pin!(shell.finish());
            type_in(&mut keyboard, "put a first\n").await;
            printed(&mut shell, &out, 1).await;
            if native {
                let db = place.open().await;
                db.put("b", "second").await.unwrap();
                db.close().await.unwrap();
            } else {
                let second = place.wasi(&["put", "b", "second"]).finish().await.unwrap();
                assert_eq!((second.end, second.out.as_str()), (End::Exit(0), "OK\n"));
            }
            type_in(&mut keyboard, "put c first\nput d first\nget a\n").await;
            drop(keyboard);
            let first = shell.await.unwrap();
            let answers: Vec<_> = first.out.lines().collect();
            assert_eq!((answers.len(), answers[0], answers[3]), (4, "OK", "first"), "{first:?}");
            assert!(answers[1..3].iter().all(|answer| answer.starts_with("(error)")), "{first:?}");
            assert_eq!(first.end, End::Exit(5), "{first:?}");
        });
        assert_eq!(place.ok(&["list"]), "a first\nb second\n", "native={native}");
    }
}
