//! The top directory of a mounted ZFS file system to which no path leads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use openzfs::DatasetName;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// Opens it through a mount that is not attached anywhere. All mounts of a dataset share one file system
/// in the kernel.
pub fn open_unseen(dataset: &DatasetName) -> io::Result<File> {
    // A file system that is mounted read-only cannot also be mounted writable.
    open(dataset, false).or_else(|_| open(dataset, true))
}

fn open(dataset: &DatasetName, readonly: bool) -> io::Result<File> {
    let context = fsopen("zfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", dataset.as_str())?;
    if readonly {
        fsconfig_set_flag(context.as_fd(), "ro")?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    File::open(format!("/proc/self/fd/{}", mount.as_raw_fd()))
}
