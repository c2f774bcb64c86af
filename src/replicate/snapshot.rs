//! The run's one atomic snapshot.

use std::collections::BTreeMap;

use super::{Outcomes, Replication, transfers_of};
use crate::human::count;
use crate::inventory::CREATED_PROPERTY;
use crate::name::SnapshotName;
use crate::plan::Point;
use crate::report::Outcome;
use crate::terminal::Approval;
use crate::zfs::BatchError;

/// Snapshots every volume that needs one, in one transaction. A volume that the kernel rejects
/// drops out as failed and the rest is tried once more.
pub(super) fn create(run: &Replication, outcomes: &mut Outcomes) {
    let mut wanted = wanted(run, outcomes);
    let Some(name) = run.plan.snapshot.as_ref().filter(|_| !wanted.is_empty()) else {
        return;
    };
    if run
        .terminal
        .approve(&format!("snapshot {} volumes as @{name}", wanted.len()))
        == Approval::No
    {
        end_all(
            outcomes,
            &wanted,
            Outcome::Skipped,
            "the snapshot was declined",
        );
        return;
    }
    let Err(error) = make(run, &wanted) else {
        return;
    };
    let rejected: BTreeMap<usize, String> = wanted
        .iter()
        .filter_map(|(index, name)| Some((*index, error.reason_for(name.as_str())?)))
        .collect();
    for (index, reason) in &rejected {
        outcomes.volumes[*index].fail(format!("cannot be snapshotted: {reason}"));
    }
    wanted.retain(|(index, _)| !rejected.contains_key(index));
    if wanted.is_empty() {
        return;
    }
    let again = if rejected.is_empty() {
        Err(error)
    } else {
        make(run, &wanted)
    };
    if let Err(error) = again {
        end_all(
            outcomes,
            &wanted,
            Outcome::Failed,
            &format!("cannot be snapshotted: {error}"),
        );
    }
}

fn make(run: &Replication, wanted: &[(usize, SnapshotName)]) -> Result<(), BatchError> {
    let names: Vec<SnapshotName> = wanted.iter().map(|(_, name)| name.clone()).collect();
    let mark = BTreeMap::from([(CREATED_PROPERTY.to_owned(), super::now())]);
    run.lzc.snapshot(&names, &mark)?;
    log::info!(
        "created {} @{}",
        count(names.len(), "snapshot"),
        names[0].short()
    );
    Ok(())
}

/// The new snapshots of volumes that are still to be done, with their places in the plan.
fn wanted(run: &Replication, outcomes: &Outcomes) -> Vec<(usize, SnapshotName)> {
    transfers_of(run.plan)
        .filter(|(index, ..)| outcomes.volumes[*index].outcome == Outcome::Planned)
        .flat_map(|(index, _, transfer)| transfer.steps.iter().map(move |step| (index, &step.to)))
        .filter_map(|(index, to)| match to {
            Point::New(name) => Some((index, name.clone())),
            Point::Existing { .. } => None,
        })
        .collect()
}

fn end_all(
    outcomes: &mut Outcomes,
    wanted: &[(usize, SnapshotName)],
    outcome: Outcome,
    reason: &str,
) {
    for (index, _) in wanted {
        let report = &mut outcomes.volumes[*index];
        if outcome == Outcome::Failed {
            report.fail(reason);
        } else {
            report.end(outcome, reason);
        }
    }
}
