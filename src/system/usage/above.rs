//! What is above a device or a mount: mappings, loop devices, file systems, programs.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{InUse, ended, ended_elsewhere, typed, unmounted};
use crate::next::next;
use crate::system::devices::{
    self, holders, is_node, loops, mapping_of, node_of, number_of, partitions,
};
use crate::system::mounts::{Mount, Table, unescape};
use crate::system::users;

/// Looks upwards from a device or a mount, and at each only once: a loop device may be mounted over its
/// own file.
pub(super) struct Above<'t> {
    table: &'t Table,
    seen: BTreeSet<PathBuf>,
}

impl<'t> Above<'t> {
    pub fn new(table: &'t Table) -> Self {
        Self {
            table,
            seen: BTreeSet::new(),
        }
    }

    /// Fails if a block device, or a partition of it, is in use. The words continue "It …".
    pub fn check_device(&mut self, node: &Path) -> Result<(), InUse> {
        if !self.seen.insert(node.to_owned()) {
            return Ok(());
        }
        let unreadable = |error: io::Error| format!("cannot be looked at: {error}");
        for partition in partitions(node).map_err(unreadable)? {
            self.check_device(&partition)?;
        }
        let mut built_on_it = holders(node).map_err(unreadable)?;
        built_on_it.extend(loops(|file| is_node(file, node)));
        if let Some(above) = built_on_it.first() {
            return Err(self.belongs_to(above));
        }
        if is_swap(node) {
            let end = next!("end-swap", "End that (swapoff {}).", typed(node));
            return Err(InUse::by("is swap space").until([end]));
        }
        self.check_mounted(node)?;
        check_open(node)
    }

    /// The error that a device above uses it, and what uses that device.
    fn belongs_to(&mut self, above: &str) -> InUse {
        let node = node_of(above);
        let (name, end) = match mapping_of(above) {
            Some(mapping) => (
                format!("the mapping {mapping}"),
                Some(next!(
                    "end-mapping",
                    "Remove the mapping (dmsetup remove {mapping})."
                )),
            ),
            None if devices::backing_file(above).is_some() => {
                // Other loop devices disappear by themselves when nothing uses them any more.
                let end = || next!("end-loop", "Detach it (losetup -d {}).", node.display());
                (
                    node.display().to_string(),
                    (!devices::is_automatic(above)).then(end),
                )
            }
            None => (
                node.display().to_string(),
                Some(next!(
                    "end-array",
                    "Stop {} (mdadm --stop).",
                    node.display()
                )),
            ),
        };
        let words = format!("belongs to {name}");
        let in_use = match self.check_device(&node) {
            Ok(()) => InUse::by(words),
            Err(upper) => upper.seen_from(|upper| format!("{words}, which {upper}")),
        };
        in_use.until(end)
    }

    fn check_mounted(&mut self, node: &Path) -> Result<(), InUse> {
        let number = number_of(node).map(shown);
        // btrfs has a device number of its own, and names the device.
        let lies_there = |mount: &Mount| {
            Path::new(&mount.source) == node || Some(&mount.device_number) == number.as_ref()
        };
        if let Some(mount) = self.table.all().iter().find(|mount| lies_there(mount)) {
            let words = format!("is mounted at {}", mount.path.display());
            let in_use = match self.check_path(&mount.path) {
                Ok(()) => InUse::by(words),
                Err(upper) => upper.seen_from(|upper| format!("{words}, and {upper}")),
            };
            return Err(in_use.until(unmounted([mount])));
        }
        match users::mounted_elsewhere(|_, mount| lies_there(mount)).first() {
            Some(elsewhere) => {
                let words = format!("is mounted: {elsewhere}");
                Err(InUse::by(words).until(ended_elsewhere(elsewhere)))
            }
            None => Ok(()),
        }
    }

    /// Fails if a program, a loop device or an NFS client uses the mount at this path.
    pub fn check_path(&mut self, path: &Path) -> Result<(), InUse> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let users = users::of_path(path);
        if !users.is_empty() {
            let words = format!("it is used by {}", users::names(&users));
            return Err(InUse::by(words).until(ended(&users)));
        }
        if let Some(name) = loops(|file| file.starts_with(path)).first() {
            let file = devices::backing_file(name).unwrap_or_default();
            let in_use = self.belongs_to(name);
            return Err(in_use.seen_from(|words| format!("{} {words}", file.display())));
        }
        match exports().into_iter().find(|(at, _)| at.starts_with(path)) {
            Some((at, client)) => {
                let words = format!("NFS exports {} to {client}", at.display());
                let end = next!(
                    "end-export",
                    "Stop exporting it (exportfs -u {}).",
                    typed(Path::new(&format!("{client}:{}", at.display())))
                );
                Err(InUse::by(words).until([end]))
            }
            None => Ok(()),
        }
    }
}

fn check_open(node: &Path) -> Result<(), InUse> {
    let users = users::of_block_devices(&number_of(node).into_iter().collect());
    if !users.is_empty() {
        let words = format!("is open in {}", users::names(&users));
        return Err(InUse::by(words).until(ended(&users)));
    }
    let mut alone = OpenOptions::new();
    match alone.read(true).custom_flags(libc::O_EXCL).open(node) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(InUse::by(
            "is used by something of the kernel, such as another pool",
        )),
        _ => Ok(()),
    }
}

/// A device number as the mount table shows it.
fn shown(device: u64) -> String {
    use nix::sys::stat::{major, minor};
    format!("{}:{}", major(device), minor(device))
}

fn is_swap(node: &Path) -> bool {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let mut files = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next());
    files.any(|file| is_node(Path::new(file), node))
}

/// What the kernel exports by NFS, and to whom.
fn exports() -> Vec<(PathBuf, String)> {
    exports_in(&fs::read("/proc/net/rpc/nfsd.export/content").unwrap_or_default())
}

/// `/home\t*(rw,root_squash)`; an expired entry is still there, after a `#`.
fn exports_in(content: &[u8]) -> Vec<(PathBuf, String)> {
    use std::os::unix::ffi::OsStringExt;
    let export = |line: &[u8]| {
        let line = line.strip_prefix(b"# ").unwrap_or(line);
        let mut fields = line.split(|&byte| byte == b'\t');
        let path = std::ffi::OsString::from_vec(unescape(fields.next()?));
        let client = String::from_utf8(unescape(fields.next()?)).ok()?;
        let client = client.split('(').next()?.to_owned();
        Some((PathBuf::from(path), client))
    };
    content
        .split(|&byte| byte == b'\n')
        .filter_map(export)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read() {
        let content = b"#path domain(flags)\n/srv/my\\040home\t*(rw,no_root_squash)\n\
                        # /srv/old\t10.0.0.0/8(ro)\n";
        let expected = [("/srv/my home", "*"), ("/srv/old", "10.0.0.0/8")];
        let expected = expected.map(|(path, client)| (path.into(), client.to_owned()));
        assert_eq!(exports_in(content), expected);
    }
}
