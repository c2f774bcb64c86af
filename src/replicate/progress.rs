//! How far the running streams are, asked from the kernel at the rate of the display.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::monitor::Monitor;
use crate::fault;
use crate::name::{SnapshotName, VolumePath};
use crate::zfs::{Libzfs, SendProgress};

/// How often the display moves.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// The streams that run now, and how far each volume was at the last look.
#[derive(Debug, Default)]
pub struct Running {
    streams: Mutex<Streams>,
    seen_bytes: Mutex<BTreeMap<VolumePath, u64>>,
}

/// By snapshot: the volume, the pipe's descriptor, and what earlier streams of the volume sent.
type Streams = BTreeMap<SnapshotName, (VolumePath, RawFd, u64)>;

/// The kernel's figures of the running streams, kept open between two looks.
#[derive(Debug)]
pub struct Gauges<'lib> {
    zfs: &'lib Libzfs,
    open: BTreeMap<(SnapshotName, RawFd), SendProgress<'lib>>,
}

impl<'lib> Gauges<'lib> {
    /// None yet.
    pub fn new(zfs: &'lib Libzfs) -> Self {
        let open = BTreeMap::new();
        Self { zfs, open }
    }
}

/// One volume's view of [`Running`].
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    running: &'a Running,
    volume: &'a VolumePath,
    /// Bytes that earlier streams of the same volume sent.
    pub before_bytes: u64,
}

/// Takes its stream off the list when the send is over.
pub struct Watched<'a> {
    running: &'a Running,
    snapshot: SnapshotName,
}

impl Running {
    /// The view of one volume.
    pub fn of<'a>(&'a self, volume: &'a VolumePath) -> Progress<'a> {
        Progress {
            running: self,
            volume,
            before_bytes: 0,
        }
    }

    /// Asks the kernel how many bytes each running stream has sent, and tells the monitor.
    ///
    /// # Errors
    /// Only where a test wants a stream to break off in its middle.
    pub fn report(
        &self,
        gauges: &mut Gauges<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(), &'static str> {
        let running = self.lock().clone();
        gauges.open.retain(|stream, _| {
            running
                .get(&stream.0)
                .is_some_and(|(_, fd, _)| *fd == stream.1)
        });
        for (snapshot, (volume, fd, before_bytes)) in running {
            let gauge = match gauges.open.entry((snapshot.clone(), fd)) {
                Entry::Occupied(gauge) => gauge.into_mut(),
                Entry::Vacant(place) => match SendProgress::open(gauges.zfs, &snapshot, fd) {
                    Ok(gauge) => place.insert(gauge),
                    Err(error) => {
                        log::debug!("no progress of {snapshot} can be shown: {error}");
                        continue;
                    }
                },
            };
            // A stream that has not begun or has just ended has no figure.
            if let Ok(Some(bytes)) = gauge.sent_bytes() {
                let sent_bytes = before_bytes + bytes;
                monitor.advanced(&volume, sent_bytes);
                self.seen().insert(volume, sent_bytes);
                fault::at("stream-middle")?;
            }
        }
        Ok(())
    }

    /// Bytes of a volume that had been sent at the last look.
    pub fn seen_bytes(&self, volume: &VolumePath) -> u64 {
        self.seen().get(volume).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<VolumePath, u64>> {
        self.seen_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Progress<'a> {
    /// Puts a stream on the list: the kernel knows it by its snapshot and the number of its fd.
    pub fn watch(&self, snapshot: &SnapshotName, fd: RawFd) -> Watched<'a> {
        self.running.lock().insert(
            snapshot.clone(),
            (self.volume.clone(), fd, self.before_bytes),
        );
        Watched {
            running: self.running,
            snapshot: snapshot.clone(),
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.snapshot);
    }
}
