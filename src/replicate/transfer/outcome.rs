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
    /// The target's newest snapshot, if everything has arrived and it could be looked up.
    pub arrived: Option<Snapshot>,
    pub failure: Option<(Outcome, String)>,
    /// The conflict that came up only when its turn came.
    pub conflict: Option<&'static str>,
    /// The side whose data or device has failed.
    pub unreadable: Option<StreamEnd>,
    /// What the target was to lose according to the plan is gone.
    pub overwritten: bool,
    /// What has been done that the user would otherwise not be told if the rest fails.
    pub facts: Vec<String>,
    /// What else the user should know.
    pub warnings: Vec<String>,
}

/// Why a volume's transfer ended early.
#[derive(Debug)]
pub(in crate::replicate) enum VolumeError {
    /// The target is not what was approved: nothing was done to it.
    Refused(String),
    /// The target was free in the plan, but not when its turn came.
    Conflict {
        /// What was found, and what was not done.
        why: String,
        /// The conflict as it is by now.
        conflict: Conflict,
    },
    /// The transfer was tried and failed.
    Failed(String),
    /// One side's data or device has failed.
    Unreadable(String, StreamEnd),
    /// The stream ended early, as if its sender was told to stop.
    CutShort(String),
}

impl VolumeError {
    /// The same, with what else went wrong.
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

    /// The outcome and its reason. A stream that ends early after a signal counts as interrupted;
    /// anything else that goes wrong then is told as usual.
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
        // A stream is not damaged between two calls of one kernel: a wrong checksum is in the data into
        // which it is received.
        if let TransferError::Zfs(cause) = &error
            && (cause.kind == ErrorKind::Io || cause.code == libc::EBADE)
        {
            return Self::Unreadable(error.to_string(), StreamEnd::of(cause));
        }
        Self::Failed(error.to_string())
    }
}

impl Done {
    /// The transfer failed before it began.
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

    /// Adds to the reason why it failed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Remedies, Retention};
    use openzfs::Error;

    const SEND: &str = "lzc_send_resume_redacted";
    const RECEIVE: &str = "lzc_receive_with_cmdprops";

    fn error(call: &'static str, code: i32) -> VolumeError {
        TransferError::Zfs(Error::from_code(call, "tank/home@a", code)).into()
    }

    #[test]
    fn an_end_that_fails_is_told_from_a_stream_that_was_cut_short() {
        for call in [SEND, RECEIVE] {
            let cut_short = error(call, libc::EINTR);
            assert!(matches!(cut_short, VolumeError::CutShort(_)), "{call}");
            let full = error(call, libc::ENOSPC);
            assert!(matches!(full, VolumeError::Failed(_)), "{call}");
        }
        for (call, end, code) in [
            (SEND, StreamEnd::Source, libc::EIO),
            (RECEIVE, StreamEnd::Target, libc::EIO),
            (RECEIVE, StreamEnd::Target, libc::EBADE),
        ] {
            let error = error(call, code);
            let is_of = matches!(error, VolumeError::Unreadable(_, of) if of == end);
            assert!(is_of, "{call}: {error:?}");
        }
    }

    #[test]
    fn a_signal_is_to_blame_for_what_it_cuts_short_and_for_nothing_else() {
        let volume = VolumePlan {
            volume: crate::model::VolumePath::new("/home").unwrap(),
            source: DatasetName::new("tank/home").unwrap(),
            target: DatasetName::new("red/home").unwrap(),
            action: Action::Impossible(String::new()),
            waits_for: None,
            refusal: None,
            remedies: Remedies::default(),
            estimated_bytes: None,
            stored_bytes: None,
            retention: Retention::default(),
            forgets: Vec::new(),
        };
        let (calm, signalled) = (Cancel::default(), Cancel::default());
        signalled.request();
        let outcome = |error: VolumeError, cancel| error.outcome(&volume, cancel).0;
        let cut_short = || VolumeError::CutShort(String::new());
        assert_eq!(outcome(cut_short(), &calm), Outcome::Failed);
        assert_eq!(outcome(cut_short(), &signalled), Outcome::Skipped);
        for cancel in [&calm, &signalled] {
            let failed = VolumeError::Failed(String::new());
            assert_eq!(outcome(failed, cancel), Outcome::Failed);
            let refused = VolumeError::Refused(String::new());
            assert_eq!(outcome(refused, cancel), Outcome::Refused);
        }
    }
}
