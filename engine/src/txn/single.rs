//! Changes of one key that depend on what it holds: compare-and-swap, update, increment, and those of its lifetime.
//!
//! They are commits on condition, as transactions are, with one difference: they look at the newest record that is
//! *ordered*, visible or not. So many that change one key at the same time need not wait for one another, and share the
//! write and the sync that make them durable. Their own commit is visible and acknowledged only after all before it; and
//! an answer that rests on a record which is not visible yet waits until it is.

use crate::batch::Write;
use crate::batch::check_lens;
use crate::commit::{Condition, Footprint};
use crate::db::Db;
use crate::get::{self, Newest};
use crate::planted::{Bug, planted};
use crate::{Durability, Error, ErrorKind, Result, WriteOptions, hash};
use bytes::Bytes;
use std::time::Duration;

/// What is to become of a key.
enum Decision<T> {
    /// Nothing; the answer.
    Leave(T),
    /// It gets a value, or is deleted where there is none; the answer.
    Write { value: Option<Bytes>, expires_at: Option<u64>, answer: T },
}

impl Db {
    /// Sets `key` to `new` (deletes it if `None`), if it holds just `expected` (nothing if `None`). Whether it did.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// assert!(db.compare_and_swap("lock", None, Some(b"mine")).await?);
    /// assert!(!db.compare_and_swap("lock", None, Some(b"yours")).await?);
    /// assert!(db.compare_and_swap("lock", Some(b"mine"), None).await?);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put`](Db::put).
    ///
    /// # Cancel safety
    /// As [`put`](Db::put).
    pub async fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        self.compare_and_swap_with(key, expected, new, self.defaults()).await
    }

    /// As [`compare_and_swap`](Db::compare_and_swap), written as `options` say.
    pub async fn compare_and_swap_with(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        options: WriteOptions,
    ) -> Result<bool> {
        check_lens(0, new.map_or(0, <[u8]>::len))?;
        let new = new.map(Bytes::copy_from_slice);
        let decide = |found: Option<Newest>| {
            let found = found.as_ref().map(|newest| &newest.value[..]);
            Ok(match (found == expected, &new) {
                (false, _) => Decision::Leave(false),
                (true, None) if found.is_none() => Decision::Leave(true),
                (true, new) => {
                    Decision::Write { value: new.clone(), expires_at: self.expiry(options.ttl), answer: true }
                }
            })
        };
        self.change(key.as_ref(), options.durability, decide).await
    }

    /// Sets `key` to what `change` makes of its value (`None` stands for an absent key, in both directions), and returns
    /// that. A key that was there keeps its expiry.
    ///
    /// `change` may run several times, each time with a newer value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("greeting", "Hello").await?;
    /// let greeting = db.update("greeting", |found| found.map(|found| [&found[..], b"!"].concat())).await?;
    /// assert_eq!(greeting.as_deref(), Some(&b"Hello!"[..]));
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put`](Db::put).
    ///
    /// # Cancel safety
    /// As [`put`](Db::put).
    pub async fn update<F, V>(&self, key: impl AsRef<[u8]>, change: F) -> Result<Option<Bytes>>
    where
        F: FnMut(Option<Bytes>) -> Option<V>,
        V: Into<Bytes>,
    {
        self.update_with(key, change, self.defaults()).await
    }

    /// As [`update`](Db::update), written as `options` say; a `ttl` among them counts for a key that was there, too.
    pub async fn update_with<F, V>(
        &self,
        key: impl AsRef<[u8]>,
        mut change: F,
        options: WriteOptions,
    ) -> Result<Option<Bytes>>
    where
        F: FnMut(Option<Bytes>) -> Option<V>,
        V: Into<Bytes>,
    {
        let decide = |found: Option<Newest>| {
            let was_there = found.is_some();
            let expires_at = self.kept_expiry(found.as_ref(), options.ttl);
            let value: Option<Bytes> = change(found.map(|newest| newest.value)).map(Into::into);
            check_lens(0, value.as_ref().map_or(0, Bytes::len))?;
            if value.is_none() && !was_there {
                return Ok(Decision::Leave(None));
            }
            Ok(Decision::Write { answer: value.clone(), value, expires_at })
        };
        self.change(key.as_ref(), options.durability, decide).await
    }

    /// Adds `delta` to the number at `key`, and returns the sum. An absent key counts as 0; one that was there keeps its
    /// expiry.
    ///
    /// The value is the number's decimal text, an `i64`, as `put("n", "42")` would write it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// assert_eq!(db.increment("visits", 2).await?, 2);
    /// assert_eq!(db.increment("visits", -3).await?, -1);
    /// assert_eq!(db.get("visits").await?.as_deref(), Some(&b"-1"[..]));
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` where the value is no such number, or the sum is none: nothing happened. Else as
    /// [`put`](Db::put).
    ///
    /// # Cancel safety
    /// As [`put`](Db::put).
    pub async fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        self.increment_with(key, delta, self.defaults()).await
    }

    /// As [`increment`](Db::increment), written as `options` say; a `ttl` among them counts for a key that was there,
    /// too.
    pub async fn increment_with(&self, key: impl AsRef<[u8]>, delta: i64, options: WriteOptions) -> Result<i64> {
        let decide = |found: Option<Newest>| {
            let expires_at = self.kept_expiry(found.as_ref(), options.ttl);
            let number = found.map_or(Ok(0), |newest| number(&newest.value))?;
            let refused = || Error::new(ErrorKind::InvalidInput, format!("overflow number={number} delta={delta}"));
            let sum = number.checked_add(delta).ok_or_else(refused)?;
            Ok(Decision::Write { value: Some(sum.to_string().into()), expires_at, answer: sum })
        };
        self.change(key.as_ref(), options.durability, decide).await
    }

    /// Sets how long `key` lives from now on, and leaves its value as it is; for ever with
    /// [`FOR_EVER`](WriteOptions::FOR_EVER). Whether it was there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use std::time::Duration;
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("session", "…").await?;
    /// assert!(db.expire("session", Duration::from_secs(60)).await?);
    /// assert!(db.persist("session").await?);
    /// assert!(!db.expire("none", Duration::from_secs(60)).await?);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put`](Db::put): the value is written anew.
    ///
    /// # Cancel safety
    /// As [`put`](Db::put).
    pub async fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.expire_with(key, WriteOptions { ttl: Some(ttl), ..self.defaults() }).await
    }

    /// As [`expire`](Db::expire), written as `options` say; the time to live is their `ttl`, or else the database's.
    pub async fn expire_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<bool> {
        let decide = |found: Option<Newest>| {
            let Some(found) = found else { return Ok(Decision::Leave(false)) };
            let expires_at = self.expiry(options.ttl);
            if expires_at == found.expires_at {
                return Ok(Decision::Leave(true));
            }
            Ok(Decision::Write { value: Some(found.value), expires_at, answer: true })
        };
        self.change(key.as_ref(), options.durability, decide).await
    }

    /// Lets `key` live for ever, and leaves its value as it is. Whether it was there. Otherwise as
    /// [`expire`](Db::expire).
    pub async fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.expire(key, WriteOptions::FOR_EVER).await
    }

    fn defaults(&self) -> WriteOptions {
        WriteOptions { durability: self.core().options.durability, ttl: None }
    }

    /// The expiry of a value that takes the place of `found`.
    fn kept_expiry(&self, found: Option<&Newest>, ttl: Option<Duration>) -> Option<u64> {
        match (found, ttl) {
            (Some(found), None) => found.expires_at,
            _ => self.expiry(ttl),
        }
    }

    /// Does what `decide` makes of the newest that `key` holds, with nothing in between.
    async fn change<T>(
        &self,
        key: &[u8],
        level: Durability,
        mut decide: impl FnMut(Option<Newest>) -> Result<Decision<T>>,
    ) -> Result<T> {
        let core = self.core();
        core.check_open()?;
        check_lens(key.len(), 0)?;
        loop {
            let opened = core.log.open_window();
            let view = core.view_of_ordered();
            let newest = get::newest_at(core, &view, key).await?;
            let seq = newest.as_ref().map_or(0, |newest| newest.seq);
            let found = newest.and_then(|newest| newest.live(|| view.now));
            let mut footprint = Footprint::default();
            if !planted(Bug::ChangeUnconditional) {
                footprint.add_key(hash::hash(core.epoch.hash_seed, key), key);
            }
            footprint.add_expiry(found.as_ref().and_then(|found| found.expires_at));
            let (value, expires_at, answer) = match decide(found) {
                Ok(Decision::Write { value, expires_at, answer }) => (value, expires_at, answer),
                left => {
                    core.log.passed(seq).await?;
                    return left.map(|left| match left {
                        Decision::Leave(answer) | Decision::Write { answer, .. } => answer,
                    });
                }
            };
            let mut condition = Condition::new(footprint, view, opened.era(), core.clock.clone());
            let write = Write::sharing(key, value.as_ref(), expires_at);
            match core.log.commit_if(&mut condition, std::iter::once(write), level).await {
                // Someone else has changed it, so someone gets on.
                Err(error) if error.kind() == ErrorKind::Conflict => tokio::task::yield_now().await,
                outcome => return outcome.map(|()| answer),
            }
        }
    }
}

/// The number that a value is the text of.
fn number(value: &[u8]) -> Result<i64> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let shown = value[..value.len().min(24)].escape_ascii();
        Error::new(ErrorKind::InvalidInput, format!("not a number of 64 bits value=\"{shown}\""))
    })
}
