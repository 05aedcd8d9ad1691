//! Settings of transactions.

use crate::Durability;

/// What a transaction is kept from seeing of others.
///
/// Under both a transaction reads one moment: no dirty, non-repeatable or half-applied reads, and no phantom shows; and of
/// two that change one key after having read it, one fails.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Isolation, TransactionOptions};
/// let db = halite::Db::open("mem:").await?;
/// // Each reads what the other writes: only snapshot isolation lets both commit.
/// for (isolation, both) in [(Isolation::Snapshot, true), (Isolation::Serializable, false)] {
///     let options = TransactionOptions { isolation, ..TransactionOptions::default() };
///     let (a, b) = (db.begin_with(options), db.begin_with(options));
///     a.get("b").await?;
///     a.put("a", "1")?;
///     b.get("a").await?;
///     b.put("b", "1")?;
///     a.commit().await?;
///     assert_eq!(b.commit().await.is_ok(), both);
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Those that commit have the effect of running one after the other. A commit fails with `Conflict` where another one
    /// has changed what this one *read*: a key, whether there or not, or any key of a range that it has scanned. What was
    /// only written is not compared. A transaction that writes nothing never fails.
    #[default]
    Serializable,
    /// A commit fails with `Conflict` where another one has changed a key that this one *writes*. Reads are not compared,
    /// so that two transactions which each read what the other one writes may both commit (write skew).
    Snapshot,
}

/// How a transaction is to run.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Isolation, TransactionOptions};
/// let db = halite::Db::open("mem:").await?;
/// let options = TransactionOptions { isolation: Isolation::Snapshot, ..TransactionOptions::default() };
/// let transaction = db.begin_with(options);
/// transaction.put("key", "value")?;
/// transaction.commit().await?;
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionOptions {
    /// What it is kept from seeing of others. Default [`Isolation::Serializable`].
    pub isolation: Isolation,
    /// How durable it is when its commit returns; the database's [`durability`](crate::Options::durability) if `None`,
    /// which is the default.
    pub durability: Option<Durability>,
    /// How often [`transact`](crate::Db::transact) runs it, the first time included, before it gives up with `Conflict`.
    /// Default 32; 0 counts as 1. Of no effect on [`begin_with`](crate::Db::begin_with).
    pub attempts_max: u32,
}

impl Default for TransactionOptions {
    fn default() -> TransactionOptions {
        TransactionOptions { isolation: Isolation::Serializable, durability: None, attempts_max: 32 }
    }
}
