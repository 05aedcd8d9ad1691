//! Where blocking handles live: a runtime that ends after the last of them.

use super::host::Host;
use crate::Result;
use crate::core::Core;
use std::sync::Arc;

/// What all handles of one opening share, and drop last.
#[derive(Debug)]
pub(super) struct Home {
    /// Taken when the last handle goes.
    host: Option<Host>,
    /// Of a database, whose log is to be written before the runtime ends.
    core: Option<Arc<Core>>,
}

impl Home {
    /// Starts a runtime, and opens in it what is to live there. `core` tells what is to be waited for in the end.
    pub(super) fn start<T>(
        open: impl Future<Output = Result<T>>,
        core: impl FnOnce(&T) -> Option<Arc<Core>>,
    ) -> Result<(T, Arc<Home>)> {
        let mut home = Home { host: Some(Host::start()?), core: None };
        // Dropped where that fails: the runtime has nothing to wait for then.
        let opened = home.run(open)?;
        home.core = core(&opened);
        Ok((opened, Arc::new(home)))
    }

    /// Runs `call`, to which no database belongs that is open, in a runtime of its own.
    pub(super) fn run_alone<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
        Home::start(call, |_| None).map(|(answer, _home)| answer)
    }

    pub(super) fn host(&self) -> &Host {
        self.host.as_ref().expect("it runs until the last handle goes")
    }

    /// Runs a call to its end.
    #[inline]
    pub(super) fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.host().run(call)?
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(host) = self.host.take() else { return };
        match self.core.take() {
            None => host.end(Box::pin(std::future::ready(()))),
            // The store is let go once all is written, unless an async handle is left, whose runtime ends here.
            Some(core) => {
                core.log.want_write();
                host.end(Box::pin(async move { core.log.idle().await }));
            }
        }
    }
}
