//! What is mounted, read from `/proc/self/mountinfo`, and how it is unmounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::fault;
use crate::name::{DatasetName, PoolName};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the mounted file system.
    pub device_number: String,
    /// Where it is mounted.
    pub path: PathBuf,
    /// `ext4`, `zfs`, …
    pub kind: String,
    /// The device, or the dataset of a ZFS mount.
    pub source: OsString,
}

/// Everything that is mounted in this process's mount namespace, in order of mounting.
pub fn all() -> std::io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// Mounts of datasets of `pool`, in order of mounting.
pub fn of_pool(pool: &PoolName) -> std::io::Result<Vec<(DatasetName, PathBuf)>> {
    let mut mounts = Vec::new();
    for mount in all()?.into_iter().filter(|mount| mount.kind == "zfs") {
        let source = mount.source.to_string_lossy();
        // A mounted snapshot (`.zfs/snapshot/x`) belongs to its dataset.
        let dataset = source.split('@').next().unwrap_or_default();
        if let Ok(name) = DatasetName::new(dataset)
            && name.is_within(&pool.root())
        {
            mounts.push((name, mount.path));
        }
    }
    Ok(mounts)
}

/// Unmounts every dataset of `pool`, the last mounted first. The first path that stays is the error.
pub fn unmount_pool(pool: &PoolName) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mounts = of_pool(pool).map_err(|error| (PathBuf::from("/proc/self/mountinfo"), error))?;
    let mut unmounted = Vec::new();
    for (_, path) in mounts.into_iter().rev() {
        fault::at("umount2").map_err(|words| (path.clone(), std::io::Error::other(words)))?;
        umount2(&path, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| (path.clone(), errno.into()))?;
        log::debug!("unmounted {}", path.display());
        unmounted.push(path);
    }
    Ok(unmounted)
}

/// True where something is mounted exactly at `path`.
pub fn is_mount_point(path: &Path) -> std::io::Result<bool> {
    Ok(all()?.iter().any(|mount| mount.path == path))
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device_number = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let path = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // The number of optional fields varies; a single dash ends them.
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = OsString::from_vec(unescape(fields.next()?));
    Some(Mount {
        device_number,
        path,
        kind,
        source,
    })
}

/// Undoes the kernel's octal escapes (`\040` is a space).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0u8, |value, &digit| {
                (b'0'..=b'7')
                    .contains(&digit)
                    .then(|| value.wrapping_mul(8) + (digit - b'0'))
            })
        };
        if first == b'\\'
            && let Some(byte) = tail.get(..3).and_then(octal)
        {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes() {
        let line = b"36 35 0:98 / /mnt/my\\040disk/home rw,noatime master:1 shared:2 - zfs backup/my\\040home rw,xattr\n";
        let mounts = parse(line);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].path, Path::new("/mnt/my disk/home"));
        assert_eq!(mounts[0].source, "backup/my home");
        assert_eq!(
            (mounts[0].kind.as_str(), mounts[0].device_number.as_str()),
            ("zfs", "0:98")
        );
    }

    #[test]
    fn a_line_without_optional_fields() {
        let mounts = parse(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw");
        assert_eq!(mounts[0].source, "/dev/sda1");
        assert!(parse(b"nonsense\n\n22 1 8:1 / /").is_empty());
    }

    #[test]
    fn the_root_is_a_mount_point() {
        assert!(is_mount_point(Path::new("/")).unwrap());
        assert!(!is_mount_point(Path::new("/nowhere/at/all")).unwrap());
    }
}
