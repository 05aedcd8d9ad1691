//! Handles on a database's backend, one for each purpose: what is asked of it counts for that, and keeps within its limit.
//!
//! A backend that counts nothing has one handle for all of them.

use crate::options::Limits;
use halite_backends::{Backend, Limiter, Purpose};
use std::sync::Arc;

/// See the [module](self). Clones are the same handles.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    /// As it was given.
    plain: Arc<dyn Backend>,
    told_apart: Option<Arc<[Arc<dyn Backend>; Purpose::ALL.len()]>>,
}

impl Stores {
    /// `backend`, within `limits`.
    pub(crate) fn new(backend: Arc<dyn Backend>, limits: &Limits) -> Stores {
        let mut limits = *limits;
        let mut limiter = |purpose| limits.of_mut(purpose).map_or_else(Limiter::default, |limit| Limiter::new(*limit));
        let handle = |purpose| backend.for_purpose(purpose, &limiter(purpose));
        let handles: Option<Vec<_>> = Purpose::ALL.into_iter().map(handle).collect();
        let told_apart = handles.and_then(|handles| handles.try_into().ok()).map(Arc::new);
        Stores { plain: backend, told_apart }
    }

    /// `backend`, used for one purpose whatever that is said to be.
    pub(crate) fn untold(backend: Arc<dyn Backend>) -> Stores {
        Stores { plain: backend, told_apart: None }
    }

    /// The backend, for `purpose`.
    pub(crate) fn of(&self, purpose: Purpose) -> &dyn Backend {
        &**self.told_apart(purpose).unwrap_or(&self.plain)
    }

    /// The same, shared.
    pub(crate) fn shared(&self, purpose: Purpose) -> Arc<dyn Backend> {
        self.told_apart(purpose).unwrap_or(&self.plain).clone()
    }

    /// The same, where that is another handle than for other purposes.
    pub(crate) fn told_apart(&self, purpose: Purpose) -> Option<&Arc<dyn Backend>> {
        self.told_apart.as_ref().map(|handles| &handles[purpose as usize])
    }

    /// As it was given.
    pub(crate) fn plain(&self) -> &Arc<dyn Backend> {
        &self.plain
    }
}

/// `backend`, as it is used for one purpose alone, without a limit.
pub(crate) fn for_one(backend: Arc<dyn Backend>, purpose: Purpose) -> Arc<dyn Backend> {
    backend.for_purpose(purpose, &Limiter::default()).unwrap_or(backend)
}
