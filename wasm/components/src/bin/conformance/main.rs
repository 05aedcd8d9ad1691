//! What `wasi:keyvalue` and `halite:store` promise, tried from inside: the same program for the host's plugin and, composed
//! with it, for Halite's component.
//!
//! It works in the buckets `default` and `other`, which must be empty. With the argument `rights` it expects a bucket
//! `read-only` that it may not write, a bucket `denied` that it may not open, and `small`, whose quota is 1000 bytes and 3
//! keys; with `handles`, that it gets few of these; with `huge`, that a value is there which is too much for one call; with `again`,
//! that it has run before, in another instance. It prints what it tries; the first promise that is broken ends it with a panic.
#![allow(clippy::unwrap_used)]

#[cfg(target_family = "wasm")]
mod draft {
    //! `wasi:keyvalue@0.2.0-draft`.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft", world: "imports", generate_all });
}

#[cfg(target_family = "wasm")]
mod draft2 {
    //! `wasi:keyvalue@0.2.0-draft2`.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft2", world: "imports", generate_all });
}

#[cfg(target_family = "wasm")]
mod own {
    //! `halite:store@0.1.0`.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/store", world: "imports", generate_all });
}

#[cfg(target_family = "wasm")]
mod tries;

#[cfg(target_family = "wasm")]
fn main() {
    tries::all(std::env::args().nth(1).as_deref());
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is a component: build it for wasm32-wasip2");
}
