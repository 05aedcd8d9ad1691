#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::fuzz;

pub(crate) fn segment(number: u64, seqs: (Seq, Seq), keys: (&str, &str)) -> SegmentMeta {
    SegmentMeta {
        id: SegmentId { epoch: 1, nonce: 0xbeef, number },
        len: 5000,
        salt: 0x5a17 + number,
        base_seq: seqs.0,
        sorted: false,
        footer_crc: 0xd19e_57ed,
        digest: Digest::of(b"all of its bytes"),
        min_seq: seqs.0,
        max_seq: seqs.1,
        min_key: keys.0.into(),
        max_key: keys.1.into(),
        records: 20,
        entries: 18,
        tombstones: 2,
        range_tombstones: 1,
        expiring: 1,
        min_expiry: Some(1_800_000_000_000),
        max_expiry: Some(1_800_000_000_000),
        record_bytes: 4000,
        live_bytes: 3600,
        dead_bytes: 100,
        swept: seqs.1,
        born: 5,
    }
}

pub(crate) fn sample() -> Manifest {
    Manifest {
        number: 9,
        epoch: 3,
        nonce: 0xfeed,
        write_nonce: 0x1234_5678_9abc_def0,
        database: *b"0123456789abcdef",
        hash_seed: 0x5eed,
        created: 1_700_000_000_000,
        engine_time: 1_700_000_100_000,
        log: Log {
            state: LogState::Open,
            epoch: 2,
            nonce: 0xbeef,
            first_segment: 4,
            first_fragment: 0,
            last_sealed_seq: 60,
            next_segment: 5,
            next_seq: 61,
            home: Some(0x40e),
        },
        runs: vec![
            RunMeta { segments: vec![segment(3, (41, 60), ("a", "z"))] },
            RunMeta { segments: vec![segment(1, (1, 38), ("", "g")), segment(2, (2, 40), ("h", "t"))] },
        ],
        range_tombstones: vec![
            RangeTombstone { start: b"".to_vec(), end: Some(b"c".to_vec()), seq: 59 },
            RangeTombstone { start: b"c".to_vec(), end: Some(b"d".to_vec()), seq: 20 },
            RangeTombstone { start: b"d\0".to_vec(), end: None, seq: 60 },
        ],
        history_from: 41,
        retired: vec![Retired {
            name: "segments/0000000000000001-000000000000beef-0000000000000009".into(),
            born: 2,
            retired: 6,
            bytes: 3000,
        }],
        checkpoints: vec![
            CheckpointMeta {
                name: "monday".into(),
                manifest: 4,
                seq: 40,
                time: 1_700_000_050_000,
                bytes: 10_000,
                hold_until: 0,
            },
            CheckpointMeta {
                name: "tuesday ☂".into(),
                manifest: 9,
                seq: 60,
                time: 1_700_000_100_000,
                bytes: 15_000,
                hold_until: 1_900_000_000_000,
            },
        ],
        kept_claims: vec![2, 9],
        proof: Some(Proof { create_if_absent: true, listed: true, single_writer_declared: false }),
        purpose: Purpose::Database,
        previous: Digest::of(b"manifest 8"),
        past: vec![Past { number: 4, digest: Digest::of(b"manifest 4"), time: 1_700_000_050_000, is_moment: false }],
        retention: Retention::default(),
    }
}

#[test]
fn what_comes_and_goes_is_noted() {
    let before = sample();
    let mut next = before.next(1, before.engine_time);
    let [gone, stays] = [next.runs[1].segments.remove(0), next.runs[0].segments[0].clone()];
    next.runs[1].segments[0] = SegmentMeta { born: 0, ..segment(7, (1, 40), ("a", "t")) };
    next.follow(&before);
    assert_eq!(next.runs[0].segments[0], stays);
    assert_eq!(next.runs[1].segments[0].born, 10);
    let names: Vec<_> = next.retired.iter().map(|retired| (retired.born, retired.retired)).collect();
    assert_eq!(names, [(2, 6), (5, 10), (5, 10)]);
    assert_eq!(next.retired[1].name, format!("segments/{}", gone.id));
    // Checkpoint 4 needs the first, checkpoint 9 the others; of the manifests, those of both and the claims are kept.
    assert!(next.retired.iter().all(|retired| next.holds(retired)));
    next.checkpoints.remove(1);
    // What follows it forgets manifest 9.
    assert!(next.retired.iter().all(|retired| next.holds(retired)));
    next.past.pop();
    let held: Vec<_> = next.retired.iter().map(|retired| next.holds(retired)).collect();
    assert_eq!(held, [true, false, false]);
    assert_eq!((1..10).filter(|&number| next.keeps(number)).collect::<Vec<_>>(), [2, 4, 9]);
    assert!(next.encode().is_ok());
}

#[test]
fn each_names_the_digests_of_those_before_it_that_are_kept() {
    let before = sample();
    let digest = Digest::of(&before.encode().unwrap());
    assert_eq!(before.digest(), digest);
    let mut next = before.next(1, 1);
    next.follow(&before);
    // The one before took a checkpoint.
    assert_eq!((next.previous, next.past.len(), next.past[1].digest), (digest, 2, digest));
    next.checkpoints.clear();
    let mut last = next.next(2, 1);
    last.follow(&next);
    assert_eq!((last.previous, last.past.len()), (next.digest(), 0));
    assert_eq!(last.digest_of(11), Some(last.digest()));
    assert_eq!(last.digest_of(10), Some(next.digest()));
    assert_eq!((last.digest_of(9), last.digest_of(12), last.digest_of(0)), (None, None, None));
    // What another byte was in, has another digest.
    assert_ne!(Manifest { created: 1, ..last.clone() }.digest(), last.digest());
    let first = Manifest { number: 0, previous: Digest::NONE, ..empty() }.next(1, 1);
    assert!(first.encode().is_ok() && first.past.is_empty());
}

fn empty() -> Manifest {
    let log = Log { last_sealed_seq: 0, next_seq: 1, ..sample().log };
    Manifest {
        log,
        runs: vec![],
        range_tombstones: vec![],
        history_from: 1,
        retired: vec![],
        checkpoints: vec![],
        kept_claims: vec![],
        proof: None,
        past: vec![],
        ..sample()
    }
}

#[test]
fn manifests_come_back() {
    for manifest in [sample(), empty()] {
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        assert!(Manifest::decode(&[&bytes[..], b"\0"].concat()).is_err());
    }
}

#[test]
fn damage_is_noticed_and_never_taken_for_a_newer_version() {
    fuzz::every_damage_is_noticed(&sample().encode().unwrap(), |bytes| match Manifest::decode(bytes) {
        Err(Fault::Newer(what)) => panic!("{what}"),
        other => other,
    });
}

#[test]
fn every_rule_is_kept_by_encoder_and_decoder() {
    fn check(complaint: &str, break_rule: impl FnOnce(&mut Manifest)) {
        let mut manifest = sample();
        break_rule(&mut manifest);
        let refused = manifest.encode().unwrap_err();
        assert!(refused.contains(complaint), "expected {complaint:?}, got {refused:?}");
        let Err(Fault::Damage(damage)) = Manifest::decode(&unchecked(&manifest)) else { panic!("{complaint}") };
        assert_eq!(damage, Damage::new(32, refused));
    }
    check("number or epoch is zero", |m| m.number = 0);
    check("number or epoch is zero", |m| m.epoch = 0);
    check("later epoch", |m| m.log.epoch = 4);
    check("keeps a later one", |m| m.kept_claims.push(10));
    check("next seq is not new", |m| m.log.next_seq = 60);
    check("a run is empty", |m| m.runs[0].segments.clear());
    check("reaches into what is newer", |m| m.log.last_sealed_seq = 59);
    check("reaches into what is newer", |m| m.runs[1].segments[1].max_seq = 41);
    check("reaches into what is newer", |m| m.runs.swap(0, 1));
    check("stands twice", |m| m.runs[1].segments[0].id.number = 3);
    check("overlap", |m| m.runs[1].segments[0].max_key = b"h".to_vec());
    check("overlap", |m| m.runs[1].segments.swap(0, 1));
    check("segment number is zero", |m| m.runs[0].segments[0].id.number = 0);
    check("seqs out of order", |m| m.runs[0].segments[0].base_seq = 42);
    check("seqs out of order", |m| m.runs[0].segments[0].max_seq = 40);
    check("smallest key above", |m| m.runs[0].segments[0].min_key = b"zz".to_vec());
    check("key too long", |m| m.runs[0].segments[0].max_key = vec![b'z'; 65_537]);
    check("counts do not fit", |m| m.runs[0].segments[0].records = 0);
    check("counts do not fit", |m| m.runs[0].segments[0].entries = 21);
    check("counts do not fit", |m| m.runs[0].segments[0].entries = 0);
    check("counts do not fit", |m| m.runs[0].segments[0].tombstones = 20);
    check("counts do not fit", |m| m.runs[0].segments[0].range_tombstones = 3);
    check("counts do not fit", |m| m.runs[0].segments[0].range_tombstones = 21);
    check("expiries do not fit", |m| m.runs[0].segments[0].expiring = 0);
    check("expiries do not fit", |m| m.runs[0].segments[0].min_expiry = None);
    check("bytes do not fit", |m| m.runs[0].segments[0].live_bytes = 4001);
    check("bytes do not fit", |m| m.runs[0].segments[0].record_bytes = u64::MAX);
    check("too short", |m| m.runs[0].segments[0].len = 4128);
    check("not born yet", |m| m.runs[0].segments[0].born = 10);
    check("not born yet", |m| m.runs[0].segments[0].born = 0);
    check("swept of what is not sealed", |m| m.runs[0].segments[0].swept = 61);
    check("ends where it begins", |m| m.range_tombstones[1].end = Some(b"c".to_vec()));
    check("ends where it begins", |m| m.range_tombstones[0].end = Some(vec![]));
    check("key too long", |m| m.range_tombstones[2].start = vec![b'd'; 65_538]);
    check("deletes what is not sealed", |m| m.range_tombstones[2].seq = 61);
    check("deletes what is not sealed", |m| m.range_tombstones[2].seq = 0);
    check("overlap", |m| m.range_tombstones[0].end = Some(b"c\0".to_vec()));
    check("overlap", |m| m.range_tombstones[1].end = None);
    check("overlap", |m| m.range_tombstones.swap(0, 1));
    let retired = |name: &str| Retired { name: name.into(), born: 1, retired: 2, bytes: 0 };
    check("none of ours", |m| m.retired.push(retired("manifest/../../etc")));
    check("in use is retired", |m| {
        let id = m.runs[0].segments[0].id;
        m.retired.push(retired(&format!("segments/{id}")));
    });
    check("or one twice", |m| m.retired.push(m.retired[0].clone()));
    check("retired file do not fit", |m| m.retired[0].retired = 10);
    check("retired file do not fit", |m| m.retired[0].born = 7);
    check("retired file do not fit", |m| m.retired[0].born = 0);
    check("wrong length", |m| m.checkpoints[0].name.clear());
    check("wrong length", |m| m.checkpoints[0].name = "x".repeat(256));
    check("have one name", |m| m.checkpoints[1].name = "monday".into());
    check("checkpoint does not fit", |m| m.checkpoints.swap(0, 1));
    check("checkpoint does not fit", |m| m.checkpoints[1].manifest = 10);
    check("what is not sealed", |m| m.checkpoints[1].seq = 61);
    check("history begins nowhere", |m| m.history_from = 0);
    check("history begins nowhere", |m| m.history_from = 62);
    check("history begins before what was merged", |m| m.history_from = 40);
    check("history begins before what was merged", |m| m.runs[0].segments[0].sorted = true);
    check("digest of the manifest before", |m| m.previous = Digest::NONE);
    check("numbers of the past", |m| m.past[0].number = 0);
    check("numbers of the past", |m| m.past[0].number = 9);
    check("numbers of the past", |m| m.past.push(m.past[0]));
    check("of a checkpoint is not kept", |m| m.past.clear());
}

/// A manifest with a right checksum that nobody checked.
fn unchecked(manifest: &Manifest) -> Vec<u8> {
    wrap(&postcard::to_stdvec(manifest).unwrap())
}

fn wrap(body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u64).to_le_bytes();
    let mut out = [&preamble::encode(MAGIC_MANIFEST, 0)[..], &len, body].concat();
    let crc = checksum::crc(0, 0, &out);
    out.extend(crc.to_le_bytes());
    out
}

#[test]
fn bytes_behind_the_last_field_are_damage() {
    let body = postcard::to_stdvec(&sample()).unwrap();
    let bytes = wrap(&[&body[..], b"\0"].concat());
    assert!(matches!(Manifest::decode(&bytes), Err(Fault::Damage(damage)) if damage.what.contains("behind")));
}

/// Mutations of whole files seldom get past the checksum; those of bodies, given a right one, reach the decoder.
#[test]
fn mutated_manifests() {
    let files = [sample().encode().unwrap().to_vec(), empty().encode().unwrap().to_vec()];
    fuzz::mutate(&files, 100_000, |bytes| {
        if let Ok(manifest) = Manifest::decode(bytes) {
            assert_eq!(manifest.encode().unwrap(), bytes);
        }
    });
    let bodies = files.map(|file| file[BODY..file.len() - CRC_LEN].to_vec());
    fuzz::mutate(&bodies, 200_000, |body| {
        if let Ok(manifest) = Manifest::decode(&wrap(body)) {
            assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
        }
    });
}
