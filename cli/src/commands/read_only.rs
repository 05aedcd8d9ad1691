//! The commands on a store that is opened to read only: its newest state beside the process that writes, or a checkpoint.

use super::records::{bytes, range, show, show_all, show_exists};
use super::{copies, cost, inspect, transfer, tree};
use crate::args::{CheckpointCommand, Command, DataCommand};
use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use halite::{CheckpointOptions, ReadOnly};

/// Whether `command` only asks, so that nobody need be kept from writing.
pub(super) fn suffices(command: &Command) -> bool {
    use DataCommand::{Backup, Checkpoint, Clone, Collect, Cost, Exists, Get, List, Scan, Stats, Tree, Verify, Warm};
    match command {
        Command::Dump(_) => true,
        Command::Data(Checkpoint { command }) => matches!(command, CheckpointCommand::List),
        Command::Data(Collect { dry_run }) => *dry_run,
        Command::Data(command) => matches!(
            command,
            Get { .. }
                | Exists { .. }
                | List { .. }
                | Scan(_)
                | Stats
                | Cost { .. }
                | Tree
                | Verify(_)
                | Warm(_)
                | Backup { .. }
                | Clone { .. }
        ),
        _ => false,
    }
}

/// Does what a command line asks.
pub(super) async fn run(reader: &ReadOnly, command: &Command, out: &mut Out) -> Result<Exit> {
    match command {
        Command::Data(command) => data(reader, command, out).await,
        Command::Dump(args) => transfer::dump(reader.scan(range(args)), out).await,
        _ => Err(writes()),
    }
}

/// What can be asked of a store that is not written to.
pub(super) async fn data(reader: &ReadOnly, command: &DataCommand, out: &mut Out) -> Result<Exit> {
    match command {
        DataCommand::Get { key, raw } => show(bytes(key), reader.get_entry(bytes(key)).await?, *raw, out),
        DataCommand::Exists { key } => show_exists(bytes(key), reader.contains(bytes(key)).await?, out),
        DataCommand::List { prefix, limit, keys } => {
            let scan = reader.prefix(prefix.as_deref().map_or(&[][..], bytes)).limit(limit.unwrap_or(usize::MAX));
            show_all(if *keys { scan.keys_only() } else { scan }, *keys, out).await
        }
        DataCommand::Scan(args) => {
            let scan = reader.scan(range(&args.range)).limit(args.limit.unwrap_or(usize::MAX));
            let scan = if args.rev { scan.rev() } else { scan };
            show_all(if args.keys_only { scan.keys_only() } else { scan }, args.keys_only, out).await
        }
        DataCommand::Stats => inspect::stats(&reader.stats()?, out),
        DataCommand::Cost { prices } => cost::cost(&reader.stats()?, prices.as_deref(), out),
        DataCommand::Tree => tree::tree(&reader.stats()?.location, &reader.tree().await?, out),
        DataCommand::Warm(args) => {
            inspect::warmed(&reader.warm(range(&args.range), inspect::warm_options(args)).await?, out)
        }
        DataCommand::Verify(args) => {
            let mut shown = inspect::Shown::new(out.is_shell());
            let report = reader.verify_with(inspect::verify_options(args), |at| shown.at(&at)).await?;
            shown.end();
            inspect::found(&report, out)
        }
        DataCommand::Checkpoint { command: CheckpointCommand::List } => copies::list(&reader.checkpoints()?, out),
        DataCommand::Collect { dry_run: true } => inspect::superfluous(&reader.collectable().await?, true, out),
        DataCommand::Backup { target, name, hold, delete: false } => {
            let options = CheckpointOptions { hold_until: *hold };
            let report = reader.backup_with(copies::place(target)?, name, options).await?;
            copies::said(&report, out)
        }
        DataCommand::Clone { target } => {
            let report = reader.clone_to(copies::place(target)?).await?;
            copies::said(&report, out)
        }
        _ => Err(writes()),
    }
}

fn writes() -> Failure {
    Failure::usage("this command writes, but the store is opened to read only").hint("leave out --read-only and --at")
}
