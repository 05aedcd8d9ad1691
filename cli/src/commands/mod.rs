//! The commands, in groups: records, changes and transactions, inspection, transfer, measurement.

mod bench;
mod change;
mod changes;
mod copies;
mod cost;
mod files;
mod inspect;
mod read_only;
mod records;
mod repair;
pub(crate) mod transaction;
mod transfer;
mod tree;

use crate::args::{Args, Command, DataCommand, Reading};
use crate::failure::{Exit, Result};
use crate::output::Out;
use crate::{shell, store};
use halite::{CheckpointOptions, Db, ShipOptions};

/// Opens the store, does what was asked, and closes the store, also after a failure.
pub(crate) async fn run(args: Args, out: &mut Out) -> Result<Exit> {
    let (uri, named) = args.store();
    if let Command::Bench(bench) = &args.command {
        return bench::run(bench, named.then_some(uri), args.settings(), out).await;
    }
    if let Command::Repair { target } = &args.command {
        return repair::run(uri, target, out).await;
    }
    if let Command::Inspect { what } = &args.command {
        return files::run(uri, what, out).await;
    }
    match (&args.command, args.reading()) {
        (Command::Restore { from, name }, None) => {
            return copies::restore(from, name.as_deref(), uri, args.settings(), out).await;
        }
        (Command::Copy { from, to }, reading) => {
            return copies::copy(from, reading.unwrap_or(Reading::Newest), to, args.settings(), out).await;
        }
        (Command::Ship { target, name, interval, once }, None) => {
            let options = ShipOptions { name: name.clone(), interval: (!once).then_some(*interval) };
            return copies::ship(uri, target, options, args.settings(), out).await;
        }
        (Command::Data(DataCommand::Backup { target, name, delete: true, .. }), _) => {
            return copies::delete_backup(target, name, out).await;
        }
        (command, Some(reading)) => {
            let reader = store::open_read_only(uri, reading, args.settings()).await?;
            return read_only::run(&reader, command, out).await;
        }
        (command, None) if store::is_remote(uri) && read_only::suffices(command) => {
            let reader = store::open_read_only(uri, Reading::Newest, args.settings()).await?;
            return read_only::run(&reader, command, out).await;
        }
        (Command::Data(command @ (DataCommand::Backup { .. } | DataCommand::Clone { .. })), None) => {
            // A copy can be made beside the process that has the store open.
            if let Some(reader) = store::open_beside(uri, args.settings()).await? {
                return read_only::data(&reader, command, out).await;
            }
        }
        _ => {}
    }
    let db = store::open(uri, creates(&args.command), args.settings()).await?;
    let done = match &args.command {
        Command::Data(command) => data(&db, command, out).await,
        Command::Load { file, lines } => transfer::load(&db, file, *lines, out).await,
        Command::Dump(args) => transfer::dump(db.scan(records::range(args)), out).await,
        Command::Shell => shell::run(&db, out).await,
        Command::Bench(_)
        | Command::Repair { .. }
        | Command::Inspect { .. }
        | Command::Restore { .. }
        | Command::Copy { .. }
        | Command::Ship { .. } => {
            unreachable!("they open their stores themselves")
        }
    };
    // Results are out before the store closes, so that nobody waits for more than they asked for.
    let done = done.and_then(|exit| out.flush().map(|()| exit));
    let closed = db.close().await;
    let exit = done?;
    closed?;
    Ok(exit)
}

/// Whether a command makes sense where there is no store yet.
fn creates(command: &Command) -> bool {
    use DataCommand::{Cas, Incr, Put};
    matches!(command, Command::Data(Put { .. } | Cas { .. } | Incr { .. }) | Command::Load { .. } | Command::Shell)
}

/// What can be asked of an open store, on the command line and in the shell.
pub(crate) async fn data(db: &Db, command: &DataCommand, out: &mut Out) -> Result<Exit> {
    match command {
        DataCommand::Put { key, value, ttl } => records::put(db, key, value, *ttl, out).await,
        DataCommand::Get { key, raw } => records::get(db, key, *raw, out).await,
        DataCommand::Delete { key, prefix } => records::delete(db, key.as_deref(), prefix.as_deref(), out).await,
        DataCommand::DeleteRange { from, to } => {
            records::delete_range(db, records::between(from.as_deref(), to.as_deref()), out).await
        }
        DataCommand::Exists { key } => records::exists(db, key, out).await,
        DataCommand::List { prefix, limit, keys } => records::list(db, prefix.as_deref(), *limit, *keys, out).await,
        DataCommand::Scan(args) => records::scan(db, args, out).await,
        DataCommand::Changes { prefix, from, limit } => {
            changes::changes(db, prefix.as_deref(), *from, *limit, out).await
        }
        DataCommand::Cas { key, old, new, if_absent, delete } => {
            change::cas(db, key, (old.as_deref(), new.as_deref()), (*if_absent, *delete), out).await
        }
        DataCommand::Incr { key, by } => change::incr(db, key, *by, out).await,
        DataCommand::Ttl { key } => change::ttl(db, key, out).await,
        DataCommand::Expire { key, time } => change::expire(db, key, *time, out).await,
        DataCommand::Persist { key } => change::persist(db, key, out).await,
        DataCommand::ConfirmTime => {
            db.confirm_time().await?;
            out.done()?;
            Ok(Exit::Done)
        }
        DataCommand::Clear { yes } => records::clear(db, *yes, out).await,
        DataCommand::Stats => inspect::stats(&db.stats(), out),
        DataCommand::Cost { prices } => cost::cost(&db.stats(), prices.as_deref(), out),
        DataCommand::Tree => tree::tree(&db.stats().location, &db.tree().await?, out),
        DataCommand::Warm(args) => {
            inspect::warmed(&db.warm(records::range(&args.range), inspect::warm_options(args)).await?, out)
        }
        DataCommand::Verify(args) => {
            let mut shown = inspect::Shown::new(out.is_shell());
            let report = db.verify_with(inspect::verify_options(args), |at| shown.at(&at)).await?;
            shown.end();
            inspect::found(&report, out)
        }
        DataCommand::Compact { rate } => inspect::compact(db, *rate, out).await,
        DataCommand::Checkpoint { command } => copies::checkpoint(db, command, out).await,
        DataCommand::Collect { dry_run: true } => inspect::superfluous(&db.collectable().await?, true, out),
        DataCommand::Collect { dry_run: false } => inspect::superfluous(&db.collect().await?, false, out),
        DataCommand::Backup { target, name, delete: true, .. } => copies::delete_backup(target, name, out).await,
        DataCommand::Backup { target, name, hold, delete: false } => {
            let options = CheckpointOptions { hold_until: *hold };
            let report = db.backup_with(copies::place(target)?, name, options).await?;
            copies::said(&report, out)
        }
        DataCommand::Clone { target } => {
            let report = db.clone_to(copies::place(target)?).await?;
            copies::said(&report, out)
        }
    }
}
