//! The two engines, asked for the same things in the same words.

use crate::{FLUSH_INTERVAL, Result, key, value};
use futures::TryStreamExt;
use halite::backends::{Backend, Cached, Local, Purpose};
use halite::{Durability, WarmOptions, WriteBatch, WriteOptions};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use slatedb::admin::AdminBuilder;
use slatedb::compactor::{CompactionSpec, CompactionStatus, SourceId};
use slatedb::config::{
    CompactorOptions, DbReaderOptions, FlushOptions, FlushType, ObjectStoreCacheOptions, ScanOptions, Settings,
};
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::foyer::{FoyerCache, FoyerCacheOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The columns of the table.
pub(crate) const ENGINES: [usize; 2] = [HALITE, SLATEDB];
pub(crate) const HALITE: usize = 0;
pub(crate) const SLATEDB: usize = 1;

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(24 * 3600);
/// What a scan of SlateDB reads ahead: its own defaults read block by block. This is as far as Halite's goes.
const AHEAD_BYTES: usize = 4 << 20;

/// An engine that has its store open to write.
pub(crate) enum Engine {
    Halite(halite::Db, Arc<dyn Backend>),
    SlateDb(slatedb::Db, Arc<dyn ObjectStore>),
}

/// One that reads a store, as another machine would.
pub(crate) enum Reader {
    Halite(halite::ReadOnly),
    SlateDb(Box<slatedb::DbReader>),
}

/// Where a store is, for Halite.
fn halite_backend(endpoint: &str) -> Result<Arc<dyn Backend>> {
    let uri = format!(
        "s3://bucket/halite?region=us-east-1&endpoint={endpoint}&access_key_id=key&secret_access_key=secret\
         &disable_config_load=true&disable_ec2_metadata=true"
    );
    Ok(halite::backends::open_uri(&uri, true)?)
}

/// The client of SlateDB, and of the reads that others are held against.
pub(crate) fn client(endpoint: &str) -> Result<Arc<dyn ObjectStore>> {
    let client = AmazonS3Builder::new()
        .with_bucket_name("bucket")
        .with_region("us-east-1")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()?;
    Ok(Arc::new(client))
}

/// Of `budget`, about half is for caches in Halite; SlateDB is told its caches, and takes what else it needs besides.
fn halite_options(budget: u64) -> halite::Options {
    halite::Options {
        flush_interval: FLUSH_INTERVAL,
        memory_budget: Some(budget),
        refresh_interval: None,
        ..halite::Options::default()
    }
}

fn slatedb_cache(bytes: u64) -> Arc<SplitCache> {
    let cache =
        |bytes| Arc::new(FoyerCache::new_with_opts(FoyerCacheOptions { max_capacity: bytes, ..Default::default() }));
    let caches = SplitCache::new().with_block_cache(Some(cache(bytes / 4 * 3))).with_meta_cache(Some(cache(bytes / 4)));
    Arc::new(caches.build())
}

fn slatedb_settings(budget: u64) -> Settings {
    // It compacts when it is asked to, so that nothing of that is in other figures, and looks often whether it is.
    let compactor = CompactorOptions { poll_interval: Duration::from_millis(100), ..CompactorOptions::default() };
    Settings {
        flush_interval: Some(FLUSH_INTERVAL),
        max_unflushed_bytes: (budget as usize).max(1 << 20),
        l0_sst_size_bytes: (64 << 20).min(budget as usize / 4).max(1 << 20),
        l0_max_ssts: 1000,
        l0_max_ssts_per_key: 1000,
        compactor_options: Some(compactor),
        garbage_collector_options: None,
        ..Settings::default()
    }
}

impl Engine {
    pub(crate) async fn open(engine: usize, endpoint: &str, budget: u64, compacts: bool) -> Result<Engine> {
        if engine == HALITE {
            let backend = halite_backend(endpoint)?;
            let db = halite::Db::builder(backend.clone()).options(halite_options(budget)).open().await?;
            return Ok(Engine::Halite(db, backend));
        }
        let client = client(endpoint)?;
        let mut settings = slatedb_settings(budget);
        if !compacts {
            settings.compactor_options = None;
        }
        let builder = slatedb::Db::builder("slatedb", client.clone()).with_settings(settings);
        let db = builder.with_db_cache(slatedb_cache(budget / 4), 1).build().await?;
        Ok(Engine::SlateDb(db, client))
    }

    /// These records in one batch: ordered and visible when it returns, and durable within the flush interval.
    pub(crate) async fn put_many(&self, numbers: impl Iterator<Item = u64>) -> Result<()> {
        match self {
            Engine::Halite(db, _) => {
                let batch = numbers.fold(WriteBatch::new(), |batch, number| batch.put(key(number), value(number)));
                let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
                db.write_with(batch, deferred).await?;
            }
            Engine::SlateDb(db, _) => {
                let mut batch = slatedb::WriteBatch::new();
                numbers.for_each(|number| batch.put(key(number).as_bytes(), value(number)));
                db.write(batch).await?;
            }
        }
        Ok(())
    }

    /// Durable when it returns.
    pub(crate) async fn put_durably(&self, number: u64) -> Result<()> {
        match self {
            Engine::Halite(db, _) => db.put(key(number), value(number)).await?,
            Engine::SlateDb(db, _) => db.put(key(number).as_bytes(), &value(number)).await?.await_durable().await?,
        }
        Ok(())
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        match self {
            Engine::Halite(db, _) => db.flush().await?,
            Engine::SlateDb(db, _) => db.flush().await?,
        }
        Ok(())
    }

    /// Has all of it in sorted files, and Halite's log in one with them.
    pub(crate) async fn seal(&self) -> Result<()> {
        match self {
            Engine::Halite(db, _) => {
                db.checkpoint("sealed").await?;
                db.delete_checkpoint("sealed").await?;
            }
            Engine::SlateDb(db, _) => {
                db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await?;
            }
        }
        Ok(())
    }

    /// Makes one run of all.
    pub(crate) async fn merge(&self) -> Result<()> {
        match self {
            Engine::Halite(db, _) => drop(db.compact().await?),
            Engine::SlateDb(db, client) => {
                let manifest = db.manifest();
                let fresh = manifest.l0().iter().map(|view| SourceId::SstView(view.id));
                let runs = manifest.compacted().iter().map(|run| SourceId::SortedRun(run.id));
                let sources: Vec<SourceId> = fresh.chain(runs).collect();
                let target = manifest.compacted().iter().map(|run| run.id).max().unwrap_or(0);
                let admin = AdminBuilder::new("slatedb", client.clone()).build();
                let id = admin.submit_compaction(CompactionSpec::new(sources, target)).await?.id();
                loop {
                    match admin.read_compaction(id, None).await?.map(|compaction| compaction.status()) {
                        Some(CompactionStatus::Completed) | None => break,
                        Some(CompactionStatus::Failed) => return Err("SlateDB's compaction failed".into()),
                        Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes that merges have sent, where they are told apart.
    pub(crate) fn merged(&self) -> u64 {
        match self {
            Engine::Halite(_, backend) => backend.traffic().of(Purpose::Merge).map(|requests| requests.bytes).sum(),
            Engine::SlateDb(..) => 0,
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Engine::Halite(db, _) => db.close().await?,
            Engine::SlateDb(db, _) => db.close().await?,
        }
        Ok(())
    }
}

impl Reader {
    /// With a cache on `disk`, where that is given.
    pub(crate) async fn open(engine: usize, endpoint: &str, budget: u64, disk: Option<&Path>) -> Result<Reader> {
        if engine == HALITE {
            let remote = halite_backend(endpoint)?;
            let backend: Arc<dyn Backend> = match disk {
                Some(folder) => Arc::new(Cached::open(remote, folder, 4 << 30).await?),
                None => remote,
            };
            return Reader::halite(backend, budget).await;
        }
        let cache = ObjectStoreCacheOptions { root_folder: disk.map(Path::to_owned), ..Default::default() };
        let options = DbReaderOptions {
            manifest_poll_interval: NEVER,
            checkpoint_lifetime: 3 * NEVER,
            object_store_cache_options: cache,
            ..DbReaderOptions::default()
        };
        let builder = slatedb::DbReader::builder("slatedb", client(endpoint)?).with_options(options);
        let reader = builder.with_db_cache(slatedb_cache(budget / 4), 1).build().await?;
        Ok(Reader::SlateDb(Box::new(reader)))
    }

    async fn halite(backend: Arc<dyn Backend>, budget: u64) -> Result<Reader> {
        let builder = halite::Db::builder(backend).options(halite_options(budget));
        Ok(Reader::Halite(builder.open_read_only().await?))
    }

    /// Halite's store copied to local files, and read there.
    pub(crate) async fn local(endpoint: &str, folder: &Path, budget: u64) -> Result<Reader> {
        let Reader::Halite(remote) = Reader::open(HALITE, endpoint, budget, None).await? else {
            return Err("it is Halite that was opened".into());
        };
        remote.copy_to(Arc::new(Local::open(folder, true)?)).await?;
        remote.close().await;
        Reader::halite(Arc::new(Local::open(folder, false)?), budget).await
    }

    /// Runs that a key may be in.
    pub(crate) async fn runs(&self) -> Result<u64> {
        Ok(match self {
            Reader::Halite(db) => db.stats()?.runs,
            Reader::SlateDb(db) => {
                let manifest = db.manifest();
                (manifest.l0().len() + manifest.compacted().len()) as u64
            }
        })
    }

    /// Has at hand what records are found by. SlateDB has no word for it: it reads all keys' neighbourhoods once.
    pub(crate) async fn warm(&self, numbers: impl Iterator<Item = u64>) -> Result<()> {
        match self {
            Reader::Halite(db) => {
                db.warm(.., WarmOptions { records: false, ..WarmOptions::default() }).await?;
            }
            Reader::SlateDb(_) => {
                for number in numbers {
                    self.get(key(number)).await?;
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn get(&self, key: String) -> Result<Option<bytes::Bytes>> {
        Ok(match self {
            Reader::Halite(db) => db.get(key).await?,
            Reader::SlateDb(db) => db.get(key.as_bytes()).await?,
        })
    }

    /// Reads records in order, those of these numbers; how many bytes they have.
    pub(crate) async fn scan(&self, numbers: std::ops::Range<u64>) -> Result<u64> {
        let (mut bytes, mut count) = (0, 0);
        let range = key(numbers.start)..key(numbers.end);
        match self {
            Reader::Halite(db) => {
                let mut scan = db.scan(range);
                while let Some(entry) = scan.try_next().await? {
                    bytes += (entry.key.len() + entry.value.len()) as u64;
                    count += 1;
                }
            }
            Reader::SlateDb(db) => {
                let options =
                    ScanOptions { read_ahead_bytes: AHEAD_BYTES, max_fetch_tasks: 4, ..ScanOptions::default() };
                let range = range.start.into_bytes()..range.end.into_bytes();
                let mut scan = db.scan_with_options(range, &options).await?;
                while let Some(entry) = scan.next().await? {
                    bytes += (entry.key.len() + entry.value.len()) as u64;
                    count += 1;
                }
            }
        }
        if count != numbers.end - numbers.start {
            return Err(format!("a scan found {count} records of {numbers:?}").into());
        }
        Ok(bytes)
    }

    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Reader::Halite(db) => db.close().await,
            Reader::SlateDb(db) => db.close().await?,
        }
        Ok(())
    }
}
