//! Keeps credentials out of what is shown.
//!
//! OpenDAL's own words for an error hold the request's URI, where Azure's and others' signatures stand, and may hold what
//! was wrong with an option, its value included. So of an error only the message and its first cause are shown, and both
//! without the queries of URIs and without the values of options that are no place names.

use crate::uri::without_queries;
use crate::{Error, ErrorKind};
use std::error::Error as _;
use std::fmt;

/// Options of a URI that say where or how, and are no secrets.
const SHOWN: &[&str] = &[
    "account_name",
    "bucket",
    "container",
    "disable_config_load",
    "disable_ec2_metadata",
    "enable_virtual_host_style",
    "endpoint",
    "name",
    "region",
    "root",
    "skip_signature",
];

/// Texts that are never shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// The values of `options` that may be secrets.
    pub(crate) fn of<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Secrets {
        let hidden = options.into_iter().filter(|(name, value)| !SHOWN.contains(name) && !value.is_empty());
        Secrets(hidden.map(|(_, value)| value.to_owned()).collect())
    }

    /// The failure of `op` on `path` that `error` tells of.
    pub(crate) fn error(
        &self,
        kind: ErrorKind,
        op: &'static str,
        path: impl fmt::Display,
        error: &opendal::Error,
    ) -> Error {
        let mut text = error.message().to_owned();
        let mut cause = error.source();
        while let Some(deeper) = cause.and_then(|cause| cause.source()) {
            cause = Some(deeper);
        }
        if let Some(cause) = cause.map(ToString::to_string).filter(|cause| !text.contains(cause)) {
            text = format!("{text}: {cause}");
        }
        Error::new(kind, op, path, self.hide(&text))
    }

    /// `text` in one line, without what is not to be shown.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for secret in &self.0 {
            text = text.replace(secret, "…");
        }
        without_queries(&text)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}
