//! Storage that the host lends: the guest runs the engine on it.

use super::{assert_done, block_on, component, composed_with};
use halite::Db;
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, Local, Memory, Objects, ObjectsOptions, conformance};
use halite_tests::scratch::Folder;
use halite_wasmtime::bucket::Buckets;
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::{Bounded, End, Limits, Outcome, Program, Run};
use std::sync::{Arc, OnceLock};

fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| component("lent.wasm"))
}

fn guest() -> Guest {
    Guest::new(Buckets::new())
}

async fn run(what: &str, guest: Guest, limits: Limits) -> Outcome {
    Run::new(program()).args(["lent", what]).guest(guest).limits(limits).finish().await.unwrap()
}

/// Stores as many as the suite asks for.
fn stores(factory: impl Fn(u32) -> Arc<dyn Backend>) -> Guest {
    (0..64).fold(guest(), |guest, number| guest.lend(number.to_string(), factory(number)))
}

#[test]
fn lent_memory_keeps_the_promises_of_a_backend() {
    block_on(async {
        assert_done(&run("conformance", stores(|_| Arc::new(Memory::new())), Limits::default()).await);
        assert_done(&run("conformance", stores(|_| Arc::new(Memory::create_only())), Limits::default()).await);
    });
}

#[test]
fn a_lent_folder_keeps_the_promises_of_a_backend() {
    let folder = Folder::new("lent");
    let store = |number: u32| -> Arc<dyn Backend> {
        Arc::new(Local::open(folder.path().join(number.to_string()), true).unwrap())
    };
    block_on(async { assert_done(&run("conformance", stores(store), Limits::default()).await) });
}

#[test]
fn the_model_on_lent_storage() {
    let folder = Folder::new("lent-model");
    let local = || Arc::new(Local::open(folder.path(), true).unwrap());
    block_on(async {
        let memory = [Memory::new(), Memory::new().without_lock(), Memory::create_only()];
        for memory in memory {
            assert_done(&run("model", guest().lend("model", Arc::new(memory)), Limits::default()).await);
        }
        assert_done(&run("model", guest().lend("model", local()), Limits::default()).await);
        // The same files.
        let db = Db::builder(local()).open().await.unwrap();
        halite_tests::world::assert_sound(&db).await;
    });
}

/// The guest knows nothing of where that is, or of how it is reached.
#[test]
fn the_model_on_a_lent_object_store() {
    let operator = Operator::new(services::Memory::default()).unwrap();
    let objects = || Arc::new(Objects::new(operator.clone(), ObjectsOptions::default()));
    block_on(async {
        assert_done(&run("model", guest().lend("model", objects()), Limits::default()).await);
        // The same objects.
        let db = Db::builder(objects()).open().await.unwrap();
        halite_tests::world::assert_sound(&db).await;
    });
}

/// A component that asks for buckets, one that makes them of storage, and a host that lends that.
#[test]
fn buckets_on_lent_storage() {
    let (program, store) = (composed_with("counter.wasm", "halite-lent-guest.wasm"), Memory::new());
    block_on(async {
        for count in 1..=2 {
            let guest = guest().lend("default", Arc::new(store.clone()));
            let outcome = Run::new(&program).args(["counter"]).guest(guest).finish().await.unwrap();
            assert_done(&outcome);
            assert_eq!(outcome.out, format!("{count}\n"));
        }
        let db = Db::builder(Arc::new(store)).open().await.unwrap();
        halite_tests::world::assert_sound(&db).await;
        let refused = Run::new(&program).args(["counter"]).guest(guest()).finish().await.unwrap();
        assert!(refused.err.contains("no store of that name is lent"), "{refused:?}");
    });
}

/// Killed by fuel at many points; each time the store opens, in the next guest or in the host, and what was said stays.
#[test]
fn a_guest_killed_on_lent_storage_leaves_a_store_that_opens() {
    let store = Memory::new();
    let lend = || guest().lend("default", Arc::new(store.clone()));
    let counted = |outcome: &Outcome| outcome.out.trim().parse::<i64>().ok();
    block_on(async {
        let whole = run("count", lend(), Limits::default()).await;
        assert_eq!(counted(&whole), Some(1), "{whole:?}");
        let mut least = 1;
        for point in 0..24 {
            let limits = Limits { fuel: Some(whole.fuel * point / 20), ..Limits::default() };
            let outcome = run("count", lend(), limits).await;
            assert!(matches!(outcome.end, End::OutOfFuel | End::Exit(0)), "{outcome:?}");
            if let Some(count) = counted(&outcome) {
                assert!(count > least, "{outcome:?}");
                least = count;
            }
        }
        // The lock of the last one that was killed is free.
        let db = Db::builder(Arc::new(store.clone())).open().await.unwrap();
        let last = db.increment("runs", 1).await.unwrap();
        assert!(last > least && last <= 26, "{least} {last}");
        halite_tests::world::assert_sound(&db).await;
    });
}

#[test]
fn lent_storage_has_its_limits() {
    block_on(async {
        // Of 300 KB, each record a little more than one.
        let store = Bounded::new(Arc::new(Memory::new()), 300_000).await.unwrap();
        let filled = run("fill", guest().lend("default", Arc::new(store.clone())), Limits::default()).await;
        assert_done(&filled);
        let records: u32 = filled.out.trim().parse().unwrap();
        assert!((50..300).contains(&records), "{filled:?}");
        assert!(store.bytes() < 50_000, "room was made: {store:?}");

        let refused = run("count", guest(), Limits::default()).await;
        assert!(refused.err.contains("NotFound"), "{refused:?}");
    });
}

#[test]
fn a_bounded_backend_keeps_the_promises() {
    block_on(async {
        for memory in [Memory::new, Memory::create_only] {
            let bounded = || futures::FutureExt::now_or_never(Bounded::new(Arc::new(memory()), 1 << 30));
            conformance::run(|| Arc::new(bounded().expect("memory waits for nothing").unwrap())).await;
        }
    });
}
