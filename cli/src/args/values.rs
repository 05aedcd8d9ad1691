//! Values of arguments: names, lengths of time, moments, and sizes.

use crate::store::Cache;
use clap::builder::{OsStringValueParser, TypedValueParser};
use halite::Limits;
use halite::backends::{Limit, Purpose};
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A store's name; unlike keys and values, it has to be text.
pub(super) fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|name| name.into_string().map_err(|_| "a store's name must be UTF-8"))
}

/// A length of time, of none too.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|cause| format!("{cause} (such as 90s, 15min, 7days)"))
}

/// A time in milliseconds since the Unix epoch, written as such, or as how long before or after `now`.
pub(crate) fn time(text: &str, now: SystemTime, is_past: bool) -> Result<u64, String> {
    let time = match (humantime::parse_rfc3339_weak(text), humantime::parse_duration(text)) {
        (Ok(time), _) => Some(time),
        (_, Ok(before)) if is_past => now.checked_sub(before),
        (_, Ok(after)) => now.checked_add(after),
        _ => None,
    };
    let since_epoch = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = since_epoch.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| format!("{text:?} is not a time (such as 2026-11-21T13:00:00Z, or 7days)"))
}

/// A time to come.
pub(super) fn future(text: &str) -> Result<u64, String> {
    time(text, SystemTime::now(), false)
}

/// A length of time, a millisecond at least.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl.as_millis() == 0 => Err("shorter than a millisecond".to_owned()),
        Ok(ttl) => Ok(ttl),
        Err(cause) => Err(format!("{cause} (such as 90s, 15min, 7days)")),
    }
}

/// A folder for a cache, and behind the last colon, where a size stands there, how much it may take.
pub(super) fn cache(text: &str) -> Result<Cache, String> {
    let (folder, bytes_max) = match text.rsplit_once(':') {
        Some((folder, bytes)) if size(bytes).is_ok() => (folder, size(bytes)?),
        _ => (text, CACHE_BYTES),
    };
    if folder.is_empty() {
        Err("no folder (such as /var/cache/halite:10GiB)".into())
    } else {
        Ok(Cache { folder: folder.into(), bytes_max })
    }
}

/// A purpose, and how much may be asked of a store for it.
pub(super) fn limit(text: &str) -> Result<(Purpose, Limit), String> {
    const EXAMPLE: &str = "such as merge=20MiB/s,100/s,4";
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("no purpose and its limits ({EXAMPLE})"))?;
    let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.name() == name);
    let purpose = purpose.filter(|purpose| Limits::default().of_mut(*purpose).is_some());
    let purpose = purpose.ok_or_else(|| format!("{name:?} is no purpose that can be limited ({EXAMPLE})"))?;
    let mut limit = Limit::default();
    for part in limits.split(',') {
        let bad = || format!("{part:?} is no limit ({EXAMPLE})");
        let is_new = match part.strip_suffix("/s") {
            Some(rate) if rate.bytes().all(|byte| byte.is_ascii_digit()) => {
                limit.requests_per_second.replace(rate.parse().map_err(|_| bad())?).is_none()
            }
            Some(rate) => {
                let bytes = size(rate).ok().and_then(NonZeroU64::new);
                limit.bytes_per_second.replace(bytes.ok_or_else(bad)?).is_none()
            }
            None => limit.at_once.replace(part.parse().map_err(|_| bad())?).is_none(),
        };
        if !is_new {
            return Err(format!("{part:?} is a second limit of its kind ({EXAMPLE})"));
        }
    }
    Ok((purpose, limit))
}

/// What a cache may take where nothing is said.
const CACHE_BYTES: u64 = 1 << 30;

/// Bytes, with a unit or without: powers of 1024 (KiB, MiB, GiB, TiB) or of 1000 (kB, MB, GB, TB).
pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
    ];
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let bytes = number.parse::<u64>().ok().and_then(|number| {
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*bytes)
    });
    bytes.ok_or_else(|| "not a size (such as 64MiB, 1GiB, 500000)".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("64MiB", 64 << 20), ("64 mib", 64 << 20), ("3GB", 3_000_000_000), ("7b", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1 XiB", "99999999999999999999", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cache_is_a_folder_and_perhaps_a_size() {
        let check = |text: &str, folder: &str, bytes_max| {
            assert_eq!(cache(text), Ok(Cache { folder: folder.into(), bytes_max }), "{text}");
        };
        check("cache", "cache", CACHE_BYTES);
        check("/var/cache:10GiB", "/var/cache", 10 << 30);
        check("a:b", "a:b", CACHE_BYTES);
        check("a:b:0", "a:b", 0);
        assert!(cache("").is_err() && cache(":1GiB").is_err());
    }

    #[test]
    fn limits_are_of_bytes_of_requests_and_of_how_many_at_once() {
        let (purpose, found) = limit("merge=20MiB/s,100/s,4").unwrap();
        let expected = Limit {
            requests_per_second: NonZeroU32::new(100),
            bytes_per_second: NonZeroU64::new(20 << 20),
            at_once: NonZeroU32::new(4),
        };
        assert_eq!((purpose, found), (Purpose::Merge, expected));
        let (purpose, found) = limit("read=7").unwrap();
        assert_eq!((purpose, found.at_once, found.bytes_per_second), (Purpose::Read, NonZeroU32::new(7), None));
        let bad =
            ["", "merge", "merge=", "merge=0", "merge=0/s", "merge=0MiB/s", "merge=MiB", "merge=1,", "open=1", "x=1"];
        let twice = ["merge=1/s,2/s", "merge=1MiB/s,4,2MiB/s", "merge=1,1"];
        for text in bad.into_iter().chain(twice) {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_given_as_such_or_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(time("2026-11-21T13:00:00Z", now, true), Ok(1_795_266_000_000));
        assert_eq!(time("2026-11-21 13:00:00", now, true), Ok(1_795_266_000_000));
        assert_eq!((time("15min", now, true), time("15min", now, false)), (Ok(999_100_000), Ok(1_000_900_000)));
        assert!(time("monday", now, true).is_err() && time("100years", now, true).is_err());
    }

    #[test]
    fn lifetimes_are_checked() {
        assert_eq!(ttl("1h 30min"), Ok(Duration::from_secs(5400)));
        assert!(ttl("0s").is_err() && ttl("soon").is_err() && ttl("-1s").is_err() && ttl("").is_err());
    }
}
