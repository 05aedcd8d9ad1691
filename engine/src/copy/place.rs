//! Where a copy is made: the target, from an empty place to a store.

use super::{Brought, CopyReport, Source, closed_log, refused, transfer};
use crate::core::Epoch;
use crate::cover::{self, Cover};
use crate::format::Damage;
use crate::format::manifest::{Manifest, Purpose, SegmentMeta};
use crate::format::names::{self, Name, SegmentId};
use crate::memtable::Memtable;
use crate::random::Random;
use crate::recovery::claim;
use crate::segment::{Files, Segment};
use crate::stores::{self, Stores};
use crate::{Error, ErrorKind, Result, publish, seal};
use futures::TryStreamExt;
use halite_backends::{Backend, Lock, Path, Purpose as Use};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The target of a copy.
#[derive(Debug)]
pub(super) struct Place {
    backend: Arc<dyn Backend>,
    /// Its newest manifest, ours if it has changed since.
    pub(super) manifest: Manifest,
    files: Arc<Files>,
    /// Segments that are there, and their lengths.
    there: HashMap<SegmentId, u64>,
    /// Whether what is there was left by a copy that was not finished, of which nothing has been told yet.
    is_resumed: bool,
    /// Keeps other copies away, where the storage can.
    _lock: Option<Box<dyn Lock>>,
}

impl Place {
    /// Opens `backend` as the place of a copy of `source`, which it may have been before, or makes it one.
    pub(super) async fn open(backend: Arc<dyn Backend>, source: &Source, purpose: Purpose) -> Result<Place> {
        let backend = stores::for_one(backend, Use::Copy);
        let location = backend.location();
        let check = |manifest: &Manifest| check(manifest, source, purpose, &location);
        // First, as a lock leaves a file.
        match publish::newest(&*backend).await? {
            None => claim::must_be_empty(&*backend).await?,
            Some(newest) => check(&newest)?,
        }
        let lock = lock(&*backend).await?;
        let manifest = match publish::newest(&*backend).await? {
            None => begin(&*backend, source, purpose).await?,
            Some(newest) => newest,
        };
        check(&manifest)?;
        Place::of(backend, manifest, lock).await
    }

    /// Opens the backups in `backend`.
    pub(super) async fn open_backup(backend: Arc<dyn Backend>) -> Result<Place> {
        let backend = stores::for_one(backend, Use::Copy);
        let location = backend.location();
        let newest = publish::newest(&*backend).await?;
        let newest = newest.ok_or_else(|| refused(ErrorKind::NotFound, &location, "holds no backups"))?;
        if newest.purpose != Purpose::Backup {
            return Err(refused(ErrorKind::NotAStore, &location, "holds something other than backups"));
        }
        let lock = lock(&*backend).await?;
        let manifest = publish::newest(&*backend).await?.ok_or_else(|| vanished(&location))?;
        Place::of(backend, manifest, lock).await
    }

    async fn of(backend: Arc<dyn Backend>, manifest: Manifest, lock: Option<Box<dyn Lock>>) -> Result<Place> {
        backend.tidy().await?;
        let is_resumed = manifest.purpose == Purpose::Unfinished;
        let files = Arc::new(Files::new(Stores::untold(backend.clone()), manifest.database, manifest.hash_seed, 0));
        let mut place = Place { backend, manifest, files, there: HashMap::new(), is_resumed, _lock: lock };
        place.look().await?;
        Ok(place)
    }

    pub(super) fn location(&self) -> String {
        self.backend.location()
    }

    /// Looks which segments are there.
    async fn look(&mut self) -> Result<()> {
        let mut there = HashMap::new();
        let mut listed = self.backend.list(names::SEGMENTS);
        while let Some(meta) = listed.try_next().await? {
            if let Some(Name::Segment(id)) = Name::parse(meta.path.as_str()) {
                there.insert(id, meta.len);
            }
        }
        drop(listed);
        self.there = there;
        Ok(())
    }

    /// Sees to it that `segment` is there.
    pub(super) async fn bring(&mut self, segment: &Segment, share: bool, report: &mut CopyReport) -> Result<()> {
        let meta = &segment.meta;
        if self.has(meta).await? {
            report.segments_kept += 1;
            report.bytes_kept += meta.len;
            return Ok(());
        }
        if share && transfer::share(segment, &*self.backend).await? {
            report.segments_shared += 1;
            report.bytes_shared += meta.len;
        } else {
            transfer::copy(segment, &*self.backend, &self.files).await?;
            report.segments_copied += 1;
            report.bytes_copied += meta.len;
        }
        self.there.insert(meta.id, meta.len);
        Ok(())
    }

    /// Whether the segment is there and as it should be. What is not is removed.
    async fn has(&self, meta: &SegmentMeta) -> Result<bool> {
        if !self.there.contains_key(&meta.id) {
            return Ok(false);
        }
        let outcome = match self.open_segment(meta).await {
            // Nobody has verified what a copy has left that did not come to its end.
            Ok(segment) if self.is_resumed || !self.is_known(meta.id) => transfer::is_whole(&segment).await,
            opened => opened.map(|_| true),
        };
        match outcome {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::Corruption => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(segment = %meta.id, "a damaged segment of the copy is made anew");
        self.backend.delete(&Name::Segment(meta.id).path()).await?;
        Ok(false)
    }

    /// Whether a manifest of the target has told of the segment.
    fn is_known(&self, id: SegmentId) -> bool {
        let name = Name::Segment(id).to_string();
        self.manifest.segments().any(|meta| meta.id == id)
            || self.manifest.retired.iter().any(|retired| retired.name == name)
    }

    async fn open_segment(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let segment = Segment::new(&self.files, meta);
        segment.open().await?;
        Ok(segment)
    }

    /// Writes what `memtable` holds, and `cover` does not delete, as a segment under a name that nothing else has; `None`
    /// where nothing is left.
    pub(super) async fn write(
        &self,
        source: &Source,
        memtable: &Memtable,
        cover: &Cover,
    ) -> Result<Option<SegmentMeta>> {
        let Manifest { database, hash_seed, epoch, .. } = source.manifest;
        let nonce = source.random.next();
        let epoch = Epoch { database, hash_seed, epoch, nonce };
        let (id, salt) = (epoch.segment(1), source.random.next());
        let written = seal::write_sorted(&*self.backend, &epoch, memtable, cover, id, salt, source.time).await?;
        let written = written.map(|tail| tail.meta);
        if let Some(meta) = &written {
            let segment = self.open_segment(meta).await?;
            if !transfer::is_whole(&segment).await? {
                return Err(segment.corrupt(Damage::new(0, "what was written is not what is read back")));
            }
        }
        Ok(written)
    }

    /// Publishes that the target holds what was brought there.
    pub(super) async fn publish(
        &mut self,
        source: &Source,
        brought: Brought,
        edit: impl FnOnce(&mut Manifest),
    ) -> Result<()> {
        let change = |manifest: &mut Manifest| {
            manifest.epoch = manifest.epoch.max(source.manifest.epoch);
            manifest.nonce = source.manifest.nonce;
            manifest.engine_time = manifest.engine_time.max(source.time);
            manifest.history_from = brought.history_from;
            manifest.runs = brought.runs;
            manifest.range_tombstones = source.manifest.range_tombstones.clone();
            // Older backups may hold later commits, of a history that was given up when one before them was restored.
            let held = manifest.checkpoints.iter().map(|checkpoint| checkpoint.seq).max().unwrap_or(0);
            manifest.log = closed_log(&source.manifest, manifest.epoch, brought.seq.max(held));
            cover::note(manifest, &brought.cover);
            edit(manifest);
        };
        self.change(&source.random, change).await
    }

    /// Publishes `edit` of the newest manifest, and makes sure that all it names is there.
    pub(super) async fn change(&mut self, random: &Random, edit: impl FnOnce(&mut Manifest)) -> Result<()> {
        let mut next = self.manifest.next(random.next(), self.manifest.engine_time);
        // What a run before has deleted need not be listed any more.
        self.look().await?;
        next.retired.retain(|retired| match Name::parse(&retired.name) {
            Some(Name::Segment(id)) => self.there.contains_key(&id),
            _ => false,
        });
        edit(&mut next);
        next.follow(&self.manifest);
        next.take_back();
        let created = publish::create(&*self.backend, &next).await.map_err(|error| under_way(&*self.backend, error))?;
        publish::forget_older(&*self.backend, &created.listed, &next).await;
        self.manifest = next;
        // Without a lock another copy may have collected what it did not know.
        self.look().await?;
        match self.manifest.segments().find(|meta| self.there.get(&meta.id) != Some(&meta.len)) {
            None => Ok(()),
            Some(meta) => Err(Error::corruption(
                Name::Segment(meta.id).path(),
                0,
                "a segment of the copy has vanished: was another copy made at the same time? make it again",
            )),
        }
    }

    /// Deletes what no backup needs.
    pub(super) async fn collect(&mut self) -> Result<()> {
        let named: HashSet<SegmentId> = self.manifest.segments().map(|meta| meta.id).collect();
        let held = self.manifest.retired.iter().filter(|retired| self.manifest.holds(retired));
        let held: HashSet<&str> = held.map(|retired| &*retired.name).collect();
        let mut superfluous: Vec<Path> = Vec::new();
        for id in self.there.keys().filter(|id| !named.contains(id)) {
            let path = Name::Segment(*id).path();
            if !held.contains(path.as_str()) {
                superfluous.push(path);
            }
        }
        superfluous.sort_unstable();
        for path in superfluous {
            self.backend.delete(&path).await?;
        }
        Ok(())
    }
}

/// Whether the store of that manifest may take a copy of `source`.
fn check(manifest: &Manifest, source: &Source, purpose: Purpose, location: &str) -> Result<()> {
    if manifest.purpose != purpose {
        let why = if purpose == Purpose::Backup { "holds something other than backups" } else { "is not empty" };
        return Err(refused(ErrorKind::AlreadyExists, location, why));
    }
    if (manifest.database, manifest.hash_seed) != (source.manifest.database, source.manifest.hash_seed) {
        return Err(refused(ErrorKind::InvalidInput, location, "is for copies of another database"));
    }
    Ok(())
}

async fn lock(backend: &dyn Backend) -> Result<Option<Box<dyn Lock>>> {
    if backend.capabilities().lock { Ok(Some(backend.lock().await?)) } else { Ok(None) }
}

/// Whoever has created our manifest's number makes a copy, too.
fn under_way(backend: &dyn Backend, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Fenced => {
            let message = format!("another copy to {} is under way", backend.location());
            Error::caused_by(ErrorKind::InUse, message, error)
        }
        _ => error,
    }
}

fn vanished(location: &str) -> Error {
    refused(ErrorKind::InUse, location, "has lost its manifests meanwhile")
}

/// The first manifest of the target: what it is to become a copy of.
async fn begin(backend: &dyn Backend, source: &Source, purpose: Purpose) -> Result<Manifest> {
    let proof = claim::prove(backend, &source.random, false).await?;
    let Manifest { database, hash_seed, created, epoch, nonce, .. } = source.manifest;
    let manifest = Manifest {
        number: 1,
        epoch,
        nonce,
        write_nonce: source.random.next(),
        engine_time: source.time,
        log: closed_log(&source.manifest, epoch, 0),
        purpose,
        ..Manifest::nothing(database, hash_seed, created, proof)
    };
    publish::create(backend, &manifest).await.map_err(|error| under_way(backend, error))?;
    Ok(manifest)
}
