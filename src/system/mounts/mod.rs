//! What is mounted, and the only place that unmounts and mounts again.
//!
//! [`Table`] is `/proc/PID/mountinfo` as plain data. A mount is known by its id: a path may lead to
//! another mount by the time it is used, for example to a tmpfs that somebody has mounted on top.

pub mod beneath;
pub mod namespace;
pub mod options;
pub mod stage;
mod table;
mod unmount;
mod unseen;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use openzfs::{DatasetName, PoolName};

use super::usage::InUse;

pub use stage::Stage;
pub(super) use table::unescape;
pub use table::{Mount, Propagation, Table};
pub use unmount::{check_unused, id_at, unmount};
pub use unseen::open_unseen;

/// Mounts of datasets of `pool`, in order of mounting, without those of snapshots.
pub fn of_pool(pool: &PoolName) -> std::io::Result<Vec<(DatasetName, PathBuf)>> {
    let table = Table::read()?;
    let mounts = table.of_dataset(&pool.root()).into_iter();
    Ok(mounts
        .filter(|mount| mount.snapshot().is_none())
        .filter_map(|mount| Some((mount.dataset()?, mount.path.clone())))
        .collect())
}

/// Unmounts every dataset of `pool`, inner mounts first. The first path that stays mounted is the error.
pub fn unmount_pool(pool: &PoolName) -> Result<(), (PathBuf, InUse)> {
    let table =
        Table::read().map_err(|error| ("/proc/self/mountinfo".into(), error.to_string().into()))?;
    let mut mounts = table.of_dataset(&pool.root());
    Table::parents_first(&mut mounts);
    for mount in mounts.iter().rev() {
        table
            .check_reachable(mount, &mounts)
            .and_then(|()| unmount(mount))
            .map_err(|why| (mount.path.clone(), why))?;
        log::debug!("unmounted {}", mount.path.display());
    }
    Ok(())
}

/// True if something is mounted exactly at `path`.
pub fn is_mount_point(path: &Path) -> std::io::Result<bool> {
    Ok(Table::read()?.all().iter().any(|mount| mount.path == path))
}

/// Makes a file system that is mounted read-only at `path` writable, with these additional options.
pub fn make_writable(path: &Path, options: &str) -> Result<(), String> {
    let flags = options::flags(options)? | MsFlags::MS_REMOUNT;
    remount(path, Some(path), flags)
}

/// Gives a file system, which is temporarily mounted at `place`, the options that it had as `old`, and tells
/// it that it is going to be at `home`.
pub fn move_in(
    place: &Path,
    home: Option<&Path>,
    old: &Mount,
    readonly: bool,
) -> Result<(), String> {
    let mut flags = options::flags_of_file_system(old) | MsFlags::MS_REMOUNT;
    flags.set(MsFlags::MS_RDONLY, readonly);
    remount(place, home, flags)
}

/// OpenZFS mounts the snapshots in `.zfs` by the path at which the file system was last mounted, if it is
/// told the path each time.
fn remount(path: &Path, home: Option<&Path>, flags: MsFlags) -> Result<(), String> {
    let is_readonly = flags.contains(MsFlags::MS_RDONLY);
    let mut data = OsString::from(if is_readonly { "ro" } else { "rw" });
    // A comma would start another option.
    if let Some(home) = home.filter(|home| !home.as_os_str().as_bytes().contains(&b',')) {
        data.push(",mntpoint=");
        data.push(home);
    }
    let nothing = None::<&str>;
    mount(nothing, path, nothing, flags, Some(&*data)).map_err(|errno| errno.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_told_from_what_is_none() {
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self")).unwrap());
        assert!(!is_mount_point(Path::new("/nowhere/at/all")).unwrap());
    }
}
