//! The datasets that must be on the target before a volume can be received below them.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{Action, VolumePlan};
use crate::inventory::Side;
use crate::name::{DatasetName, VolumePath};

/// Notes which volumes must wait for which, and returns the placeholders to create, parents first.
///
/// A missing parent is either a volume that this run sends in full (its children wait for it), or
/// it becomes a placeholder. The pool's root dataset always exists.
pub(super) fn arrange(volumes: &mut [VolumePlan], target: &Side) -> Vec<DatasetName> {
    let arriving: BTreeMap<DatasetName, VolumePath> = volumes
        .iter()
        .filter(|volume| volume.sends_in_full())
        .map(|volume| (volume.target.clone(), volume.volume.clone()))
        .collect();
    let mut placeholders = BTreeSet::new();
    for volume in volumes
        .iter_mut()
        .filter(|volume| matches!(volume.action, Action::Send(_)))
    {
        let parents = volume.target.ancestors();
        volume.waits_for = parents
            .iter()
            .rev()
            .find_map(|parent| arriving.get(parent).cloned());
        let missing = |parent: &DatasetName| {
            parent.parent().is_some()
                && target.dataset(parent).is_none()
                && !arriving.contains_key(parent)
        };
        placeholders.extend(parents.into_iter().filter(missing));
    }
    placeholders.into_iter().collect()
}
