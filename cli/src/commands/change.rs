//! The commands that depend on what a key holds, and those of its lifetime: cas, incr, ttl, expire, persist.

use super::records::{bytes, said_not_found};
use crate::failure::{Exit, Failure, Result};
use crate::output::Out;
use crate::record::Record;
use halite::{Db, Ttl};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::time::Duration;

/// What `cas` expects and what it sets; `None` stands for an absent key.
type Swap<'a> = (Option<&'a OsStr>, Option<&'a OsStr>);

/// Tells the old value from the new one: a flag stands for the one that is not there.
fn swap<'a>(first: Option<&'a OsStr>, second: Option<&'a OsStr>, if_absent: bool, delete: bool) -> Result<Swap<'a>> {
    match (first, second, if_absent, delete) {
        (Some(old), Some(new), false, false) => Ok((Some(old), Some(new))),
        (Some(new), None, true, false) => Ok((None, Some(new))),
        (Some(old), None, false, true) => Ok((Some(old), None)),
        _ => Err(Failure::usage("`cas` takes KEY OLD NEW, KEY --if-absent NEW, or KEY OLD --delete")),
    }
}

pub(super) async fn cas(
    db: &Db,
    key: &OsStr,
    values: (Option<&OsStr>, Option<&OsStr>),
    flags: (bool, bool),
    out: &mut Out,
) -> Result<Exit> {
    let (old, new) = swap(values.0, values.1, flags.0, flags.1)?;
    let swapped = db.compare_and_swap(bytes(key), old.map(bytes), new.map(bytes)).await?;
    said(key, "swapped", swapped, out)
}

pub(super) async fn incr(db: &Db, key: &OsStr, by: i64, out: &mut Out) -> Result<Exit> {
    let number = db.increment(bytes(key), by).await?;
    if out.is_json() {
        out.json(&about(key, &[("number", number.into())]))?;
    } else {
        out.line(&number.to_string())?;
    }
    Ok(Exit::Done)
}

pub(super) async fn ttl(db: &Db, key: &OsStr, out: &mut Out) -> Result<Exit> {
    let Some(ttl) = db.ttl(bytes(key)).await? else {
        if out.is_json() {
            out.json(&about(key, &[("exists", false.into())]))?;
        } else {
            said_not_found(bytes(key), out)?;
        }
        return Ok(Exit::NotFound);
    };
    let millis = match ttl {
        Ttl::Forever => Value::Null,
        Ttl::Remaining(left) => (left.as_millis() as u64).into(),
    };
    match ttl {
        _ if out.is_json() => out.json(&about(key, &[("exists", true.into()), ("ttl_millis", millis)]))?,
        Ttl::Forever => out.line("for ever")?,
        Ttl::Remaining(left) => out.line(&humantime::format_duration(left).to_string())?,
    }
    Ok(Exit::Done)
}

pub(super) async fn expire(db: &Db, key: &OsStr, time: Duration, out: &mut Out) -> Result<Exit> {
    let exists = db.expire(bytes(key), time).await?;
    said(key, "exists", exists, out)
}

pub(super) async fn persist(db: &Db, key: &OsStr, out: &mut Out) -> Result<Exit> {
    let exists = db.persist(bytes(key)).await?;
    said(key, "exists", exists, out)
}

/// Answers yes or no.
fn said(key: &OsStr, what: &str, yes: bool, out: &mut Out) -> Result<Exit> {
    if out.is_json() {
        out.json(&about(key, &[(what, yes.into())]))?;
    } else {
        out.line(if yes { "true" } else { "false" })?;
    }
    Ok(if yes { Exit::Done } else { Exit::NotFound })
}

/// A key, and what is said of it.
fn about(key: &OsStr, facts: &[(&str, Value)]) -> Value {
    let mut document = json!(Record::of_key(bytes(key)));
    for (name, fact) in facts {
        document[*name] = fact.clone();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_stands_for_what_is_not_there() {
        let [old, new] = ["old", "new"].map(|word| Some(OsStr::new(word)));
        let check = |first, second, if_absent, delete| swap(first, second, if_absent, delete).ok();
        assert_eq!(check(old, new, false, false), Some((old, new)));
        assert_eq!(check(new, None, true, false), Some((None, new)));
        assert_eq!(check(old, None, false, true), Some((old, None)));
        for (first, second, if_absent, delete) in [
            (None, None, false, false),
            (old, None, false, false),
            (old, new, true, false),
            (old, new, false, true),
            (old, None, true, true),
            (None, None, true, true),
        ] {
            assert_eq!(check(first, second, if_absent, delete), None);
        }
    }
}
