//! What passes between the queue and the committer: groups of frames, what is to be done with them, and how far it came.

use super::Draft;
use crate::{Durability, Seq};
use bytes::Bytes;
use std::sync::Arc;

/// Frames that gather while the committer is busy, to be written in one call.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The segment they belong to; `None` while the group is empty.
    pub(crate) draft: Option<Arc<Draft>>,
    /// Offset of the group's mark, which is its first frame.
    pub(crate) start: u64,
    /// Offset behind its last frame.
    pub(crate) end: u64,
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) last_seq: Seq,
    /// The strongest level among its commits; `None` while the group is empty. (The default level is the strongest.)
    pub(crate) level: Option<Durability>,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes it takes in the log.
    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Of these, the bytes of its commits.
    pub(crate) fn payload(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// What keeps a group that is not full from being written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing: nothing is under way, nor was anything sent a moment ago.
    Free,
    /// Nothing is under way, but what was sent last was a moment ago: only who asks for a flush does not wait.
    Soon,
    /// Others are under way, in whose stead more gathers. It has gathered for long enough where it is `overdue`.
    Beside { overdue: bool },
}

/// What the committer is to do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Write a group; sync it where `sync`.
    Write { group: Group, sync: bool },
    /// Make durable what was written.
    Sync,
    /// End the active segment, whose records end at `end`, and hand it to be sealed.
    Rotate { draft: Arc<Draft>, end: u64, successor: u64 },
    /// Make sure that the active segment can grow to `len` bytes; `least` will do.
    Reserve { draft: Arc<Draft>, len: u64, least: u64 },
    /// There is nothing more to come.
    Stop,
}

/// What the committer tells the queue has been reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) written: Seq,
    pub(crate) synced: bool,
    pub(crate) bytes: u64,
}

/// What a segment's header says of the one before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prior {
    pub(crate) number: u64,
    pub(crate) len: u64,
    pub(crate) last_seq: Seq,
    pub(crate) next_seq: Seq,
}
