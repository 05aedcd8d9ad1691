//! Verification: reads what the store keeps and reports every place that is damaged.
//!
//! There are two ways to look. By *records*, everything in the sealed segments is decoded and held against everything else,
//! so that damage is told by its place. By *digests*, the bytes of each file are held against what the manifests name:
//! those prove that a file is the one that was written. The manifests are proved by each other, as each one names the
//! digest of the one before it and of those that are kept; and the newest one by what somebody has noted elsewhere.

use crate::format::digest::Digest;
use crate::format::manifest::{Manifest, Past, SegmentMeta};
use crate::format::names::Name;
use crate::publish::{self, Publisher};
use crate::segment::{Files, Findings, MISSING, Segment, what_of};
use crate::version::Version;
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use halite_backends::{Backend, Path, Purpose};
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a [verification](crate::Db::verify_with) is to be done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::VerifyOptions;
/// use std::num::NonZeroU64;
/// let db = halite::Db::open("mem:").await?;
/// let gently = VerifyOptions { bytes_per_second: NonZeroU64::new(50 << 20), ..VerifyOptions::default() };
/// assert!(db.verify_with(gently, |_| {}).await?.damage.is_empty());
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Decodes all records of the database and holds them against checksums, index and manifest. On by default.
    pub records: bool,
    /// Computes the digest of each segment, in ranged reads of 1 MiB, and holds it against what the manifest names; those
    /// of checkpoints included, and the manifests that are kept. Off by default.
    pub digests: bool,
    /// Bytes that it may read a second, on average since its beginning; as fast as it goes if `None`, the default.
    pub bytes_per_second: Option<NonZeroU64>,
    /// A manifest that was noted before, and must be among those that are kept. None by default.
    pub anchor: Option<Anchor>,
}

impl Default for VerifyOptions {
    fn default() -> VerifyOptions {
        VerifyOptions { records: true, digests: false, bytes_per_second: None, anchor: None }
    }
}

/// A manifest, as somebody noted it outside the store: that of a [`Checkpoint`](crate::Checkpoint), or the newest one, which
/// a [`VerifyReport`] tells.
///
/// What the store cannot prove by itself is that it is not an older state of itself, or another store: a manifest of a
/// known digest can.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Anchor, VerifyOptions};
/// let db = halite::Db::open("mem:").await?;
/// let noted = db.checkpoint("monday").await?.anchor.to_string(); // where nobody can change it
/// let anchor: Anchor = noted.parse().expect("it was noted so");
/// let options = VerifyOptions { anchor: Some(anchor), ..VerifyOptions::default() };
/// assert!(db.verify_with(options, |_| {}).await?.damage.is_empty());
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The manifest's number.
    pub manifest: u64,
    /// Its digest.
    pub digest: Digest,
}

/// As the command line takes it: `NUMBER:DIGEST`.
impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.manifest, self.digest)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Anchor, String> {
        let parts = text.split_once(':').and_then(|(number, digest)| Some((number.parse().ok()?, digest)));
        let Some((manifest, digest)) = parts else {
            return Err(format!("not a manifest's number, a colon and its digest given={text:?}"));
        };
        Ok(Anchor { manifest, digest: digest.parse()? })
    }
}

/// A damaged place.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// for halite::Damage { file, offset, what, .. } in db.verify().await?.damage {
///     eprintln!("{file} at {offset}: {what}");
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file, as the backend names it.
    pub file: String,
    /// The offset in it.
    pub offset: u64,
    /// What was expected and what was found.
    pub what: String,
}

/// What a verification has found.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// db.compact().await?; // what is sealed is verified
/// let report = db.verify().await?;
/// assert_eq!((report.segments, report.records, report.damage.len()), (1, 1, 0));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Segments whose digest was computed.
    pub digests: u64,
    /// Manifests whose digest was computed.
    pub manifests: u64,
    /// The newest manifest when it began, to be noted as an [`Anchor`]; only where digests were asked for.
    pub newest: Option<Anchor>,
    /// Every damaged place. Empty: all is well.
    pub damage: Vec<Damage>,
}

/// How far a verification has come.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{VerifyOptions, VerifyProgress};
/// let db = halite::Db::open("mem:").await?;
/// let tell = |at: VerifyProgress| println!("{} of {} segments", at.segments, at.segments_total);
/// db.verify_with(VerifyOptions::default(), tell).await?;
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments that are done.
    pub segments: u64,
    /// Segments there are.
    pub segments_total: u64,
    /// Bytes that have been read.
    pub bytes: u64,
    /// Bytes there are: each as often as it is to be read.
    pub bytes_total: u64,
    /// Records that have been read.
    pub records: u64,
    /// Damaged places found in the segments that are done.
    pub damage: u64,
}

/// Keeps reading within a rate, on average since the beginning.
#[derive(Debug)]
pub(crate) struct ReadPace {
    begun: Instant,
    rate: Option<NonZeroU64>,
}

impl ReadPace {
    pub(crate) fn new(rate: Option<NonZeroU64>) -> ReadPace {
        ReadPace { begun: Instant::now(), rate }
    }

    /// Waits until `bytes` may have been read since the beginning.
    async fn until(&self, bytes: u64) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
            tokio::time::sleep_until(self.begun + due).await;
        }
    }
}

/// Hears how far the reading of one segment has come.
pub(crate) struct Beat<'a> {
    /// How far all had come before it.
    before: VerifyProgress,
    pace: &'a ReadPace,
    progress: &'a mut (dyn FnMut(VerifyProgress) + Send),
}

impl Beat<'_> {
    /// So many bytes and records of the segment have been read.
    pub(crate) async fn at(&mut self, bytes: u64, records: u64) {
        let before = self.before;
        let (bytes, records) = (before.bytes + bytes, before.records + records);
        (self.progress)(VerifyProgress { bytes, records, ..before });
        self.pace.until(bytes).await;
    }
}

/// The digest of the segment's file, at full speed.
pub(crate) async fn digest(segment: &Segment) -> Result<Digest> {
    let pace = ReadPace::new(None);
    segment.digest(&mut Beat { before: VerifyProgress::default(), pace: &pace, progress: &mut |_| {} }).await
}

/// Every damaged place of the segment, at full speed.
pub(crate) async fn findings(segment: &Segment) -> Result<Findings> {
    let pace = ReadPace::new(None);
    segment.verify(&mut Beat { before: VerifyProgress::default(), pace: &pace, progress: &mut |_| {} }).await
}

/// The store that is verified.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) files: &'a Arc<Files>,
    pub(crate) version: &'a Version,
    /// Where its writer looks for its newest manifest; others look at what is there.
    pub(crate) publisher: Option<&'a Publisher>,
}

impl Store<'_> {
    async fn newest(&self) -> Result<Manifest> {
        match self.publisher {
            Some(publisher) => Ok(publisher.look(Clone::clone)),
            None => publish::newest(self.backend).await?.ok_or_else(|| publish::no_store(self.backend)),
        }
    }
}

/// Verifies the sealed segments of the store, one after the other, and tells `progress` now and then how far it is.
#[tracing::instrument(target = "halite", level = "info", skip_all)]
pub(crate) async fn verify(
    store: Store<'_>,
    options: VerifyOptions,
    progress: impl FnMut(VerifyProgress) + Send,
) -> Result<VerifyReport> {
    let mut ids = HashSet::new();
    for segment in store.version.segments() {
        if !ids.insert(segment.meta.id) {
            return Err(Error::new(
                ErrorKind::Corruption,
                format!("segment {} stands in the version twice", segment.meta.id),
            ));
        }
    }
    let pace = ReadPace::new(options.bytes_per_second);
    let mut verification =
        Verification { report: VerifyReport::default(), total: VerifyProgress::default(), pace, progress };
    let mut past = Vec::new();
    if options.digests || options.anchor.is_some() {
        past = verification.manifests(&store, options.anchor).await?;
        past.retain(|(_, meta)| options.digests && ids.insert(meta.id));
    }
    let passes = u64::from(options.records) + u64::from(options.digests);
    verification.expect(store.version.segments().map(|segment| &segment.meta), passes);
    verification.expect(past.iter().map(|(_, meta)| meta), 1);
    (verification.progress)(verification.total);
    for segment in store.version.segments() {
        verification.segment(&segment.read_for(Purpose::Verify), options).await?;
    }
    for (number, meta) in past {
        let segment = Segment::new(store.files, &meta).read_for(Purpose::Verify);
        let so_far = verification.report.clone();
        match verification.digest(&segment).await {
            Err(error) if error.kind() == ErrorKind::NotFound => verification.damage(segment.path(), 0, MISSING),
            outcome => outcome?,
        }
        let is_bad = verification.report.damage.len() > so_far.damage.len();
        // It may have been let go of meanwhile.
        if is_bad && !is_kept(&store.newest().await?, number) {
            verification.report = so_far;
        }
    }
    Ok(verification.report)
}

fn is_kept(newest: &Manifest, number: u64) -> bool {
    newest.past.iter().any(|past| past.number == number)
}

struct Verification<F> {
    report: VerifyReport,
    total: VerifyProgress,
    pace: ReadPace,
    progress: F,
}

impl<F: FnMut(VerifyProgress) + Send> Verification<F> {
    fn expect<'a>(&mut self, metas: impl Iterator<Item = &'a SegmentMeta>, passes: u64) {
        for meta in metas {
            self.total.segments_total += 1;
            self.total.bytes_total += meta.len * passes;
        }
    }

    fn damage(&mut self, file: &Path, offset: u64, what: impl Into<String>) {
        self.report.damage.push(Damage { file: file.to_string(), offset, what: what.into() });
    }

    /// Reads one segment, as often as it is asked for.
    async fn segment(&mut self, segment: &Segment, options: VerifyOptions) -> Result<()> {
        if options.records {
            let found = segment.verify(&mut self.beat()).await?;
            self.read(segment.meta.len).await;
            self.report.records += found.records;
            for damage in found.damage {
                self.damage(segment.path(), damage.offset, damage.what);
            }
        }
        if options.digests {
            self.digest(segment).await?;
        } else {
            self.done();
        }
        Ok(())
    }

    /// Holds the digest of the segment's file against what the manifest names.
    async fn digest(&mut self, segment: &Segment) -> Result<()> {
        let read = segment.digest(&mut self.beat()).await;
        self.read(segment.meta.len).await;
        let expected = segment.meta.digest;
        match read {
            Ok(found) if found == expected => {}
            Ok(found) => self.damage(segment.path(), 0, format!("digest expected={expected} found={found}")),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                let offset = error.place().map_or(0, |(_, offset)| offset);
                self.damage(segment.path(), offset, what_of(&error));
            }
            Err(error) => return Err(error),
        }
        self.report.digests += 1;
        self.done();
        Ok(())
    }

    fn done(&mut self) {
        self.report.segments += 1;
        let at = self.at();
        (self.progress)(at);
    }

    /// How far it has come with what is done.
    fn at(&self) -> VerifyProgress {
        let VerifyReport { segments, bytes, records, damage, .. } = &self.report;
        let damage = damage.len() as u64;
        VerifyProgress { segments: *segments, bytes: *bytes, records: *records, damage, ..self.total }
    }

    /// What the reading of the next segment tells.
    fn beat(&mut self) -> Beat<'_> {
        Beat { before: self.at(), pace: &self.pace, progress: &mut self.progress }
    }

    /// So many bytes more have been read.
    async fn read(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        self.pace.until(self.report.bytes).await;
    }

    /// Verifies the manifests that are kept, and gives the segments that they name, each with the manifest's number.
    async fn manifests(&mut self, store: &Store<'_>, anchor: Option<Anchor>) -> Result<Vec<(u64, SegmentMeta)>> {
        let newest = loop {
            let newest = store.newest().await?;
            match bytes_of(store.backend, newest.number).await? {
                Some(bytes) => {
                    self.manifest(newest.number, newest.digest(), &bytes);
                    break newest;
                }
                // It has been followed by another one, and deleted.
                None if store.newest().await?.number != newest.number => {}
                None => {
                    self.missing(newest.number);
                    break newest;
                }
            }
        };
        self.report.newest = Some(Anchor { manifest: newest.number, digest: newest.digest() });
        if let Some(anchor) = anchor {
            self.anchor(&newest, anchor)?;
        }
        let mut named = Vec::new();
        for Past { number, digest, .. } in newest.past.iter().rev() {
            match bytes_of(store.backend, *number).await? {
                Some(bytes) if self.manifest(*number, *digest, &bytes) => {
                    // It is what it was, so it can be decoded.
                    if let Ok(manifest) = Manifest::decode(&bytes) {
                        named.extend(manifest.segments().map(|meta| (*number, meta.clone())));
                    }
                }
                Some(_) => {}
                None if is_kept(&store.newest().await?, *number) => self.missing(*number),
                None => {}
            }
        }
        Ok(named)
    }

    /// Holds the bytes of manifest `number` against its digest. True where they are right.
    fn manifest(&mut self, number: u64, expected: Digest, bytes: &Bytes) -> bool {
        self.report.manifests += 1;
        let found = Digest::of(bytes);
        if found != expected {
            let what = format!("digest expected={expected} found={found}");
            self.damage(&Name::Manifest(number).path(), 0, what);
        }
        found == expected
    }

    fn missing(&mut self, number: u64) {
        self.damage(&Name::Manifest(number).path(), 0, "a manifest that is to be kept is missing");
    }

    /// Looks for a manifest that was noted before.
    fn anchor(&mut self, newest: &Manifest, anchor: Anchor) -> Result<()> {
        let Anchor { manifest: number, digest: expected } = anchor;
        let path = Name::Manifest(number).path();
        if number > newest.number {
            let what = format!("the store was rolled back: its newest manifest is {}", newest.number);
            self.damage(&path, 0, what);
            return Ok(());
        }
        match newest.digest_of(number) {
            Some(found) if found == expected => Ok(()),
            Some(found) => {
                self.damage(&path, 0, format!("not the manifest that was noted expected={expected} found={found}"));
                Ok(())
            }
            None => {
                let message =
                    format!("manifest {number} is not kept, so nothing can be proved by it: note a checkpoint's");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// The bytes of manifest `number`, if it is there.
async fn bytes_of(backend: &dyn Backend, number: u64) -> Result<Option<Bytes>> {
    match publish::read_all(backend, &Name::Manifest(number).path()).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
