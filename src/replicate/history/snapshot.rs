//! The run's one atomic snapshot.

use std::collections::BTreeMap;

use openzfs::{SnapshotName, as_many_as_go};

use crate::human::count;
use crate::model::marks::{self, CREATED_PROPERTY};
use crate::plan::Point;
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::report::Outcome;
use crate::terminal::Approval;

/// Snapshots every volume that needs one, in one transaction. Volumes that the kernel rejects end as failed.
pub(in crate::replicate) fn create(run: &Replication, outcomes: &mut Outcomes) {
    let wanted = wanted(run, outcomes);
    let Some(name) = run.plan.snapshot.as_ref().filter(|_| !wanted.is_empty()) else {
        return;
    };
    if run
        .terminal
        .approve(&format!("snapshot {} volumes as @{name}", wanted.len()))
        == Approval::No
    {
        for (index, _) in wanted {
            outcomes.volumes[index].end(Outcome::Skipped, "the snapshot was declined");
        }
        return;
    }
    let mark = marks::mark(&crate::replicate::now(), name);
    let mark = BTreeMap::from([(CREATED_PROPERTY.to_owned(), mark)]);
    let made = as_many_as_go(
        wanted,
        |(_, name)| vec![name.as_str()],
        |wanted| {
            let names: Vec<SnapshotName> = wanted.iter().map(|(_, name)| name.clone()).collect();
            run.zfs.take_snapshots(&names, &mark)
        },
    );
    for ((index, name), why) in made.failed {
        let dataset = name.dataset();
        outcomes.volumes[index].fail(format!("{dataset} cannot be snapshotted: {why}"));
    }
    if !made.done.is_empty() {
        log::info!("created {} @{name}", count(made.done.len(), "snapshot"));
    }
}

/// The new snapshots of volumes that are still to be done, with their places in the plan.
fn wanted(run: &Replication, outcomes: &Outcomes) -> Vec<(usize, SnapshotName)> {
    (outcomes.to_send(run.plan))
        .flat_map(|(index, _, transfer)| transfer.steps.iter().map(move |step| (index, &step.to)))
        .filter_map(|(index, to)| match to {
            Point::New(name) => Some((index, name.clone())),
            Point::Existing { .. } => None,
        })
        .collect()
}
