//! Publishes manifests: creates the next number, and makes sure that nobody was quicker.
//!
//! # Guarantees
//! 1. A manifest is created, never replaced; whoever creates the newest number has won.
//! 2. After each creation the folder is listed: a writer that is not the newest has been overtaken and says `Fenced`. One
//!    that does not find what it has created there knows nothing, and says so.
//! 3. An answer lost on the way is settled by the nonce inside: the name holds our manifest, or another's.
//! 4. What leaves the runs of a manifest is listed in it as retired; files are deleted only after that is durable.

use crate::clock::EngineClock;
use crate::format::digest::Digest;
use crate::format::manifest::{LogState, Manifest};
use crate::format::names::{self, Name};
use crate::listing::Listing;
use crate::patience::Patience;
use crate::planted::{Bug, planted};
use crate::protocol::Reign;
use crate::random::Random;
use crate::{Error, ErrorKind, Result, protocol, reread, tasks};
use arc_swap::ArcSwap;
use bytes::Bytes;
use halite_backends::{self as backends, Backend, Path};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

#[derive(Debug)]
pub(crate) struct Publisher {
    backend: Arc<dyn Backend>,
    random: Arc<Random>,
    clock: Arc<EngineClock>,
    /// The newest manifest. Locked while the next one is made, which may take as long as a store is away.
    newest: Mutex<Newest>,
    /// The same, for whoever does not wait for that.
    settled: ArcSwap<Manifest>,
    /// Its number, for the look before each acknowledgement.
    number: AtomicU64,
    /// What it keeps of the past, for whoever asks at any moment.
    kept: parking_lot::Mutex<Kept>,
}

/// What a manifest keeps of the past.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    /// Manifests that show the past.
    pub(crate) moments: u64,
    /// Since when it shows, if it does.
    pub(crate) from: Option<u64>,
    /// Bytes of what has left the database and is kept for checkpoints and the past.
    pub(crate) bytes: u64,
}

impl Kept {
    pub(crate) fn of(manifest: &Manifest) -> Kept {
        let held = manifest.retired.iter().filter(|retired| manifest.holds(retired));
        Kept {
            moments: manifest.past.iter().filter(|past| past.is_moment).count() as u64,
            from: manifest.past_from(),
            bytes: held.map(|retired| retired.bytes).sum(),
        }
    }
}

/// A manifest that was published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) manifest: Manifest,
    /// Those that were there when it was created: what it says of them is whether they are still needed.
    listed: Vec<u64>,
}

/// The newest manifest that is ours for certain.
#[derive(Debug)]
struct Newest {
    manifest: Arc<Manifest>,
    /// Of its file.
    digest: Digest,
    /// Why it is not known whether the next one was created. It may be there, so that name says nothing any more of
    /// other writers, and nothing more can be published.
    unsettled: Option<Error>,
}

impl Newest {
    fn check(&self) -> Result<()> {
        self.unsettled.clone().map_or(Ok(()), Err)
    }
}

/// `edit` as one that could refuse.
pub(crate) fn never_refuses(edit: impl FnOnce(&mut Manifest)) -> impl FnOnce(&mut Manifest) -> Result<(), Infallible> {
    |manifest| {
        edit(manifest);
        Ok(())
    }
}

impl Publisher {
    /// Goes on from `newest`, which this writer created.
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        random: Arc<Random>,
        clock: Arc<EngineClock>,
        newest: Manifest,
    ) -> Publisher {
        let number = AtomicU64::new(newest.number);
        let kept = parking_lot::Mutex::new(Kept::of(&newest));
        let (digest, newest) = (newest.digest(), Arc::new(newest));
        let settled = ArcSwap::new(newest.clone());
        let newest = Mutex::new(Newest { manifest: newest, digest, unsettled: None });
        Publisher { backend, random, clock, newest, settled, number, kept }
    }

    /// Makes `edit` of the newest manifest durable as the next one, and returns it. `edit` is given the number and the
    /// time of the next one.
    ///
    /// # Errors
    /// `Fenced` where another writer has created the number, or a higher one. `NoSpace`: nothing happened. Anything
    /// else leaves the outcome open, and the writer must stop.
    pub(crate) async fn publish(&self, edit: impl FnOnce(&mut Manifest)) -> Result<Manifest> {
        let Ok(published) = self.publish_if(never_refuses(edit), Patience::none()).await?;
        self.forget_older(&published).await;
        Ok(published.manifest)
    }

    /// As [`publish`](Publisher::publish), unless `edit` refuses: then nothing happens, and its refusal is returned. While its
    /// outcome is open, and `patience` lasts, the same manifest is created again. Older manifests are left where they are, for
    /// [`forget_older`](Publisher::forget_older).
    pub(crate) async fn publish_if<E>(
        &self,
        edit: impl FnOnce(&mut Manifest) -> Result<(), E>,
        mut patience: Patience<'_>,
    ) -> Result<Result<Published, E>> {
        let mut newest = self.newest.lock().await;
        newest.check()?;
        let mut next = newest.manifest.next_after(newest.digest, self.random.next(), self.clock.trusted());
        if let Err(refusal) = edit(&mut next) {
            return Ok(Err(refusal));
        }
        next.follow(&newest.manifest);
        // A future that is dropped here leaves it open too.
        newest.unsettled = Some(unknown(&next, None));
        let created = loop {
            let created = create(&*self.backend, &next).await;
            match &created {
                Err(error) if error.kind() == ErrorKind::Unknown => {
                    if !patience.bears(error).await {
                        break created;
                    }
                }
                _ => break created,
            }
        };
        patience.over();
        newest.unsettled = match &created {
            Err(error) if error.kind() == ErrorKind::Unknown => Some(error.clone()),
            _ => None,
        };
        let Created { listed, digest } = created?;
        self.number.store(next.number, Ordering::Release);
        *self.kept.lock() = Kept::of(&next);
        (newest.manifest, newest.digest) = (Arc::new(next.clone()), digest);
        self.settled.store(newest.manifest.clone());
        Ok(Ok(Published { manifest: next, listed }))
    }

    /// Deletes the manifests that one has made useless which was `published`. Others may have followed it.
    pub(crate) async fn forget_older(&self, Published { manifest, listed }: &Published) {
        forget_older(&*self.backend, listed, manifest).await;
    }

    /// What `look` makes of the newest manifest that is ours for certain.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Manifest) -> T) -> T {
        look(&self.settled.load())
    }

    /// Looks whether another writer has claimed the database, which a claim shows by the next manifest's name.
    ///
    /// Only needed where the log grows: on fragments the fence takes the name the next fragment needs.
    pub(crate) async fn check_newest(&self) -> Result<()> {
        let number = self.number.load(Ordering::Acquire);
        let claim = Name::Manifest(protocol::claim_on(number)).path();
        if planted(Bug::OvertakenAcknowledges) || !self.backend.exists(&claim).await? {
            return Ok(());
        }
        // It may be our own, just being published.
        let newest = self.newest.lock().await;
        newest.check()?;
        let next = protocol::claim_on(newest.manifest.number);
        if self.backend.exists(&Name::Manifest(next).path()).await? { Err(fenced(next)) } else { Ok(()) }
    }

    /// What the newest manifest keeps of the past.
    pub(crate) fn kept(&self) -> Kept {
        *self.kept.lock()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }
}

/// What is known of a manifest that was created.
pub(crate) struct Created {
    /// The numbers of those that were there then.
    pub(crate) listed: Vec<u64>,
    /// Of its file.
    pub(crate) digest: Digest,
}

/// Creates `manifest` under its number.
pub(crate) async fn create(backend: &dyn Backend, manifest: &Manifest) -> Result<Created> {
    let path = Name::Manifest(manifest.number).path();
    let bytes =
        manifest.encode().map_err(|broken| Error::new(ErrorKind::Poisoned, format!("{broken}: this is a bug")))?;
    let digest = Digest::of(&bytes);
    let outcome = create_or_read(backend, &path, bytes, || read(backend, manifest.number)).await;
    // From here on it may be there: whatever fails leaves that open, whether it says so itself or not.
    let unknown = |cause: Error| unknown(manifest, Some(cause));
    match outcome {
        Ok(None) => {}
        Ok(Some(there)) if protocol::is_own(there.write_nonce, manifest.write_nonce) => {}
        Ok(Some(_)) => return Err(fenced(manifest.number)),
        Err(cause) if cause.kind() == ErrorKind::NoSpace => {
            let is_there = backend.exists(&path).await.map_err(|error| unknown(error.into()))?;
            return Err(if is_there { unknown(cause) } else { cause });
        }
        Err(cause) => return Err(unknown(cause)),
    }
    let listed = list(backend).await.map_err(unknown)?;
    match protocol::overtaken_by(manifest.number, &listed) {
        Some(highest) => Err(fenced(highest)),
        // Nor would it show that others have created higher ones.
        None if !listed.contains(&manifest.number) && !manifest.has_single_writer() => {
            Err(unknown(Error::new(ErrorKind::Io, format!("{} does not list what was created", backend.location()))))
        }
        None => Ok(Created { listed, digest }),
    }
}

impl Manifest {
    /// Whether the user has declared that there is only ever one writer.
    fn has_single_writer(&self) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.single_writer_declared)
    }

    /// What of it decides who writes.
    pub(crate) fn reign(&self) -> Reign {
        Reign {
            number: self.number,
            epoch: self.epoch,
            log_epoch: self.log.epoch,
            log_is_open: self.log.state == LogState::Open,
            kept_claims: self.kept_claims.clone(),
        }
    }
}

/// Deletes those of the `listed` manifests that are older than `newest`: they say nothing any more, but for those that it
/// keeps.
pub(crate) async fn forget_older(backend: &dyn Backend, listed: &[u64], newest: &Manifest) {
    for &number in listed.iter().filter(|number| **number < newest.number && !newest.keeps(**number)) {
        // What this was about is done; the next manifest tries again.
        if let Err(error) = backend.delete(&Name::Manifest(number).path()).await
            && error.kind() != backends::ErrorKind::Closed
        {
            tracing::warn!(%error, "a manifest that is needed no more could not be deleted");
        }
    }
}

/// How often a create whose answer was lost is sent again.
const UNKNOWN_RETRIES: u32 = 6;

/// The pause before the first of these; each further one is three times as long, seven seconds in all.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(20);

/// Creates `path`. Where the answer is lost the same bytes are sent again, until the name is taken.
///
/// # Errors
/// `AlreadyExists` where it is: by somebody else, or by us, which the nonce in what is there tells. `Unknown`: it may be
/// taken, or become so.
pub(crate) async fn create_named(backend: &dyn Backend, path: &Path, bytes: Bytes) -> backends::Result<()> {
    let mut pause = UNKNOWN_PAUSE;
    for _ in 0..UNKNOWN_RETRIES {
        match backend.create(path, bytes.clone()).await {
            Err(error) if error.kind() == backends::ErrorKind::Unknown => {
                tracing::debug!(%error, ?pause, "a create may have happened; it is sent again");
                if tasks::pause(pause).await.is_none() {
                    return Err(error);
                }
                pause *= 3;
            }
            outcome => return outcome,
        }
    }
    backend.create(path, bytes).await
}

/// Creates `path`, as [`create_named`] does, or has `read` read who has the name: `None` where nobody had it.
///
/// A store that says that a name is taken, and has nothing of that name, has said nothing: then the same bytes are sent again.
/// (So they are where what had the name has been deleted since. That was a manifest that others have followed, which the list
/// behind each creation shows; or a fragment of our own, which somebody has replayed who has ended our log.)
pub(crate) async fn create_or_read<T, F>(
    backend: &dyn Backend,
    path: &Path,
    bytes: Bytes,
    read: impl Fn() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = UNKNOWN_PAUSE;
    for _ in 0..UNKNOWN_RETRIES {
        match create_named(backend, path, bytes.clone()).await {
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == backends::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        match read().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::debug!(%path, ?pause, "a name is said to be taken, and nothing has it; it is asked for again");
                tokio::time::sleep(pause).await;
                pause *= 3;
            }
            outcome => return outcome.map(Some),
        }
    }
    let message = format!("the store says that {path} is taken, and that nothing is there");
    Err(Error::new(ErrorKind::Unknown, message))
}

/// The numbers of the manifests that are there, in no particular order.
pub(crate) async fn list(backend: &dyn Backend) -> Result<Vec<u64>> {
    Ok(Listing::of(backend, names::MANIFESTS).await?.manifests)
}

/// How often a manifest that vanished while it was looked at is looked for again.
pub(crate) const LOOKS: u32 = 32;

/// The newest manifest, or `None` where there is no store.
pub(crate) async fn newest(backend: &dyn Backend) -> Result<Option<Manifest>> {
    Ok(newest_in(backend, names::MANIFESTS).await?.0)
}

/// The same, and all that is there.
pub(crate) async fn newest_of_all(backend: &dyn Backend) -> Result<(Option<Manifest>, Listing)> {
    newest_in(backend, "").await
}

/// The newest manifest, and what was listed of `folder`, in which the manifests are, before it was read.
async fn newest_in(backend: &dyn Backend, folder: &str) -> Result<(Option<Manifest>, Listing)> {
    for _ in 0..LOOKS {
        let listing = Listing::of(backend, folder).await?;
        let Some(&number) = listing.manifests.iter().max() else {
            return Ok((None, listing));
        };
        match read(backend, number).await {
            // A writer at work has published the next one and deleted this one in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => return Ok((Some(outcome?), listing)),
        }
    }
    Err(Error::new(ErrorKind::InUse, "a writer publishes faster than its manifests can be read"))
}

/// There is none.
pub(crate) fn no_store(backend: &dyn Backend) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no store at {}", backend.location()))
}

/// Reads and checks manifest `number`.
pub(crate) async fn read(backend: &dyn Backend, number: u64) -> Result<Manifest> {
    let path = Name::Manifest(number).path();
    reread::decoded(backend, &path, |bytes| ready(decode(&path, number, &bytes))).await
}

fn decode(path: &Path, number: u64, bytes: &[u8]) -> Result<Manifest> {
    let manifest = Manifest::decode(bytes).map_err(|fault| Error::in_file(path, fault))?;
    if manifest.number != number && !planted(Bug::AnyFileAccepted) {
        let what = format!("the manifest says it is number {}, its name says {number}", manifest.number);
        return Err(Error::corruption(path, 0, what));
    }
    Ok(manifest)
}

/// The whole of `path`.
pub(crate) async fn read_all(backend: &dyn Backend, path: &Path) -> Result<Bytes> {
    Ok(backend.read_whole(path).await?)
}

fn unknown(manifest: &Manifest, cause: Option<Error>) -> Error {
    let message = format!("whether manifest {} was created is not known", manifest.number);
    match cause {
        Some(cause) => Error::caused_by(ErrorKind::Unknown, message, cause),
        None => Error::new(ErrorKind::Unknown, message),
    }
}

fn fenced(number: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("another writer has created manifest {number}"))
}
