//! The few bytes of the format that a test has to forge.

/// Makes of a whole file one that a later version of the format has written: raises the version in its preamble, and
/// sets the preamble's checksum right. (FORMAT.md, "preamble".)
pub fn make_newer(file: &mut [u8]) {
    const VERSION: usize = 8;
    const CRC: usize = 20;
    file[VERSION] += 1;
    // Salt and offset are zero here, and so is the seed that stands for them.
    let crc = crc32c::crc32c(&file[..CRC]);
    file[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
}
