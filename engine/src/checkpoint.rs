//! Checkpoints: versions kept by name, so that they outlive the process.
//!
//! A checkpoint is an entry in the manifests: a name, and the number of the manifest that took it, which is kept too and
//! names the segments. What merges make superfluous later stays listed as retired, and on the disk, while a checkpoint
//! needs it: see [`retire`](crate::retire).
//!
//! # After a crash
//! A checkpoint is there if and only if the newest manifest says so, which one create decides. What its deletion has not
//! deleted the next opening does.

use crate::core::Core;
use crate::format::CHECKPOINT_NAME_LEN_MAX;
use crate::format::digest::Digest;
use crate::format::manifest::{CheckpointMeta, Manifest};
use crate::verify::Anchor;
use crate::{Error, ErrorKind, Result, Seq};
use std::sync::Arc;

/// A version of the database that is kept by name: all commits up to one, and expiries as of one time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let halite::Checkpoint { name, seq, bytes, .. } = db.checkpoint("monday").await?;
/// assert_eq!((name.as_str(), seq), ("monday", 1));
/// assert!(bytes > 0);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Its name.
    pub name: String,
    /// The last commit that shows.
    pub seq: Seq,
    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Bytes of its segments, those included that it shares with the database or with other checkpoints.
    pub bytes: u64,
    /// Until when nobody can delete it, in milliseconds of engine time, if it is held.
    pub hold_until: Option<u64>,
    /// The manifest that took it. Noted elsewhere, it proves later that this is still the checkpoint that it was, to the
    /// byte: see [`VerifyOptions::anchor`](crate::VerifyOptions::anchor).
    pub anchor: Anchor,
}

/// How a [checkpoint](crate::Db::checkpoint_with) is to be kept.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::CheckpointOptions;
/// let db = halite::Db::open("mem:").await?;
/// let until = CheckpointOptions { hold_until: Some(4_102_444_800_000) }; // the year 2100
/// let held = db.checkpoint_with("books of 2026", until).await?;
/// assert_eq!(held.hold_until, until.hold_until);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// Until when nobody can delete it, in milliseconds of engine time since the Unix epoch; at any time if `None`, the
    /// default. No call shortens that. (It is the engine that refuses: against those who may delete files there must be a
    /// lock of the storage's own, and against a clock that is set ahead the clock must be.)
    pub hold_until: Option<u64>,
}

impl Checkpoint {
    fn of(meta: &CheckpointMeta, manifest: &Manifest) -> Checkpoint {
        let CheckpointMeta { name, manifest: number, seq, time, bytes, hold_until } = meta;
        let hold_until = (*hold_until > 0).then_some(*hold_until);
        // Manifests without it are not made, nor taken for whole.
        let digest = manifest.digest_of(*number).unwrap_or(Digest::NONE);
        let anchor = Anchor { manifest: *number, digest };
        Checkpoint { name: name.clone(), seq: *seq, time: *time, bytes: *bytes, hold_until, anchor }
    }

    /// The checkpoints that `manifest` lists, in the order in which they were taken.
    pub(crate) fn all(manifest: &Manifest) -> Vec<Checkpoint> {
        manifest.checkpoints.iter().map(|meta| Checkpoint::of(meta, manifest)).collect()
    }
}

/// Seals what has entered, and publishes a manifest that keeps itself by that name.
#[tracing::instrument(name = "checkpoint", target = "halite", level = "info", skip_all, fields(name))]
pub(crate) async fn create(core: Arc<Core>, name: String, options: CheckpointOptions) -> Result<Checkpoint> {
    check_name(&name)?;
    // Before the work of sealing, too.
    core.publisher.look(|manifest| check_absent(manifest, &name))?;
    core.log.seal().await?;
    let published = core.publish_if(|manifest| take(manifest, name, options)).await?;
    let manifest = published?;
    let taken = manifest.checkpoints.last().map(|meta| Checkpoint::of(meta, &manifest));
    tracing::info!(checkpoint = ?taken, "took a checkpoint");
    taken.ok_or_else(|| Error::new(ErrorKind::Poisoned, "a checkpoint was not taken: this is a bug"))
}

/// Adds the version of `manifest` to its checkpoints.
fn take(manifest: &mut Manifest, name: String, options: CheckpointOptions) -> Result<()> {
    check_absent(manifest, &name)?;
    let checkpoint = CheckpointMeta {
        name,
        manifest: manifest.number,
        seq: manifest.log.last_sealed_seq,
        time: manifest.engine_time,
        bytes: manifest.segments().map(|meta| meta.len).sum(),
        hold_until: options.hold_until.unwrap_or(0),
    };
    manifest.checkpoints.push(checkpoint);
    Ok(())
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if (1..=CHECKPOINT_NAME_LEN_MAX).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("the name of a checkpoint has 1 to {CHECKPOINT_NAME_LEN_MAX} bytes given={}", name.len());
    Err(Error::new(ErrorKind::InvalidInput, message))
}

pub(crate) fn check_absent(manifest: &Manifest, name: &str) -> Result<()> {
    match manifest.checkpoint(name) {
        None => Ok(()),
        Some(_) => {
            let message = format!("there is a checkpoint of that name already name={name:?}");
            Err(Error::new(ErrorKind::AlreadyExists, message))
        }
    }
}

/// The checkpoints in the order in which they were taken.
pub(crate) fn list(core: &Core) -> Vec<Checkpoint> {
    core.publisher.look(Checkpoint::all)
}

/// Publishes a manifest without the checkpoint of that name; false where there is none.
pub(crate) async fn delete(core: Arc<Core>, name: String) -> Result<bool> {
    core.log.check()?;
    let now = core.clock.now();
    let remove = |manifest: &mut Manifest| match remove(manifest, &name, now) {
        Ok(true) => Ok(()),
        Ok(false) => Err(None),
        Err(held) => Err(Some(held)),
    };
    match core.publish_if(remove).await? {
        Ok(_) => {
            core.retiring.look();
            Ok(true)
        }
        Err(None) => Ok(false),
        Err(Some(held)) => Err(held),
    }
}

/// Takes the checkpoint of that name out of `manifest`; false where there is none.
///
/// # Errors
/// `Held` where it is to be kept beyond `now`.
pub(crate) fn remove(manifest: &mut Manifest, name: &str, now: u64) -> Result<bool> {
    match manifest.checkpoint(name) {
        None => Ok(false),
        Some(CheckpointMeta { hold_until, .. }) if *hold_until > now => {
            let message =
                format!("checkpoint {name:?} is held and cannot be deleted before hold_until={hold_until} now={now}");
            Err(Error::new(ErrorKind::Held, message))
        }
        Some(_) => {
            manifest.checkpoints.retain(|checkpoint| checkpoint.name != name);
            Ok(true)
        }
    }
}
