//! The write end of the log: one growing file per segment, or a dense sequence of fragments.

use super::Draft;
use super::work::Group;
use crate::core::{Core, Epoch};
use crate::error::ErrorKind;
use crate::format::Fault;
use crate::format::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentKind, Slice};
use crate::format::mark::{END_LEN, End, MARK_LEN, Mark};
use crate::format::names::{FragmentId, Name, SegmentId};
use crate::planted::{Bug, planted};
use crate::publish::create_named;
use crate::residency::Resident;
use crate::segment::{LogFile, Segment};
use crate::turn::{self, Turn};
use crate::{Error, Result, protocol, reread};
use bytes::{Bytes, BytesMut};
use halite_backends::{self as backends, Path, Purpose};
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

/// A full segment, to be sealed.
#[derive(Debug)]
pub(crate) struct Sealable {
    pub(crate) draft: Arc<Draft>,
    pub(crate) source: Source,
    /// Number of the segment that comes after it.
    pub(crate) successor: u64,
    /// What was sealed, once it is written and waits to be published; nothing, where nothing was left to write.
    pub(crate) sealed: Option<Option<Sealed>>,
}

/// A sealed segment, and its slots if they are in the keydir.
pub(crate) type Sealed = (Arc<Segment>, Option<Arc<Resident>>);

/// What a full segment's log is kept in.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file that ends, end mark included, at `end`. The appender is taken by the seal.
    File { appender: Option<LogFile>, end: u64 },
    /// Fragments of these numbers.
    Fragments(Range<u64>),
}

impl Sealable {
    /// The files of the log that are needed no more once the segment is sealed: its fragments; its own file only where
    /// `is_empty`, as nothing was left to be sealed.
    pub(crate) fn done_with(&self, epoch: Epoch, is_empty: bool) -> Vec<Path> {
        match &self.source {
            Source::File { .. } if is_empty => vec![Name::Segment(self.draft.id()).path()],
            Source::File { .. } => Vec::new(),
            Source::Fragments(numbers) => {
                numbers.clone().map(|number| Name::Fragment(fragment(epoch, number)).path()).collect()
            }
        }
    }
}

fn fragment(epoch: Epoch, number: u64) -> FragmentId {
    FragmentId { epoch: epoch.epoch, nonce: epoch.nonce, number }
}

/// The write end of the log.
#[derive(Debug)]
pub(crate) enum Sink {
    Growing(Growing),
    Fragments(Fragments),
}

impl Sink {
    pub(crate) fn new(grows: bool) -> Sink {
        if grows {
            Sink::Growing(Growing { file: None, ahead: Vec::new() })
        } else {
            Sink::Fragments(Fragments { next: 0, first: 0 })
        }
    }

    /// Whether marks of their own can be appended.
    pub(crate) fn grows(&self) -> bool {
        matches!(self, Sink::Growing(_))
    }

    /// The segment of the file being written, if there is one.
    pub(crate) fn draft(&self) -> Option<Arc<Draft>> {
        match self {
            Sink::Growing(growing) => growing.file.as_ref().map(|file| file.draft.clone()),
            Sink::Fragments(_) => None,
        }
    }

    /// Writes `group`, durably where `sync`. Returns whether it is durable now.
    pub(crate) async fn write(&mut self, core: &Core, group: Group, sync: bool) -> Result<bool> {
        match self {
            Sink::Growing(growing) => growing.write(core, group, sync).await,
            Sink::Fragments(fragments) => fragments.write(core, group).await.map(|()| true),
        }
    }

    /// Makes durable what was written.
    pub(crate) async fn sync(&mut self) -> Result<()> {
        match self {
            Sink::Growing(growing) => growing.sync().await,
            Sink::Fragments(_) => Ok(()),
        }
    }

    /// Ends the segment of `draft`, whose frames end at `end`, durably.
    pub(crate) async fn end(&mut self, core: &Core, draft: &Arc<Draft>, end: u64, successor: u64) -> Result<Sealable> {
        let source = match self {
            Sink::Growing(growing) => growing.end(core, draft, end).await?,
            Sink::Fragments(fragments) => fragments.end(),
        };
        Ok(Sealable { draft: draft.clone(), source, successor, sealed: None })
    }

    /// Makes sure that the segment of `draft` can grow to `len` bytes.
    pub(crate) async fn reserve(&mut self, core: &Core, draft: &Arc<Draft>, len: u64) -> Result<()> {
        match self {
            Sink::Growing(growing) => growing.reserve(core, draft, len).await,
            Sink::Fragments(_) => Ok(()),
        }
    }

    /// Writes, but does not sync, a mark at `offset` that says how far the log is durable.
    pub(crate) async fn mark(&mut self, core: &Core, offset: u64) -> Result<()> {
        match self {
            Sink::Growing(growing) => growing.mark(core, offset).await,
            Sink::Fragments(_) => Ok(()),
        }
    }
}

/// The log as one growing file per segment.
#[derive(Debug)]
pub(crate) struct Growing {
    /// The file being written.
    file: Option<File>,
    /// Files of segments for which room had to be reserved before the one before them has ended, or before anything was
    /// written to it: a few at most, as writers wait for seals. Nothing is written to them yet: their headers tell how
    /// the one before ends.
    ahead: Vec<(SegmentId, LogFile)>,
}

#[derive(Debug)]
struct File {
    draft: Arc<Draft>,
    appender: LogFile,
    /// Offset up to which it is known to be durable.
    durable: u64,
}

/// Bytes that may be written before they are synced, whoever asks: so that the end of a segment never has long to sync. (A
/// backend that goes ahead with that by itself has little left to do then.)
const UNSYNCED_MAX: u64 = 32 << 20;

impl Growing {
    /// The file of `draft`, made if it does not exist yet. Its header is durable before any frame is written, so that a
    /// file whose header is torn holds nothing that was ever acknowledged.
    async fn open(&mut self, core: &Core, draft: &Arc<Draft>) -> Result<&mut File> {
        if self.file.is_none() {
            let mut appender = match self.ahead.iter().position(|(id, _)| *id == draft.id()) {
                Some(index) => self.ahead.swap_remove(index).1,
                None => LogFile::create(core.stores.of(Purpose::Seal), &Name::Segment(draft.id()).path()).await?,
            };
            appender.append(vec![Bytes::copy_from_slice(&draft.header.encode())], true).await?;
            let durable = appender.len();
            self.file = Some(File { draft: draft.clone(), appender, durable });
        }
        let file = self.file.as_mut().expect("it was made above");
        assert!(file.draft.id() == draft.id(), "a segment ends before the next begins");
        Ok(file)
    }

    async fn reserve(&mut self, core: &Core, draft: &Arc<Draft>, len: u64) -> Result<()> {
        if let Some(file) = self.file.as_mut().filter(|file| file.draft.id() == draft.id()) {
            return Ok(file.appender.reserve(len).await?);
        }
        let index = match self.ahead.iter().position(|(id, _)| *id == draft.id()) {
            Some(index) => index,
            None => {
                let appender =
                    LogFile::create(core.stores.of(Purpose::Seal), &Name::Segment(draft.id()).path()).await?;
                self.ahead.push((draft.id(), appender));
                self.ahead.len() - 1
            }
        };
        Ok(self.ahead[index].1.reserve(len).await?)
    }

    /// Returns whether the group is durable now.
    async fn write(&mut self, core: &Core, mut group: Group, sync: bool) -> Result<bool> {
        let Some(draft) = group.draft.take() else { return Ok(true) };
        let file = self.open(core, &draft).await?;
        let sync = sync || group.end - file.durable > UNSYNCED_MAX;
        assert!(file.appender.len() == group.start, "groups follow each other without a gap");
        let mut data = Vec::with_capacity(1 + group.pieces.len());
        data.push(mark(core, &draft, group.start, file.durable));
        data.append(&mut group.pieces);
        let meters = &core.log.meters;
        meters.log_writes.add(1);
        meters.log_bytes.add(group.end - group.start);
        meters.log_syncs.add(sync.into());
        file.appender.append(data, sync && !planted(Bug::AckBeforeSync)).await?;
        if sync {
            file.durable = group.end;
        }
        Ok(sync)
    }

    async fn sync(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.appender.sync().await?;
            file.durable = file.appender.len();
        }
        Ok(())
    }

    async fn mark(&mut self, core: &Core, offset: u64) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mark = mark(core, &file.draft, offset, file.durable);
            core.log.meters.log_bytes.add(mark.len() as u64);
            file.appender.append(vec![mark], false).await?;
        }
        Ok(())
    }

    async fn end(&mut self, core: &Core, draft: &Arc<Draft>, end: u64) -> Result<Source> {
        self.open(core, draft).await?;
        let mut file = self.file.take().expect("it was opened above");
        let len = end + END_LEN as u64;
        let records = draft.memtable.len() as u64;
        let (last_seq, durable, time) = (draft.memtable.max_seq(), file.durable, core.clock.trusted());
        let mut frame = BytesMut::with_capacity(END_LEN);
        End { len, records, last_seq, durable, time }.encode(&draft.stream(), end, &mut frame);
        file.appender.append(vec![frame.freeze()], true).await?;
        Ok(Source::File { appender: Some(file.appender), end: len })
    }
}

fn mark(core: &Core, draft: &Draft, offset: u64, durable: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(MARK_LEN);
    Mark { durable, time: core.clock.trusted() }.encode(&draft.stream(), offset, &mut frame);
    frame.freeze()
}

/// The bytes of `fragment`, however long its payload.
async fn encode(fragment: &Fragment, payload: &[Bytes]) -> Bytes {
    let payload_len: usize = payload.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(FRAGMENT_HEADER_LEN + payload_len);
    out.resize(FRAGMENT_HEADER_LEN, 0);
    let (mut crc, mut turn) = (fragment.payload_seed(), Turn::default());
    for piece in payload {
        crc = turn::copy_and_checksum(crc, piece, &mut out, &mut turn).await;
    }
    out[..FRAGMENT_HEADER_LEN].copy_from_slice(&fragment.encode_header(payload_len, crc));
    out.into()
}

/// The log as objects, each created once.
#[derive(Debug)]
pub(crate) struct Fragments {
    /// The number of the next fragment.
    next: u64,
    /// The number of the active segment's first fragment.
    first: u64,
}

impl Fragments {
    async fn write(&mut self, core: &Core, mut group: Group) -> Result<()> {
        let Some(draft) = group.draft.take() else { return Ok(()) };
        let mark = mark(core, &draft, group.start, group.start);
        group.pieces.insert(0, mark);
        let header = &draft.header;
        let slice = Slice {
            first_offset: group.start,
            segment: header.id.number,
            salt: header.salt,
            base_seq: header.base_seq,
            predecessor: header.predecessor,
        };
        let id = fragment(core.epoch, self.next);
        let (write_nonce, time, kind) = (core.random.next(), core.clock.trusted(), FragmentKind::Data(slice));
        let fragment = Fragment { database: core.epoch.database, id, write_nonce, time, kind };
        let bytes = encode(&fragment, &group.pieces).await;
        let meters = &core.log.meters;
        meters.log_writes.add(1);
        meters.log_syncs.add(1);
        meters.log_bytes.add(bytes.len() as u64);
        self.create(core, write_nonce, bytes).await?;
        self.next += 1;
        if self.next - self.first >= u64::from(core.options.segment_fragments_max) {
            core.log.fill_up(&draft);
        }
        Ok(())
    }

    /// Creates the next fragment. A name that is taken is ours, its first answer having been lost, or the fence of a
    /// writer that has taken over.
    async fn create(&self, core: &Core, write_nonce: u64, bytes: Bytes) -> Result<()> {
        let id = fragment(core.epoch, self.next);
        let path = Name::Fragment(id).path();
        let Err(error) = create_named(core.stores.of(Purpose::Commit), &path, bytes).await else { return Ok(()) };
        if error.kind() != backends::ErrorKind::AlreadyExists {
            return Err(error.into());
        }
        let decode = |bytes: Bytes| {
            let (found, _) = Fragment::decode(&bytes)?;
            found.check_place(&core.epoch.database, id)?;
            Ok(found.write_nonce)
        };
        let decode = |bytes| ready(decode(bytes).map_err(|fault: Fault| Error::in_file(&path, fault)));
        match reread::decoded(core.stores.of(Purpose::Commit), &path, decode).await? {
            there if protocol::is_own(there, write_nonce) => Ok(()),
            _ => Err(Error::new(ErrorKind::Fenced, format!("another writer has fenced the log at {path}"))),
        }
    }

    fn end(&mut self) -> Source {
        let numbers = self.first..self.next;
        self.first = self.next;
        Source::Fragments(numbers)
    }
}
