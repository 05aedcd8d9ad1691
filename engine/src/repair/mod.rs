//! Repair: brings whatever is still whole of a damaged store into a new one.
//!
//! Nothing is believed but checksums. Every record's is bound to its segment and its offset in it, so a record that is
//! whole is known for one wherever it stands: the [`salvage`] goes on behind damage with the next byte at which one
//! begins, without index, hints or footer. The newest manifest that can be read says which [`files`] belong to the
//! database; where there is none, all that are there do. Of each key the record with the highest sequence number stands.
//!
//! The damaged store is only read.

mod files;
mod salvage;

use crate::cover::{Cover, CoverList, Stretch};
use crate::db::Db;
use crate::format::frame::{Kind, Record};
use crate::turn::Turn;
use crate::value::Value;
use crate::{Builder, Durability, Error, ErrorKind, Result, Seq, WriteBatch, WriteOptions};
use bytes::Bytes;
use files::{File, Files};
use halite_backends::Backend;
use salvage::{Found, Salvage};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of keys and values that are written at once.
const BATCH_BYTES: usize = 1 << 20;

/// What a [`repair`] has brought over, and what is lost.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{RepairReport, backends::Memory};
/// use std::sync::Arc;
/// let (damaged, target) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
/// # let db = halite::Db::builder(damaged.clone()).open().await?;
/// # db.put("key", "value").await?;
/// # db.close().await?;
/// let RepairReport { keys, lost_bytes, losses, .. } = halite::repair(damaged, target).await?;
/// println!("{keys} keys, {lost_bytes} bytes lost in {} places", losses.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Files that were read, manifests apart.
    pub files: u64,
    /// Records that were whole, superseded ones and tombstones included.
    pub records: u64,
    /// Keys that are in the new store.
    pub keys: u64,
    /// Bytes in which no record was to be found.
    pub lost_bytes: u64,
    /// What was damaged or missing, and what that means.
    pub losses: Vec<Loss>,
}

/// Something that could not be brought over.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Loss, backends::Memory};
/// use std::sync::Arc;
/// let (damaged, target) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
/// # let db = halite::Db::builder(damaged.clone()).open().await?;
/// # db.close().await?;
/// for Loss { file, offset, bytes, what, .. } in halite::repair(damaged, target).await?.losses {
///     println!("{file}: {bytes} bytes at {offset}: {what}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The file, as the backend names it.
    pub file: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes are concerned.
    pub bytes: u64,
    /// What was found.
    pub what: String,
}

/// Reads what is whole of the store on `damaged`, and writes it into a new store on `target`.
///
/// All that a checksum vouches for comes over: keys, values, expiries. A key whose newest record is lost shows an older
/// value, or none; one whose delete is lost may come back; of a batch there may be a part. Where a part of the log is missing,
/// what stands behind it comes over too, though a database would have ended there. So look at the report before the new store
/// takes the old one's place. Sequence numbers begin anew, and checkpoints do not come along.
///
/// Takes some 50 bytes of memory for each key that was ever written and, where files are not mapped, that of the largest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, backends::Memory};
/// use std::sync::Arc;
/// let (damaged, target) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
/// # let db = Db::builder(damaged.clone()).open().await?;
/// # db.put("key", "value").await?;
/// # db.close().await?;
/// let report = halite::repair(damaged, target.clone()).await?;
/// assert_eq!((report.keys, report.losses.len()), (1, 0));
/// let db = Db::builder(target).open().await?;
/// # assert!(db.contains("key").await?);
/// # db.close().await
/// # }
/// ```
///
/// # Errors
/// `InUse` where the damaged store is open; `NotFound` where there is none; `AlreadyExists` where `target` holds a store;
/// `Unsupported` where this build lacks a codec that values are compressed with; `Io`, `NoSpace` and `PermissionDenied`
/// as the storage says. Damage is not an error but in the report.
///
/// # Cancel safety
/// Dropped, the damaged store is as it was; what was begun on `target` is to be removed.
pub async fn repair(damaged: Arc<dyn Backend>, target: Arc<dyn Backend>) -> Result<RepairReport> {
    let _lock = match damaged.capabilities().lock {
        true => Some(damaged.lock().await?),
        false => None,
    };
    let mut report = RepairReport::default();
    let files = Files::find(&*damaged, &mut report).await?;
    if !crate::publish::list(&*target).await?.is_empty() {
        let message = format!("there is a store at {} already: repair needs a new one", target.location());
        return Err(Error::new(ErrorKind::AlreadyExists, message));
    }
    let mut newest = newest(&*damaged, &files, &mut report).await?;
    let new = Builder::new(target).seen(files.engine_time).open().await?;
    let copied = copy(&*damaged, &files, &mut newest, &new, &mut report).await;
    let closed = new.close().await;
    copied?;
    closed?;
    Ok(report)
}

/// The sequence number of each key's newest record, by the key's hash, and what was deleted by ranges.
#[derive(Default)]
struct Newest {
    keys: HashMap<u128, Seq>,
    /// Range tombstones, in any order.
    ranges: Vec<Stretch>,
}

impl Newest {
    /// What the range tombstones cover.
    fn cover(&mut self) -> Cover {
        self.ranges.sort_by_key(|stretch| stretch.seq);
        let mut list = CoverList::default();
        self.ranges.drain(..).for_each(|stretch| list.push(stretch));
        list.whole_cover()
    }
}

fn hash(key: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(key)
}

/// Reads everything once, and reports what cannot be read.
async fn newest(damaged: &dyn Backend, files: &Files, report: &mut RepairReport) -> Result<Newest> {
    let mut newest = Newest { ranges: files.ranges.clone(), ..Newest::default() };
    for file in &files.files {
        let Some(bytes) = file.read(damaged, report).await? else { continue };
        report.files += 1;
        let mut salvage = Salvage::new(file, &bytes);
        while let Some(found) = salvage.next().await {
            match found {
                Found::Record(_, record) => {
                    report.records += 1;
                    if record.kind == Kind::RangeTombstone {
                        let end = (!record.value.is_empty()).then(|| Bytes::copy_from_slice(record.value));
                        let start = Bytes::copy_from_slice(record.key);
                        newest.ranges.push(Stretch { start, end, seq: record.seq });
                        continue;
                    }
                    let seq = newest.keys.entry(hash(record.key)).or_default();
                    *seq = record.seq.max(*seq);
                }
                Found::Lost { offset, bytes, what } => report.lose(file, offset, bytes, what),
            }
        }
    }
    Ok(newest)
}

/// Reads everything again, and writes the newest of each key.
async fn copy(
    damaged: &dyn Backend,
    files: &Files,
    newest: &mut Newest,
    new: &Db,
    report: &mut RepairReport,
) -> Result<()> {
    // As far as that is certain: what has expired since shows in the new store no more than it did here.
    let now = new.core().clock.trusted();
    let cover = newest.cover();
    let newest = &mut newest.keys;
    let mut batch = Batch::new(new);
    for file in &files.files {
        let Some(bytes) = file.read(damaged, &mut RepairReport::default()).await? else { continue };
        let mut salvage = Salvage::new(file, &bytes);
        while let Some(found) = salvage.next().await {
            let Found::Record(offset, record) = found else { continue };
            if record.kind == Kind::RangeTombstone {
                continue;
            }
            // A merge that was not finished leaves records twice.
            let hash = hash(record.key);
            if newest.get(&hash) != Some(&record.seq) || newest.remove(&hash).is_none() {
                continue;
            }
            let is_deleted = record.kind == Kind::Tombstone || cover.over(record.key) > record.seq;
            if is_deleted || record.expires_at.is_some_and(|at| at <= now) {
                continue;
            }
            match value(file, &bytes, offset, &record).await {
                Ok(value) => batch.put(&record, &value).await?,
                Err(error) if error.kind() == ErrorKind::Corruption => {
                    report.lose(file, file.offset_in_file(offset), record.len as u64, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }
    report.keys = batch.finish().await?;
    Ok(())
}

async fn value(file: &File, bytes: &Bytes, offset: u64, record: &Record<'_>) -> Result<Bytes> {
    let place = || Some((file.path.clone(), file.offset_in_file(offset)));
    Value::new(bytes.slice_ref(record.value), record.compressed, place).read().await
}

impl RepairReport {
    fn lose(&mut self, file: &File, offset: u64, bytes: u64, what: String) {
        self.lost_bytes += bytes;
        self.losses.push(Loss { file: file.path.to_string(), offset, bytes, what });
    }
}

/// Writes many records at once.
struct Batch<'a> {
    db: &'a Db,
    batch: WriteBatch,
    bytes: usize,
    written: u64,
    turn: Turn,
}

impl<'a> Batch<'a> {
    fn new(db: &'a Db) -> Batch<'a> {
        Batch { db, batch: WriteBatch::new(), bytes: 0, written: 0, turn: Turn::default() }
    }

    async fn put(&mut self, record: &Record<'_>, value: &[u8]) -> Result<()> {
        let expires_at = record.expires_at.unwrap_or(u64::MAX);
        self.batch.push_put(record.key, value, Some(expires_at));
        self.bytes += record.key.len() + value.len();
        if self.bytes >= BATCH_BYTES {
            self.write().await?;
        }
        self.turn.take(value.len()).await;
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.written += batch.len() as u64;
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        self.db.write_with(batch, deferred).await
    }

    async fn finish(mut self) -> Result<u64> {
        self.write().await?;
        self.db.flush().await?;
        Ok(self.written)
    }
}
