//! What segments and fragments say, and the single records in them.

use super::manifest::of_segment;
use super::{Fact, Inspection, hex, hex_of};
use crate::format::footer::{FOOTER_LEN, Footer};
use crate::format::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentKind, Slice};
use crate::format::frame::{Frame, Kind, RECORD_HEAD_LEN_MAX, Record, Stream, peek_len};
use crate::format::header::{HEADER_LEN, Header, Layout, Predecessor};
use crate::format::manifest::{Manifest, SegmentMeta};
use crate::format::mark::END_LEN;
use crate::format::names::{self, Name, SegmentId};
use crate::format::statistics::{Place, Statistics};
use crate::format::tail::{Proof, Replay, Step, Tail, Verdict};
use crate::format::{Damage, checksum};
use crate::segment::{Files, Segment};
use crate::stores::Stores;
use crate::turn::{self, Turn};
use crate::value::Value;
use crate::{Error, ErrorKind, Result, publish, verify};
use bytes::Bytes;
use halite_backends::{Backend, Object, Path};
use std::ops::Range;
use std::sync::Arc;

/// Looks at the segment, or at the fragment of a log, whose file is called `name`: as the backend names it, or without the
/// folder `segments/`. All of it is read.
///
/// A sealed segment is verified as [`Db::verify`](crate::Db::verify) does. Of one that is not, or of a fragment, the log in it
/// is read to its end; beside a writer that end may be anywhere in what it is just writing.
///
/// # Errors
/// `InvalidInput` for a name that no segment has, `NotFound` where there is none of that name, `NotAStore` where it is of a
/// newer format; `Io`, `PermissionDenied`.
pub async fn segment(backend: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<Inspection> {
    match parse(name.as_ref())? {
        (path, Name::Segment(id)) => whole_segment(backend, &path, id).await,
        (path, _) => fragment(&*backend, &path).await,
    }
}

/// Looks at the frame at `offset` of the file of a segment or fragment, whose name is as for [`segment`]: a record or a mark.
///
/// Nothing in a file tells where frames begin but the frames before, and the index: where none does, that is told as damage.
///
/// # Errors
/// As [`segment`]; `InvalidInput` where `offset` lies outside the file. `Unsupported` where the record's value is compressed in
/// a way that this build lacks.
pub async fn record(backend: Arc<dyn Backend>, name: impl AsRef<str>, offset: u64) -> Result<Inspection> {
    let (path, name) = parse(name.as_ref())?;
    let object = backend.open(&path).await?;
    let mut found = Inspection::new(&path, object.len());
    if offset >= object.len() {
        let message = format!("offset {offset} lies behind the end of the file file={path} len={}", object.len());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let Some((stream, in_segment)) = stream(&*backend, &*object, &name, &mut found).await? else { return Ok(found) };
    let Some(at) = offset.checked_add_signed(in_segment).filter(|at| *at >= HEADER_LEN as u64) else {
        found.damaged(Damage::new(offset, "no frame begins before the header ends"));
        return Ok(found);
    };
    let here = |len: u64| offset..offset.saturating_add(len).min(object.len());
    let head = object.read(here(RECORD_HEAD_LEN_MAX.max(END_LEN) as u64)).await?;
    let len = peek_len(&head).unwrap_or(head.len() as u64);
    let bytes = object.read(here(len.max(head.len() as u64))).await?;
    let decoded = crate::segment::decode_frame(&stream, at, &bytes, &mut Turn::default()).await;
    // Frames tell of places in their segment, which for fragments is another one than in the file.
    let decoded =
        decoded.map_err(|damage| Damage { offset: damage.offset.saturating_add_signed(-in_segment), ..damage });
    let Some(frame) = found.note(decoded)? else { return Ok(found) };
    if in_segment != 0 {
        found.add("offset_in_segment", at);
    }
    found.add("len", frame.len() as u64);
    found.add("next", offset + frame.len() as u64);
    match frame {
        Frame::Record(record) => of_record(&record, &bytes, offset, &path, &mut found).await?,
        Frame::Mark(mark) => {
            found.add("kind", "mark");
            found.add("durable", mark.durable);
            found.add("time", mark.time);
        }
        Frame::End(end) => {
            found.add("kind", "end mark");
            found.add("log_ends_at", end.len);
            found.add("records", end.records);
            found.add("last_seq", end.last_seq);
            found.add("durable", end.durable);
            found.add("time", end.time);
        }
    }
    Ok(found)
}

/// The path of a file with frames, and its name taken apart.
fn parse(name: &str) -> Result<(Path, Name)> {
    let in_folder = || Name::parse(&format!("{}/{name}", names::SEGMENTS));
    match Name::parse(name).or_else(in_folder) {
        Some(name @ (Name::Segment(_) | Name::Fragment(_))) => Ok((name.path(), name)),
        _ => Err(Error::new(ErrorKind::InvalidInput, format!("no segment is called {name:?}"))),
    }
}

/// What the frames of the file are encoded against, and what is added to an offset in it for that in the segment.
async fn stream(
    backend: &dyn Backend,
    object: &dyn Object,
    name: &Name,
    found: &mut Inspection,
) -> Result<Option<(Stream, i64)>> {
    let head = object.read(0..object.len().min(FRAGMENT_HEADER_LEN as u64)).await?;
    match name {
        Name::Fragment(_) => match found.note(Fragment::decode_header(&head))? {
            Some((Fragment { kind: FragmentKind::Data(slice), .. }, ..)) => {
                // Both are below 2^32, which decoding has checked.
                Ok(Some((slice.stream(), slice.first_offset as i64 - FRAGMENT_HEADER_LEN as i64)))
            }
            Some(_) => {
                found.add("kind", "fence");
                Ok(None)
            }
            None => Ok(None),
        },
        Name::Segment(id) => match found.note(Header::decode(head.get(..HEADER_LEN).unwrap_or(&head)))? {
            Some(header) => Ok(Some((header.stream(), 0))),
            // The manifest knows what the header should say.
            None => {
                let meta = named(backend, *id).await?;
                Ok(meta.map(|(_, meta)| (Stream { salt: meta.salt, base_seq: meta.base_seq }, 0)))
            }
        },
        _ => Ok(None),
    }
}

async fn of_record(record: &Record<'_>, bytes: &Bytes, offset: u64, path: &Path, found: &mut Inspection) -> Result<()> {
    let kind = match record.kind {
        Kind::Put => "put",
        Kind::Tombstone => "tombstone",
        Kind::RangeTombstone => "range tombstone",
    };
    found.add("kind", kind);
    found.add("seq", record.seq);
    found.add("last_of_batch", record.last_of_batch);
    found.add("expires_at", record.expires_at);
    if record.kind == Kind::RangeTombstone {
        found.add("from", record.key.to_vec());
        found.add("to", (!record.value.is_empty()).then(|| record.value.to_vec()));
        return Ok(());
    }
    found.add("key", record.key.to_vec());
    if record.kind == Kind::Tombstone {
        return Ok(());
    }
    found.add("compressed", record.compressed);
    found.add("stored_value_len", record.value.len() as u64);
    let value = Value::new(bytes.slice_ref(record.value), record.compressed, || Some((path.clone(), offset)));
    match value.read().await {
        Ok(value) => found.facts.push(("value", Fact::Bytes(value))),
        Err(error) if error.kind() == ErrorKind::Corruption => found.damaged(Damage::new(offset, error.to_string())),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The newest manifest that can be read, if it names the segment, and what it says of it.
async fn named(backend: &dyn Backend, id: SegmentId) -> Result<Option<(Manifest, SegmentMeta)>> {
    let newest = match publish::newest(backend).await {
        Ok(newest) => newest,
        Err(error) if error.kind() == ErrorKind::Corruption => None,
        Err(error) => return Err(error),
    };
    Ok(newest.and_then(|manifest| {
        let meta = manifest.segments().find(|meta| meta.id == id)?.clone();
        Some((manifest, meta))
    }))
}

async fn whole_segment(backend: Arc<dyn Backend>, path: &Path, id: SegmentId) -> Result<Inspection> {
    let object = backend.open(path).await?;
    let mut found = Inspection::new(path, object.len());
    let named = named(&*backend, id).await?;
    let head = object.read(0..object.len().min(HEADER_LEN as u64)).await?;
    if named.is_none() && head.iter().all(|&byte| byte == 0) {
        found.add("manifest", Fact::None);
        found.add("sealed", false);
        found.add("log", "begun, and nothing written yet");
        return Ok(found);
    }
    let header = found.note(Header::decode(&head))?;
    found.add("header", header.as_ref().map(of_header).unwrap_or(Fact::None));
    match &named {
        Some((manifest, meta)) => {
            found.add("manifest", manifest.number);
            found.add("in_manifest", of_segment(meta));
        }
        None => found.add("manifest", Fact::None),
    }
    let salt = named.as_ref().map(|(_, meta)| meta.salt).or(header.map(|header| header.salt));
    let Some(salt) = salt else { return Ok(found) };
    let footer = footer(&*object, salt).await?;
    let meta = match (named, &footer, header) {
        (Some((_, meta)), ..) => Some(meta),
        // It may be on its way into a manifest, or left over: what it says of itself must do.
        (None, Some((footer, crc)), Some(header)) => {
            let statistics = object.read(footer.statistics.range.clone()).await?;
            let statistics = Statistics::decode(&statistics, footer.statistics.range.start);
            let (len, sorted) = (object.len(), header.layout == Layout::Sorted);
            let place = Place { len, salt, base_seq: header.base_seq, sorted, footer_crc: *crc, swept: 0 };
            found.note(statistics)?.map(|statistics| statistics.into_meta(id, place))
        }
        _ => None,
    };
    found.add("sealed", meta.is_some());
    match (meta, header) {
        (Some(meta), header) => {
            if let Some((footer, _)) = &footer {
                of_footer(footer, salt, &*object, &mut found).await?;
            }
            // Whose it is only the manifest knows for certain; the header is the next best.
            let Some(header) = header else { return Ok(found) };
            let files = Files::new(Stores::untold(backend.clone()), header.database, header.hash_seed, 0);
            let findings = verify::findings(&Segment::new(&files.into(), &meta)).await?;
            found.add("records_verified", findings.records);
            found.damage.clear();
            findings.damage.into_iter().for_each(|damage| found.damaged(damage));
        }
        (None, Some(header)) if header.layout == Layout::Dense => {
            let start = HEADER_LEN as u64;
            let bytes = object.read(start..object.len()).await?;
            let log = Replay::new(header.stream(), start, &bytes, 0);
            of_log(log, 0, &mut found).await;
        }
        _ => {}
    }
    Ok(found)
}

fn of_header(header: &Header) -> Fact {
    let layout = if header.layout == Layout::Sorted { "sorted" } else { "dense" };
    Fact::Group(vec![
        ("database", hex_of(&header.database)),
        ("epoch", header.id.epoch.into()),
        ("nonce", hex(header.id.nonce)),
        ("segment", header.id.number.into()),
        ("salt", hex(header.salt)),
        ("hash_seed", hex(header.hash_seed)),
        ("base_seq", header.base_seq.into()),
        ("created", header.created.into()),
        ("predecessor", of_predecessor(header.predecessor)),
        ("layout", layout.into()),
    ])
}

fn of_predecessor(predecessor: Option<Predecessor>) -> Fact {
    let group = |it: Predecessor| {
        Fact::Group(vec![("segment", it.number.into()), ("len", it.len.into()), ("last_seq", it.last_seq.into())])
    };
    predecessor.map_or(Fact::None, group)
}

/// The footer at the end of the file and its checksum, if there is one.
async fn footer(object: &dyn Object, salt: u64) -> Result<Option<(Footer, u32)>> {
    let Some(at) = object.len().checked_sub(FOOTER_LEN as u64).filter(|at| *at >= HEADER_LEN as u64) else {
        return Ok(None);
    };
    let bytes = object.read(at..object.len()).await?;
    Ok(Footer::decode(salt, at, &bytes).ok())
}

/// The parts that the footer speaks of, and whether their checksums hold.
async fn of_footer(footer: &Footer, salt: u64, object: &dyn Object, found: &mut Inspection) -> Result<()> {
    let place = |range: &Range<u64>| vec![("offset", range.start.into()), ("len", (range.end - range.start).into())];
    let mut index = place(&footer.index);
    index.extend([("blocks", footer.blocks.into()), ("entries", footer.entries.into())]);
    let mut parts = vec![("index", Fact::Group(index))];
    let others = [
        ("fences", &footer.fences),
        ("hints", &footer.hints),
        ("filter", &footer.filter),
        ("statistics", &footer.statistics),
    ];
    for (name, part) in others {
        let bytes = object.read(part.range.clone()).await?;
        let crc = turn::checksum(checksum::seed(salt, part.range.start), &bytes, &mut Turn::default()).await;
        let mut fact = place(&part.range);
        fact.push(("whole", (crc == part.crc).into()));
        parts.push((name, Fact::Group(fact)));
    }
    parts.push(("footer", Fact::Group(place(&(footer.offset()..object.len())))));
    found.add("parts", Fact::Group(parts));
    Ok(())
}

async fn fragment(backend: &dyn Backend, path: &Path) -> Result<Inspection> {
    let bytes = publish::read_all(backend, path).await?;
    let mut found = Inspection::new(path, bytes.len() as u64);
    let Some((fragment, ..)) = found.note(Fragment::decode_header(&bytes))? else { return Ok(found) };
    found.add("database", hex_of(&fragment.database));
    found.add("epoch", fragment.id.epoch);
    found.add("nonce", hex(fragment.id.nonce));
    found.add("fragment", fragment.id.number);
    found.add("write_nonce", hex(fragment.write_nonce));
    found.add("time", fragment.time);
    let FragmentKind::Data(slice) = fragment.kind else {
        found.add("kind", "fence");
        return Ok(found);
    };
    found.add("kind", "data");
    let Slice { first_offset, segment, salt, base_seq, predecessor } = slice;
    found.add("first_offset", first_offset);
    found.add("segment", segment);
    found.add("salt", hex(salt));
    found.add("base_seq", base_seq);
    found.add("predecessor", of_predecessor(predecessor));
    // Its payload may be damaged where its header is not.
    found.note(Fragment::decode(&bytes).map(|_| ()))?;
    let payload = &bytes[FRAGMENT_HEADER_LEN..];
    let log = Replay::new(slice.stream(), first_offset, payload, first_offset + payload.len() as u64);
    of_log(log, FRAGMENT_HEADER_LEN as i64 - first_offset as i64, &mut found).await;
    Ok(found)
}

/// Reads a log to its end, and tells what is in it. To an offset in the segment `in_file` is added for that in the file.
async fn of_log(mut log: Replay<'_>, in_file: i64, found: &mut Inspection) {
    let (mut batches, mut tombstones, mut range_tombstones, mut expiring) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut turn = Turn::default();
    let tail = loop {
        match log.step() {
            Step::Batch(batch) => {
                batches += 1;
                // A complaint here comes again at the end.
                for (_, record) in batch.records().map_while(|record| record.ok()) {
                    tombstones += u64::from(record.kind == Kind::Tombstone);
                    range_tombstones += u64::from(record.kind == Kind::RangeTombstone);
                    expiring += u64::from(record.expires_at.is_some());
                    turn.take(record.len).await;
                }
            }
            Step::More => tokio::task::yield_now().await,
            Step::Done(tail) => break tail,
        }
    };
    let place = |offset: u64| offset.saturating_add_signed(in_file);
    let Tail { verdict, end, records, last_seq, durable, time } = tail;
    let ends = match &verdict {
        Verdict::Ended(_) => "with its end mark".to_owned(),
        Verdict::Clean => "behind a whole batch or mark".to_owned(),
        Verdict::Torn { at, damage } => {
            format!("torn, or being written: what begins at {} does not count ({})", place(*at), damage.what)
        }
        Verdict::Corrupt { damage, proof } => {
            let why = match proof {
                Proof::Mark { at, durable } => {
                    format!("the mark at {} says that all below {} was durable", place(*at), place(*durable))
                }
                Proof::Declared(_) => "fragments are created whole".to_owned(),
                Proof::Whole => "its checksum is right".to_owned(),
            };
            found.damaged(Damage { offset: place(damage.offset), what: format!("{} ({why})", damage.what) });
            "in damage".to_owned()
        }
    };
    found.add(
        "log",
        Fact::Group(vec![
            ("ends", ends.into()),
            ("end", place(end).into()),
            ("durable", durable.checked_add_signed(in_file).into()),
            ("time", time.into()),
            ("batches", batches.into()),
            ("records", records.into()),
            ("tombstones", tombstones.into()),
            ("range_tombstones", range_tombstones.into()),
            ("expiring", expiring.into()),
            ("last_seq", last_seq.into()),
        ]),
    );
}
