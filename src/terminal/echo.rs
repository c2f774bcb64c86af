//! A terminal that does not show what is typed, while that is a passphrase.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcdrain, tcgetattr, tcsetattr,
};

use super::place::is_in_the_foreground;

/// A terminal without echo; when this is dropped, it is as it was before.
pub(super) struct Quiet<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
    /// Kept to the end: a job in the background must not restore the settings either.
    _stopped: StoppedInBackground,
}

impl<'a> Quiet<'a> {
    /// Stops a process in the background until it is in the foreground, and only then looks at the
    /// terminal: the settings that the shell makes meanwhile are not those to restore.
    pub fn new(terminal: BorrowedFd<'a>) -> nix::Result<Self> {
        let stopped = StoppedInBackground::begin()?;
        // This changes nothing, but stops the process as any change would.
        tcdrain(terminal)?;
        // A process that ignores the stopping signals would switch off the echo of the shell.
        if !is_in_the_foreground(terminal) {
            return Err(Errno::EIO);
        }
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        quiet
            .local_flags
            .insert(LocalFlags::ICANON | LocalFlags::ISIG);
        // A process that Ctrl-Z stops here would leave the shell without echo.
        quiet.control_chars[SpecialCharacterIndices::VSUSP as usize] = libc::_POSIX_VDISABLE;
        // Flush: text typed before the question is no answer to it.
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self {
            terminal,
            before,
            _stopped: stopped,
        })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before) {
            log::warn!("the terminal's echo cannot be switched on again: {errno}");
        }
    }
}

/// Unblocks, for this thread, the signals with which the kernel stops a process that uses the terminal
/// from the background. A run has them blocked, and then the kernel would let it change the terminal.
struct StoppedInBackground {
    before: SigSet,
}

impl StoppedInBackground {
    fn begin() -> nix::Result<Self> {
        let before = SigSet::thread_get_mask()?;
        SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU]).thread_unblock()?;
        Ok(Self { before })
    }
}

impl Drop for StoppedInBackground {
    fn drop(&mut self) {
        if let Err(errno) = self.before.thread_set_mask() {
            log::warn!("the signal mask cannot be restored: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nix::pty::openpty;

    use super::*;

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let pty = openpty(None, None).unwrap();
        let terminal = pty.slave.as_fd();
        let before = tcgetattr(terminal).unwrap();
        catch_unwind(AssertUnwindSafe(|| {
            let _quiet = Quiet::new(terminal).unwrap();
            assert_ne!(tcgetattr(terminal).unwrap(), before);
            panic!("while a passphrase is typed");
        }))
        .unwrap_err();
        assert_eq!(tcgetattr(terminal).unwrap(), before);
    }
}
