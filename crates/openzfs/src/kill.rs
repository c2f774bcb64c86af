//! Threads that were killed and do not know.
//!
//! ZFS starts threads of the kernel for a receive, a send, an import and the search before it. When the
//! process is killed (SIGKILL; for all but one of its threads also any other end of it) just then,
//! `spl_kthread_create` takes the thread's note of pending signals (`TIF_SIGPENDING`) off it, to try
//! again. The signal stays pending, but from then on
//!
//! - no wait in the kernel is broken off for it: the thread waits at its end of a pipe for as long as
//!   the other one is open, which is why [`SoleWriter`](super::writer::SoleWriter) is there;
//! - back from the kernel it runs on, alone and without the threads that it reckons with, until the
//!   kernel looks at its signals again: that is what [`end_if_killed`] is for.

use nix::sys::signal::{SigSet, Signal};

/// Ends the thread if its process was killed during a call that may start threads of the kernel.
///
/// The kernel looks again at what is pending when a thread changes which signals it blocks. This one
/// means nothing to this process, and its default is to be ignored.
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
