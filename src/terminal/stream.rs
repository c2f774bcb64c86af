//! The streams themselves. Nothing else in the program writes to them, and they only accept [`Text`].

#![allow(clippy::disallowed_methods)] // what everybody else has to come here for

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use crate::error::words_of_panic;
use crate::text::{Text, visible_json};

/// Writes lines to stderr.
pub fn tell(text: &Text) {
    write(io::stderr().lock(), &text.ended());
}

/// Writes lines to a terminal that was opened for them.
pub(super) fn tell_on(terminal: &File, text: &Text) {
    write(terminal, &text.ended());
}

/// Writes a question to stderr; the answer follows its last line.
pub(super) fn ask(question: &Text) {
    write(io::stderr().lock(), &format!("{question} "));
}

/// Writes a question to a terminal that was opened for it.
pub(super) fn ask_on(terminal: &File, question: &Text) {
    write(terminal, &format!("{question} "));
}

/// If nothing can be written, nobody is left to read or answer: the error is ignored.
fn write(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(text.as_bytes());
}

/// Writes lines to stdout.
pub(super) fn show(text: &Text) -> io::Result<()> {
    write_stdout(&text.ended())
}

/// Writes a JSON document to stdout.
pub(super) fn show_json(document: &str) -> io::Result<()> {
    write_stdout(&visible_json(document))
}

/// Writes to stdout. A reader that has seen enough (`zbackup status | head`) is no error.
fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// True if somebody may be looking at stderr.
pub(super) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// True if somebody may be looking at stdout.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal on stdout; `None` if stdout is no terminal.
pub(super) fn stdout_columns() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout
        .is_terminal()
        .then(|| terminal_size::terminal_size_of(stdout.as_fd()))
        .flatten();
    size.map(|(width, _)| usize::from(width.0))
}

/// Shows panics as [`Text`], since their messages may also contain a name from the disk.
pub fn show_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let why = words_of_panic(panic.payload());
        let mut text = Text::from(format!("thread '{name}' panicked at {place}: {why}"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text.append(Text::lines(backtrace.to_string().lines()));
        }
        tell(&text);
    }));
}
