//! What the engine counts and times while it runs: for [`Stats`](crate::Stats), and, with the feature `metrics`, for
//! whatever recorder the process has [installed](emit). OBSERVING.md lists the names for readers; a test compares.
//!
//! Nothing here is on the way of a point read. A commit counts under the lock that it takes anyway, and looks at the clock
//! twice if it waits; all else happens once per write of the log, seal or merge.

#[cfg(feature = "metrics")]
pub(crate) mod emit;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters and times of one opening.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Commits that have entered the log, their records, and the bytes of keys and values in these, as they are stored.
    pub(crate) commits: Counter,
    pub(crate) records: Counter,
    pub(crate) payload_bytes: Counter,
    /// Calls that wrote to the log, those of them that synced, and bytes they wrote.
    pub(crate) log_writes: Counter,
    pub(crate) log_syncs: Counter,
    pub(crate) log_bytes: Counter,
    /// Segments sealed, and bytes written for it.
    pub(crate) seals: Counter,
    pub(crate) seal_bytes: Counter,
    /// Merges, bytes they have written, and records they have dropped.
    pub(crate) merges: Counter,
    pub(crate) merge_bytes: Counter,
    pub(crate) merge_records_dropped: Counter,
    /// How long commits took that had to wait.
    pub(crate) commit_times: Times,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    emitted: emit::CounterHandle,
}

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.value.fetch_add(more, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.emitted.add(more);
    }

    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// What a recorder, and OBSERVING.md, is told of a number.
#[cfg(any(test, feature = "metrics"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) meaning: &'static str,
}

#[cfg(any(test, feature = "metrics"))]
const fn meter(name: &'static str, unit: &'static str, meaning: &'static str) -> Meter {
    Meter { name, unit, meaning }
}

#[cfg(any(test, feature = "metrics"))]
impl Meters {
    /// All counters, and what is told of them.
    #[rustfmt::skip]
    fn counters(&self) -> [(&Counter, Meter); 11] {
        [
            (&self.commits, meter("halite_commits_total", "commits", "Commits that have entered the log.")),
            (&self.records, meter("halite_committed_records_total", "records", "Puts and deletes in them.")),
            (&self.payload_bytes, meter("halite_committed_bytes_total", "bytes", "Keys and values in them, as they are stored.")),
            (&self.log_writes, meter("halite_log_writes_total", "calls", "Calls that wrote to the log.")),
            (&self.log_syncs, meter("halite_log_syncs_total", "calls", "Calls that made the log durable.")),
            (&self.log_bytes, meter("halite_log_bytes_total", "bytes", "Bytes written to the log.")),
            (&self.seals, meter("halite_seals_total", "segments", "Segments that were sealed.")),
            (&self.seal_bytes, meter("halite_seal_bytes_total", "bytes", "Bytes written by seals.")),
            (&self.merges, meter("halite_merges_total", "merges", "Merges that were published.")),
            (&self.merge_bytes, meter("halite_merge_bytes_total", "bytes", "Bytes written by merges.")),
            (&self.merge_records_dropped, meter("halite_merge_dropped_records_total", "records", "Records that merges left out.")),
        ]
    }
}

/// What is told of the commits' times.
#[cfg(any(test, feature = "metrics"))]
const COMMIT_SECONDS: Meter =
    meter("halite_commit_seconds", "seconds", "How long a commit took that had to wait, from the call to its answer.");

/// What a version change tells anew.
#[cfg(any(test, feature = "metrics"))]
#[rustfmt::skip]
fn gauges(stats: &crate::Stats) -> [(u64, Meter); 13] {
    [
        (stats.segments, meter("halite_segments", "segments", "Sealed segments.")),
        (stats.runs, meter("halite_runs", "runs", "Runs of sealed segments.")),
        (stats.segment_bytes, meter("halite_segment_bytes", "bytes", "Bytes of the sealed segments.")),
        (stats.live_bytes(), meter("halite_live_bytes", "bytes", "Bytes of records in them that are not known to be dead.")),
        (stats.dead_bytes, meter("halite_dead_bytes", "bytes", "Bytes of records in them that are dead, an estimate.")),
        (stats.memtable_bytes, meter("halite_memtable_bytes", "bytes", "Memory of the memtables.")),
        (stats.keydir_entries, meter("halite_keydir_entries", "slots", "Slots in the keydir.")),
        (stats.keydir_bytes, meter("halite_keydir_bytes", "bytes", "Memory of the keydir.")),
        (stats.resident_segments, meter("halite_resident_segments", "segments", "Segments each of whose keys has a slot in the keydir.")),
        (stats.fences_bytes, meter("halite_fences_bytes", "bytes", "Memory of fences.")),
        (stats.cache_bytes, meter("halite_cache_bytes", "bytes", "Memory of the cache.")),
        (stats.memory_bytes, meter("halite_memory_bytes", "bytes", "Memory of all these parts together.")),
        (stats.memory_budget, meter("halite_memory_budget_bytes", "bytes", "The memory budget.")),
    ]
}

/// What reads and the backend have counted, told with the gauges.
#[cfg(any(test, feature = "metrics"))]
#[rustfmt::skip]
fn counted_elsewhere(stats: &crate::Stats) -> [(u64, Meter); 5] {
    [
        (stats.cache_hits, meter("halite_cache_hits_total", "lookups", "Lookups in the cache that found what they looked for.")),
        (stats.cache_misses, meter("halite_cache_misses_total", "lookups", "Lookups in the cache that did not.")),
        (stats.filter_probes, meter("halite_filter_probes_total", "lookups", "Filters that reads have asked.")),
        (stats.filter_false_positives, meter("halite_filter_false_positives_total", "lookups", "Filters that let an absent key pass.")),
        (stats.traffic.repeated, meter("halite_repeated_requests_total", "requests", "Requests to an object store that failed and were made again.")),
    ]
}

/// What was asked of an object store, told with the gauges, by kind and purpose.
#[cfg(any(test, feature = "metrics"))]
#[rustfmt::skip]
const REQUESTS: [Meter; 2] = [
    meter("halite_requests_total", "requests", "Requests to an object store, without the repeated ones; labels `kind` and `purpose`."),
    meter("halite_request_bytes_total", "bytes", "Bytes of objects that they have sent (`put`) or received (`get`); labels `kind` and `purpose`."),
];

/// Times below 2^3 microseconds have a class each; above, each power of two has 2^3 classes: a class is at most an eighth
/// wide.
const FINE_BITS: u32 = 3;
const FINE: u64 = 1 << FINE_BITS;
/// Longer times, of 19 hours and more, count as this: 2^36 microseconds.
const MICROS_MAX: u64 = (1 << 36) - 1;
const CLASSES: usize = class_of(MICROS_MAX) + 1;

/// The class of a time in microseconds.
const fn class_of(micros: u64) -> usize {
    if micros < FINE {
        return micros as usize;
    }
    let shift = micros.ilog2() - FINE_BITS;
    (((shift as u64 + 1) << FINE_BITS) + (micros >> shift) - FINE) as usize
}

/// The longest time of a class, in microseconds.
const fn longest_of(class: usize) -> u64 {
    let class = class as u64;
    if class < FINE {
        return class;
    }
    let shift = (class >> FINE_BITS) - 1;
    (((class & (FINE - 1)) + FINE + 1) << shift) - 1
}

/// How often something took how long.
#[derive(Debug)]
pub(crate) struct Times {
    classes: Box<[AtomicU64; CLASSES]>,
    micros: AtomicU64,
    longest: AtomicU64,
    #[cfg(feature = "metrics")]
    emitted: emit::HistogramHandle,
}

impl Default for Times {
    fn default() -> Times {
        let classes = Box::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Times {
            classes,
            micros: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            emitted: emit::HistogramHandle::default(),
        }
    }
}

impl Times {
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(MICROS_MAX);
        self.classes[class_of(micros)].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if micros > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(micros, Ordering::Relaxed);
        }
        #[cfg(feature = "metrics")]
        self.emitted.record(took);
    }

    /// What has been added so far.
    pub(crate) fn latencies(&self) -> Latencies {
        let counts: Vec<u64> = self.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let longest = self.longest.load(Ordering::Relaxed);
        let at = |share: f64| {
            let rank = ((count as f64 * share).ceil() as u64).max(1);
            let mut passed = 0;
            let class = counts.iter().position(|&here| {
                passed += here;
                passed >= rank
            });
            Duration::from_micros(class.map_or(0, longest_of).min(longest))
        };
        Latencies {
            count,
            mean: Duration::from_micros(self.micros.load(Ordering::Relaxed).checked_div(count).unwrap_or(0)),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(longest),
        }
    }
}

/// How long something took, in microseconds: percentiles are those of a histogram, at most an eighth too long.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let halite::Latencies { count, p99, max, .. } = db.stats().commit_latencies;
/// assert!(count == 1 && p99 <= max);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latencies {
    /// How often it was measured.
    pub count: u64,
    /// The mean.
    pub mean: Duration,
    /// Half took no longer.
    pub p50: Duration,
    /// Nine of ten took no longer.
    pub p90: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// 999 of 1000 took no longer.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

#[cfg(test)]
mod spans;
#[cfg(test)]
mod tests {
    use super::*;

    /// OBSERVING.md tells of just what there is.
    #[test]
    fn the_page_lists_all_numbers() {
        let page = include_str!("../../OBSERVING.md");
        let row = |kind: &str, of: Meter| format!("| `{}` | {kind} | {} | {} |", of.name, of.unit, of.meaning);
        let mut rows: Vec<String> = Meters::default().counters().map(|(_, of)| row("counter", of)).to_vec();
        rows.extend(counted_elsewhere(&crate::Stats::default()).map(|(_, of)| row("counter", of)));
        rows.extend(REQUESTS.map(|of| row("counter", of)));
        rows.push(row("histogram", COMMIT_SECONDS));
        rows.extend(gauges(&crate::Stats::default()).map(|(_, of)| row("gauge", of)));
        let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| `halite_")).collect();
        assert_eq!(found, rows, "OBSERVING.md should hold:\n{}\n", rows.join("\n"));
    }

    #[test]
    fn classes_are_dense_and_narrow() {
        let mut next = 0;
        for class in 0..CLASSES {
            let longest = longest_of(class);
            assert!(longest >= next, "classes ascend");
            assert_eq!((class_of(next), class_of(longest)), (class, class), "from {next} to {longest}");
            assert!((longest - next) * 8 <= next, "{next} to {longest} is wider than an eighth");
            next = longest + 1;
        }
        assert_eq!(next, MICROS_MAX + 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let times = Times::default();
        assert_eq!(times.latencies(), Latencies::default());
        (1..=1000).for_each(|micros| times.add(Duration::from_micros(micros)));
        let Latencies { count, mean, p50, p90, p99, p999, max } = times.latencies();
        assert_eq!((count, mean.as_micros(), max.as_micros()), (1000, 500, 1000));
        for (found, right) in [(p50, 500), (p90, 900), (p99, 990), (p999, 999)] {
            let found = found.as_micros();
            assert!((right..=right * 9 / 8).contains(&found), "{found} instead of {right}");
        }
        times.add(Duration::MAX);
        assert_eq!(times.latencies().max, Duration::from_micros(MICROS_MAX));
    }
}
