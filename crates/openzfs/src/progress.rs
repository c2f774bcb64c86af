//! How far the transfers of this process are, as the kernel tells it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{Error, ErrorKind};
use super::handle::{Libzfs, ZfsHandle};
use crate::ffi;
use crate::name::SnapshotName;

/// The running transfers. [`Lzc::transfer`](super::Lzc::transfer) is on the list for as long as it sends.
#[derive(Debug, Default)]
pub struct Progress {
    /// The kernel knows a send by its snapshot and the number of its descriptor.
    sends: Mutex<BTreeMap<SnapshotName, RawFd>>,
}

/// The kernel's figures of running sends, kept open from one query of a [`Progress`] to the next.
#[derive(Debug)]
pub struct Gauges {
    lib: Libzfs,
    open: BTreeMap<(SnapshotName, RawFd), SendProgress>,
}

/// Takes its send off the list when it is over.
pub(crate) struct Watched<'a> {
    progress: &'a Progress,
    snapshot: SnapshotName,
}

impl Gauges {
    /// No figures yet. The value stays on this thread, as `lib` does.
    pub fn new(lib: &Libzfs) -> Self {
        Self {
            lib: lib.shared(),
            open: BTreeMap::new(),
        }
    }
}

impl Progress {
    /// Asks the kernel how many bytes each running send has written so far. A send that has not
    /// begun or has just ended has no figure.
    #[doc(alias = "zfs_send_progress")]
    pub fn sent_bytes(&self, gauges: &mut Gauges) -> Vec<(SnapshotName, u64)> {
        let sends = self.lock().clone();
        gauges
            .open
            .retain(|(snapshot, fd), _| sends.get(snapshot) == Some(fd));
        let mut figures = Vec::new();
        for (snapshot, fd) in sends {
            let gauge = match gauges.open.entry((snapshot.clone(), fd)) {
                Entry::Occupied(gauge) => gauge.into_mut(),
                Entry::Vacant(place) => match SendProgress::open(&gauges.lib, &snapshot, fd) {
                    Ok(gauge) => place.insert(gauge),
                    Err(error) => {
                        log::debug!("no progress of {snapshot} can be shown: {error}");
                        continue;
                    }
                },
            };
            if let Ok(Some(sent_bytes)) = gauge.sent_bytes() {
                figures.push((snapshot, sent_bytes));
            }
        }
        figures
    }

    /// Puts a send on the list.
    pub(crate) fn watch(&self, snapshot: &SnapshotName, fd: RawFd) -> Watched<'_> {
        self.lock().insert(snapshot.clone(), fd);
        Watched {
            progress: self,
            snapshot: snapshot.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SnapshotName, RawFd>> {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.progress.lock().remove(&self.snapshot);
    }
}

/// Watches a send that runs in another thread of this process.
///
/// It belongs to the thread whose libzfs it was made with, not to the sending thread.
#[derive(Debug)]
struct SendProgress {
    handle: ZfsHandle,
    snapshot: SnapshotName,
    pipe: RawFd,
}

impl SendProgress {
    /// Prepares to watch the send of `snapshot` into the descriptor with the number `pipe`. The send
    /// may not have begun, or may have ended, when this is asked.
    fn open(lib: &Libzfs, snapshot: &SnapshotName, pipe: RawFd) -> Result<Self, Error> {
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
            snapshot: snapshot.clone(),
            pipe,
        })
    }

    /// Bytes sent so far; `None` if the send has not begun or has ended.
    fn sent_bytes(&self) -> Result<Option<u64>, Error> {
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
