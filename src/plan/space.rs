//! Whether the plan fits on the target, and what is destroyed first to make it fit.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::DatasetName;

use super::types::{Action, Conflict, OldSnapshot, Plan, Quota, Retention, VolumePlan};
use crate::model::VolumePath;
use crate::model::{Dataset, Side};

/// Room that a volume needs beyond its streams' size for the target's metadata: one part in this many …
const MARGIN_PART: u64 = 64;
/// … plus this many bytes in any case.
const MARGIN_BYTES: u64 = 1024 * 1024;

/// What is known of the target's free space besides its inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes that become free with each volume's [`goes_first`].
    pub freed_bytes: BTreeMap<VolumePath, u64>,
    /// The user also wants to try what does not fit.
    pub try_anyway: bool,
}

/// The old snapshots of a volume's target that can be destroyed before its streams arrive:
/// retention destroys them anyway, and no stream of this run starts from one of them or from
/// anything older. If a stream is then interrupted, the volume is as complete as before.
pub fn goes_first<'a>(volume: &'a VolumePlan, target: &Side) -> Vec<&'a OldSnapshot> {
    let Some(dataset) = target.dataset(&volume.target) else {
        return Vec::new();
    };
    let old = volume.retention.target.old.iter();
    match &volume.action {
        Action::UpToDate(_) => old.collect(),
        Action::Send(transfer) => {
            let base = transfer.steps.first().and_then(|step| step.base.as_ref());
            let base = base.and_then(|base| dataset.snapshot(base.guid));
            let resumes_from = dataset.resume.as_ref().and_then(|state| state.from_guid);
            old.filter(|old| {
                let now = dataset.snapshot(old.guid).zip(base);
                now.is_some_and(|(old, base)| old.createtxg < base.createtxg)
                    && resumes_from != Some(old.guid)
            })
            .collect()
        }
        Action::Conflict(_) | Action::Impossible(_) => Vec::new(),
    }
}

/// Turns what does not fit into [`Conflict::DoesNotFit`], volume by volume in the plan's order.
///
/// If something does not fit, what retention is going to remove anyway is removed first
/// ([`Plan::room`]), as far as that helps. Smaller volumes after one that does not fit are still sent.
/// A volume that waits for a parent that does not fit is not sent either. What only dropped volumes
/// needed, placeholders and the snapshot, is dropped with them. Volumes without
/// [`VolumePlan::stored_bytes`] are taken to fit.
///
/// What a roll-back or a destroy frees is not counted: it becomes free only at the end of the receive.
pub fn check_space(plan: &mut Plan, target: &Side, room: &Room) {
    let mut dropped = BTreeMap::new();
    let mut makes_room = false;
    while let Some((index, unfit)) = first_unfit(plan, target, room, &dropped, makes_room) {
        if makes_room || room.freed_bytes.values().all(|&bytes| bytes == 0) {
            if room.try_anyway {
                break;
            }
            dropped.insert(index, unfit);
            // The remaining volumes may fit without it.
            makes_room = false;
        } else {
            makes_room = true;
        }
    }
    for (index, conflict) in dropped {
        let volume = &mut plan.volumes[index];
        volume.waits_for = None;
        volume.retention = Retention::default();
        volume.action = Action::Conflict(conflict);
    }
    drop_orphans(plan);
    drop_unneeded(plan);
    if makes_room {
        make_room(plan, target);
    }
}

/// The first volume that does not fit beside those before it, with the conflict.
fn first_unfit(
    plan: &Plan,
    target: &Side,
    room: &Room,
    dropped: &BTreeMap<usize, Conflict>,
    makes_room: bool,
) -> Option<(usize, Conflict)> {
    let volumes = || {
        let volumes = plan.volumes.iter().enumerate();
        volumes.filter(|(index, _)| !dropped.contains_key(index))
    };
    let freed = volumes().filter(|_| makes_room).filter_map(|(_, volume)| {
        let bytes = room.freed_bytes.get(&volume.volume)?;
        Some((&volume.target, -i128::from(*bytes)))
    });
    let mut taken: Vec<(&DatasetName, i128)> = freed.collect();
    for (index, volume) in volumes() {
        let Some(stored_bytes) = expected_bytes(volume) else {
            continue;
        };
        let needed_bytes = with_margin(stored_bytes);
        let (free_bytes, quota) = free_for(&volume.target, target, &taken);
        if needed_bytes > free_bytes {
            let conflict = Conflict::DoesNotFit {
                needed_bytes,
                free_bytes,
                quota,
                fits_with_fewer: false,
            };
            return Some((index, conflict));
        }
        taken.push((&volume.target, i128::from(needed_bytes)));
    }
    None
}

/// What is left for a dataset after what is `taken`, and the quota that limits it.
fn free_for(
    name: &DatasetName,
    target: &Side,
    taken: &[(&DatasetName, i128)],
) -> (u64, Option<Quota>) {
    let taken_below = |top: Option<&DatasetName>| -> i128 {
        let below = taken
            .iter()
            .filter(|(name, _)| top.is_none_or(|top| name.is_within(top)));
        below.map(|(_, bytes)| bytes).sum()
    };
    let rest = |free_bytes: u64, taken_bytes: i128| {
        let rest = (i128::from(free_bytes) - taken_bytes).max(0);
        u64::try_from(rest).unwrap_or(u64::MAX)
    };
    let pool_rest = rest(target.free_bytes, taken_below(None));
    let above = name.ancestors();
    let mut existing = above
        .iter()
        .chain([name])
        .filter_map(|name| target.dataset(name));
    let mut quotas = existing.clone().rev();
    let quota = quotas.find_map(|dataset| quota_of(dataset, name));
    let Some(nearest) = existing.next_back() else {
        return (pool_rest, None);
    };
    let Some(quota) = quota.filter(|_| nearest.available_bytes < target.free_bytes) else {
        return (pool_rest, None);
    };
    let quota_rest = rest(nearest.available_bytes, taken_below(Some(&quota.dataset)));
    if quota_rest < pool_rest {
        (quota_rest, Some(quota))
    } else {
        (pool_rest, None)
    }
}

/// The quota of this dataset that leaves least for `name`, which is this dataset or below it.
fn quota_of(dataset: &Dataset, name: &DatasetName) -> Option<Quota> {
    let set = |property| {
        let bytes: u64 = dataset.local_properties.get(property)?.parse().ok()?;
        (bytes > 0).then_some(bytes)
    };
    // `refquota` counts nothing that is below the dataset.
    let own = set("refquota").filter(|_| dataset.name == *name);
    let left_by_own = own.map(|bytes| bytes.saturating_sub(dataset.referenced_bytes));
    let property = if left_by_own.is_some_and(|left| left <= dataset.available_bytes) {
        "refquota"
    } else {
        set("quota").map(|_| "quota")?
    };
    Some(Quota {
        dataset: dataset.name.clone(),
        property,
    })
}

/// Moves what is destroyed first from the end of the run to its beginning.
fn make_room(plan: &mut Plan, target: &Side) {
    for volume in &mut plan.volumes {
        let first: Vec<OldSnapshot> = goes_first(volume, target).into_iter().cloned().collect();
        let old = &mut volume.retention.target.old;
        old.retain(|old| first.iter().all(|first| first.guid != old.guid));
        plan.room.extend(first);
    }
}

/// Notes which volumes would fit with fewer snapshots, by a plan that keeps one of each.
pub fn note_what_fits_with_fewer(plan: &mut Plan, with_fewer: &Plan) {
    for (volume, other) in plan.volumes.iter_mut().zip(&with_fewer.volumes) {
        if let Action::Conflict(Conflict::DoesNotFit {
            fits_with_fewer, ..
        }) = &mut volume.action
        {
            *fits_with_fewer = matches!(other.action, Action::Send(_));
        }
    }
}

fn expected_bytes(volume: &VolumePlan) -> Option<u64> {
    match volume.action {
        Action::Send(_) => volume.stored_bytes,
        _ => None,
    }
}
fn with_margin(estimated_bytes: u64) -> u64 {
    estimated_bytes
        .saturating_add(estimated_bytes / MARGIN_PART)
        .saturating_add(MARGIN_BYTES)
}

/// Drops children of a parent that will not arrive, until none is left, since they may have children too.
fn drop_orphans(plan: &mut Plan) {
    loop {
        let sent: BTreeSet<VolumePath> = plan
            .volumes
            .iter()
            .filter(|volume| matches!(volume.action, Action::Send(_)))
            .map(|volume| volume.volume.clone())
            .collect();
        let orphan = plan.volumes.iter_mut().find_map(|volume| {
            let parent = volume.waits_for.clone()?;
            let is_orphan = sent.contains(&volume.volume) && !sent.contains(&parent);
            is_orphan.then_some((volume, parent))
        });
        let Some((volume, parent)) = orphan else {
            return;
        };
        volume.waits_for = None;
        volume.action = Action::Impossible(format!("its parent {parent} does not fit"));
    }
}

/// Drops placeholders and the snapshot if no remaining volume needs them.
fn drop_unneeded(plan: &mut Plan) {
    let is_sent = |volume: &&VolumePlan| matches!(volume.action, Action::Send(_));
    let targets: Vec<&DatasetName> = plan
        .volumes
        .iter()
        .filter(is_sent)
        .map(|v| &v.target)
        .collect();
    plan.placeholders
        .retain(|parent| targets.iter().any(|target| target.is_within(parent)));
    if !plan.volumes.iter().any(VolumePlan::takes_snapshot) {
        plan.snapshot = None;
    }
}
