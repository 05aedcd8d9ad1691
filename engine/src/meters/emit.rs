//! Passes on to the crate `metrics` what is counted and timed, under the label `store`, the store's location.
//!
//! A recorder must be installed before a database is opened: that is when the numbers are made known to it. Without one
//! this costs a look at a handle that does nothing.

use super::{COMMIT_SECONDS, Meter, Meters, REQUESTS, counted_elsewhere, gauges};
use crate::core::Core;
use metrics::{Counter, Histogram, Label, Unit};
use std::sync::OnceLock;
use std::time::Duration;

/// A counter of the recorder, once it is known.
#[derive(Default)]
pub(crate) struct CounterHandle(OnceLock<Counter>);

impl CounterHandle {
    pub(super) fn add(&self, more: u64) {
        if let Some(counter) = self.0.get() {
            counter.increment(more);
        }
    }
}

impl std::fmt::Debug for CounterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CounterHandle").field(&self.0.get().is_some()).finish()
    }
}

/// A histogram of the recorder, once it is known.
#[derive(Default)]
pub(crate) struct HistogramHandle(OnceLock<Histogram>);

impl HistogramHandle {
    pub(super) fn record(&self, took: Duration) {
        if let Some(histogram) = self.0.get() {
            histogram.record(took.as_secs_f64());
        }
    }
}

impl std::fmt::Debug for HistogramHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HistogramHandle").field(&self.0.get().is_some()).finish()
    }
}

fn unit(of: Meter) -> Unit {
    match of.unit {
        "bytes" => Unit::Bytes,
        "seconds" => Unit::Seconds,
        _ => Unit::Count,
    }
}

impl Meters {
    /// Makes all numbers known to the recorder, for the store at `location`.
    pub(crate) fn announce(&self, location: &str) {
        let store = [Label::new("store", location.to_owned())];
        for (counter, of) in self.counters() {
            metrics::describe_counter!(of.name, unit(of), of.meaning);
            counter.emitted.0.get_or_init(|| metrics::counter!(of.name, store.iter()));
        }
        metrics::describe_histogram!(COMMIT_SECONDS.name, unit(COMMIT_SECONDS), COMMIT_SECONDS.meaning);
        let times = || metrics::histogram!(COMMIT_SECONDS.name, store.iter());
        self.commit_times.emitted.0.get_or_init(times);
        let none = crate::Stats::default();
        for (_, of) in gauges(&none) {
            metrics::describe_gauge!(of.name, unit(of), of.meaning);
        }
        for of in counted_elsewhere(&none).into_iter().map(|(_, of)| of).chain(REQUESTS) {
            metrics::describe_counter!(of.name, unit(of), of.meaning);
        }
    }
}

/// Tells how large everything is, now that it has changed.
pub(crate) fn sizes(core: &Core) {
    tell(&crate::stats::stats(core));
}

/// Tells what is not told as it happens.
pub(crate) fn tell(stats: &crate::Stats) {
    let store = [Label::new("store", stats.location.clone())];
    for (value, of) in gauges(stats) {
        metrics::gauge!(of.name, store.iter()).set(value as f64);
    }
    for (value, of) in counted_elsewhere(stats) {
        metrics::counter!(of.name, store.iter()).absolute(value);
    }
    let [store] = store;
    for requests in &stats.traffic.requests {
        let kind = Label::from_static_parts("kind", requests.kind.name());
        let purpose = Label::from_static_parts("purpose", requests.purpose.name());
        let labels = [store.clone(), kind, purpose];
        for (of, value) in REQUESTS.into_iter().zip([requests.count, requests.bytes]) {
            metrics::counter!(of.name, labels.iter()).absolute(value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Db;
    use metrics::{CounterFn, Gauge, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString};
    use parking_lot::Mutex;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// A recorder that keeps the last, or the sum, of each number.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

    struct One(Kept, String);

    impl One {
        fn change(&self, change: impl Fn(f64) -> f64) {
            let mut kept = self.0.0.lock();
            let value = kept.entry(self.1.clone()).or_default();
            *value = change(*value);
        }
    }

    impl CounterFn for One {
        fn increment(&self, more: u64) {
            self.change(|value| value + more as f64);
        }
        fn absolute(&self, value: u64) {
            self.change(|_| value as f64);
        }
    }

    impl GaugeFn for One {
        fn increment(&self, more: f64) {
            self.change(|value| value + more);
        }
        fn decrement(&self, less: f64) {
            self.change(|value| value - less);
        }
        fn set(&self, value: f64) {
            self.change(|_| value);
        }
    }

    impl HistogramFn for One {
        fn record(&self, _: f64) {
            self.change(|count| count + 1.0);
        }
    }

    impl Kept {
        fn one(&self, key: &Key) -> Arc<One> {
            let mut labels = key.labels().map(|label| (label.key(), label.value()));
            assert_eq!(labels.next(), Some(("store", "mem:")));
            let name = labels.fold(key.name().to_owned(), |name, (label, value)| format!("{name} {label}={value}"));
            Arc::new(One(self.clone(), name))
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.one(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.one(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.one(key))
        }
    }

    #[test]
    fn a_recorder_hears_what_stats_tell() {
        let kept = Kept::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stats = metrics::with_local_recorder(&kept, || {
            runtime.block_on(async {
                let db = Db::open("mem:").await.unwrap();
                for number in 0..50_u32 {
                    db.put(number.to_le_bytes(), [1; 100]).await.unwrap();
                }
                db.delete(3_u32.to_le_bytes()).await.unwrap();
                db.compact().await.unwrap();
                let stats = db.stats();
                db.close().await.unwrap();
                stats
            })
        });
        let kept = kept.0.lock();
        for (name, value) in [
            ("halite_commits_total", stats.commits),
            ("halite_committed_bytes_total", stats.committed_bytes),
            ("halite_log_bytes_total", stats.log_bytes_written),
            ("halite_seals_total", stats.seals),
            ("halite_merge_bytes_total", stats.merge_bytes_written),
            ("halite_merge_dropped_records_total", stats.merge_records_dropped),
            ("halite_commit_seconds", 51),
            ("halite_segments", 1),
            ("halite_segment_bytes", stats.segment_bytes),
        ] {
            assert_eq!(kept.get(name), Some(&(value as f64)), "{name}");
        }
    }

    #[test]
    fn requests_are_told_by_kind_and_purpose() {
        use halite_backends::{Purpose, RequestKind, Requests, Traffic};
        let mut stats = crate::Stats { location: "mem:".into(), ..crate::Stats::default() };
        stats.traffic = Traffic::of_requests(vec![
            Requests::new(RequestKind::Get, Purpose::Merge, 7, 700),
            Requests::new(RequestKind::Get, Purpose::Read, 2, 30),
        ]);
        let kept = Kept::default();
        metrics::with_local_recorder(&kept, || tell(&stats));
        let kept = kept.0.lock();
        for (name, value) in [
            ("halite_requests_total kind=get purpose=merge", 7.0),
            ("halite_request_bytes_total kind=get purpose=merge", 700.0),
            ("halite_requests_total kind=get purpose=read", 2.0),
            ("halite_request_bytes_total kind=get purpose=read", 30.0),
        ] {
            assert_eq!(kept.get(name), Some(&value), "{name}");
        }
    }
}
