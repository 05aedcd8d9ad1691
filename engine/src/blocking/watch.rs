//! Blocking watches: iterators over commits.

use super::home::Home;
use crate::{Commit, Result, Seq};
use futures::StreamExt;
use std::sync::Arc;

/// The commits of a database in their order: an [`Iterator`] of `Result<Commit>`, which blocks until the next one comes,
/// and otherwise as [`halite::Watch`](crate::Watch).
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// db.put("a", "1")?;
/// db.delete("a")?;
/// for commit in db.watch("", 1).until(2) {
///     println!("{:?}", commit?.changes);
/// }
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a watch does nothing unless it is iterated over"]
pub struct Watch {
    // Dropped in this order: what reads goes before the runtime may.
    watch: crate::Watch,
    home: Arc<Home>,
}

impl Watch {
    pub(super) fn new(watch: crate::Watch, home: Arc<Home>) -> Watch {
        Watch { watch, home }
    }

    /// Ends behind the commit that `seq` belongs to: see [`halite::Watch::until`](crate::Watch::until).
    pub fn until(self, seq: Seq) -> Watch {
        Watch { watch: self.watch.until(seq), ..self }
    }

    /// Where another watch would go on: see [`halite::Watch::position`](crate::Watch::position).
    pub fn position(&self) -> Seq {
        self.watch.position()
    }
}

impl Iterator for Watch {
    type Item = Result<Commit>;

    fn next(&mut self) -> Option<Result<Commit>> {
        match self.home.host().run(self.watch.next()) {
            Ok(next) => next,
            Err(error) => Some(Err(error)),
        }
    }
}
