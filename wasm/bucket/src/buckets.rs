//! What one guest may open, by the names it knows.

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use halite::Db;
use std::collections::BTreeMap;

/// The buckets of one guest. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    /// By name; `None` stands for one that the guest may know of and not open.
    named: BTreeMap<String, Option<Bucket>>,
    others: Option<(Db, Vec<u8>)>,
}

impl Buckets {
    /// None.
    pub fn new() -> Buckets {
        Buckets::default()
    }

    /// And this one, which the guest calls `name`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, bucket: Bucket) -> Buckets {
        self.named.insert(name.into(), Some(bucket));
        self
    }

    /// And one called `name` that the guest is denied: opening it is refused with `AccessDenied`, not `NoSuchBucket`.
    #[must_use]
    pub fn denied(mut self, name: impl Into<String>) -> Buckets {
        self.named.insert(name.into(), None);
        self
    }

    /// And one for any other name, made when it is first written to: in `db`, under `prefix`, a byte that says how long
    /// the name is, and the name. Names of more than 255 bytes are refused.
    #[must_use]
    pub fn with_others(mut self, db: &Db, prefix: impl AsRef<[u8]>) -> Buckets {
        self.others = Some((db.clone(), prefix.as_ref().to_vec()));
        self
    }

    /// The bucket that the guest calls `name`.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub fn open(&self, name: &str) -> Result<Bucket> {
        match (self.named.get(name), &self.others) {
            (Some(Some(bucket)), _) => Ok(bucket.clone()),
            (Some(None), _) => Err(Error::AccessDenied),
            (None, Some((db, prefix))) => {
                // The length first, so that no bucket's prefix begins another's.
                let len = u8::try_from(name.len()).map_err(|_| Error::NoSuchBucket)?;
                Ok(Bucket::new(db, [prefix, &[len][..], name.as_bytes()].concat()))
            }
            (None, None) => Err(Error::NoSuchBucket),
        }
    }
}
