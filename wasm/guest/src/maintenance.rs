//! `halite:store/maintenance`.

use crate::Component;
use crate::opened;
use crate::store::bindings::exports::halite::store::maintenance::Guest;
use std::time::Duration;

impl Guest for Component {
    fn maintain(milliseconds: u32) -> Result<bool, String> {
        let opened = opened::opened().map_err(|error| error.to_string())?;
        let done = opened::block_on(opened.db.maintain(Duration::from_millis(u64::from(milliseconds))));
        done.map_err(|error| error.to_string())
    }

    fn close() -> Result<(), String> {
        opened::close().map_err(|error| error.to_string())
    }
}
