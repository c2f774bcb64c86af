//! What happened, as plain data: the source of the result table and the `--json` document.
//!
//! Everything here is pure, so that a test compares whole renderings. [`crate::terminal`] decides
//! what is printed where.
//!
//! - [`style`]: the width and the colours to render for
//! - `table`: columns that fit
//! - [`plan_text`]: what will be done
//! - [`text`]: what was done
//! - [`from_plan`]: a plan as the report's volumes

use openzfs::{BookmarkName, DatasetName, Guid, PoolName, SnapshotName};
use serde::Serialize;

use crate::error::{Error, Exit, Phase};
use crate::model::VolumePath;
use crate::text::Text;

mod json;
mod not_covered;
mod plan_table;
mod result_text;
pub mod style;
mod table;
mod volumes;

pub use plan_table::{PlanView, plan_text};
pub use result_text::{Part, Stream, quiet_text, text};
pub use volumes::from_plan;
pub(crate) use volumes::victims;

/// Version of the document's shape. It grows when a key changes its meaning or is removed.
const SCHEMA: u32 = 1;

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
    /// One entry for each volume.
    pub volumes: Vec<VolumeReport>,
    /// Snapshots that retention destroyed (or would, for a dry run).
    #[serde(serialize_with = "json::list")]
    pub pruned: Vec<SnapshotName>,
    /// Bookmarks that `forget` destroyed (or would, for a dry run). Only in its own document.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "json::list_if_any"
    )]
    pub forgotten: Option<Vec<BookmarkName>>,
    /// Datasets of the host's pool that no volume of the configuration takes, if `usb` has looked.
    #[serde(serialize_with = "json::list")]
    pub not_covered: Vec<DatasetName>,
    /// What else the user should know.
    pub warnings: Vec<String>,
    /// Something that belongs to the run was not done, as the warnings tell: the exit status says so too.
    #[serde(skip)]
    pub is_incomplete: bool,
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
    #[serde(serialize_with = "json::text")]
    pub pool: PoolName,
    /// Its pool's guid.
    #[serde(serialize_with = "json::text")]
    pub guid: Guid,
    /// The health of its pool; `None` if it was not checked.
    pub health: Option<HealthReport>,
}

/// The disk of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DiskReport {
    /// Section of the configuration.
    pub section: String,
    /// Its partition.
    pub partuuid: String,
    /// Its pool's name, once imported.
    #[serde(serialize_with = "json::if_any")]
    pub pool: Option<PoolName>,
    /// Its pool's guid, once imported.
    #[serde(serialize_with = "json::if_any")]
    pub guid: Option<Guid>,
    /// `truecrypt`, `veracrypt`, `luks`; `None` without a container.
    pub encryption: Option<String>,
    /// The health of its pool; `None` if it was not imported.
    pub health: Option<HealthReport>,
}

/// The health of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// `ONLINE`, `DEGRADED`, …
    pub state: String,
    /// Devices that are missing.
    pub missing: Vec<String>,
    /// Files that are known to be damaged, a hundred at most.
    pub errors: Vec<DamagedFile>,
    /// How many damaged things are known.
    pub data_errors: u64,
    /// How full it is: used / (used + available) of its root.
    pub used_percent: u64,
    /// Time since the end of the last scrub; `None` if none is known.
    pub scrub_age_seconds: Option<u64>,
}

/// A file that is known to be damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// The dataset or snapshot that it is in.
    pub volume: String,
    /// Its path there, or the number of an object that has none.
    pub file: String,
}

/// The state in which a disk was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// Never touched: not found, or the run ended earlier.
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

/// The result of one volume.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeReport {
    /// The volume as the configuration names it.
    pub volume: VolumePath,
    /// Its dataset on the source.
    #[serde(serialize_with = "json::text")]
    pub source: DatasetName,
    /// Its dataset on the target.
    #[serde(serialize_with = "json::text")]
    pub target: DatasetName,
    /// `up-to-date`, `full`, `incremental`, `resume`, `conflict`; `None` if there was nothing to decide on.
    pub action: Option<&'static str>,
    /// The word for its conflict.
    pub conflict: Option<&'static str>,
    /// Short name of the base.
    pub base: Option<String>,
    /// Guid of the base.
    #[serde(serialize_with = "json::if_any")]
    pub base_guid: Option<Guid>,
    /// Short name of the snapshot that was sent.
    pub snapshot: Option<String>,
    /// Its guid, once it exists.
    #[serde(serialize_with = "json::if_any")]
    pub snapshot_guid: Option<Guid>,
    /// How it ended.
    pub outcome: Outcome,
    /// Expected size of the streams.
    pub estimated_bytes: Option<u64>,
    /// Bytes that were sent in this run.
    pub sent_bytes: u64,
    /// Bytes that an earlier, interrupted run had sent.
    pub resumed_bytes: u64,
    /// Time from the first to the last byte, seconds.
    pub seconds: f64,
    /// What was destroyed on the target for this volume (or would be, for a dry run).
    pub destroys: Vec<Victim>,
    /// Why it was not done, or what else is worth knowing.
    pub reason: Option<String>,
}

/// A snapshot or bookmark of the target that is destroyed for a receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Victim {
    /// A snapshot after the base.
    Snapshot(#[serde(serialize_with = "json::text")] SnapshotName),
    /// A bookmark of a change that is undone.
    Bookmark(#[serde(serialize_with = "json::text")] BookmarkName),
}

impl std::fmt::Display for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(name) => name.fmt(f),
            Self::Bookmark(name) => name.fmt(f),
        }
    }
}

/// How a volume ended.
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

impl Outcome {
    /// The word for it, both in texts and in the `--json` document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why a run ended early.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// The step of the run that failed.
    pub phase: Phase,
    /// What failed and why.
    pub message: Text,
    /// What to do next.
    pub next: Option<Text>,
}

impl Report {
    /// The report of a run that has done nothing yet.
    pub fn new(command: &'static str, dry_run: bool) -> Self {
        Self {
            schema: SCHEMA,
            command,
            dry_run,
            host: None,
            disk: None,
            volumes: Vec::new(),
            pruned: Vec::new(),
            forgotten: None,
            not_covered: Vec::new(),
            warnings: Vec::new(),
            is_incomplete: false,
            disk_state: DiskState::Untouched,
            safe_to_unplug: false,
            exit_code: Exit::Done.code(),
            error: None,
        }
    }

    /// Ends the report: with `error`, or with the outcomes of the volumes.
    pub fn end(&mut self, error: Option<&Error>) {
        let exit = match error {
            Some(error) => error.exit,
            None if self.is_incomplete || self.volumes.iter().any(VolumeReport::is_amiss) => {
                Exit::Partial
            }
            None => Exit::Done,
        };
        self.exit_code = exit.code();
        self.error = error.map(|error| ErrorReport {
            phase: error.phase,
            message: error.message.clone(),
            next: error.next.clone(),
        });
    }

    /// The `--json` document, ended by a newline.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl VolumeReport {
    /// True if the user did not get what the run was for.
    pub fn is_amiss(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Skipped | Outcome::Refused | Outcome::Failed
        )
    }
}
