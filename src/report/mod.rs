//! What happened, as plain data: the result table and the `--json` document are made from it.

use serde::Serialize;

use crate::error::Phase;
use crate::name::{DatasetName, Guid, PoolName, SnapshotName, VolumePath};

/// One run, from its first step to the closed disk. Serialises to the `--json` document.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the document's shape.
    pub schema: u32,
    /// The verb.
    pub command: &'static str,
    /// Nothing was changed.
    pub dry_run: bool,
    /// This host, once it was found.
    pub host: Option<HostReport>,
    /// The disk, once it was found.
    pub disk: Option<DiskReport>,
    /// One entry a volume.
    pub volumes: Vec<VolumeReport>,
    /// Snapshots that retention destroyed.
    pub pruned: Vec<SnapshotName>,
    /// Whatever the user should know besides.
    pub warnings: Vec<String>,
    /// The state that the disk was left in.
    pub disk_state: DiskState,
    /// The five checks were made and passed.
    pub safe_to_unplug: bool,
    /// The process's exit status.
    pub exit_code: u8,
    /// Why the run ended early.
    pub error: Option<ErrorReport>,
}

/// The host of a run.
#[derive(Debug, Clone, Serialize)]
pub struct HostReport {
    /// Section of the configuration.
    pub section: String,
    /// Its pool's name.
    pub pool: PoolName,
    /// Its pool's guid.
    pub guid: Guid,
}

/// The disk of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DiskReport {
    /// Section of the configuration.
    pub section: String,
    /// Its partition.
    pub partuuid: String,
    /// Its pool's name, once imported.
    pub pool: Option<PoolName>,
    /// Its pool's guid, once imported.
    pub guid: Option<Guid>,
    /// `truecrypt`, `veracrypt`, `luks`; `None` without a container.
    pub encryption: Option<String>,
}

/// The state a disk was left in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// Never touched: not found, or the run ended before.
    Untouched,
    /// Container closed and pool not imported.
    Closed,
    /// Container open, pool not imported.
    Unlocked,
    /// Pool imported.
    Imported,
    /// The disk vanished or does not answer.
    Lost,
}

/// What became of one volume.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeReport {
    /// The volume as the configuration names it.
    pub volume: VolumePath,
    /// Its dataset on the source.
    pub source: DatasetName,
    /// Its dataset on the target.
    pub target: DatasetName,
    /// `up-to-date`, `full`, `incremental`, `resume`, `conflict`; `None` where there was nothing to decide on.
    pub action: Option<&'static str>,
    /// Which conflict.
    pub conflict: Option<&'static str>,
    /// Short name of the base.
    pub base: Option<String>,
    /// Guid of the base.
    pub base_guid: Option<Guid>,
    /// Short name of the snapshot that was sent.
    pub snapshot: Option<String>,
    /// Its guid, once it exists.
    pub snapshot_guid: Option<Guid>,
    /// What became of it.
    pub outcome: Outcome,
    /// Expected size of the streams.
    pub estimated_bytes: Option<u64>,
    /// Bytes that were sent in this run.
    pub sent_bytes: u64,
    /// Bytes that an earlier, broken-off run had sent.
    pub resumed_bytes: u64,
    /// Time from the first to the last byte, seconds.
    pub seconds: f64,
    /// Snapshots that the receive destroyed (or would, for a dry run).
    pub destroys: Vec<SnapshotName>,
    /// Why it was not done, or what is worth knowing.
    pub reason: Option<String>,
}

/// What became of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A dry run would do it.
    Planned,
    /// Done, or nothing had to be done.
    Done,
    /// The user said no.
    Skipped,
    /// A conflict that nobody resolved.
    Refused,
    /// It was tried and failed.
    Failed,
}

/// Why a run ended early.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// Where in the run.
    pub phase: Phase,
    /// Which thing failed and why.
    pub message: String,
    /// What to do next.
    pub next: Option<String>,
}
