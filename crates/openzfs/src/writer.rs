//! The write end of a pipe that no other thread has.
//!
//! A thread of a killed process may not notice it and wait for ever, with the pool in use (see
//! [`super::kill`]). Only the closing of the other end of its pipe can tell it. But threads of one
//! process share their descriptors: an end stays open until the last of them has ended. So a sender
//! takes descriptors of its own.

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
/// The first descriptor after standard input, output and error.
const FIRST: libc::c_uint = 3;

/// The write end of a pipe, for the thread that sends into it.
///
/// While this lives, the thread has only this, the ZFS device, sockets, and standard input, output and
/// error. The numbers of all other descriptors mean nothing to it, and what it opens means nothing to other
/// threads. All but the standard ones are closed when this is dropped, and the thread should end then.
#[derive(Debug)]
pub(crate) struct SoleWriter {
    // Fields are dropped in this order.
    pipe: OwnedFd,
    _table: OwnTable,
}

impl SoleWriter {
    /// Copies the end into the calling thread alone. The caller makes sure that all other threads
    /// close theirs, and that this thread keeps no read end.
    ///
    /// The system's error, if it has no memory or no number left, or does not tell what is open.
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

/// A table of descriptors that belongs to one thread alone.
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

    /// Closes this table's copies of everything that a send does not need: other streams would wait
    /// for the pipes, and locks and mounts would stay in use for as long as the send lasts.
    fn close_all_but(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        let numbers: Vec<RawFd> = fs::read_dir(OWN_DESCRIPTORS)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let others = numbers.into_iter().filter(|&fd| fd != pipe.as_raw_fd());
        for fd in others.filter(|&fd| FIRST <= fd.cast_unsigned()) {
            // The directory's own descriptor is closed by now.
            let opened = fs::read_link(Path::new(OWN_DESCRIPTORS).join(fd.to_string()));
            if opened.is_ok_and(|opened| !is_needed(&opened)) {
                let _ = close(fd);
            }
        }
        Ok(())
    }
}

/// What libzfs_core uses to talk to the kernel, and where logs go.
fn is_needed(opened: &Path) -> bool {
    opened == Path::new(ZFS_DEVICE) || opened.to_string_lossy().starts_with("socket:")
}

impl Drop for OwnTable {
    /// The kernel would close them too, but only a moment after a join of the thread has returned.
    #[doc(alias = "close_range")]
    fn drop(&mut self) {
        // SAFETY: plain numbers. The table is this thread's alone, so no owner elsewhere loses a
        // descriptor. A kernel before 5.9 answers ENOSYS and closes them at the thread's end.
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    }
}
