//! The plan that is shown and carried out: it is made again until nothing is left to be looked up, has
//! the sizes of its streams, and leaves out what does not fit.
//!
//! The planner itself ([`crate::plan`]) knows only what was listed, and long histories are listed in part.
//! If it needs more, a [`Probe`] is asked.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use openzfs::{Createtxg, Error, SnapshotName};

use crate::model::{Side, VolumePath};
use crate::plan::{self, Action, Plan, Policy, Room, VolumePlan};

/// Looks up what a plan needs and the inventory does not have.
pub trait Probe {
    /// True if there is a snapshot of this name. If it cannot be looked up, it counts as absent.
    fn exists(&self, snapshot: &SnapshotName) -> bool;

    /// Adds what lies below and beside the targets of these volumes, which are in conflict.
    ///
    /// # Errors
    ///
    /// If the target cannot be read.
    fn add_surroundings(&self, target: &mut Side, volumes: &[VolumePath]) -> Result<(), Error>;

    /// Lists the histories of these volumes from their beginning.
    fn list_in_full(&self, target: &mut Side, volumes: &[&VolumePath]);

    /// Fills in how large the streams of each volume will be, and how much space they will take on
    /// the target.
    fn estimate(&self, plan: &mut Plan, source: &Side, target: &Side);

    /// Bytes that become free with each volume's [`plan::goes_first`].
    fn freed_bytes(&self, plan: &Plan, target: &Side) -> BTreeMap<VolumePath, u64>;
}

/// Makes the plan. What is looked up for it stays in `target`.
///
/// With `try_anyway` the user also wants to try what does not fit.
///
/// # Errors
///
/// If the target cannot be read.
pub fn prepare(
    policy: &Policy,
    source: &Side,
    target: &mut Side,
    probe: &dyn Probe,
    try_anyway: bool,
) -> Result<Plan, Error> {
    let mut policy = policy.clone();
    let mut plan = with_all_known(&mut policy, source, target, probe)?;
    fit(&mut plan, &policy, (source, target), probe, try_anyway);
    Ok(plan)
}

/// Plans again until nothing unlisted can be in the way: only the end of a long history is listed,
/// and a snapshot with the new name, or with a name that is to be sent, may be further back. What
/// is below and beside a target matters only if there is a conflict.
fn with_all_known(
    policy: &mut Policy,
    source: &Side,
    target: &mut Side,
    probe: &dyn Probe,
) -> Result<Plan, Error> {
    let renames = plan::follow(policy, source, target);
    let mut surroundings_are_known = false;
    loop {
        let plan = plan::plan(policy, source, target);
        let conflicts = in_conflict(&plan);
        if !conflicts.is_empty() && !surroundings_are_known {
            surroundings_are_known = true;
            probe.add_surroundings(target, &conflicts)?;
            continue;
        }
        let hidden = with_hidden_namesakes(&plan, target, probe);
        if !hidden.is_empty() {
            probe.list_in_full(target, &hidden);
            continue;
        }
        let snapshot = plan.snapshot.clone();
        let Some(taken) = snapshot.filter(|name| is_taken(&plan, name, probe)) else {
            return Ok(Plan { renames, ..plan });
        };
        policy.taken_names.insert(taken);
    }
}

fn in_conflict(plan: &Plan) -> Vec<VolumePath> {
    let volumes = plan.volumes.iter();
    let conflicts = volumes.filter(|volume| matches!(volume.action, Action::Conflict(_)));
    conflicts.map(|volume| volume.volume.clone()).collect()
}

/// Volumes for which the target has the name of a snapshot that is to be sent, in the part of its
/// history that is not listed. It may be the same snapshot, so that there is nothing to send.
fn with_hidden_namesakes<'a>(
    plan: &'a Plan,
    target: &Side,
    probe: &dyn Probe,
) -> Vec<&'a VolumePath> {
    let is_hidden = |volume: &&VolumePlan| {
        let dataset = target.dataset(&volume.target);
        let in_part = dataset.is_some_and(|dataset| dataset.listed_from > Createtxg::default());
        let is_there = |short: &str| {
            let name = volume.target.snapshot(short);
            name.is_ok_and(|name| probe.exists(&name))
        };
        in_part && volume.sends_existing().any(|name| is_there(name.short()))
    };
    let hidden = plan.volumes.iter().filter(is_hidden);
    hidden.map(|volume| &volume.volume).collect()
}

fn is_taken(plan: &Plan, short: &str, probe: &dyn Probe) -> bool {
    let volumes = plan.volumes.iter().filter(|volume| volume.takes_snapshot());
    let mut datasets = volumes.flat_map(|volume| [&volume.source, &volume.target]);
    datasets.any(|dataset| {
        let name = dataset.snapshot(short);
        name.is_ok_and(|name| probe.exists(&name))
    })
}

/// Removes from the plan what does not fit, and notes which of it would fit with fewer old snapshots.
fn fit(
    plan: &mut Plan,
    policy: &Policy,
    (source, target): (&Side, &mut Side),
    probe: &dyn Probe,
    try_anyway: bool,
) {
    let check = |plan: &mut Plan, target: &Side| {
        probe.estimate(plan, source, target);
        let room = Room {
            freed_bytes: probe.freed_bytes(plan, target),
            try_anyway,
        };
        plan::check_space(plan, target, &room);
    };
    check(plan, target);
    let fewest = Some(NonZeroUsize::MIN);
    if !plan.has_unfit() || (policy.source_keep, policy.target_keep) == (fewest, fewest) {
        return;
    }
    let volumes: Vec<_> = policy.volumes.iter().collect();
    probe.list_in_full(target, &volumes);
    let with_fewer = Policy {
        source_keep: fewest,
        target_keep: fewest,
        ..policy.clone()
    };
    let mut with_fewer = plan::plan(&with_fewer, source, target);
    check(&mut with_fewer, target);
    plan::note_what_fits_with_fewer(plan, &with_fewer);
}
