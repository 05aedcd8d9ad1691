//! Operations that depend on what is there: changes of one key, and transactions.

use super::{Player, Step, Stop};
use crate::history::{Value, Write, compare};
use crate::ops::{ChangeOp, WriteOp, key, shown, value};
use crate::world::{bytes, ends};
use bytes::Bytes;
use futures::TryStreamExt;
use halite::{Db, Durability, Ttl, WriteOptions};
use std::fmt::Debug;
use std::time::Duration;

impl Player<'_> {
    pub(super) async fn change(&mut self, op: ChangeOp, level: Durability) -> Step {
        let (db, now) = (self.db(), self.world.time());
        let (number, options) = (op.key(), WriteOptions { durability: level, ttl: None });
        let key = key(number);
        let found = self.world.history.value(&key, now);
        let expires_at = self.world.history.expiry(&key);
        match op {
            ChangeOp::Swap { right, len, .. } => {
                let wrong = Some(Bytes::from_static(b"something else"));
                let expected = if right { found.clone() } else { wrong };
                let new = len.map(|len| bytes(&value(self.world.history.len(), number, len)));
                let writes = right && (found.is_some() || new.is_some());
                let write = writes.then(|| (key.clone(), new.clone().map(|bytes| Value { bytes, expires_at: None })));
                let call = db.compare_and_swap_with(&key, expected.as_deref(), new.as_deref(), options);
                self.changed(write, call, right, level).await
            }
            ChangeOp::Increment { delta, .. } => {
                let before = found.as_ref().map_or(0, |value| number_of(value));
                let sum = before + delta;
                let expires_at = expires_at.filter(|_| found.is_some());
                let write = (key.clone(), Some(Value { bytes: sum.to_string().into(), expires_at }));
                self.changed(Some(write), db.increment_with(&key, delta, options), sum, level).await
            }
            ChangeOp::Expire { ttl, .. } => {
                let at = ttl.map(|ttl| now + ttl);
                let write = found.clone().filter(|_| at != expires_at);
                let write = write.map(|bytes| (key.clone(), Some(Value { bytes, expires_at: at })));
                let ttl = Some(ttl.map_or(WriteOptions::FOR_EVER, Duration::from_millis));
                let call = db.expire_with(&key, WriteOptions { ttl, ..options });
                self.changed(write, call, found.is_some(), level).await
            }
        }
    }

    /// Judges a change that is to answer `expected`, and to write `write` if anything.
    async fn changed<T: PartialEq + Debug>(
        &mut self,
        write: Option<Write>,
        call: impl Future<Output = halite::Result<T>>,
        expected: T,
        level: Durability,
    ) -> Step {
        let commit = write.map(|write| self.world.history.enter(vec![write]));
        let outcome = ends("a change", call).await;
        if let Ok(Ok(answer)) = &outcome
            && *answer != expected
        {
            return Err(Stop::Wrong(format!("wrong answer: expected {expected:?}, found {answer:?}")));
        }
        let outcome = outcome.map(|answer| answer.map(drop));
        match commit {
            Some(commit) => self.committed(commit, outcome, level),
            None => {
                self.note(&outcome);
                self.settle("a change", outcome)
            }
        }
    }

    pub(super) async fn transact(&mut self, reads: &[u16], ops: &[WriteOp], level: Durability) -> Step {
        let (db, now) = (self.db(), self.world.time());
        let transaction = db.begin();
        let mut state = self.world.expected();
        for number in reads {
            let got = self.read("get", || transaction.get(key(*number))).await?;
            if got.as_ref() != state.get(&key(*number)) {
                let got = got.map_or("nothing".to_owned(), |value| shown(&value));
                return Err(Stop::Wrong(format!("the transaction finds {got} at key {number}")));
            }
        }
        let commit = self.world.history.len();
        let writes = self.writes(commit, ops);
        for op in ops {
            let writes = self.writes(commit, &[*op]);
            let written = match (op.range(), &writes[..]) {
                (Some(range), _) => transaction.delete_range(range),
                (None, [(key, Some(value))]) => match op.ttl {
                    None => transaction.put(key, &value.bytes),
                    Some(ttl) => transaction.put_with(key, &value.bytes, Duration::from_millis(ttl)),
                },
                (None, _) => transaction.delete(key(op.key)),
            };
            written.map_err(|error| format!("a write in memory failed: {error:?}"))?;
            if let Some(range) = op.range() {
                state.retain(|key, _| !range.contains(key));
            }
            for (key, value) in &writes {
                match value.as_ref().filter(|value| value.expires_at.is_none_or(|at| now < at)) {
                    Some(value) => state.insert(key.clone(), value.bytes.clone()),
                    None => state.remove(key),
                };
            }
        }
        let scan = || transaction.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect();
        compare(&state, &self.read("scan", scan).await?)?;
        if ops.iter().all(|op| op.range().is_some()) && writes.is_empty() {
            let committed = ends("commit", transaction.commit()).await;
            return self.settle("a commit of nothing", committed);
        }
        self.world.history.enter(writes);
        let committed = ends("a transaction", transaction.commit_with(level)).await;
        self.committed(commit, committed, level)
    }

    /// Compares a key's time to live with the model's.
    pub(super) async fn lifetime(&mut self, db: &Db, key: &[u8], is_there: bool) -> Step {
        let found = self.read("ttl", || db.ttl(key)).await?;
        let now = self.world.time();
        let expected = is_there.then(|| match self.world.history.expiry(key) {
            Some(at) => Ttl::Remaining(Duration::from_millis(at - now)),
            None => Ttl::Forever,
        });
        if found != expected {
            return Err(Stop::Wrong(format!("key {} lives {found:?}, expected {expected:?}", shown(key))));
        }
        Ok(())
    }
}

fn number_of(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("only increments write counters")
}
