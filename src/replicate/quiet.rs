//! Nobody writes to a volume of the host while a forced receive is going to undo its changes.
//!
//! The kernel destroys at the very end of the stream whatever is newer than the base, also what was
//! written or snapshotted while the stream was on its way, which may take hours.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::cancel::Cancel;
use super::overwrite::{approved, first_victim};
use super::remount::TakenDown;
use super::volume::{Stop, Worker};
use crate::name::{DatasetName, SnapshotName};
use crate::plan::{Transfer, VolumePlan};
use crate::terminal::Terminal;
use crate::threads;
use crate::zfs::{self, Libzfs};

/// One at a time: a parent's mounts go and come together with its children's.
static ALONE: Mutex<()> = Mutex::new(());

/// A dataset whose mounts, and those below it, are down until the end of this.
pub(super) struct Quiet {
    mounts: TakenDown,
    zfs: Libzfs,
    _alone: MutexGuard<'static, ()>,
}

impl Quiet {
    /// Unmounts `target` and what is below it.
    pub fn around(target: &DatasetName, terminal: &Terminal) -> Result<Self, Stop> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let zfs = Libzfs::open()?;
        let taken_down =
            check_zvol(target).and_then(|()| TakenDown::all_of(target, &zfs, terminal));
        let mounts = taken_down.map_err(|why| {
            Stop::Refused(format!(
                "{why}. What is in use could be written to until the new data has arrived, and \
                 that would be lost. End what uses it, then run the same command again"
            ))
        })?;
        Ok(Self {
            mounts,
            zfs,
            _alone: alone,
        })
    }

    /// Mounts everything again. Returns what could not be mounted.
    pub fn end(self) -> Vec<String> {
        self.mounts.put_up(&self.zfs)
    }
}

/// Fails where a zvol is mounted, or belongs to a mapping or an array. Programs that have merely opened
/// it cannot be told.
fn check_zvol(target: &DatasetName) -> Result<(), String> {
    let node = Path::new("/dev/zvol").join(target.as_str());
    let mut alone = OpenOptions::new();
    match alone.read(true).custom_flags(libc::O_EXCL).open(&node) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            Err(format!("{} is in use", node.display()))
        }
        // File systems have no node, nor have zvols with volmode=none.
        _ => Ok(()),
    }
}

/// How often to look for new snapshots: no tool makes and needs one within a moment.
const INTERVAL: Duration = Duration::from_millis(500);

/// Does `work`, a forced receive that its argument can break off, and breaks it off where a snapshot
/// appears that was not approved to go. Returns those that appeared.
///
/// # Errors
/// Where there is no thread for that: nothing is done then.
pub(super) fn guarded<T>(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    work: impl FnOnce(&Cancel) -> T,
) -> io::Result<(T, BTreeSet<SnapshotName>)> {
    let cancel = Cancel::default();
    let (is_over, ended) = (Mutex::new(false), Condvar::new());
    thread::scope(|scope| {
        let watching = threads::spawn(scope, "guard", || {
            let mut appeared = BTreeSet::new();
            let mut over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                match unlisted(worker, volume, transfer) {
                    Ok(found) => appeared.extend(found),
                    Err(error) => log::debug!("{}: {error}", volume.target),
                }
                if !appeared.is_empty() {
                    cancel.request();
                }
                over = ended
                    .wait_timeout(over, INTERVAL)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            appeared
        })?;
        let over = Over(&is_over, &ended);
        let result = work(&cancel);
        drop(over);
        let appeared = watching
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((result, appeared))
    })
}

/// Tells the watching thread that the work is over, also where it panics.
struct Over<'a>(&'a Mutex<bool>, &'a Condvar);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }
}

/// Snapshots of the target that would go and that nobody approved.
fn unlisted(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<Vec<SnapshotName>, zfs::Error> {
    let zfs = Libzfs::open()?;
    let Some(dataset) = zfs.dataset(&volume.target)? else {
        return Ok(Vec::new());
    };
    let approved = approved(worker, volume, transfer);
    let arriving = transfer.steps.first().map(|step| step.to.name().short());
    let found = dataset.snapshots(first_victim(worker, volume, transfer))?;
    Ok(found
        .into_iter()
        .filter(|one| approved.get(&one.name) != Some(&one.guid))
        .filter(|one| Some(one.name.short()) != arriving)
        .map(|one| one.name)
        .collect())
}
