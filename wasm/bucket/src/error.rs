//! Why a guest did not get what it asked for.

use halite::ErrorKind;

/// The result of a call on a bucket.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a guest did not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no bucket of that name for this guest.
    NoSuchBucket,
    /// The bucket is not for this guest, or not for writing.
    AccessDenied,
    /// The bucket would hold more than it may. Nothing has changed.
    QuotaExceeded,
    /// What a transaction rests on was changed by another. Nothing has changed; run it again.
    Conflict,
    /// The guest holds as many handles as it may: it has to drop some. Nothing has changed.
    TooManyHandles,
    /// What was asked makes no sense; this says why. Nothing has changed.
    Invalid(String),
    /// The database failed; this says how.
    Other(String),
}

impl From<halite::Error> for Error {
    fn from(error: halite::Error) -> Error {
        match error.kind() {
            ErrorKind::Conflict => Error::Conflict,
            ErrorKind::InvalidInput => Error::Invalid(error.to_string()),
            _ => Error::Other(error.to_string()),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Error::NoSuchBucket => "no such bucket",
            Error::AccessDenied => "access denied",
            Error::QuotaExceeded => "quota exceeded",
            Error::Conflict => "conflict with another commit",
            Error::TooManyHandles => "too many handles",
            Error::Invalid(why) | Error::Other(why) => why,
        })
    }
}

impl std::error::Error for Error {}
