//! Block devices, as the kernel shows them below `/sys`: what they are part of and what is on them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use openzfs::PoolName;

/// Where the kernel lists block devices, partitions included.
pub const BLOCK_DEVICES: &str = "/sys/class/block";

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
    for entry in fs::read_dir(sys_directory(node)?.join("holders"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The partitions of a whole disk, as nodes.
pub fn partitions(disk: &Path) -> io::Result<Vec<PathBuf>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir(sys_directory(disk)?)? {
        let entry = entry?;
        if entry.path().join("partition").exists() {
            nodes.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    Ok(nodes)
}

/// The mapping name of a `dm-N` device.
pub fn mapping_of(device: &str) -> Option<String> {
    let name = fs::read_to_string(Path::new(BLOCK_DEVICES).join(device).join("dm/name")).ok()?;
    Some(name.trim().to_owned())
}

/// The directory in which the kernel tells about a device.
pub fn sys_directory(node: &Path) -> io::Result<PathBuf> {
    let name = node.file_name().ok_or(io::ErrorKind::NotFound)?;
    Path::new(BLOCK_DEVICES).join(name).canonicalize()
}

/// The node of a device with this name.
pub fn node_of(device: &str) -> PathBuf {
    Path::new("/dev").join(device.replace('!', "/"))
}

/// True if `path` is the node of this device, or a link to it, such as those of LVM.
pub fn is_node(path: &Path, node: &Path) -> bool {
    path.starts_with("/dev")
        && (path == node || fs::canonicalize(path).is_ok_and(|path| path == node))
}

/// The number of a block device.
pub fn number_of(node: &Path) -> Option<u64> {
    let found = fs::metadata(node).ok()?;
    found.file_type().is_block_device().then(|| found.rdev())
}

/// The file, or device, that a loop device shows.
pub fn backing_file(device: &str) -> Option<PathBuf> {
    let file = Path::new(BLOCK_DEVICES)
        .join(device)
        .join("loop/backing_file");
    let path = fs::read_to_string(file).ok()?;
    Some(PathBuf::from(path.trim_end_matches('\n')))
}

/// True for a loop device that disappears by itself when nothing uses it any more.
pub fn is_automatic(loop_device: &str) -> bool {
    let flag = Path::new(BLOCK_DEVICES)
        .join(loop_device)
        .join("loop/autoclear");
    fs::read_to_string(flag).is_ok_and(|flag| flag.trim() == "1")
}

/// The loop devices that show a file, or device, which is one of these.
pub fn loops(is_one: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut loops = names_in(Path::new(BLOCK_DEVICES));
    loops.retain(|name| backing_file(name).is_some_and(|file| is_one(&file)));
    loops.sort();
    loops
}

/// The path where udev links the zvol of this name, or the zvols of a pool. It writes blanks in another way.
pub fn zvol_link(name: impl fmt::Display) -> PathBuf {
    Path::new("/dev/zvol").join(name.to_string().replace(' ', "+"))
}

/// Devices of zvols to which no link leads, so that their datasets are unknown.
pub fn nameless_zvols() -> Vec<String> {
    let known = all_zvols();
    let mut names = names_in(Path::new(BLOCK_DEVICES));
    names.retain(|name| {
        let is_partition = Path::new(BLOCK_DEVICES)
            .join(name)
            .join("partition")
            .exists();
        name.starts_with("zd") && !is_partition && !known.contains_key(name)
    });
    names
}

/// The links that udev keeps for the zvols of a pool, by the names of the zvols' devices.
pub fn zvols(pool: &PoolName) -> BTreeMap<String, PathBuf> {
    let mut found = all_zvols();
    let ours = zvol_link(pool);
    found.retain(|_, link| link.starts_with(&ours));
    found
}

/// The zvol links of all pools.
pub fn all_zvols() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    links_below(Path::new("/dev/zvol"), &mut found);
    found
}

/// Collects links to devices, by the devices' names.
fn links_below(folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            links_below(&path, found);
        } else if let Ok(target) = fs::read_link(&path)
            && let Some(name) = target.file_name()
        {
            found.insert(name.to_string_lossy().into_owned(), path);
        }
    }
}

/// The names of the entries in a folder of the kernel's.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
