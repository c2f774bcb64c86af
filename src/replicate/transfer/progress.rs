//! How far the running streams are: the kernel is asked at the rate of the display.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openzfs::{SnapshotName, fault};

use crate::model::VolumePath;
use crate::monitor::Monitor;
use crate::replicate::zfs::Gauges;

/// How often the display is updated.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// The running streams, and how far each volume was at the last look.
#[derive(Debug, Default)]
pub struct Running {
    sends: openzfs::Progress,
    volumes: Mutex<Volumes>,
    seen_bytes: Mutex<BTreeMap<VolumePath, u64>>,
}

/// By the snapshot that is sent: the volume, and how much its earlier streams sent.
type Volumes = BTreeMap<SnapshotName, (VolumePath, u64)>;

/// One volume's view of [`Running`].
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    running: &'a Running,
    volume: &'a VolumePath,
    /// Bytes that earlier streams of the same volume sent.
    pub before_bytes: u64,
}

/// Takes its stream off the list when it is over.
pub struct Shown<'a> {
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
    /// Only if a test wants a stream to be interrupted in its middle.
    pub fn report(&self, gauges: &mut Gauges, monitor: &dyn Monitor) -> Result<(), &'static str> {
        let figures = gauges(&self.sends);
        let volumes = self.lock().clone();
        for (snapshot, bytes) in figures {
            let Some((volume, before_bytes)) = volumes.get(&snapshot) else {
                continue;
            };
            let sent_bytes = before_bytes + bytes;
            monitor.advanced(volume, sent_bytes);
            self.seen().insert(volume.clone(), sent_bytes);
            fault::at("stream-middle")?;
        }
        Ok(())
    }

    /// Bytes of a volume that were sent by the last look.
    pub fn seen_bytes(&self, volume: &VolumePath) -> u64 {
        self.seen().get(volume).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<VolumePath, u64>> {
        self.seen_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Progress<'a> {
    /// The list to which streams add themselves.
    pub fn sends(&self) -> &'a openzfs::Progress {
        &self.running.sends
    }

    /// Shows the stream of `snapshot` as one of this volume.
    pub fn show(&self, snapshot: &SnapshotName) -> Shown<'a> {
        let of_volume = (self.volume.clone(), self.before_bytes);
        self.running.lock().insert(snapshot.clone(), of_volume);
        Shown {
            running: self.running,
            snapshot: snapshot.clone(),
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.snapshot);
    }
}
