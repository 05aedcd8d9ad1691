//! What an object store charges for what was asked of it: an estimate.

use crate::Stats;
use halite_backends::{RequestKind, Requests, Traffic};
use serde::{Deserialize, Serialize};

/// What a store charges, in any one currency. The default is what Amazon lists for S3 Standard in `us-east-1`, in dollars, to a
/// client in the same region.
///
/// ```
/// use halite::Prices;
/// let elsewhere = Prices { put: 0.0045, ..Prices::default() };
/// assert_eq!(elsewhere.get, Prices::default().get);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// For 1000 requests that write.
    pub put: f64,
    /// For 1000 requests that read.
    pub get: f64,
    /// For 1000 requests that ask whether something is there.
    pub head: f64,
    /// For 1000 pages of a list.
    pub list: f64,
    /// For 1000 requests that delete.
    pub delete: f64,
    /// For a GiB that is received.
    pub received: f64,
    /// For a GiB that is sent.
    pub sent: f64,
    /// For a GiB that is kept for a month.
    pub kept: f64,
}

impl Default for Prices {
    fn default() -> Prices {
        Prices {
            put: 0.005,
            get: 0.0004,
            head: 0.0004,
            list: 0.005,
            delete: 0.0,
            received: 0.0,
            sent: 0.0,
            kept: 0.023,
        }
    }
}

/// What something costs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Cost, Prices};
/// let db = halite::Db::open("mem:").await?;
/// let Cost { requests, kept_a_month, .. } = Prices::default().estimate(&db.stats());
/// println!("{requests} $ so far, and {kept_a_month} $ a month");
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// The requests since the opening.
    pub requests: f64,
    /// The bytes that they carried.
    pub carried: f64,
    /// A month of keeping what the newest version names.
    pub kept_a_month: f64,
}

impl Prices {
    /// What the requests in `traffic` cost.
    pub fn requests(&self, traffic: &Traffic) -> f64 {
        traffic.requests.iter().map(|requests| self.of(requests).0).sum()
    }

    /// What `requests` cost, and what the bytes do that they have carried.
    pub fn of(&self, requests: &Requests) -> (f64, f64) {
        let (request, byte) = match requests.kind {
            RequestKind::Put => (self.put, self.sent),
            RequestKind::Get => (self.get, self.received),
            RequestKind::Head => (self.head, 0.0),
            RequestKind::List => (self.list, 0.0),
            RequestKind::Delete => (self.delete, 0.0),
            _ => (0.0, 0.0),
        };
        (requests.count as f64 * request / 1000.0, gib(requests.bytes) * byte)
    }

    /// What `stats` tell of costs.
    pub fn estimate(&self, stats: &Stats) -> Cost {
        Cost {
            requests: self.requests(&stats.traffic),
            carried: stats.traffic.requests.iter().map(|requests| self.of(requests).1).sum(),
            kept_a_month: gib(stats.segment_bytes + stats.log_bytes) * self.kept,
        }
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_kept_has_a_price_without_any_request() {
        let stats = Stats { segment_bytes: 3 << 30, log_bytes: 1 << 30, ..Stats::default() };
        let cost = Prices::default().estimate(&stats);
        assert_eq!((cost.requests, cost.carried), (0.0, 0.0));
        assert!((cost.kept_a_month - 4.0 * 0.023).abs() < 1e-12);
    }
}
