//! Reads: each answer compared with the model's.

use super::{Player, Step, Stop};
use crate::ops::{key, shown};
use crate::world::bytes;
use futures::TryStreamExt;
use halite::KeyRange;
use std::ops::Bound;

impl Player<'_> {
    pub(super) async fn get(&mut self, number: u16) -> Step {
        let (db, key) = (self.db(), key(number));
        let expected = self.world.history.value(&key, self.world.time());
        self.lifetime(&db, &key, expected.is_some()).await?;
        let got = self.read("get", || db.get(&key)).await?;
        let entry = self.read("get_entry", || db.get_entry(&key)).await?;
        let contains = self.read("contains", || db.contains(&key)).await?;
        let entry_is_right = match (&entry, &expected) {
            (Some(entry), Some(expected)) => entry.key == key && entry.value == *expected && entry.seq > 0,
            (None, None) => true,
            _ => false,
        };
        if got != expected || contains != expected.is_some() || !entry_is_right {
            let show = |value: Option<&[u8]>| value.map_or("nothing".to_owned(), shown);
            return Err(Stop::Wrong(format!(
                "wrong answer for key {}: expected {}, get says {}, get_entry {entry:?}, contains {contains}",
                shown(&key),
                show(expected.as_deref()),
                show(got.as_deref()),
            )));
        }
        Ok(())
    }

    pub(super) async fn prefix(&mut self, number: u16) -> Step {
        let key = key(number);
        let range = KeyRange::prefix(&key[..key.len().min(2)]);
        self.scan(range.clone(), usize::MAX, false, false).await?;
        self.scan(range, usize::MAX, true, false).await
    }

    pub(super) async fn scan_between(&mut self, from: u16, to: u16, limit: usize, rev: bool, keys_only: bool) -> Step {
        let (start, end) = (bytes(&key(from)), bytes(&key(to)));
        let range = KeyRange { start: Bound::Included(start), end: Bound::Excluded(end) };
        self.scan(range, limit, rev, keys_only).await
    }

    pub(super) async fn scan(&mut self, range: KeyRange, limit: usize, rev: bool, keys_only: bool) -> Step {
        let expected = self.world.expected().into_iter().filter(|(key, _)| range.contains(key));
        let expected: Vec<_> = if rev { expected.rev().take(limit).collect() } else { expected.take(limit).collect() };
        let db = self.db();
        let scan = || {
            let scan = db.scan(range.clone()).limit(limit);
            let scan = if rev { scan.rev() } else { scan };
            let scan = if keys_only { scan.keys_only() } else { scan };
            scan.map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect::<Vec<_>>()
        };
        let mut found = self.read("scan", scan).await?;
        if keys_only && found.iter().all(|(_, value)| value.is_empty()) {
            found.iter_mut().zip(&expected).for_each(|(found, expected)| found.1 = expected.1.clone());
        }
        if found != expected {
            let keys = |entries: &[(Vec<u8>, _)]| entries.iter().map(|(key, _)| shown(key)).collect::<Vec<_>>();
            return Err(Stop::Wrong(format!(
                "wrong entries: expected {:?}, found {:?}",
                keys(&expected),
                keys(&found)
            )));
        }
        Ok(())
    }
}
