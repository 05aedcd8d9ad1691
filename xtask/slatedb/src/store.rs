//! An object store in this process that speaks S3 over HTTP, and is as far away as is wanted: each answer takes its time,
//! and each connection carries no more than a bandwidth.
//!
//! The servers of the tests would not do: the one of them that speaks S3 and keeps conditions answers one request after the
//! other, and reads a whole object for each range of it. This one does what the two engines ask for: conditional puts, uploads in
//! parts, ranged reads, lists, deletes. It believes every signature, and counts what it is asked for, whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Names in a page of a list.
const PAGE: usize = 1000;
/// What is sent before it is looked whether that was too fast.
const SLICE: usize = 64 << 10;

/// What was asked for since the store was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    pub(crate) others: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Asked {
    /// Requests of all kinds.
    pub(crate) fn total(self) -> u64 {
        self.puts + self.gets + self.others
    }

    /// What was asked for since `before`.
    pub(crate) fn since(self, before: Asked) -> Asked {
        Asked {
            puts: self.puts - before.puts,
            gets: self.gets - before.gets,
            others: self.others - before.others,
            sent: self.sent - before.sent,
            received: self.received - before.received,
        }
    }
}

#[derive(Default)]
struct Objects {
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    uploads: HashMap<String, BTreeMap<u64, Vec<u8>>>,
    asked: Asked,
}

/// The store. It serves on a thread of its own until the process ends.
#[derive(Clone)]
pub(crate) struct Store {
    objects: Arc<Mutex<Objects>>,
    latency_micros: Arc<AtomicU64>,
    bytes_per_second: u64,
    pub(crate) endpoint: String,
}

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    headers: String,
    body: Arc<Vec<u8>>,
    range: std::ops::Range<usize>,
    /// Of a body that is not sent.
    len: Option<usize>,
}

impl Store {
    /// Each of its connections carries so many bytes a second.
    pub(crate) fn start(bytes_per_second: u64) -> io::Result<Store> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let store = Store {
            objects: Arc::default(),
            latency_micros: Arc::default(),
            bytes_per_second,
            endpoint: format!("http://{}", listener.local_addr()?),
        };
        let served = store.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((connection, _)) = listener.accept().await {
                    let store = served.clone();
                    // A client that goes away ends its connection.
                    tokio::spawn(async move { drop(store.serve(connection).await) });
                }
            });
        });
        Ok(store)
    }

    /// From now on each answer takes this long.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.latency_micros.store(latency.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> Asked {
        self.lock().asked
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut connection = BufReader::new(connection);
        while let Some((head, begun)) = read_head(&mut connection).await? {
            let request = head.with_body(&mut connection).await?;
            self.pace(begun, request.body.len()).await;
            tokio::time::sleep(Duration::from_micros(self.latency_micros.load(Ordering::Relaxed))).await;
            let is_head = request.method == "HEAD";
            let answer = self.answer(request);
            let Answer { status, headers, body, range, len } = answer;
            let len = len.unwrap_or(range.len());
            let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\n\r\n");
            connection.write_all(head.as_bytes()).await?;
            if !is_head {
                let (begun, mut sent) = (Instant::now(), 0);
                for slice in body[range].chunks(SLICE) {
                    connection.write_all(slice).await?;
                    sent += slice.len();
                    self.pace(begun, sent).await;
                }
            }
            connection.flush().await?;
        }
        Ok(())
    }

    /// Waits until so many bytes may have passed since `begun`.
    async fn pace(&self, begun: Instant, bytes: usize) {
        let least = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        if let Some(left) = least.checked_sub(begun.elapsed()).filter(|left| left.as_millis() > 0) {
            tokio::time::sleep(left).await;
        }
    }

    fn answer(&self, request: Request) -> Answer {
        let mut all = self.lock();
        let Objects { objects, uploads, asked } = &mut *all;
        let Request { method, path, query, headers, body } = request;
        let name = path.trim_start_matches('/').split_once('/').map_or("", |(_, name)| name).to_owned();
        match &*method {
            "PUT" | "POST" if !query.contains_key("delete") => {
                asked.puts += 1;
                asked.sent += if method == "PUT" { body.len() as u64 } else { 0 };
            }
            "GET" if !name.is_empty() => asked.gets += 1,
            _ => asked.others += 1,
        }
        let is_taken = headers.contains_key("if-none-match") && objects.contains_key(&name);
        match (&*method, query.get("uploadId")) {
            ("GET", _) if name.is_empty() => list(objects, &query),
            ("GET" | "HEAD", _) => {
                let Some(object) = objects.get(&name) else { return missing() };
                let answer = part_of(object, headers.get("range"));
                if method == "GET" {
                    asked.received += answer.range.len() as u64;
                }
                answer
            }
            ("PUT" | "POST", None) if is_taken => {
                text("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code></Error>".into())
            }
            ("PUT", None) => {
                let object = Arc::new(body);
                let told = told_of(&object);
                objects.insert(name, object);
                Answer { headers: told, ..text("200 OK", String::new()) }
            }
            ("PUT", Some(upload)) => {
                let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
                uploads.entry(upload.clone()).or_default().insert(number, body);
                Answer { headers: format!("ETag: \"{number}\"\r\n"), ..text("200 OK", String::new()) }
            }
            ("POST", None) if query.contains_key("uploads") => {
                let id = format!("{}-{}", uploads.len(), asked.puts);
                uploads.insert(id.clone(), BTreeMap::new());
                let said = format!(
                    "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>{name}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                text("200 OK", said)
            }
            ("POST", Some(upload)) => {
                let parts = uploads.remove(upload).unwrap_or_default();
                objects.insert(name.clone(), Arc::new(parts.into_values().flatten().collect()));
                let said = format!(
                    "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>{name}</Key><ETag>\"1\"</ETag></CompleteMultipartUploadResult>"
                );
                text("200 OK", said)
            }
            ("POST", None) => {
                let asked = String::from_utf8_lossy(&body);
                for name in asked.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
                    objects.remove(name.0);
                }
                text("200 OK", "<DeleteResult></DeleteResult>".into())
            }
            ("DELETE", upload) => {
                match upload {
                    Some(upload) => drop(uploads.remove(upload)),
                    None => drop(objects.remove(&name)),
                }
                text("204 No Content", String::new())
            }
            _ => text("400 Bad Request", String::new()),
        }
    }
}

/// The part of `object` that a header asks for, or all of it.
fn part_of(object: &Arc<Vec<u8>>, asked: Option<&String>) -> Answer {
    let (range, is_part) = range_of(asked, object.len());
    let mut told = told_of(object);
    if is_part {
        let _ = write!(told, "Content-Range: bytes {}-{}/{}\r\n", range.start, range.end.max(1) - 1, object.len());
    }
    let status = if is_part { "206 Partial Content" } else { "200 OK" };
    Answer { status, headers: told, body: object.clone(), range, len: None }
}

fn text(status: &'static str, body: String) -> Answer {
    let range = 0..body.len();
    Answer {
        status,
        headers: "Content-Type: application/xml\r\n".into(),
        body: Arc::new(body.into()),
        range,
        len: None,
    }
}

fn missing() -> Answer {
    text("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>".into())
}

fn told_of(object: &[u8]) -> String {
    format!("ETag: \"{:x}\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n", object.len())
}

/// The bytes that a header asks for, and whether it does.
fn range_of(header: Option<&String>, len: usize) -> (std::ops::Range<usize>, bool) {
    let asked = header.and_then(|header| header.strip_prefix("bytes=")).and_then(|range| range.split_once('-'));
    match asked {
        Some(("", last)) => (len - last.parse::<usize>().unwrap_or(0).min(len)..len, true),
        Some((first, last)) => {
            let first = first.parse::<usize>().unwrap_or(0).min(len);
            let end = last.parse::<usize>().map_or(len, |last| len.min(last + 1));
            (first..end.max(first), true)
        }
        None => (0..len, false),
    }
}

fn list(objects: &BTreeMap<String, Arc<Vec<u8>>>, query: &HashMap<String, String>) -> Answer {
    let of = |name: &str| query.get(name).map_or("", |value| value);
    let (prefix, delimiter) = (of("prefix"), of("delimiter"));
    let after = [of("continuation-token"), of("start-after")].into_iter().max().unwrap_or_default();
    let from = if after >= prefix && !after.is_empty() { Bound::Excluded(after) } else { Bound::Included(prefix) };
    let (mut said, mut folders) = (String::new(), Vec::new());
    let (mut count, mut next) = (0, None);
    for (name, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = name.strip_prefix(prefix) else { break };
        if count == PAGE {
            break;
        }
        next = Some(name.clone());
        count += 1;
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => {
                let folder = format!("{prefix}{}", &rest[..at + 1]);
                if folders.last() != Some(&folder) {
                    folders.push(folder);
                }
            }
            None => {
                let _ = write!(
                    said,
                    "<Contents><Key>{name}</Key><LastModified>2026-11-21T00:00:00.000Z</LastModified><ETag>\"{0:x}\"</ETag><Size>{0}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                    object.len()
                );
            }
        }
    }
    for folder in &folders {
        let _ = write!(said, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    let token = next.filter(|_| count == PAGE);
    let token = token.map_or(String::new(), |next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    let cut = !token.is_empty();
    text(
        "200 OK",
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>b</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>{PAGE}</MaxKeys><IsTruncated>{cut}</IsTruncated>{token}{said}</ListBucketResult>"
        ),
    )
}

/// The next request without its body, and when it came; `None` where the client is done.
async fn read_head(connection: &mut BufReader<TcpStream>) -> io::Result<Option<(Request, Instant)>> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let begun = Instant::now();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Ok(Some((Request { method, path: decoded(path), query, headers, body: Vec::new() }, begun)))
}

impl Request {
    async fn with_body(mut self, connection: &mut BufReader<TcpStream>) -> io::Result<Request> {
        let len = self.headers.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        self.body = vec![0; len];
        connection.read_exact(&mut self.body).await?;
        Ok(self)
    }
}

/// `text` without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
