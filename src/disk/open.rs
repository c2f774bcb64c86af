//! From a plugged-in partition to an imported pool.

use std::path::{Path, PathBuf};

use super::close::{self, Closing};
use super::partition::{Partition, holders, mapping_of};
use super::record::Record;
use super::secret::Source;
use super::stage::{Imported, Unlocked};
use crate::config::{Device, Encryption};
use crate::crypt::{self, ContainerKind, Mapping, Unlock};
use crate::error::{Error, Phase};
use crate::interrupt::Interrupt;
use crate::name::Guid;
use crate::terminal::{Approval, Terminal};
use crate::zfs::{ImportOptions, Importable, Libzfs};

/// What opening and closing a disk works with.
#[derive(Clone, Copy)]
pub struct Keeper<'a> {
    /// The handle that imports and exports.
    pub zfs: &'a Libzfs,
    /// Where questions are asked.
    pub terminal: &'a Terminal,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
}

/// How a disk is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Its section of the configuration.
    pub device: &'a Device,
    /// Import read-only, unlock read-only: nothing on the disk can change.
    pub readonly: bool,
    /// Import although another host used the pool last and never exported it.
    pub force_import: bool,
}

/// Why a disk was not opened, and the state it was left in.
#[derive(Debug)]
pub struct NotOpened {
    /// The reason.
    pub why: Refusal,
    /// The disk afterwards.
    pub closing: Closing,
}

/// The reason for not opening a disk.
#[derive(Debug)]
pub enum Refusal {
    /// The user said no at this step.
    Declined(String),
    /// It failed.
    Failed(Error),
}

/// Unlocks the partition's container, if it has one, and imports the pool from that device only.
///
/// A disk that an earlier run left open is closed first. Whatever fails on the way is undone.
/// `found` hears the pool's guid when all questions are answered, right before the import: that
/// takes its time, and other work can begin.
pub fn open<'a>(
    keeper: Keeper<'a>,
    partition: Partition,
    opening: &Opening,
    found: &dyn Fn(Guid),
) -> Result<Imported<'a>, Box<NotOpened>> {
    let failed = |error| Refusal::Failed(error);
    let step = || -> Result<(), Error> {
        close::put_away_leftovers(keeper, &partition)?;
        check_unused(&partition)?;
        Record::write(&partition.partuuid, Vec::new())
    };
    if let Err(error) = step() {
        return Err(Box::new(NotOpened {
            why: failed(error),
            closing: Closing::untouched(),
        }));
    }
    let unlocked = match unlock(keeper, &partition, opening) {
        Ok(unlocked) => unlocked,
        Err(why) => {
            let closing = close::finish(keeper.zfs, &partition, None, Vec::new());
            return Err(Box::new(NotOpened { why, closing }));
        }
    };
    match import(keeper, unlocked, opening, found) {
        Ok(imported) => Ok(imported),
        Err((unlocked, why)) => {
            let closing = close::lock_and_finish(keeper.zfs, unlocked, None, Vec::new());
            Err(Box::new(NotOpened { why, closing }))
        }
    }
}

/// Refuses a partition that something in this machine has in use already.
fn check_unused(partition: &Partition) -> Result<(), Error> {
    let node = &partition.path;
    let holders = holders(node)
        .map_err(|error| Error::new(Phase::Disk, format!("{}: {error}", node.display())))?;
    let Some(holder) = holders.first() else {
        return Ok(());
    };
    let mapping = mapping_of(holder);
    Err(Error::new(
        Phase::Unlock,
        format!("{} is in use already, by the mapping {mapping}, which zbackup did not make", node.display()),
    )
    .next(format!("Export the pool on /dev/mapper/{mapping} if there is one, close the mapping, and run this command again.")))
}

fn unlock(keeper: Keeper, partition: &Partition, opening: &Opening) -> Result<Unlocked, Refusal> {
    let Some(encryption) = opening.device.encryption else {
        return Ok(Unlocked::plain(partition.clone()));
    };
    let step = format!(
        "unlock {} ({encryption}) as {}",
        partition.path.display(),
        partition.mapping_name()
    );
    if keeper.terminal.approve(&step) == Approval::No {
        return Err(Refusal::Declined(step));
    }
    let mapping =
        open_container(keeper, partition, opening, kind_of(encryption)).map_err(Refusal::Failed)?;
    Ok(Unlocked::container(partition.clone(), mapping))
}

/// Opens the container, asking up to three times where the passphrase comes from a terminal.
fn open_container(
    keeper: Keeper,
    partition: &Partition,
    opening: &Opening,
    kind: ContainerKind,
) -> Result<Mapping, Error> {
    let device = opening.device;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let source = Source::choose(device, keeper.terminal.can_ask(), credentials.as_deref())?;
    let prompt = format!(
        "Passphrase of [{}] ({})",
        device.section,
        partition.path.display()
    );
    let mapping_name = partition.mapping_name();
    let keyfiles: Vec<PathBuf> = device.keyfile.iter().cloned().collect();
    for tries_left in (0..source.tries()).rev() {
        let passphrase = source.passphrase(&prompt)?;
        keeper
            .terminal
            .say(&format!("Unlocking {} …", partition.path.display()));
        let unlock = Unlock {
            passphrase: passphrase.as_ref(),
            keyfiles: &keyfiles,
            pim: device.pim,
            hidden: device.hidden,
            readonly: opening.readonly,
            ..Unlock::new(kind, &partition.path, &mapping_name)
        };
        match crypt::unlock(&unlock) {
            Ok(mapping) => return Ok(mapping),
            Err(error) if error.kind == crypt::ErrorKind::WrongPassphrase && tries_left > 0 => {
                keeper
                    .terminal
                    .warn("Wrong passphrase, or not this kind of container. Try again.");
            }
            Err(error) => return Err(unlock_failed(device, &partition.path, &source, &error)),
        }
    }
    unreachable!("the last try returns");
}

fn unlock_failed(device: &Device, node: &Path, source: &Source, error: &crypt::Error) -> Error {
    let message = format!("cannot unlock {}: {error}", node.display());
    let next = match (error.kind, source) {
        (crypt::ErrorKind::WrongPassphrase, Source::File(file)) => format!(
            "Check {} and the keys encryption, keyfile, pim and hidden of [{}].",
            file.display(),
            device.section
        ),
        (crypt::ErrorKind::WrongPassphrase, _) => {
            format!(
                "Check the keys encryption, keyfile, pim and hidden of [{}], then try again.",
                device.section
            )
        }
        _ => "Nothing on the disk was changed.".to_owned(),
    };
    Error::new(Phase::Unlock, message).next(next)
}

fn kind_of(encryption: Encryption) -> ContainerKind {
    match encryption {
        Encryption::Truecrypt => ContainerKind::Truecrypt,
        Encryption::Veracrypt => ContainerKind::Veracrypt,
        Encryption::TruecryptOrVeracrypt => ContainerKind::TruecryptOrVeracrypt,
        Encryption::Luks => ContainerKind::Luks,
    }
}

fn import<'a>(
    keeper: Keeper<'a>,
    unlocked: Unlocked,
    opening: &Opening,
    found: &dyn Fn(Guid),
) -> Result<Imported<'a>, (Unlocked, Refusal)> {
    let device = unlocked.device();
    let candidate = match choose_pool(keeper.zfs, &unlocked, opening) {
        Ok(candidate) => candidate,
        Err(error) => return Err((unlocked, Refusal::Failed(error))),
    };
    let mode = if opening.readonly { ", read-only" } else { "" };
    let step = format!("import {} from {}{mode}", candidate.name, device.display());
    if keeper.terminal.approve(&step) == Approval::No {
        return Err((unlocked, Refusal::Declined(step)));
    }
    keeper
        .terminal
        .say(&format!("Importing {} …", candidate.name));
    let options = ImportOptions {
        readonly: opening.readonly,
        altroot: opening.device.mount_point.clone(),
        new_name: None,
        force: opening.force_import,
    };
    found(candidate.guid);
    match keeper.zfs.import(&candidate, &options) {
        Ok(()) => Ok(Imported::new(
            keeper.zfs,
            candidate.name.clone(),
            candidate.guid,
            unlocked,
        )),
        Err(error) => {
            let error = Error::new(
                Phase::Import,
                format!("cannot import {}: {error}", candidate.name),
            );
            Err((unlocked, Refusal::Failed(error)))
        }
    }
}

/// The configured pool on an unlocked disk. Another pool there, none, or one that another host still has, is an error.
fn choose_pool(zfs: &Libzfs, unlocked: &Unlocked, opening: &Opening) -> Result<Importable, Error> {
    let device = unlocked.device();
    let fail = |message: String| Error::new(Phase::Import, message);
    let wanted = &opening.device.pool;
    let mut candidates = zfs.search(&unlocked.lasting_path()).map_err(|error| {
        fail(format!(
            "cannot look for pools on {}: {error}",
            device.display()
        ))
    })?;
    let Some(index) = candidates
        .iter()
        .position(|candidate| wanted.matches(&candidate.name, candidate.guid))
    else {
        return Err(match candidates.first() {
            Some(other) => fail(format!(
                "{} holds the pool {} (guid {}), not {wanted}",
                device.display(),
                other.name,
                other.guid
            ))
            .next(format!("If that is the right disk, set backup_pool = {} in [{}].", other.name, opening.device.section)),
            None => fail(format!("there is no pool on {}", device.display())).next(
                "If the disk is new, make a pool on it first. If it is encrypted, check the key encryption of its section.",
            ),
        });
    };
    let candidate = candidates.swap_remove(index);
    if let Some(obstacle) = candidate.obstacle(opening.readonly) {
        let error = fail(format!("{} cannot be imported: {obstacle}", candidate.name));
        return Err(match candidate.obstacle(true) {
            None => error.next(
                "A newer OpenZFS made it so. Update OpenZFS on this host; until then `zbackup open` \
                 imports it read-only, and its snapshots can be mounted or sent from there.",
            ),
            Some(_) if !candidate.unsupported_features.is_empty() => {
                error.next("A newer OpenZFS made it so. Update OpenZFS on this host.")
            }
            Some(_) => error,
        });
    }
    match &candidate.needs_force {
        Some(foreign) if !opening.force_import => Err(fail(format!("{} was not exported: {foreign}", candidate.name)).next(
            "If that host is off, or the disk was pulled out of it, run this command again with --force-import. \
             Never while another host has the pool imported: that destroys it.",
        )),
        _ => Ok(candidate),
    }
}
