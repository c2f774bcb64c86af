//! Who uses a file system or a block device: programs, and other mount namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, makedev, minor};
use openzfs::{DatasetName, Libzfs, PoolName};

use super::mounts::{self, Mount, Table};
use super::statistics;

/// A process, for a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    pid: u32,
    name: String,
    /// The systemd unit to which it belongs.
    unit: Option<String>,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "{} (pid {}, {unit})", self.name, self.pid),
            None => write!(f, "{} (pid {})", self.name, self.pid),
        }
    }
}

impl User {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn of(process: &Path) -> Option<Self> {
        let pid = process.file_name()?.to_str()?.parse().ok()?;
        let read = |file| fs::read_to_string(process.join(file)).unwrap_or_default();
        Some(Self {
            pid,
            name: read("comm").trim().to_owned(),
            unit: unit_in(&read("cgroup")),
        })
    }
}

/// `0::/system.slice/nginx.service` tells the unit.
fn unit_in(cgroups: &str) -> Option<String> {
    let is_unit = |part: &&str| {
        let kinds = [".service", ".scope", ".mount"];
        kinds.iter().any(|kind| part.ends_with(kind))
    };
    let parts = cgroups.lines().flat_map(|line| line.rsplit('/'));
    parts
        .filter(|part| !part.is_empty())
        .find(is_unit)
        .map(str::to_owned)
}

/// The first few users, for a message.
pub fn names(users: &[User]) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<String> = users.iter().take(SHOWN).map(User::to_string).collect();
    if users.len() > SHOWN {
        names.push(format!("{} more", users.len() - SHOWN));
    }
    names.join(", ")
}

/// Programs that have something open below `path`, run from there or are in a directory there.
pub fn of_path(path: &Path) -> Vec<User> {
    users(|process| {
        links_of(process).any(|link| fs::read_link(link).is_ok_and(|to| to.starts_with(path)))
            || maps(process, |file| file.is_below(path))
    })
}

/// Programs that have one of these block devices open, or mapped into memory, by any node. udev does
/// not count: it looks at a device for a moment whenever something else has closed it.
pub fn of_block_devices(numbers: &BTreeSet<u64>) -> Vec<User> {
    let is_one =
        |link: &Path| block_device_at(link).is_some_and(|number| numbers.contains(&number));
    // Most programs map the same files.
    let mut known = BTreeMap::new();
    let mut users = users(|process| {
        files_of(process).any(|link| is_one(&link))
            || maps(process, |mapped| {
                *known
                    .entry(mapped.file.to_owned())
                    .or_insert_with(|| is_one(&mapped.link(process)))
            })
    });
    users.retain(|user| !user.name.contains("udev"));
    users
}

/// The number of the block device to which this link leads.
fn block_device_at(link: &Path) -> Option<u64> {
    use rustix::fs::FileType;
    let found = look_at(link).ok()?;
    let kind = FileType::from_raw_mode(found.stx_mode.into());
    let number = makedev(found.stx_rdev_major.into(), found.stx_rdev_minor.into());
    (kind == FileType::BlockDevice).then_some(number)
}

/// Programs that have files open in a file system to which no path leads any more.
pub fn of_unseen(dataset: &DatasetName) -> Vec<User> {
    let top = mounts::open_unseen(dataset).and_then(|top| top.metadata());
    let Ok(number) = top.map(|top| top.dev()) else {
        return Vec::new();
    };
    users(|process| {
        let mut links = links_of(process);
        links.any(|link| lies_in(&link, number)) || maps(process, |file| file.lies_in(number))
    })
}

/// True if this link leads to a file in the file system with this number.
fn lies_in(link: &Path, number: u64) -> bool {
    look_at(link).is_ok_and(|found| {
        makedev(found.stx_dev_major.into(), found.stx_dev_minor.into()) == number
    })
}

/// What is known of the file to which this link of a process leads. No file system is asked, since
/// that of a dead server would not answer.
fn look_at(link: &Path) -> rustix::io::Result<rustix::fs::Statx> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
    let file = openat(CWD, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, "", flags, StatxFlags::TYPE | StatxFlags::INO)
}

/// A file that a process has mapped into its memory, from a line of its maps.
struct Mapped<'m> {
    /// Where it is in memory.
    addresses: &'m str,
    /// Device, inode and path.
    file: &'m str,
}

impl<'m> Mapped<'m> {
    /// `None` for memory that maps no file.
    fn of(line: &'m str) -> Option<Self> {
        // Permissions and the offset in the file come in between.
        let mut fields = line.splitn(4, ' ');
        let addresses = fields.next()?;
        let file = fields.nth(2).filter(|file| !file.starts_with("00:00 0 "))?;
        Some(Self { addresses, file })
    }

    /// The link that leads to the file itself, whatever has become of its path.
    fn link(&self, process: &Path) -> PathBuf {
        // The links' names have no leading zeros.
        let addresses = self.addresses.split('-');
        let addresses: Vec<_> = addresses
            .map(|address| address.trim_start_matches('0'))
            .collect();
        process.join("map_files").join(addresses.join("-"))
    }

    fn is_below(&self, path: &Path) -> bool {
        let start = self.file.find('/');
        start.is_some_and(|start| Path::new(&self.file[start..]).starts_with(path))
    }

    /// True if it is in the file system with this number.
    fn lies_in(&self, number: u64) -> bool {
        let shown = format!("{:02x}:{:02x} ", major(number), minor(number));
        self.file.starts_with(&shown)
    }
}

/// True if a process has mapped a file into its memory for which `is_it` is true.
fn maps(process: &Path, is_it: impl FnMut(Mapped) -> bool) -> bool {
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    // Names need not be UTF-8.
    let maps = String::from_utf8_lossy(&maps);
    maps.lines().filter_map(Mapped::of).any(is_it)
}

/// Programs that use ZFS and were started with the pool, or something in it, as an argument.
pub fn of_pool(pool: &PoolName) -> Vec<User> {
    let is_in_pool = |argument: &[u8]| {
        let rest = argument.strip_prefix(pool.as_str().as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|first| b"/@".contains(first)))
    };
    users(|process| {
        let mut files = files_of(process);
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        arguments.split(|&byte| byte == 0).any(is_in_pool)
            && files.any(|link| fs::read_link(link).is_ok_and(|to| to == Path::new("/dev/zfs")))
    })
}

/// All other processes for which `uses` is true.
fn users(mut uses: impl FnMut(&Path) -> bool) -> Vec<User> {
    let mut users: Vec<User> = processes()
        .filter(|process| uses(process))
        .filter_map(|process| User::of(&process))
        .collect();
    users.sort();
    users
}

/// The directories of all processes but this one.
fn processes() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(move |entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own
        })
        .map(|entry| entry.path())
}

/// Where a process is, what it runs and what it has open.
fn links_of(process: &Path) -> impl Iterator<Item = PathBuf> {
    let links = ["cwd", "root", "exe"].map(|link| process.join(link));
    links.into_iter().chain(files_of(process))
}

fn files_of(process: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(process.join("fd")).into_iter();
    entries.flatten().flatten().map(|entry| entry.path())
}

/// A mount in a namespace that is not this process's.
#[derive(Debug)]
pub struct Elsewhere {
    /// The mount there.
    pub mount: Mount,
    user: User,
}

impl Elsewhere {
    /// A process of that namespace.
    pub fn user(&self) -> &User {
        &self.user
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.mount.path.display();
        write!(
            f,
            "{} has it mounted at {path} in a mount namespace of its own",
            self.user
        )
    }
}

/// The mounts in all other mount namespaces for which `is_it` is true, each with one process of its
/// namespace.
pub fn mounted_elsewhere(is_it: impl Fn(&Table, &Mount) -> bool) -> Vec<Elsewhere> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: BTreeSet<PathBuf> = namespace(Path::new("/proc/self")).into_iter().collect();
    let mut found = Vec::new();
    for process in processes() {
        if !namespace(&process).is_some_and(|namespace| seen.insert(namespace)) {
            continue;
        }
        let Some(user) = User::of(&process) else {
            continue;
        };
        let Ok(table) = Table::of_process(&user.pid.to_string()) else {
            continue;
        };
        let mounts = table.all().iter().filter(|mount| is_it(&table, mount));
        found.extend(mounts.map(|mount| Elsewhere {
            mount: mount.clone(),
            user: user.clone(),
        }));
    }
    found
}

/// True if a file system is mounted in any namespace. The kernel keeps statistics of each one while
/// it is mounted.
pub fn is_mounted_anywhere(dataset: &DatasetName) -> io::Result<bool> {
    let statistics = statistics::of_pool(&dataset.pool())?;
    let zfs = Libzfs::open().map_err(io::Error::other)?;
    let found = zfs.dataset(dataset).map_err(io::Error::other)?;
    Ok(found.is_some_and(|found| statistics.contains_key(&found.objset())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_a_mapped_file() {
        let line = "00400000-0045a000 r--s 00000000 00:105 323                       /dev/zd0 a";
        let mapped = Mapped::of(line).unwrap();
        let link = mapped.link(Path::new("/proc/7"));
        assert_eq!(link, Path::new("/proc/7/map_files/400000-45a000"));
        assert!(mapped.lies_in(makedev(0, 0x105)) && !mapped.lies_in(makedev(0, 0x10)));
        assert!(mapped.is_below(Path::new("/dev")) && mapped.is_below(Path::new("/dev/zd0 a")));
        assert!(!mapped.is_below(Path::new("/dev/zd0")));
        assert!(Mapped::of("7ffe0000-7ffe1000 rw-p 00000000 00:00 0 ").is_none());
    }

    #[test]
    fn a_control_group_names_the_unit() {
        for (groups, unit) in [
            ("0::/system.slice/nginx.service\n", Some("nginx.service")),
            (
                "0::/machine.slice/libpod-1.scope/container\n",
                Some("libpod-1.scope"),
            ),
            ("0::/\n", None),
        ] {
            assert_eq!(unit_in(groups).as_deref(), unit);
        }
    }
}
