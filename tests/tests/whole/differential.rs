//! The same operations under many settings, on stores of all kinds: whatever is compressed, kept in memory, sealed or merged,
//! and whenever, every answer is the same.
//!
//! Answers are compared with each other and with nothing else: what the model test takes for granted is asked here, too
//! (sequence numbers, expiries, what is in a checkpoint), and neither can be wrong in the way the other is.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::{Local, SimulatedOptions};
use halite::{Compression, Db, Durability, Entry, KeyRange, Options, Snapshot, WriteBatch, WriteOptions};
use halite_tests::random::{Random, mix};
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, process, small_options};
use std::sync::Arc;
use std::time::Duration;

const STEPS: usize = 220;
const KEYS: u64 = 60;

/// All that a seed's operations have said, line by line.
type Answers = Vec<String>;

fn entry(entry: &Entry) -> String {
    let Entry { key, value, seq, expires_at, .. } = entry;
    format!("{}={}#{seq}@{expires_at:?}", key.escape_ascii(), value.escape_ascii())
}

async fn scan(scan: halite::Scan) -> String {
    let entries: Vec<_> = scan.map_ok(|it| entry(&it)).try_collect().await.unwrap();
    entries.join(" ")
}

/// Draws operations from a seed and notes what they say. What is drawn does not depend on that.
struct Player {
    random: Random,
    answers: Answers,
    snapshots: Vec<Snapshot>,
    checkpoints: u64,
}

impl Player {
    fn key(&mut self) -> String {
        // Some are long, and share long prefixes.
        let number = self.random.below(KEYS);
        if number.is_multiple_of(7) { format!("{}{number:03}", "k".repeat(60)) } else { format!("k{number:03}") }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = self.random.pick(&[0, 1, 30, 100, 400, 3000]);
        // Some compress well, and some not at all.
        if self.random.chance(50) {
            return b"abc".iter().cycle().take(len).copied().collect();
        }
        (0..len).map(|_| self.random.number() as u8).collect()
    }

    fn options(&mut self) -> WriteOptions {
        let durability = self.random.pick(&[Durability::Deferred, Durability::Written, Durability::Synced]);
        let ttl = self.random.chance(25).then(|| Duration::from_millis(self.random.below(50_000)));
        WriteOptions { durability, ttl }
    }

    fn range(&mut self) -> KeyRange {
        let (a, b) = (self.key(), self.key());
        match self.random.below(4) {
            0 => KeyRange::prefix(&a[..a.len() - 1]),
            1 => (a..).into(),
            _ => (a.clone().min(b.clone())..a.max(b)).into(),
        }
    }

    fn say(&mut self, what: &str, answer: impl std::fmt::Debug) {
        self.answers.push(format!("{what}: {answer:?}"));
    }

    async fn change(&mut self, db: &Db) {
        let (key, options) = (self.key(), self.options());
        match self.random.below(10) {
            0..5 => {
                let value = self.value();
                db.put_with(key, value, options).await.unwrap();
            }
            5 => db.delete_with(key, options).await.unwrap(),
            6 => {
                let mut batch = WriteBatch::new();
                for _ in 0..self.random.below(12) {
                    let (key, value) = (self.key(), self.value());
                    batch = if self.random.chance(30) { batch.delete(key) } else { batch.put(key, value) };
                }
                db.write_with(batch, options).await.unwrap();
            }
            7 if self.random.chance(40) => db.delete_range_with(self.range(), options).await.unwrap(),
            7 => {
                let sum = db.increment_with("counter", self.random.below(9) as i64, options).await;
                self.say("increment", sum.unwrap());
            }
            8 => {
                let expired = db.expire_with(&key, options).await.unwrap();
                self.say("expire", expired);
            }
            _ => {
                let (from, to) = (self.key(), self.key());
                let moved = db.transact(async |transaction| {
                    let found = transaction.get_entry(&from).await?;
                    let last = transaction.prefix("k").rev().limit(2).map_ok(|it| entry(&it));
                    let last: Vec<_> = last.try_collect().await?;
                    if let Some(found) = &found {
                        transaction.put(&to, &found.value)?;
                        transaction.delete(&from)?;
                    }
                    Ok((found.map(|it| entry(&it)), last))
                });
                let moved = moved.await.unwrap();
                self.say("move", moved);
            }
        }
    }

    async fn ask(&mut self, db: &Db) {
        let key = self.key();
        match self.random.below(6) {
            0..2 => {
                let found = db.get_entry(&key).await.unwrap().map(|it| entry(&it));
                let ttl = db.ttl(&key).await.unwrap();
                self.say("get", (found, ttl));
            }
            2 => {
                let (range, limit) = (self.range(), 1 + self.random.below(30) as usize);
                let found = scan(db.scan(range).limit(limit)).await;
                self.say("scan", found);
            }
            3 => {
                let (range, limit) = (self.range(), 1 + self.random.below(30) as usize);
                let found = scan(db.scan(range).rev().limit(limit)).await;
                self.say("scan backward", found);
            }
            4 => {
                let found = scan(db.scan(self.range()).keys_only()).await;
                self.say("keys", found);
            }
            _ => self.snapshots.push(db.snapshot()),
        }
    }

    /// What snapshots show that were taken a while ago.
    async fn look_back(&mut self) {
        for snapshot in std::mem::take(&mut self.snapshots) {
            let found = (snapshot.seq(), snapshot.time(), scan(snapshot.scan(..)).await);
            self.say("snapshot", found);
        }
    }

    async fn tend(&mut self, world: &World, db: &Db) {
        match self.random.below(6) {
            0 => drop(db.compact().await.unwrap()),
            1 => db.flush().await.unwrap(),
            2 => {
                // Engine time is looked at between commits, not by them.
                db.flush().await.unwrap();
                world.clock.advance(self.random.below(20_000));
            }
            3 => {
                self.checkpoints += 1;
                let checkpoint = db.checkpoint(self.checkpoints.to_string()).await.unwrap();
                self.say("checkpoint", (checkpoint.seq, checkpoint.time));
            }
            4 => drop(db.maintain(Duration::from_secs(5)).await.unwrap()),
            _ => self.look_back().await,
        }
    }

    /// Plays one part of the operations in a process of its own, and closes the database.
    fn play(&mut self, world: &mut World, open: impl AsyncFnOnce(&mut World) -> Db) {
        process(async {
            let db = open(world).await;
            for _ in 0..STEPS / 3 {
                match self.random.below(100) {
                    0..62 => self.change(&db).await,
                    62..92 => self.ask(&db).await,
                    _ => self.tend(world, &db).await,
                }
            }
            self.look_back().await;
            let all = scan(db.scan(..)).await;
            self.say("all", all);
            assert_eq!(db.verify().await.unwrap().damage, []);
            db.close().await.unwrap();
        });
    }
}

/// What a store says, opened with `options` three times.
fn answers(seed: u64, store: Store, options: Options) -> Answers {
    let mut world = World::new(store, options, seed);
    let mut player =
        Player { random: Random::new(mix(seed, 3)), answers: Vec::new(), snapshots: Vec::new(), checkpoints: 0 };
    for _ in 0..3 {
        player.play(&mut world, async |world| world.open().await.unwrap());
    }
    // Checkpoints show what they were taken for, whatever has been merged since.
    process(async {
        for name in 1..=player.checkpoints {
            let reader = world.open_at(&name.to_string()).await.unwrap();
            let shown = scan(reader.scan(..)).await;
            player.say("in the checkpoint", shown);
        }
    });
    player.answers
}

/// The same on local files.
fn local_answers(seed: u64, options: Options) -> Answers {
    let folder = Folder::new("differential");
    let mut world = World::new(Store::memory(true), options.clone(), seed);
    let mut player =
        Player { random: Random::new(mix(seed, 3)), answers: Vec::new(), snapshots: Vec::new(), checkpoints: 0 };
    let builder = |world: &World| {
        let backend = Arc::new(Local::open(folder.path(), true).unwrap());
        Db::builder(backend).options(options.clone()).clock(Arc::new(world.clock.clone()))
    };
    for _ in 0..3 {
        player.play(&mut world, async |world| builder(world).open().await.unwrap());
    }
    process(async {
        for name in 1..=player.checkpoints {
            let shown = scan(builder(&world).open_at(name.to_string()).await.unwrap().scan(..)).await;
            player.say("in the checkpoint", shown);
        }
    });
    player.answers
}

/// Settings, and a store for them.
fn cases(seed: u64) -> Vec<(&'static str, Store, Options)> {
    let simulated = |append, map| {
        Store::simulated(SimulatedOptions { seed, append, map, yields: true, ..SimulatedOptions::default() })
    };
    let small = small_options();
    let budget = |bytes| Options { memory_budget: Some(bytes), ..small_options() };
    let eager = Options { merge_dead_share: 0.05, space_amplification: 1.0, runs_max: 1, ..small_options() };
    let lazy = Options { merge_in_background: false, ..small_options() };
    let lz4 = Options { compression: Compression::Lz4, ..small_options() };
    let one_by_one = Options { segment_fragments_max: 1, unsealed_max: 3, fragment_bytes: 1, ..small_options() };
    vec![
        ("all in one memtable", Store::memory(true), Options::default()),
        ("small segments", Store::memory(true), small.clone()),
        ("small segments, fragments", Store::memory(false), small.clone()),
        ("no memory", Store::memory(true), budget(0)),
        ("no memory, fragments", Store::memory(false), budget(0)),
        ("no memory, not mapped", simulated(true, false), budget(0)),
        ("little memory, not mapped, fragments", simulated(false, false), budget(120 << 10)),
        ("eager merges", simulated(true, true), eager.clone()),
        ("eager merges, fragments", Store::memory(false), Options { compression: Compression::Lz4, ..eager }),
        ("no merges but those asked for", Store::memory(true), lazy),
        ("compressed", Store::memory(true), lz4.clone()),
        ("compressed, not mapped, fragments", simulated(false, false), lz4),
        ("history kept", Store::memory(true), Options { history_bytes: 1 << 30, ..small.clone() }),
        ("a fragment a segment", simulated(false, true), one_by_one),
    ]
}

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut all = cases(seed).into_iter();
        let (_, store, options) = all.next().unwrap();
        let expected = answers(seed, store, options);
        assert!(expected.len() > STEPS / 3, "{}", expected.len());
        let local = [("local files", local_answers(seed, small_options()))];
        for (name, found) in all.map(|(name, store, options)| (name, answers(seed, store, options))).chain(local) {
            let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
            if let Some(at) = differs {
                panic!("seed {seed}, {name}, answer {at}:\n  expected {}\n  found    {}", expected[at], found[at]);
            }
            assert_eq!(expected.len(), found.len(), "seed {seed}, {name}");
        }
    }
}

#[test]
fn settings_do_not_show() {
    check(1..9);
}

#[test]
fn settings_do_not_show_for_other_seeds() {
    check(9..17);
}
