//! Flushing what programs have written to anything on a pool: file systems on its zvols, on mappings,
//! arrays and partitions of these, and on loop devices whose files are in the pool.
//!
//! The kernel keeps such data in separate page caches, which syncing the pool does not flush. Each
//! layer writes into the one below, so the uppermost is flushed first.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use openzfs::{DatasetKind, DatasetName, PoolName};

use super::devices::{self, BLOCK_DEVICES, is_node, names_in, node_of};
use super::mounts::{self, Mount, Table};
use super::statistics;

/// A block device and what it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    /// `zd0p1`, `dm-3`
    name: String,
    /// `major:minor`
    number: String,
    /// The devices below it.
    slaves: Vec<String>,
    /// The file, or device, that a loop device shows.
    backing_file: Option<PathBuf>,
}

/// A mount and the directory from which its path starts: for another namespace, a process's root.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    root: PathBuf,
    mount: Mount,
}

/// What has to be flushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// A block device, by name.
    Device(String),
    /// A mounted file system, by the number of its device.
    FileSystem(String),
}

/// Flushes everything that is on its way into `pool`. What cannot be flushed is a warning.
pub fn into_pool(pool: &PoolName) -> io::Result<()> {
    let places = places()?;
    let devices = devices()?;
    let zvols = zvols(pool);
    for layer in uppermost_first(pool, &zvols, &devices, &places) {
        let written = match &layer {
            Layer::Device(name) => flush_device(name),
            Layer::FileSystem(number) => sync_file_system(number, &places),
        };
        if let Err(error) = written {
            log::warn!(
                "what was written to {} right before this run may be missing in it: {error}",
                words(&layer, &places)
            );
        }
    }
    for dataset in unseen(pool, &places)? {
        if let Err(error) = sync_unseen(&dataset) {
            log::debug!("{dataset} was not written out by itself: {error}");
        }
    }
    Ok(())
}

fn words(layer: &Layer, places: &[Place]) -> String {
    match layer {
        Layer::Device(name) => node_of(name).display().to_string(),
        Layer::FileSystem(number) => {
            let mut mounts = places.iter().map(|place| &place.mount);
            let mount = mounts.find(|mount| mount.device_number == *number);
            mount.map(Mount::words).unwrap_or_default()
        }
    }
}

/// The order in which `zvols`, what is on them and the file systems of `pool` are flushed.
fn uppermost_first(
    pool: &PoolName,
    zvols: &BTreeSet<String>,
    devices: &[Device],
    places: &[Place],
) -> Vec<Layer> {
    let is_of_pool = |place: &&Place| {
        let dataset = place.mount.dataset();
        let is_live = place.mount.snapshot().is_none();
        is_live && dataset.is_some_and(|dataset| dataset.is_within(&pool.root()))
    };
    let file_systems = places.iter().filter(is_of_pool);
    let mut found: Vec<Layer> = file_systems
        .map(|place| Layer::FileSystem(place.mount.device_number.clone()))
        .chain(zvols.iter().cloned().map(Layer::Device))
        .collect();
    found.sort();
    found.dedup();
    // A layer on several others moves behind the last of them.
    let mut next = 0;
    let most = (devices.len() + places.len() + found.len()).pow(2);
    while let Some(layer) = found.get(next).cloned().filter(|_| next < most) {
        for above in directly_above(&layer, devices, places) {
            if let Some(earlier) = found.iter().position(|known| *known == above) {
                if earlier <= next {
                    continue;
                }
                found.remove(earlier);
            }
            found.push(above);
        }
        next += 1;
    }
    found.reverse();
    found
}

/// What writes into this layer.
fn directly_above(layer: &Layer, devices: &[Device], places: &[Place]) -> BTreeSet<Layer> {
    let lies_on = |device: &&Device| match layer {
        Layer::Device(below) => {
            let file = device.backing_file.as_deref();
            device.slaves.contains(below) || file.is_some_and(|file| is_node(file, &node_of(below)))
        }
        Layer::FileSystem(number) => {
            let file = device.backing_file.as_deref();
            file.is_some_and(|file| around(file, places).contains(number.as_str()))
        }
    };
    let above = devices.iter().filter(lies_on);
    let mut above: BTreeSet<Layer> = above
        .map(|device| Layer::Device(device.name.clone()))
        .collect();
    if let Layer::Device(name) = layer {
        let number = devices.iter().find(|device| device.name == *name);
        let number = number.map(|device| device.number.as_str());
        let mounts = places.iter().map(|place| &place.mount);
        // btrfs has a device number of its own, and names the device.
        let is_on = |mount: &&Mount| {
            Some(mount.device_number.as_str()) == number
                || is_node(Path::new(&mount.source), &node_of(name))
        };
        above.extend(
            mounts
                .filter(is_on)
                .map(|mount| Layer::FileSystem(mount.device_number.clone())),
        );
    }
    above
}

/// The device numbers of the file systems in which a file can be, as this namespace shows it: if
/// several are mounted at one path, it may be in one that is now covered.
fn around<'a>(file: &Path, places: &'a [Place]) -> BTreeSet<&'a str> {
    let depth = |place: &&Place| place.mount.path.components().count();
    let here = places
        .iter()
        .filter(|place| place.root == Path::new("/") && file.starts_with(&place.mount.path));
    let deepest = here.clone().map(|place| depth(&place)).max();
    here.filter(|place| Some(depth(place)) == deepest)
        .map(|place| place.mount.device_number.as_str())
        .collect()
}

/// Opening it for reading disturbs nothing: udev only reacts to devices that were open for writing.
fn flush_device(name: &str) -> io::Result<()> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(node_of(name));
    let node = match opened {
        Err(error) if error.raw_os_error().is_some_and(means_nothing_to_flush) => return Ok(()),
        opened => opened?,
    };
    if !node.metadata()?.file_type().is_block_device() {
        return Err(io::Error::other("it is no block device"));
    }
    node.sync_all()
}

/// True for errors of an open that show that the device has nothing to flush: a drive without a medium,
/// a device that is gone, and a zvol that nobody has open. The last close flushes everything, and while
/// another pool is imported ZFS refuses the first open with ERESTARTSYS.
fn means_nothing_to_flush(errno: i32) -> bool {
    const ERESTARTSYS: i32 = 512;
    [libc::ENOMEDIUM, libc::ENXIO, libc::ENOENT, ERESTARTSYS].contains(&errno)
}

/// Flushes a file system through any mount that leads to it: others may be covered, or gone.
fn sync_file_system(number: &str, places: &[Place]) -> io::Result<()> {
    let mounts = || (places.iter()).filter(|place| place.mount.device_number == number);
    let mut opened = Err(io::Error::other("no path leads to it"));
    for place in mounts() {
        opened = open_in(place);
        if opened.is_ok() {
            break;
        }
    }
    let dataset = mounts().find_map(|place| place.mount.dataset());
    match (opened, dataset) {
        (Err(_), Some(dataset)) => sync_unseen(&dataset),
        (opened, _) => Ok(nix::unistd::syncfs(opened?)?),
    }
}

/// Flushes a mounted ZFS file system to which no path leads: it is covered, or was unmounted while a
/// program still uses it.
fn sync_unseen(dataset: &DatasetName) -> io::Result<()> {
    Ok(nix::unistd::syncfs(mounts::open_unseen(dataset)?)?)
}

/// The file systems of `pool` that are in use although they are mounted nowhere.
fn unseen(pool: &PoolName, places: &[Place]) -> io::Result<Vec<DatasetName>> {
    let seen: BTreeSet<DatasetName> = (places.iter())
        .filter_map(|place| place.mount.dataset())
        .collect();
    let known = statistics::datasets_of(pool)?;
    Ok(known
        .into_iter()
        .filter(|(name, kind)| *kind == DatasetKind::Filesystem && !seen.contains(name))
        .map(|(name, _)| name)
        .collect())
}

fn open_in(place: &Place) -> io::Result<File> {
    let inside = place
        .mount
        .path
        .strip_prefix("/")
        .unwrap_or(&place.mount.path);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(place.root.join(inside))?;
    let device = file.metadata()?.dev();
    let found = format!("{}:{}", major(device), minor(device));
    // Each subvolume of btrfs has a number that is in no mount table.
    if found == place.mount.device_number || place.mount.kind == "btrfs" {
        Ok(file)
    } else {
        Err(io::Error::other("something else covers it"))
    }
}

/// Everything that is mounted, in this namespace first.
fn places() -> io::Result<Vec<Place>> {
    let in_namespace = |root: &Path, table: Table| -> Vec<Place> {
        let mounts = table.all().iter().cloned();
        mounts
            .map(|mount| Place {
                root: root.to_owned(),
                mount,
            })
            .collect()
    };
    let mut places = in_namespace(Path::new("/"), Table::read()?);
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: BTreeSet<PathBuf> = namespace(Path::new("/proc/self")).into_iter().collect();
    for process in fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        let is_new = |namespace| seen.insert(namespace);
        if pid.bytes().all(|byte| byte.is_ascii_digit())
            && namespace(&process.path()).is_some_and(is_new)
            && let Ok(table) = Table::of_process(&pid)
        {
            places.extend(in_namespace(&process.path().join("root"), table));
        }
    }
    Ok(places)
}

fn devices() -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(BLOCK_DEVICES)?.flatten() {
        let folder = entry.path();
        let Ok(number) = fs::read_to_string(folder.join("dev")) else {
            continue;
        };
        let mut slaves = names_in(&folder.join("slaves"));
        if folder.join("partition").exists()
            && let Ok(real) = fs::canonicalize(&folder)
        {
            let whole = real.parent().and_then(Path::file_name);
            slaves.extend(whole.map(|name| name.to_string_lossy().into_owned()));
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        devices.push(Device {
            number: number.trim().to_owned(),
            slaves,
            backing_file: devices::backing_file(&name),
            name,
        });
    }
    Ok(devices)
}

/// The devices of the pool's zvols by udev's links, and those to which no link leads.
fn zvols(pool: &PoolName) -> BTreeSet<String> {
    let pool_of = devices::all_zvols();
    let ours = devices::zvol_link(pool);
    let mut names = names_in(Path::new(BLOCK_DEVICES));
    names.retain(|name| {
        name.starts_with("zd")
            && pool_of
                .get(name)
                .is_none_or(|link: &PathBuf| link.starts_with(&ours))
    });
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, number: &str, slaves: &[&str], backing_file: Option<&str>) -> Device {
        Device {
            name: name.into(),
            number: number.into(),
            slaves: slaves.iter().map(|&name| name.to_owned()).collect(),
            backing_file: backing_file.map(PathBuf::from),
        }
    }

    fn mounted(lines: &str) -> Vec<Place> {
        let table = Table::parse(lines.as_bytes());
        let mounts = table.all().iter().cloned();
        let root = Path::new("/").to_owned();
        mounts
            .map(|mount| Place {
                root: root.clone(),
                mount,
            })
            .collect()
    }

    fn order(zvols: &[&str], devices: &[Device], mounts: &str) -> Vec<String> {
        let pool = PoolName::new("tank").unwrap();
        let zvols = zvols.iter().map(|&name| name.to_owned()).collect();
        let layers = uppermost_first(&pool, &zvols, devices, &mounted(mounts));
        let name = |layer: Layer| match layer {
            Layer::Device(name) | Layer::FileSystem(name) => name,
        };
        layers.into_iter().map(name).collect()
    }

    #[test]
    fn each_layer_comes_before_what_it_lies_on() {
        let devices = [
            device("sda1", "8:1", &["sda"], None),
            device("zd0", "230:0", &[], None),
            device("zd0p1", "230:1", &["zd0"], None),
            device("zd16", "230:16", &[], None),
            // A volume group over a partition, a whole zvol, and a file in a file system on it.
            device("dm-0", "253:0", &["zd16", "zd0p1"], None),
            device("loop0", "7:0", &[], Some("/vm/disk.img")),
            device("loop1", "7:1", &[], Some("/home/disk.img")),
            device("loop2", "7:2", &[], Some("/boot/disk.img")),
        ];
        let mounts = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      21 20 0:40 / /home rw - zfs tank/home rw\n\
                      22 20 0:41 / /other rw - zfs rpool/other rw\n\
                      23 20 253:0 / /vm rw - ext4 /dev/mapper/vm rw\n\
                      24 20 7:0 / /vm/inner rw - ext4 /dev/loop0 rw\n\
                      25 20 7:1 / /old rw - xfs /dev/loop1 rw\n\
                      26 21 0:60 / /home rw - tmpfs none rw\n";
        let order = order(&["zd0", "zd16"], &devices, mounts);
        let place = |name: &str| order.iter().position(|one| one == name).unwrap();
        for (above, below) in [
            ("loop0", "253:0"),
            ("7:0", "loop0"),
            ("253:0", "dm-0"),
            ("dm-0", "zd0p1"),
            ("dm-0", "zd16"),
            ("zd0p1", "zd0"),
            ("7:1", "loop1"),
            ("loop1", "0:40"),
        ] {
            assert!(place(above) < place(below), "{above} {below}: {order:?}");
        }
        for stranger in ["sda1", "8:1", "0:41", "0:60", "loop2"] {
            assert!(!order.iter().any(|one| one == stranger), "{order:?}");
        }
    }

    #[test]
    fn a_file_system_that_names_its_device_is_known_by_it() {
        let devices = [device("zd0", "230:0", &[], None)];
        let mounts = "24 20 0:50 / /data rw - btrfs /dev/zd0 rw\n";
        assert_eq!(order(&["zd0"], &devices, mounts), ["0:50", "zd0"]);
    }
}
