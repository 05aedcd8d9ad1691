//! A counter that outlives the process: Halite embedded in a program without async.
//!
//! `cargo run -p halite-examples --bin counter -- FOLDER`, twice: the second run goes on where the first one stopped.

use halite::blocking::Db;
use halite::{Durability, WriteOptions};

fn main() -> halite::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "counter-data".to_owned());
    let db = Db::open(folder)?;

    // Durable when it returns: a power cut after this line does not take it back.
    let runs = db.increment("runs", 1)?;

    // Clicks come quickly, and the last tenth of a second of them may be lost: they need not wait for the disk.
    let quickly = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
    std::thread::scope(|scope| {
        for _user in 0..4 {
            scope.spawn(|| (0..250).try_for_each(|_| db.increment_with("clicks", 1, quickly).map(drop)));
        }
    });

    // An absent key counts as 0, and a counter is the text of its number.
    let clicks = db.get("clicks")?.unwrap_or_default();
    println!("run {runs}: {} clicks so far", String::from_utf8_lossy(&clicks));

    // Makes all of it durable, and the next opening quick.
    db.close()
}
