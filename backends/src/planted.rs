//! Bugs that other engines had, planted into this one: only in test builds, and one at a time.
//!
//! A programme of tests that finds nothing may be sound, or blind. So there is a list of mistakes, each one line in the
//! code where it belongs, and `cargo xtask planted` shows that the tests find every one of them. The names of the bugs are
//! always there; what they do is compiled only with the feature `planted`, which no build that is meant to be used has:
//! without it [`planted`] is `false` for the compiler too, and each line is gone.
//!
//! The variable `HALITE_PLANTED` names the bug that a process has.

macro_rules! bugs {
    ($($name:ident $class:literal $promise:literal $what:literal;)*) => {
        /// A mistake. Its number is that of the class of bugs in RELIABILITY.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name),*];

            /// Its name, as `HALITE_PLANTED` gives it.
            pub fn name(self) -> &'static str {
                match self { $(Bug::$name => stringify!($name)),* }
            }

            /// Its class, 1 to 43; 0 where it is in none.
            pub fn class(self) -> u8 {
                match self { $(Bug::$name => $class),* }
            }

            /// The promise that it breaks, as RELIABILITY.md numbers them.
            pub fn promise(self) -> &'static str {
                match self { $(Bug::$name => $promise),* }
            }

            /// What it does.
            pub fn what(self) -> &'static str {
                match self { $(Bug::$name => $what),* }
            }
        }
    };
}

bugs! {
    TombstoneDropped 1 "P2" "a merge drops a tombstone that hides something older outside of it";
    StretchForgotten 1 "P2" "a range tombstone leaves the manifest while segments still hold what it deletes";
    InputsLeaveFirst 2 "P1" "a merge's inputs leave in one manifest, its outputs come in the next";
    SlotsSweptEarly 3 "P4" "slots of a merged segment are swept from the keydir while readers still use them";
    OlderSlotWins 3 "P1" "of two records of a key the keydir finds the older one first";
    ChangeUnconditional 4 "P4" "an expiry is set on what a key held, though it holds something newer";
    ExpiredDropped 5 "P2" "a merge drops an expired record and brings back an older one";
    ExpiryUnseenByScan 5 "P2" "scans show what has expired";
    SeqUsedTwice 6 "P1" "after a crash sequence numbers begin anew";
    RunMisplaced 6 "P2" "a merged run takes a place that is not its own";
    PartsUnverified 7 "P3" "hints, filters and fences are believed without a look at their checksums";
    FilterMisses 7 "P1" "a filter denies some of its keys";
    DamageSkipped 8 "P3" "a damaged record in the log is passed over by the length that it tells";
    TornMiddle 9 "P3" "a hole in the log counts as its torn end, though marks stand above it";
    EndReadOnce 9 "P1" "a log ends where one read of it makes no sense";
    NoSalt 10 "P3" "checksums are not bound to the segment, so that bytes of another one pass";
    NoOffset 10 "P3" "checksums are not bound to the offset, so that misplaced bytes pass";
    SyncRetried 11 "P6" "a sync that failed is tried again and believed";
    FolderNotSynced 12 "P1" "folders are not synced when a name is made";
    FragmentsDeletedEarly 13 "P1" "the log is deleted before the manifest that needs it no more";
    ReplayTooFar 14 "P1" "replay begins one place behind where it should";
    PublishedOutOfOrder 14 "P1" "of segments that are written side by side the one is published first that is there first";
    SealNotSynced 15 "P1" "a sealed segment is published before its bytes and length are durable";
    UnshippedDeleted 13 "P1" "a segment whose upload has failed counts as shipped, and leaves the disk";
    ShippedUnread 9 "P3" "what is read of the log on its way to the store is not looked at";
    PublishedUnshipped 15 "P1" "a segment is published before it is in the store that is to have it";
    ElsewhereIgnored 14 "P1" "a store is opened without its log, as if nothing were in it";
    OldLogDeletedEarly 16 "P1" "recovery deletes the old log before it has published the new segments";
    TornHeaderFatal 17 "P1" "a segment that a crash has left without a header cannot be opened";
    AcknowledgedAhead 18 "P1" "a fragment is acknowledged when it is there, though one before it is not";
    FencedBehindGap 18 "P5" "a fence is set behind the last fragment that is there, not at the first that is absent";
    ClaimForgotten 18 "P5" "the claim that fences a writer that did not close is collected";
    NoFence 18 "P5" "recovery does not fence the log that it replays";
    OwnCreateConflicts 19 "P5" "a create whose answer was lost, and which took effect, counts as somebody else's";
    ConflictIsSuccess 19 "P5" "a create that somebody else has won counts as one's own";
    ConditionIgnored 20 "P5" "a store that replaces what is there is taken for one that creates exclusively";
    CheckpointCollected 21 "P4" "files that a checkpoint needs are collected";
    ReaderCollected 21 "P4" "files that a snapshot needs are collected";
    OvertakenPublishes 22 "P5" "a merge or seal of an overtaken writer publishes a manifest";
    OvertakenAcknowledges 18 "P5" "a writer acknowledges without a look whether it has been overtaken";
    DropStopsCommit 23 "P7" "a commit goes on only as long as its future is polled";
    WaitersForgotten 24 "P6" "who waits for a commit is not told that the log has failed";
    ErrorEndsScan 25 "P6" "a scan that meets an error ends as if there were no more";
    LengthUnchecked 27 "P8" "a record's length is believed before it is known to fit";
    BombsBelieved 28 "P8" "a compressed value is taken at its word how much it holds";
    OffsetsWrap 29 "P8" "offsets that go beyond what a number holds begin again at nothing";
    TimeUnseen 39 "P9" "what the clock showed before the last close or crash is forgotten";
    ClockRunsBack 39 "P9" "a clock set back un-expires";
    SnapshotSeesLater 30 "P4" "a scan shows what was written after it began";
    SnapshotMissesOlder 43 "P4" "what a snapshot needs is lost where a newer record stands over it";
    PhantomMissed 31 "P4" "a transaction's scans are not held against what came since";
    WriteSkew 31 "P4" "keys that a transaction only reads are not held against what came since";
    RangeDeleteNotKept 32 "P1" "range deletes are not carried over to the manifest by a seal";
    NameUnread 33 "P1" "recovery overlooks segments whose number is a multiple of four";
    OpenFilesCollected 34 "P1" "leftovers are collected with the files that are being written";
    NothingCollected 36 "P8" "files that nobody needs are never deleted";
    DeletesNeedSpace 37 "P8" "a full disk refuses deletes too";
    VerifyBlind 38 "P3" "verify does not read the records";
    VerifyCries 38 "P3" "verify finds damage where a range delete has left a gap";
    AnyFileAccepted 41 "P3" "a file in the place of another is accepted";
    NewerAccepted 42 "P10" "features that are not known are ignored";
    HalfBatch 0 "P1" "each record of a batch counts as a batch of its own in replay";
    AckBeforeSync 0 "P1" "a synced commit is acknowledged when it is written";
    WatchSkips 0 "P4" "a watch passes over the first commit behind each segment";
    WatchRepeats 0 "P4" "a watch that goes on from where one was gives its last commit again";
    WatchUnsettled 0 "P1" "a watch gives commits that a crash may still take back";
}

/// Whether this process has that bug: never, unless it was built for it.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this process has that bug, which the variable `HALITE_PLANTED` names.
///
/// # Panics
/// Where there is no bug of that name.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(|| {
        let name = std::env::var("HALITE_PLANTED").ok()?;
        let known = Bug::ALL.iter().find(|bug| bug.name() == name);
        Some(*known.unwrap_or_else(|| panic!("no bug is called {name}")))
    }) == Some(bug)
}
