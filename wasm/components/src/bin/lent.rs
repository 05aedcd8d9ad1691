//! Runs the engine on storage that its host lends: the backends' conformance suite, the model, and a counter.
//!
//! | argument | what it does |
//! | --- | --- |
//! | `conformance` | asks every promise of a backend, of the stores `0`, `1`, …, which are empty |
//! | `model` | plays random operations against the model, on the store `model`, which is empty |
//! | `count` | counts its runs in the store `default`, and prints how many they are |
//! | `fill` | writes to the store `default` until it is full, then makes room in it |
#![allow(clippy::unwrap_used)]

#[cfg(target_family = "wasm")]
mod guest {
    use halite::backends::{Backend, ErrorKind, Path, conformance};
    use halite::{Db, Options};
    use halite_lent::Lent;
    use halite_tests::suites;
    use halite_tests::world::Store;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn lent(name: &str) -> Arc<dyn Backend> {
        Arc::new(Lent::open(name).unwrap_or_else(|error| panic!("{error:?}")))
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    pub(crate) fn main() {
        match std::env::args().nth(1).as_deref() {
            Some("conformance") => {
                let next = AtomicU32::new(0);
                block_on(conformance::run(|| lent(&next.fetch_add(1, Ordering::Relaxed).to_string())));
                block_on(refusals(&next.load(Ordering::Relaxed).to_string()));
            }
            Some("model") => suites::model(Store::Real(lent("model")), 11, 250),
            Some("fill") => block_on(fill()),
            _ => block_on(count()),
        }
    }

    /// What the engine does not ask.
    async fn refusals(empty: &str) {
        assert_eq!(Lent::open("none").unwrap_err().kind(), ErrorKind::NotFound);
        let store = lent(empty);
        let path = Path::new("large").unwrap();
        // Read and written in pieces, or refused as a whole.
        let large: Vec<u8> = (0..9_000_001_u32).map(|at| (at % 251) as u8).collect();
        store.create(&path, large.clone().into()).await.unwrap();
        assert!(store.read_whole(&path).await.unwrap() == large);
        let too_large = store.create(&Path::new("larger").unwrap(), vec![0; (64 << 20) + 1].into()).await;
        assert_eq!(too_large.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    async fn count() {
        let db = Db::builder(lent("default")).open().await.unwrap();
        println!("{}", db.increment("runs", 1).await.unwrap());
        db.close().await.unwrap();
    }

    async fn fill() {
        let options = Options { segment_bytes_max: 16 << 10, ..Options::default() };
        let db = Db::builder(lent("default")).options(options).open().await.unwrap();
        let mut written = 0;
        let full = loop {
            match db.put(format!("k{written}"), vec![7; 1000]).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), halite::ErrorKind::NoSpace, "{full:?}");
        // All that was acknowledged is there, and room can be made.
        for n in 0..written {
            assert_eq!(db.get(format!("k{n}")).await.unwrap().unwrap().len(), 1000);
        }
        db.clear().await.unwrap();
        db.compact().await.unwrap();
        db.put("after", "1").await.unwrap();
        db.close().await.unwrap();
        println!("{written}");
    }
}

#[cfg(target_family = "wasm")]
fn main() {
    guest::main();
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this is a component: build it for wasm32-wasip2");
}
