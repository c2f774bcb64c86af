//! What is reported if the disk is lost: by the thread that watches it, since the others may wait in the
//! kernel for ever.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::report::{DiskState, Outcome, Report, VolumeReport};

/// The report of a run as far as it has come.
pub(super) struct LastWord(Mutex<Report>);

impl LastWord {
    /// A last word with what is known so far.
    pub fn new(report: &Report) -> Self {
        Self(Mutex::new(report.clone()))
    }

    /// Notes how far the run has come.
    pub fn update(&self, report: &Report) {
        *self.lock() = report.clone();
    }

    /// Notes what has become of a volume.
    pub fn update_volume(&self, index: usize, volume: &VolumeReport) {
        if let Some(known) = self.lock().volumes.get_mut(index) {
            known.clone_from(volume);
        }
    }

    /// What has become of the volumes.
    pub fn volumes(&self) -> Vec<VolumeReport> {
        self.lock().volumes.clone()
    }

    /// The report, now that the disk is lost. What had arrived before is on it.
    pub fn when_lost(&self) -> Report {
        let mut report = self.lock().clone();
        report.disk_state = DiskState::Lost;
        for volume in &mut report.volumes {
            if volume.outcome == Outcome::Planned {
                volume.outcome = Outcome::Failed;
                volume.reason = Some("the disk was lost before it had arrived".to_owned());
            }
        }
        report
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
