//! Reading an answer, in a way that a signal can end.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What came back from the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A line, without its newline.
    Line(String),
    /// Nobody answers: end of input, or the run is to end.
    Nobody,
}

/// Waits for a line on `input`. Ends with [`Heard::Nobody`] as soon as `interrupt` becomes readable:
/// the run takes its signals from a descriptor, so that Ctrl-C does not end a plain read.
pub(super) fn hear(input: BorrowedFd, interrupt: Option<BorrowedFd>) -> io::Result<Heard> {
    let mut line = Vec::new();
    loop {
        if !wait_for_input(input, interrupt)? {
            return Ok(Heard::Nobody);
        }
        // One byte at a time: what follows the newline is the answer to another question.
        let mut byte = [0];
        match nix::unistd::read(input, &mut byte) {
            // The end of a file or pipe, or a terminal that was hung up.
            Ok(0) | Err(Errno::EIO) => return Ok(Heard::Nobody),
            Ok(_) if byte == *b"\n" => {
                return Ok(Heard::Line(String::from_utf8_lossy(&line).into_owned()));
            }
            Ok(_) => line.extend(byte),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// True where a read would not wait.
pub(super) fn is_readable(fd: BorrowedFd) -> bool {
    let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// False where `interrupt` came first.
fn wait_for_input(input: BorrowedFd, interrupt: Option<BorrowedFd>) -> io::Result<bool> {
    let mut watched = vec![PollFd::new(input, PollFlags::POLLIN)];
    watched.extend(interrupt.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => {
                let interrupted = watched.get(1).and_then(PollFd::any) == Some(true);
                return Ok(!interrupted);
            }
        }
    }
}

/// The meaning of an answer to a yes-or-no question; `None` where it has none.
pub(super) fn meaning(answer: &str, default: bool) -> Option<bool> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "" => Some(default),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn line(text: &str) -> Heard {
        Heard::Line(text.into())
    }

    #[test]
    fn each_question_takes_one_line() {
        let (input, keyboard) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&keyboard, b"yes\nno\nhalf").unwrap();
        drop(keyboard);
        assert_eq!(hear(input.as_fd(), None).unwrap(), line("yes"));
        assert_eq!(hear(input.as_fd(), None).unwrap(), line("no"));
        // A line that was not finished is no answer.
        assert_eq!(hear(input.as_fd(), None).unwrap(), Heard::Nobody);
    }

    #[test]
    fn an_interrupt_ends_the_wait_even_with_input_there() {
        let (input, keyboard) = nix::unistd::pipe().unwrap();
        let (interrupt, signal) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&signal, b"!").unwrap();
        nix::unistd::write(&keyboard, b"yes\n").unwrap();
        let interrupt = Some(interrupt.as_fd());
        assert_eq!(hear(input.as_fd(), interrupt).unwrap(), Heard::Nobody);
        assert_eq!(hear(input.as_fd(), None).unwrap(), line("yes"));
        assert_eq!(hear(input.as_fd(), interrupt).unwrap(), Heard::Nobody);
    }

    #[test]
    fn answers_mean_yes_no_or_nothing() {
        assert_eq!(meaning("Yes", false), Some(true));
        assert_eq!(meaning(" n ", true), Some(false));
        assert_eq!(meaning("", true), Some(true));
        assert_eq!(meaning("", false), Some(false));
        assert_eq!(meaning("yess", true), None);
    }
}
