//! The public error: a kind that tells the caller what to do next, a message for the operator, and the cause.

use crate::format::Fault;
use halite_backends as backends;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for the caller.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::ErrorKind;
/// let db = halite::Db::open("mem:").await?;
/// let failed = db.put(vec![0; 100_000], "a key too long").await.unwrap_err();
/// match failed.kind() {
///     ErrorKind::InvalidInput => println!("{failed}"),
///     ErrorKind::Unknown | ErrorKind::Poisoned => drop(db.reopen().await?),
///     _ => return Err(failed),
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong: a key too long, an option out of bounds, an unknown URI. Nothing happened; correct it.
    InvalidInput,
    /// There is no store here and none was to be created, or no checkpoint of that name. Check the path, or the name.
    NotFound,
    /// There is one of that name already. Nothing happened; choose another name.
    AlreadyExists,
    /// Something is here, but it is no Halite store, or one that this version cannot read, or another one than a handle was
    /// opened with. Nothing was touched.
    NotAStore,
    /// The store is open elsewhere. Close it there first.
    InUse,
    /// What was committed last is in a log that is kept elsewhere: on another machine, or in another folder of this one; or the
    /// log here holds commits with which the store does not go on. Open them as they belong together, or give that up
    /// ([`Builder::give_up_log`](crate::Builder::give_up_log)).
    LogElsewhere,
    /// Data is damaged: the message names file, offset, expected and found. Other data stays readable; run `verify`.
    Corruption,
    /// This build lacks what it takes; the message names it. Use one that has it.
    Unsupported,
    /// What is stored is whole, but not of the type asked for: the message names collection and key. Read it with the types
    /// that it was written with.
    WrongType,
    /// No room is left. Nothing of this write happened; free some space and go on.
    NoSpace,
    /// The caller lacks the rights to the store. Check its owner and mode.
    PermissionDenied,
    /// Another writer has taken over. This handle will never write again; open the store anew if that was a mistake.
    Fenced,
    /// Whether the commit took effect is not known: it was under way when the log failed. Reopen, then look.
    Unknown,
    /// An earlier failure, given as the source, stopped all writing. This write did not happen. Reads go on; reopen to
    /// write again.
    Poisoned,
    /// The database has been closed. Open it again.
    Closed,
    /// You have cancelled it. Nothing has changed.
    Cancelled,
    /// The past that was asked for is not kept any more: the message says from where on it is. Begin anew from a snapshot; a
    /// reader, with a refresh.
    Gone,
    /// It is to be kept until a time that the message tells, and cannot be deleted before. Wait.
    Held,
    /// What a transaction rests on was changed by another commit, or more was written since it began than is kept to
    /// compare it with. Nothing happened; run it again, from its beginning.
    Conflict,
    /// The storage failed. What was asked for did not happen, or only in part where the message says so.
    Io,
}

/// A failed call. Cheap to clone, so that all who wait for one cause get it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, Error, ErrorKind};
/// async fn get(db: &Db, key: &str) -> Result<Option<bytes::Bytes>, Error> {
///     let found = db.get(key).await;
///     if let Err(error) = &found
///         && let Some((file, offset)) = error.place()
///     {
///         eprintln!("damaged: {file} at {offset}");
///     }
///     found
/// }
/// let db = Db::open("mem:").await?;
/// # get(&db, "key").await?;
/// db.close().await?;
/// assert_eq!(get(&db, "key").await.unwrap_err().kind(), ErrorKind::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<(String, u64)>,
    source: Option<Source>,
}

enum Source {
    Engine(Error),
    Backend(backends::Error),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), place: None, source: None }))
    }

    /// This error, explained as the consequence of `cause`.
    pub(crate) fn caused_by(kind: ErrorKind, message: impl Into<String>, cause: Error) -> Error {
        let place = cause.0.place.clone();
        Error(Arc::new(Inner { kind, message: message.into(), place, source: Some(Source::Engine(cause)) }))
    }

    /// Damage in `file` at `offset`.
    pub(crate) fn corruption(file: impl fmt::Display, offset: u64, what: impl fmt::Display) -> Error {
        let file = file.to_string();
        let message = format!("corrupt data: {what} file={file} offset={offset}");
        Error(Arc::new(Inner { kind: ErrorKind::Corruption, message, place: Some((file, offset)), source: None }))
    }

    /// What a decoder complained of in `file`.
    pub(crate) fn in_file(file: impl fmt::Display, fault: impl Into<Fault>) -> Error {
        match fault.into() {
            Fault::Damage(damage) => Error::corruption(file, damage.offset, damage.what),
            Fault::Newer(what) => Error::new(ErrorKind::NotAStore, format!("{what} file={file}")),
        }
    }

    /// What the error means for the caller.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For damage: the file (as the backend names it) and the offset in it.
    pub fn place(&self) -> Option<(&str, u64)> {
        self.0.place.as_ref().map(|(file, offset)| (file.as_str(), *offset))
    }

    /// The backend's error at the bottom of the chain of causes, if that is where it began.
    pub fn backend(&self) -> Option<&backends::Error> {
        match self.0.source.as_ref()? {
            Source::Engine(cause) => cause.backend(),
            Source::Backend(cause) => Some(cause),
        }
    }
}

impl From<backends::Error> for Error {
    fn from(cause: backends::Error) -> Error {
        use backends::ErrorKind as Backend;
        let kind = match cause.kind() {
            Backend::NotFound => ErrorKind::NotFound,
            Backend::NoSpace => ErrorKind::NoSpace,
            Backend::PermissionDenied => ErrorKind::PermissionDenied,
            Backend::InUse => ErrorKind::InUse,
            Backend::InvalidInput | Backend::Unsupported => ErrorKind::InvalidInput,
            Backend::Unknown => ErrorKind::Unknown,
            _ => ErrorKind::Io,
        };
        Error(Arc::new(Inner { kind, message: String::new(), place: None, source: Some(Source::Backend(cause)) }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            // An error that only passes a backend's on says what that says.
            Some(Source::Backend(cause)) if self.0.message.is_empty() => fmt::Display::fmt(cause, f),
            _ => f.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.0.source.as_ref()? {
            Source::Engine(cause) => Some(cause),
            Source::Backend(cause) if self.0.message.is_empty() => cause.source(),
            Source::Backend(cause) => Some(cause),
        }
    }
}
