//! One simulated file: what processes see of it, what the disk has of it, and what a power cut may leave of it.
//!
//! A file has *live* bytes, which every process reads, and *durable* ones, which the last sync left on the disk. In
//! between lies the list of changes not synced. A kernel writes pages back whenever and in whatever order it likes, so
//! after a power cut each page of 4 KiB is found, independently, as any of its changes left it; the page that was
//! being written is found torn, each sector of 512 bytes for itself. Which length the file then has is decided apart
//! from the data.
//!
//! What makes that survivable is the rule the engine relies on: a sector that held synced bytes is found old or new and
//! never mixed or lost (disks write sectors whole); zeros and garbage are found only in sectors that held none.

use super::random::Random;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// How much of what was not synced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survives {
    Nothing,
    Everything,
    Some,
}

/// A file's bytes; those of a file that no longer changes are shared.
#[derive(Clone)]
enum Content {
    Growing(Vec<u8>),
    Whole(Bytes),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Growing(bytes) => bytes,
            Content::Whole(bytes) => bytes,
        }
    }

    fn growing(&mut self) -> &mut Vec<u8> {
        if let Content::Whole(bytes) = self {
            *self = Content::Growing(bytes.to_vec());
        }
        match self {
            Content::Growing(bytes) => bytes,
            Content::Whole(_) => unreachable!("made to grow just above"),
        }
    }
}

#[derive(Clone)]
enum Change {
    /// Bytes written at a place.
    Write(usize, Bytes),
    /// The length cut from the second to the first.
    Cut(usize, usize),
}

impl Change {
    fn range(&self) -> Range<usize> {
        match self {
            Change::Write(at, data) => *at..at + data.len(),
            Change::Cut(len, from) => *len..*from,
        }
    }

    fn pages(&self) -> Range<usize> {
        let range = self.range();
        range.start / PAGE..range.end.div_ceil(PAGE)
    }

    /// Makes the change in a copy of the page that begins at `start`.
    fn apply(&self, page: &mut [u8; PAGE], start: usize) {
        let range = self.range();
        let (from, to) = (range.start.max(start), range.end.min(start + PAGE));
        if from < to {
            let within = &mut page[from - start..to - start];
            match self {
                Change::Write(at, data) => within.copy_from_slice(&data[from - at..to - at]),
                Change::Cut(..) => within.fill(0),
            }
        }
    }
}

/// A file. Names refer to it; it lives as long as one does, or a handle.
#[derive(Clone)]
pub(super) struct Inode {
    pub(super) id: u64,
    live: Content,
    durable: Content,
    /// Changes since the last sync, each with the length it left.
    unsynced: Vec<(Change, usize)>,
    /// Pages that a failed sync marked clean: live, not durable, and not written by later syncs unless they change
    /// again.
    lost: BTreeSet<usize>,
    /// Space has been set aside up to here.
    pub(super) reserved: u64,
    /// Whether it was made to grow, and so may be a log. After a power cut it still was.
    pub(super) is_log: bool,
    /// Whether the last read of it came out wrong.
    pub(super) misread: bool,
    /// At which step it got its name, on this disk; 0 where that was before.
    pub(super) named: u64,
}

impl Inode {
    pub(super) fn new(id: u64) -> Inode {
        let empty = || Content::Growing(Vec::new());
        Inode {
            id,
            live: empty(),
            durable: empty(),
            unsynced: Vec::new(),
            lost: BTreeSet::new(),
            reserved: 0,
            is_log: false,
            misread: false,
            named: 0,
        }
    }

    /// A file whose bytes are live and durable, and do not change.
    pub(super) fn whole(id: u64, data: Bytes) -> Inode {
        let (live, durable) = (Content::Whole(data.clone()), Content::Whole(data));
        Inode { live, durable, ..Inode::new(id) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.live.bytes()
    }

    pub(super) fn len(&self) -> u64 {
        self.live.bytes().len() as u64
    }

    /// Space taken on the disk.
    pub(super) fn allocated(&self) -> u64 {
        self.len().max(self.reserved)
    }

    /// All its bytes without copying, once it no longer changes.
    pub(super) fn shared(&self) -> Option<Bytes> {
        match &self.live {
            Content::Whole(bytes) => Some(bytes.clone()),
            Content::Growing(_) => None,
        }
    }

    /// Those at `range`.
    pub(super) fn read(&self, range: Range<usize>) -> Bytes {
        match &self.live {
            Content::Whole(bytes) => bytes.slice(range),
            Content::Growing(bytes) => Bytes::copy_from_slice(&bytes[range]),
        }
    }

    pub(super) fn write(&mut self, at: usize, data: Bytes) {
        let live = self.live.growing();
        let end = at + data.len();
        if end > live.len() {
            live.resize(end, 0);
        }
        live[at..end].copy_from_slice(&data);
        let len = live.len();
        self.unsynced.push((Change::Write(at, data), len));
    }

    pub(super) fn cut(&mut self, len: usize) {
        let live = self.live.growing();
        let from = live.len();
        if len < from {
            live.truncate(len);
            self.unsynced.push((Change::Cut(len, from), len));
        }
        self.reserved = 0;
    }

    /// Makes everything durable but what an earlier failed sync lost.
    pub(super) fn sync(&mut self) {
        let live = self.live.bytes();
        let durable = self.durable.growing();
        durable.resize(live.len(), 0);
        for (change, _) in self.unsynced.drain(..) {
            let pages = change.pages();
            let end = (pages.end * PAGE).min(live.len());
            let start = (pages.start * PAGE).min(end);
            durable[start..end].copy_from_slice(&live[start..end]);
            self.lost.retain(|page| !pages.contains(page));
        }
    }

    /// A sync that failed: nothing is written, and the pages count as clean.
    pub(super) fn fail_sync(&mut self) {
        for (change, _) in self.unsynced.drain(..) {
            self.lost.extend(change.pages());
        }
    }

    /// The file changes no more.
    pub(super) fn make_whole(&mut self) {
        let clean = self.unsynced.is_empty() && self.lost.is_empty();
        let live = Bytes::from(std::mem::take(self.live.growing()));
        if clean {
            self.durable = Content::Whole(live.clone());
        }
        self.live = Content::Whole(live);
    }

    /// Changes live and durable bytes alike, behind everyone's back; the file is whole, or grows, as before.
    pub(super) fn tamper(&mut self, change: impl Fn(&mut Vec<u8>)) {
        let is_whole = matches!(self.live, Content::Whole(_));
        change(self.live.growing());
        change(self.durable.growing());
        if is_whole {
            self.live = Content::Whole(std::mem::take(self.live.growing()).into());
        }
    }

    /// The file as another process finds it.
    pub(super) fn after_kill(&self) -> Inode {
        Inode { misread: false, named: 0, ..self.clone() }
    }

    /// The file as a power cut leaves it.
    pub(super) fn after_power_cut(&self, survives: Survives, random: &mut Random) -> Inode {
        Inode { is_log: self.is_log, ..Inode::whole(self.id, self.image(survives, random)) }
    }

    fn image(&self, survives: Survives, random: &mut Random) -> Bytes {
        // Whole files are often lost or kept as one; the rest of the time every page goes its own way.
        let survives = match (survives, random.below(8)) {
            (Survives::Some, 0) => Survives::Nothing,
            (Survives::Some, 1) => Survives::Everything,
            _ => survives,
        };
        match survives {
            Survives::Nothing => Bytes::copy_from_slice(self.durable.bytes()),
            Survives::Everything => Bytes::copy_from_slice(self.live.bytes()),
            Survives::Some => self.some_image(random),
        }
    }

    fn some_image(&self, random: &mut Random) -> Bytes {
        let (live, durable) = (self.live.bytes(), self.durable.bytes());
        let len = match random.below(4) {
            0 => durable.len(),
            1 | 2 => live.len(),
            _ => {
                self.unsynced.get(random.below(self.unsynced.len().max(1) as u64) as usize).map_or(live.len(), |c| c.1)
            }
        };
        let mut image = durable.to_vec();
        image.resize(len.max(live.len()).next_multiple_of(PAGE).max(image.len()), 0);
        for (page, changes) in self.dirty_pages() {
            let start = page * PAGE;
            if start >= image.len() {
                continue;
            }
            let end = (start + PAGE).min(image.len());
            let found = self.page_image(page, &changes, random);
            image[start..end].copy_from_slice(&found[..end - start]);
        }
        image.resize(len, 0);
        image.into()
    }

    /// The pages that are not as on the disk, with the changes that were made in each since the last sync.
    fn dirty_pages(&self) -> BTreeMap<usize, Vec<&Change>> {
        let mut dirty: BTreeMap<usize, Vec<&Change>> = self.lost.iter().map(|page| (*page, Vec::new())).collect();
        for (change, _) in &self.unsynced {
            for page in change.pages() {
                dirty.entry(page).or_default().push(change);
            }
        }
        dirty
    }

    /// One page, as written back after some number of its changes, or torn.
    fn page_image(&self, page: usize, changes: &[&Change], random: &mut Random) -> [u8; PAGE] {
        let start = page * PAGE;
        // After the first so many changes; `None` is the last state of all, the live one.
        let at = |state: Option<usize>| match state {
            None => copy_page(self.live.bytes(), start),
            Some(count) => {
                let mut bytes = copy_page(self.durable.bytes(), start);
                changes[..count].iter().for_each(|change| change.apply(&mut bytes, start));
                bytes
            }
        };
        // What lies between is not known of a page that a failed sync lost: it is found old or new.
        let between = if self.lost.contains(&page) { 1 } else { changes.len() };
        let states: Vec<_> = (0..between).map(Some).chain([None]).collect();
        match random.below(8) {
            0..=2 => at(None),
            3 | 4 => at(Some(0)),
            5 => at(random.pick(&states)),
            _ => {
                // Torn: a few states on the way, sector by sector.
                let some = [Some(0), random.pick(&states), None].map(at);
                let mut torn = [0; PAGE];
                for (index, sector) in torn.chunks_mut(SECTOR).enumerate() {
                    let begin = index * SECTOR;
                    let holds_synced_bytes = start + begin < self.durable.bytes().len();
                    match random.below(8) {
                        0 if !holds_synced_bytes => sector.fill(0),
                        1 if !holds_synced_bytes => self.garbage(sector, random),
                        n => sector.copy_from_slice(&some[n as usize % 3][begin..begin + SECTOR]),
                    }
                }
                torn
            }
        }
    }

    /// Random bytes, or, which is worse, bytes of this very file that belong elsewhere.
    fn garbage(&self, sector: &mut [u8], random: &mut Random) {
        let live = self.live.bytes();
        if live.len() >= SECTOR && random.one_in(2) {
            let from = random.below((live.len() - SECTOR + 1) as u64) as usize;
            sector.copy_from_slice(&live[from..from + SECTOR]);
        } else {
            sector.fill_with(|| random.next() as u8);
        }
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inode").field("id", &self.id).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The page at `start`, zeros where the file has ended.
fn copy_page(bytes: &[u8], start: usize) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    if let Some(rest) = bytes.get(start..) {
        let len = rest.len().min(PAGE);
        page[..len].copy_from_slice(&rest[..len]);
    }
    page
}
