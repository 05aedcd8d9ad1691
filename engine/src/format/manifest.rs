//! A version made durable: which segments are the database, and where the log begins.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 24 | preamble, magic `HALITE/M` |
//! | 24 | 8 | length `n` of the body, little-endian |
//! | 32 | n | body: the structure below in postcard's encoding, its fields in the order of their declaration |
//! | 32 + n | 4 | checksum of all before it, salt 0, offset 0 |
//!
//! The file ends there. postcard writes integers as LEB128, `Option` as a byte 0 or 1 before the value, text, bytes and
//! lists as a count and the items, arrays as the items: <https://postcard.jamesmunns.com/wire-format>. So any change of
//! these structures is a change of the format.

use super::digest::Digest;
use super::header::check_crc;
use super::names::{Name, SegmentId};
use super::preamble::{self, PREAMBLE_LEN};
use super::reader::u64_at;
use super::{Damage, Fault, MAGIC_MANIFEST, checksum};
use crate::Seq;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

mod past;
mod rules;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use past::Retention;

const BODY_LEN: usize = PREAMBLE_LEN;
const BODY: usize = BODY_LEN + 8;
const CRC_LEN: usize = 4;

const _: () = assert!(BODY == 32);

/// A version made durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Its number, from 1; part of its name.
    pub(crate) number: u64,
    /// The reign of its writer, from 1.
    pub(crate) epoch: u64,
    /// The nonce of its writer's claim.
    pub(crate) nonce: u64,
    /// Random for every manifest, so that a lost answer is settled by reading back.
    pub(crate) write_nonce: u64,
    /// The database's random id.
    pub(crate) database: [u8; 16],
    /// The seed of the hash of keys.
    pub(crate) hash_seed: u64,
    /// When the database was created, milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// Engine time when this manifest was made, milliseconds.
    pub(crate) engine_time: u64,
    /// Where replay begins.
    pub(crate) log: Log,
    /// The sealed part of the database, newest first.
    pub(crate) runs: Vec<RunMeta>,
    /// What is left of the range tombstones that the runs' logs held: those that may hide something in the runs.
    pub(crate) range_tombstones: Vec<RangeTombstone>,
    /// The seq from which on every record that was committed is still there, in the order in which it was; at least 1.
    pub(crate) history_from: Seq,
    /// Files that have left the database and may still be there; what neither a checkpoint nor the past holds may be deleted.
    pub(crate) retired: Vec<Retired>,
    /// Versions kept by name, in the order in which they were taken.
    pub(crate) checkpoints: Vec<CheckpointMeta>,
    /// Numbers of manifests that must be kept for ever: claims that followed an epoch not closed cleanly.
    pub(crate) kept_claims: Vec<u64>,
    /// What the first read-write opening found out about the store.
    pub(crate) proof: Option<Proof>,
    /// What the store is there for.
    pub(crate) purpose: Purpose,
    /// The digest of the manifest before this one, which need not be there any more; zeros in the first.
    pub(crate) previous: Digest,
    /// The earlier manifests that are kept because of what they name, oldest first.
    pub(crate) past: Vec<Past>,
    /// How far back the past is kept.
    pub(crate) retention: Retention,
}

/// An earlier manifest that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Its number.
    pub(crate) number: u64,
    /// The digest of its file.
    pub(crate) digest: Digest,
    /// Engine time when it was made, milliseconds.
    pub(crate) time: u64,
    /// Whether it is kept because it shows the past within the retention.
    pub(crate) is_moment: bool,
}

/// What a store is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// It is a database, to be written to.
    Database,
    /// It keeps backups, its checkpoints, to be restored elsewhere.
    Backup,
    /// It is to become a copy of a database, which is not finished: it shows nothing yet.
    Unfinished,
}

/// The part of the database that is not sealed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// Whether there may be anything in it.
    pub(crate) state: LogState,
    /// The epoch that writes or wrote it.
    pub(crate) epoch: u64,
    /// The nonce of that epoch's claim.
    pub(crate) nonce: u64,
    /// The number of its first unsealed segment.
    pub(crate) first_segment: u64,
    /// The number of its first fragment, on backends without growing files.
    pub(crate) first_fragment: u64,
    /// The largest seq that is in a sealed segment, or was before a merge dropped it; 0 where there is none.
    pub(crate) last_sealed_seq: Seq,
    /// The first segment number that this epoch has not burnt.
    pub(crate) next_segment: u64,
    /// A seq that no record has, nor any above it, but for those in the log.
    pub(crate) next_seq: Seq,
    /// Where it is, if it is not where the manifests are: the number of that place.
    pub(crate) home: Option<u64>,
}

impl Log {
    /// Whether something may be in it that is kept elsewhere than `home`.
    pub(crate) fn is_elsewhere(&self, home: Option<u64>) -> bool {
        self.state == LogState::Open && self.home.is_some() && self.home != home
    }
}

/// Whether a log must be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogState {
    /// It is or was being written.
    Open,
    /// Its writer sealed everything and left.
    ClosedCleanly,
}

/// Segments that share a range of seqs and have disjoint ranges of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunMeta {
    /// At least one, in the order of their keys.
    pub(crate) segments: Vec<SegmentMeta>,
}

impl RunMeta {
    /// The smallest seq in the run.
    pub(crate) fn min_seq(&self) -> Seq {
        self.segments.iter().map(|segment| segment.min_seq).min().unwrap_or(0)
    }

    /// The largest seq in the run.
    pub(crate) fn max_seq(&self) -> Seq {
        self.segments.iter().map(|segment| segment.max_seq).max().unwrap_or(0)
    }
}

/// A sealed segment as its manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentMeta {
    /// Which one; its name follows from it.
    pub(crate) id: SegmentId,
    /// Exact length of the file.
    pub(crate) len: u64,
    /// The salt in its header.
    pub(crate) salt: u64,
    /// The base seq in its header.
    pub(crate) base_seq: Seq,
    /// Whether its records are in key order.
    pub(crate) sorted: bool,
    /// The checksum of its footer, which in turn covers the checksums of its parts.
    pub(crate) footer_crc: u32,
    /// The digest of its file.
    pub(crate) digest: Digest,
    /// Its smallest seq.
    pub(crate) min_seq: Seq,
    /// Its largest seq.
    pub(crate) max_seq: Seq,
    /// Its smallest key.
    pub(crate) min_key: Vec<u8>,
    /// Its largest key.
    pub(crate) max_key: Vec<u8>,
    /// Number of records.
    pub(crate) records: u64,
    /// Number of index entries.
    pub(crate) entries: u64,
    /// Number of tombstones among the records.
    pub(crate) tombstones: u64,
    /// Number of range tombstones among the records.
    pub(crate) range_tombstones: u64,
    /// Number of records with an expiry.
    pub(crate) expiring: u64,
    /// The earliest expiry.
    pub(crate) min_expiry: Option<u64>,
    /// The latest expiry.
    pub(crate) max_expiry: Option<u64>,
    /// Bytes of all its records.
    pub(crate) record_bytes: u64,
    /// Bytes of the records that were the newest of their keys in this segment when it was sealed.
    pub(crate) live_bytes: u64,
    /// An estimate of the bytes that newer segments have made useless since. It only chooses merges.
    pub(crate) dead_bytes: u64,
    /// Range tombstones with this seq or a lower one hide nothing in it: its index holds no key that one of them deleted.
    pub(crate) swept: Seq,
    /// The number of the first manifest that names it.
    pub(crate) born: u64,
}

/// The keys from one on, up to but without another, as far as no newer range tombstone covers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeTombstone {
    /// The first key that it may delete.
    pub(crate) start: Vec<u8>,
    /// The first one behind that it does not; all behind are deleted where there is none.
    pub(crate) end: Option<Vec<u8>>,
    /// Records with lower seqs are deleted.
    pub(crate) seq: Seq,
}

/// A file that has left the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retired {
    /// Its name.
    pub(crate) name: String,
    /// The number of the first manifest that named it among the runs; for a file of the log that of `retired`.
    pub(crate) born: u64,
    /// The number of the first manifest that no longer does.
    pub(crate) retired: u64,
    /// Its length; 0 for a file of the log.
    pub(crate) bytes: u64,
}

impl Retired {
    /// Whether manifest `number` names the file, so that it stays for as long as that manifest is held.
    pub(crate) fn is_named_by(&self, number: u64) -> bool {
        (self.born..self.retired).contains(&number)
    }
}

/// A version kept by name: the runs of the manifest that took it, which is kept too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointMeta {
    /// Its name, which a user gave: 1 to 255 bytes.
    pub(crate) name: String,
    /// The number of the manifest that took it.
    pub(crate) manifest: u64,
    /// The last seq that shows.
    pub(crate) seq: Seq,
    /// The engine time by which expiries are judged, milliseconds.
    pub(crate) time: u64,
    /// Bytes of its segments, shared ones included.
    pub(crate) bytes: u64,
    /// Until when it cannot be deleted, milliseconds of engine time; 0 where it can be at any time.
    pub(crate) hold_until: u64,
}

/// What is known about a store's one conditional operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Of several creates of one name just one succeeded, and a later one failed.
    pub(crate) create_if_absent: bool,
    /// What had been created was listed.
    pub(crate) listed: bool,
    /// The user declared that there is only ever one writer, whatever was found.
    pub(crate) single_writer_declared: bool,
}

impl Manifest {
    /// What the first manifest of a new store is made from: it holds nothing, and has no number yet.
    pub(crate) fn nothing(database: [u8; 16], hash_seed: u64, created: u64, proof: Proof) -> Manifest {
        Manifest {
            number: 0,
            epoch: 0,
            nonce: 0,
            write_nonce: 0,
            database,
            hash_seed,
            created,
            engine_time: 0,
            log: Log {
                state: LogState::ClosedCleanly,
                epoch: 0,
                nonce: 0,
                first_segment: 1,
                first_fragment: 0,
                last_sealed_seq: 0,
                next_segment: 1,
                next_seq: 1,
                home: None,
            },
            runs: Vec::new(),
            range_tombstones: Vec::new(),
            history_from: 1,
            retired: Vec::new(),
            checkpoints: Vec::new(),
            kept_claims: Vec::new(),
            proof: Some(proof),
            purpose: Purpose::Database,
            previous: Digest::NONE,
            past: Vec::new(),
            retention: Retention::default(),
        }
    }

    /// All segments of its runs.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.runs.iter().flat_map(|run| &run.segments)
    }

    /// The digest of its file.
    ///
    /// # Panics
    /// Where it breaks a rule, which none does that was decoded or created.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.encode().expect("a manifest that was decoded or created can be encoded"))
    }

    /// The digest of manifest `number`, if that is this one, the one before it, or one that is kept.
    pub(crate) fn digest_of(&self, number: u64) -> Option<Digest> {
        if number == self.number {
            return Some(self.digest());
        }
        if number >= 1 && number + 1 == self.number {
            return Some(self.previous);
        }
        self.past.iter().find(|past| past.number == number).map(|past| past.digest)
    }

    /// What the next manifest is before anything has changed. Only what [`follow`](Manifest::follow) has gone over can be
    /// encoded.
    pub(crate) fn next(&self, write_nonce: u64, engine_time: u64) -> Manifest {
        // What comes before the first is none.
        let digest = if self.number > 0 { self.digest() } else { Digest::NONE };
        self.next_after(digest, write_nonce, engine_time)
    }

    /// The same where the digest of this one's file is known.
    pub(crate) fn next_after(&self, digest: Digest, write_nonce: u64, engine_time: u64) -> Manifest {
        let mut next = Manifest { number: self.number + 1, write_nonce, engine_time, previous: digest, ..self.clone() };
        if self.number > 0 {
            next.past.push(Past { number: self.number, digest, time: self.engine_time, is_moment: true });
        }
        next
    }

    /// Notes that a file of the log is needed no more from this manifest on.
    pub(crate) fn retire_log(&mut self, name: String) {
        if !self.retired.iter().any(|retired| retired.name == name) {
            self.retired.push(Retired { name, born: self.number, retired: self.number, bytes: 0 });
        }
    }

    /// Notes which segments `before`, the manifest that this one follows, did not name yet, which it did that this one
    /// does not name any more, and which manifests of the past are still needed.
    pub(crate) fn follow(&mut self, before: &Manifest) {
        let born: HashMap<SegmentId, u64> = before.segments().map(|meta| (meta.id, meta.born)).collect();
        for meta in self.runs.iter_mut().flat_map(|run| &mut run.segments) {
            meta.born = born.get(&meta.id).copied().unwrap_or(self.number);
        }
        let named: HashSet<SegmentId> = self.segments().map(|meta| meta.id).collect();
        let number = self.number;
        let gone = before.segments().filter(|meta| !named.contains(&meta.id));
        self.retired.extend(gone.map(|meta| Retired {
            name: Name::Segment(meta.id).to_string(),
            born: meta.born,
            retired: number,
            bytes: meta.len,
        }));
        self.forget();
    }

    /// Notes that what it names is not retired, if it was before: a copy may come to hold again what it held once.
    pub(crate) fn take_back(&mut self) {
        let Manifest { runs, retired, .. } = self;
        for meta in runs.iter_mut().flat_map(|run| &mut run.segments) {
            let name = Name::Segment(meta.id).to_string();
            if let Some(place) = retired.iter().position(|retired| retired.name == name) {
                meta.born = retired.remove(place).born;
            }
        }
    }

    /// The checkpoint of that name.
    pub(crate) fn checkpoint(&self, name: &str) -> Option<&CheckpointMeta> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)
    }

    /// The manifest's bytes.
    ///
    /// # Errors
    /// Where it breaks a rule that [`decode`](Manifest::decode) would complain of: better not written than not read.
    pub(crate) fn encode(&self) -> Result<Bytes, String> {
        rules::check(self)?;
        let body = postcard::to_stdvec(self).map_err(|cause| format!("manifest cannot be encoded: {cause}"))?;
        let mut out = Vec::with_capacity(BODY + body.len() + CRC_LEN);
        out.extend_from_slice(&preamble::encode(MAGIC_MANIFEST, 0));
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&body);
        let crc = checksum::crc(0, 0, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out.into())
    }

    /// Decodes a whole manifest file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, Fault> {
        preamble::check(MAGIC_MANIFEST, 0, bytes)?;
        if bytes.len() < BODY + CRC_LEN {
            return Err(Damage::mismatch(0, "manifest length", BODY + CRC_LEN, bytes.len()).into());
        }
        let body = &bytes[BODY..bytes.len() - CRC_LEN];
        let body_len = u64_at(bytes, BODY_LEN);
        if body_len != body.len() as u64 {
            return Err(Damage::mismatch(BODY_LEN as u64, "length of the body", body_len, body.len()).into());
        }
        check_crc("manifest checksum", bytes)?;
        let (manifest, rest) = postcard::take_from_bytes::<Manifest>(body)
            .map_err(|cause| Damage::new(BODY as u64, format!("manifest body cannot be decoded: {cause}")))?;
        if !rest.is_empty() {
            let at = bytes.len() - CRC_LEN - rest.len();
            return Err(Damage::new(at as u64, format!("{} bytes behind the manifest's last field", rest.len())).into());
        }
        rules::check(&manifest).map_err(|broken| Damage::new(BODY as u64, broken))?;
        Ok(manifest)
    }
}
