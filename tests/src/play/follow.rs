//! A reader beside the writer: what it shows is a prefix, durable, and never taken back.

use super::{Player, Policy, Step, Stop};
use crate::ops::{KEYS, key};
use crate::world::ends;
use futures::TryStreamExt;
use halite::ReadOnly;
use std::time::Duration;

impl Player<'_> {
    /// Refreshes the reader, opened at the first time, and judges all it shows.
    pub(super) async fn follow(&mut self) -> Step {
        self.world.clock.set(self.world.clock.latest());
        // The writer goes on to say how far the log is durable, once it has answered.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let reader = match self.world.reader.take() {
            Some(reader) => {
                let before = reader.seq().map_err(|error| error.to_string())?;
                let may_fail = self.may_fail();
                let refreshed = ends("refresh", reader.refresh()).await;
                let refreshed = self.settle_io("refresh", may_fail, refreshed);
                self.world.reader = Some(reader.clone());
                refreshed?;
                let after = reader.seq().map_err(|error| error.to_string())?;
                if after < before {
                    return Err(Stop::Wrong(format!("a reader goes back from {before} to {after}")));
                }
                reader
            }
            None => {
                let may_fail = self.may_fail();
                let opened = ends("open_read_only", self.world.open_read_only()).await;
                let reader = self.settle_io("open_read_only", may_fail, opened)?;
                self.world.reader = Some(reader.clone());
                reader
            }
        };
        let is_fresh = match self.policy {
            Policy::Strict | Policy::Crashing => !self.spoiled,
            Policy::Stormy => self.is_calm(),
            Policy::Faulty { .. } => false,
        };
        self.judge_shown(&reader, is_fresh).await
    }

    /// What came of requests to the store that might have met the fault if `may_fail`.
    fn settle_io<T>(&mut self, what: &str, may_fail: bool, outcome: Result<halite::Result<T>, String>) -> Step<T> {
        match outcome {
            Ok(Err(_)) if may_fail && matches!(self.policy, Policy::Faulty { .. }) => Err(Stop::Expected),
            Ok(Err(error)) if !may_fail && !self.is_dead() && !self.may_fail() => {
                Err(Stop::Wrong(format!("{what} failed without a fault: {error:?}")))
            }
            outcome => self.settle(what, outcome),
        }
    }

    async fn judge_shown(&mut self, reader: &ReadOnly, is_fresh: bool) -> Step {
        let may_fail = self.may_fail();
        let entries = ends("scan", reader.scan(..).try_collect::<Vec<_>>()).await;
        let entries = self.settle_io("a reader's scan", may_fail, entries)?;
        let expiries = entries.iter().map(|entry| (entry.key.to_vec(), entry.expires_at)).collect();
        let found = entries.into_iter().map(|entry| (entry.key.to_vec(), entry.value)).collect();
        let time = self.world.time();
        let shown = self.world.history.show(&found, &expiries, time, is_fresh);
        shown.map_err(|wrong| format!("a reader: {wrong}"))?;
        for key in (0..KEYS).map(key) {
            let may_fail = self.may_fail();
            let value = ends("get", reader.get(&key)).await;
            let value = self.settle_io("a reader's get", may_fail, value)?;
            if value.as_ref() != found.get(&key) {
                return Err(Stop::Wrong(format!("get and scan of a reader differ in {key:?}")));
            }
        }
        Ok(())
    }
}
