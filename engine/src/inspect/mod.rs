//! What single files say of themselves: for people who look after a store, and for tools.
//!
//! Nothing is opened, locked or written: a file is read as it stands, beside the process that writes it if there is one.
//! Damage is no error here but in the [`Inspection`], beside what could be read all the same.

mod manifest;
mod segment;

pub use manifest::manifest;
pub use segment::{record, segment};

use crate::format::{self, Fault};
use crate::verify::Damage;
use crate::{Error, Result};
use bytes::Bytes;
use halite_backends::Path;

/// What was found out about a file, or a part of one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::inspect::{self, Fact};
/// use halite::{Db, backends::Memory};
/// use std::sync::Arc;
/// let backend = Arc::new(Memory::new());
/// let db = Db::builder(backend.clone()).open().await?;
/// db.put("key", "value").await?;
/// db.close().await?;
/// let newest = inspect::manifest(backend.clone(), None).await?;
/// assert!(newest.damage.is_empty());
/// assert_eq!(newest.get("epoch"), Some(&Fact::Number(1)));
/// let reader = Db::builder(backend.clone()).open_read_only().await?;
/// for segment in reader.tree().await?.runs.iter().flat_map(|run| &run.segments) {
///     let found = inspect::segment(backend.clone(), &segment.file).await?;
///     assert_eq!(found.get("records_verified"), Some(&Fact::Number(1)));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// The file, as the backend names it.
    pub file: String,
    /// Its length in bytes, when it was looked at.
    pub len: u64,
    /// What it says, in the order of its bytes.
    pub facts: Vec<(&'static str, Fact)>,
    /// What is wrong with it. Empty: nothing, as far as was looked.
    pub damage: Vec<Damage>,
}

/// A value that a file holds.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::inspect::{self, Fact};
/// use halite::{Db, backends::Memory};
/// use std::sync::Arc;
/// let backend = Arc::new(Memory::new());
/// let db = Db::builder(backend.clone()).open().await?;
/// match inspect::manifest(backend, None).await?.get("log") {
///     Some(Fact::Group(log)) => log.iter().for_each(|(name, fact)| println!("{name}: {fact:?}")),
///     other => println!("{other:?}"),
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// Nothing stands there.
    None,
    /// Yes or no.
    Flag(bool),
    /// A number, a length in bytes, or a time in milliseconds since the Unix epoch.
    Number(u64),
    /// A word of ours: a kind, a name, a number in hexadecimal digits.
    Text(String),
    /// Bytes of the user's: a key or a value.
    Bytes(Bytes),
    /// Several of one kind.
    List(Vec<Fact>),
    /// Several that belong together, by name.
    Group(Vec<(&'static str, Fact)>),
}

impl From<u64> for Fact {
    fn from(number: u64) -> Fact {
        Fact::Number(number)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Fact {
        Fact::Flag(flag)
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Fact {
        Fact::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Fact {
        Fact::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Fact {
    fn from(bytes: Vec<u8>) -> Fact {
        Fact::Bytes(bytes.into())
    }
}

impl<T: Into<Fact>> From<Option<T>> for Fact {
    fn from(fact: Option<T>) -> Fact {
        fact.map_or(Fact::None, Into::into)
    }
}

/// A random number, or a checksum: nobody adds these up.
fn hex(number: u64) -> Fact {
    Fact::Text(format!("{number:016x}"))
}

fn hex_of(bytes: &[u8]) -> Fact {
    Fact::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Inspection {
    fn new(path: &Path, len: u64) -> Inspection {
        Inspection { file: path.to_string(), len, facts: Vec::new(), damage: Vec::new() }
    }

    /// The fact of that name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.facts.iter().find(|(found, _)| *found == name).map(|(_, fact)| fact)
    }

    fn add(&mut self, name: &'static str, fact: impl Into<Fact>) {
        self.facts.push((name, fact.into()));
    }

    fn damaged(&mut self, damage: format::Damage) {
        self.damage.push(Damage { file: self.file.clone(), offset: damage.offset, what: damage.what });
    }

    /// What was decoded; damage is noted, and a newer format an error.
    fn note<T>(&mut self, decoded: Result<T, impl Into<Fault>>) -> Result<Option<T>> {
        match decoded.map_err(Into::into) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(Fault::Damage(damage)) => {
                self.damaged(damage);
                Ok(None)
            }
            Err(newer) => Err(Error::in_file(&self.file, newer)),
        }
    }
}

#[cfg(test)]
mod tests;
