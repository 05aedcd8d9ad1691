//! Components that use buckets: on the host's plugin, and composed with Halite's own component under plain wasmtime.
//!
//! The conformance test is one program, run in both places.
#![allow(clippy::unwrap_used)]

#[path = "../../examples/counter/both_ways.rs"]
mod counter;
#[path = "../../examples/figures"]
mod figures {
    mod line;
    pub(crate) mod plugin;
}
mod lent;
#[path = "../../examples/plugins/system.rs"]
mod plugins;

use futures::StreamExt;
use halite::Db;
use halite_tests::scratch::{Folder, cargo_build, install};
use halite_wasmtime::bucket::{Bucket, Buckets, Quota};
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::{Access, End, Limits, Metering, Outcome, Program, Run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

const TARGET: &str = "wasm32-wasip2";
const METERING: Metering = plugins::METERING;

/// Builds all components of the workspace, and returns the folder where they are.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        install(TARGET);
        let crates = ["-p", "halite-guest", "-p", "halite-components", "--target", TARGET, "--profile", "guest"];
        let lent = cargo_build(&[&crates[..], &["--features", "halite-guest/lent"]].concat(), "halite_guest.wasm");
        // Composing names components as their files, in the manner of WIT.
        std::fs::copy(&lent, lent.with_file_name("halite-lent-guest.wasm")).unwrap();
        let guest = cargo_build(&crates, "halite_guest.wasm");
        std::fs::copy(&guest, guest.with_file_name("halite-guest.wasm")).unwrap();
        guest.parent().unwrap().to_owned()
    })
}

/// The program called `name`, which takes seconds to compile, once for all tests.
fn compiled(name: String, compile: impl FnOnce() -> Program) -> Program {
    static PROGRAMS: Mutex<BTreeMap<String, Arc<OnceLock<Program>>>> = Mutex::new(BTreeMap::new());
    let program = PROGRAMS.lock().unwrap().entry(name).or_default().clone();
    program.get_or_init(compile).clone()
}

/// One of [`halite-components`], to be run on the plugin.
fn component(name: &str) -> Program {
    compiled(name.to_owned(), || Program::load(built().join(name), METERING).unwrap())
}

fn conformance() -> Program {
    component("conformance.wasm")
}

/// The same, composed with Halite's component, which takes the plugin's place.
fn composed(name: &str) -> Program {
    composed_with(name, "halite-guest.wasm")
}

fn composed_with(name: &str, halite: &str) -> Program {
    let compose = || counter::composed(&built().join(name), &built().join(halite), METERING).unwrap();
    compiled(format!("{name} with {halite}"), compose)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

async fn plugged(program: &Program, args: &[&str], buckets: Buckets) -> Outcome {
    Run::new(program).args(["component"]).args(args).guest(Guest::new(buckets)).finish().await.unwrap()
}

async fn in_folder(program: &Program, args: &[&str], folder: &Path) -> Outcome {
    let run = Run::new(program).args(["component"]).args(args);
    run.folder(folder, "/data", Access::ReadWrite).unwrap().finish().await.unwrap()
}

fn assert_done(outcome: &Outcome) {
    assert!(outcome.end.is_success(), "{outcome:?}\nafter: {}\n{}", outcome.out, outcome.err);
}

fn two_buckets(db: &Db) -> Buckets {
    Buckets::new().with("default", Bucket::new(db, "d/")).with("other", Bucket::new(db, "o/"))
}

#[test]
fn the_plugin_keeps_the_promises() {
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        db.put("d", "beside the bucket").await.unwrap();
        assert_done(&plugged(&conformance(), &[], two_buckets(&db)).await);
        assert_eq!(db.get("d/left").await.unwrap().as_deref(), Some(&b"behind"[..]));
        assert_done(&plugged(&conformance(), &["again"], two_buckets(&db)).await);
        assert_eq!(db.get("d").await.unwrap().as_deref(), Some(&b"beside the bucket"[..]));
        halite_tests::world::assert_sound(&db).await;
    });
}

#[test]
fn buckets_of_any_name_and_of_two_stores() {
    let folder = Folder::new("plugin-stores");
    block_on(async {
        let (one, two) = (Db::open(folder.path().to_str().unwrap()).await.unwrap(), Db::open("mem:").await.unwrap());
        let buckets = || Buckets::new().with_others(&one, "guests/").with("other", Bucket::new(&two, ""));
        assert_done(&plugged(&conformance(), &[], buckets()).await);
        assert_eq!(one.get("guests/\x07defaultleft").await.unwrap().as_deref(), Some(&b"behind"[..]));
        one.close().await.unwrap();
        let one = Db::open(folder.path().to_str().unwrap()).await.unwrap();
        assert_done(&plugged(&conformance(), &["again"], Buckets::new().with_others(&one, "guests/")).await);
    });
}

#[test]
fn rights_and_quotas_hold() {
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        db.put("r/a", "1").await.unwrap();
        let small = Bucket::new(&db, "s/").with_quota(Quota { bytes: 1000, keys: 3 });
        let buckets = Buckets::new()
            .with("read-only", Bucket::new(&db, "r/").read_only())
            .with("small", small.clone())
            .denied("denied");
        assert_done(&plugged(&conformance(), &["rights"], buckets).await);
        assert_eq!(small.usage().await.unwrap().keys, 0);
    });
}

#[test]
fn handles_are_limited() {
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        let program = conformance();
        let run = Run::new(&program).args(["component", "handles"]).guest(Guest::new(two_buckets(&db)));
        assert_done(&run.limits(Limits { handles: 40, ..Limits::default() }).finish().await.unwrap());
    });
}

#[test]
fn the_component_keeps_the_promises_under_plain_wasmtime() {
    let folder = Folder::new("component");
    let program = composed("conformance.wasm");
    block_on(async {
        assert_done(&in_folder(&program, &[], folder.path()).await);
        // It was never closed: this one recovers what it left.
        assert_done(&in_folder(&program, &["again"], folder.path()).await);
        let db = Db::open(folder.path().to_str().unwrap()).await.unwrap();
        halite_tests::world::assert_sound(&db).await;
        // The same names, through the plugin.
        assert_done(&plugged(&conformance(), &[], Buckets::new().with_others(&db, "")).await);
        db.close().await.unwrap();
        assert_done(&in_folder(&program, &["again"], folder.path()).await);
    });
}

#[test]
fn a_component_is_looked_after() {
    let folder = Folder::new("component-maintained");
    let program = composed("maintained.wasm");
    block_on(async {
        assert_done(&in_folder(&program, &["leave"], folder.path()).await);
        let outcome = in_folder(&program, &[], folder.path()).await;
        assert_done(&outcome);
        assert_eq!(outcome.out, "closed\n");
        let db = Db::open(folder.path().to_str().unwrap()).await.unwrap();
        assert_eq!(db.prefix("").keys_only().count().await, 20);
    });
}

/// Killed by fuel at many points; each time the store opens, and what was said to be there is.
#[test]
fn a_killed_component_leaves_a_store_that_opens() {
    let program = composed("counter.wasm");
    let folder = Folder::new("component-killed");
    let counted = |outcome: &Outcome| outcome.out.trim().parse::<u64>().ok();
    block_on(async {
        let whole = in_folder(&program, &[], folder.path()).await;
        assert_eq!(counted(&whole), Some(1), "{whole:?}");
        let mut least = 1;
        for point in 0..24 {
            let fuel = Some(whole.fuel * point / 20);
            let run = Run::new(&program).folder(folder.path(), "/data", Access::ReadWrite).unwrap();
            let outcome = run.limits(Limits { fuel, ..Limits::default() }).finish().await.unwrap();
            assert!(matches!(outcome.end, End::OutOfFuel | End::Exit(0)), "{outcome:?}");
            if let Some(count) = counted(&outcome) {
                assert!(count > least, "{outcome:?}");
                least = count;
            }
        }
        let last = counted(&in_folder(&program, &[], folder.path()).await).unwrap();
        assert!(last > least && last <= 26, "{least} {last}");
    });
}

#[test]
fn many_instances_share_one_engine() {
    let program = component("counter.wasm");
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        let bucket = Bucket::new(&db, "counter/");
        let runs = (0..20).map(|_| plugged(&program, &[], Buckets::new().with("default", bucket.clone())));
        let mut printed: Vec<u64> = futures::future::join_all(runs)
            .await
            .iter()
            .map(|outcome| outcome.out.trim().parse().unwrap_or_else(|_| panic!("{outcome:?}")))
            .collect();
        printed.sort_unstable();
        assert_eq!(printed, (1..=20).collect::<Vec<_>>());
        assert_eq!(db.get("counter/runs").await.unwrap().as_deref(), Some(&b"20"[..]));
        let refused = plugged(&program, &[], Buckets::new()).await;
        assert_eq!(refused.end, End::Exit(1), "{refused:?}");
        assert!(refused.err.contains("NoSuchStore"), "{refused:?}");
        // What is not linked cannot be asked for.
        let unplugged = Run::new(&program).finish().await.unwrap_err();
        assert!(format!("{unplugged:?}").contains("wasi:keyvalue"), "{unplugged:?}");
    });
}

#[test]
fn the_example_counts_both_ways() {
    let (plugged, composed) = (component("counter.wasm"), composed("counter.wasm"));
    let folder = Folder::new("component-counter");
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        for round in 1..=2 {
            let line = format!("{round}\n");
            assert_eq!(counter::plugged(&plugged, &db).await.unwrap().out, line);
            assert_eq!(counter::in_folder(&composed, folder.path()).await.unwrap().out, line);
        }
    });
}

#[test]
fn each_plugin_has_its_bucket_and_its_quota() {
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        let (roomy, none) = (Quota { bytes: 1000, keys: 10 }, Quota { bytes: 0, keys: 0 });
        let counter = component("counter.wasm");
        for round in 1..=2 {
            let ended = plugins::run(&db, &[(counter.clone(), roomy), (counter.clone(), none)]).await.unwrap();
            // `runs` and a digit. The second has no room for them, and is told.
            assert_eq!(ended, [(End::Exit(0), format!("{round}\n"), 5), (End::Exit(1), String::new(), 0)]);
        }
        assert_eq!(db.get("plugins/0/runs").await.unwrap().as_deref(), Some(&b"2"[..]));
    });
}

/// What wasmtime takes from a guest in one call is limited; what the host gives it is there already.
#[test]
fn what_is_too_much_for_one_call_ends_the_instance() {
    const LEN: usize = (128 << 20) + 1;
    block_on(async {
        let db = Db::open("mem:").await.unwrap();
        db.put_bytes("d/huge", vec![7; LEN]).await.unwrap();
        let outcome = plugged(&conformance(), &["huge"], two_buckets(&db)).await;
        assert!(matches!(&outcome.end, End::Trap(why) if why.contains("fuel")), "{outcome:?}");
        assert_eq!(outcome.out, format!("got {LEN}\n"));
        assert_eq!(db.get("d/larger").await.unwrap(), None);
    });
}

/// As `cargo xtask bench --wasm` takes it, but hardly any: that it can.
#[test]
fn the_plugin_is_measured() {
    block_on(async {
        let line = figures::plugin::get(&component("speed.wasm"), 1).await.unwrap().to_string();
        assert!(line.starts_with("| `get` of `wasi:keyvalue` on the plugin | "), "{line}");
    });
}
