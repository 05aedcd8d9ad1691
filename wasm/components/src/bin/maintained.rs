//! Looks after the component that it is composed with: gives it time for its background work, and closes its store.
//!
//! With the argument `leave` it does neither, and prints nothing.
#![allow(clippy::unwrap_used)]

#[cfg(target_family = "wasm")]
mod bindings {
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/store", world: "imports-all", generate_all });
}

#[cfg(target_family = "wasm")]
fn main() {
    use bindings::halite::store::{maintenance, store};
    use store::Lifetime;

    let bucket = store::open("default").unwrap();
    for n in 0..600_u32 {
        bucket.put(format!("k{:02}", n % 20).as_bytes(), &[n as u8; 3000], Lifetime::ForEver).unwrap();
    }
    if std::env::args().nth(1).is_some() {
        return;
    }
    // No time is too little, and some turns are enough.
    maintenance::maintain(0).unwrap();
    let turns = (1..1000).find(|_| maintenance::maintain(10).unwrap());
    assert!(turns.is_some(), "the work in the background has no end");
    assert!(maintenance::maintain(10).unwrap(), "nothing is left to do");

    maintenance::close().unwrap();
    assert!(bucket.get(b"k01").is_err(), "a handle from before");
    maintenance::close().unwrap();
    let bucket = store::open("default").unwrap();
    assert_eq!(bucket.get(b"k01").unwrap().unwrap(), [581_u32 as u8; 3000]);
    maintenance::close().unwrap();
    println!("closed");
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is a component: build it for wasm32-wasip2");
}
