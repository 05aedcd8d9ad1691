//! The command line: what may be asked, and the help that says so.

mod values;

pub(crate) use values::time;

use crate::failure::Failure;
use crate::store::{Cache, Settings};
use clap::{Parser, Subcommand, ValueEnum};
use halite::backends::{Limit, Purpose};
use halite::{Anchor, Limits};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use values::{cache, duration, future, limit, size, text, ttl};

/// Where the store is when nobody says.
const STORE: &str = "./halite-data";

const EXIT_CODES: &str = "\
Stores:
  data, ./data, file:data, file:///srv/data   a folder
  mem:                                        memory, gone when the command ends

Exit codes:
  0  done
  1  no: the key is absent, or `cas` has found another value
  2  usage: wrong arguments, a bad line of input, an unknown URI, a folder that is no store
  3  corruption: damaged data was met, or found by `verify`
  4  I/O: the storage or a file failed, is missing, or may not be accessed
  5  in use: the store is open elsewhere, or another writer has taken over
  6  conflict: what a transaction has read was changed; run it again
  130  interrupted; what was said to be stored is";

/// A key-value store on local files, with a shell.
#[derive(Debug, Parser)]
#[command(name = "halite", version, after_help = EXIT_CODES, subcommand_required = true)]
pub(crate) struct Args {
    /// The store: a folder or URI [default: ./halite-data]
    #[arg(long, global = true, env = "HALITE_STORE", value_name = "URI", value_parser = text(), display_order = 100)]
    store: Option<String>,
    /// How results and errors are written: for people, or as JSON
    #[arg(long, global = true, value_enum, default_value_t = Format::Plain, display_order = 100)]
    pub(crate) format: Format,
    /// What values written by this command are compressed with, where that saves an eighth or more
    #[arg(long, global = true, value_enum, default_value_t = Compression::None, display_order = 100)]
    pub(crate) compression: Compression,
    /// Memory that the store may take: 64MiB, 1GiB, 500000 [default: a quarter of what the machine or container has]
    #[arg(long, global = true, env = "HALITE_MEMORY", value_name = "SIZE", value_parser = size, display_order = 100)]
    pub(crate) memory: Option<u64>,
    /// Newest part of the store that merges leave alone, so that `changes` reaches so far back: 64MiB, 1GiB [default: none]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size, display_order = 100)]
    pub(crate) keep_changes: Option<u64>,
    /// Only read, beside the process that writes if there is one: what is durable shows
    #[arg(long, global = true, display_order = 100)]
    read_only: bool,
    /// Only read, what the store held when the checkpoint (or the backup) of that name was made, or at a time within its
    /// retention: 2026-11-21T13:00:00Z, or "15min" for a quarter of an hour ago
    #[arg(long, global = true, value_name = "CHECKPOINT|TIME", display_order = 100)]
    at: Option<String>,
    /// For how long from now on the past of the store can be read with --at: 12h, 7days, 0s for not at all [default: as it
    /// was told the last time]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, display_order = 100)]
    pub(crate) retention: Option<Duration>,
    /// How precisely, with --retention: what was committed shows in the past after so long at the latest [default: a
    /// thousandth of it]
    #[arg(long, global = true, value_name = "TIME", value_parser = ttl, requires = "retention", display_order = 100)]
    retention_step: Option<Duration>,
    /// Where the log of the store is: a folder on a disk of this machine. What is sealed goes to the store, within a minute;
    /// what is not yet is lost with this machine
    #[arg(long, global = true, env = "HALITE_LOG", value_name = "DIR", display_order = 100)]
    log: Option<PathBuf>,
    /// Open the store without its log, which is kept elsewhere and lost, and so without what was committed last
    #[arg(long, global = true, display_order = 100)]
    give_up_log: bool,
    /// Where what is read of a store that is far away stays, for the next command too, and how much that may take
    /// [default size: 1GiB]
    #[arg(long, global = true, env = "HALITE_CACHE", value_name = "DIR[:SIZE]", value_parser = cache, display_order = 100)]
    cache: Option<Cache>,
    /// How much may be asked of an object store for one purpose (commit, seal, merge, read, warm, follow, collect, verify or
    /// copy): bytes a second, requests a second, requests at once, such as merge=20MiB/s,100/s,4. May be given for several
    #[arg(long, global = true, value_name = "PURPOSE=LIMITS", value_parser = limit, display_order = 100)]
    limits: Vec<(Purpose, Limit)>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading<'a> {
    /// The newest state.
    Newest,
    /// A checkpoint, or a time.
    At(&'a str),
}

impl Args {
    /// The store, and whether somebody has named it.
    pub(crate) fn store(&self) -> (&str, bool) {
        (self.store.as_deref().unwrap_or(STORE), self.store.is_some())
    }

    /// How it is opened.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            compression: self.compression.into(),
            memory: self.memory,
            history: self.keep_changes.unwrap_or(0),
            retention: self.retention,
            retention_step: self.retention_step,
            cache: self.cache.clone(),
            log: self.log.clone(),
            give_up_log: self.give_up_log,
            limits: self.limits(),
        }
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (purpose, limit) in &self.limits {
            // Others are refused where they are read.
            limits.of_mut(*purpose).into_iter().for_each(|place| *place = *limit);
        }
        limits
    }

    /// What is read where nothing is to be written; `None` where writing is allowed.
    pub(crate) fn reading(&self) -> Option<Reading<'_>> {
        match &self.at {
            Some(name) => Some(Reading::At(name)),
            None => self.read_only.then_some(Reading::Newest),
        }
    }
}

/// How results and errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Plain,
    /// One JSON document, or JSON Lines where there are many
    Json,
}

/// What values are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// They are not
    None,
    /// LZ4
    Lz4,
    /// Zstandard, if it was built in
    Zstd,
}

impl From<Compression> for halite::Compression {
    fn from(chosen: Compression) -> halite::Compression {
        match chosen {
            Compression::None => halite::Compression::None,
            Compression::Lz4 => halite::Compression::Lz4,
            Compression::Zstd => halite::Compression::Zstd,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum InspectCommand {
    /// A manifest: which segments are the database, and where its log begins
    Manifest {
        /// Its number [default: the newest]
        number: Option<u64>,
    },
    /// A segment or a fragment of the log, all of it verified
    Segment {
        /// Its name, as `tree`, `verify` and errors give it
        name: String,
    },
    /// A record or mark
    Record {
        /// The file and the offset in it, as errors give them
        #[arg(value_name = "NAME@OFFSET")]
        place: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Data(DataCommand),
    /// Read records from a file: JSON Lines as `dump` writes them
    ///
    /// A line is {"key": "…", "value": "…"}, with "key_base64" or "value_base64" for bytes that are not UTF-8, and
    /// "expires_at" in milliseconds since the Unix epoch where the record has an end. Blank lines are passed over. Of
    /// records with one key the last stands. On return all records are durable. A bad line stops the loading; the
    /// records before it are stored.
    Load {
        /// The file; `-` reads standard input
        file: OsString,
        /// Take plain text: each line is a key, and its number the value
        #[arg(long)]
        lines: bool,
    },
    /// Write all records, or those of a range, as JSON Lines, which `load` reads
    Dump(RangeArgs),
    /// Make a store at TO that holds what the one at FROM does, on storage of whatever kind
    ///
    /// Works beside a process that has FROM open. Nothing is shared between the two, and every file is read back and its
    /// digest compared. Interrupted, it goes on where it was when it is called again. With --at it copies a checkpoint, a
    /// backup, or the past.
    Copy {
        /// The store that is there: a folder or URI
        from: String,
        /// The new one
        to: String,
    },
    /// Keep a live backup of the store at TARGET, until Ctrl-C
    ///
    /// Works beside a process that has the store open, and follows it: a machine that is lost loses what was committed since
    /// the last shipment. Each shipment takes the place of the one before. `restore` makes a store of it.
    Ship {
        /// Where the backup is kept, beside others of this store if there are any: a folder or URI
        target: String,
        /// Its name
        #[arg(long, default_value = "live")]
        name: String,
        /// Pause between shipments
        #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "10s")]
        interval: Duration,
        /// Ship once, and end
        #[arg(long, conflicts_with = "interval")]
        once: bool,
    },
    /// Bring what is whole of a damaged store into a new one, and list what is lost
    ///
    /// The damaged store is only read. A key whose newest record is lost shows an older value, or none, and one whose
    /// delete is lost may come back: look at the list before the new store takes the old one's place. The exit code is 3
    /// where anything was lost.
    Repair {
        /// The new store, which must not be there yet
        target: OsString,
    },
    /// Tell what single files of the store say: a manifest, a segment, a record
    ///
    /// The store is not opened: files are read as they stand, beside the process that writes them if there is one. The exit
    /// code is 3 where a file is damaged.
    Inspect {
        #[command(subcommand)]
        what: InspectCommand,
    },
    /// Make the store that --store names, which must not be there, from a backup
    Restore {
        /// Where the backups are
        #[arg(value_name = "BACKUPS")]
        from: String,
        /// Which of them; the newest, if left out
        name: Option<String>,
    },
    /// Measure load, get, scan and put on a fresh temporary store (or the empty one that --store names)
    Bench(BenchArgs),
    /// Take commands line by line, from a person or a program
    Shell,
}

/// What can be asked of an open store, on the command line and in the shell.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Set KEY to VALUE, durably
    #[command(visible_alias = "set")]
    Put {
        /// The key: any bytes, even none
        key: OsString,
        /// The value; on the command line, `-` reads it from standard input
        #[arg(allow_hyphen_values = true)]
        value: OsString,
        /// How long the value lives: 90s, 15min, 7days, "1h 30min"
        #[arg(long, value_name = "TIME", value_parser = ttl)]
        ttl: Option<Duration>,
    },
    /// Write the value of KEY
    Get {
        /// The key
        key: OsString,
        /// Write the value's bytes and nothing besides (not in the shell, where an answer has a line)
        #[arg(long)]
        raw: bool,
    },
    /// Delete KEY, durably; no error where it is absent
    #[command(visible_alias = "del")]
    Delete {
        /// The key
        #[arg(required_unless_present = "prefix")]
        key: Option<OsString>,
        /// Delete all keys that begin with this, by one record
        #[arg(long, conflicts_with = "key")]
        prefix: Option<OsString>,
    },
    /// Delete all keys of a range, durably, by one record, however many there are
    #[command(group = clap::ArgGroup::new("bounds").required(true).multiple(true))]
    DeleteRange {
        /// The smallest key that is deleted
        #[arg(long, value_name = "KEY", group = "bounds")]
        from: Option<OsString>,
        /// The key above those that are deleted
        #[arg(long, value_name = "KEY", group = "bounds")]
        to: Option<OsString>,
    },
    /// Say whether KEY is there
    Exists {
        /// The key
        key: OsString,
    },
    /// Write the records whose keys begin with PREFIX, in byte order
    #[command(visible_alias = "ls")]
    List {
        /// What the keys begin with; all keys, if left out
        prefix: Option<OsString>,
        /// Stop after so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Leave the values out
        #[arg(long)]
        keys: bool,
    },
    /// Write the records of a range of keys, in byte order or against it
    ///
    /// Without options, all records. Where --prefix is given beside --from or --to, records meet all of them.
    Scan(ScanArgs),
    /// Write what was committed, in its order, as far back as that is kept
    ///
    /// Each commit with its sequence number. The past goes with merges, `compact` above all, but for what --keep-changes
    /// keeps from them.
    Changes {
        /// What the keys begin with; all keys, if left out
        prefix: Option<OsString>,
        /// Begin with this sequence number; with the first that is still kept, if left out
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// Stop after so many commits
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Set KEY to NEW if its value is OLD, and say whether it was
    ///
    /// Where the key is to be absent before, `cas KEY --if-absent NEW`; where it is to be absent after,
    /// `cas KEY OLD --delete`. Nobody comes in between, and what is done is durable.
    Cas {
        /// The key
        key: OsString,
        /// The value that it must have
        #[arg(allow_negative_numbers = true)]
        old: Option<OsString>,
        /// The value that it gets
        #[arg(allow_negative_numbers = true)]
        new: Option<OsString>,
        /// Only if it is absent; OLD is left out then
        #[arg(long)]
        if_absent: bool,
        /// Delete it; NEW is left out then
        #[arg(long)]
        delete: bool,
    },
    /// Add BY to the number at KEY, durably, and write the sum; an absent key counts as 0
    Incr {
        /// The key; its value is a number's decimal text
        key: OsString,
        /// How much, less than zero to subtract
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },
    /// Write how long KEY goes on to live
    Ttl {
        /// The key
        key: OsString,
    },
    /// Let KEY live for TIME from now on, and say whether it is there
    Expire {
        /// The key
        key: OsString,
        /// How long: 90s, 15min, 7days, "1h 30min"
        #[arg(value_parser = ttl)]
        time: Duration,
    },
    /// Let KEY live for ever, and say whether it is there
    Persist {
        /// The key
        key: OsString,
    },
    /// Trust the clock after a leap of more than a year: what has expired by it may be dropped for good
    ConfirmTime,
    /// Delete all records
    Clear {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show what the store holds and does, in numbers
    Stats,
    /// Show the requests that were sent to an object store since it was opened, and what they and the store cost, by estimate
    Cost {
        /// A JSON file of prices, in any currency: `put`, `get`, `head`, `list` and `delete` for 1000 requests, `received` and
        /// `sent` for a GiB, `kept` for a GiB and month [default: Amazon S3 Standard, dollars]
        #[arg(long, value_name = "FILE")]
        prices: Option<PathBuf>,
    },
    /// Show the segments and their indexes as a tree, with counts and bytes
    Tree,
    /// Read what reads of a range of keys will need, before they come
    ///
    /// Of a store that is far away, onto the disk of --cache, where the next commands find it; of local files, into the system's
    /// memory. No more than there is room for.
    Warm(WarmArgs),
    /// Read every byte and list every damaged place
    Verify(VerifyArgs),
    /// Rewrite the store so that nothing dead remains in it
    Compact {
        /// Bytes it may write a second: 500KiB, 64MiB [default: as fast as it goes]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        rate: Option<u64>,
    },
    /// Delete the files that nothing names: what a crash has left, or what could not be deleted before
    Collect {
        /// Only list them
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Keep the store as it is now by a name, list what is kept, or let go of it
    Checkpoint {
        /// What is to be done
        #[command(subcommand)]
        command: CheckpointCommand,
    },
    /// Add what the store holds to the backups at TARGET; only what is not there yet is written, and verified
    ///
    /// Works beside a process that has the store open. A folder that is not there, or empty, becomes a store of backups:
    /// read one with `--store TARGET --at NAME`, make a store of it with `restore`, list them with
    /// `--store TARGET --read-only checkpoint list`.
    Backup {
        /// The store of backups
        target: String,
        /// What to call it
        name: String,
        /// Let nobody delete it before that time, or for so long: 2036-01-01T00:00:00Z, 10years
        #[arg(long, value_name = "TIME", value_parser = future, conflicts_with = "delete")]
        hold: Option<u64>,
        /// Let go of the backup of that name instead
        #[arg(long)]
        delete: bool,
    },
    /// Make a store of its own at TARGET that holds what this one does, sharing files where that is possible
    ///
    /// Works beside a process that has the store open.
    Clone {
        /// The new store
        target: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct WarmArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Only this segment, as `tree` names it
    #[arg(long, value_name = "NAME")]
    pub(crate) segment: Option<String>,
    /// Leave the records out, and read only what they are found by
    #[arg(long)]
    pub(crate) index_only: bool,
    /// Read no more than this: 500MiB, 10GiB [default: what the caches hold]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Check the digests of all segments and manifests too, those of checkpoints included
    #[arg(long)]
    pub(crate) deep: bool,
    /// Check the digests alone: each byte is read once, and no record is decoded
    #[arg(long, conflicts_with = "deep")]
    pub(crate) digests: bool,
    /// Bytes it may read a second: 500KiB, 64MiB [default: as fast as it goes]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) rate: Option<u64>,
    /// A manifest that was noted before, by `checkpoint create` or `verify --deep`: fail unless the store still rests on it
    #[arg(long, value_name = "NUMBER:DIGEST")]
    pub(crate) anchor: Option<Anchor>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ScanArgs {
    /// Begin with the largest key and go down
    #[arg(long)]
    pub(crate) rev: bool,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Leave the values out, and unread
    #[arg(long)]
    pub(crate) keys_only: bool,
}

/// Which keys are wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeArgs {
    /// The smallest key that is wanted
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<OsString>,
    /// The key above those that are wanted
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<OsString>,
    /// What keys begin with
    #[arg(long)]
    pub(crate) prefix: Option<OsString>,
}

/// What can be done with checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Keep the store as it is now by that name
    Create {
        /// The name
        name: String,
        /// Let nobody delete it before that time, or for so long: 2036-01-01T00:00:00Z, 10years
        #[arg(long, value_name = "TIME", value_parser = future)]
        hold: Option<u64>,
    },
    /// List the checkpoints, in the order in which they were made
    List,
    /// Let go of the checkpoint of that name, and say whether there was one
    Delete {
        /// The name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Records to load
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) n: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 24, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(crate) key_bytes: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 150, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    pub(crate) value_bytes: u32,
    /// Puts that each wait until they are durable
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    pub(crate) puts: u64,
    /// Writers that put at the same time, in the phase after
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) writers: u64,
}

/// A refusal of the arguments, in one line and a hint.
pub(crate) fn explain(refusal: &clap::Error) -> Failure {
    let text = refusal.render().to_string();
    // clap says what is wrong first, with a tip at times, then how it should be.
    let what = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what: Vec<&str> =
        what.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let what = what.join(" ");
    Failure::usage(what.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn values_may_look_like_flags_and_flags_may_follow() {
        let args = Args::try_parse_from(["halite", "put", "k", "-5", "--ttl", "90s", "--store", "s"]).unwrap();
        assert_eq!(args.store(), ("s", true));
        let Command::Data(DataCommand::Put { value, ttl, .. }) = args.command else { panic!("{args:?}") };
        assert_eq!((value.as_os_str(), ttl), ("-5".as_ref(), Some(Duration::from_secs(90))));
    }

    #[test]
    fn memory_is_given_with_a_unit() {
        let args = Args::try_parse_from(["halite", "stats", "--memory", "64MiB"]).unwrap();
        assert_eq!(args.memory, Some(64 << 20));
    }
}
