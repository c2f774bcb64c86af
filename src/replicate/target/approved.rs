//! Compares, at the last moment, what is about to be destroyed with what was approved.

use std::collections::BTreeMap;

use openzfs::{Bookmark, Createtxg, DatasetKind, Guid, Snapshot, SnapshotName};

use super::usage;
use super::witness::is_witness;
use crate::next::next;
use crate::plan::{Conflict, Direction, Overwrite, Step, Transfer};
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;
use crate::replicate::zfs::Found;

/// True if the receive undoes changes of a dataset that people may be working in meanwhile.
pub(in crate::replicate) fn undoes_on_the_host(volume: &VolumeRun) -> bool {
    undoes(volume.transfer) && volume.run.plan.direction == Direction::ToHost
}

/// True if the receive undoes changes. A dataset that is replaced stays as it is until the new copy
/// has arrived beside it.
pub(in crate::replicate) fn undoes(transfer: &Transfer) -> bool {
    matches!(
        transfer.overwrite,
        Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
    )
}

/// True if the streams change the data of a zvol of the host, beneath whoever has it open: a file system
/// on it would continue with its cached state, and damage old and new data alike.
pub(in crate::replicate) fn changes_a_zvol_of_the_host(volume: &VolumeRun) -> bool {
    let there = volume.before;
    volume.run.plan.direction == Direction::ToHost
        && there.is_some_and(|there| there.kind == DatasetKind::Volume)
}

/// Compares everything that is about to be destroyed with what was approved.
pub(in crate::replicate) fn check_approved(volume: &VolumeRun) -> Result<(), VolumeError> {
    check_victims(volume)?;
    // `written` lags behind until then.
    volume.run.zfs.sync(&volume.plan.target.pool())?;
    let dataset = volume.run.zfs.dataset(&volume.plan.target)?;
    let dataset =
        dataset.ok_or_else(|| VolumeError::Refused(format!("{} is gone", volume.plan.target)))?;
    check_written(volume, &dataset)
}

/// Compares data that is in no snapshot with what was approved.
fn check_written(volume: &VolumeRun, dataset: &Found) -> Result<(), VolumeError> {
    let properties = &dataset.reported;
    let slack_bytes = volume.run.target.log_reset_bytes;
    let approved_bytes = match &volume.transfer.overwrite {
        Overwrite::Placeholder => {
            let target = &volume.plan.target;
            if (volume.run.zfs).is_empty_placeholder(target, slack_bytes)? {
                return Ok(());
            }
            let referenced_bytes = properties.number("referenced").unwrap_or(0);
            return Err(VolumeError::Conflict {
                why: format!(
                    "{} was used meanwhile, nothing was changed",
                    volume.plan.target
                ),
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
        let target = &volume.plan.target;
        Err(format!("{target} was written to after you saw the table"))
    } else {
        let witnesses = volume.witnesses;
        witnesses.check(
            volume.run.zfs,
            &volume.plan.target,
            &volume.plan.target,
            slack_bytes,
        )
    };
    let Err(why) = checked else {
        return Ok(());
    };
    let base = volume
        .transfer
        .steps
        .first()
        .and_then(|step| step.base.as_ref());
    Err(VolumeError::Conflict {
        why: format!("{why}, nothing was destroyed"),
        conflict: match base {
            Some(base) => Conflict::Modified {
                base: base.label.clone(),
                written_bytes,
                atime: has_atime(volume),
            },
            None => Conflict::NoCommonSnapshot {
                snapshots: approved(volume).into_keys().cloned().collect(),
                copy_of: None,
                referenced_bytes: properties.number("referenced").unwrap_or(0),
            },
        },
    })
}

/// Compares the target's snapshots after the base with those that were approved.
///
/// A forced receive destroys whatever it finds after its base, even what was made a moment ago.
pub(in crate::replicate) fn check_victims(volume: &VolumeRun) -> Result<(), VolumeError> {
    let target = &volume.plan.target;
    if volume.run.zfs.dataset(target)?.is_none() {
        return Err(VolumeError::Refused(format!("{target} is gone")));
    }
    if matches!(volume.transfer.overwrite, Overwrite::Replace { .. })
        && volume.run.zfs.has_children(target)?
    {
        return Err(VolumeError::Refused(format!(
            "{target} has children by now"
        )));
    }
    check_bookmarks(volume)?;
    let from = first_victim(volume);
    let mut found = volume.run.zfs.snapshots(target, from)?;
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
    let approved = approved(volume);
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

/// Refuses bookmarks that were not in the table: they would be destroyed with their dataset, or stand
/// for what is undone.
fn check_bookmarks(volume: &VolumeRun) -> Result<(), VolumeError> {
    let target = volume.before;
    // Doubtful bookmarks were there as well.
    let known = target.map(|target| target.bookmarks.iter().chain(&target.doubtful));
    let known: Vec<&Bookmark> = known.into_iter().flatten().collect();
    let is_new = |found: &Bookmark| {
        !(known.iter()).any(|known| known.name == found.name && known.guid == found.guid)
    };
    let found = volume.run.zfs.bookmarks(&volume.plan.target)?;
    match found.into_iter().find(is_new) {
        Some(new) => Err(VolumeError::Refused(format!(
            "{} is new, so {} is not what you saw in the table; nothing was destroyed",
            new.name, volume.plan.target
        ))),
        None => Ok(()),
    }
}

/// The point from which the target's snapshots are destroyed: after the base, or from the beginning
/// if there is none.
pub(in crate::replicate) fn first_victim(volume: &VolumeRun) -> Option<Createtxg> {
    let base = volume.transfer.steps.first()?.base.as_ref()?;
    let base = volume.before?.snapshot(base.guid)?;
    Some(Createtxg(base.createtxg.0 + 1))
}

/// The victims in the plan, with the guids that they had in the inventory. A killed run's witness is no
/// victim: this run's witness has replaced it.
pub(in crate::replicate) fn approved<'a>(
    volume: &VolumeRun<'a>,
) -> BTreeMap<&'a SnapshotName, Guid> {
    let (Overwrite::Destroy { snapshots, .. } | Overwrite::Replace { snapshots, .. }) =
        &volume.transfer.overwrite
    else {
        return BTreeMap::new();
    };
    let known = volume.before;
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

fn has_atime(volume: &VolumeRun) -> bool {
    let target = volume.before;
    target.is_some_and(|target| target.atime)
}

/// What prevents a stream into a target that was free for it in the plan: what somebody has done
/// there since, or `None` if the plan would not call that a conflict.
pub(in crate::replicate) fn changed_meanwhile(
    volume: &VolumeRun,
    step: &Step,
) -> Result<Option<Conflict>, VolumeError> {
    volume.run.zfs.sync(&volume.plan.target.pool())?;
    let Some(dataset) = volume.run.zfs.dataset(&volume.plan.target)? else {
        return Ok(None);
    };
    let properties = &dataset.reported;
    if let Some(state) = volume.run.zfs.resume_state(properties)
        && state.to_name != step.to.name().to_string()
    {
        let received_bytes = Some(state.received_bytes);
        return Ok(Some(Conflict::ForeignResumeState { received_bytes }));
    }
    let snapshots = volume.run.zfs.snapshots(&volume.plan.target, None)?;
    Ok(match &step.base {
        None => Some(Conflict::NoCommonSnapshot {
            snapshots: snapshots.into_iter().map(|one| one.name).collect(),
            referenced_bytes: properties.number("referenced").unwrap_or(0),
            copy_of: None,
        }),
        Some(base) => {
            let written_bytes = properties.number("written").unwrap_or(0);
            changed_after(base.guid, &snapshots, written_bytes, volume)
        }
    })
}

/// What the target has after its snapshot `base`: snapshots, or this many bytes that are in none.
fn changed_after(
    base: Guid,
    snapshots: &[Snapshot],
    written_bytes: u64,
    volume: &VolumeRun,
) -> Option<Conflict> {
    let place = snapshots.iter().position(|one| one.guid == base)?;
    let base = &snapshots[place];
    let newer = &snapshots[place + 1..];
    if !newer.is_empty() {
        Some(Conflict::diverged(base, newer, written_bytes))
    } else if written_bytes > volume.run.target.log_reset_bytes {
        Some(Conflict::Modified {
            base: base.name.short().to_owned(),
            written_bytes,
            atime: has_atime(volume),
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
