//! Decisions in people's words: for tables, for `--json`, for the log.

use super::types::{Action, Conflict, VolumePlan};
use crate::human::{count, human_bytes};

impl Action {
    /// The word for it in tables and in `--json`; `None` where there was nothing to decide on.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Self::UpToDate(_) => Some("up-to-date"),
            Self::Send(transfer) => Some(match transfer.steps.first() {
                Some(step) if step.resume.is_some() => "resume",
                Some(step) if step.base.is_some() => "incremental",
                _ => "full",
            }),
            Self::Conflict(_) => Some("conflict"),
            Self::Impossible(_) => None,
        }
    }
}

impl Conflict {
    /// The word for it in tables and in `--json`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Modified { .. } => "modified",
            Self::Diverged { .. } => "diverged",
            Self::NoCommonSnapshot { .. } => "no-common-snapshot",
            Self::ForeignResumeState { .. } => "foreign-resume-state",
            Self::EncryptionMismatch { .. } => "encryption-mismatch",
            Self::DoesNotFit { .. } => "does-not-fit",
        }
    }

    /// What it is and what can be done about it, in a few sentences. `plan` is the volume's.
    pub fn explain(&self, plan: &VolumePlan) -> String {
        let mut sentences = vec![self.what(plan)];
        sentences.extend(
            plan.refusal
                .as_ref()
                .map(|refusal| format!("What you asked for is refused: {refusal}.")),
        );
        sentences.extend(self.ways_out(plan));
        sentences.join(" ")
    }

    /// What it is.
    fn what(&self, plan: &VolumePlan) -> String {
        let VolumePlan { source, target, .. } = plan;
        match self {
            Self::Modified {
                base,
                written_bytes,
                atime,
            } => {
                let cause = if *atime {
                    " Reading alone may have done that, since atime is on there."
                } else {
                    ""
                };
                let written = human_bytes(*written_bytes);
                format!("{written} were written to {target} since @{base}.{cause}")
            }
            Self::Diverged {
                base,
                newer,
                written_bytes,
            } => {
                let snapshots = match newer.as_slice() {
                    [only] => format!("@{}", only.short()),
                    [first, .., last] => format!(
                        "{} snapshots (@{} to @{})",
                        newer.len(),
                        first.short(),
                        last.short()
                    ),
                    [] => "changes".into(),
                };
                let written = human_bytes(*written_bytes);
                format!(
                    "Both sides went on from @{base}: {target} has {snapshots} with {written}, which \
                     {source} lacks."
                )
            }
            Self::NoCommonSnapshot {
                snapshots,
                referenced_bytes,
            } => format!(
                "{target} exists, with {} and {}, and has no snapshot in common with {source}.",
                human_bytes(*referenced_bytes),
                count(snapshots.len(), "snapshot"),
            ),
            Self::ForeignResumeState { received_bytes } => {
                let received = received_bytes
                    .map(|bytes| format!(" of {} so far", human_bytes(bytes)))
                    .unwrap_or_default();
                format!(
                    "{target} holds a broken-off receive{received} that zbackup did not start or \
                     cannot place."
                )
            }
            Self::EncryptionMismatch { reason, .. } => format!("Encryption differs: {reason}."),
            Self::DoesNotFit {
                needed_bytes,
                free_bytes,
            } => format!(
                "About {} are to be sent to {target}, and {} are left for it.",
                human_bytes(*needed_bytes),
                human_bytes(*free_bytes)
            ),
        }
    }

    /// What the user can do, the way that loses nothing first.
    fn ways_out(&self, plan: &VolumePlan) -> Vec<String> {
        let VolumePlan {
            volume,
            source,
            target,
            ..
        } = plan;
        let keep = format!("To keep both: --keep-both {volume}.");
        match self {
            Self::Modified { atime, .. } => {
                let mut ways = vec![keep, format!("To give the changes up: --force {volume}.")];
                if *atime {
                    ways.push(format!("To avoid it: zfs set atime=off {target}."));
                }
                ways
            }
            Self::Diverged { .. } => vec![
                keep,
                format!("To give these up, snapshots included: --force {volume}."),
            ],
            Self::NoCommonSnapshot { .. } => vec![
                keep,
                format!("To replace it, snapshots included: --force {volume}."),
            ],
            Self::EncryptionMismatch { can_move: true, .. } => vec![keep],
            Self::EncryptionMismatch {
                can_move: false, ..
            } => vec![format!("Encrypt {source} too, or leave it out.")],
            Self::ForeignResumeState { .. } => {
                vec![
                    "Let its own tool finish it.".into(),
                    keep,
                    format!("To drop it: --force {volume}."),
                ]
            }
            Self::DoesNotFit { .. } => vec![format!(
                "Make room on the pool {}, or leave {source} out.",
                target.pool()
            )],
        }
    }
}
