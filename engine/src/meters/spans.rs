//! A test: OBSERVING.md lists just the spans that there are.
#![allow(clippy::unwrap_used)]

use crate::backends::{Backend, Memory};
use crate::{Db, Options};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Notes the spans that begin, each as the row that the page should have, up to its last column.
#[derive(Clone, Default)]
struct Noted {
    rows: Arc<Mutex<BTreeSet<String>>>,
    count: Arc<AtomicU64>,
}

impl Subscriber for Noted {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("halite")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        assert_eq!(metadata.target(), "halite");
        let fields: Vec<_> = metadata.fields().iter().map(|field| format!("`{field}`")).collect();
        let fields = if fields.is_empty() { String::new() } else { format!(" {}", fields.join(", ")) };
        let level = metadata.level().as_str().to_lowercase();
        self.rows.lock().insert(format!("| `{}` | {level} |{fields} |", metadata.name()));
        Id::from_u64(self.count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn the_page_lists_all_spans() {
    let noted = Noted::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tracing::subscriber::with_default(noted.clone(), || {
        runtime.block_on(async {
            let backend: Arc<dyn Backend> = Arc::new(Memory::create_only());
            let open = || Db::builder(backend.clone()).options(Options::default());
            let db = open().open().await.unwrap();
            db.put("key", "value").await.unwrap();
            // What it leaves is replayed.
            let db = db.reopen().await.unwrap();
            db.put("key", "value").await.unwrap();
            db.checkpoint("name").await.unwrap();
            db.verify().await.unwrap();
            db.compact().await.unwrap();
            db.close().await.unwrap();
            open().open_at("name").await.unwrap().close().await;
        });
    });
    let page = include_str!("../../../OBSERVING.md");
    let table = page.lines().skip_while(|line| !line.starts_with("| span |")).skip(2);
    let found: BTreeSet<String> = table
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.split('|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    assert_eq!(found, *noted.rows.lock());
}
