//! Asks for a passphrase on the terminal, and leaves the terminal as it was.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::{Pid, read};
use zeroize::Zeroizing;

use super::error::{Error, ErrorKind};
use super::passphrase::MAX_PASSPHRASE_BYTES;
use crate::text::visible;

const TERMINAL: &str = "/dev/tty";

/// Signals that would end the process while the echo is off.
const ENDING_SIGNALS: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// Shows `prompt` and reads one line with echo off.
///
/// A signal that would end the process is held back until the echo is on again and then sent on:
/// it kills the process, or reaches the handler or signalfd of whoever has set one up. That works
/// where the other threads, if any, block those signals too.
pub(super) fn read_line(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(TERMINAL)
        .map_err(|error| Error::from_io(ErrorKind::NoTerminal, "open", TERMINAL, &error))?;
    let signals = HeldSignals::hold().map_err(|errno| failed("signalfd", errno))?;
    let (answer, signal) = {
        let quiet = QuietTerminal::new(&terminal).map_err(|errno| failed("tcsetattr", errno))?;
        (ask(quiet.terminal, prompt, &signals), signals.pending())
    };
    // The echo is on again here: now the signal may have its way.
    drop(signals);
    if let Some(signal) = signal {
        kill(Pid::this(), signal).map_err(|errno| failed("kill", errno))?;
    }
    answer
}

fn failed(call: &'static str, errno: Errno) -> Error {
    Error::from_io(ErrorKind::NoTerminal, call, TERMINAL, &errno.into())
}

fn interrupted(why: &str) -> Error {
    Error::refused(ErrorKind::Interrupted, "read", TERMINAL, why)
}

/// Prompt, answer, and the newline that the terminal did not echo.
fn ask(terminal: &File, prompt: &str, signals: &HeldSignals) -> Result<Zeroizing<Vec<u8>>, Error> {
    say(terminal, &visible(prompt))?;
    let answer = read_answer(terminal, signals);
    say(terminal, "\n")?;
    answer
}

fn say(mut terminal: &File, text: &str) -> Result<(), Error> {
    terminal
        .write_all(text.as_bytes())
        .map_err(|error| Error::from_io(ErrorKind::NoTerminal, "write", TERMINAL, &error))
}

/// One line in one buffer of fixed size: a growing one would leave copies of the secret behind.
fn read_answer(terminal: &File, signals: &HeldSignals) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut line = Zeroizing::new(vec![0; MAX_PASSPHRASE_BYTES + 1]);
    let mut length_bytes = 0;
    loop {
        if signals
            .wait_for_input(terminal)
            .map_err(|errno| failed("poll", errno))?
        {
            return Err(interrupted("a signal came"));
        }
        match read(terminal.as_fd(), &mut line[length_bytes..]) {
            Ok(0) => return Err(interrupted("the input ended")),
            Ok(count_bytes) => length_bytes += count_bytes,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed("read", errno)),
        }
        if line[length_bytes - 1] == b'\n' {
            line.truncate(length_bytes - 1);
            return Ok(line);
        }
        if length_bytes == line.len() {
            return Err(Error::refused(
                ErrorKind::WrongPassphrase,
                "read",
                TERMINAL,
                format!("a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes"),
            ));
        }
    }
}

/// The terminal without echo; dropped, with its old settings.
struct QuietTerminal<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> QuietTerminal<'a> {
    fn new(terminal: &'a File) -> nix::Result<Self> {
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
        // Flush: what was typed before the question is no answer to it.
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for QuietTerminal<'_> {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before) {
            log::warn!("the terminal's echo cannot be switched on again: {errno}");
        }
    }
}

/// With these the kernel stops whoever asks from the background, until it is in the foreground.
const BACKGROUND_SIGNALS: [Signal; 2] = [Signal::SIGTTIN, Signal::SIGTTOU];

/// Blocks the ending signals in this thread and lets them be awaited; dropped, as before.
///
/// The signals that stop a process in the background are let through: where they are blocked, it
/// would switch off the echo of the shell that has the terminal.
struct HeldSignals {
    signals: SignalFd,
    before: SigSet,
}

impl HeldSignals {
    fn hold() -> nix::Result<Self> {
        let ending = SigSet::from_iter(ENDING_SIGNALS);
        let signals =
            SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let before = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        SigSet::from_iter(BACKGROUND_SIGNALS).thread_unblock()?;
        Ok(Self { signals, before })
    }

    /// Waits until there is something to read (false) or an ending signal has come (true).
    fn wait_for_input(&self, terminal: &File) -> nix::Result<bool> {
        let mut ready = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(terminal.as_fd(), PollFlags::POLLIN),
        ];
        while let Err(errno) = poll(&mut ready, PollTimeout::NONE) {
            if errno != Errno::EINTR {
                return Err(errno);
            }
        }
        Ok(ready[0].any() == Some(true))
    }

    /// The signal that came in the meantime, taken off the queue.
    fn pending(&self) -> Option<Signal> {
        let info = self.signals.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok())
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if let Err(errno) = self.before.thread_set_mask() {
            log::warn!("the signal mask cannot be restored: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    //! Each test forks a child onto a pseudo-terminal, answers its question like a person would,
    //! and looks at what the terminal showed, how it was left, and how the child ended.

    use super::*;
    use nix::pty::{ForkptyResult, forkpty};
    use nix::sys::signal::{SigHandler, signal};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::io::Read;

    const PROMPT: &str = "Passphrase: ";

    /// How a child that was asked in this way ended, and what the terminal showed after the prompt.
    fn session(child: fn() -> i32, typed: &[u8]) -> (WaitStatus, String) {
        // SAFETY: the child runs only `child`, which takes no lock that a thread of the parent may
        // hold (malloc's are made good by glibc's fork), and leaves through _exit.
        let (pid, master) = match unsafe { forkpty(None, None) }.unwrap() {
            // SAFETY: _exit(2) is safe everywhere; nothing of the parent's is run down twice.
            ForkptyResult::Child => unsafe { libc::_exit(child()) },
            ForkptyResult::Parent { child, master } => (child, File::from(master)),
        };
        let mut shown = String::new();
        show_until(&master, &mut shown, |shown| shown.ends_with(PROMPT));
        assert!(!echoes(&master), "the prompt is there, the echo still on");
        (&master).write_all(typed).unwrap();
        show_until(&master, &mut shown, |_| false);
        let status = waitpid(pid, None).unwrap();
        assert!(echoes(&master), "the terminal was left without echo");
        (status, shown[PROMPT.len()..].to_owned())
    }

    /// Reads what the terminal shows, until `done` or until the child has closed it (EIO).
    fn show_until(mut master: &File, shown: &mut String, done: impl Fn(&str) -> bool) {
        let mut byte = [0];
        while !done(shown) && matches!(master.read(&mut byte), Ok(1)) {
            shown.push(char::from(byte[0]));
        }
    }

    fn echoes(master: &File) -> bool {
        tcgetattr(master)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO)
    }

    fn answer_is(expected: &[u8]) -> i32 {
        match read_line(PROMPT) {
            Ok(answer) if *answer == expected => 0,
            Ok(_) => 1,
            Err(error) if error.kind == ErrorKind::Interrupted => 2,
            Err(_) => 3,
        }
    }

    fn with_default_interrupt() -> i32 {
        // SAFETY: the default action is no handler, so none can run at a bad moment.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
        answer_is(b"never typed")
    }

    /// Stands for a program that has blocked its signals to read them from a signalfd.
    fn with_blocked_interrupt() -> i32 {
        let interrupt = SigSet::from_iter([Signal::SIGINT]);
        interrupt.thread_block().unwrap();
        let ended = answer_is(b"never typed");
        let pending = SignalFd::with_flags(&interrupt, SfdFlags::SFD_NONBLOCK).unwrap();
        match pending.read_signal().unwrap() {
            Some(_) => ended,
            None => 4,
        }
    }

    #[test]
    fn reads_a_line_that_the_terminal_does_not_show() {
        let (status, shown) = session(|| answer_is(b"s3cret and more"), b"s3cret and more\n");
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
        assert_eq!(shown, "\r\n");
    }

    #[test]
    fn an_interrupt_kills_once_the_echo_is_back() {
        let (status, shown) = session(with_default_interrupt, b"s3c\x03");
        assert!(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGINT, _)),
            "{status:?}"
        );
        assert!(!shown.contains("s3c"), "{shown:?}");
    }

    #[test]
    fn a_blocked_interrupt_ends_the_question_and_stays_pending() {
        let (status, _) = session(with_blocked_interrupt, b"s3c\x03");
        assert!(matches!(status, WaitStatus::Exited(_, 2)), "{status:?}");
    }

    #[test]
    fn end_of_input_is_no_empty_passphrase() {
        let (status, _) = session(|| answer_is(b""), b"\x04");
        assert!(matches!(status, WaitStatus::Exited(_, 2)), "{status:?}");
    }
}
