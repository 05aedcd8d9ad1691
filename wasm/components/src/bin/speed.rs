//! Measures what a call of `wasi:keyvalue` takes, seen from inside: prints nanoseconds for each `get`, and for each `set`.
//!
//! Its argument says how often each key is got.
#![allow(clippy::unwrap_used)]

#[cfg(target_family = "wasm")]
mod draft2 {
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft2", world: "imports", generate_all });
}

#[cfg(target_family = "wasm")]
fn main() {
    use std::time::Instant;

    const KEYS: u32 = 1000;
    let rounds: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let bucket = draft2::wasi::keyvalue::store::open("default").unwrap();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key:{n:08}")).collect();
    let begin = Instant::now();
    keys.iter().for_each(|key| bucket.set(key, &[7; 150]).unwrap());
    let set = begin.elapsed() / KEYS;
    let begin = Instant::now();
    for _ in 0..rounds {
        keys.iter().for_each(|key| assert_eq!(bucket.get(key).unwrap().unwrap().len(), 150));
    }
    println!("{} {}", (begin.elapsed() / KEYS / rounds).as_nanos(), set.as_nanos());
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is a component: build it for wasm32-wasip2");
}
