//! Writes: entered into the history as they are asked for, and judged by their answers.

use super::{Player, Step, Stop};
use crate::history::{Value, Write};
use crate::ops::{WriteOp, key, value};
use crate::world::{bytes, ends};
use futures::future::join_all;
use halite::{Db, Durability, ErrorKind, WriteBatch, WriteOptions};
use std::collections::BTreeSet;
use std::time::Duration;

impl Player<'_> {
    /// What an operation writes, as the commit with the next number.
    pub(super) fn writes(&self, commit: usize, ops: &[WriteOp]) -> Vec<Write> {
        let now = self.world.time();
        let mut own: Vec<Write> = Vec::new();
        for op in ops {
            if let Some(range) = op.range() {
                let mut keys: BTreeSet<_> =
                    self.world.history.keys().filter(|key| range.contains(key)).cloned().collect();
                keys.extend(own.iter().map(|(key, _)| key.clone()).filter(|key| range.contains(key)));
                own.extend(keys.into_iter().map(|key| (key, None)));
                continue;
            }
            let value = op.len.map(|len| Value {
                bytes: bytes(&value(commit, op.key, len)),
                expires_at: op.ttl.map(|ttl| now + ttl),
            });
            own.push((key(op.key), value));
        }
        own
    }

    pub(super) async fn write(&mut self, op: WriteOp, level: Durability) -> Step {
        let commit = self.world.history.len();
        let writes = self.writes(commit, &[op]);
        self.world.history.enter(writes.clone());
        let db = self.db();
        let written = match op.range() {
            Some(range) => {
                let options = WriteOptions { durability: level, ttl: None };
                ends("a range delete", db.delete_range_with(range, options)).await
            }
            None => ends("a write", write_one(&db, &writes[0], op.ttl, level)).await,
        };
        // An empty range has no place in the order.
        let level = if writes.is_empty() { Durability::Deferred } else { level };
        self.committed(commit, written, level)
    }

    pub(super) async fn batch(&mut self, ops: &[WriteOp], level: Durability) -> Step {
        let commit = self.world.history.len();
        let writes = self.writes(commit, ops);
        let batch =
            ops.iter().fold(WriteBatch::new(), |batch, op| match (op.range(), &self.writes(commit, &[*op])[..]) {
                (Some(range), _) => batch.delete_range(range),
                (None, [(key, Some(Value { bytes, expires_at: Some(at) }))]) => batch.put_expiring(key, bytes, *at),
                (None, [(key, Some(Value { bytes, expires_at: None }))]) => batch.put(key, bytes),
                (None, writes) => writes.iter().fold(batch, |batch, (key, _)| batch.delete(key)),
            });
        // An empty batch has no place in the order.
        let level = if writes.is_empty() { Durability::Deferred } else { level };
        self.world.history.enter(writes);
        let options = WriteOptions { durability: level, ttl: None };
        let written = ends("a batch", self.db().write_with(batch, options)).await;
        self.committed(commit, written, level)
    }

    /// Commits that are under way at the same time, each on a key of its own.
    pub(super) async fn together(&mut self, ops: &[(WriteOp, Durability)]) -> Step {
        let first = self.world.history.len();
        let writes: Vec<Write> = (first..).zip(ops).flat_map(|(commit, (op, _))| self.writes(commit, &[*op])).collect();
        self.world.history.enter_together(writes.clone());
        let db = self.db();
        let commits = writes.iter().zip(ops).map(|(write, (op, level))| write_one(&db, write, op.ttl, *level));
        let written = match ends("writing together", join_all(commits)).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(hangs) => vec![Err(hangs); ops.len()],
        };
        let mut outcome = Ok(());
        for ((commit, (_, level)), written) in (first..).zip(ops).zip(written) {
            match self.committed(commit, written, *level) {
                Ok(()) => {}
                Err(Stop::Expected) => outcome = Err(Stop::Expected),
                Err(wrong) => return Err(wrong),
            }
        }
        outcome
    }

    /// Enters a commit's answer into the history.
    pub(super) fn committed(
        &mut self,
        commit: usize,
        written: Result<halite::Result<()>, String>,
        level: Durability,
    ) -> Step {
        match &written {
            Ok(Ok(())) => {
                // Where files do not grow, what is written is durable.
                let level =
                    if level == Durability::Written && !self.world.store.grows() { Durability::Synced } else { level };
                self.world.history.acknowledge(commit, level);
                if level == Durability::Synced {
                    self.note_durable();
                }
            }
            // A killed process has returned no error.
            Ok(Err(error)) if error.kind() != ErrorKind::Unknown && !self.is_dead() => {
                self.world.history.refuse(commit);
            }
            _ => {}
        }
        if let (Ok(Err(error)), true) = (&written, self.refused)
            && !self.may_fail()
            && error.kind() == ErrorKind::Poisoned
        {
            return Err(Stop::Wrong(format!("a refusal for want of space has stopped writing: {error:?}")));
        }
        self.note(&written);
        if let (Ok(Err(error)), false) = (&written, self.may_fail())
            && error.kind() == ErrorKind::NoSpace
            && !self.is_dead()
            && self.refused
        {
            return Err(Stop::Wrong(format!("there is space, but a write is refused again: {error:?}")));
        }
        self.refused |= matches!(&written, Ok(Err(error)) if error.kind() == ErrorKind::NoSpace);
        self.settle("a commit", written)
    }
}

pub(super) async fn write_one(
    db: &Db,
    (key, value): &Write,
    ttl: Option<u64>,
    durability: Durability,
) -> halite::Result<()> {
    let options = WriteOptions { durability, ttl: ttl.map(Duration::from_millis) };
    match value {
        Some(value) => db.put_with(key, &value.bytes, options).await,
        None => db.delete_with(key, options).await,
    }
}
