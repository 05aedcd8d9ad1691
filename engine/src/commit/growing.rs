//! The log as growing files, one for each segment: what has gathered goes out with one write and one sync at a time.
//!
//! Before the queue is told that anything is reached the committer looks whether another writer has claimed the database: the
//! next manifest's name is where a claim shows.

use super::committer::{Rounds, mark};
use super::work::{Group, Pace, Reached, Work};
use super::{Draft, Sealable, Source};
use crate::core::Core;
use crate::format::mark::{END_LEN, End};
use crate::format::names::{Name, SegmentId};
use crate::planted::{Bug, planted};
use crate::segment::LogFile;
use crate::{ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use halite_backends::Purpose;
use std::sync::Arc;

/// Runs until the log is stopped or fails.
pub(super) async fn run(core: &Core) -> Result<()> {
    let (mut growing, mut rounds) = (Growing::default(), Rounds::default());
    loop {
        let work = std::future::poll_fn(|_| core.log.next_work(Pace::Free)).await;
        if matches!(work, Work::Stop) {
            return Ok(());
        }
        let answered = growing.step(core, work).await?;
        rounds.over(answered).await;
    }
}

/// The write end of the log.
#[derive(Debug, Default)]
struct Growing {
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
    /// Does one piece of work. Returns how many writers have been answered.
    async fn step(&mut self, core: &Core, work: Work) -> Result<usize> {
        match work {
            Work::Write { group, sync } => {
                let Some(draft) = group.draft.clone() else { return Ok(0) };
                let (written, bytes) = (group.last_seq, group.payload());
                let durable = self.write(core, &draft, group, sync).await?;
                core.check_newest().await?;
                let answered = core.log.reached(Reached { written, synced: durable, bytes });
                if durable {
                    self.trailing_mark(core).await?;
                }
                Ok(answered)
            }
            Work::Sync => {
                self.sync().await?;
                core.log.meters.log_syncs.add(1);
                core.check_newest().await?;
                let answered = core.log.reached(Reached { written: 0, synced: true, bytes: 0 });
                self.trailing_mark(core).await?;
                Ok(answered)
            }
            Work::Rotate { draft, end, successor } => {
                let source = self.end(core, &draft, end).await?;
                core.check_newest().await?;
                let answered = core.log.reached(Reached { written: draft.memtable.max_seq(), synced: true, bytes: 0 });
                core.sealer.push(Sealable::new(draft, source, successor));
                Ok(answered)
            }
            Work::Reserve { draft, len, least } => self.reserve(core, &draft, len, least).await.map(|()| 0),
            Work::Stop => Ok(0),
        }
    }

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

    /// Reserves `len` bytes, or `least` where there is not room for more. No space is an answer, not a failure.
    async fn reserve(&mut self, core: &Core, draft: &Arc<Draft>, len: u64, least: u64) -> Result<()> {
        let mut outcome = self.grow(core, draft, len).await.map(|()| len);
        if no_space(&outcome) {
            outcome = self.grow(core, draft, least).await.map(|()| least);
        }
        let failure = match &outcome {
            Err(cause) if cause.kind() != ErrorKind::NoSpace => Some(cause.clone()),
            _ => None,
        };
        core.log.answer_reserve(draft, outcome);
        failure.map_or(Ok(()), Err)
    }

    /// Makes sure that the segment of `draft` can grow to `len` bytes.
    async fn grow(&mut self, core: &Core, draft: &Arc<Draft>, len: u64) -> Result<()> {
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

    /// Writes `group`, durably where `sync`. Returns whether it is durable now.
    async fn write(&mut self, core: &Core, draft: &Arc<Draft>, mut group: Group, sync: bool) -> Result<bool> {
        let file = self.open(core, draft).await?;
        let sync = sync || group.end - file.durable > UNSYNCED_MAX;
        assert!(file.appender.len() == group.start, "groups follow each other without a gap");
        let mut data = Vec::with_capacity(1 + group.pieces.len());
        data.push(mark(core, draft, group.start, file.durable));
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

    /// Makes durable what was written.
    async fn sync(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.appender.sync().await?;
            file.durable = file.appender.len();
        }
        Ok(())
    }

    /// Writes a mark that says how far the log is durable, if nothing waits to be written: the next group's mark would say
    /// so, but there may never be one. It is not synced; that it arrives at all is what makes damage below it certain.
    async fn trailing_mark(&mut self, core: &Core) -> Result<()> {
        if let Some(file) = &mut self.file
            && let Some(offset) = core.log.take_mark(&file.draft)
        {
            let mark = mark(core, &file.draft, offset, file.durable);
            core.log.meters.log_bytes.add(mark.len() as u64);
            file.appender.append(vec![mark], false).await?;
        }
        Ok(())
    }

    /// Ends the segment of `draft`, whose frames end at `end`, durably.
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

fn no_space<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(cause) if cause.kind() == ErrorKind::NoSpace)
}
