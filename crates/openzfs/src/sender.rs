//! A send on a thread of its own, while this thread reads from its pipe.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread::{self, Builder};

use super::writer::SoleWriter;
use crate::fault;

/// Runs `send` into the pipe's `write` end while `receive` reads from the other, and returns the
/// results of both. Each end is closed as soon as its side is over: a receive sees the end of its
/// stream, and a send that has no reader left ends with EPIPE.
pub(crate) fn send_beside<S: Send, R>(
    (read, write): (OwnedFd, OwnedFd),
    send: impl FnOnce(io::Result<&SoleWriter>) -> S + Send,
    receive: impl FnOnce(&OwnedFd) -> R,
) -> io::Result<(S, R)> {
    fault::at("thread-sender").map_err(io::Error::other)?;
    let (give_back, given_back) = mpsc::channel();
    thread::scope(|scope| {
        let sender = Builder::new()
            .name("sender".to_owned())
            .spawn_scoped(scope, move || {
                let writer = SoleWriter::of_this_thread(&write);
                // Whoever still has it closes it. Somebody has it until this thread ends.
                let _ = give_back.send(write);
                match writer {
                    Ok(writer) => send(Ok(&writer)),
                    Err(error) => send(Err(error)),
                }
                // The write end closes here: otherwise the receive would wait for ever.
            })?;
        // None comes if the sender has panicked before.
        drop(given_back.recv());
        let received = receive(&read);
        drop(read);
        let sent = sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((sent, received))
    })
}
