//! Every backend, in every personality, through the conformance suite.
#![allow(clippy::unwrap_used)]

use halite_backends::{Backend, Local, Memory, Simulated, SimulatedOptions, conformance};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test]
async fn memory() {
    conformance::run(|| Arc::new(Memory::new())).await;
}

#[tokio::test]
async fn memory_that_only_creates() {
    conformance::run(|| Arc::new(Memory::create_only())).await;
}

#[tokio::test]
async fn memory_without_lock() {
    conformance::run(|| Arc::new(Memory::new().without_lock())).await;
}

/// A folder that holds one store after another, removed at the end.
struct Folder(PathBuf, AtomicU32);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        Folder(folder, AtomicU32::new(0))
    }

    fn next(&self) -> PathBuf {
        self.0.join(self.1.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn store(&self) -> Arc<dyn Backend> {
        Arc::new(Local::open(self.next(), true).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn local_on_one_thread() {
    let folder = Folder::new("one-thread");
    conformance::run(|| folder.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_on_threads() {
    let folder = Folder::new("threads");
    conformance::run(|| folder.store()).await;
}

#[test]
fn local_without_a_runtime() {
    let folder = Folder::new("no-runtime");
    futures::executor::block_on(conformance::run(|| folder.store()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_handles_on_one_folder() {
    let folder = Folder::new("handles");
    let one = folder.next();
    let handles: Vec<Arc<dyn Backend>> = (0..4).map(|_| Arc::new(Local::open(&one, true).unwrap()) as _).collect();
    conformance::racing_creates(&handles).await;
}

#[tokio::test]
async fn simulated() {
    for seed in 0..2 {
        for append in [true, false] {
            let options = SimulatedOptions { seed, append, lock: append, ..SimulatedOptions::default() };
            conformance::run(|| Arc::new(Simulated::new(options.clone()))).await;
        }
    }
}

#[tokio::test]
async fn simulated_with_calls_that_mix() {
    for seed in 0..3 {
        for append in [true, false] {
            let options = SimulatedOptions { seed, append, yields: true, ..SimulatedOptions::default() };
            conformance::run(|| Arc::new(Simulated::new(options.clone()))).await;
        }
    }
}
