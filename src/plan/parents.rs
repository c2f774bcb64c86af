//! The datasets that must be on the target before a volume can be received below them.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::DatasetName;

use super::types::{Action, Conflict, VolumePlan};
use crate::model::Side;
use crate::model::VolumePath;

/// Notes which volumes must wait for which, and returns the placeholders to create, parents first.
///
/// A missing parent is either a volume that this run sends in full (its children wait for it), or
/// it becomes a placeholder. The pool's root dataset always exists.
pub(super) fn arrange(volumes: &mut [VolumePlan], target: &Side) -> Vec<DatasetName> {
    leave_room(volumes, target);
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

/// Sends nothing below the name to which a copy is to be renamed: a placeholder would be in its way.
fn leave_room(volumes: &mut [VolumePlan], target: &Side) {
    let is_awaited = |volume: &&VolumePlan| {
        matches!(&volume.action, Action::Conflict(Conflict::Renamed { .. }))
            && target.any_dataset(&volume.target).is_none()
    };
    let places = volumes.iter().filter(is_awaited);
    let places: Vec<_> = places
        .map(|volume| (volume.target.clone(), volume.volume.clone()))
        .collect();
    for volume in volumes {
        let mut places = places.iter();
        let above = places.find(|(place, _)| volume.target.is_within(place));
        if let (Action::Send(_), Some((place, above))) = (&volume.action, above) {
            volume.action = Action::Impossible(format!(
                "{} goes below {place}, and the copy of {above} is not called that yet: see {above}",
                volume.target
            ));
        }
    }
}
