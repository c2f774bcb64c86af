//! `/proc/PID/mountinfo` as plain data.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use openzfs::DatasetName;
use serde::{Deserialize, Serialize};

use crate::system::usage::{self, InUse};

/// One line of mountinfo: a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its identity for as long as it is mounted.
    pub id: u64,
    /// The mount on which it lies.
    pub parent: u64,
    /// `major:minor` of the file system, as in `st_dev` of its files.
    pub device_number: String,
    /// The directory (or file) of the file system that is visible there: `/` unless it is a bind mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub path: PathBuf,
    /// The options of this mount alone: `rw,nosuid,relatime`.
    pub options: String,
    /// Which other mounts follow the mounts within this one.
    pub propagation: Propagation,
    /// `ext4`, `zfs`, …
    pub kind: String,
    /// The device, or the dataset or snapshot of a ZFS mount.
    pub source: OsString,
    /// The options of the file system, for all its mounts: `rw,xattr,noacl`.
    pub super_options: String,
}

/// How a mount is tied to others, see `mount_namespaces(7)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// The peer group to which it belongs.
    pub shared: Option<u64>,
    /// The peer group that it follows.
    pub master: Option<u64>,
    /// It cannot be bind mounted.
    pub unbindable: bool,
}

impl Mount {
    /// The dataset of a ZFS mount. A snapshot belongs to its dataset.
    pub fn dataset(&self) -> Option<DatasetName> {
        let source = self.zfs_source()?;
        DatasetName::new(source.split('@').next()?).ok()
    }

    /// The short name of the snapshot that a ZFS mount shows.
    pub fn snapshot(&self) -> Option<&str> {
        self.zfs_source()?.split_once('@').map(|(_, short)| short)
    }

    /// True for the root of this process and of the whole running system.
    pub fn is_root(&self) -> bool {
        self.path == Path::new("/")
    }

    /// True for a snapshot that the kernel has mounted because somebody looked into `.zfs/snapshot`,
    /// and will mount again the next time.
    pub fn is_automatic(&self) -> bool {
        self.snapshot().is_some() && self.path.iter().any(|part| part == ".zfs")
    }

    /// What it is, in a message.
    pub fn words(&self) -> String {
        let (kind, path) = (&self.kind, self.path.display());
        match self.zfs_source() {
            Some(source) => format!("{source} at {path}"),
            None => format!("{} ({kind}) at {path}", self.source.to_string_lossy()),
        }
    }

    fn zfs_source(&self) -> Option<&str> {
        self.source.to_str().filter(|_| self.kind == "zfs")
    }
}

/// Everything that is mounted in one mount namespace, in order of mounting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table(Vec<Mount>);

impl Table {
    /// Reads the table of this process's namespace.
    pub fn read() -> std::io::Result<Self> {
        Self::of_process("self")
    }

    /// Reads the table of another process's namespace.
    pub fn of_process(pid: &str) -> std::io::Result<Self> {
        let text = std::fs::read(Path::new("/proc").join(pid).join("mountinfo"))?;
        Ok(Self::parse(&text))
    }

    pub(in crate::system) fn parse(text: &[u8]) -> Self {
        let lines = text.split(|&byte| byte == b'\n');
        Self(lines.filter_map(parse_line).collect())
    }

    /// All mounts.
    pub fn all(&self) -> &[Mount] {
        &self.0
    }

    /// The mount with this id.
    pub fn get(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// Mounts of a dataset, of all datasets below it, and of their snapshots.
    pub fn of_dataset(&self, top: &DatasetName) -> Vec<&Mount> {
        let is_of = |mount: &&Mount| mount.dataset().is_some_and(|name| name.is_within(top));
        self.0.iter().filter(is_of).collect()
    }

    /// Orders mounts so that each comes after the one on which it lies, and otherwise keeps their order.
    pub fn parents_first(mounts: &mut Vec<&Mount>) {
        let mut waiting = std::mem::take(mounts);
        while !waiting.is_empty() {
            let is_free = |mount: &&Mount| waiting.iter().all(|other| other.id != mount.parent);
            let next = waiting.iter().position(is_free).unwrap_or_default();
            mounts.push(waiting.remove(next));
        }
    }

    /// Fails if a path does not lead to this mount, or if something is mounted within it, apart from
    /// `others`, which are unmounted before it.
    pub fn check_reachable(&self, mount: &Mount, others: &[&Mount]) -> Result<(), InUse> {
        let ours: BTreeSet<u64> = others.iter().map(|mount| mount.id).collect();
        let path = mount.path.display();
        if let Some(cover) = self.covering(mount, &ours) {
            return Err(InUse::by(format!("{path} is covered by {}", cover.words()))
                .until(usage::unmounted([cover])));
        }
        let is_stranger = |other: &&Mount| other.parent == mount.id && !ours.contains(&other.id);
        let within: Vec<_> = self.0.iter().filter(is_stranger).collect();
        if !within.is_empty() {
            let words: Vec<_> = within.iter().map(|mount| mount.words()).collect();
            let words = words.join(", ");
            return Err(InUse::by(format!("within {path} is mounted {words}"))
                .until(usage::unmounted(within)));
        }
        Ok(())
    }

    /// What hides a mount: something on top of it, or over a directory that leads to it.
    fn covering(&self, mount: &Mount, ours: &BTreeSet<u64>) -> Option<&Mount> {
        let on_top = |other: &&Mount| other.parent == mount.id && other.path == mount.path;
        let beside = |place: &Mount, other: &Mount| {
            other.parent == place.parent
                && other.id != place.id
                && place.path.starts_with(&other.path)
        };
        let leads = std::iter::once(mount).chain(self.above(mount));
        let covers = |other: &Mount| leads.clone().any(|place| beside(place, other));
        let mut strangers = self.0.iter().filter(|other| !ours.contains(&other.id));
        strangers.find(|other| on_top(other) || covers(other))
    }

    /// The mounts on which a mount lies, the nearest first.
    fn above(&self, mount: &Mount) -> Vec<&Mount> {
        let mut above: Vec<&Mount> = Vec::new();
        let mut parent = mount.parent;
        while let Some(next) = self.get(parent)
            && above.len() < self.0.len()
        {
            parent = next.parent;
            above.push(next);
        }
        above
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let number = |field: &[u8]| text(field).parse().ok();
    let os_text = |field: &[u8]| OsString::from_vec(unescape(field));
    let (id, parent) = (number(next()?)?, number(next()?)?);
    let device_number = text(next()?);
    let root = os_text(next()?).into();
    let path = os_text(next()?).into();
    let options = text(next()?);
    // The number of optional fields varies; a single dash ends them.
    let mut propagation = Propagation::default();
    loop {
        let field = text(next()?);
        match field.split_once(':') {
            _ if field == "-" => break,
            _ if field == "unbindable" => propagation.unbindable = true,
            Some(("shared", group)) => propagation.shared = group.parse().ok(),
            Some(("master", group)) => propagation.master = group.parse().ok(),
            _ => {}
        }
    }
    Some(Mount {
        id,
        parent,
        device_number,
        root,
        path,
        options,
        propagation,
        kind: text(next()?),
        source: os_text(next()?),
        super_options: next().map(text).unwrap_or_default(),
    })
}

/// Undoes the kernel's octal escapes (`\040` is a space).
pub(in crate::system) fn unescape(field: &[u8]) -> Vec<u8> {
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
        let line = b"36 35 0:98 /pub /mnt/my\\040disk/home rw,noatime master:1 shared:2 - zfs backup/my\\040home@x rw,xattr\n";
        let table = Table::parse(line);
        let [mount] = table.all() else {
            panic!("{table:?}")
        };
        assert_eq!((mount.id, mount.parent), (36, 35));
        assert_eq!(mount.device_number, "0:98");
        assert_eq!(mount.root, Path::new("/pub"));
        assert_eq!(mount.path, Path::new("/mnt/my disk/home"));
        assert_eq!(mount.options, "rw,noatime");
        let propagation = Propagation {
            shared: Some(2),
            master: Some(1),
            unbindable: false,
        };
        assert_eq!(mount.propagation, propagation);
        assert_eq!(
            (mount.kind.as_str(), mount.super_options.as_str()),
            ("zfs", "rw,xattr")
        );
        assert_eq!(mount.dataset().unwrap().as_str(), "backup/my home");
        assert_eq!(mount.snapshot(), Some("x"));
    }

    #[test]
    fn a_line_without_optional_fields() {
        let table = Table::parse(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw");
        assert_eq!(table.all()[0].source, "/dev/sda1");
        assert_eq!(table.all()[0].dataset(), None);
        assert!(Table::parse(b"nonsense\n\n22 1 8:1 / /").all().is_empty());
    }

    /// What keeps /data, a mount of tank/home, from being unmounted.
    fn obstacle(more: &str) -> Result<(), String> {
        let text = format!(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /srv/data rw - zfs tank/home rw\n{more}"
        );
        let table = Table::parse(text.as_bytes());
        let ours = table.of_dataset(&DatasetName::new("tank/home").unwrap());
        let mount = table.get(2).unwrap();
        table.check_reachable(mount, &ours).map_err(String::from)
    }

    #[test]
    fn what_covers_a_mount_is_named() {
        for (more, expected) in [
            ("", None),
            // Another place, another mount of the same dataset, one of its children.
            ("3 1 0:6 / /srv/data2 rw - tmpfs x rw", None),
            ("3 2 0:5 / /srv/data rw - zfs tank/home rw", None),
            ("3 2 0:7 / /srv/data/vic rw - zfs tank/home/vic rw", None),
            (
                "3 2 0:6 / /srv/data rw - tmpfs secrets rw",
                Some("/srv/data is covered by secrets (tmpfs) at /srv/data"),
            ),
            (
                "3 1 0:6 / /srv rw - tmpfs above rw",
                Some("/srv/data is covered by above (tmpfs) at /srv"),
            ),
            (
                "3 1 0:6 / / rw - tmpfs root rw",
                Some("/srv/data is covered by root (tmpfs) at /"),
            ),
            (
                "3 2 0:6 / /srv/data/tmp rw - tmpfs x rw\n4 2 0:8 / /srv/data/other rw - zfs tank/other rw",
                Some(
                    "within /srv/data is mounted x (tmpfs) at /srv/data/tmp, tank/other at /srv/data/other",
                ),
            ),
        ] {
            assert_eq!(obstacle(more).err().as_deref(), expected, "{more}");
        }
    }

    #[test]
    fn what_lies_on_others_comes_later() {
        let table = Table::parse(
            b"5 4 0:7 / /a/b rw - zfs tank/a/b rw\n4 1 0:5 / /a rw - zfs tank/a rw\n\
              1 0 8:1 / / rw - ext4 x rw\n6 5 0:5 / /a/b/c rw - zfs tank/a rw\n\
              7 1 0:5 / /d rw - zfs tank/a rw",
        );
        let mut mounts = table.of_dataset(&DatasetName::new("tank/a").unwrap());
        Table::parents_first(&mut mounts);
        assert_eq!(
            mounts.iter().map(|mount| mount.id).collect::<Vec<_>>(),
            [4, 5, 6, 7]
        );
    }
}
