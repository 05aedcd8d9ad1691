//! What the engine has to say besides results: its events, on standard error.
//!
//! `HALITE_EVENTS` chooses the least level shown: `off`, `error`, `warn` (the default), `info`, `debug` or `trace`.

use crate::args::Format;
use tracing_subscriber::filter::LevelFilter;

pub(crate) fn subscribe(format: Format) {
    let level = std::env::var("HALITE_EVENTS").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::WARN);
    let events = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    // An event that cannot be written is lost; to say so in the same place would panic.
    let events = events.log_internal_errors(false);
    match format {
        Format::Plain => events.with_target(false).without_time().init(),
        Format::Json => events.json().init(),
    }
}
