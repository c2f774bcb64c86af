//! The stages of an open disk as types: each owns what has to be undone, in the right order.

use std::path::{Path, PathBuf};

use openzfs::{Guid, Libzfs, PoolName};

use super::partition::Partition;
use crate::config::PartUuid;
use crate::crypt::Mapping;
use crate::error::{Error, Phase};
use crate::next::next;
use crate::system::mounts;
use crate::system::usage::{self, InUse};
use crate::text::{Text, shell_word};

/// A partition whose container, if it has one, is open.
#[derive(Debug)]
pub struct Unlocked {
    partition: Partition,
    mapping: Option<Mapping>,
}

impl Unlocked {
    /// A partition without a container.
    pub fn plain(partition: Partition) -> Self {
        Self {
            partition,
            mapping: None,
        }
    }

    /// A partition whose container is open as `mapping`.
    pub fn container(partition: Partition, mapping: Mapping) -> Self {
        Self {
            partition,
            mapping: Some(mapping),
        }
    }

    /// The partition by which the disk was found.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The device that the pool is on.
    pub fn device(&self) -> PathBuf {
        self.mapping
            .as_ref()
            .map_or_else(|| self.partition.path.clone(), Mapping::path)
    }

    /// The path by which the pool should know its device. A disk that is pulled out and comes back
    /// gets another node; the pool can resume only with a path that follows it.
    pub fn lasting_path(&self) -> PathBuf {
        self.mapping
            .as_ref()
            .map_or_else(|| self.partition.link(), Mapping::path)
    }

    /// Locks the container. If that fails, it stays as it is and is given back.
    pub fn lock(mut self) -> Result<Partition, (Self, Error)> {
        let Some(mapping) = self.mapping.take() else {
            return Ok(self.partition);
        };
        match mapping.close() {
            Ok(()) => Ok(self.partition),
            Err((mapping, error)) => {
                let message = format!("the container stays open: {error}");
                let error = container_stays_open(message, &mapping.path());
                self.mapping = Some(mapping);
                Err((self, error))
            }
        }
    }

    /// Leaves the container open when this process ends.
    pub(super) fn leave_open(mut self) {
        if let Some(mapping) = self.mapping.take() {
            mapping.keep_open();
        }
    }
}

/// A disk whose pool is imported.
///
/// The fields are dropped in order: the pool is exported before the container is locked.
#[derive(Debug)]
pub struct Imported<'h> {
    pool: ImportGuard<'h>,
    unlocked: Unlocked,
    /// Directories made as mount points.
    pub(super) made_directories: Vec<PathBuf>,
}

impl<'h> Imported<'h> {
    /// A pool that has just been imported from `unlocked`.
    pub(super) fn new(zfs: &'h Libzfs, name: PoolName, guid: Guid, unlocked: Unlocked) -> Self {
        let pool = ImportGuard {
            zfs,
            name,
            guid,
            armed: true,
        };
        Self {
            pool,
            unlocked,
            made_directories: Vec::new(),
        }
    }

    /// The pool's name.
    pub fn pool(&self) -> &PoolName {
        &self.pool.name
    }

    /// The pool's guid.
    pub fn guid(&self) -> Guid {
        self.pool.guid
    }

    /// The partition's identity.
    pub fn partuuid(&self) -> &PartUuid {
        &self.unlocked.partition.partuuid
    }

    /// The whole disk's device node.
    pub fn disk(&self) -> &Path {
        &self.unlocked.partition.disk
    }

    /// The partition by which the disk was found.
    pub fn partition(&self) -> &Partition {
        &self.unlocked.partition
    }

    /// Unmounts and exports. If that fails, the pool stays imported and is given back.
    pub fn export(mut self) -> Result<Unlocked, (Self, Error)> {
        match export(self.pool.zfs, &self.pool.name) {
            Ok(()) => {
                self.pool.armed = false;
                Ok(self.unlocked)
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Leaves pool and container open when this process ends.
    pub fn leave_open(mut self) {
        self.pool.armed = false;
        self.unlocked.leave_open();
    }
}

/// Exports the pool if a panic drops it.
#[derive(Debug)]
struct ImportGuard<'h> {
    zfs: &'h Libzfs,
    name: PoolName,
    guid: Guid,
    armed: bool,
}

impl Drop for ImportGuard<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = export(self.zfs, &self.name)
        {
            crate::logging::error(&error);
        }
    }
}

/// What keeps a mapping from being closed: a process, or something above it.
fn mapping_busy(path: &Path) -> String {
    let path = shell_word(&path.display());
    next!(
        "mapping-busy",
        "See what uses it (fuser -v {path}; lsblk {path}), end that, then run `zbackup close`."
    )
}

/// Unmounts everything of `pool`, then exports it. It is no error if the pool is not imported.
pub(super) fn export(zfs: &Libzfs, pool: &PoolName) -> Result<(), Error> {
    let again = || {
        next!(
            "pool-busy",
            "Close whatever uses the disk, then run `zbackup close`."
        )
    };
    mounts::unmount_pool(pool).map_err(|(path, in_use)| {
        let look = next!(
            "mount-busy",
            "See what is open there: fuser -vm {}",
            shell_word(&path.display())
        );
        let in_use = match in_use.ends() {
            [] => in_use.until([look]),
            _ => in_use,
        };
        stays_open(format!("{pool} cannot be exported"), Err(in_use), again())
    })?;
    let failed = |error| {
        Error::new(Phase::Close, format!("{pool} cannot be exported: {error}")).next(again())
    };
    let Some(handle) = zfs.pool(pool).map_err(failed)? else {
        return Ok(());
    };
    handle.export("zbackup: export").map_err(|error| {
        let message = format!("{pool} cannot be exported: {error}");
        stays_open(message, usage::check_pool(pool), again())
    })
}

/// The error if the container at `device` could not be closed.
pub(super) fn container_stays_open(message: String, device: &Path) -> Error {
    stays_open(message, usage::check_node(device), mapping_busy(device))
}

/// An error that tells what still uses it, as far as that is known, and what to do before `again`.
fn stays_open(mut message: String, free: Result<(), InUse>, again: String) -> Error {
    let mut next = Text::new();
    if let Err(in_use) = free {
        message = format!("{message}: {in_use}");
        next = Text::lines(in_use.ends());
    }
    next.push(again);
    Error::new(Phase::Close, message).next(next)
}
