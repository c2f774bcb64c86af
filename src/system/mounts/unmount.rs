//! Unmounting exactly one mount.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use openzfs::fault;

use super::table::{Mount, Table};
use crate::system::usage::{self, InUse};

/// Unmounts a mount, if its path still leads to it and nothing uses it.
pub fn unmount(mount: &Mount) -> Result<(), InUse> {
    let unmount = || -> Result<(), InUse> {
        fault::at("umount2").map_err(InUse::by)?;
        if mount.is_root() {
            // The kernel would remount it read-only and report success.
            return Err(InUse::by("it is the root of the running system"));
        }
        check_identity(mount)?;
        umount2(&mount.path, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| match errno {
            Errno::EBUSY => usage::of_mount(mount),
            errno => errno.to_string().into(),
        })
    };
    match unmount() {
        // It was unmounted with another mount that it follows, or by the kernel itself.
        Err(_) if is_gone(mount) => Ok(()),
        unmounted => unmounted.map_err(|why| cannot_be_unmounted(mount, why)),
    }
}

fn cannot_be_unmounted(mount: &Mount, why: InUse) -> InUse {
    why.seen_from(|why| format!("{} cannot be unmounted: {why}", mount.path.display()))
}

fn is_gone(mount: &Mount) -> bool {
    Table::read().is_ok_and(|table| table.get(mount.id).is_none())
}

/// Fails if a program, or something of the kernel, uses this mount. It stays mounted.
pub fn check_unused(mount: &Mount) -> Result<(), String> {
    let path = mount.path.display();
    check_identity(mount)?;
    // The kernel marks an unused mount, and unmounts it if it is already marked. Opening and closing
    // it, as was just done, removes the mark.
    match umount2(
        &mount.path,
        MntFlags::MNT_EXPIRE | MntFlags::UMOUNT_NOFOLLOW,
    ) {
        Err(Errno::EAGAIN) => Ok(()),
        Err(Errno::EBUSY) => Err(cannot_be_unmounted(mount, usage::of_mount(mount)).into()),
        Err(errno) => Err(format!("{path}: {errno}")),
        Ok(()) => Err(format!("{path} was unmounted by another program")),
    }
}

fn check_identity(mount: &Mount) -> Result<(), String> {
    match id_at(&mount.path) {
        Ok(id) if id == mount.id => Ok(()),
        Ok(_) => Err("its path leads to another mount".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The id of the mount to which a path leads.
pub fn id_at(path: &Path) -> io::Result<u64> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    id_of(open(path, flags, Mode::empty())?)
}

/// The id of the mount in which an open file is.
fn id_of(file: impl AsFd) -> io::Result<u64> {
    let number = file.as_fd().as_raw_fd();
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    id_in(&facts).ok_or_else(|| io::Error::other("the kernel does not tell its mount id"))
}

/// The same, from what the kernel tells about the open file.
pub(super) fn id_in(facts: &str) -> Option<u64> {
    let id = facts.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_mount_of_the_table() {
        let table = Table::read().unwrap();
        let proc = table.get(id_at(Path::new("/proc")).unwrap()).unwrap();
        assert_eq!(
            (proc.path.as_path(), proc.kind.as_str()),
            (Path::new("/proc"), "proc")
        );
        assert!(check_identity(proc).is_ok());
        let other = Mount {
            path: "/proc/self".into(),
            id: proc.id + 1,
            ..proc.clone()
        };
        assert!(
            unmount(&other)
                .unwrap_err()
                .to_string()
                .contains("leads to another mount")
        );
    }
}
