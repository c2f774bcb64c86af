//! The partition that a `[USB device…]` section names, and the disk that it is on.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Device, PartUuid};
use crate::system::devices::{sys_directory, whole_disk};

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
    /// The partition of `device`, if it is plugged in.
    pub fn find(device: &Device) -> io::Result<Option<Self>> {
        Self::with(&device.partuuid)
    }

    /// The same partition, as it is now: a disk that was pulled out and came back has new nodes.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::with(&self.partuuid)
            .ok()
            .flatten()
            .unwrap_or_else(|| self.clone())
    }

    /// Other partitions that are plugged in and have the same uuid, as after a copy block by block.
    /// udev's link leads to only one of them, and not always to the same.
    pub fn namesakes(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/sys/class/block").into_iter().flatten();
        let others = entries.flatten().filter(|entry| {
            let sys = entry.path();
            sys.join("partition").exists() && udev_partuuid(&sys).as_ref() == Some(&self.partuuid)
        });
        let nodes = others.map(|entry| Path::new("/dev").join(entry.file_name()));
        nodes.filter(|node| *node != self.path).collect()
    }

    /// True while the kernel has the node under which the partition was found.
    pub fn is_there(&self) -> bool {
        sys_directory(&self.path).is_ok()
    }

    /// True if the kernel writes nothing to it: the disk's switch is set, or somebody asked for that.
    pub fn is_write_protected(&self) -> bool {
        let flag = sys_directory(&self.path).map(|sys| sys.join("ro"));
        flag.and_then(std::fs::read_to_string)
            .is_ok_and(|flag| flag.trim() == "1")
    }

    /// The kernel's counters of reads from and writes to the whole disk; empty if there are none.
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

    /// udev's link, which leads to the partition whatever the present name of its node is.
    pub fn link(&self) -> PathBuf {
        Path::new(BY_PARTUUID).join(self.partuuid.as_str())
    }

    /// Where the container is while it is open.
    pub fn mapping_path(&self) -> PathBuf {
        Path::new("/dev/mapper").join(self.mapping_name())
    }

    /// Name of the mapping under which zbackup opens the container.
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

/// The uuid that udev has read from the partition with this directory below /sys.
fn udev_partuuid(sys: &Path) -> Option<PartUuid> {
    let number = std::fs::read_to_string(sys.join("dev")).ok()?;
    let known = std::fs::read_to_string(format!("/run/udev/data/b{}", number.trim())).ok()?;
    let mut lines = known.lines();
    let uuid = lines.find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_UUID="))?;
    PartUuid::new(uuid).ok()
}
