//! Several keys in one call, as `wasi:keyvalue` has it: keys are text, and values owned.

use crate::bucket::{Bucket, Write};
use crate::error::Result;

impl Bucket {
    /// What these keys hold at one moment, in their order; `None` for one that is absent.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>> {
        let snapshot = self.snapshot();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = snapshot.get(key.as_bytes()).await?;
            found.push(value.map(|value| (key, value.into())));
        }
        Ok(found)
    }

    /// Sets all of these for ever, or none; of a key that comes twice the last value stands.
    ///
    /// # Errors
    /// As [`put`](Bucket::put).
    pub async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<()> {
        let writes = pairs.into_iter().map(|(key, value)| Write::Put { key: key.into_bytes(), value, ttl: None });
        self.write(writes.collect()).await
    }

    /// Deletes all of these, or none.
    ///
    /// # Errors
    /// As [`put`](Bucket::put).
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<()> {
        self.write(keys.into_iter().map(|key| Write::Delete(key.into_bytes())).collect()).await
    }
}
