//! How a running replication tells the display what it is doing.

use crate::model::VolumePath;
use crate::report::Outcome;

/// Receives the events of a run. Called from worker threads: an implementation must be quick and
/// must not block on anything that waits for the run.
pub trait Monitor: Sync {
    /// Transfers are about to start: how many volumes, and the sum of their estimates in bytes.
    fn begin(&self, volumes: usize, estimated_bytes: u64);
    /// One stream has started, for example `incremental zbackup-2026-11-21 → zbackup-2026-11-22`.
    fn started(&self, volume: &VolumePath, what: &str, estimated_bytes: Option<u64>);
    /// This many bytes of the volume's stream have been sent by now.
    fn advanced(&self, volume: &VolumePath, sent_bytes: u64);
    /// The volume is finished: bytes sent, seconds taken, and, if it did not arrive, its outcome and
    /// the reason.
    fn finished(
        &self,
        volume: &VolumePath,
        sent_bytes: u64,
        seconds: f64,
        failure: Option<(Outcome, &str)>,
    );
    /// Nothing more will come; the display is removed.
    fn end(&self);
}
