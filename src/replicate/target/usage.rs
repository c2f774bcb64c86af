//! Whether anybody uses a dataset that is going to be unmounted and changed.

use std::path::Path;

use openzfs::{DatasetName, SnapshotName};

use crate::replicate::in_words;
use crate::system::mounts::{self, Mount, Table, options};
use crate::system::usage::{check_zvol, shows};
use crate::system::users;

/// Fails if a dataset is in use; called before anything is done to it.
pub(in crate::replicate) fn check_unused(top: &DatasetName) -> Result<(), String> {
    check_zvol(top)?;
    let table = Table::read().map_err(in_words)?;
    let mounted = table.of_dataset(top);
    check_mounts(&table, &mounted, top)?;
    // A mount within another counts as a use of it: that shows when the outer one is unmounted.
    let is_around = |mount: &Mount| table.all().iter().any(|other| other.parent == mount.id);
    for mount in mounted.into_iter().filter(|mount| !is_around(mount)) {
        mounts::check_unused(mount)?;
    }
    Ok(())
}

/// Fails if one of these mounts, which are all those of a dataset and of the datasets below it, is
/// covered by a foreign mount, has one within it, or could not be mounted again as it is.
pub(in crate::replicate) fn check_mounts(
    table: &Table,
    mounted: &[&Mount],
    top: &DatasetName,
) -> Result<(), String> {
    // Ending what uses the root file system would not help, and something is always mounted within it.
    if mounted.iter().any(|mount| mount.is_root()) {
        return Err(format!(
            "{top} holds the root of the running system, which cannot be unmounted: only another \
             system, such as a rescue disk's, can change it"
        ));
    }
    for mount in mounted {
        table.check_reachable(mount, mounted)?;
        let path = mount.path.display();
        options::flags(&mount.options).map_err(|why| format!("{path}: {why}"))?;
        let is_deleted = |path: &Path| path.to_string_lossy().ends_with("//deleted");
        if is_deleted(&mount.root) {
            return Err(format!(
                "{path} shows a directory that has been removed, and could not be mounted again"
            ));
        }
        if is_deleted(&mount.path) {
            return Err(format!(
                "{path} was removed, and what is mounted there cannot be reached"
            ));
        }
    }
    let elsewhere =
        users::mounted_elsewhere(|table, mount| shows(mount, top) && !may_follow(table, mount));
    match elsewhere.first() {
        Some(elsewhere) => Err(format!("{top} is in use: {elsewhere}")),
        None => Ok(()),
    }
}

/// True for a mount that lies on one that follows others, and may go when ours do. That is checked
/// afterwards.
fn may_follow(table: &Table, mount: &Mount) -> bool {
    let around = table.get(mount.parent).map(|around| around.propagation);
    around.is_some_and(|around| around.master.is_some() || around.shared.is_some())
}

/// Fails if a snapshot that is going to be destroyed is mounted in another mount namespace. A mount
/// in this namespace is unmounted before.
pub(in crate::replicate) fn check_victims_unused(
    is_victim: impl Fn(&SnapshotName) -> bool,
) -> Result<(), String> {
    let shown = |mount: &Mount| mount.dataset()?.snapshot(mount.snapshot()?).ok();
    let here = Table::read().map_err(in_words)?;
    let is_here = |snapshot: &SnapshotName| {
        (here.all().iter()).any(|mount| shown(mount).as_ref() == Some(snapshot))
    };
    let stays = |table: &Table, mount: &Mount| {
        shown(mount).is_some_and(|snapshot| {
            is_victim(&snapshot) && !(may_follow(table, mount) && is_here(&snapshot))
        })
    };
    match users::mounted_elsewhere(stays).first() {
        Some(elsewhere) => {
            let snapshot = shown(&elsewhere.mount);
            let snapshot = snapshot.map(|name| name.to_string()).unwrap_or_default();
            Err(format!("{snapshot} is in use: {elsewhere}"))
        }
        None => Ok(()),
    }
}
