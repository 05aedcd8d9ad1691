//! A live backup: what is committed is shipped again and again, under one name.
//!
//! Each shipment is a backup that takes the place of the one before, in one manifest: what is there already is not sent again,
//! and whatever ends a shipment leaves the one before. Where nothing was committed since, nothing is sent.

use super::{CopyReport, backup};
use crate::checkpoint::CheckpointOptions;
use crate::{Db, ErrorKind, ReadOnly, Result, Seq};
use halite_backends::Backend;
use std::sync::Arc;
use std::time::Duration;

/// How a database is [shipped](crate::Db::ship_to).
///
/// ```
/// use halite::ShipOptions;
/// use std::time::Duration;
/// let options = ShipOptions { interval: Some(Duration::from_secs(60)), ..ShipOptions::default() };
/// assert_eq!(options.name, "live");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipOptions {
    /// The name of the backup, which each shipment replaces: 1 to 255 bytes of UTF-8. Default `live`.
    pub name: String,
    /// Pause from the end of a shipment to the beginning of the next; `None` ships once. Default 10 s.
    pub interval: Option<Duration>,
}

impl Default for ShipOptions {
    fn default() -> ShipOptions {
        ShipOptions { name: "live".into(), interval: Some(Duration::from_secs(10)) }
    }
}

/// Where shipments come from.
#[derive(Debug)]
enum Origin<'a> {
    Writer(&'a Db),
    Reader(&'a ReadOnly),
}

impl Origin<'_> {
    /// The last commit that a shipment would bring.
    async fn newest(&self) -> Result<Seq> {
        match self {
            Origin::Writer(db) => {
                db.core().check_open()?;
                Ok(db.core().log.ordered())
            }
            Origin::Reader(reader) => {
                reader.refresh().await?;
                reader.seq()
            }
        }
    }

    async fn ship(&self, target: Arc<dyn Backend>, name: &str) -> Result<CopyReport> {
        let options = CheckpointOptions::default();
        match self {
            Origin::Writer(db) => backup(&db.source().await?, target, name.to_owned(), options, true).await,
            Origin::Reader(reader) => reader.backup_as(target, name, options, true).await,
        }
    }

    /// Ships as `options` say, until the source is closed.
    async fn run(
        &self,
        target: Arc<dyn Backend>,
        options: ShipOptions,
        mut told: impl FnMut(&CopyReport) + Send,
    ) -> Result<()> {
        let mut shipped = None;
        loop {
            let outcome = match self.newest().await {
                Ok(newest) if shipped == Some(newest) => Ok(()),
                Ok(newest) => self.ship(target.clone(), &options.name).await.map(|report| {
                    shipped = Some(newest);
                    told(&report);
                }),
                Err(error) => Err(error),
            };
            let Some(interval) = options.interval else { return outcome };
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
                Err(error) if may_pass(error.kind()) => {
                    tracing::warn!(%error, "could not ship to the live backup; trying again");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(interval).await;
        }
    }
}

/// Whether what failed may go well the next time.
fn may_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{InUse, Io, NoSpace, NotFound, PermissionDenied, Unknown};
    matches!(kind, InUse | Io | NoSpace | NotFound | PermissionDenied | Unknown)
}

impl Db {
    /// Keeps a live backup in `target`, beside other backups of this database if there are any: ships all that is committed
    /// since the last shipment, every [`interval`](ShipOptions::interval), until the database is closed; `told` hears of each
    /// shipment. A machine that is lost then loses the commits of one interval, and of one shipment, at most.
    ///
    /// Each shipment is a [`backup`](Db::backup) that replaces the one before: it seals what has entered, sends the segments
    /// that are new, those that merges have written among them, and reads them back. An empty `target` becomes a store of
    /// backups. [`Db::restore`] makes a database of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, ShipOptions, backends::Memory};
    /// use std::sync::Arc;
    /// let db = Db::open("mem:").await?;
    /// db.put("key", "value").await?;
    /// let (live, place) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
    /// let shipping = {
    ///     let (db, live) = (db.clone(), live.clone());
    ///     tokio::spawn(async move { db.ship_to(live, ShipOptions::default(), |report| println!("{report:?}")).await })
    /// };
    /// // What is to be in it at the end is shipped once more, when nobody else ships.
    /// shipping.abort();
    /// # let _ = shipping.await;
    /// db.ship_to(live.clone(), ShipOptions { interval: None, ..ShipOptions::default() }, |_| {}).await?;
    /// db.close().await?;
    /// Db::restore(live, None, place.clone()).await?;
    /// let restored = Db::builder(place).open().await?;
    /// assert_eq!(restored.get("key").await?.as_deref(), Some(&b"value"[..]));
    /// # restored.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`backup`](Db::backup); where there is an interval, what may pass (`Io`, `InUse`, `NoSpace` and their like) is tried
    /// again after it.
    ///
    /// # Cancel safety
    /// Dropped, the shipment under way is given up; the one before is there.
    pub async fn ship_to(
        &self,
        target: Arc<dyn Backend>,
        options: ShipOptions,
        told: impl FnMut(&CopyReport) + Send,
    ) -> Result<()> {
        self.core().tasks.inside(Origin::Writer(self).run(target, options, told)).await
    }
}

impl ReadOnly {
    /// Keeps a live backup of what this reader shows, and is refreshed to before each shipment: see [`Db::ship_to`]. What the
    /// writer has not sealed is sent as a segment of the backup's own, again each time until it is sealed.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn ship_to(
        &self,
        target: Arc<dyn Backend>,
        options: ShipOptions,
        told: impl FnMut(&CopyReport) + Send,
    ) -> Result<()> {
        self.tasks().inside(Origin::Reader(self).run(target, options, told)).await
    }
}
