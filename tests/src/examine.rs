//! Opens an image of a crashed store with a fresh engine, and judges what it finds.

use crate::history::{Loss, compare};
use crate::ops::{Op, delete, put};
use crate::play::{Policy, play};
use crate::world::{Store, World, ends, process, read_all, soundness, worse};
use halite::Durability;

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

/// Opens the store once more, and compares it with the history.
///
/// # Errors
/// What is wrong.
pub fn examine_closed(world: &mut World) -> Result<(), String> {
    process(async {
        let db = ends("open", world.open()).await?.map_err(|error| format!("cannot open: {error:?}"))?;
        let found = read_all(&db).await.map_err(|error| format!("cannot read: {error:?}"))?;
        compare(&world.expected(), &found)?;
        soundness(&db).await?;
        ends("close", db.close()).await?.map_err(|error| format!("cannot close: {error:?}"))
    })
}
