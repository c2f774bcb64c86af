//! Ending a send that waits in the kernel.

use std::sync::Once;

use nix::sys::signal::{SigSet, Signal};

/// The signal that wakes a thread. Nothing else in this process uses it.
const SIGNAL: Signal = Signal::SIGUSR1;

/// A way to interrupt the system call of the thread that made this.
///
/// A send that is interrupted ends with [`ErrorKind::Interrupted`](super::ErrorKind::Interrupted).
/// The handler is installed without `SA_RESTART`: otherwise the kernel would restart the ioctl on a
/// half-written stream.
#[derive(Debug)]
pub(crate) struct ThreadWaker {
    process: libc::pid_t,
    thread: libc::pid_t,
}

impl ThreadWaker {
    /// A waker of the calling thread. It must be dropped before that thread ends: the kernel may
    /// give the number to another thread afterwards.
    #[doc(alias = "sigaction")]
    pub fn this_thread() -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install_handler);
        // The parent process may have blocked it, and a blocked signal is inherited.
        if let Err(errno) = SigSet::from(SIGNAL).thread_unblock() {
            log::warn!("{SIGNAL} stays blocked, so that a send cannot be interrupted: {errno}");
        }
        // SAFETY: neither call has arguments or can fail.
        let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
        Self { process, thread }
    }

    /// Interrupts the thread's system call. Does nothing if it is in none: then call it again.
    #[doc(alias = "tgkill")]
    pub fn wake(&self) {
        // SAFETY: plain numbers; a thread that is gone makes it fail with ESRCH, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                self.process,
                self.thread,
                SIGNAL as libc::c_int,
            )
        };
    }
}

fn install_handler() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: an all-zero sigaction has no flags and an empty mask; the handler touches nothing, so
    // it may run at any point of any thread.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(
            SIGNAL as libc::c_int,
            &raw const action,
            std::ptr::null_mut(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_read_that_waits_is_interrupted() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let (sender, receiver) = mpsc::channel();
        let blocked = std::thread::spawn(move || {
            SigSet::from(SIGNAL).thread_block().unwrap();
            sender.send(ThreadWaker::this_thread()).unwrap();
            let mut byte = 0_u8;
            // SAFETY: one byte to write to, which is there.
            let length = unsafe { libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1) };
            (length, std::io::Error::last_os_error().raw_os_error())
        });
        let waker = receiver.recv().unwrap();
        while !blocked.is_finished() {
            waker.wake();
            std::thread::yield_now();
        }
        assert_eq!(blocked.join().unwrap(), (-1, Some(libc::EINTR)));
    }
}
