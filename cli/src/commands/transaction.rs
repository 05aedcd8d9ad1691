//! The commands of an open transaction: the shell's, between `begin` and `commit`.

use super::records::{between, bytes, range, show, show_all, show_exists};
use crate::args::DataCommand;
use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use halite::{Db, Transaction};

/// What can be asked within `transaction`.
pub(crate) async fn data(db: &Db, transaction: &Transaction, command: &DataCommand, out: &mut Out) -> Result<Exit> {
    match command {
        DataCommand::Put { key, value, ttl } => {
            match ttl {
                Some(ttl) => transaction.put_with(bytes(key), bytes(value), *ttl)?,
                None => transaction.put(bytes(key), bytes(value))?,
            }
            out.done()?;
            Ok(Exit::Done)
        }
        DataCommand::Delete { key, prefix } => {
            match prefix {
                Some(prefix) => transaction.delete_prefix(bytes(prefix))?,
                None => transaction.delete(key.as_deref().map_or(&[][..], bytes))?,
            }
            out.done()?;
            Ok(Exit::Done)
        }
        DataCommand::DeleteRange { from, to } => {
            transaction.delete_range(between(from.as_deref(), to.as_deref()))?;
            out.done()?;
            Ok(Exit::Done)
        }
        DataCommand::Get { key, raw } => show(bytes(key), transaction.get_entry(bytes(key)).await?, *raw, out),
        DataCommand::Exists { key } => show_exists(bytes(key), transaction.contains(bytes(key)).await?, out),
        DataCommand::List { prefix, limit, keys } => {
            let scan = transaction.prefix(prefix.as_deref().map_or(&[][..], bytes)).limit(limit.unwrap_or(usize::MAX));
            show_all(if *keys { scan.keys_only() } else { scan }, *keys, out).await
        }
        DataCommand::Scan(args) => {
            let scan = transaction.scan(range(&args.range)).limit(args.limit.unwrap_or(usize::MAX));
            let scan = if args.rev { scan.rev() } else { scan };
            show_all(if args.keys_only { scan.keys_only() } else { scan }, args.keys_only, out).await
        }
        DataCommand::Stats
        | DataCommand::Cost { .. }
        | DataCommand::Tree
        | DataCommand::Warm(_)
        | DataCommand::Verify(_)
        | DataCommand::Collect { .. }
        | DataCommand::Compact { .. } => super::data(db, command, out).await,
        _ => Err(Failure::input("this command cannot be part of a transaction: `commit` or `rollback` first")),
    }
}
