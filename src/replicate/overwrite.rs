//! What has to be seen to on the target right before a volume's first stream, and after it.
//!
//! The plan may be hours old by then: other volumes went first. So what is about to go is looked at
//! again, and only what the approved plan names ever goes.

use std::collections::BTreeMap;

use super::quiet::Quiet;
use super::stale::Stale;
use super::volume::{Stop, Worker};
use crate::inventory::{EMPTY_BOOKMARK, is_empty_placeholder, resume_state};
use crate::name::{Createtxg, Guid, SnapshotName};
use crate::plan::{Conflict, Direction, Overwrite, Step, Transfer, VolumePlan};
use crate::snapshot::Snapshot;
use crate::zfs::{Dataset, Libzfs};

/// A target that is ready for its first stream, until [`Prepared::end`].
#[derive(Default)]
pub(super) struct Prepared {
    /// Keeps everybody from writing to what a forced receive is going to undo.
    quiet: Option<Quiet>,
    stale: Stale,
}

/// Checks that what is about to go is what was approved, then drops bookmarks of changes that will
/// be undone, and a broken-off receive that cannot go on.
///
/// A volume where that fails ends here: its streams would fail or, worse, fit by accident.
pub(super) fn prepare(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<Prepared, Stop> {
    let has_victims = !matches!(
        transfer.overwrite,
        Overwrite::Nothing | Overwrite::KeepBoth { .. }
    );
    if !has_victims && !transfer.drops_resume_state {
        return Ok(Prepared::default());
    }
    // The run's own handle belongs to another thread.
    let zfs = Libzfs::open()?;
    let mut prepared = Prepared::default();
    if undoes_on_the_host(worker, transfer) {
        prepared.quiet = Some(Quiet::around(&volume.target, worker.terminal)?);
    }
    let cleared = check(&zfs, worker, volume, transfer, has_victims)
        .and_then(|()| drop_resume_state(&zfs, worker, volume, transfer))
        .and_then(|()| Stale::destroy(worker, volume, transfer));
    match cleared {
        Ok(stale) => {
            prepared.stale = stale;
            Ok(prepared)
        }
        Err(stop) => Err(stop.with(&prepared.end(worker, volume, transfer, false))),
    }
}

impl Prepared {
    /// Puts back what was taken away for the first stream alone, which has `arrived` or not.
    /// Returns warnings.
    pub fn end(
        self,
        worker: &Worker,
        volume: &VolumePlan,
        transfer: &Transfer,
        arrived: bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if !arrived {
            warnings.extend(self.stale.restore(worker, volume));
        } else if transfer.overwrite == Overwrite::Placeholder {
            forget_that_it_was_empty(worker, volume);
        }
        warnings.extend(self.quiet.map(Quiet::end).unwrap_or_default());
        warnings
    }
}

/// True where the receive undoes changes of a dataset that people may be working in meanwhile.
fn undoes_on_the_host(worker: &Worker, transfer: &Transfer) -> bool {
    let undoes = matches!(
        transfer.overwrite,
        Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
    );
    undoes && worker.plan.direction == Direction::ToHost
}

fn check(
    zfs: &Libzfs,
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    has_victims: bool,
) -> Result<(), Stop> {
    if !has_victims {
        return Ok(());
    }
    check_victims(zfs, worker, volume, transfer)?;
    // Nobody writes to copies on the disk.
    if undoes_on_the_host(worker, transfer) || transfer.overwrite == Overwrite::Placeholder {
        // `written` lags behind until then.
        worker.lzc.sync(&volume.target.pool())?;
        let dataset = zfs.dataset(&volume.target)?;
        let dataset = dataset.ok_or_else(|| Stop::Refused(format!("{} is gone", volume.target)))?;
        check_written(worker, volume, transfer, &dataset)?;
    }
    Ok(())
}

/// Compares what no snapshot holds with what was approved.
fn check_written(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    dataset: &Dataset,
) -> Result<(), Stop> {
    let properties = dataset.reported_properties();
    let slack_bytes = worker.target.log_reset_bytes;
    let approved_bytes = match &transfer.overwrite {
        Overwrite::Placeholder => {
            if is_empty_placeholder(dataset, &properties, slack_bytes) {
                return Ok(());
            }
            let referenced_bytes = properties.number("referenced").unwrap_or(0);
            return Err(Stop::Conflict {
                why: format!("{} was used meanwhile, nothing was changed", volume.target),
                conflict: Conflict::NoCommonSnapshot {
                    snapshots: Vec::new(),
                    referenced_bytes,
                },
            });
        }
        Overwrite::RollBack { written_bytes } | Overwrite::Destroy { written_bytes, .. } => {
            *written_bytes
        }
        _ => return Ok(()),
    };
    let written_bytes = properties.number("written").unwrap_or(0);
    if written_bytes <= approved_bytes.saturating_add(slack_bytes) {
        return Ok(());
    }
    let base = transfer.steps.first().and_then(|step| step.base.as_ref());
    Err(Stop::Conflict {
        why: format!(
            "{} was written to after you saw the table, nothing was destroyed",
            volume.target
        ),
        conflict: Conflict::Modified {
            base: base.map(|base| base.label.clone()).unwrap_or_default(),
            written_bytes,
            atime: has_atime(worker, volume),
        },
    })
}

/// Compares the target's snapshots after the base with those that were approved.
///
/// A forced receive destroys whatever it finds after its base, also what was made a moment ago.
pub(super) fn check_victims(
    zfs: &Libzfs,
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), Stop> {
    let target = &volume.target;
    let Some(dataset) = zfs.dataset(target)? else {
        return Err(Stop::Refused(format!("{target} is gone")));
    };
    if matches!(transfer.overwrite, Overwrite::Replace { .. }) && !dataset.children()?.is_empty() {
        return Err(Stop::Refused(format!("{target} has children by now")));
    }
    let found = dataset.snapshots(first_victim(worker, volume, transfer))?;
    let found = found.iter().map(|one| (&one.name, one.guid)).collect();
    let approved = approved(worker, volume, transfer);
    match difference(&approved, &found) {
        Some(difference) => Err(Stop::Refused(format!(
            "{difference}, so {target} is not what you saw in the table; nothing was destroyed"
        ))),
        None => Ok(()),
    }
}

/// From where on the target's snapshots go: after the base, or all where there is none.
pub(super) fn first_victim(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Option<Createtxg> {
    let base = transfer.steps.first()?.base.as_ref()?;
    let base = worker.target.dataset(&volume.target)?.snapshot(base.guid)?;
    Some(Createtxg(base.createtxg.0 + 1))
}

/// The victims in the plan, with the guids that they had in the inventory.
pub(super) fn approved<'a>(
    worker: &Worker<'a>,
    volume: &VolumePlan,
    transfer: &'a Transfer,
) -> BTreeMap<&'a SnapshotName, Guid> {
    let (Overwrite::Destroy { snapshots, .. } | Overwrite::Replace { snapshots }) =
        &transfer.overwrite
    else {
        return BTreeMap::new();
    };
    let known = worker.target.dataset(&volume.target);
    let known = known.map_or(&[][..], |target| &target.snapshots);
    known
        .iter()
        .filter(|one| snapshots.contains(&one.name))
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

/// Drops the broken-off receive that the plan saw, and no other.
fn drop_resume_state(
    zfs: &Libzfs,
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), Stop> {
    let target = &volume.target;
    if !transfer.drops_resume_state {
        return Ok(());
    }
    let Some(dataset) = zfs.dataset(target)? else {
        return Ok(());
    };
    let found = resume_state(zfs, &dataset.properties())?;
    if found.is_none() && !dataset.is_inconsistent() {
        // Somebody finished or dropped it.
        return Ok(());
    }
    let planned = worker.target.dataset(target);
    let planned = planned.and_then(|target| target.resume.as_ref());
    let is_the_same = found.as_ref().map(|state| &state.token) == planned.map(|state| &state.token);
    if !is_the_same {
        return Err(Stop::Refused(format!(
            "{target} has another broken-off receive by now; nothing was dropped"
        )));
    }
    worker.lzc.abandon_receive(&dataset)?;
    log::info!("{target}: dropped a broken-off receive that cannot go on");
    Ok(())
}

/// The new copy is no empty parent any more, and its bookmarks are for bases alone.
fn forget_that_it_was_empty(worker: &Worker, volume: &VolumePlan) {
    let Ok(bookmark) = volume.target.bookmark(EMPTY_BOOKMARK) else {
        return;
    };
    if let Err(error) = worker
        .lzc
        .destroy_bookmarks(std::slice::from_ref(&bookmark))
    {
        log::warn!("{bookmark} is left: {error}");
    }
}

fn has_atime(worker: &Worker, volume: &VolumePlan) -> bool {
    let target = worker.target.dataset(&volume.target);
    target.is_some_and(|target| target.atime)
}

/// What keeps a stream off a target that was free for it in the plan: what somebody has done there
/// since, or `None` where that is nothing that the plan would call a conflict.
pub(super) fn changed_meanwhile(
    worker: &Worker,
    volume: &VolumePlan,
    step: &Step,
) -> Result<Option<Conflict>, Stop> {
    let zfs = Libzfs::open()?;
    worker.lzc.sync(&volume.target.pool())?;
    let Some(dataset) = zfs.dataset(&volume.target)? else {
        return Ok(None);
    };
    let properties = dataset.reported_properties();
    if let Some(state) = resume_state(&zfs, &properties)?
        && state.to_name != step.to.name().to_string()
    {
        let received_bytes = Some(state.received_bytes);
        return Ok(Some(Conflict::ForeignResumeState { received_bytes }));
    }
    let snapshots = dataset.snapshots(None)?;
    Ok(match &step.base {
        None => Some(Conflict::NoCommonSnapshot {
            snapshots: snapshots.into_iter().map(|one| one.name).collect(),
            referenced_bytes: properties.number("referenced").unwrap_or(0),
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
