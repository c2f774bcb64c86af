//! Interrupting transfers that run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::wake::ThreadWaker;

/// Whether transfers are to stop, and the sending threads to tell.
///
/// Only senders are interrupted: the receive then sees its stream end early, keeps what has arrived
/// under a resume token and returns on its own.
#[derive(Debug, Default)]
pub struct Cancel {
    requested: AtomicBool,
    next: AtomicU64,
    senders: Mutex<BTreeMap<u64, ThreadWaker>>,
}

/// Takes its thread off the list when the send is over.
pub(crate) struct Interruptible<'a> {
    cancel: &'a Cancel,
    number: u64,
}

impl Cancel {
    /// True once the run is to stop.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Registers the calling thread as a sender.
    pub(crate) fn interrupt_this_thread(&self) -> Interruptible<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, ThreadWaker::this_thread());
        Interruptible {
            cancel: self,
            number,
        }
    }

    /// Tells all running senders to stop. A sender that has not entered the kernel yet misses it:
    /// call this again until no stream runs.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
        self.wake_senders();
    }

    /// Interrupts the senders that are in the kernel, for whatever reason.
    pub fn wake_senders(&self) {
        // A thread cannot leave the list, and so cannot end, while the lock is held.
        for sender in self.lock().values() {
            sender.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, ThreadWaker>> {
        self.senders
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Interruptible<'_> {
    fn drop(&mut self) {
        self.cancel.lock().remove(&self.number);
    }
}
