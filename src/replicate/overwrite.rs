//! What has to be seen to on the target right before a volume's first stream.
//!
//! The plan may be hours old by then: other volumes went first. So what is about to go is listed
//! again, and only what the approved plan names ever goes.

use std::collections::BTreeMap;

use super::volume::{Stop, Worker};
use crate::name::{Createtxg, Guid, SnapshotName};
use crate::plan::{Overwrite, Transfer, VolumePlan};
use crate::zfs::Libzfs;

/// Checks that what is about to go is what was approved, then drops bookmarks of changes that will
/// be undone, and a broken-off receive that cannot go on.
///
/// A volume where that fails ends here: its streams would fail or, worse, fit by accident.
pub(super) fn prepare(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), Stop> {
    let has_victims = !matches!(
        transfer.overwrite,
        Overwrite::Nothing | Overwrite::KeepBoth { .. }
    );
    if !has_victims && !transfer.drops_resume_state {
        return Ok(());
    }
    // The run's own handle belongs to another thread.
    let zfs = Libzfs::open()?;
    if has_victims {
        check_victims(&zfs, worker, volume, transfer)?;
    }
    clear(&zfs, worker, volume, transfer)
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
fn first_victim(worker: &Worker, volume: &VolumePlan, transfer: &Transfer) -> Option<Createtxg> {
    let base = transfer.steps.first()?.base.as_ref()?;
    let base = worker.target.dataset(&volume.target)?.snapshot(base.guid)?;
    Some(Createtxg(base.createtxg.0 + 1))
}

/// The victims in the plan, with the guids that they had in the inventory.
fn approved<'a>(
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

fn clear(
    zfs: &Libzfs,
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), Stop> {
    let target = &volume.target;
    if !transfer.stale_bookmarks.is_empty() {
        let bookmarks = &transfer.stale_bookmarks;
        worker.lzc.destroy_bookmarks(bookmarks)?;
        let number = bookmarks.len();
        log::info!("{target}: destroyed {number} bookmarks of undone changes");
    }
    if transfer.drops_resume_state
        && let Some(dataset) = zfs.dataset(target)?
    {
        worker.lzc.abandon_receive(&dataset)?;
        log::info!("{target}: dropped a broken-off receive that cannot go on");
    }
    Ok(())
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
