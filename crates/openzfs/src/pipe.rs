//! The pipe between a send and a receive: the only thing between them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// The largest pipe asked for. Larger ones were no faster in measurements.
const MAX_PIPE_BYTES: u64 = 64 << 20;
/// The size of a pipe by default.
const DEFAULT_PIPE_BYTES: u64 = 64 << 10;

/// Both ends of a pipe, closed on exec and blocking: the kernel's send gives up on `EAGAIN`.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Where the receive reads.
    pub read: OwnedFd,
    /// Where the send writes.
    pub write: OwnedFd,
}

impl Pipe {
    /// A pipe that holds a whole stream of `stream_bytes` if that is reasonable, so that a send
    /// does not wait for the receive's transaction group. Root may go beyond `pipe-max-size`.
    ///
    /// The size is set while the pipe is empty: resizing one that holds data can lose a wake-up.
    pub fn for_stream(stream_bytes: Option<u64>) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let mut bytes = wanted_bytes(stream_bytes);
        while bytes > DEFAULT_PIPE_BYTES {
            let size = i32::try_from(bytes).unwrap_or(i32::MAX);
            match fcntl(write.as_fd(), FcntlArg::F_SETPIPE_SZ(size)) {
                Ok(_) => break,
                // Over the user's limit, or no memory for so large a pipe: a smaller pipe works too.
                Err(Errno::EPERM | Errno::ENOMEM | Errno::EBUSY) => bytes /= 2,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Self { read, write })
    }
}

/// Small streams get small pipes, so that many at once do not pin much memory.
fn wanted_bytes(stream_bytes: Option<u64>) -> u64 {
    let stream_bytes = stream_bytes.unwrap_or(MAX_PIPE_BYTES);
    stream_bytes
        .saturating_mul(2)
        .clamp(DEFAULT_PIPE_BYTES * 4, MAX_PIPE_BYTES)
        .next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_streams_get_small_pipes() {
        assert_eq!(wanted_bytes(Some(0)), 256 << 10);
        assert_eq!(wanted_bytes(Some(1 << 20)), 2 << 20);
        assert_eq!(wanted_bytes(Some(u64::MAX)), 64 << 20);
        assert_eq!(wanted_bytes(None), 64 << 20);
    }

    #[test]
    fn the_ends_are_closed_on_exec_and_block() {
        let pipe = Pipe::for_stream(Some(1 << 20)).unwrap();
        for end in [&pipe.read, &pipe.write] {
            let flags = fcntl(end.as_fd(), FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            let flags = fcntl(end.as_fd(), FcntlArg::F_GETFL).unwrap();
            assert_eq!(flags & libc::O_NONBLOCK, 0);
        }
    }
}
