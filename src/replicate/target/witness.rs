//! Proof that what is going to be destroyed is what was on the screen.
//!
//! ```text
//!  inventory         table, question         witness            its turn         swap
//!  counts of writes ───────────────────► compared again
//!                                        snapshot ────────► nothing since ────► nothing since
//! ```
//!
//! No number tells that nothing was written: see [`crate::system::activity`]. A snapshot does, but nothing is
//! made on a side before the user agrees. Up to then, the kernel's counts of writes have to show it.
//!
//! The snapshot is one that the kernel destroys when this process has ended, however it ended.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use openzfs::{DatasetName, SnapshotName};

use crate::human::human_bytes;
use crate::model::Activity;
use crate::next::next;
use crate::plan::{Overwrite, Transfer, VolumePlan};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::in_words;
use crate::replicate::zfs::Zfs;
use crate::report::Outcome;

/// Short name of the snapshot, and of the hold that ends with this process.
const NAME: &str = "zbackup-approved";

/// The targets that have a witness, with the descriptor that keeps it.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Witnesses(Mutex<BTreeMap<DatasetName, OwnedFd>>);

/// True for a snapshot that this module makes.
pub(in crate::replicate) fn is_witness(snapshot: &SnapshotName) -> bool {
    snapshot.short() == NAME
}

/// True if the transfer destroys what is in its target, which takes `--force`.
fn has_victims(transfer: &Transfer) -> bool {
    matches!(
        transfer.overwrite,
        Overwrite::RollBack { .. } | Overwrite::Destroy { .. } | Overwrite::Replace { .. }
    )
}

/// The word for the conflict of a target that was written to.
fn conflict_word(volume: &VolumePlan) -> &'static str {
    if volume.sends_in_full() {
        "no-common-snapshot"
    } else {
        "modified"
    }
}

impl Witnesses {
    /// Ends the volumes that `--force` named and whose targets are no longer what was approved, and
    /// takes a witness of the others. If the pool cannot do that, the figures alone will have to tell.
    pub fn call(run: &Replication, outcomes: &mut Outcomes) -> Self {
        let wanted: Vec<(usize, &VolumePlan)> = (outcomes.to_send(run.plan))
            .filter(|(_, _, transfer)| has_victims(transfer))
            .map(|(index, volume, _)| (index, volume))
            .collect();
        let witnesses = Self::default();
        if wanted.is_empty() {
            return witnesses;
        }
        let pool = &run.target.pool;
        // Page caches first: their data counts as written only when it leaves them.
        let settled = run.zfs.settle(pool);
        for (_, volume) in &wanted {
            match make(run.zfs, &volume.target) {
                Ok(kept) => drop(witnesses.lock().insert(volume.target.clone(), kept)),
                Err(why) => log::info!("{} is not snapshotted for a moment: {why}", volume.target),
            }
        }
        let now = settled.and_then(|()| run.zfs.activity(pool).map_err(in_words));
        for (index, volume) in wanted {
            let target = &volume.target;
            let problem = match &now {
                Ok(now) if is_as_it_was(run, target, now) => continue,
                Ok(_) => next!(
                    "written-meanwhile",
                    "{target} was written to after you saw the table, nothing was destroyed. End \
                     what writes there, then run the same command again to see all that would go"
                ),
                Err(why) => format!("whether {target} was written to is not known: {why}"),
            };
            witnesses.dismiss(target);
            let report = &mut outcomes.volumes[index];
            report.conflict = Some(conflict_word(volume));
            report.destroys.clear();
            report.end(Outcome::Refused, problem);
        }
        witnesses
    }

    /// Fails if something was written to `dataset`, which was approved as `target`, since then.
    pub fn check(
        &self,
        zfs: &dyn Zfs,
        dataset: &DatasetName,
        target: &DatasetName,
        slack_bytes: u64,
    ) -> Result<(), String> {
        if !self.lock().contains_key(target) {
            return Ok(());
        }
        let snapshot = dataset.snapshot(NAME).map_err(in_words)?;
        match zfs.written_since(dataset, &snapshot) {
            Ok(written_bytes) if written_bytes <= slack_bytes => Ok(()),
            Ok(written_bytes) => Err(format!(
                "{} were written to {target} after you saw the table",
                human_bytes(written_bytes)
            )),
            Err(error) => Err(format!(
                "whether {target} was written to is not known: {error}"
            )),
        }
    }

    /// Removes the witness of `target`: no receive could go over it.
    pub fn dismiss(&self, target: &DatasetName) {
        drop(self.lock().remove(target));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DatasetName, OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if `target` is the dataset that was in the table, and was not written to since then.
fn is_as_it_was(run: &Replication, target: &DatasetName, now: &BTreeMap<u64, Activity>) -> bool {
    let Some(known) = run.target.dataset(target) else {
        return false;
    };
    // A dataset that is gone is reported later, and loses nothing.
    let found = run.zfs.dataset(target).ok().flatten();
    found.is_none_or(|found| found.objset == known.objset)
        && now.get(&known.objset).copied().unwrap_or_default() == known.activity.unwrap_or_default()
}

/// Snapshots `target` until the returned descriptor is closed.
fn make(zfs: &dyn Zfs, target: &DatasetName) -> Result<OwnedFd, String> {
    let snapshot = target.snapshot(NAME).map_err(in_words)?;
    let snapshot = [snapshot];
    if zfs.exists(snapshot[0].as_str()) {
        // Left by a run that was killed right after taking it.
        zfs.destroy_snapshots(&snapshot, false).map_err(in_words)?;
    }
    zfs.take_snapshots(&snapshot, &BTreeMap::new())
        .map_err(in_words)?;
    let held = zfs.hold_while_open(&snapshot[0], NAME);
    // A snapshot that is not held is destroyed at once.
    zfs.destroy_snapshots(&snapshot, true).map_err(in_words)?;
    held
}
