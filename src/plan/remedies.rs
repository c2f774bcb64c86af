//! Which options could name a conflict's volume on the command line, found out by planning with them.

use super::types::{Direction, Policy, Remedies};
use super::volume::{Pair, PlanError};
use crate::model::VolumePath;

impl Pair<'_> {
    /// What would happen to a volume in conflict if an option named it.
    pub fn remedies(&self) -> Remedies {
        let children = self.children_to_name();
        let kept = children.iter().flatten().chain([self.volume]);
        let keep_both = Policy {
            keep_both: self.policy.keep_both.iter().chain(kept).cloned().collect(),
            ..self.policy.clone()
        };
        let mut forced = self.policy.clone();
        forced.keep_both.remove(self.volume);
        forced.force.insert(self.volume.clone());
        Remedies {
            keep_both: self
                .would_be(&keep_both)
                .map(|()| children.unwrap_or_default()),
            force: self.would_be(&forced),
            on_disk: self.policy.direction == Direction::ToDisk,
        }
    }

    /// Why a plan with this policy does nothing; the empty text if the conflict is the same.
    fn would_be(&self, policy: &Policy) -> Result<(), String> {
        match (Pair { policy, ..*self }).decide() {
            Ok(_) => Ok(()),
            Err(PlanError::Impossible(reason)) => Err(reason),
            Err(PlanError::Conflict { refusal, .. }) => Err(refusal.unwrap_or_default()),
        }
    }

    /// The volumes of what lies below the target; `None` if one of them is not among the volumes to
    /// carry, so that no option may name it.
    fn children_to_name(&self) -> Option<Vec<VolumePath>> {
        let names = self.target_side.datasets.keys();
        let below =
            names.filter(|name| name.is_within(self.target_name) && *name != self.target_name);
        below
            .map(|name| VolumePath::new(name.below(&self.target_side.top)?).ok())
            .map(|volume| volume.filter(|volume| self.policy.volumes.contains(volume)))
            .collect()
    }
}
