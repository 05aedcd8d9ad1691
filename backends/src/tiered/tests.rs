#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Fault, Memory, Repeat, Simulated, SimulatedOptions, Spoil, conformance};
use futures::FutureExt;
use std::sync::atomic::{AtomicU64, Ordering};

fn path(name: &str) -> Path {
    Path::new(name).unwrap()
}

/// Both tiers are in memory: nothing waits but for time.
fn open(log: &Memory, store: &Memory) -> Result<Tiered> {
    Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).now_or_never().unwrap()
}

async fn names(backend: &dyn Backend) -> Vec<String> {
    let mut names: Vec<_> = backend.list("").map_ok(|meta| meta.path.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn it_is_a_backend() {
    conformance::run(|| Arc::new(open(&Memory::new(), &Memory::create_only()).unwrap())).await;
}

#[tokio::test]
async fn what_is_finished_is_shipped_and_what_grows_stays_here() {
    let (log, store) = (Memory::new(), Memory::create_only());
    let tiers = open(&log, &store).unwrap();
    let (first, second) = (path("segments/1"), path("segments/2"));
    let mut growing = tiers.append(&first).await.unwrap();
    // More than one part.
    growing.append(vec![Bytes::from(vec![7; PART as usize + 5])], true).await.unwrap();
    let also = tiers.append(&second).await.unwrap();
    tiers.create(&path("manifest/1"), "manifest".into()).await.unwrap();
    assert_eq!(names(&store).await, ["manifest/1"]);
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1", "segments/2"]);
    growing.finish().await.unwrap();
    assert_eq!(names(&store).await, ["manifest/1", "segments/1"]);
    assert_eq!(names(&log).await, ["segments/2", HOME]);
    assert_eq!(tiers.open_known(&first, PART + 5).await.unwrap().len(), PART + 5);
    drop(also);
    // A crash between the upload and the deletion leaves both, until the writer tidies.
    log.create(&first, Bytes::from(vec![7; PART as usize + 5])).await.unwrap();
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1", "segments/2"]);
    tiers.tidy().await.unwrap();
    assert_eq!(names(&log).await, ["segments/2", HOME]);
    tiers.delete(&second).await.unwrap();
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1"]);
}

#[tokio::test]
async fn a_log_is_of_one_store_and_keeps_its_number() {
    let (log, store) = (Memory::new(), Memory::create_only());
    let home = open(&log, &store).unwrap().log_home();
    assert_eq!(open(&log, &store).unwrap().log_home(), home);
    assert_ne!(open(&Memory::new(), &store).unwrap().log_home(), home);

    let elsewhere = Simulated::new(SimulatedOptions { append: false, ..SimulatedOptions::default() });
    let refused = Tiered::open(Arc::new(log), Arc::new(elsewhere)).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("it is the log of"), "{refused}");
    let foreign = Memory::new();
    foreign.create(&path("letters/1"), "Dear".into()).await.unwrap();
    assert!(open(&foreign, &store).unwrap_err().to_string().contains("it holds letters/1"));
    let torn = Memory::new();
    torn.create(&path(HOME), "x".into()).await.unwrap();
    assert_eq!(open(&torn, &store).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(open(&Memory::create_only(), &store).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// While the store cannot be reached what is finished waits here.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_is_waited_for() {
    for (failures, is_back) in [(5, true), (u64::MAX, false)] {
        let (log, store) = (Memory::new(), Simulated::new(SimulatedOptions { append: false, ..Default::default() }));
        let tiers = Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await.unwrap();
        let mut growing = tiers.append(&path("segments/1")).await.unwrap();
        growing.append(vec!["commits".into()], true).await.unwrap();
        let fault = Fault { at_step: 0, kind: ErrorKind::Io, repeat: Repeat::Forever, applied: false };
        let failed = AtomicU64::new(0);
        store.fail_when(fault, move |step| step.op == "upload" && failed.fetch_add(1, Ordering::Relaxed) < failures);
        let shipped = growing.finish().await.map_err(|error| error.kind());
        assert_eq!(shipped, if is_back { Ok(()) } else { Err(ErrorKind::Io) });
        assert_eq!(names(&log).await.len(), if is_back { 1 } else { 2 });
    }
}

/// An upload whose answer is lost has shipped the file: it is not in its own way.
#[tokio::test(start_paused = true)]
async fn an_upload_whose_answer_is_lost_counts() {
    for kind in [ErrorKind::Io, ErrorKind::Unknown] {
        let (log, store) = (Memory::new(), Simulated::new(SimulatedOptions { append: false, ..Default::default() }));
        let tiers = Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await.unwrap();
        let mut growing = tiers.append(&path("segments/1")).await.unwrap();
        growing.append(vec!["commits".into()], true).await.unwrap();
        let fault = Fault { at_step: 0, kind, repeat: Repeat::Once, applied: true };
        store.fail_when(fault, |step| step.effect == "put" && step.path == "segments/1");
        growing.finish().await.unwrap();
        assert_eq!(store.strikes(), 1, "{kind:?}");
        assert_eq!(store.read_whole(&path("segments/1")).await.unwrap(), "commits");
        assert_eq!(names(&log).await, [HOME]);
    }
}

/// What is read wrong on its way does not get there.
#[tokio::test(start_paused = true)]
async fn what_is_read_wrong_is_not_shipped() {
    for spoil in [Spoil::Flipped, Spoil::Short, Spoil::Elsewhere, Spoil::Stale] {
        let (log, store) = (Simulated::new(SimulatedOptions::default()), Memory::create_only());
        let tiers = Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await.unwrap();
        let mut growing = tiers.append(&path("segments/1")).await.unwrap();
        growing.append(vec!["some ".into(), "commits".into()], true).await.unwrap();
        growing.append(vec![", and more".into()], false).await.unwrap();
        log.spoil_when(spoil, Repeat::Once, |step| step.path == "segments/1");
        log.spoil_when(spoil, Repeat::Once, |step| step.path == HOME);
        growing.finish().await.unwrap();
        assert_eq!(store.read_whole(&path("segments/1")).await.unwrap(), "some commits, and more", "{spoil:?}");
        let again = Tiered::open(Arc::new(log.clone()), Arc::new(store)).await.unwrap();
        assert_eq!(again.log_home(), tiers.log_home(), "{spoil:?}");
        assert_eq!(log.spoilt(), 2, "{spoil:?}");
    }
}
