//! Opens an image of a crashed store with a fresh engine, and judges what it finds.

use crate::history::{Loss, compare};
use crate::ops::{Op, delete, put};
use crate::play::{Policy, play};
use crate::world::{FOR_EVER, Store, World, ends, read_all, runtime, soundness, worse};
use halite::Durability;
use halite::backends::Simulated;
use std::collections::BTreeSet;

/// Fences are shorter than fragments that hold anything.
const FENCE_LEN_MAX: u64 = 160;

/// Opens `image`, which is what `loss` has left of `world`'s store, and checks that
/// 1. the state is that of a prefix of the commits which holds all that had to survive,
/// 2. `verify` finds no damage,
/// 3. writing, sealing and closing go on from there, and
/// 4. all is still there at the next opening.
///
/// # Errors
/// What is wrong.
pub fn examine(world: &World, image: Store, loss: Loss) -> Result<(), String> {
    let mut world = world.fork(image);
    world.ended = Some(world.ended.map_or(loss, |earlier| worse(earlier, loss)));
    let level = Durability::Synced;
    let onward = [
        Op::Verify,
        Op::Write(put(40, 10), level),
        Op::Write(delete(8), level),
        Op::Write(put(9, 700), level),
        Op::Scan { from: 0, to: 2, limit: usize::MAX, rev: false, keys_only: false },
        Op::Scan { from: 0, to: 2, limit: usize::MAX, rev: true, keys_only: false },
        Op::Reopen,
        Op::Verify,
    ];
    play(&mut world, &onward, Policy::Strict).map_err(|error| format!("after {loss:?}: {error}"))
}

/// Opens the store that a run has closed once more, after it let go of its checkpoints (they would need files that the
/// newest version does not), and checks that
/// 1. it shows what the history says, and `verify` finds no damage,
/// 2. no task outlives its end, and
/// 3. no file is there that nothing refers to: in two tiers nothing in the log, as all is in the store by then.
///
/// # Errors
/// What is wrong.
pub fn examine_end(world: &mut World) -> Result<(), String> {
    // What a dead process has sent, such as a fragment behind a fence, is deleted by the first opening that finds it.
    if let Store::Simulated(disk) = &world.store {
        disk.deliver();
    }
    let runtime = runtime();
    let segments = runtime.block_on(async {
        let db = ends("open", world.open()).await?.map_err(|error| format!("cannot open: {error:?}"))?;
        let found = read_all(&db).await.map_err(|error| format!("cannot read: {error:?}"))?;
        compare(&world.expected(), &found)?;
        soundness(&db).await?;
        // What earlier processes have left is deleted in the background.
        tokio::time::sleep(FOR_EVER).await;
        let tree = db.tree().await.map_err(|error| format!("no tree: {error:?}"))?;
        ends("close", db.close()).await?.map_err(|error| format!("cannot close: {error:?}"))?;
        let files = tree.runs.into_iter().flat_map(|run| run.segments).map(|segment| segment.file);
        Ok::<BTreeSet<String>, String>(files.collect())
    })?;
    runtime.block_on(async { tokio::time::sleep(FOR_EVER).await });
    match runtime.metrics().num_alive_tasks() {
        0 => {}
        tasks => return Err(format!("{tasks} tasks outlive the database")),
    }
    match &world.store {
        Store::Simulated(disk) => unreferenced(disk, &segments),
        Store::Tiered([log, store]) => {
            unreferenced(log, &BTreeSet::new()).and_then(|()| unreferenced(store, &segments))
        }
        Store::Memory(_) | Store::Real(_) => Ok(()),
    }
}

/// Judges what lies on the disk beside manifests, fences and these segments.
fn unreferenced(disk: &Simulated, segments: &BTreeSet<String>) -> Result<(), String> {
    let is_needed = |path: &str, len: u64| match path.split_once('/') {
        Some(("segments", _)) => segments.contains(path),
        // A fence has no records.
        Some(("log", _)) => len <= FENCE_LEN_MAX,
        // Of the first opening, where a power cut takes back that it was deleted: some bytes, once in a store's life.
        Some(("manifest" | "proof", _)) => true,
        // What a log says of itself.
        Some(("tiered", _)) => true,
        _ => false,
    };
    let files = disk.files();
    let left: Vec<_> = files.iter().filter(|(path, len)| !is_needed(path.as_str(), *len)).collect();
    if !left.is_empty() {
        return Err(format!("files that nothing refers to: {left:?}"));
    }
    match disk.leftovers() {
        0 => Ok(()),
        count => Err(format!("{count} leftovers of unfinished calls")),
    }
}
