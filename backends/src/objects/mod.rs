//! Object stores: S3, Azure Blob, Google Cloud Storage and whatever else [OpenDAL] reaches, as one [`Operator`].
//!
//! [OpenDAL]: https://opendal.apache.org
//!
//! # Guarantees
//! 1. `create` is one conditional request, sent once. Where its answer is lost, or says that the store could not tell, the
//!    outcome is `Unknown`: the caller sends the same bytes again, and knows its own by what they hold.
//! 2. Everything else is repeated by OpenDAL's retry layer, each attempt within a time limit. An upload whose last answer
//!    was lost is settled by looking for the object: nobody else uses its name.
//! 3. No credential is shown: not by `Debug`, not in errors, not in events. See [`secrets`].
//! 4. Whoever polls may do so outside of the runtime. See [`runtime`].
//! 5. Requests are counted when they are admitted, each once, for the purpose of the handle by which they are made.
//!
//! # What is left behind
//! Parts of an upload that was dropped, or whose process died, stay in the store unseen, and cost. OpenDAL cannot list
//! them: give the bucket a lifecycle rule that aborts incomplete uploads (Azure forgets them after a week by itself).

mod io;
mod runtime;
mod secrets;
#[cfg(test)]
mod tests;
mod uri;

pub(crate) use secrets::Secrets;
pub(crate) use uri::from_uri;

use crate::traffic::Counters;
use crate::{
    Admitted, Appender, Backend, Capabilities, Error, ErrorKind, Limiter, Lock, Meta, Object, Path, Purpose,
    RequestKind, Result, Shared, Traffic, Uploader, in_folder,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use io::{Open, Upload};
use opendal::layers::{ConcurrentLimitLayer, RetryEvent, RetryLayer, TimeoutLayer};
use opendal::{Entry, Lister, Operator};
use runtime::Runtime;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an object store is spoken to.
///
/// ```
/// use halite_backends::ObjectsOptions;
/// use std::time::Duration;
/// let patient = ObjectsOptions { request_timeout: Duration::from_secs(120), retries: 10, ..ObjectsOptions::default() };
/// assert_eq!(patient.part_bytes, 8 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsOptions {
    /// How long one attempt at a request may take: for a large object, in addition to a second for each MiB of it. Default:
    /// 30 seconds.
    pub request_timeout: Duration,
    /// How often a failed request is tried again, with growing pauses between 0.1 and 10 seconds. (`create` is not:
    /// whoever calls it decides that.) Default: 5.
    pub retries: usize,
    /// HTTP requests that may be under way at once; others wait. Default: 64.
    pub requests_max: usize,
    /// Bytes in one part of a large object. Stores refuse less than 5 MiB, and more than 10 000 parts. Default: 8 MiB.
    pub part_bytes: usize,
    /// Parts of one object that are sent at once, and so how much memory an upload takes: that of two parts more, as one
    /// waits and one is filled. Default: 3.
    pub parts_at_once: usize,
}

impl Default for ObjectsOptions {
    fn default() -> ObjectsOptions {
        ObjectsOptions {
            request_timeout: Duration::from_secs(30),
            retries: 5,
            requests_max: 64,
            part_bytes: 8 << 20,
            parts_at_once: 3,
        }
    }
}

/// A store in an object store. Clones are handles on the same one.
///
/// ```
/// use halite_backends::{Backend, Objects, ObjectsOptions, Path};
/// use opendal::{Operator, services};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let operator = Operator::new(services::Memory::default())?;
/// let store = Objects::new(operator, ObjectsOptions::default());
/// store.create(&Path::new("greetings/1")?, "hello".into()).await?;
/// assert!(store.exists(&Path::new("greetings/1")?).await?);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Objects {
    shared: Arc<Store>,
    /// What the requests of this handle are for, and what keeps them within their limit.
    purpose: Purpose,
    limiter: Limiter,
}

struct Store {
    /// With time limits and retries.
    operator: Operator,
    /// With neither: for what must be sent once.
    once: Operator,
    options: ObjectsOptions,
    location: String,
    secrets: Secrets,
    counters: Arc<Counters>,
    runtime: Runtime,
}

impl Objects {
    /// The store that `operator` reaches, its root included. `operator` should carry no retry layer of its own: `create`
    /// is to be sent once.
    ///
    /// Where it cannot write on the condition that nothing is there, as with WebDAV, `create` looks first and then
    /// writes. That excludes nobody, so the engine refuses such a store unless a single writer is declared.
    pub fn new(operator: Operator, options: ObjectsOptions) -> Objects {
        Objects::with_secrets(operator, options, Secrets::default())
    }

    fn with_secrets(operator: Operator, options: ObjectsOptions, secrets: Secrets) -> Objects {
        let limit = ConcurrentLimitLayer::new(OPERATIONS_MAX).with_http_concurrent_limit(options.requests_max.max(1));
        let once = operator.layer(limit);
        // Each attempt is timed, so the time limit lies below the retries.
        let timeout =
            TimeoutLayer::default().with_timeout(options.request_timeout).with_io_timeout(options.request_timeout);
        let counters = Arc::new(Counters::default());
        let repeated = counters.clone();
        let retry = RetryLayer::default()
            .with_notify(move |_: RetryEvent<'_>| repeated.repeat())
            .with_jitter()
            .with_factor(3.0)
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(options.retries);
        let operator = once.clone().layer(timeout).layer(retry);
        let info = operator.info();
        let location = format!("{}://{}{}", info.scheme(), info.name(), info.root());
        let runtime = Runtime::new();
        let store = Store { operator, once, options, location, secrets, counters, runtime };
        Objects { shared: Arc::new(store), purpose: Purpose::Other, limiter: Limiter::default() }
    }

    /// Counts requests that carry so many bytes, and waits until they may be sent. They are under way until what is returned
    /// is dropped.
    async fn admit(&self, kind: RequestKind, requests: u64, bytes: u64) -> Admitted {
        let admitted = self.limiter.admit(requests, bytes).await;
        self.count(kind, requests, bytes);
        admitted
    }

    fn count(&self, kind: RequestKind, requests: u64, bytes: u64) {
        self.shared.counters.add(kind, self.purpose, requests, bytes);
    }

    fn failed(&self, op: &'static str, path: impl fmt::Display, error: &opendal::Error) -> Error {
        self.shared.secrets.error(error_kind(error), op, path, error)
    }

    /// Writes `path` if nothing is there, in one request, which was admitted.
    async fn put(&self, path: &Path, data: Bytes) -> opendal::Result<()> {
        let once = &self.shared.once;
        let conditional = once.info().capability().write_with_if_not_exists;
        if !conditional {
            self.count(RequestKind::Head, 1, 0);
            if once.exists(path.as_str()).await? {
                return Err(opendal::Error::new(opendal::ErrorKind::AlreadyExists, "the name is taken"));
            }
        }
        once.write_with(path.as_str(), data).if_not_exists(conditional).await.map(drop)
    }

    /// What `lister` lists. Each page is a request, which waits until it may be sent.
    fn entries(&self, lister: Lister) -> impl Stream<Item = opendal::Result<Entry>> + '_ {
        stream::try_unfold((lister, 0_usize), move |(mut lister, number)| async move {
            let begins_page = number % PAGE == 0;
            let _admitted = if begins_page { Some(self.limiter.admit(1, 0).await) } else { None };
            let entry = lister.try_next().await?;
            // A list that ends with its page takes no request to say so.
            if begins_page && (number == 0 || entry.is_some()) {
                self.count(RequestKind::List, 1, 0);
            }
            Ok(entry.map(|entry| (entry, (lister, number + 1))))
        })
    }

    /// What `entry` of a list of `folder` is to the caller, if anything.
    async fn meta(&self, folder: &str, entry: Entry) -> Result<Option<Meta>> {
        if entry.path().ends_with('/') || entry.path().is_empty() {
            return Ok(None);
        }
        let Ok(path) = Path::new(entry.path()) else { return Ok(None) };
        if !in_folder(&path, folder) {
            return Ok(None);
        }
        if entry.metadata().is_file() {
            return Ok(Some(Meta::new(path, entry.metadata().content_length())));
        }
        // A store that does not say in a list how long things are.
        let _admitted = self.admit(RequestKind::Head, 1, 0).await;
        match self.shared.operator.stat(path.as_str()).await {
            Ok(found) => Ok(Some(Meta::new(path, found.content_length()))),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("list", &path, &error)),
        }
    }
}

/// Operations are not limited, requests are: an upload is one operation for as long as it lasts.
const OPERATIONS_MAX: usize = 1 << 20;

/// Names in a page of a list, at Amazon; others give up to five times as many.
const PAGE: usize = 1000;

/// What a failure means where the request was answered, or can be sent again without harm.
fn error_kind(error: &opendal::Error) -> ErrorKind {
    use opendal::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::AlreadyExists | Kind::ConditionNotMatch => ErrorKind::AlreadyExists,
        Kind::PermissionDenied => ErrorKind::PermissionDenied,
        Kind::Unsupported => ErrorKind::Unsupported,
        Kind::ConfigInvalid => ErrorKind::InvalidInput,
        Kind::RangeNotSatisfied => ErrorKind::UnexpectedEof,
        _ => ErrorKind::Io,
    }
}

#[async_trait]
impl Backend for Objects {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(false, false, true).without_objects_that_stay().of_a_remote_store()
    }

    fn location(&self) -> String {
        self.shared.location.clone()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        Err(Error::new(ErrorKind::Unsupported, "lock", self.location(), "object stores have no lock"))
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        let limit = self.shared.options.request_timeout + Duration::from_secs(data.len() as u64 >> 20);
        let create = async {
            // Time that it waits here is none that the store takes.
            let _admitted = self.admit(RequestKind::Put, 1, data.len() as u64).await;
            match tokio::time::timeout(limit, self.put(path, data)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    // A conflict is another request for the name that is under way: it may fail, so the name may stay
                    // free.
                    let kind = match error_kind(&error) {
                        ErrorKind::Io => ErrorKind::Unknown,
                        kind => kind,
                    };
                    Err(self.shared.secrets.error(kind, "create", path, &error))
                }
                Err(_) => Err(Error::new(ErrorKind::Unknown, "create", path, format!("no answer within {limit:?}"))),
            }
        };
        self.shared.runtime.run(create).await
    }

    async fn adopt(&self, _path: &Path, _shared: &Shared) -> Result<bool> {
        Ok(false)
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        Ok(Box::new(self.shared.runtime.run(Upload::begin(self, path)).await?))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        Err(Error::new(ErrorKind::Unsupported, "append", path, "objects do not grow"))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.shared.runtime.run(Open::find(self, path)).await?))
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(Open::known(self, path, len)))
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        let read = async {
            let _admitted = self.admit(RequestKind::Get, 1, 0).await;
            let read = self.shared.operator.read(path.as_str()).await;
            let bytes = read.as_ref().map_or(0, |bytes| bytes.len() as u64);
            self.count(RequestKind::Get, 0, bytes);
            self.limiter.owe(bytes);
            read.map(io::owned).map_err(|error| self.failed("read", path, &error))
        };
        self.shared.runtime.run(read).await
    }

    fn traffic(&self) -> Traffic {
        self.shared.counters.read()
    }

    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        Some(Arc::new(Objects { shared: self.shared.clone(), purpose, limiter: limiter.clone() }))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        let failed = |error| self.failed("look for", path, &error);
        let look = async {
            let _admitted = self.admit(RequestKind::Head, 1, 0).await;
            self.shared.operator.exists(path.as_str()).await.map_err(failed)
        };
        self.shared.runtime.run(look).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let folder = folder.to_owned();
        let prefix = match &*folder {
            "" => "/".to_owned(),
            // Only what can be the folder of a path is looked for; there is nothing in another.
            name if Path::new(name).is_ok() => format!("{name}/"),
            _ => return stream::empty().boxed(),
        };
        let listed = async move {
            let lister = self.shared.operator.lister_with(&prefix).recursive(true).await;
            let place = format!("{}{}", self.shared.location, folder);
            let failed = move |error: opendal::Error| self.failed("list", &place, &error);
            match lister {
                Ok(lister) => self
                    .entries(lister)
                    .map_err(failed)
                    .try_filter_map(move |entry| {
                        let folder = folder.clone();
                        async move { self.meta(&folder, entry).await }
                    })
                    .boxed(),
                Err(error) if error.kind() == opendal::ErrorKind::NotFound => stream::empty().boxed(),
                Err(error) => stream::iter([Err(failed(error))]).boxed(),
            }
        };
        self.shared.runtime.stream(stream::once(listed).flatten().boxed()).boxed()
    }

    async fn foreign(&self) -> Result<Option<String>> {
        let failed = |error: opendal::Error| self.failed("list", self.location(), &error);
        let look = async {
            let _admitted = self.admit(RequestKind::List, 1, 0).await;
            let mut lister = self.shared.operator.lister_with("/").recursive(true).await.map_err(failed)?;
            while let Some(entry) = lister.try_next().await.map_err(failed)? {
                let name = entry.path();
                // Consoles make an empty object to show a folder: it says nothing.
                if !name.is_empty() && !name.ends_with('/') {
                    return Ok(Path::new(name).is_err().then(|| name.to_owned()));
                }
            }
            Ok(None)
        };
        self.shared.runtime.run(look).await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        let delete = async {
            let _admitted = self.admit(RequestKind::Delete, 1, 0).await;
            match self.shared.operator.delete(path.as_str()).await {
                Err(error) if error.kind() != opendal::ErrorKind::NotFound => Err(self.failed("delete", path, &error)),
                _ => Ok(()),
            }
        };
        self.shared.runtime.run(delete).await
    }
}

/// The location says where, the options how; the operator's own configuration may hold a secret.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Store { location, options, .. } = &*self.shared;
        let mut shown = f.debug_struct("Objects");
        shown.field("location", location).field("options", options).field("purpose", &self.purpose);
        shown.finish_non_exhaustive()
    }
}
