//! Claiming a database: the manifest by which a writer says that it is the one, from now on.
//!
//! The claim takes the next number, copies the newest manifest with its log pointer, and raises the epoch. A writer that
//! is still at work finds it before it acknowledges anything more: see [`publish`](crate::publish).

use super::{Setup, apart};
use crate::clock::EngineClock;
use crate::format::manifest::{Manifest, Proof, Purpose, Retention};
use crate::format::names::{self, Name, SegmentId};
use crate::listing::Listing;
use crate::planted::{Bug, planted};
use crate::publish::Created;
use crate::random::Random;
use crate::{Error, ErrorKind, Result, publish};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use halite_backends::{self as backends, Backend, Path};
use std::time::Duration;

/// Creates that race when a store is proved.
const RACERS: usize = 16;

/// Creates the claim and returns it, with what was there before it.
///
/// A writer at work may publish a manifest between the look at the newest and the claim: then the claim is made anew,
/// on top of that. Another claim in between means that somebody else opens the store right now.
pub(super) async fn claim(setup: &Setup, clock: &EngineClock) -> Result<(Manifest, Listing)> {
    let mut seen = None;
    for _ in 0..publish::LOOKS {
        let (newest, there) = publish::newest_of_all(&*setup.backend).await?;
        let base = match newest {
            Some(newest) => {
                check_database(&newest, setup)?;
                check_purpose(&newest, setup)?;
                apart::check(&newest, setup).await?;
                if let Err(missing) = none_is_missing(setup, &newest, &there.segments) {
                    // Unless it has come since: then its writer was at work while the names were listed.
                    if publish::list(&*setup.backend).await?.into_iter().max() > Some(newest.number) {
                        continue;
                    }
                    return Err(missing);
                }
                newest
            }
            None => {
                let first = first(setup, clock).await?;
                apart::check_owner(&*setup.backend, &first.database).await?;
                first
            }
        };
        let epoch = base.epoch;
        let claim = on_top_of(&base, setup, clock);
        match publish::create(&*setup.backend, &claim).await {
            Ok(Created { listed, .. }) => {
                tracing::debug!(manifest = claim.number, epoch = claim.epoch, "claimed");
                publish::forget_older(&*setup.backend, &listed, &claim).await;
                return Ok((claim, there));
            }
            Err(error) if error.kind() == ErrorKind::Fenced && seen.is_none_or(|seen| seen == epoch) => {
                seen = Some(epoch)
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::InUse, "the store changes faster than it can be claimed"))
}

/// Only a database is written to.
fn check_purpose(newest: &Manifest, setup: &Setup) -> Result<()> {
    let location = setup.backend.location();
    let message = match newest.purpose {
        Purpose::Database => return Ok(()),
        Purpose::Backup => format!("{location} keeps backups: restore one to another place, or open it read-only"),
        Purpose::Unfinished => unfinished(&location),
    };
    Err(Error::new(ErrorKind::NotAStore, message))
}

/// Only the database that was opened is opened anew.
fn check_database(newest: &Manifest, setup: &Setup) -> Result<()> {
    match setup.database {
        Some(database) if database != newest.database => Err(another(&setup.backend.location())),
        _ => Ok(()),
    }
}

/// Another database is where one was that was open.
pub(crate) fn another(location: &str) -> Error {
    let message = format!("another database is at {location} now than the one that was opened there");
    Error::new(ErrorKind::NotAStore, message)
}

/// What a copy is that has not been finished.
pub(crate) fn unfinished(location: &str) -> String {
    format!("{location} holds a copy of a database that was not finished: make it again, to the same place")
}

fn on_top_of(newest: &Manifest, setup: &Setup, clock: &EngineClock) -> Manifest {
    clock.saw(newest.engine_time);
    let reign = newest.reign().claimed();
    let nonce = setup.random.next();
    let mut claim = newest.next(setup.random.next(), clock.trusted());
    assert_eq!(claim.number, reign.number, "a claim takes the next number");
    (claim.epoch, claim.kept_claims) = (reign.epoch, reign.kept_claims);
    claim.nonce = nonce;
    if let Some((window, step)) = setup.options.retention() {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        claim.retention = Retention { window: millis(window), step: millis(step) };
    }
    claim.follow(newest);
    claim
}

/// What the first claim of a new store starts from.
async fn first(setup: &Setup, clock: &EngineClock) -> Result<Manifest> {
    let backend = &*setup.backend;
    let empty = must_be_empty(backend).await;
    if !setup.options.create_if_missing {
        return Err(missing(backend, empty));
    }
    empty?;
    let proof = prove(backend, &setup.random, setup.single_writer).await?;
    let mut database = [0; 16];
    database[..8].copy_from_slice(&setup.random.next().to_le_bytes());
    database[8..].copy_from_slice(&setup.random.next().to_le_bytes());
    Ok(Manifest::nothing(database, setup.random.next(), clock.trusted(), proof))
}

/// Refuses to make a store where something else is, or where none is to be made, without leaving a trace there.
pub(super) async fn check_place(setup: &Setup) -> Result<()> {
    let backend = &*setup.backend;
    if !publish::list(backend).await?.is_empty() {
        return Ok(());
    }
    match must_be_empty(backend).await {
        // Another process may be making a store just now.
        Err(error) if error.kind() == ErrorKind::Corruption => Ok(()),
        outcome if !setup.options.create_if_missing => Err(missing(backend, outcome)),
        outcome => outcome,
    }
}

/// What a place without a manifest is, where none is to be made: no store, unless something of one is there.
fn missing(backend: &dyn Backend, empty: Result<()>) -> Error {
    match empty {
        Err(error) if error.kind() == ErrorKind::Corruption => error,
        _ => Error::new(ErrorKind::NotFound, format!("there is no store at {}", backend.location())),
    }
}

/// Refuses a store whose newest manifests are gone: what they named would count as a leftover, and be deleted.
///
/// Two things show it. A segment of a later epoch: each epoch begins with its manifest. And segments of the epoch of a
/// claim that was not followed, where the log it was to replay is gone: that is deleted only behind the next manifest.
/// (Where names are not durable, a power cut can leave the same; and so does a log that is kept elsewhere, and given up.)
fn none_is_missing(setup: &Setup, newest: &Manifest, segments: &[SegmentId]) -> Result<()> {
    let capabilities = setup.backend.capabilities();
    if !capabilities.durable_names {
        return Ok(());
    }
    let log = &newest.log;
    let (mut replayed, mut replayable) = (None, false);
    for &id in segments {
        if id.epoch > newest.epoch {
            return Err(manifest_missing(newest, id));
        }
        replayable |= (id.epoch, id.nonce) == (log.epoch, log.nonce) && id.number >= log.first_segment;
        if (id.epoch, id.nonce) == (newest.epoch, newest.nonce) && log.epoch < newest.epoch {
            replayed = Some(id);
        }
    }
    match replayed {
        Some(id) if capabilities.append && !replayable && !log.is_elsewhere(setup.backend.log_home()) => {
            Err(manifest_missing(newest, id))
        }
        _ => Ok(()),
    }
}

fn manifest_missing(newest: &Manifest, later: SegmentId) -> Error {
    let (later, name) = (Name::Segment(later), Name::Manifest(newest.number));
    Error::corruption(names::MANIFESTS, 0, format!("a manifest is missing: {later} is newer than the newest, {name}"))
}

/// Refuses to make a store where something else is.
pub(crate) async fn must_be_empty(backend: &dyn Backend) -> Result<()> {
    let foreign = |name: &str| {
        let location = backend.location();
        Error::new(ErrorKind::NotAStore, format!("{location} holds {name}, which is no part of a store"))
    };
    if let Some(name) = backend.foreign().await? {
        return Err(foreign(&name));
    }
    let mut listed = backend.list("");
    while let Some(meta) = listed.try_next().await? {
        let name = meta.path.as_str();
        if name.starts_with(PROOF_FOLDER) {
            continue;
        }
        return Err(match Name::parse(name) {
            Some(_) => Error::corruption(names::MANIFESTS, 0, format!("there is no manifest, but there is {name}")),
            None => foreign(name),
        });
    }
    Ok(())
}

const PROOF_FOLDER: &str = "proof/";

/// Proves that the backend creates a name only once and lists what was created: all safety against a second writer
/// stands on that.
pub(crate) async fn prove(backend: &dyn Backend, random: &Random, single_writer: bool) -> Result<Proof> {
    let path = Path::new(format!("{PROOF_FOLDER}{:016x}", random.next()))?;
    let bytes = |racer: usize| Bytes::from(format!("racer {racer}"));
    let racers = (0..RACERS).map(|racer| publish::create_named(backend, &path, bytes(racer)));
    let outcomes = join_all(racers).await;
    let mut winner = None;
    let mut winners = 0;
    for (racer, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(()) => {
                winners += 1;
                winner = Some(racer);
            }
            Err(error) if error.kind() == backends::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    let there = publish::read_all(backend, &path).await?;
    // The winner's answer may have been lost, so that it was told the name is taken; but nobody else's may be there.
    let kept = match winner {
        Some(winner) => there == bytes(winner),
        None => (0..RACERS).any(|racer| there == bytes(racer)),
    };
    let again = publish::create_named(backend, &path, Bytes::from_static(b"again")).await;
    let again_refused = match again {
        Ok(()) => false,
        Err(error) if error.kind() == backends::ErrorKind::AlreadyExists => true,
        // The store failed; that says nothing of what it promises.
        Err(error) => return Err(error.into()),
    };
    let kept = kept && publish::read_all(backend, &path).await? == there;
    let listed: Vec<_> = backend.list(PROOF_FOLDER.trim_end_matches('/')).try_collect().await?;
    let is_listed = listed.iter().any(|meta| meta.path == path);
    backend.delete(&path).await?;
    let create_if_absent = winners <= 1 && kept && again_refused;
    let passed = create_if_absent && is_listed;
    if !passed && !single_writer && !planted(Bug::ConditionIgnored) {
        let message = format!(
            "{} does not create names exclusively, so a second writer could not be kept out \
             (winners of {RACERS} racing creates={winners} the winner's bytes kept={kept} \
             second create refused={again_refused} listed={is_listed}); \
             declare a single writer if there never is more than one",
            backend.location()
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(Proof { create_if_absent, listed: is_listed, single_writer_declared: single_writer })
}
