//! Stand-in until the planner brings its own words.

use crate::plan::{Action, Conflict};

pub(super) fn action_word(action: &Action) -> Option<&'static str> {
    match action {
        Action::UpToDate(_) => Some("up-to-date"),
        Action::Send(transfer) => Some(match transfer.steps.first() {
            Some(step) if step.resume.is_some() => "resume",
            Some(step) if step.base.is_some() => "incremental",
            _ => "full",
        }),
        Action::Conflict(_) => Some("conflict"),
        Action::Impossible(_) => None,
    }
}

pub(super) fn conflict_word(conflict: &Conflict) -> &'static str {
    match conflict {
        Conflict::Modified { .. } => "modified",
        Conflict::Diverged { .. } => "diverged",
        Conflict::NoCommonSnapshot { .. } => "no-common-snapshot",
        Conflict::ForeignResumeState => "foreign-resume-state",
        Conflict::EncryptionMismatch { .. } => "encryption-mismatch",
        Conflict::DoesNotFit { .. } => "does-not-fit",
    }
}

pub(super) fn explain(conflict: &Conflict) -> String {
    format!("{conflict:?}")
}
