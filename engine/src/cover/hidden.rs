//! Tells whoever walks keys in order what range tombstones hide, without a search for every key.

use super::list::around;
use super::{Cover, Interval};
use crate::Seq;
use crate::range::Direction;
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// What covers keys, newest first; none is empty.
    covers: Vec<Arc<Cover>>,
    direction: Direction,
    /// Where the walk is: what holds for the keys ahead until these end.
    here: Option<Interval>,
}

impl Hidden {
    /// What `covers`, newest first, hide from a walk in `direction`.
    pub(crate) fn new(mut covers: Vec<Arc<Cover>>, direction: Direction) -> Hidden {
        covers.retain(|cover| !cover.is_empty());
        Hidden { covers, direction, here: None }
    }

    /// The newest tombstone over `key`, the walk's next; 0 where there is none.
    #[inline]
    pub(crate) fn over(&mut self, key: &[u8]) -> Seq {
        if self.covers.is_empty() { 0 } else { self.look(key) }
    }

    fn look(&mut self, key: &[u8]) -> Seq {
        let direction = self.direction;
        let holds = |here: &&Interval| match direction {
            Direction::Forward => here.end.as_ref().is_none_or(|end| *key < end[..]),
            Direction::Backward => here.start.as_ref().is_none_or(|start| *key >= start[..]),
        };
        match self.here.as_ref().filter(holds) {
            Some(here) => here.seq,
            None => self.here.insert(around(&self.covers, key)).seq,
        }
    }

    /// Around the key that was last asked for: for which keys the same holds.
    pub(crate) fn here(&self) -> Option<&Interval> {
        self.here.as_ref()
    }
}
