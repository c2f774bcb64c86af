//! The partition that a `[USB device…]` section names, and the disk it lies on.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Device, PartUuid};

/// Where udev keeps a link for every partition.
const BY_PARTUUID: &str = "/dev/disk/by-partuuid";

/// A configured partition that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its identity.
    pub partuuid: PartUuid,
    /// Its device node now, such as `/dev/sdb1`.
    pub path: PathBuf,
    /// The node of the whole disk, such as `/dev/sdb`.
    pub disk: PathBuf,
}

impl Partition {
    /// The partition of `device`, where it is plugged in.
    pub fn find(device: &Device) -> io::Result<Option<Self>> {
        Self::with(&device.partuuid)
    }

    /// The same partition, as it is now: a disk that was pulled out and came back has other nodes.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::with(&self.partuuid)
            .ok()
            .flatten()
            .unwrap_or_else(|| self.clone())
    }

    /// True while the kernel has the node that the partition was found as.
    pub fn is_there(&self) -> bool {
        sys_directory(&self.path).is_ok()
    }

    /// What was read from the whole disk and written to it, in the kernel's words; empty without it.
    pub fn counters(&self) -> String {
        let stat = sys_directory(&self.disk).map(|sys| sys.join("stat"));
        stat.and_then(std::fs::read_to_string).unwrap_or_default()
    }

    fn with(partuuid: &PartUuid) -> io::Result<Option<Self>> {
        let link = Path::new(BY_PARTUUID).join(partuuid.as_str());
        let path = match link.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let disk = whole_disk(&path)?;
        Ok(Some(Self {
            partuuid: partuuid.clone(),
            path,
            disk,
        }))
    }

    /// udev's link, which leads to the partition whatever its node is called at the moment.
    pub fn link(&self) -> PathBuf {
        Path::new(BY_PARTUUID).join(self.partuuid.as_str())
    }

    /// Where the container is while it is open.
    pub fn mapping_path(&self) -> PathBuf {
        Path::new("/dev/mapper").join(self.mapping_name())
    }

    /// Name of the mapping that zbackup opens the container as.
    pub fn mapping_name(&self) -> String {
        mapping_name(&self.partuuid)
    }
}

/// Name of the device-mapper mapping of a partition's container.
pub fn mapping_name(partuuid: &PartUuid) -> String {
    format!("zbackup-{partuuid}")
}

/// Directories in which a new partition's link appears; those that exist can be watched.
pub fn watched_directories() -> impl Iterator<Item = &'static Path> {
    ["/dev", "/dev/disk", BY_PARTUUID]
        .into_iter()
        .map(Path::new)
        .filter(|path| path.is_dir())
}

/// The node of the disk that a partition's node belongs to; a node that is no partition is its own disk.
pub fn whole_disk(node: &Path) -> io::Result<PathBuf> {
    let sys = sys_directory(node)?;
    let disk = if sys.join("partition").exists() {
        sys.parent().unwrap_or(&sys)
    } else {
        &sys
    };
    let name = disk.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(Path::new("/dev").join(name))
}

/// Names (`dm-0`) of the block devices that are built on this node.
pub fn holders(node: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(sys_directory(node)?.join("holders"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The partitions of a whole disk, as nodes.
pub fn partitions(disk: &Path) -> io::Result<Vec<PathBuf>> {
    let mut nodes = Vec::new();
    for entry in std::fs::read_dir(sys_directory(disk)?)? {
        let entry = entry?;
        if entry.path().join("partition").exists() {
            nodes.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    Ok(nodes)
}

/// What to call a `dm-N` device: its mapping's name.
pub fn mapping_of(holder: &str) -> String {
    let name = Path::new("/sys/class/block").join(holder).join("dm/name");
    std::fs::read_to_string(name).map_or_else(|_| holder.to_owned(), |name| name.trim().to_owned())
}

fn sys_directory(node: &Path) -> io::Result<PathBuf> {
    let name = node.file_name().ok_or(io::ErrorKind::NotFound)?;
    Path::new("/sys/class/block").join(name).canonicalize()
}
