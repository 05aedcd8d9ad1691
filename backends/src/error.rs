//! What can go wrong in a backend, in the few kinds that tell the engine what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of a backend call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failure means for the caller.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, ErrorKind, Memory, Path};
/// let (store, path) = (Memory::new(), Path::new("name")?);
/// assert_eq!(store.open(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
/// store.create(&path, "bytes".into()).await?;
/// assert_eq!(store.create(&path, "others".into()).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name does not exist. Nothing happened.
    NotFound,
    /// The name exists already. Nothing happened.
    AlreadyExists,
    /// There is no room. What was asked for did not happen; room may come back.
    NoSpace,
    /// The caller lacks the rights. Nothing happened.
    PermissionDenied,
    /// Somebody else holds the exclusive lock.
    InUse,
    /// The backend cannot do this at all (see [`Capabilities`](crate::Capabilities)). Nothing happened.
    Unsupported,
    /// The request itself is wrong. Nothing happened.
    InvalidInput,
    /// Fewer bytes are there than were asked for.
    UnexpectedEof,
    /// Whether the request took effect is not known: it may have, may not have, or may yet.
    Unknown,
    /// The runtime that was to carry out the call has ended. Nothing happened.
    Closed,
    /// Anything else the storage reports. A write or sync that fails so may have happened in part.
    Io,
}

/// A failed backend call: its kind, the call, the name it was about, and the cause. Cheap to clone.
///
/// ```
/// use halite_backends::{Error, ErrorKind};
/// let failed = Error::new(ErrorKind::NoSpace, "append", "segments/0001", "the disk is full");
/// assert_eq!(failed.kind(), ErrorKind::NoSpace);
/// assert!(failed.to_string().contains("segments/0001"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    op: &'static str,
    path: String,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `op` on `path`.
    pub fn new(kind: ErrorKind, op: &'static str, path: impl fmt::Display, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, op, path: path.to_string(), message: message.into(), source: None }))
    }

    /// A failure of `op` on `path` that the operating system reported.
    pub fn io(op: &'static str, path: impl fmt::Display, source: std::io::Error) -> Error {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::NotFound => ErrorKind::NotFound,
            Os::AlreadyExists => ErrorKind::AlreadyExists,
            Os::StorageFull | Os::QuotaExceeded => ErrorKind::NoSpace,
            Os::PermissionDenied | Os::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Os::Unsupported => ErrorKind::Unsupported,
            Os::UnexpectedEof => ErrorKind::UnexpectedEof,
            _ => ErrorKind::Io,
        };
        let source = Some(source.into());
        Error(Arc::new(Inner { kind, op, path: path.to_string(), message: String::new(), source }))
    }

    /// What the failure means for the caller.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Why it failed, in words: without the call and the name.
    ///
    /// ```
    /// use halite_backends::{Error, ErrorKind};
    /// assert_eq!(Error::new(ErrorKind::NoSpace, "append", "segments/1", "the disk is full").reason(), "the disk is full");
    /// ```
    pub fn reason(&self) -> String {
        let Inner { kind, message, source, .. } = &*self.0;
        match (message.is_empty(), source) {
            (false, _) => message.clone(),
            (true, Some(source)) => source.to_string(),
            (true, None) => format!("{kind:?}"),
        }
    }

    /// The name the call was about; the store itself where it was about no single name.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, op, path, message, source } = &*self.0;
        let blank = if path.is_empty() { "" } else { " " };
        write!(f, "cannot {op}{blank}{path}")?;
        match (message.is_empty(), source) {
            (false, _) => write!(f, ": {message}"),
            (true, Some(_)) => Ok(()),
            (true, None) => write!(f, ": {kind:?}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
