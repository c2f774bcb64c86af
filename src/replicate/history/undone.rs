//! Bookmarks of a past that may have been undone, and how a run avoids making more of them.
//!
//! Whatever is added to a dataset would count as the proof of all older bookmarks of the ledger. So
//! those that stand for nothing are destroyed first. If somebody rolled a dataset back between the
//! plan and this run's snapshot of it, the snapshot is destroyed again.

use std::collections::BTreeMap;

use openzfs::{BookmarkName, Error, PoolHistory, PoolName, SnapshotName};

use crate::human::count;
use crate::model::{Dataset, Past};
use crate::next::next;
use crate::plan::{Point, VolumePlan, proof};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::transfers_of;
use crate::report::Outcome;
use crate::terminal::Approval;

/// Destroys what the plan says. A volume whose bookmarks stay ends here.
pub(in crate::replicate) fn forget(run: &Replication, outcomes: &mut Outcomes) {
    let mut forgotten: BTreeMap<PoolName, (Vec<usize>, Vec<BookmarkName>)> = BTreeMap::new();
    for (index, volume) in run.plan.volumes.iter().enumerate() {
        let goes_on = matches!(
            outcomes.volumes[index].outcome,
            Outcome::Planned | Outcome::Done
        );
        for bookmark in volume.forgets.iter().filter(|_| goes_on) {
            let (volumes, bookmarks) = forgotten.entry(bookmark.dataset().pool()).or_default();
            volumes.push(index);
            bookmarks.push(bookmark.clone());
        }
    }
    for (pool, (volumes, bookmarks)) in forgotten {
        let what = count(bookmarks.len(), "bookmark");
        let step = format!("destroy {what} on {pool} of what may have been undone");
        if run.terminal.approve(&step) == Approval::No {
            for index in volumes {
                outcomes.volumes[index].end(Outcome::Skipped, format!("declined to {step}"));
            }
            continue;
        }
        match run.zfs.destroy_bookmarks(&bookmarks) {
            Ok(()) => outcomes.warn(format!(
                "{what} on {pool} stood for what may have been undone and {} destroyed: the next run \
                 with another disk or host may have to ask what becomes of its copies",
                if bookmarks.len() == 1 { "is" } else { "are" }
            )),
            Err(error) => {
                for index in volumes {
                    outcomes.volumes[index].fail(format!(
                        "{what} on {pool} may stand for what was undone, and cannot be destroyed: {error}"
                    ));
                }
            }
        }
    }
}

/// Checks, now that this run's snapshots exist, that everything on which the plan's proofs rest
/// still exists too. If not, the volume ends here, and its new snapshot is destroyed.
pub(in crate::replicate) fn check(run: &Replication, outcomes: &mut Outcomes) {
    let mut history = None;
    for (index, volume, transfer) in transfers_of(run.plan) {
        let new = transfer.steps.iter().find_map(|step| match &step.to {
            Point::New(name) => Some(name),
            Point::Existing { .. } => None,
        });
        let is_planned = outcomes.volumes[index].outcome == Outcome::Planned;
        let Some((new, dataset)) = new.zip(run.source.dataset(&volume.source)) else {
            continue;
        };
        if !is_planned || still_stands(run, dataset, &mut history) {
            continue;
        }
        let reason = next!(
            "taken-back",
            "{} was taken back by somebody while this run began; nothing was sent. Run the same \
             command again to see what that means",
            volume.source
        );
        outcomes.volumes[index].end(Outcome::Refused, reason);
        destroy(run, outcomes, volume, new);
    }
}

fn destroy(run: &Replication, outcomes: &mut Outcomes, volume: &VolumePlan, new: &SnapshotName) {
    let gone = run.zfs.destroy_snapshots(std::slice::from_ref(new), false);
    // The snapshot would count as the proof of invalid bookmarks.
    if let Err(error) = gone {
        outcomes.warn(format!(
            "{new} cannot be destroyed: {error}. Destroy it before the next run of {}",
            volume.volume
        ));
    }
}

/// True if nothing that bookmarks of `dataset` stand for was undone since the inventory.
fn still_stands(
    run: &Replication,
    dataset: &Dataset,
    history: &mut Option<Result<PoolHistory, Error>>,
) -> bool {
    if dataset.bookmarks.is_empty() {
        return true;
    }
    if let Some(past) = &dataset.past {
        let history = history.get_or_insert_with(|| run.zfs.history(&run.source.pool));
        return history
            .as_ref()
            .is_ok_and(|history| Past::of(&dataset.name, history).received_at == past.received_at);
    }
    let Some(anchor) = proof::anchor(dataset) else {
        return true;
    };
    let now = run.zfs.snapshot(&anchor.name);
    matches!(now, Ok(Some(now)) if now.guid == anchor.guid)
}
