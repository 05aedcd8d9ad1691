//! Verification: reads every byte of every sealed segment and reports every place that is damaged.

use crate::version::Version;
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file, as the backend names it.
    pub file: String,
    /// The offset in it.
    pub offset: u64,
    /// What was expected and what was found.
    pub what: String,
}

/// What a verification has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Every damaged place. Empty: all is well.
    pub damage: Vec<Damage>,
}

/// Verifies the sealed segments of `version`, one after the other.
pub(crate) async fn verify(version: &Version) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let mut seen = HashSet::new();
    for segment in version.segments() {
        if !seen.insert(segment.meta.id) {
            return Err(Error::new(
                ErrorKind::Corruption,
                format!("segment {} stands in the version twice", segment.meta.id),
            ));
        }
        let findings = segment.verify().await?;
        report.segments += 1;
        report.records += findings.records;
        report.bytes += segment.meta.len;
        let place = |damage: crate::format::Damage| Damage {
            file: segment.path().to_string(),
            offset: damage.offset,
            what: damage.what,
        };
        report.damage.extend(findings.damage.into_iter().map(place));
    }
    Ok(report)
}
