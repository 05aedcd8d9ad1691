//! Which files hold the records of a database whose manifests may be damaged, and how their frames are encoded.

use super::{Loss, RepairReport};
use crate::cover::{Cover, Stretch};
use crate::format::footer::{FOOTER_LEN, Footer};
use crate::format::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentKind};
use crate::format::frame::Stream;
use crate::format::header::{HEADER_LEN, Header};
use crate::format::manifest::{Manifest, SegmentMeta};
use crate::format::names::{self, FragmentId, Name, SegmentId};
use crate::publish;
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use halite_backends::{self as backends, Backend, Path};
use std::collections::{BTreeMap, HashSet};

/// A file with frames.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: Path,
    /// What they are encoded against.
    pub(super) stream: Stream,
    /// Where they begin in the file, and where that is in the segment.
    pub(super) frames_at: u64,
    first_offset: u64,
    /// Where they end in the file, if that is known, and how long that should be.
    end: Option<u64>,
    len: Option<u64>,
}

impl File {
    pub(super) fn offset_in_segment(&self, at: u64) -> u64 {
        at - self.frames_at + self.first_offset
    }

    pub(super) fn offset_in_file(&self, offset: u64) -> u64 {
        offset - self.first_offset + self.frames_at
    }

    /// Where the frames end at the latest.
    pub(super) fn frames_end(&self, bytes: &Bytes) -> u64 {
        self.end.or_else(|| footer(self.stream.salt, bytes)).unwrap_or(bytes.len() as u64)
    }

    /// All its bytes; reports it where it is not there, or cut off.
    pub(super) async fn read(&self, backend: &dyn Backend, report: &mut RepairReport) -> Result<Option<Bytes>> {
        let read = publish::read_all(backend, &self.path).await;
        let bytes = missing(read, &self.path, report)?;
        if let (Some(bytes), Some(len)) = (&bytes, self.len)
            && (bytes.len() as u64) < len
        {
            let offset = bytes.len() as u64;
            report.lose(self, offset, len - offset, format!("the file is cut off: it should have {len} bytes"));
        }
        Ok(bytes)
    }

    fn of_segment(path: Path, stream: Stream, end: Option<u64>) -> File {
        File { path, stream, frames_at: HEADER_LEN as u64, first_offset: HEADER_LEN as u64, end, len: None }
    }
}

/// Where the records end that the footer at the end of `bytes` speaks of, if there is one.
fn footer(salt: u64, bytes: &Bytes) -> Option<u64> {
    let at = bytes.len().checked_sub(FOOTER_LEN)?;
    Footer::decode(salt, at as u64, &bytes[at..]).ok().map(|(footer, _)| footer.records_end())
}

/// What is not there is reported.
fn missing<T>(read: Result<T>, path: &Path, report: &mut RepairReport) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            lose(report, path, "the file is missing".to_owned());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn lose(report: &mut RepairReport, path: &Path, what: String) {
    report.losses.push(Loss { file: path.to_string(), offset: 0, bytes: 0, what });
}

/// All files with records.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) files: Vec<File>,
    /// The largest engine time that a manifest tells of.
    pub(super) engine_time: u64,
    /// The range tombstones that a manifest tells of.
    pub(super) ranges: Vec<Stretch>,
}

impl Files {
    /// Looks for them.
    pub(super) async fn find(backend: &dyn Backend, report: &mut RepairReport) -> Result<Files> {
        let manifest = manifest(backend, report).await?;
        let segments = list(backend, names::SEGMENTS).await?;
        let fragments = list(backend, names::LOGS).await?;
        if manifest.is_none() && segments.is_empty() && fragments.is_empty() && report.losses.is_empty() {
            let message = format!("there is no store at {}", backend.location());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let mut files = Files::default();
        if let Some(manifest) = &manifest {
            files.engine_time = manifest.engine_time;
            files.ranges = Cover::from_manifest(&manifest.range_tombstones).into_stretches();
        }
        let named = manifest.as_ref().map(named).unwrap_or_default();
        files.files.extend(named.values().map(|meta| {
            let stream = Stream { salt: meta.salt, base_seq: meta.base_seq };
            // In a sorted segment nothing stands between the records.
            let end = meta.sorted.then_some(HEADER_LEN as u64 + meta.record_bytes);
            File { len: Some(meta.len), ..File::of_segment(Name::Segment(meta.id).path(), stream, end) }
        }));
        let retired: HashSet<_> = manifest.iter().flat_map(|it| &it.retired).map(|retired| &retired.name[..]).collect();
        // What lies behind a fence was never a part of the log.
        let mut fenced = None;
        // The log that is gone through, and the number that comes next in it.
        let mut next = manifest.as_ref().map(|it| ((it.log.epoch, it.log.nonce), it.log.first_fragment));
        for (name, path) in segments.into_iter().chain(fragments) {
            let is_ours = match &name {
                Name::Segment(id) => !named.contains_key(id) && manifest.as_ref().is_none_or(|it| is_logged(it, id)),
                Name::Fragment(id) => manifest.as_ref().is_none_or(|it| {
                    (id.epoch, id.nonce) == (it.log.epoch, it.log.nonce) && id.number >= it.log.first_fragment
                }),
                _ => false,
            };
            let log = if let Name::Fragment(id) = &name { Some((id.epoch, id.nonce)) } else { None };
            let is_behind_fence = log.is_some() && fenced == log;
            if is_ours && !is_behind_fence && !retired.contains(path.as_str()) {
                if let Name::Fragment(id) = &name {
                    let expected = next.filter(|(log, _)| *log == (id.epoch, id.nonce)).map(|(_, number)| number);
                    tell_of_gap(expected.unwrap_or(id.number), id, report);
                    next = Some(((id.epoch, id.nonce), id.number + 1));
                }
                let is_fence = files.add(backend, &name, path, report).await?;
                fenced = if is_fence { log } else { fenced };
            }
        }
        Ok(files)
    }

    /// Adds a file that must tell itself what it is. Returns whether it is a fence.
    async fn add(&mut self, backend: &dyn Backend, name: &Name, path: Path, report: &mut RepairReport) -> Result<bool> {
        let Some(bytes) = missing(publish::read_all(backend, &path).await, &path, report)? else { return Ok(false) };
        let file = match name {
            Name::Fragment(_) => Fragment::decode_header(&bytes).map(|(fragment, ..)| match fragment.kind {
                FragmentKind::Data(slice) => Some(File {
                    path: path.clone(),
                    stream: slice.stream(),
                    frames_at: FRAGMENT_HEADER_LEN as u64,
                    first_offset: slice.first_offset,
                    end: None,
                    len: None,
                }),
                FragmentKind::Fence => None,
            }),
            _ => Header::decode(&bytes).map(|header| Some(File::of_segment(path.clone(), header.stream(), None))),
        };
        match file {
            Ok(None) => return Ok(true),
            Ok(Some(file)) => self.files.push(file),
            // It was begun, and never used.
            Err(_) if bytes.iter().skip(HEADER_LEN).all(|&byte| byte == 0) => {}
            Err(fault) => {
                report.lost_bytes += bytes.len() as u64;
                let what = format!("without its header nothing of the file can be read: {fault}");
                report.losses.push(Loss { file: path.to_string(), offset: 0, bytes: bytes.len() as u64, what });
            }
        }
        Ok(false)
    }
}

/// Reports that the fragments from number `expected` on, up to but without `there`, are missing: a log ends at the first of them,
/// but here everything that is whole comes over.
fn tell_of_gap(expected: u64, there: &FragmentId, report: &mut RepairReport) {
    if expected >= there.number {
        return;
    }
    let name = |number| Name::Fragment(FragmentId { number, ..*there }).path();
    let what = format!(
        "missing fragments={}: either what stands behind them, from {} on, was never acknowledged, or commits are lost; \
         it has been brought over",
        there.number - expected,
        name(there.number)
    );
    lose(report, &name(expected), what);
}

/// Whether segment `id` may hold a part of the log that `manifest` points to.
fn is_logged(manifest: &Manifest, id: &SegmentId) -> bool {
    let log = &manifest.log;
    (id.epoch, id.nonce) == (log.epoch, log.nonce) && id.number >= log.first_segment
        // An older manifest does not know of what came after it.
        || id.epoch > manifest.epoch
}

fn named(manifest: &Manifest) -> BTreeMap<SegmentId, &SegmentMeta> {
    manifest.runs.iter().flat_map(|run| &run.segments).map(|meta| (meta.id, meta)).collect()
}

/// The newest manifest that can be read; those that cannot are reported.
async fn manifest(backend: &dyn Backend, report: &mut RepairReport) -> Result<Option<Manifest>> {
    let mut numbers = publish::list(backend).await?;
    numbers.sort_unstable();
    for number in numbers.into_iter().rev() {
        let path = Name::Manifest(number).path();
        match publish::read(backend, number).await {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(error) if error.kind() == ErrorKind::Corruption => lose(report, &path, error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The files of ours under `folder`.
async fn list(backend: &dyn Backend, folder: &str) -> Result<Vec<(Name, Path)>> {
    let listed =
        backend.list(folder).try_collect::<Vec<_>>().await.map_err(|error: backends::Error| Error::from(error))?;
    let mut files: Vec<_> =
        listed.into_iter().filter_map(|meta| Some((Name::parse(meta.path.as_str())?, meta.path))).collect();
    files.sort_by(|(_, a), (_, b)| a.as_str().cmp(b.as_str()));
    Ok(files)
}
