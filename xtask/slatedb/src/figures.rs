//! What was measured, and how it is told: one table for each latency, medians over the rounds, beside what is asked for.

use std::fmt::Write;

/// Something that is measured of both engines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    /// Behind the point.
    pub(crate) digits: usize,
    pub(crate) aim: Aim,
}

/// What is asked of Halite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// Nothing: it is told for comparison.
    None,
    AtMost(f64),
    AtLeast(f64),
    /// So many times what SlateDB does.
    Times(f64),
}

const fn measure(name: &'static str, digits: usize, aim: Aim) -> Measure {
    Measure { name, digits, aim }
}

pub(crate) const INGEST: Measure = measure("ingest to durable, thousand records/s", 0, Aim::Times(2.0));
pub(crate) const UPLOADED: Measure = measure("bytes uploaded for each byte put, merges apart ¹", 2, Aim::AtMost(2.3));
pub(crate) const DURABLE: Measure = measure("64 tasks, each put durable before the next, records/s", 0, Aim::None);
pub(crate) const DURABLE_LATENCY: Measure = measure("one durable put, alone, ms", 0, Aim::None);
pub(crate) const PACED: Measure =
    measure("PUTs per flush interval, a put every ms, none waited for", 2, Aim::AtMost(1.0));
pub(crate) const PACED_DURABLE: Measure =
    measure("PUTs per flush interval, a put every ms, each waited for", 2, Aim::AtMost(1.0));
pub(crate) const IDLE: Measure = measure("requests a second while idle", 1, Aim::AtMost(0.0));
pub(crate) const OPEN_TO_READ: Measure = measure("requests of a cold open to read", 0, Aim::AtMost(4.0));
pub(crate) const OPEN_TO_WRITE: Measure = measure("requests of a cold open to write", 0, Aim::AtMost(8.0));
pub(crate) const FROM_NOTHING: Measure =
    measure("GETs of the first point read after it, for each run", 1, Aim::AtMost(3.0));
pub(crate) const KNOWN: Measure = measure("GETs of a point read, filters and index known", 2, Aim::AtMost(1.05));
pub(crate) const KNOWN_LATENCY: Measure = measure("its time, over that of a GET of 4 KiB", 2, Aim::AtMost(1.1));
pub(crate) const ABSENT: Measure = measure("GETs of an absent key, for each run", 3, Aim::AtMost(0.01));
pub(crate) const SCAN: Measure =
    measure("scan of 100 000, filters and index known, over one ranged read", 2, Aim::AtLeast(0.7));
pub(crate) const SCAN_FROM_NOTHING: Measure = measure("the same after a cold open", 2, Aim::None);
pub(crate) const CACHED: Measure = measure("reads with the local cache warm, thousand/s ²", 0, Aim::None);
pub(crate) const CACHED_SHARE: Measure =
    measure("of that, over reads of the same store in local files", 2, Aim::AtLeast(0.5));
pub(crate) const MEMORY: Measure =
    measure("peak memory over the budget, store 100 times as large ³", 2, Aim::AtMost(1.0));

/// The engines, in the order of the columns.
pub(crate) const NAMES: [&str; 2] = ["Halite", "SlateDB"];

/// All that was measured at one latency.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(Measure, [Vec<f64>; 2])>);

impl Figures {
    /// Notes what `engine` (a number of a column) has come to in one round.
    pub(crate) fn note(&mut self, measure: Measure, engine: usize, value: f64) {
        eprintln!("  {}: {}: {value:.3}", NAMES[engine], measure.name);
        let at = self.0.iter().position(|(known, _)| *known == measure).unwrap_or_else(|| {
            self.0.push((measure, Default::default()));
            self.0.len() - 1
        });
        self.0[at].1[engine].push(value);
    }

    /// As a table in Markdown.
    pub(crate) fn table(&self, title: &str) -> String {
        let mut table = format!("\n| {title} | {} | {} | ratio | asked | |\n", NAMES[0], NAMES[1]);
        table += "| --- | ---: | ---: | ---: | --- | --- |\n";
        for (Measure { name, digits, aim }, values) in &self.0 {
            let [halite, slatedb] = values.each_ref().map(|values| median(values));
            let told = |value: Option<f64>| value.map_or("—".to_owned(), |value| format!("{value:.digits$}"));
            let ratio = halite.zip(slatedb).filter(|&(_, other)| other > 0.0).map(|(own, other)| own / other);
            let ratio = ratio.map_or("—".to_owned(), |ratio| format!("{ratio:.2}"));
            let (asked, is_met) = match *aim {
                Aim::None => (String::new(), None),
                Aim::AtMost(most) => (format!("≤ {most}"), halite.map(|value| value <= most)),
                Aim::AtLeast(least) => (format!("≥ {least}"), halite.map(|value| value >= least)),
                Aim::Times(times) => {
                    (format!("≥ {times} ×"), halite.zip(slatedb).map(|(own, other)| own >= times * other))
                }
            };
            let verdict = is_met.map_or("", |is_met| if is_met { "met" } else { "missed" });
            let (halite, slatedb) = (told(halite), told(slatedb));
            // A string takes all that is written.
            let _ = writeln!(table, "| {name} | {halite} | {slatedb} | {ratio} | {asked} | {verdict} |");
        }
        table
    }
}

/// The middle one; of two in the middle the lower.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
