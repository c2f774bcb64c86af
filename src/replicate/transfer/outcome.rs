//! What became of one volume's transfer, and why it ended early.

use openzfs::{
    BatchError, Cancel, DatasetName, ErrorKind, Guid, InvalidName, Snapshot, TransferError,
};

use super::damage::StreamEnd;
use crate::plan::{Conflict, VolumePlan};
use crate::report::{Outcome, VolumeReport};

/// What became of one volume's transfer.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Done {
    pub sent_bytes: u64,
    pub resumed_bytes: u64,
    pub seconds: f64,
    pub guid: Option<Guid>,
    /// What the target has now, if all has arrived and it could be looked up.
    pub arrived: Option<Snapshot>,
    pub failure: Option<(Outcome, String)>,
    /// What was in the way only when its turn came.
    pub conflict: Option<&'static str>,
    /// The end whose data or device has failed.
    pub unreadable: Option<StreamEnd>,
    /// What the plan said that the target loses is gone.
    pub overwritten: bool,
    /// What has been done that the user would otherwise not hear of where the rest fails.
    pub facts: Vec<String>,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

/// Why a volume's transfer ended early.
#[derive(Debug)]
pub(in crate::replicate) enum VolumeError {
    /// The target is not what was approved: nothing was done to it.
    Refused(String),
    /// It was free in the plan, and was not when its turn came.
    Conflict {
        /// What was found, and what was not done.
        why: String,
        /// What it is by now.
        conflict: Conflict,
    },
    /// It was tried and failed.
    Failed(String),
    /// One end's data or device has failed.
    Unreadable(String, StreamEnd),
    /// The stream did not come to its end, as one whose sender was told to stop.
    CutShort(String),
}

impl VolumeError {
    /// The same, with what went wrong besides.
    pub fn with(mut self, problems: &[String]) -> Self {
        let (Self::Refused(text)
        | Self::Failed(text)
        | Self::CutShort(text)
        | Self::Unreadable(text, _)
        | Self::Conflict { why: text, .. }) = &mut self;
        for problem in problems {
            *text = format!("{text}; {problem}");
        }
        self
    }

    pub fn words(&self) -> &str {
        let (Self::Refused(text)
        | Self::Failed(text)
        | Self::CutShort(text)
        | Self::Unreadable(text, _)
        | Self::Conflict { why: text, .. }) = self;
        text
    }

    /// What it counts as. A stream that is cut short after a signal is the signal's doing; anything
    /// else that goes wrong then is told as ever.
    pub fn outcome(self, volume: &VolumePlan, cancel: &Cancel) -> (Outcome, String) {
        match self {
            Self::Refused(reason) => (Outcome::Refused, reason),
            Self::Conflict { why, conflict } => {
                let reason = format!("{why}. {}", conflict.explain(volume));
                (Outcome::Refused, reason)
            }
            Self::CutShort(reason) if cancel.is_requested() => {
                log::info!("interrupted: {reason}");
                let reason = "interrupted; the next run goes on from here";
                (Outcome::Skipped, reason.into())
            }
            Self::Failed(reason) | Self::CutShort(reason) | Self::Unreadable(reason, _) => {
                (Outcome::Failed, reason)
            }
        }
    }
}

macro_rules! fails {
    ($($error:ty),*) => {$(
        impl From<$error> for VolumeError {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        }
    )*};
}

fails!(openzfs::Error, BatchError, InvalidName);

impl From<TransferError> for VolumeError {
    fn from(error: TransferError) -> Self {
        if error.is_cut_short() {
            return Self::CutShort(error.to_string());
        }
        // Between two kernels no stream takes damage: a wrong checksum is one of what it is received into.
        if let TransferError::Zfs(cause) = &error
            && (cause.kind == ErrorKind::Io || cause.code == libc::EBADE)
        {
            return Self::Unreadable(error.to_string(), StreamEnd::of(cause));
        }
        Self::Failed(error.to_string())
    }
}

impl Done {
    /// It failed before it began.
    pub fn failed(reason: String) -> Self {
        Self {
            failure: Some((Outcome::Failed, reason)),
            ..Self::default()
        }
    }

    /// The user ended the run before it began.
    pub fn interrupted() -> Self {
        Self {
            failure: Some((Outcome::Skipped, "interrupted before it began".into())),
            ..Self::default()
        }
    }

    /// Adds to why it failed.
    pub fn explain(&mut self, more: &str) {
        if let Some((_, reason)) = &mut self.failure {
            *reason = format!("{reason}. {more}");
        }
    }

    /// The target has the snapshot.
    pub fn has_arrived(&self) -> bool {
        self.failure.is_none()
    }

    pub fn warn_not_set(&mut self, target: &DatasetName, property: &str, problem: &str) {
        self.warnings.push(format!(
            "{target} arrived, but its {property} could not be set: {problem}"
        ));
    }

    /// Completes the volume's report, and logs why it failed.
    pub fn write_into(&self, report: &mut VolumeReport) {
        self.fill(report);
        if let (Outcome::Failed, Some(reason)) = (report.outcome, &report.reason) {
            log::error!("{}: {reason}", report.volume);
        }
    }

    /// Completes the volume's report.
    pub fn fill(&self, report: &mut VolumeReport) {
        report.sent_bytes = self.sent_bytes;
        report.resumed_bytes = self.resumed_bytes;
        report.seconds = self.seconds;
        report.snapshot_guid = self.guid.or(report.snapshot_guid);
        report.conflict = self.conflict;
        if !self.overwritten {
            report.destroys.clear();
        }
        match &self.failure {
            None => report.outcome = Outcome::Done,
            Some((outcome, reason)) => {
                let all = std::iter::once(reason).chain(&self.facts);
                let all: Vec<_> = all.map(String::as_str).collect();
                report.end(*outcome, all.join("; "));
            }
        }
    }
}
