#![allow(clippy::unwrap_used)]
use super::blocks::SLOT_LEN;
use super::pages::PAGE_LEN;
use super::*;
use crate::{ErrorKind, Memory, conformance};
use futures::future::join_all;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A folder that vanishes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("halite-cached-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join("blocks")
    }

    fn bytes(&self) -> u64 {
        let len = |name: &str| fs::metadata(self.0.join(name)).map_or(0, |about| about.len());
        len("blocks") + len("places")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(name: &str) -> Path {
    Path::new(name).unwrap()
}

/// What segment `number` of a stage holds.
fn segment(number: u64) -> Bytes {
    static SEGMENTS: LazyLock<[Bytes; 4]> = LazyLock::new(|| {
        let byte = |index: usize, salt: usize| (index.wrapping_mul(0x9e37_79b9).wrapping_add(salt << 7) >> 9) as u8;
        std::array::from_fn(|salt| (0..LEN).map(|index| byte(index, salt)).collect::<Vec<_>>().into())
    });
    SEGMENTS[number as usize].clone()
}

/// A store that counts what it is asked.
#[derive(Debug)]
struct Counted(Memory, Arc<AtomicU64>);

#[derive(Debug)]
struct CountedObject(Arc<dyn Object>, Arc<AtomicU64>);

#[async_trait]
impl Object for CountedObject {
    fn len(&self) -> u64 {
        self.0.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(range).await
    }
}

#[async_trait]
impl Backend for Counted {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn location(&self) -> String {
        "counted".into()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.0.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        self.0.create(path, data).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        self.0.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        self.0.append(path).await
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(CountedObject(self.0.open(path).await?, self.1.clone())))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.0.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        self.0.list(folder)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.0.delete(path).await
    }
}

struct Stage {
    memory: Memory,
    reads: Arc<AtomicU64>,
    folder: Folder,
}

const LEN: usize = 1_000_000;

impl Stage {
    async fn new() -> Stage {
        let memory = Memory::create_only();
        for number in 0..4 {
            memory.create(&name(&format!("segments/{number}")), segment(number)).await.unwrap();
        }
        Stage { memory, reads: Arc::default(), folder: Folder::new() }
    }

    async fn open(&self, bytes_max: u64) -> Cached {
        let store = Arc::new(Counted(self.memory.clone(), self.reads.clone()));
        Cached::open(store, &self.folder.0, bytes_max).await.unwrap()
    }

    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

/// Reads in many places, at once, and compares each with what the store holds.
async fn read_all_over(store: &Cached, seed: u64) {
    let mut number = seed.wrapping_mul(2) + 1;
    let mut below = |bound: u64| {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (number >> 33) % bound
    };
    let places: Vec<(u64, u64, u64)> = (0..200)
        .map(|_| {
            let (segment, start) = (below(4), below(LEN as u64));
            let len = match below(4) {
                0 => below(100),
                1 => below(200_000),
                2 => below(2 * READ_MAX),
                _ => below(5000),
            };
            (segment, start, (start + len).min(LEN as u64))
        })
        .collect();
    let read = async |(segment, start, end): (u64, u64, u64)| {
        let object = store.open_known(&name(&format!("segments/{segment}")), LEN as u64).await.unwrap();
        let bytes = object.read(start..end).await.unwrap();
        assert!(bytes == self::segment(segment)[start as usize..end as usize], "{segment} {start}..{end}");
    };
    for some in places.chunks(8) {
        join_all(some.iter().copied().map(read)).await;
    }
}

/// Waits until nothing is written any more.
async fn settle(store: &Cached) {
    while !store.blocks.is_settled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn it_is_a_backend() {
    let folder = Folder::new();
    // One cache at a time: the stores it is in front of are many.
    let cached = Cached::open(Arc::new(Memory::create_only()), &folder.0, 1 << 20).await.unwrap();
    let factory = || Arc::new(Cached { store: Arc::new(Memory::create_only()), ..cached.clone() }) as Arc<dyn Backend>;
    conformance::run(factory).await;
}

#[tokio::test]
async fn what_was_read_once_is_read_from_the_disk_also_after_a_restart() {
    let stage = Stage::new().await;
    let store = stage.open(64 << 20).await;
    let read = async |store: &Cached, range: Range<u64>| {
        let object = store.open_known(&name("segments/1"), LEN as u64).await.unwrap();
        assert!(object.read(range.clone()).await.unwrap() == segment(1)[range.start as usize..range.end as usize]);
    };
    read(&store, 100_000..104_000).await;
    assert_eq!(stage.reads(), 1);
    settle(&store).await;
    // The same block, and one that is lacking beside one that is there, in one request.
    read(&store, BLOCK_LEN + 100..2 * BLOCK_LEN - 100).await;
    assert_eq!(stage.reads(), 0);
    read(&store, 100_000..140_000).await;
    read(&store, LEN as u64 - 10..LEN as u64).await;
    assert_eq!(stage.reads(), 2);
    settle(&store).await;
    drop(store);
    let store = stage.open(64 << 20).await;
    read(&store, 100_000..140_000).await;
    read(&store, LEN as u64 - 50..LEN as u64).await;
    assert_eq!(stage.reads(), 0);
    let CacheStats { hits, misses, damaged, bytes, .. } = store.cache();
    assert_eq!((hits, misses, damaged), (3, 0, 0));
    assert!(bytes > 3 * SLOT_LEN && bytes < 4 * SLOT_LEN);
    // Large reads pass by.
    read(&store, 0..READ_MAX + 1).await;
    assert_eq!(stage.reads(), 1);
}

#[tokio::test]
async fn it_stays_within_its_bytes_and_gives_what_the_store_holds() {
    let stage = Stage::new().await;
    for (round, bytes_max) in [64 << 20, 700_000, 200_000, 0, 1 << 20].into_iter().enumerate() {
        let store = stage.open(bytes_max).await;
        for seed in 0..3 {
            read_all_over(&store, round as u64 * 10 + seed).await;
            assert!(store.cache().bytes <= bytes_max, "{:?}", store.cache());
            assert!(stage.folder.bytes() <= bytes_max);
        }
        let before = store.cache().hits;
        read_all_over(&store, round as u64 * 10).await;
        assert!(bytes_max < 1 << 20 || store.cache().hits > before, "{:?}", store.cache());
        assert_eq!(store.cache().damaged, 0);
        settle(&store).await;
    }
}

#[tokio::test]
async fn what_is_read_again_and_again_outlives_what_is_read_once() {
    let stage = Stage::new().await;
    let store = stage.open(9 * SLOT_LEN).await;
    let object = store.open_known(&name("segments/1"), LEN as u64).await.unwrap();
    let read = async |block: u64| {
        let start = block % 15 * BLOCK_LEN;
        assert!(object.read(start..start + 10).await.unwrap() == segment(1)[start as usize..start as usize + 10]);
        settle(&store).await;
    };
    read(0).await;
    for block in 1..100 {
        // Only what is read comes back: 14 others go round in 7 slots.
        read(block % 14 + 1).await;
        stage.reads();
        read(0).await;
        assert_eq!(stage.reads(), 0, "after {block} others");
    }
}

/// Whatever becomes of its file, while it works or before it is opened.
#[tokio::test]
async fn damage_is_never_given_to_anybody() {
    let stage = Stage::new().await;
    let mut store = stage.open(64 << 20).await;
    for round in 0..7 {
        read_all_over(&store, 1).await;
        settle(&store).await;
        if round % 2 == 0 {
            drop(store);
            spoil(&stage.folder.file(), round);
            store = stage.open(64 << 20).await;
        } else {
            spoil(&stage.folder.file(), round);
        }
        let before = store.cache().damaged;
        read_all_over(&store, 1).await;
        assert!(store.cache().damaged > before, "round {round}: {:?}", store.cache());
    }
}

/// Spoils most slots of the file, each in another way.
fn spoil(file: &std::path::Path, round: usize) {
    let mut bytes = fs::read(file).unwrap();
    let before = bytes.clone();
    let slot_len = SLOT_LEN as usize;
    assert!(bytes.len() > 20 * slot_len, "{} bytes", bytes.len());
    let last = bytes.len() / slot_len - 1;
    for (index, slot) in bytes.chunks_mut(slot_len).take(last).enumerate() {
        let another = &before[(index + 6) % last * slot_len..][..slot.len()];
        match (index + round) % 6 {
            // Nothing, all of it, or its last pages, as when it was never written.
            0 => slot.fill(0),
            1 => slot[slot_len / 2..].fill(0),
            // A bit in each page.
            2 => (0..slot.len())
                .step_by(PAGE_LEN)
                .for_each(|page| slot[page + index * 79 % PAGE_LEN] ^= 1 << (index % 8)),
            // Another block's, and the same but for the first page.
            3 => slot.copy_from_slice(another),
            4 => slot[PAGE_LEN..].copy_from_slice(&another[PAGE_LEN..]),
            _ => {}
        }
    }
    // The last one is cut.
    bytes.truncate(last * slot_len + 5000);
    fs::write(file, bytes).unwrap();
    // The table forgets some, and tells of others what is not so.
    let table = file.with_file_name("places");
    let mut entries = fs::read(&table).unwrap();
    for (index, entry) in entries.chunks_mut(24).enumerate() {
        match (index + round) % 12 {
            5 => entry.fill(0),
            11 => entry[16] ^= 3,
            _ => {}
        }
    }
    fs::write(table, entries).unwrap();
}

#[tokio::test]
async fn one_process_has_it_and_what_is_not_of_it_stays() {
    let stage = Stage::new().await;
    fs::create_dir_all(&stage.folder.0).unwrap();
    fs::write(stage.folder.0.join("somebody's"), "own").unwrap();
    fs::write(stage.folder.file(), "no block, and longer than it may be").unwrap();
    let store = stage.open(0).await;
    let again = Cached::open(Arc::new(stage.memory.clone()), &stage.folder.0, 0).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::InUse);
    read_all_over(&store, 3).await;
    assert_eq!(fs::read(stage.folder.0.join("somebody's")).unwrap(), b"own");
    assert_eq!(stage.folder.bytes(), 0);
}

/// A cache that is opened while the one before still writes, as its runtime has not ended.
#[tokio::test]
async fn two_that_write_at_once_spoil_nothing_but_each_other() {
    let stage = Stage::new().await;
    for seed in 0..4 {
        let first = stage.open(30 * SLOT_LEN).await;
        read_all_over(&first, seed).await;
        drop(first);
        let second = stage.open(30 * SLOT_LEN).await;
        read_all_over(&second, seed + 1).await;
        settle(&second).await;
        read_all_over(&second, seed + 1).await;
    }
}
