//! What the types of the interfaces mean in words of this crate.
//!
//! Host and guest each have bindings of their own, which are types of the same names; so what stands here is written
//! once, as macros, and holds for both.

/// What fails in `wasi:keyvalue`, of which `$Error` is.
#[doc(hidden)]
#[macro_export]
macro_rules! keyvalue_words {
    ($Error:ty) => {
        impl From<$crate::Error> for $Error {
            fn from(error: $crate::Error) -> Self {
                match error {
                    $crate::Error::NoSuchBucket => Self::NoSuchStore,
                    $crate::Error::AccessDenied => Self::AccessDenied,
                    other => Self::Other(other.to_string()),
                }
            }
        }
    };
}

/// The types of `halite:store`, which are in `$wit`.
#[doc(hidden)]
#[macro_export]
macro_rules! store_words {
    ($wit:ident) => {
        impl From<$crate::Error> for $wit::Error {
            fn from(error: $crate::Error) -> $wit::Error {
                match error {
                    $crate::Error::NoSuchBucket => $wit::Error::NoSuchBucket,
                    $crate::Error::AccessDenied => $wit::Error::AccessDenied,
                    $crate::Error::QuotaExceeded => $wit::Error::QuotaExceeded,
                    $crate::Error::Conflict => $wit::Error::Conflict,
                    $crate::Error::Invalid(why) => $wit::Error::Invalid(why),
                    other => $wit::Error::Other(other.to_string()),
                }
            }
        }

        impl From<$wit::Keys> for $crate::Keys {
            fn from(keys: $wit::Keys) -> $crate::Keys {
                match keys {
                    $wit::Keys::All => $crate::Keys::All,
                    $wit::Keys::Prefix(prefix) => $crate::Keys::Prefix(prefix),
                    $wit::Keys::Range((start, end)) => $crate::Keys::Range(start, end),
                }
            }
        }

        impl From<$wit::Write> for $crate::Write {
            fn from(write: $wit::Write) -> $crate::Write {
                match write {
                    $wit::Write::Put($wit::Put { key, value, lifetime }) => {
                        $crate::Write::Put { key, value, ttl: ttl(lifetime) }
                    }
                    $wit::Write::Delete(key) => $crate::Write::Delete(key),
                    $wit::Write::DeleteKeys(keys) => $crate::Write::DeleteKeys(keys.into()),
                }
            }
        }

        impl From<$crate::Record> for $wit::Record {
            fn from(record: $crate::Record) -> $wit::Record {
                let $crate::Record { key, value, expires_at, .. } = record;
                $wit::Record { key: key.into(), value: value.into(), expires_at }
            }
        }

        fn ttl(lifetime: $wit::Lifetime) -> Option<std::time::Duration> {
            match lifetime {
                $wit::Lifetime::ForEver => None,
                $wit::Lifetime::Milliseconds(millis) => Some(std::time::Duration::from_millis(millis)),
            }
        }

        fn lifetime(ttl: $crate::Ttl) -> $wit::Lifetime {
            match ttl {
                $crate::Ttl::Forever => $wit::Lifetime::ForEver,
                // An expiry is a number of milliseconds, so what is left of it is one too.
                $crate::Ttl::Remaining(left) => {
                    $wit::Lifetime::Milliseconds(left.as_millis().try_into().unwrap_or(u64::MAX))
                }
            }
        }

        /// Whether it is against byte order, and whether without values.
        fn order(order: $wit::Order) -> (bool, bool) {
            (order.contains($wit::Order::REVERSE), order.contains($wit::Order::KEYS_ONLY))
        }

        fn records(records: Vec<$crate::Record>) -> Vec<$wit::Record> {
            records.into_iter().map($wit::Record::from).collect()
        }
    };
}
