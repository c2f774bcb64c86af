//! From an open disk to one that is safe to unplug, on every way out.

use std::path::{Path, PathBuf};

use super::open::Keeper;
use super::partition::Partition;
use super::record::Record;
use super::stage::{self, Imported, Unlocked};
use super::{mount, safe, watch};
use crate::crypt;
use crate::error::{Error, Exit, Phase};
use crate::name::{Guid, PoolName};
use crate::report::DiskState;
use crate::terminal::Approval;
use crate::zfs::Libzfs;

/// The state a disk was left in.
#[derive(Debug)]
pub struct Closing {
    /// What is open.
    pub state: DiskState,
    /// The kernel agrees that nothing uses the disk.
    pub safe_to_unplug: bool,
    /// Why it is not closed or not safe, and what to do.
    pub error: Option<Error>,
}

impl Closing {
    /// Nothing was done to the disk.
    pub fn untouched() -> Self {
        Self {
            state: DiskState::Untouched,
            safe_to_unplug: false,
            error: None,
        }
    }

    /// Left open because the user wants it so.
    fn left_open() -> Self {
        Self {
            state: DiskState::Imported,
            safe_to_unplug: false,
            error: None,
        }
    }
}

/// Unmounts, exports and locks. With `-v` the user can decline, which leaves the disk open.
pub fn close(keeper: Keeper, imported: Imported) -> Closing {
    let step = format!(
        "export {} and lock {}",
        imported.pool(),
        imported.disk().display()
    );
    // Whoever ends the run by a signal, also while this is being asked, wants the disk closed.
    let ends_by_signal = || keeper.interrupt.caught().is_some();
    if !ends_by_signal() && keeper.terminal.approve(&step) == Approval::No && !ends_by_signal() {
        imported.leave_open();
        let declined = Error::new(Phase::Close, format!("declined: {step}"))
            .next("The disk is still open: run `zbackup close` before you unplug it.")
            .exit(Exit::Partial);
        return Closing {
            error: Some(declined),
            ..Closing::left_open()
        };
    }
    keeper
        .terminal
        .say(&format!("Exporting {} …", imported.pool()));
    let guid = imported.guid();
    let made_directories = imported.made_directories.clone();
    match imported.export() {
        Ok(unlocked) => lock_and_finish(keeper.zfs, unlocked, Some(guid), made_directories),
        Err((imported, error)) => {
            imported.leave_open();
            Closing {
                state: DiskState::Imported,
                safe_to_unplug: false,
                error: Some(error),
            }
        }
    }
}

/// Leaves the disk open for the user; `zbackup close` ends that.
pub fn keep_open(imported: Imported) -> Closing {
    let recorded = Record::write(imported.partuuid(), imported.made_directories.clone());
    imported.leave_open();
    Closing {
        error: recorded.err(),
        ..Closing::left_open()
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
            // Its guard would only try the same again.
            unlocked.leave_open();
            Closing {
                state: DiskState::Unlocked,
                safe_to_unplug: false,
                error: Some(error),
            }
        }
    }
}

/// Tidies up behind a closed disk and asks the kernel whether it is free.
pub(super) fn finish(
    zfs: &Libzfs,
    partition: &Partition,
    pool: Option<Guid>,
    made: Vec<PathBuf>,
) -> Closing {
    mount::remove_directories(&made);
    let imported: Result<Vec<Guid>, _> = zfs
        .pools()
        .map(|pools| pools.iter().map(|pool| pool.guid).collect());
    let verdict = match imported {
        Ok(imported) => safe::safe_to_unplug(&partition.again(), pool, &imported),
        Err(error) => Err(format!("the imported pools cannot be listed: {error}")),
    };
    let mut error = verdict.err().map(|holder| {
        Error::new(
            Phase::Close,
            format!("the disk is closed but not free to be unplugged: {holder}"),
        )
        .next("Release it, then run `zbackup close` to check again.")
    });
    if let Err(problem) = Record::remove(&partition.partuuid) {
        error = Some(error.unwrap_or(problem));
    }
    Closing {
        state: DiskState::Closed,
        safe_to_unplug: error.is_none(),
        error,
    }
}

/// Asks the kernel whether a disk that nobody has open here is free.
pub fn check(zfs: &Libzfs, partition: &Partition) -> Closing {
    finish(zfs, partition, None, Vec::new())
}

/// Closes what an earlier run, `zbackup open` or `--keep-open` left open. True where there was something.
///
/// A pool on this disk that zbackup did not import is an error and stays as it is.
pub fn put_away_leftovers(keeper: Keeper, partition: &Partition) -> Result<bool, Error> {
    let record = Record::read(&partition.partuuid)?;
    let mapping_name = partition.mapping_name();
    let mapping = Path::new("/dev/mapper").join(&mapping_name);
    let pool = pool_on(keeper.zfs, &[&partition.path, &mapping])?;
    if record.is_none() && !mapping.exists() {
        return match pool {
            None => Ok(false),
            Some(pool) => Err(Error::new(
                Phase::Import,
                format!(
                    "{pool} on {} is imported already, and not by zbackup",
                    partition.path.display()
                ),
            )
            .next(format!(
                "Export it (zpool export {pool}), then run this command again."
            ))),
        };
    }
    if pool.is_some() || mapping.exists() {
        keeper
            .terminal
            .say("The disk is still open from an earlier run: closing it first …");
    }
    if let Some(pool) = pool {
        wake_up(keeper.zfs, &pool)?;
        stage::export(keeper.zfs, &pool)?;
    }
    if crypt::mapping_exists(&mapping_name)
        .map_err(leftover)?
        .is_some()
    {
        crypt::adopt(&mapping_name)
            .map_err(leftover)?
            .close()
            .map_err(|(mapping, error)| {
                mapping.keep_open();
                leftover(error)
            })?;
    }
    mount::remove_directories(
        &record
            .map(|record| record.made_directories)
            .unwrap_or_default(),
    );
    Record::remove(&partition.partuuid)?;
    Ok(true)
}

/// Brings a pool back that was suspended when its disk was pulled out. Exporting it otherwise
/// would wait without end.
fn wake_up(zfs: &Libzfs, pool: &PoolName) -> Result<(), Error> {
    if !watch::is_suspended(pool) {
        return Ok(());
    }
    let failed = |error| {
        Error::new(
            Phase::Close,
            format!("{pool} cannot be brought back: {error}"),
        )
    };
    zfs.pool(pool)
        .map_err(failed)?
        .map_or(Ok(()), |pool| pool.clear())
        .map_err(failed)?;
    if watch::is_suspended(pool) {
        let message = format!(
            "{pool} is suspended: its disk was pulled out while it was imported, and it still has the old one"
        );
        let next = format!(
            "Restart this machine, then run this command again. Until then nothing can be done with {pool}; its older snapshots are whole."
        );
        return Err(Error::new(Phase::Close, message).next(next));
    }
    Ok(())
}

fn leftover(error: crypt::Error) -> Error {
    Error::new(
        Phase::Close,
        format!("the container that an earlier run left open cannot be closed: {error}"),
    )
}

/// The imported pool that has one of these nodes as a vdev.
fn pool_on(zfs: &Libzfs, nodes: &[&Path]) -> Result<Option<PoolName>, Error> {
    let failed = |error| {
        Error::new(
            Phase::Disk,
            format!("the imported pools cannot be listed: {error}"),
        )
    };
    let nodes: Vec<PathBuf> = nodes
        .iter()
        .filter_map(|node| node.canonicalize().ok())
        .collect();
    for status in zfs.pools().map_err(failed)? {
        let Some(pool) = zfs.pool(&status.name).map_err(failed)? else {
            continue;
        };
        let devices = pool.device_paths().map_err(failed)?;
        if devices.iter().any(|device| {
            device
                .canonicalize()
                .is_ok_and(|device| nodes.contains(&device))
        }) {
            return Ok(Some(status.name));
        }
    }
    Ok(None)
}
