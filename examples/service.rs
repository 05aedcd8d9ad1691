//! A key-value service over HTTP, with axum: one database, shared by all requests.
//!
//! ```text
//! cargo run -p halite-examples --bin service -- FOLDER [ADDRESS]
//!
//! PUT    /keys/KEY                        sets it to the body; with ?ttl=SECONDS for so long
//! GET    /keys/KEY                        the value, or 404
//! DELETE /keys/KEY
//! GET    /keys?prefix=…&after=…&limit=…   {"key": …, "value": …}, a line for each
//! ```
//!
//! A `put` is answered when it is durable; those of many clients share a sync. A scan is sent as it is read, of one moment,
//! and takes the same memory whatever its length. On Ctrl-C or SIGTERM the service answers what it has begun, and closes.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use futures::TryStreamExt;
use halite::{Db, ErrorKind, KeyRange, WriteOptions};
use serde::Deserialize;
use std::ops::Bound;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| "service-data".to_owned());
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let db = Db::open(folder).await?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, service(db.clone())).with_graceful_shutdown(told_to_stop()).await?;
    db.close().await?;
    println!("closed");
    Ok(())
}

fn service(db: Db) -> Router {
    Router::new()
        .route("/keys", get(scan))
        .route("/keys/{*key}", get(read).put(write).delete(delete))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(db)
}

async fn read(State(db): State<Db>, Path(key): Path<String>) -> Result<Response, Failure> {
    Ok(match db.get(key).await? {
        Some(value) => value.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

#[derive(Deserialize)]
struct Lifetime {
    ttl: Option<u64>,
}

async fn write(
    State(db): State<Db>,
    Path(key): Path<String>,
    Query(Lifetime { ttl }): Query<Lifetime>,
    value: Bytes,
) -> Result<StatusCode, Failure> {
    let options = WriteOptions { ttl: ttl.map(Duration::from_secs), ..WriteOptions::default() };
    db.put_with(key, value, options).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(State(db): State<Db>, Path(key): Path<String>) -> Result<StatusCode, Failure> {
    db.delete(key).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    prefix: String,
    /// The last key of the page before.
    after: Option<String>,
    limit: Option<usize>,
}

async fn scan(State(db): State<Db>, Query(page): Query<Page>) -> Response {
    let KeyRange { mut start, end } = KeyRange::prefix(page.prefix);
    if let Some(last) = page.after {
        start = Bound::Excluded(last.into());
    }
    let entries = db.scan(KeyRange { start, end }).limit(page.limit.unwrap_or(1000));
    let lines = entries.map_ok(|entry| {
        let (key, value) = (String::from_utf8_lossy(&entry.key), String::from_utf8_lossy(&entry.value));
        format!("{}\n", serde_json::json!({ "key": key, "value": value }))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// An error of the database as an answer: its kind says whose turn it is.
struct Failure(halite::Error);

impl From<halite::Error> for Failure {
    fn from(error: halite::Error) -> Failure {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Closed | ErrorKind::Fenced | ErrorKind::Poisoned => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.to_string()).into_response()
    }
}

/// Returns on Ctrl-C, or when a supervisor asks.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                return;
            }
            Err(cause) => eprintln!("SIGTERM will not be heard: {cause}"),
        }
    }
    // Without signals it runs until it is killed, which loses nothing that was answered.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
