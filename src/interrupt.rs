//! Ctrl-C, `Ctrl-\`, SIGTERM and SIGHUP, turned into something that a run can check between two steps.
//!
//! The signals are blocked in every thread and read from a signalfd. A handler would interrupt
//! (and with `SA_RESTART` restart, on a half-used stream) the ioctls that send and receive. So would
//! Ctrl-Z: the kernel restarts system calls of a process that was stopped and continued.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// The signals that end a run in an orderly way.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
];

/// The terminal's signals that would stop the process: they stay blocked and are never read.
const STOPPING: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Tells whether the user, or the system, has asked this process to end.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    caught: AtomicI32,
}

impl Interrupt {
    /// Blocks the ending and stopping signals for this thread and all threads that it starts: call it before
    /// any thread exists. A signal that was ignored when the process started (`nohup`) stays ignored.
    pub fn install() -> io::Result<Self> {
        let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status")?);
        let mut set = SigSet::empty();
        for signal in ENDING
            .into_iter()
            .filter(|&signal| ignored & (1 << (signal as u32 - 1)) == 0)
        {
            set.add(signal);
        }
        let blocked = set.into_iter().chain(STOPPING).collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            signals,
            caught: AtomicI32::new(0),
        })
    }

    /// The first ending signal that has arrived.
    pub fn caught(&self) -> Option<i32> {
        let known = self.caught.load(Ordering::Relaxed);
        if known != 0 {
            return Some(known);
        }
        let number = i32::try_from(self.signals.read_signal().ok()??.ssi_signo).ok()?;
        let first = self
            .caught
            .compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        // Sent again to this process, the signal stays pending, so the descriptor stays readable.
        if let Ok(signal) = Signal::try_from(number) {
            let _ = kill(Pid::this(), signal);
        }
        Some(first.err().unwrap_or(number))
    }
}

/// Becomes readable when a signal arrives, and stays so.
impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// The mask of ignored signals in the text of `/proc/self/status`; bit 0 is signal 1.
fn ignored_signals(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen() {
        let status = "Name:\tzbackup\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_signals(status) & 1, 1, "SIGHUP is signal 1");
        assert_eq!(ignored_signals(status) & 2, 0, "SIGINT is not ignored");
        assert_eq!(ignored_signals(""), 0);
    }
}
