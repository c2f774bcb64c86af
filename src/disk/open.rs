//! From a plugged-in partition to an imported pool.

use std::path::{Path, PathBuf};

use super::close::{self, Closing, Leftovers};
use super::partition::{Partition, holders, mapping_of};
use super::record::Record;
use super::secret::Source;
use super::stage::{Imported, Unlocked};
use super::watch::Watched;
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
    /// Told when there is a pool whose disk must not vanish.
    pub watched: &'a Watched,
}

impl Keeper<'_> {
    /// Asks for `step` where `-v` wants that. No is an error, and so is a signal that came before.
    pub(super) fn ask(&self, phase: Phase, step: &str) -> Result<(), Error> {
        let approval = self.terminal.approve(step);
        match (self.interrupt.caught(), approval) {
            (Some(signal), _) => Err(Error::interrupted(phase, signal)),
            (None, Approval::No) => Err(Error::declined(phase, step)),
            (None, Approval::Yes) => Ok(()),
        }
    }
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
    /// A disk that is open already stays as it is (`-n`).
    pub dry_run: bool,
}

/// Unlocks the partition's container, if it has one, and imports the pool from that device only.
///
/// A disk that an earlier run left open is closed first. Whatever fails on the way is undone, and the
/// error says what state the disk was left in.
/// `found` hears the pool's guid when all questions are answered, right before the import: that
/// takes its time, and other work can begin.
pub fn open<'a>(
    keeper: Keeper<'a>,
    partition: Partition,
    opening: &Opening,
    found: &dyn Fn(Guid),
) -> Result<Imported<'a>, Box<Closing>> {
    let leftovers = Leftovers::look(keeper.zfs, &partition).map_err(Closing::untouched)?;
    if opening.dry_run {
        leftovers.refuse()?;
    }
    leftovers.put_away(keeper, &partition)?;
    check_unused(&partition)
        .and_then(|()| Record::write(&partition.partuuid, Vec::new()))
        .map_err(Closing::untouched)?;
    let unlocked = unlock(keeper, &partition, opening)
        .map_err(|why| Box::new(close::check(keeper.zfs, &partition).because(why)))?;
    let (candidate, unlocked) = choose(keeper, unlocked, opening)?;
    // From here on system calls can wait for the disk.
    keeper.watched.begin(&candidate.name);
    found(candidate.guid);
    import(keeper, &candidate, unlocked, opening).map_err(|(unlocked, why)| {
        keeper.watched.end();
        let guid = Some(candidate.guid);
        Box::new(close::lock_and_finish(keeper.zfs, unlocked, guid, Vec::new()).because(why))
    })
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

fn unlock(keeper: Keeper, partition: &Partition, opening: &Opening) -> Result<Unlocked, Error> {
    let Some(encryption) = opening.device.encryption else {
        return Ok(Unlocked::plain(partition.clone()));
    };
    let step = format!(
        "unlock {} ({encryption}) as {}",
        partition.path.display(),
        partition.mapping_name()
    );
    keeper.ask(Phase::Unlock, &step)?;
    let mapping = open_container(keeper, partition, opening, kind_of(encryption))?;
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
        if let Some(signal) = keeper.interrupt.caught() {
            return Err(Error::interrupted(Phase::Unlock, signal));
        }
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

/// Finds the pool and asks whether to import it. The container is locked again where that fails.
fn choose(
    keeper: Keeper,
    unlocked: Unlocked,
    opening: &Opening,
) -> Result<(Importable, Unlocked), Box<Closing>> {
    let chosen = choose_pool(keeper.zfs, &unlocked, opening).and_then(|candidate| {
        let mode = if opening.readonly { ", read-only" } else { "" };
        let device = unlocked.device();
        let step = format!("import {} from {}{mode}", candidate.name, device.display());
        keeper.ask(Phase::Import, &step)?;
        Ok(candidate)
    });
    match chosen {
        Ok(candidate) => Ok((candidate, unlocked)),
        Err(why) => {
            let closing = close::lock_and_finish(keeper.zfs, unlocked, None, Vec::new());
            Err(Box::new(closing.because(why)))
        }
    }
}

fn import<'a>(
    keeper: Keeper<'a>,
    candidate: &Importable,
    unlocked: Unlocked,
    opening: &Opening,
) -> Result<Imported<'a>, (Unlocked, Error)> {
    keeper
        .terminal
        .say(&format!("Importing {} …", candidate.name));
    let options = ImportOptions {
        readonly: opening.readonly,
        altroot: opening.device.mount_point.clone(),
        new_name: None,
        force: opening.force_import,
    };
    match keeper.zfs.import(candidate, &options) {
        Ok(()) => Ok(Imported::new(
            keeper.zfs,
            candidate.name.clone(),
            candidate.guid,
            unlocked,
        )),
        Err(error) => {
            let message = format!("cannot import {}: {error}", candidate.name);
            let next = after_failed_import(keeper.zfs, candidate, &unlocked);
            let error = Error::new(Phase::Import, message).next(next);
            Err((unlocked, error))
        }
    }
}

/// What to do about a pool that the kernel does not import. Mostly its name is taken.
fn after_failed_import(zfs: &Libzfs, candidate: &Importable, unlocked: &Unlocked) -> String {
    let name = &candidate.name;
    let taken = zfs.pool(name).ok().flatten();
    match taken.filter(|pool| pool.guid() != candidate.guid) {
        Some(other) => format!(
            "Another pool of that name is imported here (guid {}): zpool export {name}, then run this command again.",
            other.guid()
        ),
        None => format!(
            "See what ZFS says about it: zpool import -d {}. Then run this command again.",
            unlocked.lasting_path().display()
        ),
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
