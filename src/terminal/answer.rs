//! Reading an answer, which a signal can end.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

/// What came back from the user. It has no `Debug`, which would show a passphrase.
pub(super) enum Heard {
    /// A line, without its newline. Wiped from memory when it is dropped.
    Line(Zeroizing<Vec<u8>>),
    /// A line that is longer than any answer.
    TooLong,
    /// The input has ended, so nobody answers.
    Ended,
    /// The run is to end, so nothing waits for an answer.
    Interrupted,
}

/// Waits for a line on the terminal `input`. Ends with [`Heard::Interrupted`] as soon as `interrupt`
/// becomes readable: the run takes its signals from a descriptor, so that Ctrl-C does not end a plain read.
pub(super) fn hear(
    input: BorrowedFd,
    interrupt: Option<BorrowedFd>,
    max_bytes: usize,
) -> io::Result<Heard> {
    // In one buffer of fixed size: a growing one would leave copies of a passphrase behind.
    let mut line = Zeroizing::new(vec![0; max_bytes + b"\n".len()]);
    let (mut length_bytes, mut is_too_long) = (0, false);
    loop {
        if !wait_for_input(input, interrupt)? {
            return Ok(Heard::Interrupted);
        }
        // A terminal gives one line at a time, whatever has been typed ahead.
        let count_bytes = match nix::unistd::read(input, &mut line[length_bytes..]) {
            // The input has ended, or the terminal was hung up.
            Ok(0) | Err(Errno::EIO) => return Ok(Heard::Ended),
            Ok(count_bytes) => count_bytes,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let read = length_bytes..length_bytes + count_bytes;
        length_bytes = read.end;
        if let Some(end) = line[read.clone()].iter().position(|&byte| byte == b'\n') {
            line.truncate(read.start + end);
            return Ok(if is_too_long {
                Heard::TooLong
            } else {
                Heard::Line(line)
            });
        }
        // The rest of an overlong line is no answer to the next question.
        if length_bytes == line.len() {
            (length_bytes, is_too_long) = (0, true);
        }
    }
}

/// True if a read would not wait.
pub(super) fn is_readable(fd: BorrowedFd) -> bool {
    let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// False if `interrupt` came first.
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

/// The meaning of an answer to a yes-or-no question; `None` if it has none.
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
    use std::os::fd::{AsFd, OwnedFd};

    use nix::pty::{OpenptyResult, openpty};

    use super::*;

    /// A terminal, and the keyboard in front of it.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        (slave, master)
    }

    fn types(keyboard: &OwnedFd, typed: &[u8]) {
        assert_eq!(nix::unistd::write(keyboard, typed).unwrap(), typed.len());
    }

    /// The line that is heard, or the reason why there is none.
    fn heard(input: &OwnedFd, interrupt: Option<BorrowedFd>) -> Result<String, &'static str> {
        match hear(input.as_fd(), interrupt, 8).unwrap() {
            Heard::Line(line) => Ok(line.escape_ascii().to_string()),
            Heard::TooLong => Err("too long"),
            Heard::Ended => Err("ended"),
            Heard::Interrupted => Err("interrupted"),
        }
    }

    #[test]
    fn each_question_takes_one_line() {
        let (input, keyboard) = terminal();
        types(&keyboard, b"yes\n\nno\n\x04half\x04\x04");
        assert_eq!(heard(&input, None).as_deref(), Ok("yes"));
        assert_eq!(heard(&input, None).as_deref(), Ok(""));
        assert_eq!(heard(&input, None).as_deref(), Ok("no"));
        assert_eq!(heard(&input, None).as_deref(), Err(&"ended"));
        // An unfinished line is no answer.
        assert_eq!(heard(&input, None).as_deref(), Err(&"ended"));
    }

    #[test]
    fn a_line_is_what_stands_before_enter_in_whatever_pieces_it_comes() {
        let (input, keyboard) = terminal();
        types(&keyboard, b"\xff\xc3\x04 e\x04s\n");
        assert_eq!(heard(&input, None).as_deref(), Ok(r"\xff\xc3 es"));
    }

    #[test]
    fn of_a_line_that_is_too_long_nothing_is_an_answer() {
        let (input, keyboard) = terminal();
        types(&keyboard, b"12345678\n123456789\n123456789y\n");
        assert_eq!(heard(&input, None).as_deref(), Ok("12345678"));
        assert_eq!(heard(&input, None).as_deref(), Err(&"too long"));
        assert_eq!(heard(&input, None).as_deref(), Err(&"too long"));
        types(&keyboard, b"next\n");
        assert_eq!(heard(&input, None).as_deref(), Ok("next"));
    }

    #[test]
    fn an_interrupt_ends_the_wait_even_with_input_there() {
        let (input, keyboard) = terminal();
        let (interrupt, signal) = nix::unistd::pipe().unwrap();
        types(&signal, b"!");
        types(&keyboard, b"yes\n");
        let interrupt = Some(interrupt.as_fd());
        assert_eq!(heard(&input, interrupt).as_deref(), Err(&"interrupted"));
        assert_eq!(heard(&input, None).as_deref(), Ok("yes"));
        assert_eq!(heard(&input, interrupt).as_deref(), Err(&"interrupted"));
    }

    #[test]
    fn a_terminal_that_is_hung_up_answers_nothing() {
        let (input, keyboard) = terminal();
        drop(keyboard);
        assert_eq!(heard(&input, None).as_deref(), Err(&"ended"));
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
