//! From a plugged-in partition to an imported pool.

use std::path::{Path, PathBuf};

use openzfs::{Guid, Health, ImportOptions, Importable, Libzfs, PoolName};

use super::close::{self, Closing, Leftovers};
use super::find::FoundDisk;
use super::partition::Partition;
use super::record::Record;
use super::secret::Source;
use super::stage::{Imported, Unlocked};
use super::watch::Watched;
use crate::config::{Device, Encryption};
use crate::crypt::{self, ContainerKind, Mapping, Unlock};
use crate::error::{Error, Phase};
use crate::interrupt::Interrupt;
use crate::next::next;
use crate::system::devices::{holders, mapping_of};
use crate::terminal::{Approval, Terminal};
use crate::text::shell_word;

/// What opening and closing a disk works with.
#[derive(Clone, Copy)]
pub struct DiskContext<'a> {
    /// The handle that imports and exports.
    pub zfs: &'a Libzfs,
    /// The terminal on which questions are asked.
    pub terminal: &'a Terminal,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
    /// Told when a pool is imported whose disk must not vanish.
    pub watched: &'a Watched,
}

impl DiskContext<'_> {
    /// Asks about `step` if `-v` wants that. A no is an error, and so is an earlier signal.
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
    /// The disk.
    pub disk: &'a FoundDisk<'a>,
    /// Import read-only, unlock read-only: nothing on the disk can change.
    pub readonly: bool,
    /// Import although another host used the pool last and never exported it.
    pub force_import: bool,
    /// A disk that is already open stays as it is (`-n`).
    pub dry_run: bool,
    /// Do not import a pool that lacks a device.
    pub needs_whole_pool: bool,
}

/// Unlocks the partition's container, if it has one, and imports the pool from that device only.
///
/// A disk that an earlier run left open is closed first. If a step fails, the earlier ones are undone,
/// and the error says in which state the disk was left. `found` is called with the pool's guid when
/// all questions are answered, right before the import, which takes time: other work can begin.
pub fn open<'a>(
    context: DiskContext<'a>,
    opening: &Opening,
    found: &dyn Fn(Guid),
) -> Result<Imported<'a>, Box<Closing>> {
    let FoundDisk { device, partition } = opening.disk;
    let leftovers = Leftovers::look(context.zfs, partition).map_err(Closing::untouched)?;
    check_built(device).map_err(|why| leftovers.stay(why))?;
    if opening.dry_run {
        leftovers.refuse()?;
    }
    leftovers.put_away(context, partition)?;
    check_unused(partition)
        .and_then(|()| check_writable(partition, opening))
        .and_then(|()| write_record(partition))
        .map_err(Closing::untouched)?;
    let unlocked = unlock(context, partition, opening)
        .map_err(|why| Box::new(close::check(context.zfs, partition).because(why)))?;
    let (chosen, unlocked) = choose(context, unlocked, opening)?;
    // From here on system calls can wait for the disk.
    context.watched.begin(&chosen.name);
    found(chosen.pool.guid);
    import(context, &chosen, unlocked, opening).map_err(|(unlocked, why)| {
        context.watched.end();
        let guid = Some(chosen.pool.guid);
        Box::new(close::lock_and_finish(context.zfs, unlocked, guid, Vec::new()).because(why))
    })
}

/// Writes down that zbackup has the disk open. A partly written record would say so of whoever opens it next.
fn write_record(partition: &Partition) -> Result<(), Error> {
    let partuuid = &partition.partuuid;
    Record::write(partuuid, Vec::new()).map_err(|mut error| {
        if let Err(problem) = Record::remove(partuuid) {
            error.join(&problem);
        }
        error
    })
}

/// Refuses a container if this build of zbackup cannot open any.
fn check_built(device: &Device) -> Result<(), Error> {
    match device.encryption {
        Some(encryption) if !crypt::IS_BUILT_IN => Err(Error::new(
            Phase::Unlock,
            format!(
                "[{}] is encrypted ({encryption}), and this zbackup was built without support for containers",
                device.section
            ),
        )
        .next(
            next!("not-built", "Build zbackup with the cargo feature cryptsetup (it is on by default: cargo build --release), \
             with libcryptsetup-dev installed, and run this command with that."),
        )),
        _ => Ok(()),
    }
}

/// Refuses a partition that something in this machine already uses.
fn check_unused(partition: &Partition) -> Result<(), Error> {
    let node = &partition.path;
    let holders = holders(node)
        .map_err(|error| Error::new(Phase::Disk, format!("{}: {error}", node.display())))?;
    let Some(holder) = holders.first() else {
        return Ok(());
    };
    let mapping = mapping_of(holder).unwrap_or_else(|| holder.clone());
    Err(Error::new(
        Phase::Unlock,
        format!("{} is in use already, by the mapping {mapping}, which zbackup did not make", node.display()),
    )
    .next(next!(
"foreign-mapping",
"Export the pool on /dev/mapper/{mapping} if there is one, close the mapping, and run this command again.")))
}

/// Refuses a write-protected disk if something is to be written: the kernel would only say that
/// permission is denied.
fn check_writable(partition: &Partition, opening: &Opening) -> Result<(), Error> {
    if opening.readonly || !partition.is_write_protected() {
        return Ok(());
    }
    let (node, disk) = (partition.path.display(), partition.disk.display());
    Err(
        Error::new(Phase::Disk, format!("{node} is write-protected")).next(next!(
"write-protected",
"If the disk or its adapter has a switch for that, pull it out, set the switch and plug it in again; \
             if not, it was done here: `blockdev --setrw {disk} {node}` undoes it. Then run this command again. \
             To read it as it is: `zbackup open`."
        )),
    )
}

fn unlock(
    context: DiskContext,
    partition: &Partition,
    opening: &Opening,
) -> Result<Unlocked, Error> {
    let Some(encryption) = opening.disk.device.encryption else {
        return Ok(Unlocked::plain(partition.clone()));
    };
    let step = format!(
        "unlock {} ({encryption}) as {}",
        partition.path.display(),
        partition.mapping_name()
    );
    context.ask(Phase::Unlock, &step)?;
    let mapping = open_container(context, partition, opening, kind_of(encryption))?;
    Ok(Unlocked::container(partition.clone(), mapping))
}

/// Opens the container, asking up to three times if the passphrase comes from a terminal.
fn open_container(
    context: DiskContext,
    partition: &Partition,
    opening: &Opening,
    kind: ContainerKind,
) -> Result<Mapping, Error> {
    let device = opening.disk.device;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let source = Source::choose(device, context.terminal.can_ask(), credentials.as_deref())?;
    let without = match device.keyfiles.len() {
        0 => "",
        1 => ", Enter for the keyfile alone",
        _ => ", Enter for the keyfiles alone",
    };
    let prompt = format!(
        "Passphrase of [{}] ({}{without})",
        device.section,
        partition.path.display()
    );
    let mapping_name = partition.mapping_name();
    for tries_left in (0..source.tries()).rev() {
        let passphrase = source.passphrase(context.terminal, &prompt)?;
        if let Some(signal) = context.interrupt.caught() {
            return Err(Error::interrupted(Phase::Unlock, signal));
        }
        context
            .terminal
            .say(&format!("Unlocking {} …", partition.path.display()));
        let unlock = Unlock {
            passphrase: passphrase.as_ref(),
            keyfiles: &device.keyfiles,
            pim: device.pim,
            hidden: device.hidden,
            readonly: opening.readonly,
            ..Unlock::new(kind, &partition.path, &mapping_name)
        };
        match crypt::unlock(&unlock) {
            Ok(mapping) => return Ok(mapping),
            Err(error) if error.kind == crypt::ErrorKind::WrongPassphrase && tries_left > 0 => {
                context
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
        (crypt::ErrorKind::WrongPassphrase, Source::File(file)) => next!(
            "wrong-passphrase-file",
            "Check {} and the keys encryption, keyfile, pim and hidden of [{}].",
            file.display(),
            device.section
        ),
        (crypt::ErrorKind::WrongPassphrase, _) => {
            next!(
                "wrong-passphrase",
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

/// The pool to import, and its name here.
struct Chosen {
    pool: Importable,
    name: PoolName,
}

impl Chosen {
    /// A host may have a pool with the same name as the disk's. The host's pool is not touched: the
    /// disk's pool gets another name for as long as it is here.
    fn new(zfs: &Libzfs, pool: Importable) -> Result<Self, Error> {
        let others = (2..).map(|number| format!("{}-usb-{number}", pool.name));
        let names = [pool.name.to_string(), format!("{}-usb", pool.name)];
        for name in names.into_iter().chain(others) {
            let failed = |error: String| Error::new(Phase::Import, error);
            let name = PoolName::new(&name).map_err(|error| failed(error.to_string()))?;
            let taken = zfs.pool(&name).map_err(|error| failed(error.to_string()))?;
            if taken.is_none() {
                return Ok(Self { pool, name });
            }
        }
        unreachable!("a finite number of pools leaves a number free")
    }

    /// Its temporary name, if it has one here.
    fn temporary_name(&self) -> Option<PoolName> {
        (self.name != self.pool.name).then(|| self.name.clone())
    }

    /// `backup`, or `backup as backup-usb`
    fn words(&self) -> String {
        let other = self.temporary_name().map(|name| format!(" as {name}"));
        format!("{}{}", self.pool.name, other.unwrap_or_default())
    }
}

/// Finds the pool and asks whether to import it. If that fails, the container is locked again.
fn choose(
    context: DiskContext,
    unlocked: Unlocked,
    opening: &Opening,
) -> Result<(Chosen, Unlocked), Box<Closing>> {
    let candidate = choose_pool(context.zfs, &unlocked, opening);
    let chosen = candidate.and_then(|pool| {
        let chosen = Chosen::new(context.zfs, pool)?;
        let mode = if opening.readonly { ", read-only" } else { "" };
        let device = unlocked.device();
        let step = format!("import {} from {}{mode}", chosen.words(), device.display());
        context.ask(Phase::Import, &step)?;
        Ok(chosen)
    });
    match chosen {
        Ok(chosen) => Ok((chosen, unlocked)),
        Err(why) => {
            let closing = close::lock_and_finish(context.zfs, unlocked, None, Vec::new());
            Err(Box::new(closing.because(why)))
        }
    }
}

fn import<'a>(
    context: DiskContext<'a>,
    chosen: &Chosen,
    unlocked: Unlocked,
    opening: &Opening,
) -> Result<Imported<'a>, (Unlocked, Error)> {
    context
        .terminal
        .say(&format!("Importing {} …", chosen.words()));
    let pool = &chosen.pool;
    let options = ImportOptions {
        readonly: opening.readonly,
        altroot: opening.disk.device.mount_point.clone(),
        temporary_name: chosen.temporary_name(),
        force: opening.force_import,
    };
    match context.zfs.import(pool, &options) {
        Ok(()) => Ok(Imported::new(
            context.zfs,
            chosen.name.clone(),
            pool.guid,
            unlocked,
        )),
        Err(error) => {
            let message = format!("cannot import {}: {error}", chosen.words());
            let next = next!(
                "import-failed",
                "See what ZFS says about it: {}. Then run this command again.",
                looked_at_by_hand(opening.disk.device, &unlocked)
            );
            let error = Error::new(Phase::Import, message).next(next);
            Err((unlocked, error))
        }
    }
}

/// The commands that show what ZFS knows of the pool on a disk. A container is closed again by then.
fn looked_at_by_hand(device: &Device, unlocked: &Unlocked) -> String {
    let path = unlocked.lasting_path();
    let look = next!(
        "import-failed",
        "`zpool import -d {}`",
        shell_word(&path.display())
    );
    let kind = match device.encryption {
        None => return look,
        Some(Encryption::Luks) => "luks",
        Some(Encryption::Truecrypt) => "tcrypt --disable-veracrypt",
        Some(Encryption::Veracrypt | Encryption::TruecryptOrVeracrypt) => "tcrypt",
    };
    let keyfiles = device.keyfiles.iter();
    let keyfiles = keyfiles.map(|file| format!(" --key-file {}", shell_word(&file.display())));
    let hidden = device.hidden.then(|| " --tcrypt-hidden".to_owned());
    let pim = device.pim.map(|pim| format!(" --veracrypt-pim {pim}"));
    let options: String = keyfiles.chain(hidden).chain(pim).collect();
    let partition = unlocked.partition();
    let (link, name) = (partition.link(), partition.mapping_name());
    let link = shell_word(&link.display());
    next!(
        "import-failed",
        "`cryptsetup open --type {kind}{options} {link} {name}`, {look}, `cryptsetup close {name}`"
    )
}

/// The error for a pool that lacks devices, and what to do.
fn degraded(device: &Device, pool: &Importable) -> Error {
    let section = &device.section;
    let gone = pool.vdevs.iter().filter(|vdev| vdev.is_missing());
    let gone: Vec<_> = gone.map(ToString::to_string).collect();
    let without = if gone.is_empty() {
        String::new()
    } else {
        format!(" (it does without {})", gone.join(", "))
    };
    let message = format!(
        "the pool {} is {}{without}, and [{section}] says degraded = refuse: it was not imported",
        pool.name, pool.health
    );
    Error::new(Phase::Import, message).next(next!(
        "degraded-refused",
        "Bring back what is missing and run this command again, or set degraded = warn in [{section}] to go on \
         without it. `zbackup open --rw` opens the disk for repairs (zpool replace, zpool attach)."
    ))
}

/// The configured pool on an unlocked disk. It is an error if there is no pool, another pool, or one that
/// another host still has imported.
fn choose_pool(zfs: &Libzfs, unlocked: &Unlocked, opening: &Opening) -> Result<Importable, Error> {
    let device = unlocked.device();
    let fail = |message: String| Error::new(Phase::Import, message);
    let wanted = &opening.disk.device.pool;
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
            .next(next!(
"other-pool",
"If that is the right disk, set backup_pool = {} in [{}].", other.name, opening.disk.device.section)),
            None => fail(format!("there is no pool on {}", device.display())).next(
                next!("no-pool", "If the disk is new, make a pool on it first. If it is encrypted, check the key encryption of its section."),
            ),
        });
    };
    let candidate = candidates.swap_remove(index);
    if let Some(obstacle) = candidate.obstacle(opening.readonly) {
        let error = fail(format!("{} cannot be imported: {obstacle}", candidate.name));
        return Err(match candidate.obstacle(true) {
            None => error.next(
                next!("newer-openzfs", "A newer OpenZFS made it so. Update OpenZFS on this host; until then `zbackup open` \
                 imports it read-only, and its snapshots can be mounted or sent from there."),
            ),
            Some(_) if !candidate.unsupported_features.is_empty() => {
                error.next(next!("newer-openzfs-closed", "A newer OpenZFS made it so. Update OpenZFS on this host."))
            }
            Some(_) => error,
        });
    }
    if opening.needs_whole_pool && candidate.health != Health::Online {
        return Err(degraded(opening.disk.device, &candidate));
    }
    match &candidate.needs_force {
        Some(foreign) if !opening.force_import => Err(fail(format!("{} was not exported: {foreign}", candidate.name)).next(
            next!("force-import", "If that host is off, or the disk was pulled out of it, run this command again with --force-import. \
             Never while another host has the pool imported: that destroys it."),
        )),
        _ => Ok(candidate),
    }
}
