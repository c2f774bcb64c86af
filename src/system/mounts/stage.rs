//! Mounts that are prepared in a hidden place, and then moved to their places.
//!
//! At its place a mount appears at once in its final form: with its options, its directory and its
//! peers. If it were changed only then, it would for a moment show more than it should.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use openzfs::SnapshotName;

use super::options::{self, flags};
use super::table::{Mount, Propagation, Table};
use super::unmount::id_at;

/// A file system of its own, with nothing but mount points. It is removed, with everything that is
/// still mounted there, when this is dropped.
#[derive(Debug)]
pub struct Stage {
    top: PathBuf,
    places: u32,
}

/// The source of its mount, by which a later run recognises what a dead one has left.
const SOURCE: &str = "zbackup-stage";

impl Stage {
    /// Makes one.
    pub fn open() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = format!("/run/{SOURCE}.{}.{number}", std::process::id());
        let top = PathBuf::from(top);
        DirBuilder::new().mode(0o700).create(&top)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(SOURCE), &top, Some("tmpfs"), flags, Some("mode=0700"))
            .inspect_err(|_| drop(fs::remove_dir(&top)))?;
        let stage = Self { top, places: 0 };
        // A mount cannot be moved out of one that others follow.
        set_propagation(&stage.top, MsFlags::MS_PRIVATE)?;
        Ok(stage)
    }

    /// Removes what killed runs have left.
    pub fn remove_leftovers() {
        let Ok(table) = Table::read() else {
            return;
        };
        let is_left = |mount: &&Mount| mount.kind == "tmpfs" && mount.source == SOURCE;
        for mount in table.all().iter().filter(is_left) {
            drop(Self {
                top: mount.path.clone(),
                places: 0,
            });
        }
    }

    /// A new directory on which to mount a file system.
    pub fn directory(&mut self) -> io::Result<PathBuf> {
        let place = self.next();
        fs::create_dir(&place)?;
        Ok(place)
    }

    /// Mounts a snapshot.
    pub fn snapshot(&mut self, name: &SnapshotName) -> io::Result<PathBuf> {
        let place = self.directory()?;
        let flags = MsFlags::MS_RDONLY;
        mount(
            Some(name.as_str()),
            &place,
            Some("zfs"),
            flags,
            None::<&str>,
        )?;
        Ok(place)
    }

    /// A bind mount of the directory `root` in the file system mounted at `of`.
    fn bind(&mut self, of: &Path, root: &Path) -> Result<PathBuf, String> {
        let mut bind = || -> io::Result<PathBuf> {
            let top = open(of, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let inside = root.strip_prefix("/").unwrap_or(root);
            // Received data decides what is at the place, but must not lead the mount elsewhere.
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                .resolve(
                    ResolveFlag::RESOLVE_BENEATH
                        | ResolveFlag::RESOLVE_NO_SYMLINKS
                        | ResolveFlag::RESOLVE_NO_XDEV,
                );
            let file = if inside.as_os_str().is_empty() {
                top
            } else {
                openat2(&top, inside, how)?
            };
            let found = format!("/proc/self/fd/{}", file.as_raw_fd());
            let place = self.next();
            if fs::metadata(&found)?.is_dir() {
                fs::create_dir(&place)?;
            } else {
                fs::File::create(&place)?;
            }
            let nothing = None::<&str>;
            mount(
                Some(found.as_str()),
                &place,
                nothing,
                MsFlags::MS_BIND,
                nothing,
            )?;
            Ok(place)
        };
        bind().map_err(|error| format!("{} in it: {error}", root.display()))
    }

    fn next(&mut self) -> PathBuf {
        self.places += 1;
        self.top.join(self.places.to_string())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        discard(&self.top);
        if let Err(error) = fs::remove_dir(&self.top) {
            log::warn!("{} stays: {error}", self.top.display());
        }
    }
}

/// Unmounts a place and everything within it, but nothing that follows it.
fn discard(place: &Path) {
    let unmount = || {
        set_propagation(place, MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
        umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
    };
    if let Err(errno) = unmount() {
        log::warn!("{} stays mounted: {errno}", place.display());
    }
}

/// A file system on the stage, of which mounts are prepared that show what the `old` ones showed.
/// Mounts that followed one another do so again.
#[derive(Debug)]
pub struct Original<'a> {
    source: PathBuf,
    old: Vec<&'a Mount>,
    /// A member of each former peer group.
    groups: BTreeMap<u64, PathBuf>,
}

impl<'a> Original<'a> {
    /// The file system that is mounted at `source` on the stage.
    pub fn new(source: PathBuf, old: Vec<&'a Mount>) -> Self {
        Self {
            source,
            old,
            groups: BTreeMap::new(),
        }
    }

    /// Prepares one of the mounts, at a place on the stage.
    pub fn copy_of(&mut self, old: &Mount, stage: &mut Stage) -> Result<PathBuf, String> {
        let Propagation { shared, master, .. } = old.propagation;
        let followed = master.filter(|&group| self.is_known(group));
        let of = match shared.or(followed) {
            Some(group) => self.group(group, stage)?,
            None => self.source.clone(),
        };
        let place = stage.bind(&of, &old.root)?;
        let settle = || -> Result<(), String> {
            if shared.is_none() && followed.is_some() {
                set_propagation(&place, MsFlags::MS_SLAVE).map_err(|errno| errno.to_string())?;
            }
            set_options(&place, &old.options)
        };
        settle().inspect_err(|_| discard(&place))?;
        Ok(place)
    }

    fn is_known(&self, group: u64) -> bool {
        let mut groups = self.old.iter().map(|mount| mount.propagation.shared);
        groups.any(|shared| shared == Some(group))
    }

    /// A member of this peer group.
    fn group(&mut self, group: u64, stage: &mut Stage) -> Result<PathBuf, String> {
        if let Some(place) = self.groups.get(&group) {
            return Ok(place.clone());
        }
        let is_member = |mount: &&&Mount| mount.propagation.shared == Some(group);
        let member = self.old.iter().find(is_member);
        let master = member.and_then(|mount| mount.propagation.master);
        let followed = master.filter(|&master| master != group && self.is_known(master));
        let of = match followed {
            Some(master) => self.group(master, stage)?,
            None => self.source.clone(),
        };
        let place = stage.bind(&of, Path::new("/"))?;
        self.groups.insert(group, place.clone());
        let kinds = [MsFlags::MS_SLAVE, MsFlags::MS_SHARED];
        for kind in &kinds[usize::from(followed.is_none())..] {
            set_propagation(&place, *kind).map_err(|errno| errno.to_string())?;
        }
        Ok(place)
    }
}

impl Drop for Original<'_> {
    /// A mount within a member of a peer group would appear here too, and be unmounted there with this one.
    fn drop(&mut self) {
        for place in self.groups.values().chain([&self.source]) {
            discard(place);
        }
    }
}

/// Moves the mount at `place` to where `old` was. Returns what is not as it was.
pub fn put(place: &Path, old: &Mount) -> Result<Vec<String>, String> {
    let id = id_at(place).map_err(|error| error.to_string())?;
    let nothing = None::<&str>;
    // Not through a symbolic link: whoever can write to the directory around it could have put one there.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = open(&old.path, flags, Mode::empty()).map_err(|errno| errno.to_string())?;
    let to = format!("/proc/self/fd/{}", found.as_raw_fd());
    mount(Some(place), to.as_str(), nothing, MsFlags::MS_MOVE, nothing)
        .map_err(|errno| errno.to_string())?;
    complete(id, old)
}

/// Gives a mount that has appeared at its place by itself, since it follows another one, its former
/// options. Returns what is not as it was.
pub fn adopt(id: u64, old: &Mount) -> Result<Vec<String>, String> {
    let table = Table::read().map_err(|error| error.to_string())?;
    if table
        .get(id)
        .is_some_and(|mount| mount.options != old.options)
    {
        set_options(&old.path, &old.options)?;
    }
    complete(id, old)
}

/// A mount within a shared mount becomes shared: that is undone if it was not shared before.
fn complete(id: u64, old: &Mount) -> Result<Vec<String>, String> {
    let look = || -> Result<Mount, String> {
        let table = Table::read().map_err(|error| error.to_string())?;
        let mount = table.get(id).cloned();
        mount.ok_or_else(|| "it was unmounted at once by something else".into())
    };
    let (now, wanted) = (look()?.propagation, old.propagation);
    let kind = if wanted.unbindable {
        Some(MsFlags::MS_UNBINDABLE)
    } else if wanted.shared.is_some() || now.shared.is_none() {
        None
    } else if wanted.master.is_some() && now.master.is_some() {
        Some(MsFlags::MS_SLAVE)
    } else {
        Some(MsFlags::MS_PRIVATE)
    };
    if let Some(kind) = kind {
        set_propagation(&old.path, kind).map_err(|errno| errno.to_string())?;
    }
    Ok(options::differences(old, &look()?))
}

pub(super) fn set_options(path: &Path, options: &str) -> Result<(), String> {
    let flags = flags(options)? | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    let nothing = None::<&str>;
    mount(nothing, path, nothing, flags, nothing)
        .map_err(|errno| format!("its options ({options}) cannot be set: {errno}"))
}

fn set_propagation(path: &Path, kind: MsFlags) -> Result<(), Errno> {
    let nothing = None::<&str>;
    mount(nothing, path, nothing, kind, nothing)
}
