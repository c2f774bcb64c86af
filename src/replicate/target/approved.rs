//! Compares what is about to go with what was approved, at the last moment.

use std::collections::BTreeMap;

use openzfs::{Bookmark, Createtxg, DatasetKind, Guid, Snapshot, SnapshotName};

use super::usage;
use super::witness::is_witness;
use crate::next::next;
use crate::plan::{Conflict, Direction, Overwrite, Step, Transfer, VolumePlan};
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::worker::Worker;
use crate::replicate::zfs::Found;

/// True where the receive undoes changes of a dataset that people may be working in meanwhile.
pub(in crate::replicate) fn undoes_on_the_host(worker: &Worker, transfer: &Transfer) -> bool {
    undoes(transfer) && worker.plan.direction == Direction::ToHost
}

/// True if the receive undoes changes. What is replaced stays as it is until the new copy has arrived
/// beside it.
pub(in crate::replicate) fn undoes(transfer: &Transfer) -> bool {
    matches!(
        transfer.overwrite,
        Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
    )
}

/// True if the streams change what a zvol of the host holds, below whoever has it open: a file system that
/// lies on it would go on with what it remembers, and damage old and new alike.
pub(in crate::replicate) fn changes_a_zvol_of_the_host(
    worker: &Worker,
    volume: &VolumePlan,
) -> bool {
    let there = worker.target.dataset(&volume.target);
    worker.plan.direction == Direction::ToHost
        && there.is_some_and(|there| there.kind == DatasetKind::Volume)
}

/// Compares all that is about to go with what was approved.
pub(in crate::replicate) fn check_approved(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), VolumeError> {
    check_victims(worker, volume, transfer)?;
    // `written` lags behind until then.
    worker.zfs.sync(&volume.target.pool())?;
    let dataset = worker.zfs.dataset(&volume.target)?;
    let dataset =
        dataset.ok_or_else(|| VolumeError::Refused(format!("{} is gone", volume.target)))?;
    check_written(worker, volume, transfer, &dataset)
}

/// Compares what no snapshot holds with what was approved.
fn check_written(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    dataset: &Found,
) -> Result<(), VolumeError> {
    let properties = &dataset.reported;
    let slack_bytes = worker.target.log_reset_bytes;
    let approved_bytes = match &transfer.overwrite {
        Overwrite::Placeholder => {
            let target = &volume.target;
            if (worker.zfs).is_empty_placeholder(target, slack_bytes)? {
                return Ok(());
            }
            let referenced_bytes = properties.number("referenced").unwrap_or(0);
            return Err(VolumeError::Conflict {
                why: format!("{} was used meanwhile, nothing was changed", volume.target),
                conflict: Conflict::NoCommonSnapshot {
                    snapshots: Vec::new(),
                    referenced_bytes,
                    copy_of: None,
                },
            });
        }
        Overwrite::RollBack { written_bytes }
        | Overwrite::Destroy { written_bytes, .. }
        | Overwrite::Replace { written_bytes, .. } => *written_bytes,
        _ => return Ok(()),
    };
    let written_bytes = properties.number("written").unwrap_or(0);
    let checked = if written_bytes > approved_bytes.saturating_add(slack_bytes) {
        let target = &volume.target;
        Err(format!("{target} was written to after you saw the table"))
    } else {
        let witnesses = worker.witnesses;
        witnesses.check(worker.zfs, &volume.target, &volume.target, slack_bytes)
    };
    let Err(why) = checked else {
        return Ok(());
    };
    let base = transfer.steps.first().and_then(|step| step.base.as_ref());
    Err(VolumeError::Conflict {
        why: format!("{why}, nothing was destroyed"),
        conflict: match base {
            Some(base) => Conflict::Modified {
                base: base.label.clone(),
                written_bytes,
                atime: has_atime(worker, volume),
            },
            None => Conflict::NoCommonSnapshot {
                snapshots: approved(worker, volume, transfer)
                    .into_keys()
                    .cloned()
                    .collect(),
                copy_of: None,
                referenced_bytes: properties.number("referenced").unwrap_or(0),
            },
        },
    })
}

/// Compares the target's snapshots after the base with those that were approved.
///
/// A forced receive destroys whatever it finds after its base, also what was made a moment ago.
pub(in crate::replicate) fn check_victims(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), VolumeError> {
    let target = &volume.target;
    if worker.zfs.dataset(target)?.is_none() {
        return Err(VolumeError::Refused(format!("{target} is gone")));
    }
    if matches!(transfer.overwrite, Overwrite::Replace { .. }) && worker.zfs.has_children(target)? {
        return Err(VolumeError::Refused(format!(
            "{target} has children by now"
        )));
    }
    check_bookmarks(worker, volume)?;
    let from = first_victim(worker, volume, transfer);
    let mut found = worker.zfs.snapshots(target, from)?;
    found.retain(|snapshot| !is_witness(&snapshot.name));
    if let Some(held) = found.iter().find(|snapshot| snapshot.holds > 0) {
        return Err(VolumeError::Refused(format!(
            "{} is held by now (zfs holds), nothing was destroyed",
            held.name
        )));
    }
    let mut clones = found.iter().flat_map(|snapshot| &snapshot.clones);
    if let Some(clone) = clones.next() {
        return Err(VolumeError::Refused(format!(
            "{clone} was cloned from {target} by now, nothing was destroyed"
        )));
    }
    let found = found.iter().map(|one| (&one.name, one.guid)).collect();
    let approved = approved(worker, volume, transfer);
    match difference(&approved, &found) {
        Some(difference) => Err(VolumeError::Refused(format!(
            "{difference}, so {target} is not what you saw in the table; nothing was destroyed"
        ))),
        None => usage::check_victims_unused(|one| approved.contains_key(one)).map_err(|why| {
            VolumeError::Refused(next!(
                "in-use",
                "{why}; nothing was destroyed. End what uses it, then run the same command again"
            ))
        }),
    }
}

/// Refuses bookmarks that nobody has seen in the table: they would go with their dataset, or stand for
/// what is undone.
fn check_bookmarks(worker: &Worker, volume: &VolumePlan) -> Result<(), VolumeError> {
    let target = worker.target.dataset(&volume.target);
    // Those that are no base any more were there as well.
    let known = target.map(|target| target.bookmarks.iter().chain(&target.doubtful));
    let known: Vec<&Bookmark> = known.into_iter().flatten().collect();
    let is_new = |found: &Bookmark| {
        !(known.iter()).any(|known| known.name == found.name && known.guid == found.guid)
    };
    let found = worker.zfs.bookmarks(&volume.target)?;
    match found.into_iter().find(is_new) {
        Some(new) => Err(VolumeError::Refused(format!(
            "{} is new, so {} is not what you saw in the table; nothing was destroyed",
            new.name, volume.target
        ))),
        None => Ok(()),
    }
}

/// From where on the target's snapshots go: after the base, or all where there is none.
pub(in crate::replicate) fn first_victim(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Option<Createtxg> {
    let base = transfer.steps.first()?.base.as_ref()?;
    let base = worker.target.dataset(&volume.target)?.snapshot(base.guid)?;
    Some(Createtxg(base.createtxg.0 + 1))
}

/// The victims in the plan, with the guids that they had in the inventory. The witness of a run that was
/// killed is none: it has made way for this run's.
pub(in crate::replicate) fn approved<'a>(
    worker: &Worker<'a>,
    volume: &VolumePlan,
    transfer: &'a Transfer,
) -> BTreeMap<&'a SnapshotName, Guid> {
    let (Overwrite::Destroy { snapshots, .. } | Overwrite::Replace { snapshots, .. }) =
        &transfer.overwrite
    else {
        return BTreeMap::new();
    };
    let known = worker.target.dataset(&volume.target);
    let known = known.map_or(&[][..], |target| &target.snapshots);
    known
        .iter()
        .filter(|one| snapshots.contains(&one.name) && !is_witness(&one.name))
        .map(|one| (&one.name, one.guid))
        .collect()
}

/// The first thing that is in one list alone.
fn difference(
    approved: &BTreeMap<&SnapshotName, Guid>,
    found: &BTreeMap<&SnapshotName, Guid>,
) -> Option<String> {
    let new = found.iter().find(|(name, _)| !approved.contains_key(*name));
    let gone = approved.iter().find(|(name, _)| !found.contains_key(*name));
    let other = found
        .iter()
        .find(|(name, guid)| approved.get(*name) != Some(guid));
    match (new, gone, other) {
        (Some((name, _)), ..) => Some(format!("{name} is new")),
        (_, Some((name, _)), _) => Some(format!("{name} is gone")),
        (.., Some((name, _))) => Some(format!("{name} is another snapshot by now")),
        _ => None,
    }
}

fn has_atime(worker: &Worker, volume: &VolumePlan) -> bool {
    let target = worker.target.dataset(&volume.target);
    target.is_some_and(|target| target.atime)
}

/// What keeps a stream off a target that was free for it in the plan: what somebody has done there
/// since, or `None` where that is nothing that the plan would call a conflict.
pub(in crate::replicate) fn changed_meanwhile(
    worker: &Worker,
    volume: &VolumePlan,
    step: &Step,
) -> Result<Option<Conflict>, VolumeError> {
    worker.zfs.sync(&volume.target.pool())?;
    let Some(dataset) = worker.zfs.dataset(&volume.target)? else {
        return Ok(None);
    };
    let properties = &dataset.reported;
    if let Some(state) = worker.zfs.resume_state(properties)
        && state.to_name != step.to.name().to_string()
    {
        let received_bytes = Some(state.received_bytes);
        return Ok(Some(Conflict::ForeignResumeState { received_bytes }));
    }
    let snapshots = worker.zfs.snapshots(&volume.target, None)?;
    Ok(match &step.base {
        None => Some(Conflict::NoCommonSnapshot {
            snapshots: snapshots.into_iter().map(|one| one.name).collect(),
            referenced_bytes: properties.number("referenced").unwrap_or(0),
            copy_of: None,
        }),
        Some(base) => {
            let written_bytes = properties.number("written").unwrap_or(0);
            changed_after(base.guid, &snapshots, written_bytes, worker, volume)
        }
    })
}

/// What the target has after its snapshot `base`: snapshots, or this much that is in none.
fn changed_after(
    base: Guid,
    snapshots: &[Snapshot],
    written_bytes: u64,
    worker: &Worker,
    volume: &VolumePlan,
) -> Option<Conflict> {
    let place = snapshots.iter().position(|one| one.guid == base)?;
    let base = &snapshots[place];
    let newer = &snapshots[place + 1..];
    if !newer.is_empty() {
        Some(Conflict::diverged(base, newer, written_bytes))
    } else if written_bytes > worker.target.log_reset_bytes {
        Some(Conflict::Modified {
            base: base.name.short().to_owned(),
            written_bytes,
            atime: has_atime(worker, volume),
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a=1 b=2` as names and guids.
    fn names(text: &str) -> Vec<(SnapshotName, Guid)> {
        let one = |word: &str| {
            let (name, guid) = word.split_once('=').unwrap();
            let name = SnapshotName::new(&format!("tank/home@{name}")).unwrap();
            (name, Guid(guid.parse().unwrap()))
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn any_difference_is_named() {
        for (approved, found, expected) in [
            ("", "", None),
            ("a=1 b=2", "a=1 b=2", None),
            ("a=1", "a=1 b=2", Some("tank/home@b is new")),
            ("", "a=1", Some("tank/home@a is new")),
            ("a=1 b=2", "b=2", Some("tank/home@a is gone")),
            ("a=1", "", Some("tank/home@a is gone")),
            ("a=1", "a=9", Some("tank/home@a is another snapshot by now")),
        ] {
            let (approved, found) = (names(approved), names(found));
            let approved = approved.iter().map(|(name, guid)| (name, *guid)).collect();
            let found = found.iter().map(|(name, guid)| (name, *guid)).collect();
            assert_eq!(difference(&approved, &found).as_deref(), expected);
        }
    }
}
