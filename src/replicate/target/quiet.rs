//! Keeps everybody from writing to a volume of the host while a forced receive is going to undo its changes.
//!
//! At the very end of the stream, the kernel destroys whatever is newer than the base, including
//! what was written or snapshotted during the stream, which may take hours.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use openzfs::{Cancel, SnapshotName};

use super::approved::{approved, changes_a_zvol_of_the_host, first_victim, undoes_on_the_host};
use crate::next::next;
use crate::replicate::mounts::remount::UnmountGuard;
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;
use crate::system::threads;

/// One at a time: a parent's mounts are unmounted and mounted together with its children's.
static ALONE: Mutex<()> = Mutex::new(());

/// A dataset that is unmounted, with everything below it, until the end of this value.
pub(in crate::replicate) struct Quiet<'a> {
    mounts: UnmountGuard<'a>,
    _alone: MutexGuard<'static, ()>,
}

impl<'a> Quiet<'a> {
    /// Unmounts `target` and what is below it.
    pub fn around(volume: &VolumeRun<'a>) -> Result<Self, VolumeError> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = UnmountGuard::all_of(&volume.plan.target, volume.run.zfs, volume.run.terminal);
        let mounts = mounts.map_err(|why| {
            VolumeError::Refused(next!(
                "in-use",
                "{why}. What is in use could be written to until the new data has arrived, and \
                 that would be lost. End what uses it, then run the same command again"
            ))
        })?;
        Ok(Self {
            mounts,
            _alone: alone,
        })
    }

    /// Mounts everything again. Returns what could not be mounted.
    pub fn end(self) -> Vec<String> {
        self.mounts.put_up()
    }
}

/// How often to look for new snapshots and users: no tool takes a snapshot and needs it within a moment.
const INTERVAL: Duration = Duration::from_millis(500);

/// What appeared during a forced receive and would lose something by it.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Appeared {
    /// Snapshots whose destruction nobody approved.
    pub snapshots: BTreeSet<SnapshotName>,
    /// Who has begun to use the dataset.
    pub user: Option<String>,
}

impl Appeared {
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.user.is_none()
    }

    /// Names of those snapshots.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.snapshots.iter().map(ToString::to_string).collect();
        names.join(", ")
    }

    fn look(&mut self, volume: &VolumeRun, forced: bool) {
        if forced {
            match unlisted(volume) {
                Ok(found) => self.snapshots.extend(found),
                Err(error) => log::debug!("{}: {error}", volume.plan.target),
            }
        }
        self.look_for_users(volume);
    }

    fn look_for_users(&mut self, volume: &VolumeRun) {
        let minds = undoes_on_the_host(volume) || changes_a_zvol_of_the_host(volume);
        if minds
            && let Some(target) = volume.before
            && let Err(user) = volume
                .run
                .zfs
                .check_unused(&volume.plan.target, target.kind)
        {
            self.user.get_or_insert(user);
        }
    }
}

/// Does `work`, a receive that its argument can interrupt. Interrupts it if a user appears who could write to
/// what changes or, if it is `forced`, a snapshot whose destruction was not approved. Returns what appeared.
///
/// # Errors
/// If no thread can be started for that: then nothing is done.
pub(in crate::replicate) fn guarded<T>(
    volume: &VolumeRun,
    forced: bool,
    work: impl FnOnce(&Cancel) -> T,
) -> io::Result<(T, Appeared)> {
    let cancel = Cancel::default();
    let (is_over, ended) = (Mutex::new(false), Condvar::new());
    thread::scope(|scope| {
        let watching = threads::spawn(scope, "guard", || {
            let mut appeared = Appeared::default();
            let mut over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                appeared.look(volume, forced);
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
        let mut appeared = watching
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        appeared.look_for_users(volume);
        Ok((result, appeared))
    })
}

/// Tells the watching thread that the work is over, also if it panics.
struct Over<'a>(&'a Mutex<bool>, &'a Condvar);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }
}

/// Snapshots of the target that would be destroyed without approval.
fn unlisted(volume: &VolumeRun) -> Result<Vec<SnapshotName>, openzfs::Error> {
    let approved = approved(volume);
    let arriving = volume
        .transfer
        .steps
        .first()
        .map(|step| step.to.name().short());
    let from = first_victim(volume);
    let found = volume.run.zfs.snapshots(&volume.plan.target, from)?;
    Ok(found
        .into_iter()
        .filter(|one| approved.get(&one.name) != Some(&one.guid))
        .filter(|one| Some(one.name.short()) != arriving)
        .map(|one| one.name)
        .collect())
}
