//! The five checks behind "Safe to unplug".
//!
//! What counts here is what the kernel says now, not what zbackup believes it has done.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use openzfs::{Guid, PoolName, fault};

use super::partition::Partition;
use crate::report::DiskState;
use crate::system::devices::{holders, mapping_of, partitions};
use crate::system::mounts::Table;

/// Something that still holds the disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    /// The state of the disk because of it.
    pub state: DiskState,
    /// Its name.
    pub words: String,
}

/// Checks that nothing in this machine holds the disk any more.
///
/// `imported` is the disk's pool if it is still imported. The error names what holds the disk.
pub fn safe_to_unplug(
    partition: &Partition,
    imported: Option<&(PoolName, Guid)>,
) -> Result<(), Holder> {
    let held = |state| move |words| Holder { state, words };
    if let Some((pool, guid)) = imported {
        let words = format!("its pool {pool} (guid {guid}) is still imported");
        return Err(held(DiskState::Imported)(words));
    }
    let mapping = partition.mapping_path();
    if mapping.exists() {
        let words = format!("its container is still open as {}", mapping.display());
        return Err(held(DiskState::Unlocked)(words));
    }
    check_nodes(partition).map_err(held(DiskState::Closed))
}

fn check_nodes(partition: &Partition) -> Result<(), String> {
    let nodes = partitions(&partition.disk).map_err(|error| unreadable(&partition.disk, &error))?;
    for node in nodes.iter().chain([&partition.disk]) {
        check_holders(node)?;
        check_mounts(node)?;
    }
    open_alone(&partition.disk)
}

fn check_holders(node: &Path) -> Result<(), String> {
    match holders(node)
        .map_err(|error| unreadable(node, &error))?
        .first()
    {
        Some(holder) => Err(format!(
            "{} is in use by the mapping {}",
            node.display(),
            mapping_of(holder).as_ref().unwrap_or(holder)
        )),
        None => Ok(()),
    }
}

fn check_mounts(node: &Path) -> Result<(), String> {
    let mounts =
        Table::read().map_err(|error| unreadable(Path::new("/proc/self/mountinfo"), &error))?;
    match mounts
        .all()
        .iter()
        .find(|mount| Path::new(&mount.source) == node)
    {
        Some(mount) => Err(format!(
            "{} is mounted at {}",
            node.display(),
            mount.path.display()
        )),
        None => Ok(()),
    }
}

/// Opens the whole disk for this process alone, which the kernel refuses while any file system,
/// mapping, pool or swap uses a part of it, and has the disk write its cache out.
///
/// For reading only: when somebody closes a whole disk that was open for writing, udev reads its
/// partition table again, and for a moment nobody can find the partition.
fn open_alone(disk: &Path) -> Result<(), String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(disk)
        .map_err(|error| format!("{} cannot be opened alone: {error}", disk.display()))?;
    fault::at("fsync")
        .map_err(std::io::Error::other)
        .and_then(|()| file.sync_all())
        .map_err(|error| format!("{} did not write its cache out: {error}", disk.display()))
}

fn unreadable(what: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", what.display())
}
