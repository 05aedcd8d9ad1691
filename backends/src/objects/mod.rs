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

use crate::traffic::{Counters, Purpose, RequestKind};
use crate::{
    Appender, Backend, Capabilities, Error, ErrorKind, Lock, Meta, Object, Path, Result, Shared, Traffic, Uploader,
    in_folder,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use io::{Open, Upload};
use opendal::layers::{ConcurrentLimitLayer, RetryEvent, RetryLayer, TimeoutLayer};
use opendal::{Entry, Operator};
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
    /// Parts of one object that are sent at once, and so how much memory an upload takes. Default: 3.
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
pub struct Objects(Arc<Store>);

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
        Objects(Arc::new(Store { operator, once, options, location, secrets, counters, runtime }))
    }

    fn count(&self, kind: RequestKind, path: &Path, bytes: u64) {
        self.0.counters.add(kind, path, bytes);
    }

    fn failed(&self, op: &'static str, path: impl fmt::Display, error: &opendal::Error) -> Error {
        self.0.secrets.error(error_kind(error), op, path, error)
    }

    /// Writes `path` if nothing is there, in one request.
    async fn put(&self, path: &Path, data: Bytes) -> opendal::Result<()> {
        let once = &self.0.once;
        let conditional = once.info().capability().write_with_if_not_exists;
        if !conditional {
            self.count(RequestKind::Head, path, 0);
            if once.exists(path.as_str()).await? {
                return Err(opendal::Error::new(opendal::ErrorKind::AlreadyExists, "the name is taken"));
            }
        }
        self.count(RequestKind::Put, path, data.len() as u64);
        once.write_with(path.as_str(), data).if_not_exists(conditional).await.map(drop)
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
        self.count(RequestKind::Head, &path, 0);
        match self.0.operator.stat(path.as_str()).await {
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
        self.0.location.clone()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        Err(Error::new(ErrorKind::Unsupported, "lock", self.location(), "object stores have no lock"))
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        let limit = self.0.options.request_timeout + Duration::from_secs(data.len() as u64 >> 20);
        let create = async {
            match tokio::time::timeout(limit, self.put(path, data)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    // A conflict is another request for the name that is under way: it may fail, so the name may stay
                    // free.
                    let kind = match error_kind(&error) {
                        ErrorKind::Io => ErrorKind::Unknown,
                        kind => kind,
                    };
                    Err(self.0.secrets.error(kind, "create", path, &error))
                }
                Err(_) => Err(Error::new(ErrorKind::Unknown, "create", path, format!("no answer within {limit:?}"))),
            }
        };
        self.0.runtime.run(create).await
    }

    async fn adopt(&self, _path: &Path, _shared: &Shared) -> Result<bool> {
        Ok(false)
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        Ok(Box::new(self.0.runtime.run(Upload::begin(self, path)).await?))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        Err(Error::new(ErrorKind::Unsupported, "append", path, "objects do not grow"))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(self.0.runtime.run(Open::find(self, path)).await?))
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(Open::known(self, path, len)))
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        let read = async {
            let read = self.0.operator.read(path.as_str()).await;
            self.count(RequestKind::Get, path, read.as_ref().map_or(0, |bytes| bytes.len() as u64));
            read.map(|bytes| bytes.to_bytes()).map_err(|error| self.failed("read", path, &error))
        };
        self.0.runtime.run(read).await
    }

    fn traffic(&self) -> Traffic {
        self.0.counters.read()
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.count(RequestKind::Head, path, 0);
        let failed = |error| self.failed("look for", path, &error);
        let looked = async { self.0.operator.exists(path.as_str()).await.map_err(failed) };
        self.0.runtime.run(looked).await
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
            let purpose = Purpose::of(&folder);
            self.0.counters.add_for(RequestKind::List, purpose, 1, 0);
            let lister = self.0.operator.lister_with(&prefix).recursive(true).await;
            let place = format!("{}{}", self.0.location, folder);
            let failed = move |error: opendal::Error| self.failed("list", &place, &error);
            match lister {
                Ok(lister) => lister
                    .map_err(failed)
                    .enumerate()
                    .map(move |(number, entry)| {
                        if number > 0 && number % PAGE == 0 {
                            self.0.counters.add_for(RequestKind::List, purpose, 1, 0);
                        }
                        entry
                    })
                    .try_filter_map(move |entry| {
                        let folder = folder.clone();
                        async move { self.meta(&folder, entry).await }
                    })
                    .boxed(),
                Err(error) if error.kind() == opendal::ErrorKind::NotFound => stream::empty().boxed(),
                Err(error) => stream::iter([Err(failed(error))]).boxed(),
            }
        };
        self.0.runtime.stream(stream::once(listed).flatten().boxed()).boxed()
    }

    async fn foreign(&self) -> Result<Option<String>> {
        let failed = |error: opendal::Error| self.failed("list", self.location(), &error);
        self.0.counters.add_for(RequestKind::List, Purpose::Other, 1, 0);
        let look = async {
            let mut lister = self.0.operator.lister_with("/").recursive(true).await.map_err(failed)?;
            while let Some(entry) = lister.try_next().await.map_err(failed)? {
                let name = entry.path();
                // Consoles make an empty object to show a folder: it says nothing.
                if !name.is_empty() && !name.ends_with('/') {
                    return Ok(Path::new(name).is_err().then(|| name.to_owned()));
                }
            }
            Ok(None)
        };
        self.0.runtime.run(look).await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.count(RequestKind::Delete, path, 0);
        let delete = async {
            match self.0.operator.delete(path.as_str()).await {
                Err(error) if error.kind() != opendal::ErrorKind::NotFound => Err(self.failed("delete", path, &error)),
                _ => Ok(()),
            }
        };
        self.0.runtime.run(delete).await
    }
}

/// The location says where, the options how; the operator's own configuration may hold a secret.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Store { location, options, .. } = &*self.0;
        f.debug_struct("Objects").field("location", location).field("options", options).finish_non_exhaustive()
    }
}
