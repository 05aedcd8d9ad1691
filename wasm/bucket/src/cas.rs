//! Compare-and-swap in two steps, as `wasi:keyvalue` has it: look, then swap if nobody has written meanwhile.

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::views::Record;
use bytes::Bytes;

/// A key as it was when somebody looked.
#[derive(Clone, Debug)]
pub struct Cas {
    bucket: Bucket,
    key: Vec<u8>,
    found: Option<Record>,
}

/// What came of a swap.
#[derive(Debug)]
pub enum Swap {
    /// It is done.
    Done,
    /// The key was written meanwhile; here is how it is now.
    Changed(Cas),
}

impl Bucket {
    /// Looks at `key`.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub async fn look(&self, key: &[u8]) -> Result<Cas> {
        Ok(Cas { found: self.get_record(key).await?, bucket: self.clone(), key: key.to_vec() })
    }
}

impl Cas {
    /// What the key held.
    pub fn current(&self) -> Option<Bytes> {
        self.found.as_ref().map(|found| found.value.clone())
    }

    /// Sets the key to `value`, if nobody has written it since it was looked at, not even the same value again.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub async fn swap(self, value: &[u8]) -> Result<Swap> {
        let Cas { bucket, key, found } = self;
        let mut transaction = bucket.begin(true);
        // Its read is what the commit is compared with, so what is looked at here is what is there then.
        transaction.get(&key).await?;
        let now = bucket.look(&key).await?;
        if now.found.as_ref().map(|now| now.seq) != found.map(|found| found.seq) {
            return Ok(Swap::Changed(now));
        }
        transaction.put(&key, value, None)?;
        match transaction.commit().await {
            Ok(()) => Ok(Swap::Done),
            Err(Error::Conflict) => Ok(Swap::Changed(bucket.look(&key).await?)),
            Err(error) => Err(error),
        }
    }
}
