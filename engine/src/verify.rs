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

/// How far a verification has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments that are done.
    pub segments: u64,
    /// Segments there are.
    pub segments_total: u64,
    /// Bytes that have been read.
    pub bytes: u64,
    /// Bytes there are.
    pub bytes_total: u64,
    /// Records that have been read.
    pub records: u64,
    /// Damaged places found in the segments that are done.
    pub damage: u64,
}

/// Verifies the sealed segments of `version`, one after the other, and tells `progress` now and then how far it is.
#[tracing::instrument(target = "halite", level = "info", skip_all)]
pub(crate) async fn verify(version: &Version, mut progress: impl FnMut(VerifyProgress) + Send) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let total = version.segments().fold(VerifyProgress::default(), |total, segment| VerifyProgress {
        segments_total: total.segments_total + 1,
        bytes_total: total.bytes_total + segment.meta.len,
        ..total
    });
    let at = |report: &VerifyReport, bytes, records| VerifyProgress {
        segments: report.segments,
        bytes: report.bytes + bytes,
        records: report.records + records,
        damage: report.damage.len() as u64,
        ..total
    };
    progress(total);
    let mut seen = HashSet::new();
    for segment in version.segments() {
        if !seen.insert(segment.meta.id) {
            return Err(Error::new(
                ErrorKind::Corruption,
                format!("segment {} stands in the version twice", segment.meta.id),
            ));
        }
        let findings = segment.verify(&mut |bytes, records| progress(at(&report, bytes, records))).await?;
        report.segments += 1;
        report.records += findings.records;
        report.bytes += segment.meta.len;
        let place = |damage: crate::format::Damage| Damage {
            file: segment.path().to_string(),
            offset: damage.offset,
            what: damage.what,
        };
        report.damage.extend(findings.damage.into_iter().map(place));
        progress(at(&report, 0, 0));
    }
    Ok(report)
}
