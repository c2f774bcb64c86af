//! How far a send of this process has come.

use std::marker::PhantomData;
use std::os::fd::RawFd;

use super::error::{Error, ErrorKind};
use super::handle::{Libzfs, ZfsHandle};
use crate::ffi;
use crate::name::SnapshotName;

/// Watches a send that runs in another thread of this process.
///
/// It belongs to the thread whose libzfs it was made with, not to the sender's.
#[derive(Debug)]
pub struct SendProgress<'lib> {
    handle: ZfsHandle,
    _lib: PhantomData<&'lib Libzfs>,
    snapshot: SnapshotName,
    pipe: RawFd,
}

impl<'lib> SendProgress<'lib> {
    /// Prepares to watch the send of `snapshot` into the descriptor with the number `pipe`. The send
    /// may begin later and end earlier than this is asked.
    pub fn open(lib: &'lib Libzfs, snapshot: &SnapshotName, pipe: RawFd) -> Result<Self, Error> {
        let handle = lib
            .open_handle(snapshot.as_str(), ffi::ZFS_TYPE_SNAPSHOT)?
            .ok_or_else(|| {
                Error::found(
                    "zfs_open",
                    snapshot,
                    ErrorKind::NotFound,
                    "it does not exist",
                )
            })?;
        Ok(Self {
            handle,
            _lib: PhantomData,
            snapshot: snapshot.clone(),
            pipe,
        })
    }

    /// Bytes sent so far; `None` where the send has not begun or has ended.
    #[doc(alias = "zfs_send_progress")]
    pub fn sent_bytes(&self) -> Result<Option<u64>, Error> {
        let (mut sent_bytes, mut blocks_visited) = (0, 0);
        // SAFETY: the handle is open; both numbers are u64 to write to. The kernel looks the
        // descriptor's number up among the sends of this process and does not use it otherwise.
        let code = unsafe {
            ffi::zfs_send_progress(
                self.handle.as_ptr(),
                self.pipe,
                &raw mut sent_bytes,
                &raw mut blocks_visited,
            )
        };
        match code {
            0 => Ok(Some(sent_bytes)),
            libc::ENOENT => Ok(None),
            _ => Err(Error::from_code("zfs_send_progress", &self.snapshot, code)),
        }
    }
}
