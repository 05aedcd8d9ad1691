//! Carries the log of the last epoch over into this one.
//!
//! An unsealed segment is copied to an unsealed segment of this epoch: the same frames at the same offsets under the same
//! salt, so that every checksum stays, and behind them an end mark. That is what a full segment of this epoch would be
//! that waits for its seal, and its seal is what brings it into the manifest, later, beside reads and writes. So nobody
//! waits for its keys to be put in order.
//!
//! The file is written while its records are being read into the memtable; neither waits for the other.
//!
//! # Guarantees
//! A copy is durable, header and end mark included, before it is given to the caller, and so before any manifest names
//! this epoch's log. Its end mark says so: a hole in it is damage, and never a torn tail.
//!
//! # After a crash
//! Before the manifest that names this epoch's log the next opening finds the old log, and the copies are leftovers.
//! After it, it finds the copies, sealed or not, as the beginning of this epoch's log.

use super::replay::in_body;
use crate::commit::{Draft, Sealable, Source};
use crate::cover::Cover;
use crate::format::header::{Header, Predecessor};
use crate::format::manifest::SegmentMeta;
use crate::format::mark::{END_LEN, End};
use crate::format::names::Name;
use crate::memtable::Memtable;
use crate::segment::{LogFile, filters};
use crate::{Result, seal};
use bytes::{Bytes, BytesMut};
use futures::future::join;
use halite_backends::{self as backends, Backend};
use std::sync::Arc;
use tokio::sync::watch;

/// How much of a log is handed to the storage at once.
pub(super) const COPY_LEN: u64 = 4 << 20;

/// A full segment of this epoch that holds what one of the last epoch held, and waits for its seal.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) draft: Arc<Draft>,
    file: LogFile,
    /// Where its log ends, end mark included.
    end: u64,
}

impl Carried {
    /// What the segment after it says of it.
    pub(crate) fn as_predecessor(&self) -> Predecessor {
        Predecessor { number: self.draft.id().number, len: self.end, last_seq: self.draft.memtable.max_seq() }
    }

    /// Bytes that wait for the seal.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// To be sealed in the background; `successor` is the number of the segment that comes next.
    pub(crate) fn into_sealable(self, successor: u64) -> Sealable {
        let source = Source::File { appender: Some(self.file), end: self.end };
        Sealable::new(self.draft, source, successor)
    }

    /// Seals it now, as one of so many `runs`; `None` where its own range tombstones, which are `cover`, cover all of it.
    pub(super) async fn seal(self, backend: &dyn Backend, cover: &Cover, runs: usize) -> Result<Option<SegmentMeta>> {
        let passing = filters::share_of_one(runs);
        let meta = seal::seal_in_place(&self.draft, cover, &mut Some(self.file), self.end, passing).await?;
        if let Some(meta) = &meta {
            seal::ship(backend, meta).await?;
        }
        Ok(meta)
    }
}

/// Carries a segment over as the one that `header` tells of; `None` where it holds no committed record. `index` reads its
/// records into the memtable, tells which bytes of the log it knows by now, and returns where that ends.
pub(super) async fn carry_over<I>(
    backend: &dyn Backend,
    header: Header,
    index: impl FnOnce(Arc<Memtable>, watch::Sender<Bytes>) -> I,
) -> Result<Option<Carried>>
where
    I: Future<Output = Result<u64>>,
{
    let draft = Arc::new(Draft { memtable: Arc::new(Memtable::new(header.stream())), header });
    let (progress, known) = watch::channel(Bytes::new());
    let indexing = index(draft.memtable.clone(), progress);
    let (end, copied) = join(indexing, copy(backend, &header, known)).await;
    let (end, Some(file)) = (end?, copied?) else { return Ok(None) };
    let (file, end) = finish(&draft, file, end).await?;
    Ok(Some(Carried { draft, file, end }))
}

/// Writes what is `known` to belong to the log, as more becomes known; nothing where nothing does.
async fn copy(
    backend: &dyn Backend,
    header: &Header,
    mut known: watch::Receiver<Bytes>,
) -> backends::Result<Option<LogFile>> {
    let mut file: Option<LogFile> = None;
    loop {
        let is_all = known.changed().await.is_err();
        let log = known.borrow_and_update().clone();
        if !log.is_empty() {
            let file = match &mut file {
                Some(file) => file,
                None => {
                    let mut new = LogFile::create(backend, &Name::Segment(header.id).path()).await?;
                    new.append(vec![Bytes::copy_from_slice(&header.encode())], false).await?;
                    file.insert(new)
                }
            };
            while let from = in_body(file.len())
                && from < log.len()
            {
                let piece = log.slice(from..log.len().min(from + COPY_LEN as usize));
                file.append(vec![piece], false).await?;
            }
        }
        if is_all {
            return Ok(file);
        }
    }
}

/// Ends the log at `end`, and makes all of it durable.
async fn finish(draft: &Draft, mut file: LogFile, end: u64) -> Result<(LogFile, u64)> {
    assert!(file.len() == end, "all that belongs to the log was copied");
    let memtable = &draft.memtable;
    let len = end + END_LEN as u64;
    let (records, last_seq, time) = (memtable.len() as u64, memtable.max_seq(), draft.header.created);
    let mut mark = BytesMut::with_capacity(END_LEN);
    // Nobody reads it before it is true.
    End { len, records, last_seq, durable: end, time }.encode(&draft.stream(), end, &mut mark);
    file.append(vec![mark.freeze()], true).await?;
    Ok((file, len))
}
