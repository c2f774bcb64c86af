//! Destroys old snapshots, once everything else is done and written down.

use super::{Outcomes, Replication};
use crate::human::count;
use crate::inventory::{CREATED_PROPERTY, Side};
use crate::name::SnapshotName;
use crate::plan::{OldSnapshot, Tidying, VolumePlan};
use crate::report::Outcome;
use crate::terminal::Approval;
use crate::zfs::{BatchError, Error, PropertyChange};

/// Carries out the plan's retention on both sides, for the volumes that are done. What fails here
/// is a warning: the data has arrived, and the next run finds the same snapshots again.
pub(super) fn run(run: &Replication, outcomes: &mut Outcomes) {
    if run.interrupt.caught().is_some() {
        return;
    }
    tidy(run, outcomes, run.source, |volume| &volume.retention.source);
    tidy(run, outcomes, run.target, |volume| &volume.retention.target);
}

fn tidy(
    run: &Replication,
    outcomes: &mut Outcomes,
    side: &Side,
    of: impl Fn(&VolumePlan) -> &Tidying,
) {
    let done: Vec<&Tidying> = run
        .plan
        .volumes
        .iter()
        .zip(&outcomes.volumes)
        .filter(|(_, report)| report.outcome == Outcome::Done)
        .map(|(volume, _)| of(volume))
        .collect();
    if done.iter().any(|tidying| tidying.cannot_bookmark) {
        outcomes.warn(format!(
            "old snapshots of volumes on {0} stay: its bookmarks cannot stand in for them yet. \
             `zpool upgrade {0}` changes that.",
            side.pool
        ));
    }
    if let Err(error) = restore_marks(run, side, &done) {
        outcomes.warn(format!(
            "snapshots on {} could not be marked as zbackup's own again: {error}",
            side.pool
        ));
    }
    let old: Vec<&OldSnapshot> = done.iter().flat_map(|tidying| &tidying.old).collect();
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
    // Whoever was asked may have taken their time.
    match unchanged(run, &old) {
        Ok(old) if old.is_empty() => {}
        Ok(old) => prune(run, outcomes, side, &old),
        Err(error) => outcomes.warn(format!("old snapshots on {} stay: {error}", side.pool)),
    }
}

/// Writes the marks again that a crash between a receive and the ledger has lost.
fn restore_marks(run: &Replication, side: &Side, done: &[&Tidying]) -> Result<(), Error> {
    let unmarked = done.iter().flat_map(|tidying| &tidying.unmarked);
    let now = super::now();
    let changes: Vec<_> = unmarked
        .map(|snapshot| PropertyChange::new(snapshot.as_str(), CREATED_PROPERTY, &now))
        .collect();
    run.lzc.set_user_properties(&side.pool, &changes)
}

/// Those that are still what the plan saw. They are destroyed by name, and somebody may have
/// given one's name to another snapshot, or held it, while the transfers ran or an answer was awaited.
fn unchanged(run: &Replication, old: &[&OldSnapshot]) -> Result<Vec<SnapshotName>, Error> {
    let mut names = Vec::new();
    for snapshot in old {
        match run.zfs.snapshot(&snapshot.name)? {
            Some(now) if now.guid == snapshot.guid && now.holds == 0 => names.push(now.name),
            _ => log::info!("{} has changed meanwhile: it stays", snapshot.name),
        }
    }
    Ok(names)
}

/// One call for the pool. It is all or nothing: where some cannot go, the rest is tried once more.
fn prune(run: &Replication, outcomes: &mut Outcomes, side: &Side, old: &[SnapshotName]) {
    let Err(error) = run.lzc.destroy_snapshots(old, false) else {
        return pruned(outcomes, side, old.to_vec());
    };
    let to_blame = |name: &SnapshotName| error.reason_for(name.as_str());
    for (name, reason) in old.iter().filter_map(|name| Some((name, to_blame(name)?))) {
        outcomes.warn(format!("{name} stays: {reason}"));
    }
    let rest: Vec<_> = old
        .iter()
        .filter(|name| to_blame(name).is_none())
        .cloned()
        .collect();
    if rest.len() == old.len() {
        return failed(outcomes, side, &error);
    }
    if rest.is_empty() {
        return;
    }
    match run.lzc.destroy_snapshots(&rest, false) {
        Ok(()) => pruned(outcomes, side, rest),
        Err(error) => failed(outcomes, side, &error),
    }
}

fn pruned(outcomes: &mut Outcomes, side: &Side, names: Vec<SnapshotName>) {
    log::info!(
        "destroyed {} of {}",
        count(names.len(), "old snapshot"),
        side.pool
    );
    outcomes.pruned.extend(names);
}

fn failed(outcomes: &mut Outcomes, side: &Side, error: &BatchError) {
    outcomes.warn(format!("old snapshots on {} stay: {error}", side.pool));
}
