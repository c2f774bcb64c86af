//! What must hold before two histories are worth comparing.

use openzfs::{Createtxg, DatasetKind};

use super::common::Common;
use super::types::{Conflict, Direction};
use super::volume::{Pair, PlanError};
use crate::model::Dataset;

impl Pair<'_> {
    /// Finds what prevents the transfer whatever the target holds.
    pub fn check_possible(&self) -> Result<(), String> {
        let source = &self.source.name;
        if self.source.inconsistent {
            return Err(format!("{source} is itself a receive that never completed"));
        }
        if self.source.snapshots.is_empty() && self.policy.direction == Direction::ToHost {
            return Err(format!("{source} has no snapshot to bring over"));
        }
        let ancestors = self.target_name.ancestors();
        let zvol = ancestors
            .iter()
            .filter_map(|name| self.target_side.dataset(name))
            .find(|parent| parent.kind == DatasetKind::Volume);
        match zvol {
            Some(zvol) => Err(format!("{} is a zvol: nothing can be below it", zvol.name)),
            None => Ok(()),
        }
    }

    /// Only complete histories show that nothing is in common.
    pub fn check_fully_listed(&self, target: &Dataset) -> Result<(), String> {
        let all = Createtxg::default();
        if self.source.listed_from == all && target.listed_from == all {
            return Ok(());
        }
        Err(format!(
            "the histories of {} and {} were read only in part, and these parts have no snapshot \
             in common",
            self.source.name, target.name
        ))
    }

    /// A zvol cannot take the place of a parent.
    pub fn check_room_for_children(&self, target: &Dataset) -> Result<(), String> {
        if self.source.kind == DatasetKind::Volume && target.has_children {
            return Err(format!(
                "{} has child datasets, and {} is a zvol, which cannot have any",
                target.name, self.source.name
            ));
        }
        Ok(())
    }

    /// An encrypted volume travels raw, and only between encrypted datasets of one lineage.
    pub fn check_encryption(
        &self,
        target: &Dataset,
        common: Option<&Common<'_>>,
    ) -> Result<(), PlanError> {
        if let Some(reason) = self.encryption_mismatch(target) {
            let refusal = "--force does not turn an encrypted dataset into a clear one, or back";
            return Err(self.mismatch(reason, true, refusal));
        }
        match common.and_then(ivset_mismatch) {
            Some(reason) => {
                let refusal = "--force brings increments alone, and no increment fits here";
                Err(self.mismatch(reason, true, refusal))
            }
            None => Ok(()),
        }
    }

    /// A clear volume that is new below an encrypted dataset would be encrypted with that dataset's key,
    /// and every later run would find that it does not match.
    pub fn check_encryption_above(&self) -> Result<(), PlanError> {
        let Some(above) = self.encrypted_above.filter(|_| !self.source.encrypted) else {
            return Ok(());
        };
        let (from, into) = (&self.source.name, self.target_name);
        let reason = format!(
            "{above} is encrypted, so {into} below it would be encrypted with its key, and {from} \
             is not encrypted"
        );
        let refusal = "--force does not change what is above the volume";
        Err(self.mismatch(reason, false, refusal))
    }

    fn mismatch(&self, reason: String, can_move: bool, refusal: &str) -> PlanError {
        PlanError::Conflict {
            conflict: Conflict::EncryptionMismatch { reason, can_move },
            refusal: self.is_forced().then(|| refusal.into()),
        }
    }

    fn encryption_mismatch(&self, target: &Dataset) -> Option<String> {
        if target.inconsistent {
            return None;
        }
        let (from, into) = (&self.source.name, &target.name);
        match (self.source.encrypted, target.encrypted) {
            (true, false) => Some(format!("{from} is encrypted, {into} is not")),
            (false, true) => Some(format!("{into} is encrypted, {from} is not")),
            // The kernel replaces no encrypted dataset by a full stream, not even an empty one.
            (true, true) if target.is_mere_parent() => {
                Some(format!("{into} is an empty parent with a key of its own"))
            }
            _ => None,
        }
    }
}

/// One stream that was not raw breaks the lineage: guids still match, IV sets do not.
fn ivset_mismatch(common: &Common<'_>) -> Option<String> {
    let here = common.on_target.ivset_guid?;
    (common.ivset_guid? != here).then(|| {
        format!(
            "the IV sets of {} and of its namesake on the source differ: one of them was once \
             received from a stream that was not raw",
            common.on_target.name
        )
    })
}
