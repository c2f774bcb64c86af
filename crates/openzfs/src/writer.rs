//! The write end of a pipe, where no other thread has it.
//!
//! A thread that was killed may not know and wait for ever, with the pool in use (see [`super::kill`]).
//! Only the other end of its pipe can tell it, by being closed, and threads of one process share their
//! descriptors: what is open stays open for all until the last of them has ended. So a sender takes
//! descriptors of its own.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::close;

use super::handle::ZFS_DEVICE;

/// This thread's descriptors, without those of the process.
const OWN_DESCRIPTORS: &str = "/proc/thread-self/fd";
/// The first one behind standard input, output and error.
const FIRST: libc::c_uint = 3;

/// The write end of a pipe, for the thread that sends into it.
///
/// While this lives, the thread has only it, the ZFS device, sockets, and standard input, output and
/// error; the numbers of all others mean nothing to it, and what it opens means nothing to other
/// threads. All but the standard ones are closed when this is dropped, and the thread should end then.
#[derive(Debug)]
pub(crate) struct SoleWriter {
    // In this order they are dropped.
    pipe: OwnedFd,
    _table: OwnTable,
}

impl SoleWriter {
    /// Copies the end into the calling thread alone. The caller sees to it that all others close
    /// theirs, and that there is no read end in this thread's keeping.
    ///
    /// # Errors
    /// The system's, where it has no memory or no number left, or does not tell what is open.
    #[doc(alias = "unshare")]
    #[doc(alias = "CLONE_FILES")]
    pub fn of_this_thread(pipe: &OwnedFd) -> io::Result<Self> {
        let table = OwnTable::of_this_thread()?;
        let pipe = pipe.try_clone()?;
        table.close_all_but(pipe.as_fd())?;
        Ok(Self {
            pipe,
            _table: table,
        })
    }
}

impl AsFd for SoleWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// A table of descriptors that is one thread's alone.
#[derive(Debug)]
struct OwnTable {
    _stays_in_its_thread: PhantomData<*const ()>,
}

impl OwnTable {
    fn of_this_thread() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_FILES)?;
        Ok(Self {
            _stays_in_its_thread: PhantomData,
        })
    }

    /// Closes this table's copies of all that a send has no use for: other streams would wait for the
    /// pipes, locks and mounts would be in use for as long as this one lasts.
    fn close_all_but(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        let numbers: Vec<RawFd> = fs::read_dir(OWN_DESCRIPTORS)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let others = numbers.into_iter().filter(|&fd| fd != pipe.as_raw_fd());
        for fd in others.filter(|&fd| FIRST <= fd.cast_unsigned()) {
            // Gone is that of the directory.
            let opened = fs::read_link(Path::new(OWN_DESCRIPTORS).join(fd.to_string()));
            if opened.is_ok_and(|opened| !is_needed(&opened)) {
                let _ = close(fd);
            }
        }
        Ok(())
    }
}

/// What libzfs_core speaks to the kernel with, and what logs go to.
fn is_needed(opened: &Path) -> bool {
    opened == Path::new(ZFS_DEVICE) || opened.to_string_lossy().starts_with("socket:")
}

impl Drop for OwnTable {
    /// The kernel would close them too, but only a moment after whoever joins the thread goes on.
    #[doc(alias = "close_range")]
    fn drop(&mut self) {
        // SAFETY: plain numbers. The table is this thread's alone, so that no owner elsewhere loses
        // what it owns. A kernel before 5.9 answers ENOSYS and closes them at the thread's end.
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    }
}
