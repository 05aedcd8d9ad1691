//! Blocking scans: iterators over the entries of a range, of the database or as a transaction sees it.

use super::home::Home;
use crate::typed::{Course, courses};
use crate::{Entry, Result};
use futures::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries that are taken at once where they are at hand, so that a call into the runtime is paid for once.
const AHEAD: usize = 64;

/// The entries of a range, in byte order of their keys: an [`Iterator`] of `Result<Entry>`, and otherwise as
/// [`halite::Scan`](crate::Scan).
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// db.write(halite::WriteBatch::new().put("a", "1").put("b", "2").put("c", "3"))?;
/// for entry in db.scan("a".."c").keys_only() {
///     println!("{:?}", entry?.key);
/// }
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scan does nothing unless it is iterated over"]
pub struct Scan {
    // Dropped in this order: what reads goes before the runtime may.
    scan: crate::Scan,
    ahead: VecDeque<Result<Entry>>,
    home: Arc<Home>,
}

impl Scan {
    pub(super) fn new(scan: crate::Scan, home: Arc<Home>) -> Scan {
        Scan { scan, ahead: VecDeque::new(), home }
    }

    /// Goes from the largest key of the range down to the smallest: see [`halite::Scan::rev`](crate::Scan::rev).
    pub fn rev(self) -> Scan {
        Scan { scan: self.scan.rev(), ..self }
    }

    /// Gives keys without values: see [`halite::Scan::keys_only`](crate::Scan::keys_only).
    pub fn keys_only(self) -> Scan {
        Scan { scan: self.scan.keys_only(), ..self }
    }

    /// Ends after `count` entries.
    pub fn limit(self, count: usize) -> Scan {
        Scan { scan: self.scan.limit(count), ..self }
    }

    /// Takes the next entry, and those that follow without waiting.
    async fn fill(scan: &mut crate::Scan, ahead: &mut VecDeque<Result<Entry>>) {
        let mut next = scan.next().await;
        while let Some(entry) = next {
            ahead.push_back(entry);
            if ahead.len() >= AHEAD {
                return;
            }
            next = scan.next().now_or_never().flatten();
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.ahead.is_empty()
            && let Err(error) = self.home.host().run(Scan::fill(&mut self.scan, &mut self.ahead))
        {
            return Some(Err(error));
        }
        self.ahead.pop_front()
    }
}

/// The entries of a range as a transaction sees them: an [`Iterator`] of `Result<Entry>`, and otherwise as
/// [`halite::TransactionScan`](crate::TransactionScan).
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// let transaction = db.begin();
/// transaction.put("a", "1")?;
/// assert_eq!(transaction.scan("a"..).count(), 1);
/// transaction.commit()?;
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scan does nothing unless it is iterated over"]
pub struct TransactionScan {
    // Dropped in this order: what reads goes before the runtime may.
    scan: crate::TransactionScan,
    home: Arc<Home>,
}

impl TransactionScan {
    pub(super) fn new(scan: crate::TransactionScan, home: Arc<Home>) -> TransactionScan {
        TransactionScan { scan, home }
    }

    /// Goes from the largest key of the range down to the smallest: see [`halite::Scan::rev`](crate::Scan::rev).
    pub fn rev(self) -> TransactionScan {
        TransactionScan { scan: self.scan.rev(), ..self }
    }

    /// Gives keys without values: see [`halite::Scan::keys_only`](crate::Scan::keys_only).
    pub fn keys_only(self) -> TransactionScan {
        TransactionScan { scan: self.scan.keys_only(), ..self }
    }

    /// Ends after `count` entries.
    pub fn limit(self, count: usize) -> TransactionScan {
        TransactionScan { scan: self.scan.limit(count), ..self }
    }
}

impl Iterator for TransactionScan {
    type Item = Result<Entry>;

    /// Takes one at a time: what it came to counts as read.
    fn next(&mut self) -> Option<Result<Entry>> {
        match self.home.host().run(self.scan.next()) {
            Ok(next) => next,
            Err(error) => Some(Err(error)),
        }
    }
}

pub(super) mod sealed {
    #![allow(private_interfaces, reason = "only what is here calls it")]
    use super::*;

    /// An async scan that has a blocking one.
    pub trait Blocking: Course {
        /// The blocking one.
        type Scan: Course + Iterator<Item = Result<Entry>>;

        /// As that, in the runtime of `home`.
        fn blocking(self, home: Arc<Home>) -> Self::Scan;
    }

    impl Blocking for crate::Scan {
        type Scan = Scan;

        fn blocking(self, home: Arc<Home>) -> Scan {
            Scan::new(self, home)
        }
    }

    impl Blocking for crate::TransactionScan {
        type Scan = TransactionScan;

        fn blocking(self, home: Arc<Home>) -> TransactionScan {
            TransactionScan::new(self, home)
        }
    }
}

courses!(Scan, TransactionScan);
