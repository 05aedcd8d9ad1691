//! The pages of a cache's file: each says what it holds, so that none is ever taken for another.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of all that follows, as far as the page is filled |
//! | 4 | 4 | how many bytes of the object it holds |
//! | 8 | 16 | XXH3-128 of the object's name: the store's location, a line feed, its path |
//! | 24 | 8 | number of the page within the object |
//! | 32 | | the bytes |
//!
//! A block is [`BLOCK_PAGES`] pages in a row. Which block stands where, a table tells with an entry of [`ENTRY_LEN`] bytes for each,
//! so that a cache is opened at once: the name's hash, and the number of the block within the object, plus one. Zeros are no
//! block. Nothing rests on it: a page that is not what the table says is no page of that block.

/// What a page takes in the file. A read takes whole pages, as their checksums are of all of them: of some 4 KiB, about as many of
/// these, where two of the disk's pages would be.
pub(super) const PAGE_LEN: usize = 1 << 10;
/// What stands before its bytes.
pub(super) const HEAD_LEN: usize = 32;
/// Bytes of an object in one page.
pub(super) const DATA_LEN: usize = PAGE_LEN - HEAD_LEN;
/// What a block takes in the table.
pub(super) const ENTRY_LEN: usize = 24;
/// Pages of a block.
pub(super) const BLOCK_PAGES: usize = 64;

const CRC_LEN: usize = 4;

/// An object, as it is called in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u8; 16]);

impl Name {
    /// Of what lies at `path` of the store at `location`.
    pub(super) fn of(location: &str, path: &str) -> Name {
        Name(xxhash_rust::xxh3::xxh3_128(format!("{location}\n{path}").as_bytes()).to_le_bytes())
    }
}

/// Which block of which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) name: Name,
    pub(super) block: u64,
}

impl Place {
    /// Its entry in the table.
    pub(super) fn entry(self) -> [u8; ENTRY_LEN] {
        let mut entry = [0; ENTRY_LEN];
        entry[..16].copy_from_slice(&self.name.0);
        entry[16..].copy_from_slice(&(self.block + 1).to_le_bytes());
        entry
    }

    /// The block that an entry names, if any.
    pub(super) fn of(entry: &[u8; ENTRY_LEN]) -> Option<Place> {
        let (name, number) = entry.split_first_chunk()?;
        let block = u64::from_le_bytes(number.try_into().ok()?).checked_sub(1)?;
        Some(Place { name: Name(*name), block })
    }

    /// The number of the page within the object, of one within the block.
    fn page(self, index: usize) -> u64 {
        self.block * BLOCK_PAGES as u64 + index as u64
    }
}

/// The block's pages, with `bytes`.
pub(super) fn encode(place: Place, bytes: &[u8]) -> Vec<u8> {
    let mut pages = vec![0; bytes.len().div_ceil(DATA_LEN) * PAGE_LEN];
    for (index, (page, bytes)) in pages.chunks_exact_mut(PAGE_LEN).zip(bytes.chunks(DATA_LEN)).enumerate() {
        page[..HEAD_LEN].copy_from_slice(&head(place, index, bytes));
        page[HEAD_LEN..HEAD_LEN + bytes.len()].copy_from_slice(bytes);
    }
    pages
}

/// The bytes in `page`, which was page `index` of the block, unless it is another or not as it was written.
pub(super) fn decode(place: Place, index: usize, page: &[u8]) -> Option<&[u8]> {
    let (found, rest) = page.split_at_checked(HEAD_LEN)?;
    let len = u32::from_le_bytes(found[CRC_LEN..8].try_into().ok()?);
    let bytes = rest.get(..len as usize)?;
    (found == head(place, index, bytes)).then_some(bytes)
}

fn head(place: Place, index: usize, bytes: &[u8]) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[CRC_LEN..8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    head[8..24].copy_from_slice(&place.name.0);
    head[24..].copy_from_slice(&place.page(index).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[CRC_LEN..]), bytes);
    head[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(block: u64) -> Place {
        Place { name: Name::of("mem:", "segments/1"), block }
    }

    #[test]
    fn a_page_is_taken_for_itself_alone_and_only_whole() {
        let bytes: Vec<u8> = (0..DATA_LEN * 2 + 100).map(|index| (index % 251) as u8).collect();
        let pages = encode(place(7), &bytes);
        let page = |index: usize| &pages[index * PAGE_LEN..][..PAGE_LEN];
        let whole: Vec<u8> =
            (0..3).flat_map(|index| decode(place(7), index, page(index)).unwrap_or_default().to_vec()).collect();
        assert_eq!((pages.len(), whole == bytes), (3 * PAGE_LEN, true));
        assert_eq!((Place::of(&place(7).entry()), Place::of(&[0; ENTRY_LEN])), (Some(place(7)), None));
        let other = Place { name: Name::of("mem:", "segments/2"), block: 7 };
        for (place, index) in [(place(7), 1), (place(8), 0), (other, 0)] {
            assert_eq!(decode(place, index, page(0)), None);
        }
        let filled = HEAD_LEN + 100;
        for bit in 0..filled * 8 {
            let mut spoilt = page(2).to_vec();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(place(7), 2, &spoilt), None, "bit {bit}");
        }
        for len in 0..filled {
            assert_eq!(decode(place(7), 2, &page(2)[..len]), None, "{len} bytes");
        }
    }
}
