//! Starting threads where there may be none to be had.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::fault;

/// Starts a thread of `scope`, as [`Scope::spawn`] does, which would panic where the system has no
/// thread left.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    fault::at("pthread_create").map_err(io::Error::other)?;
    Builder::new().spawn_scoped(scope, work)
}
