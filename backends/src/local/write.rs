//! Writes a list of buffers at a place in a file, all of it, however short the single writes come out.

use super::os;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};

/// Linux takes this many buffers in one call; more go out in several.
const PARTS_MAX: usize = 1024;

/// Buffers from this length on are not joined with others.
const JOINED_LEN_MAX: usize = 64 << 10;

/// Whether a write ends durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The operating system has it; that will do.
    No,
    /// Durable, and nothing but this write is not yet durable.
    ThisWrite,
    /// Durable, with everything written before.
    Everything,
}

/// Writes `data` at `offset`, all of it, and syncs as asked.
pub(crate) fn write_all(file: &File, offset: u64, data: &[Bytes], sync: Sync) -> io::Result<()> {
    let mut durable = sync == Sync::ThisWrite && data.len() <= PARTS_MAX;
    let mut calls = 0;
    let write = |parts: &[IoSlice<'_>], at: u64| {
        calls += 1;
        if durable {
            match os::write_at_durably(file, parts, at) {
                Some(result) => return result,
                None => durable = false,
            }
        }
        os::write_at(file, parts, at)
    };
    if cfg!(unix) {
        write_parts(data, offset, write)?;
    } else {
        // Only the first buffer of a vectored write arrives on WASI, and each call costs much: small buffers are joined.
        write_parts(&joined(data), offset, write)?;
    }
    // Each durable call made durable what it wrote, so several of them are as good as one.
    if sync == Sync::No || durable && calls > 0 { Ok(()) } else { os::sync_data(file) }
}

/// The same bytes in few buffers: what is long enough to be worth a call of its own is not copied.
fn joined(data: &[Bytes]) -> Vec<Bytes> {
    let is_long = |part: &Bytes| part.len() >= JOINED_LEN_MAX;
    let runs = data.chunk_by(|a, b| !is_long(a) && !is_long(b));
    let join = |run: &[Bytes]| match run {
        [one] => one.clone(),
        many => many.concat().into(),
    };
    runs.map(join).collect()
}

/// Calls `write` until all parts are written. Goes on after interruptions and short writes; a write of nothing is an
/// error, so that the loop ends.
fn write_parts(
    data: &[Bytes],
    mut offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut slices: Vec<_> = data.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let some = rest.len().min(PARTS_MAX);
        let written = match write(&rest[..some], offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file that takes at most `step` bytes a call, after an interruption each time.
    fn write_in_steps(data: &[Bytes], step: usize) -> io::Result<Vec<u8>> {
        let mut file = Vec::new();
        let mut interrupt = true;
        write_parts(data, 7, |parts, offset| {
            assert_eq!(offset, 7 + file.len() as u64, "each call goes on where the last one ended");
            assert!(parts.len() <= PARTS_MAX);
            interrupt = !interrupt;
            if !interrupt {
                return Err(ErrorKind::Interrupted.into());
            }
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let taken = step.min(all.len());
            file.extend_from_slice(&all[..taken]);
            Ok(taken)
        })?;
        Ok(file)
    }

    #[test]
    fn short_and_interrupted_writes_are_resumed() {
        let parts: Vec<Bytes> = (0..2500_u32).map(|i| Bytes::copy_from_slice(&b"abcdefg"[..i as usize % 8])).collect();
        let expected = parts.concat();
        for step in [1, 2, 3, 5, 7, 100, 4096, usize::MAX] {
            assert_eq!(write_in_steps(&parts, step).unwrap(), expected, "{step} bytes a call");
        }
        assert!(write_in_steps(&[], 1).unwrap().is_empty());
        assert!(write_in_steps(&[Bytes::new()], 1).unwrap().is_empty());
    }

    #[test]
    fn small_buffers_are_joined_and_long_ones_left() {
        let long = Bytes::from(vec![7; JOINED_LEN_MAX]);
        let small = |text: &'static str| Bytes::from_static(text.as_bytes());
        let parts =
            [small("a"), small("b"), long.clone(), small("c"), long.clone(), long.clone(), small("d"), small("")];
        let joined = joined(&parts);
        assert_eq!(joined.concat(), parts.concat());
        assert_eq!(joined.len(), 6);
        assert_eq!(joined[1].as_ptr(), long.as_ptr());
        assert!(super::joined(&[]).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_told_as_such() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        for sync in [Sync::No, Sync::ThisWrite, Sync::Everything] {
            let error = write_all(&full, 0, &["abc".into(), "def".into()], sync).unwrap_err();
            let error = crate::Error::io("append", "a", error);
            assert_eq!(error.kind(), crate::ErrorKind::NoSpace, "{sync:?}");
        }
    }

    #[test]
    fn a_write_without_progress_and_a_failure_end_the_loop() {
        let data = [Bytes::from_static(b"abc")];
        assert_eq!(write_in_steps(&data, 0).unwrap_err().kind(), ErrorKind::WriteZero);
        let mut calls = 0;
        let failed = write_parts(&data, 0, |_, _| {
            calls += 1;
            if calls == 1 { Ok(1) } else { Err(ErrorKind::StorageFull.into()) }
        });
        assert_eq!((failed.unwrap_err().kind(), calls), (ErrorKind::StorageFull, 2));
    }
}
