//! Why a stream did not arrive, told for its volume.

use openzfs::{DatasetName, ErrorKind, TransferError};

use super::outcome::VolumeError;
use super::volume::VolumeRun;
use crate::next::next;
use crate::plan::{Conflict, Direction, Step};
use crate::replicate::target::quiet::Appeared;
use crate::replicate::target::{approved, overwrite};
use crate::text::shell_word;

impl VolumeRun<'_> {
    /// A receive that is not forced is refused if somebody has changed the target since the plan
    /// was made: that is a conflict like those of the plan.
    pub(super) fn blame(
        &self,
        step: &Step,
        target: &DatasetName,
        error: TransferError,
    ) -> VolumeError {
        let keeps_out = matches!(&error, TransferError::Zfs(error) if matches!(
            error.kind,
            ErrorKind::Modified
                | ErrorKind::BaseMissing
                | ErrorKind::Exists
                | ErrorKind::Busy
                | ErrorKind::ResumeExists
        ));
        // A copy that arrives beside the volume has a name that nobody else uses.
        let is_there = keeps_out && *target == self.plan.target;
        match is_there.then(|| approved::changed_meanwhile(self, step)) {
            Some(Ok(Some(conflict))) => VolumeError::Conflict {
                why: error.to_string(),
                conflict,
            },
            _ => self.stopped(target, error),
        }
    }

    /// Which features a stream uses is certain only when it begins: somebody may have changed
    /// properties since the plan was made, or changed them back before it.
    pub(super) fn stopped(&self, target: &DatasetName, error: TransferError) -> VolumeError {
        let direction = self.run.plan.direction;
        match error {
            TransferError::NeedsFeatures(features) => VolumeError::Conflict {
                why: "Nothing was received".into(),
                conflict: Conflict::NeedsFeature {
                    features,
                    on_disk: direction == Direction::ToDisk,
                },
            },
            TransferError::Zfs(error) if error.kind == ErrorKind::NoSpace => {
                // What has arrived takes up space in the host's own pool.
                let give_up = match direction {
                    Direction::ToHost => {
                        format!(
                            ". To give up what has arrived: zfs receive -A {}",
                            shell_word(target)
                        )
                    }
                    Direction::ToDisk => String::new(),
                };
                VolumeError::Failed(next!(
                    "full-on-the-way",
                    "{error}. Make room on its pool, then run the same command again: it goes on from \
                     here{give_up}"
                ))
            }
            error => error.into(),
        }
    }
}

/// Why zbackup interrupted a receive, which has destroyed nothing.
pub(super) fn interrupted_because_of(appeared: &Appeared, forced: bool) -> VolumeError {
    match &appeared.user {
        Some(user) if !forced => overwrite::zvol_in_use(user),
        Some(user) => VolumeError::Refused(next!(
            "in-use-elsewhere",
            "{user}. What is written there would have been lost, so the receive was interrupted; \
             nothing was destroyed. End what uses it, then run the same command again"
        )),
        None => VolumeError::Refused(next!(
            "appeared-meanwhile",
            "{} appeared meanwhile and would have gone too, so the receive was interrupted; \
             nothing was destroyed. Run the same command again to see all that would go",
            appeared.names()
        )),
    }
}
