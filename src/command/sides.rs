//! What both sides of a run hold, and which volumes the run carries.
//!
//! The host is settled and read while the disk is imported; the disk is read after that.

use std::collections::BTreeSet;

use openzfs::{DatasetName, ErrorKind, Guid, Libzfs, Lzc, PoolStatus, fault};

use super::carry::RunRequest;
use crate::config::{self, Config, Device, Host, Selection};
use crate::disk::Imported;
use crate::error::{Error, Exit, Phase};
use crate::inventory::read::{self, Histories, ReadError, Scope, Wanted};
use crate::inventory::{keys, stream_features, uncovered};
use crate::model::Side;
use crate::model::VolumePath;
use crate::model::ledger::Peer;
use crate::next::next;
use crate::plan::{self, Direction};

/// What is needed to read both sides.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub request: RunRequest<'a>,
    pub config: &'a Config,
    pub host: &'a Host,
    pub host_pool: &'a PoolStatus,
    pub device: &'a Device,
    /// The disk's own choice of volumes, or else the host's.
    pub selection: &'a Selection,
    /// Read all snapshots, not only those since the last visit.
    pub whole: bool,
}

/// Both sides, as far as they concern the volumes of this run, and these volumes.
pub(super) struct Inventory {
    pub source: Side,
    pub target: Side,
    pub volumes: Vec<VolumePath>,
    /// Where the target is.
    pub target_scope: Scope,
}

/// The host's side, and the datasets of its pool that `usb` copies nowhere, or why these are not known.
pub(super) struct HostSide {
    pub side: Side,
    pub not_covered: Result<Vec<DatasetName>, String>,
}

impl<'a> Sides<'a> {
    /// Settles and reads the host's side, whose peer is the disk's pool with this guid.
    pub fn read_host(self, disk: Guid) -> Result<HostSide, Error> {
        let read = read::host(&self.host_scope(disk), self.wanted());
        let side = read.map_err(|error| match error {
            ReadError::Settle { .. } => Error::new(Phase::Settle, error.to_string()),
            ReadError::Zfs(error) => failed(error),
        })?;
        let not_covered = match self.request.direction {
            Direction::ToDisk => self.not_covered().map_err(|error| {
                format!("which datasets of the host are in no volume is not known: {error}")
            }),
            Direction::ToHost => Ok(Vec::new()),
        };
        Ok(HostSide { side, not_covered })
    }

    /// A disk can have volumes of its own: a dataset is covered if any disk takes it.
    fn not_covered(&self) -> Result<Vec<DatasetName>, openzfs::Error> {
        let hosts = &self.host.selection;
        let disks = self.config.devices.iter();
        let selections: Vec<_> = disks
            .map(|disk| disk.selection.as_ref().unwrap_or(hosts))
            .collect();
        let pool = &self.host_pool.name;
        uncovered::read(&Libzfs::open()?, pool, &|volume| {
            config::fate(&selections, &hosts.exclude, volume)
        })
    }

    /// Reads the disk's side, and what can only be known from both.
    pub fn complete(self, zfs: &Libzfs, host: Side, disk: &Imported) -> Result<Inventory, Error> {
        fault::at("disk-inventory").map_err(|words| Error::new(Phase::Inventory, words))?;
        let wanted = self.wanted();
        let disk_scope = self.disk_scope(disk)?;
        let host_scope = self.host_scope(disk.guid());
        let (mut source, mut target, volumes, scopes) = match self.request.direction {
            Direction::ToDisk => {
                let volumes = self.volumes(&host)?;
                let disk = read::named(zfs, &disk_scope, wanted, &volumes).map_err(failed)?;
                refuse_encrypted_root(&disk)?;
                (host, disk, volumes, [host_scope, disk_scope])
            }
            Direction::ToHost => {
                let source = read::listed(zfs, &disk_scope, wanted).map_err(failed)?;
                refuse_encrypted_root(&source)?;
                let volumes = self.volumes(&source)?;
                let mut target = host;
                read::add_leftovers(zfs, &host_scope, wanted, &volumes, &mut target)
                    .map_err(failed)?;
                (source, target, volumes, [disk_scope, host_scope])
            }
        };
        read::keep_only(&mut source, &volumes);
        read::keep_only(&mut target, &volumes);
        read::complete(zfs, &mut source, &mut target, &volumes);
        let lzc = Lzc::open().map_err(failed)?;
        stream_features::compare(&mut source, &target, &volumes, lzc);
        keys::compare(zfs, lzc, &mut source, &mut target, &volumes);
        let keep_both = &self.request.conflict_options.keep_both;
        read::add_surroundings(zfs, &scopes[1], keep_both, &mut target).map_err(failed)?;
        read::add_others(zfs, &scopes, (&mut source, &mut target), &volumes).map_err(failed)?;
        let [_, target_scope] = scopes;
        Ok(Inventory {
            source,
            target,
            volumes,
            target_scope,
        })
    }

    fn wanted(&self) -> Wanted<'a> {
        Wanted {
            roots: match self.request.requested {
                [] => &self.selection.volumes,
                requested => requested,
            },
            recursive: self.selection.recursive,
            histories: Histories::Of(self.selection),
            whole: self.whole,
        }
    }

    fn host_scope(&self, disk: Guid) -> Scope {
        Scope {
            pool: self.host_pool.name.clone(),
            top: self.host_pool.name.root(),
            peer: Peer::disk(disk, self.device.partuuid.as_str()),
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
            peer: Peer::host(self.host_pool.guid),
        })
    }

    /// Refuses a command line that is wrong whatever the source holds: nothing has to be unlocked
    /// or imported for this check.
    pub fn check_request(&self) -> Result<(), Error> {
        let named = self.request.conflict_options.volumes();
        self.chosen(&named.cloned().collect()).map(drop)
    }

    /// The volumes of this run: what is configured, its children if it is recursive, and of these
    /// what the command line names.
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
        let named: Vec<VolumePath> = self.request.conflict_options.volumes().cloned().collect();
        select(&named)?;
        let volumes = select(self.request.requested)?;
        match named.iter().find(|volume| !volumes.contains(volume)) {
            Some(volume) => Err(usage(format!(
                "{volume} has --force, --keep-both or --follow-rename, but is not among the volumes \
                 to carry"
            ))),
            None => Ok(volumes),
        }
    }
}

/// Refuses a disk's pool whose root dataset is encrypted by ZFS: clear volumes would become
/// encrypted there, with a key that zbackup does not have.
fn refuse_encrypted_root(disk: &Side) -> Result<(), Error> {
    let pool = &disk.pool;
    let root = disk.dataset(&pool.root());
    if !root.is_some_and(|root| root.encrypted) {
        return Ok(());
    }
    let message = format!(
        "the disk's pool {pool} is encrypted by ZFS at its root, which zbackup does not support yet"
    );
    Err(Error::new(Phase::Inventory, message).next(next!(
        "encrypted-root",
        "Use a disk whose pool is not: its container can be encrypted (`encryption`), and volumes \
         that ZFS encrypts stay so on the disk."
    )))
}

fn usage(message: String) -> Error {
    Error::new(Phase::Arguments, message).exit(Exit::Usage)
}

fn failed(error: openzfs::Error) -> Error {
    let is_damage = error.kind == ErrorKind::Io;
    let failed = Error::new(Phase::Inventory, error.to_string());
    if is_damage {
        return failed.next(
            next!("damaged-inventory", "See what is damaged: `zpool status -v` (for the disk's pool after `zbackup open`). Nothing was \
             changed; the other copy is as it was."),
        );
    }
    failed
}
