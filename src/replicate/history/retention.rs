//! Destroys old snapshots, after everything else is done and written down.

use std::collections::BTreeSet;

use openzfs::{DatasetName, Error, PropertyChange, SnapshotName};

use super::stand_in;
use crate::human::count;
use crate::model::Side;
use crate::model::marks::{self, CREATED_PROPERTY};
use crate::next::next;
use crate::plan::{OldSnapshot, Pruning, Retention, VolumePlan, typed};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::batch;
use crate::report::Outcome;
use crate::terminal::Approval;
use crate::text::shell_word;

/// Carries out the plan's retention on both sides, for the volumes that are done. A failure here is
/// a warning: the data has arrived, and the next run finds the same snapshots again.
///
/// A peer may still need a snapshot as base if the ledger of an `incomplete` dataset has no bookmark of
/// it: nothing of its volume is destroyed.
pub(in crate::replicate) fn run(
    run: &Replication,
    incomplete: &BTreeSet<DatasetName>,
    outcomes: &mut Outcomes,
) {
    if (run.is_interrupted)() {
        return;
    }
    let volumes = run.plan.volumes.iter().zip(&outcomes.volumes);
    let done = volumes.filter(|(_, report)| report.outcome == Outcome::Done);
    let (kept, done): (Vec<&VolumePlan>, Vec<&VolumePlan>) =
        done.map(|(volume, _)| volume).partition(|volume| {
            [&volume.source, &volume.target]
                .iter()
                .any(|name| incomplete.contains(*name))
        });
    for volume in kept {
        let Retention { source, target } = &volume.retention;
        if !(source.old.is_empty() && target.old.is_empty()) {
            outcomes.warn(format!(
                "{}: no old snapshot of it is removed: its bookmarks are not complete",
                volume.volume
            ));
        }
    }
    tidy(
        run,
        outcomes,
        run.source,
        done.iter().map(|volume| &volume.retention.source),
    );
    tidy(
        run,
        outcomes,
        run.target,
        done.iter().map(|volume| &volume.retention.target),
    );
}

/// Before anything is sent, destroys those old snapshots of the target that have to make room.
pub(in crate::replicate) fn make_room(run: &Replication, outcomes: &mut Outcomes) {
    let old: Vec<&OldSnapshot> = run.plan.room.iter().collect();
    if old.is_empty() || outcomes.pending().next().is_none() {
        return;
    }
    let pool = &run.target.pool;
    let step = format!(
        "destroy {} of {pool} to make room",
        count(old.len(), "old snapshot")
    );
    if run.terminal.approve(&step) == Approval::No {
        for report in outcomes.pending() {
            report.end(Outcome::Skipped, "making room was declined");
        }
        return;
    }
    prune_unchanged(run, outcomes, run.target, old);
    if let Err(error) = wait_until_free(run) {
        outcomes.warn(format!(
            "what was destroyed on {pool} may not be free yet: {error}"
        ));
    }
}

/// The kernel frees destroyed data bit by bit in the following transaction groups. This waits for
/// that, and returns when there is no more progress.
fn wait_until_free(run: &Replication) -> Result<(), Error> {
    let pool = &run.target.pool;
    let mut before_bytes = u64::MAX;
    loop {
        run.zfs.sync(pool)?;
        let freeing_bytes = run.zfs.freeing_bytes(pool)?;
        if freeing_bytes == 0 || freeing_bytes >= before_bytes || (run.is_interrupted)() {
            return Ok(());
        }
        before_bytes = freeing_bytes;
    }
}

fn tidy<'a>(
    run: &Replication,
    outcomes: &mut Outcomes,
    side: &Side,
    done: impl Iterator<Item = &'a Pruning>,
) {
    let done: Vec<&Pruning> = done.collect();
    if done.iter().any(|pruning| pruning.cannot_bookmark) {
        outcomes.warn(next!(
            "bookmarks-v2",
            "old snapshots of volumes on {} stay: its bookmarks cannot stand in for them yet. {} \
             changes that.",
            side.pool,
            typed::commands(is_on_disk(run, side), &bookmark_features(side))
        ));
    }
    if let Err(error) = restore_marks(run, side, &done) {
        outcomes.warn(format!(
            "snapshots on {} could not be marked as managed again: {error}",
            side.pool
        ));
    }
    let old: Vec<&OldSnapshot> = done.iter().flat_map(|pruning| &pruning.old).collect();
    if old.is_empty() {
        return;
    }
    let step = format!(
        "destroy {} of {}",
        count(old.len(), "old snapshot"),
        side.pool
    );
    if run.terminal.approve(&step) == Approval::No {
        outcomes.declined.get_or_insert(step);
        return;
    }
    prune_unchanged(run, outcomes, side, old);
}

fn is_on_disk(run: &Replication, side: &Side) -> bool {
    run.host_and_disk().1.pool == side.pool
}

/// Destroys those that are still what the plan saw: the user may have taken time to answer.
fn prune_unchanged(
    run: &Replication,
    outcomes: &mut Outcomes,
    side: &Side,
    old: Vec<&OldSnapshot>,
) {
    let old: Vec<SnapshotName> = old
        .into_iter()
        .filter(|snapshot| match changed(run, snapshot) {
            None => true,
            Some(why) => {
                outcomes.warn(format!("{} stays: {why}", snapshot.name));
                false
            }
        })
        .map(|snapshot| snapshot.name.clone())
        .collect();
    let old = stand_in::for_absent_disks(run, outcomes, side, old);
    prune(run, outcomes, side, old);
}

/// Commands that enable only the features that bookmarks need: with all features of this release, an
/// older one could no longer import the pool.
fn bookmark_features(side: &Side) -> Vec<String> {
    let missing = [
        ("bookmarks", side.features.bookmarks),
        ("bookmark_v2", side.features.bookmark_v2),
    ];
    let missing = missing.into_iter().filter(|(_, is_there)| !is_there);
    let command = |(feature, _)| {
        let pool = shell_word(&side.pool);
        next!(
            "bookmarks-v2",
            "`zpool set feature@{feature}=enabled {pool}`"
        )
    };
    missing.map(command).collect()
}

/// Writes again the marks that a crash between a receive and the ledger has lost.
fn restore_marks(run: &Replication, side: &Side, done: &[&Pruning]) -> Result<(), Error> {
    let unmarked = done.iter().flat_map(|pruning| &pruning.unmarked);
    let now = crate::replicate::now();
    let changes: Vec<_> = unmarked
        .map(|snapshot| {
            let mark = marks::mark(&now, snapshot.short());
            PropertyChange::new(snapshot.as_str(), CREATED_PROPERTY, &mark)
        })
        .collect();
    run.zfs.set_user_properties(&side.pool, &changes)
}

/// Why this snapshot is no longer what the plan saw. It is destroyed by name, and somebody may have
/// given its name to another snapshot, or held it, while the transfers ran or the question waited.
fn changed(run: &Replication, old: &OldSnapshot) -> Option<String> {
    match run.zfs.snapshot(&old.name) {
        Ok(Some(now)) if now.guid != old.guid => Some("it is another snapshot by now".into()),
        Ok(Some(now)) if now.holds > 0 => Some("it is held by now".into()),
        Ok(Some(_)) => None,
        Ok(None) => Some("it is gone already".into()),
        Err(error) => Some(error.to_string()),
    }
}

/// Destroys snapshots with one call for the pool, or with as many calls as it takes until none fails.
fn prune(run: &Replication, outcomes: &mut Outcomes, side: &Side, old: Vec<SnapshotName>) {
    let destroyed = batch::destroy_snapshots(run.zfs, old);
    for warning in batch::told(destroyed.failed, "stays") {
        outcomes.warn(warning);
    }
    if !destroyed.done.is_empty() {
        let number = count(destroyed.done.len(), "old snapshot");
        log::info!("destroyed {number} of {}", side.pool);
    }
    outcomes.pruned.extend(destroyed.done);
}
