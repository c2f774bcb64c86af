//! From an open disk to one that is safe to unplug, however the run ends.

use std::path::{Path, PathBuf};

use openzfs::{Guid, Libzfs, PoolName, fault};

use super::open::DiskContext;
use super::partition::Partition;
use super::record::Record;
use super::safe::Holder;
use super::stage::{self, Imported, Unlocked};
use super::{mount, safe, watch};
use crate::crypt;
use crate::error::{Error, Phase};
use crate::next::next;
use crate::report::DiskState;
use crate::terminal::Approval;
use crate::text::shell_word;

/// The state in which a disk was left.
#[derive(Debug)]
pub struct Closing {
    /// What is open.
    pub state: DiskState,
    /// The kernel says that nothing uses the disk.
    pub safe_to_unplug: bool,
    /// Why the disk is not closed or not safe, and what to do.
    pub error: Option<Error>,
}

impl Closing {
    /// Nothing was done to the disk, for this reason.
    pub fn untouched(why: Error) -> Box<Self> {
        Box::new(Self::left_as(DiskState::Untouched).because(why))
    }

    /// Adds the earlier error that led to this: what went wrong while closing comes after it.
    #[must_use]
    pub fn because(mut self, mut why: Error) -> Self {
        if let Some(later) = self.error.take() {
            why.join(&later);
        }
        self.error = Some(why);
        self
    }

    fn left_as(state: DiskState) -> Self {
        Self {
            state,
            safe_to_unplug: false,
            error: None,
        }
    }
}

/// Unmounts, exports and locks. With `-v` the user can decline, which leaves the disk open.
pub fn close(context: DiskContext, imported: Imported) -> Closing {
    let step = format!(
        "export {} and lock {}",
        imported.pool(),
        imported.disk().display()
    );
    // A user who ends the run by a signal, even during this question, wants the disk closed.
    let ends_by_signal = || context.interrupt.caught().is_some();
    if !ends_by_signal() && context.terminal.approve(&step) == Approval::No && !ends_by_signal() {
        imported.leave_open();
        return Closing::left_as(DiskState::Imported).because(declined(&step));
    }
    context
        .terminal
        .say(&format!("Exporting {} …", imported.pool()));
    let guid = imported.guid();
    let made_directories = imported.made_directories.clone();
    context.watched.begin_export(imported.pool());
    match imported.export() {
        Ok(unlocked) => {
            context.watched.end();
            lock_and_finish(context.zfs, unlocked, Some(guid), made_directories)
        }
        Err((imported, error)) => {
            imported.leave_open();
            Closing::left_as(DiskState::Imported).because(error)
        }
    }
}

fn declined(step: &str) -> Error {
    Error::declined(Phase::Close, step).next(next!(
        "declined-close",
        "The disk is still open: run `zbackup close` before you unplug it."
    ))
}

/// Leaves the disk open for the user; `zbackup close` ends that.
pub fn keep_open(imported: Imported) -> Closing {
    let recorded = Record::write(imported.partuuid(), imported.made_directories.clone());
    imported.leave_open();
    Closing {
        error: recorded.err(),
        ..Closing::left_as(DiskState::Imported)
    }
}

/// Locks the container of a disk whose pool is not imported, then [`finish`]es.
pub(super) fn lock_and_finish(
    zfs: &Libzfs,
    unlocked: Unlocked,
    pool: Option<Guid>,
    made: Vec<PathBuf>,
) -> Closing {
    match unlocked.lock() {
        Ok(partition) => finish(zfs, &partition, pool, made),
        Err((unlocked, error)) => {
            // Its guard would only try the same thing again.
            unlocked.leave_open();
            Closing::left_as(DiskState::Unlocked).because(error)
        }
    }
}

/// Cleans up after a closed disk, and asks the kernel whether it is free.
///
/// The kernel also has the last word on the state: the record of what zbackup has open stays until
/// nothing is open.
fn finish(zfs: &Libzfs, partition: &Partition, pool: Option<Guid>, made: Vec<PathBuf>) -> Closing {
    mount::remove_directories(&made);
    let partition = partition.again();
    let imported = fault::at("verdict")
        .map_err(|words| Error::new(Phase::Close, words))
        .and_then(|()| imported_pool(zfs, &partition, pool));
    let verdict = match imported {
        Ok(imported) => safe::safe_to_unplug(&partition, imported.as_ref()),
        Err(error) => Err(Holder {
            state: DiskState::Closed,
            words: error.message.to_string(),
        }),
    };
    let mut closing = match verdict {
        Ok(()) => Closing {
            state: DiskState::Closed,
            safe_to_unplug: true,
            error: None,
        },
        Err(holder) => Closing::left_as(holder.state).because(not_free(&holder)),
    };
    if closing.state == DiskState::Closed
        && let Err(problem) = Record::remove(&partition.partuuid)
    {
        closing.safe_to_unplug = false;
        match &mut closing.error {
            Some(error) => error.join(&problem),
            None => closing.error = Some(problem),
        }
    }
    closing
}

fn not_free(holder: &Holder) -> Error {
    let (is, next) = match holder.state {
        DiskState::Closed => (
            "closed but not free to be unplugged",
            next!(
                "not-free",
                "Release it, then run `zbackup close` to check again."
            ),
        ),
        _ => ("not closed", next!("not-closed", "Run `zbackup close`.")),
    };
    Error::new(Phase::Close, format!("the disk is {is}: {}", holder.words)).next(next)
}

/// Asks the kernel whether a disk that is not open here is free.
pub fn check(zfs: &Libzfs, partition: &Partition) -> Closing {
    finish(zfs, partition, None, Vec::new())
}

/// Closes what was left open, if anything was, and asks the kernel whether the disk is free.
pub fn close_leftovers(context: DiskContext, partition: &Partition) -> Closing {
    let closed = Leftovers::look(context.zfs, partition)
        .map_err(Closing::untouched)
        .and_then(|leftovers| leftovers.put_away(context, partition));
    match closed {
        Ok(pool) => finish(context.zfs, partition, pool, Vec::new()),
        Err(closing) => *closing,
    }
}

/// What an earlier run, `zbackup open` or `--keep-open` has left open of a disk.
#[derive(Debug)]
pub struct Leftovers {
    record: Option<Record>,
    pool: Option<(PoolName, Guid)>,
    has_mapping: bool,
}

impl Leftovers {
    /// Looks for leftovers. A pool on this disk that zbackup did not import is an error.
    pub fn look(zfs: &Libzfs, partition: &Partition) -> Result<Self, Error> {
        let leftovers = Self {
            record: Record::read(&partition.partuuid)?,
            pool: imported_pool(zfs, partition, None)?,
            has_mapping: partition.mapping_path().exists(),
        };
        match &leftovers.pool {
            Some((pool, _)) if leftovers.record.is_none() && !leftovers.has_mapping => {
                let node = partition.path.display();
                let message = format!("{pool} on {node} is imported already, and not by zbackup");
                let next = next!(
                    "imported-by-others",
                    "Export it (zpool export {}), then run this command again.",
                    shell_word(pool)
                );
                Err(Error::new(Phase::Import, message).next(next))
            }
            _ => Ok(leftovers),
        }
    }

    /// What is open.
    pub fn state(&self) -> DiskState {
        if self.pool.is_some() {
            DiskState::Imported
        } else if self.has_mapping {
            DiskState::Unlocked
        } else {
            DiskState::Untouched
        }
    }

    /// An error if something is open, for a run that must change nothing.
    pub fn refuse(&self) -> Result<(), Box<Closing>> {
        if self.state() == DiskState::Untouched {
            return Ok(());
        }
        let message = "the disk is open, and a dry run does not close it";
        let error = Error::new(Phase::Disk, message).next(next!(
            "open-dry-run",
            "Run `zbackup close` first, then this command again."
        ));
        Err(self.stay(error))
    }

    /// Leaves them as they are, for this reason.
    pub fn stay(&self, why: Error) -> Box<Closing> {
        Box::new(Closing::left_as(self.state()).because(why))
    }

    /// Closes them. Returns the guid of the pool that was exported, if there was one.
    pub fn put_away(
        self,
        context: DiskContext,
        partition: &Partition,
    ) -> Result<Option<Guid>, Box<Closing>> {
        let left_as = |state| move |error| Box::new(Closing::left_as(state).because(error));
        if self.state() != DiskState::Untouched {
            self.ask(context, partition)
                .map_err(left_as(self.state()))?;
        }
        if let Some((pool, _)) = &self.pool {
            export_leftover(context, pool)?;
        }
        lock_leftover(&partition.mapping_name()).map_err(left_as(DiskState::Unlocked))?;
        mount::remove_directories(
            &self
                .record
                .map(|record| record.made_directories)
                .unwrap_or_default(),
        );
        Record::remove(&partition.partuuid).map_err(left_as(DiskState::Closed))?;
        Ok(self.pool.map(|(_, guid)| guid))
    }

    fn ask(&self, context: DiskContext, partition: &Partition) -> Result<(), Error> {
        let lock = format!("lock {}", partition.disk.display());
        let step = match &self.pool {
            Some((pool, _)) => format!("export {pool} and {lock}"),
            None => lock,
        };
        context
            .terminal
            .say("The disk is still open from an earlier run: closing it first …");
        context.ask(Phase::Close, &step).map_err(|error| {
            error.next(next!(
                "declined-close",
                "The disk is still open: run `zbackup close` before you unplug it."
            ))
        })
    }
}

fn export_leftover(context: DiskContext, pool: &PoolName) -> Result<(), Box<Closing>> {
    let left_as = |state| move |error| Box::new(Closing::left_as(state).because(error));
    if watch::is_suspended(pool) {
        // Otherwise nothing could close the disk.
        wake_up(context, pool).map_err(left_as(DiskState::Lost))?;
    }
    context.watched.begin_export(pool);
    let exported = stage::export(context.zfs, pool);
    context.watched.end();
    exported.map_err(left_as(DiskState::Imported))
}

/// Resumes a pool that was suspended when its disk was pulled out. Otherwise its export would wait for ever.
fn wake_up(context: DiskContext, pool: &PoolName) -> Result<(), Error> {
    context.terminal.say(&format!(
        "{pool} waits for its disk, which was pulled out: bringing it back …"
    ));
    if watch::wake_up(pool, context.interrupt) {
        return Ok(());
    }
    if let Some(signal) = context.interrupt.caught() {
        let next = next!(
            "interrupted-wake-up",
            "{pool} still waits for its disk: run `zbackup close` again."
        );
        return Err(Error::interrupted(Phase::Close, signal).next(next));
    }
    let message = format!(
        "{pool} is suspended: its disk was pulled out while it was imported, and it still has the old one"
    );
    let next = next!(
        "suspended",
        "Restart this machine, then run this command again. Until then nothing can be done with {pool}; its older snapshots are whole."
    );
    Err(Error::new(Phase::Close, message).next(next))
}

fn lock_leftover(mapping_name: &str) -> Result<(), Error> {
    let failed = |error| leftover(mapping_name, &error);
    if crypt::mapping_exists(mapping_name)
        .map_err(failed)?
        .is_none()
    {
        return Ok(());
    }
    let mapping = crypt::adopt(mapping_name).map_err(failed)?;
    mapping.close().map_err(|(mapping, error)| {
        mapping.keep_open();
        failed(error)
    })
}

fn leftover(mapping_name: &str, why: &crypt::Error) -> Error {
    let message = format!("the container that an earlier run left open cannot be closed: {why}");
    match why.kind {
        crypt::ErrorKind::NotBuilt => Error::new(Phase::Close, message).next(next!(
            "close-by-hand",
            "Close it by hand (cryptsetup close {mapping_name}), then run this command again."
        )),
        _ => stage::container_stays_open(message, &Path::new("/dev/mapper").join(mapping_name)),
    }
}

/// The imported pool that has this guid, or that lies on this partition or in its container.
fn imported_pool(
    zfs: &Libzfs,
    partition: &Partition,
    guid: Option<Guid>,
) -> Result<Option<(PoolName, Guid)>, Error> {
    let failed = |error| {
        Error::new(
            Phase::Disk,
            format!("the imported pools cannot be listed: {error}"),
        )
    };
    let nodes = [partition.path.clone(), partition.mapping_path()];
    let nodes: Vec<PathBuf> = nodes
        .iter()
        .filter_map(|node| node.canonicalize().ok())
        .collect();
    for status in zfs.pools().map_err(failed)? {
        let mut vdevs = status.vdevs.iter().filter_map(|vdev| vdev.path.as_ref());
        let lies_here = vdevs.any(|device| {
            device
                .canonicalize()
                .is_ok_and(|device| nodes.contains(&device))
        });
        if lies_here || guid == Some(status.guid) {
            return Ok(Some((status.name, status.guid)));
        }
    }
    Ok(None)
}
