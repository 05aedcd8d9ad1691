//! Changes of one key that depend on what it holds, and how long keys live.

use super::Db;
use crate::{Result, Ttl, WriteOptions};
use bytes::Bytes;
use std::time::Duration;

impl Db {
    /// Sets `key` to `new` (deletes it if `None`), if it holds just `expected` (nothing if `None`). Whether it did: see
    /// [`halite::Db::compare_and_swap`](crate::Db::compare_and_swap).
    pub fn compare_and_swap(&self, key: impl AsRef<[u8]>, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        self.home.run(self.as_async().compare_and_swap(key, expected, new))
    }

    /// As [`compare_and_swap`](Db::compare_and_swap), written as `options` say.
    pub fn compare_and_swap_with(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        options: WriteOptions,
    ) -> Result<bool> {
        self.home.run(self.as_async().compare_and_swap_with(key, expected, new, options))
    }

    /// Sets `key` to what `change` makes of its value, and returns that: see [`halite::Db::update`](crate::Db::update).
    ///
    /// ```
    /// # fn main() -> halite::Result<()> {
    /// let db = halite::blocking::Db::open("mem:")?;
    /// let path = |found: Option<bytes::Bytes>| Some([&found.unwrap_or_default()[..], b"/etc"].concat());
    /// assert_eq!(db.update("path", path)?.as_deref(), Some(&b"/etc"[..]));
    /// # db.close()
    /// # }
    /// ```
    pub fn update<F, V>(&self, key: impl AsRef<[u8]>, change: F) -> Result<Option<Bytes>>
    where
        F: FnMut(Option<Bytes>) -> Option<V>,
        V: Into<Bytes>,
    {
        self.home.run(self.as_async().update(key, change))
    }

    /// As [`update`](Db::update), written as `options` say.
    pub fn update_with<F, V>(&self, key: impl AsRef<[u8]>, change: F, options: WriteOptions) -> Result<Option<Bytes>>
    where
        F: FnMut(Option<Bytes>) -> Option<V>,
        V: Into<Bytes>,
    {
        self.home.run(self.as_async().update_with(key, change, options))
    }

    /// Adds `delta` to the number at `key`, and returns the sum: see [`halite::Db::increment`](crate::Db::increment).
    ///
    /// ```
    /// # fn main() -> halite::Result<()> {
    /// let db = halite::blocking::Db::open("mem:")?;
    /// assert_eq!(db.increment("visits", 2)?, 2);
    /// # db.close()
    /// # }
    /// ```
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        self.home.run(self.as_async().increment(key, delta))
    }

    /// As [`increment`](Db::increment), written as `options` say.
    pub fn increment_with(&self, key: impl AsRef<[u8]>, delta: i64, options: WriteOptions) -> Result<i64> {
        self.home.run(self.as_async().increment_with(key, delta, options))
    }

    /// Sets how long `key` lives from now on: see [`halite::Db::expire`](crate::Db::expire).
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.home.run(self.as_async().expire(key, ttl))
    }

    /// As [`expire`](Db::expire), written as `options` say.
    pub fn expire_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<bool> {
        self.home.run(self.as_async().expire_with(key, options))
    }

    /// Lets `key` live for ever: see [`halite::Db::persist`](crate::Db::persist).
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.home.run(self.as_async().persist(key))
    }

    /// Takes what the clock says for right after a leap: see [`halite::Db::confirm_time`](crate::Db::confirm_time).
    pub fn confirm_time(&self) -> Result<()> {
        self.home.run(self.as_async().confirm_time())
    }

    /// How long `key` will go on to live: see [`halite::Db::ttl`](crate::Db::ttl).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        self.home.run(self.as_async().ttl(key))
    }
}
