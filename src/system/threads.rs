//! Starts threads, and reports it if the system has none left.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use openzfs::fault;

/// Starts a thread of `scope`, like [`Scope::spawn`], which would panic if the system has no thread
/// left. `top -H` and debuggers show it by its name, of at most 15 characters.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    builder(name)?.spawn_scoped(scope, work)
}

/// The same for a thread that may wait for ever: nothing joins it.
pub(crate) fn spawn_alone(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    builder(name)?.spawn(work).map(drop)
}

fn builder(name: &str) -> io::Result<Builder> {
    fault::at(&format!("thread-{name}")).map_err(io::Error::other)?;
    Ok(Builder::new().name(name.to_owned()))
}
