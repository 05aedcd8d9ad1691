//! A watch beside the writer: applied to what was there at its beginning, its commits give what is there now.

use super::{Player, Step, Stop};
use crate::history::{State, Value, compare};
use crate::world::ends;
use futures::TryStreamExt;
use halite::{ErrorKind, Watch};
use std::collections::BTreeMap;

/// A watch with the copy that it keeps up to date.
pub(super) struct Watching {
    watch: Watch,
    copy: BTreeMap<Vec<u8>, Value>,
    /// The last commit that was seen.
    seq: u64,
}

impl Player<'_> {
    pub(super) async fn watch(&mut self) -> Step {
        let db = self.db();
        let flushed = ends("flush", db.flush()).await;
        self.note(&flushed);
        self.settle("flush", flushed)?;
        self.world.history.all_synced();
        let Some(mut watching) = self.watching.take() else {
            let snapshot = db.snapshot();
            let entries = self.read("scan", || snapshot.scan(..).try_collect::<Vec<_>>()).await?;
            let value = |entry: halite::Entry| Value { bytes: entry.value, expires_at: entry.expires_at };
            let copy = entries.into_iter().map(|entry| (entry.key.to_vec(), value(entry))).collect();
            let seq = snapshot.seq();
            self.watching = Some(Watching { watch: db.watch("", seq + 1), copy, seq });
            return Ok(());
        };
        let until = db.stats().visible_seq;
        while watching.watch.position() <= until {
            let strikes = self.world.strikes();
            match ends("a watch", watching.watch.try_next()).await? {
                Ok(Some(commit)) => {
                    self.world.figures.watched += 1;
                    watching.apply(&commit)?;
                }
                Ok(None) => return Err(Stop::Wrong("a watch ends while the database is open".to_owned())),
                // It lagged behind a merge, and begins anew next time.
                Err(error) if error.kind() == ErrorKind::Gone => return Ok(()),
                Err(_) if self.is_dead() => return Err(Stop::Expected),
                Err(_) if self.world.strikes() > strikes => return Ok(()),
                Err(error) => return Err(Stop::Wrong(format!("a watch failed: {error:?}"))),
            }
        }
        let time = self.world.time();
        let is_live = |value: &Value| value.expires_at.is_none_or(|at| time < at);
        let live = watching.copy.iter().filter(|(_, value)| is_live(value));
        let copy: State = live.map(|(key, value)| (key.clone(), value.bytes.clone())).collect();
        compare(&self.world.expected(), &copy).map_err(|wrong| Stop::Wrong(format!("a watch's copy: {wrong}")))?;
        self.watching = Some(watching);
        Ok(())
    }
}

impl Watching {
    fn apply(&mut self, commit: &halite::Commit) -> Result<(), String> {
        if commit.seq <= self.seq {
            return Err(format!("a watch shows commit {} behind {}", commit.seq, self.seq));
        }
        self.seq = commit.seq;
        for change in &commit.changes {
            match (&change.range, &change.value) {
                (Some(range), _) => self.copy.retain(|key, _| !range.contains(key)),
                (None, Some(bytes)) => {
                    let value = Value { bytes: bytes.clone(), expires_at: change.expires_at };
                    self.copy.insert(change.key.to_vec(), value);
                }
                (None, None) => drop(self.copy.remove(&change.key[..])),
            }
        }
        Ok(())
    }
}
