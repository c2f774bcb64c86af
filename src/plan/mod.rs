//! What a run will do, decided before anything is changed.
//!
//! A pure function from the two sides and the policy to a [`Plan`]. The plan is what the table
//! shows, what `--json` prints and what [`crate::replicate`] carries out; nothing else is done.
//!
//! | step | where |
//! | --- | --- |
//! | which volumes is this run about? | [`select()`] |
//! | which copies get their volumes' new names? | [`follow()`] |
//! | which bookmarks can be trusted? | [`proof`] |
//! | what do both sides of a volume have in common? | `common` |
//! | can an interrupted receive be resumed? | `resume` |
//! | can the target's pool take such a stream? | `features` |
//! | what becomes of the target's own changes? | `overwrite` |
//! | so what happens to this volume? | `volume`, in `steps` |
//! | how is the new snapshot named? | `naming` |
//! | does everything open with its key afterwards? | `keys` |
//! | which parents are missing on the target? | `parents` |
//! | does it fit? | [`check_space`] |
//! | and afterwards: bookmarks, old snapshots | [`ledger`](crate::model::ledger), [`retention`], `afterwards` |
//!
//! Guids say what is the same, createtxg says what is newer; names and clocks decide nothing.

use std::collections::BTreeMap;

use openzfs::DatasetName;

use crate::model::Side;
use crate::model::VolumePath;

mod afterwards;
mod arrivals;
mod checks;
mod common;
mod draft;
mod features;
mod keys;
mod naming;
mod overwrite;
mod parents;
pub mod proof;
mod remedies;
mod renames;
mod resume;
pub mod retention;
mod select;
mod space;
mod steps;
pub mod typed;
mod types;
mod volume;
mod words;

pub use arrivals::{is_managed_on_arrival, to_record};
pub use features::{StreamBlocks, stream_blocks};
pub use renames::follow;
pub use select::{SelectError, select};
pub use space::{Room, check_space, goes_first, note_what_fits_with_fewer};
pub use types::*;

use draft::Draft;

/// Decides what happens to each of the policy's volumes.
///
/// `source` and `target` hold every dataset that these volumes and their parents are on either side,
/// and all datasets below the target of a volume that `--keep-both` names. If the histories were
/// listed only in part ([`crate::model::Dataset::listed_from`]) and the listed parts have nothing in
/// common, the volume is [`Action::Impossible`]: list them fully first.
pub fn plan(policy: &Policy, source: &Side, target: &Side) -> Plan {
    let drafts = draft(policy, source, target);
    let snapshot = naming::new_snapshot(&drafts, policy);
    let mut volumes: Vec<_> = drafts
        .into_iter()
        .map(|draft| draft.finish(&snapshot))
        .collect();
    keys::keep_whole(&mut volumes, source, target);
    let placeholders = parents::arrange(&mut volumes, target);
    for volume in &mut volumes {
        volume.retention = afterwards::retention(policy, source, target, volume);
        volume.forgets = afterwards::forgets(source, target, volume);
    }
    let snapshot = volumes
        .iter()
        .any(VolumePlan::takes_snapshot)
        .then_some(snapshot);
    Plan {
        direction: policy.direction,
        renames: Vec::new(),
        snapshot,
        placeholders,
        room: Vec::new(),
        volumes,
    }
}

/// One draft for each volume, in the policy's order.
///
/// Parents are decided first: a parent that is renamed aside takes its children's targets with it.
fn draft<'a>(policy: &'a Policy, source: &'a Side, target: &'a Side) -> Vec<Draft<'a>> {
    let mut parents_first: Vec<&VolumePath> = policy.volumes.iter().collect();
    parents_first.sort();
    let mut moved: Vec<DatasetName> = Vec::new();
    let mut drafts: BTreeMap<&VolumePath, Draft<'a>> = BTreeMap::new();
    for volume in parents_first {
        let draft = Draft::new(policy, source, target, volume, &moved);
        moved.extend(draft.moves().cloned());
        drafts.insert(volume, draft);
    }
    let in_order = |volume| drafts.remove(volume);
    policy.volumes.iter().filter_map(in_order).collect()
}
