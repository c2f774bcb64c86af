//! The place where a question is read and answered, wherever stdin, stdout and stderr lead.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::unistd::{getpgrp, tcgetpgrp};

use super::stream;
use crate::text::Text;

/// The terminal from which a process was started, whatever was redirected.
pub(super) const CONTROLLING: &str = "/dev/tty";

/// Who can be asked. This is determined once: a terminal that is hung up later does not count as absent.
#[derive(Debug)]
pub(super) enum Place {
    /// The person in front of stdin and stderr.
    Standard(io::Stdin),
    /// The person who started this: stdin or stderr leads elsewhere.
    Controlling(File),
    /// There is a terminal, but no way to ask on it.
    Unreachable,
    /// There is no terminal at all: a timer, a unit, another machine.
    Nowhere,
}

impl Place {
    pub fn find() -> Self {
        if on_terminal() {
            return Self::Standard(io::stdin());
        }
        let has_terminal = io::stdin().is_terminal()
            || stream::stdout_is_terminal()
            || stream::stderr_is_terminal();
        match controlling() {
            Ok(terminal) => Self::Controlling(terminal),
            Err(error) if !has_terminal && means_none(&error) => Self::Nowhere,
            Err(error) => {
                log::debug!("{CONTROLLING}: {error}");
                Self::Unreachable
            }
        }
    }

    /// Where answers come from; `None` if there are none.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Standard(stdin) => Some(stdin.as_fd()),
            Self::Controlling(terminal) => Some(terminal.as_fd()),
            Self::Unreachable | Self::Nowhere => None,
        }
    }

    /// True if what is typed reaches this process. In the background the shell gets it.
    pub fn is_in_the_foreground(&self) -> bool {
        self.input().is_some_and(is_in_the_foreground)
    }

    /// Shows `text` to the person who is asked.
    pub fn tell(&self, text: &Text) {
        match self {
            Self::Controlling(terminal) => stream::tell_on(terminal, text),
            _ => stream::tell(text),
        }
    }

    /// Shows `question`, and leaves room for the answer after it.
    pub fn ask(&self, question: &Text) {
        match self {
            Self::Controlling(terminal) => stream::ask_on(terminal, question),
            _ => stream::ask(question),
        }
    }
}

/// Opens the terminal from which zbackup was started.
pub(super) fn controlling() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(CONTROLLING)
}

/// True if what is typed on `terminal` reaches this process.
pub(super) fn is_in_the_foreground(terminal: BorrowedFd) -> bool {
    // A terminal that is not the controlling one has no foreground.
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

/// True if stdin and stderr are terminals: somebody sits there and watches.
pub(super) fn on_terminal() -> bool {
    io::stdin().is_terminal() && stream::stderr_is_terminal()
}

/// True for the kernel's answer if the process has no controlling terminal.
fn means_none(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENXIO | Errno::ENOENT | Errno::ENODEV))
}
