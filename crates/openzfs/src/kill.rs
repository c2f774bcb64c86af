//! Threads of a killed process that do not notice it.
//!
//! ZFS starts threads of the kernel for a receive, a send, an import and the search before it. If the
//! process is killed just then (by SIGKILL; for all but one of its threads, any other end of it has the
//! same effect), `spl_kthread_create` clears the thread's mark of pending signals (`TIF_SIGPENDING`)
//! and tries again. The signal stays pending, but from then on
//!
//! - no wait in the kernel ends because of it: the thread waits at its end of a pipe for as long as
//!   the other end is open, which is why [`SoleWriter`](super::writer::SoleWriter) exists;
//! - back from the kernel the thread runs on, without the other threads that it counts on, until
//!   the kernel looks at its signals again, which [`end_if_killed`] makes it do.

use nix::sys::signal::{SigSet, Signal};

/// Ends the thread if its process was killed during a call that may start threads of the kernel.
///
/// The kernel looks again at pending signals when a thread changes which signals it blocks. The
/// signal chosen here means nothing to this process, and is ignored by default.
pub(super) fn end_if_killed() {
    let Ok(blocked) = SigSet::thread_get_mask() else {
        return;
    };
    let mut other = blocked;
    if blocked.contains(Signal::SIGURG) {
        other.remove(Signal::SIGURG);
    } else {
        other.add(Signal::SIGURG);
    }
    // Neither fails: both masks are valid.
    let _ = other.thread_set_mask();
    let _ = blocked.thread_set_mask();
}
