#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Fault, Memory, Repeat, Simulated, SimulatedOptions, Spoil, conformance};
use futures::FutureExt;

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
async fn what_is_finished_is_shipped_when_it_is_asked_for_and_what_grows_stays_here() {
    let (log, store) = (Memory::new(), Memory::create_only());
    let tiers = open(&log, &store).unwrap();
    let (first, second) = (path("segments/1"), path("segments/2"));
    let mut growing = tiers.append(&first).await.unwrap();
    // More than one part.
    growing.append(vec![Bytes::from(vec![7; PART as usize + 5])], true).await.unwrap();
    let also = tiers.append(&second).await.unwrap();
    tiers.create(&path("manifest/1"), "manifest".into()).await.unwrap();
    tiers.ship(&first).await.unwrap();
    assert_eq!(names(&store).await, ["manifest/1"], "it is not finished");
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1", "segments/2"]);
    growing.finish().await.unwrap();
    assert_eq!(names(&store).await, ["manifest/1"]);
    assert_eq!(tiers.unshipped().await.unwrap(), [first.clone(), second.clone()]);
    for _ in 0..2 {
        tiers.clone().ship(&first).await.unwrap();
        assert_eq!(names(&store).await, ["manifest/1", "segments/1"]);
    }
    assert_eq!(names(&log).await, ["segments/2", HOME]);
    assert_eq!(tiers.open_known(&first, PART + 5).await.unwrap().len(), PART + 5);
    drop(also);
    // A crash between the upload and the deletion leaves both, until the writer tidies.
    log.create(&first, Bytes::from(vec![7; PART as usize + 5])).await.unwrap();
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1", "segments/2"]);
    assert_eq!(tiers.unshipped().await.unwrap(), std::slice::from_ref(&second));
    tiers.tidy().await.unwrap();
    assert_eq!(names(&log).await, ["segments/2", HOME]);
    tiers.delete(&second).await.unwrap();
    assert_eq!(names(&tiers).await, ["manifest/1", "segments/1"]);
}

#[tokio::test]
async fn a_log_is_of_one_database_wherever_its_store_is_and_keeps_its_number() {
    let (log, store) = (Memory::new(), Memory::create_only());
    let tiers = open(&log, &store).unwrap();
    let home = tiers.log_home();
    assert_eq!(open(&log, &store).unwrap().log_home(), home);
    assert_ne!(open(&Memory::new(), &store).unwrap().log_home(), home);

    let elsewhere = || Arc::new(Simulated::new(SimulatedOptions { append: false, ..SimulatedOptions::default() }));
    let from_there = || Tiered::open(Arc::new(log.clone()), elsewhere());
    assert_eq!(from_there().await.unwrap().log_home(), home, "nothing is in it yet");
    let segment = path("segments/1");
    tiers.append(&segment).await.unwrap();
    let refused = from_there().await.unwrap_err();
    assert!(refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("it is the log of"), "{refused}");
    assert_eq!(tiers.database().await.unwrap(), None);
    tiers.bind([7; 16]).await.unwrap();
    let moved = from_there().await.unwrap();
    assert_eq!((moved.log_home(), moved.database().await.unwrap()), (home, Some([7; 16])));
    moved.bind([7; 16]).await.unwrap();
    let refused = moved.bind([8; 16]).await.unwrap_err();
    assert!(
        refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("it is the log of database 0707")
    );
    assert_eq!(names(&log).await, ["segments/1", DATABASE, HOME], "what says so is no part of the log");
    assert_eq!(names(&moved).await, ["segments/1"]);
}

#[tokio::test]
async fn what_is_no_log_is_refused() {
    let store = Memory::create_only();
    let foreign = Memory::new();
    foreign.create(&path("letters/1"), "Dear".into()).await.unwrap();
    assert!(open(&foreign, &store).unwrap_err().to_string().contains("it holds letters/1"));
    let torn = Memory::new();
    torn.create(&path(HOME), "x".into()).await.unwrap();
    assert_eq!(open(&torn, &store).unwrap_err().kind(), ErrorKind::InvalidInput);
    let torn = Memory::new();
    torn.create(&path(DATABASE), "x".into()).await.unwrap();
    torn.create(&path(HOME), signed("01 mem:").into()).await.unwrap();
    assert_eq!(open(&torn, &store).unwrap().database().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(open(&Memory::create_only(), &store).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// What cannot be shipped is as it was, and is shipped when it is asked for again.
#[tokio::test]
async fn what_is_not_shipped_stays() {
    for (applied, op) in [(false, "upload"), (true, "upload")] {
        let (log, store) = (Memory::new(), Simulated::new(SimulatedOptions { append: false, ..Default::default() }));
        let tiers = Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await.unwrap();
        let segment = path("segments/1");
        let mut growing = tiers.append(&segment).await.unwrap();
        growing.append(vec!["commits".into()], true).await.unwrap();
        growing.finish().await.unwrap();
        let fault = Fault { at_step: 0, kind: ErrorKind::NoSpace, repeat: Repeat::Times(2), applied };
        store.fail_when(fault, move |step| step.op == op);
        for _ in 0..2 {
            assert_eq!(tiers.ship(&segment).await.unwrap_err().kind(), ErrorKind::NoSpace);
            assert_eq!(names(&log).await, ["segments/1", HOME]);
        }
        tiers.ship(&segment).await.unwrap();
        assert_eq!((names(&log).await, store.strikes()), (vec![HOME.to_owned()], 2), "applied={applied}");
        assert_eq!(store.read_whole(&segment).await.unwrap(), "commits");
    }
}

/// An upload whose answer is lost has shipped the file: it is not in its own way.
#[tokio::test]
async fn an_upload_whose_answer_is_lost_counts() {
    for kind in [ErrorKind::Io, ErrorKind::Unknown] {
        let (log, store) = (Memory::new(), Simulated::new(SimulatedOptions { append: false, ..Default::default() }));
        let tiers = Tiered::open(Arc::new(log.clone()), Arc::new(store.clone())).await.unwrap();
        let mut growing = tiers.append(&path("segments/1")).await.unwrap();
        growing.append(vec!["commits".into()], true).await.unwrap();
        let fault = Fault { at_step: 0, kind, repeat: Repeat::Once, applied: true };
        store.fail_when(fault, |step| step.effect == "put" && step.path == "segments/1");
        growing.finish().await.unwrap();
        tiers.ship(&path("segments/1")).await.unwrap();
        assert_eq!(store.strikes(), 1, "{kind:?}");
        assert_eq!(store.read_whole(&path("segments/1")).await.unwrap(), "commits");
        assert_eq!(names(&log).await, [HOME]);
    }
}

/// What is read wrong on its way does not get there.
#[tokio::test]
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
        // What was read may be right by chance.
        if tiers.ship(&path("segments/1")).await.is_err() {
            assert!(names(&store).await.is_empty(), "{spoil:?}");
            tiers.ship(&path("segments/1")).await.unwrap();
        }
        assert_eq!(store.read_whole(&path("segments/1")).await.unwrap(), "some commits, and more", "{spoil:?}");
        let again = Tiered::open(Arc::new(log.clone()), Arc::new(store)).await.unwrap();
        assert_eq!(again.log_home(), tiers.log_home(), "{spoil:?}");
        assert_eq!(log.spoilt(), 2, "{spoil:?}");
    }
}
