//! The runtime of a store: requests, and the time that they may take, need one wherever they are polled.
//!
//! Whoever asks may do so outside of any runtime, or be polled there. Then that counts in which the store was made, or first
//! used.

use crate::{Error, ErrorKind, Result};
use futures::Stream;
use futures::stream::{BoxStream, poll_fn};
use std::future::Future;
use std::sync::OnceLock;
use std::task::Poll;
use tokio::runtime::{EnterGuard, Handle};

#[derive(Default)]
pub(super) struct Runtime(OnceLock<Handle>);

impl Runtime {
    /// That in which this is called, if it is one.
    pub(super) fn new() -> Runtime {
        let runtime = Runtime::default();
        // Without one, there may be one later.
        let _ = runtime.enter();
        runtime
    }

    /// Makes the runtime the current one, unless there is one already.
    fn enter(&self) -> Result<Option<EnterGuard<'_>>> {
        match Handle::try_current() {
            Ok(current) => {
                self.0.get_or_init(|| current);
                Ok(None)
            }
            Err(_) => self.0.get().map(|runtime| Some(runtime.enter())).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "ask", "an object store", "no tokio runtime: use it inside one")
            }),
        }
    }

    /// What `work` comes to, polled inside the runtime.
    pub(super) async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| match self.enter() {
            Ok(_inside) => work.as_mut().poll(cx),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// What `items` gives, polled inside the runtime.
    pub(super) fn stream<'a, T: 'a>(
        &'a self,
        mut items: BoxStream<'a, Result<T>>,
    ) -> impl Stream<Item = Result<T>> + 'a {
        poll_fn(move |cx| match self.enter() {
            Ok(_inside) => items.as_mut().poll_next(cx),
            Err(error) => Poll::Ready(Some(Err(error))),
        })
    }
}
