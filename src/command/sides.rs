//! What both sides of a run hold, and which volumes the run is about.
//!
//! The host is settled and read while the disk is imported; the disk is read after that.

use std::collections::BTreeSet;

use super::carry::Errand;
use crate::config::{Host, Selection};
use crate::disk::Imported;
use crate::error::{Error, Exit, Phase};
use crate::fault;
use crate::inventory::Side;
use crate::inventory::read::{self, ReadError, Scope, Wanted};
use crate::name::{Guid, VolumePath};
use crate::plan::{self, Direction};
use crate::zfs::{self, Libzfs, PoolStatus};

/// What has to be known for reading both sides.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub errand: Errand<'a>,
    pub host: &'a Host,
    pub host_pool: &'a PoolStatus,
    /// The disk's own choice of volumes, or else the host's.
    pub selection: &'a Selection,
    /// All snapshots matter, not only those since the last visit.
    pub whole: bool,
}

/// Both sides, as far as the volumes of this run are concerned, and these volumes.
pub(super) struct Inventory {
    pub source: Side,
    pub target: Side,
    pub volumes: Vec<VolumePath>,
}

impl<'a> Sides<'a> {
    /// Settles and reads the host's side, whose peer is the disk's pool with this guid.
    pub fn read_host(self, disk: Guid) -> Result<Side, Error> {
        read::host(&self.host_scope(disk), self.wanted()).map_err(|error| match error {
            ReadError::Settle { .. } => Error::new(Phase::Settle, error.to_string()),
            ReadError::Zfs(error) => failed(error),
        })
    }

    /// Reads the disk's side, and whatever takes both to know.
    pub fn complete(self, zfs: &Libzfs, host: Side, disk: &Imported) -> Result<Inventory, Error> {
        fault::at("disk-inventory").map_err(|words| Error::new(Phase::Inventory, words))?;
        let wanted = self.wanted();
        let disk_scope = self.disk_scope(disk)?;
        let (mut source, mut target, volumes, target_scope) = match self.errand.direction {
            Direction::ToDisk => {
                let volumes = self.volumes(&host)?;
                let disk = read::named(zfs, &disk_scope, wanted, &volumes).map_err(failed)?;
                refuse_encrypted_root(&disk)?;
                (host, disk, volumes, disk_scope)
            }
            Direction::ToHost => {
                let source = read::listed(zfs, &disk_scope, wanted).map_err(failed)?;
                refuse_encrypted_root(&source)?;
                let volumes = self.volumes(&source)?;
                let (mut target, scope) = (host, self.host_scope(disk.guid()));
                read::add_leftovers(zfs, &scope, wanted, &volumes, &mut target).map_err(failed)?;
                (source, target, volumes, scope)
            }
        };
        read::keep_only(&mut source, &volumes);
        read::keep_only(&mut target, &volumes);
        read::complete(zfs, &mut source, &mut target, &volumes).map_err(failed)?;
        let keep_both = &self.errand.ways_out.keep_both;
        read::add_surroundings(zfs, &target_scope, keep_both, &mut target).map_err(failed)?;
        Ok(Inventory {
            source,
            target,
            volumes,
        })
    }

    fn wanted(&self) -> Wanted<'a> {
        Wanted {
            roots: match self.errand.requested {
                [] => &self.selection.volumes,
                requested => requested,
            },
            recursive: self.selection.recursive,
            histories: Some(self.selection),
            whole: self.whole,
        }
    }

    fn host_scope(&self, disk: Guid) -> Scope {
        Scope {
            pool: self.host_pool.name.clone(),
            top: self.host_pool.name.root(),
            peer: disk,
        }
    }

    /// This host's place on the disk.
    fn disk_scope(&self, disk: &Imported) -> Result<Scope, Error> {
        let root = disk.pool().root();
        let top = match &self.host.prefix {
            Some(prefix) => prefix.below(&root),
            None => Ok(root),
        };
        let top =
            top.map_err(|error| Error::new(Phase::Inventory, error.to_string()).exit(Exit::Usage))?;
        Ok(Scope {
            pool: disk.pool().clone(),
            top,
            peer: self.host_pool.guid,
        })
    }

    /// Refuses a command line that cannot be meant whatever the source holds: for this nothing has
    /// to be unlocked or imported.
    pub fn check_request(&self) -> Result<(), Error> {
        let named = self.errand.ways_out.volumes();
        self.chosen(&named.cloned().collect()).map(drop)
    }

    /// The volumes of this run: what is configured, its children where it is recursive, and of
    /// these what the command line names.
    fn volumes(&self, source: &Side) -> Result<Vec<VolumePath>, Error> {
        self.chosen(&read::volume_paths(source))
    }

    fn chosen(&self, existing: &BTreeSet<VolumePath>) -> Result<Vec<VolumePath>, Error> {
        let selection = self.selection;
        let select = |requested: &[VolumePath]| {
            plan::select(
                &selection.volumes,
                selection.recursive,
                |volume| selection.exclude.matches(volume),
                requested,
                existing,
            )
            .map_err(|error| usage(error.to_string()))
        };
        let named: Vec<VolumePath> = self.errand.ways_out.volumes().cloned().collect();
        select(&named)?;
        let volumes = select(self.errand.requested)?;
        match named.iter().find(|volume| !volumes.contains(volume)) {
            Some(volume) => Err(usage(format!(
                "{volume} has --force or --keep-both, but is not among the volumes to carry"
            ))),
            None => Ok(volumes),
        }
    }
}

/// A disk's pool that ZFS itself encrypts from the root on: clear volumes would become encrypted
/// there, with a key that zbackup does not have.
fn refuse_encrypted_root(disk: &Side) -> Result<(), Error> {
    let pool = &disk.pool;
    let root = disk.dataset(&pool.root());
    if !root.is_some_and(|root| root.encrypted) {
        return Ok(());
    }
    let message = format!(
        "the disk's pool {pool} is encrypted by ZFS at its root, which zbackup does not support yet"
    );
    Err(Error::new(Phase::Inventory, message).next(
        "Use a disk whose pool is not: its container can be encrypted (`encryption`), and volumes \
         that ZFS encrypts stay so on the disk.",
    ))
}

fn usage(message: String) -> Error {
    Error::new(Phase::Arguments, message).exit(Exit::Usage)
}

fn failed(error: zfs::Error) -> Error {
    Error::new(Phase::Inventory, error.to_string())
}
