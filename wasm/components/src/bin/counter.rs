//! A counter: each run adds one to a number in the bucket `default`, through `wasi:keyvalue`, and prints it.
//!
//! It knows nothing of Halite. On a host with the plugin the number is in the host's database; composed with Halite's
//! component it is in a folder.

#[cfg(target_family = "wasm")]
mod bindings {
    //! What wit-bindgen makes of the WIT.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft2", world: "imports", generate_all });
}

#[cfg(target_family = "wasm")]
fn main() -> Result<(), bindings::wasi::keyvalue::store::Error> {
    use bindings::wasi::keyvalue::{atomics, store};
    let bucket = store::open("default")?;
    println!("{}", atomics::increment(&bucket, "runs", 1)?);
    Ok(())
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is a component: build it for wasm32-wasip2");
}
