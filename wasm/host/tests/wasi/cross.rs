//! One store, native and WASI writers in turn, against the model, with kills in between.
//!
//! Each round draws who writes: the library natively, closed or dropped; or a shell under WASI, whole or killed by fuel
//! somewhere. Then someone else reads all, natively or under WASI, recovering first what was left.

use super::kills::{Script, judge};
use super::{Place, block_on, fuel};
use halite::{Durability, WriteBatch};
use halite_tests::history::{History, Loss, State, Value, Write};
use halite_tests::random::Random;
use halite_tests::world::bytes;
use halite_wasmtime::End;

#[test]
fn random_operations_on_both_sides_with_kills_between() {
    let place = Place::new("wasi-cross");
    let mut random = Random::new(2026);
    let mut history = History::default();
    // What a short script takes; where in it the kill falls is drawn.
    let mut usual = Place::new("wasi-cross-usual").feed(&["shell"], "put a 1\n").fuel;
    for round in 0..36 {
        let story = format!("round {round}");
        let killed = match random.below(4) {
            0 => write_natively(&place, &mut random, &mut history, &story),
            1 => {
                let script = Script::draw(&mut random, &mut history, 25);
                let outcome = place.feed(&["shell"], &script.lines);
                assert_eq!(outcome.end, End::Exit(0), "{story}: {outcome:?}");
                usual = outcome.fuel;
                script.acknowledge(&outcome, &mut history);
                false
            }
            _ => {
                let script = Script::draw(&mut random, &mut history, 25);
                let run = place.wasi(&["shell"]).input(script.lines.as_str()).limits(fuel(random.below(usual * 5 / 4)));
                let outcome = block_on(run.finish()).unwrap();
                assert!(matches!(outcome.end, End::OutOfFuel | End::Exit(0)), "{story}: {outcome:?}");
                script.acknowledge(&outcome, &mut history);
                outcome.end == End::OutOfFuel
            }
        };
        match random.below(3) {
            0 => judge_under_wasi(&place, &mut history, &story),
            // Of a script that was cut short, it has to be known what was lost before anything is added.
            1 => judge(&place, &mut history, random.chance(50), &story),
            _ if killed => judge(&place, &mut history, random.chance(50), &story),
            // The next writer recovers.
            _ => {}
        }
    }
    judge(&place, &mut history, true, "the end");
}

/// Writes with the library, and closes the store or leaves it as it is. Whether something is under way: nothing is.
fn write_natively(place: &Place, random: &mut Random, history: &mut History, story: &str) -> bool {
    let close = random.chance(50);
    block_on(async {
        let db = place.open().await;
        for _ in 0..random.below(20) {
            let writes: Vec<Write> = (0..1 + random.below(3))
                .map(|_| {
                    let value = format!("{story} {}", random.below(1000)).into_bytes();
                    let value = Value { bytes: bytes(&value), expires_at: None };
                    (format!("k{}", random.below(12)).into_bytes(), (!random.chance(30)).then_some(value))
                })
                .collect();
            let batch = writes.iter().fold(WriteBatch::new(), |batch, (key, value)| match value {
                Some(value) => batch.put(key.clone(), value.bytes.clone()),
                None => batch.delete(key.clone()),
            });
            let commit = history.enter(writes);
            db.write(batch).await.unwrap();
            history.acknowledge(commit, Durability::Synced);
        }
        if close {
            db.close().await.unwrap();
        }
    });
    false
}

fn judge_under_wasi(place: &Place, history: &mut History, story: &str) {
    if !place.store().exists() {
        return;
    }
    let dump = place.run(&["dump"]);
    // A store that was killed before it was made is none.
    if dump.end == End::Exit(4) && dump.err.contains("no store") {
        return;
    }
    assert_eq!(dump.end, End::Exit(0), "{story}: {dump:?}");
    let found: State = dump
        .out
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().as_bytes().to_vec();
            (text("key"), text("value").into())
        })
        .collect();
    let survivors = history.judge(&found, 0, Loss::Kill).unwrap_or_else(|wrong| panic!("{story}, WASI: {wrong}"));
    history.keep(&survivors);
}
