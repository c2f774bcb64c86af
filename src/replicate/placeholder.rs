//! Empty datasets on the target that only hold a volume's place in the tree.

use super::{Outcomes, Replication};
use crate::name::DatasetName;
use crate::report::Outcome;
use crate::snapshot::DatasetKind;
use crate::terminal::Approval;

/// Creates the plan's placeholders, parents first. Volumes below one that could not be made end here.
pub(super) fn create(run: &Replication, outcomes: &mut Outcomes) {
    for name in &run.plan.placeholders {
        let step = format!("create {name} as an empty parent");
        if run.terminal.approve(&step) == Approval::No {
            end_below(
                outcomes,
                name,
                Outcome::Skipped,
                &format!("declined: {step}"),
            );
            continue;
        }
        let created = super::properties::placeholder()
            .and_then(|properties| run.lzc.create(name, DatasetKind::Filesystem, &properties));
        match created {
            Ok(()) => log::info!("created {name} as an empty parent"),
            Err(error) => end_below(
                outcomes,
                name,
                Outcome::Failed,
                &format!("cannot create {name}: {error}"),
            ),
        }
    }
}

fn end_below(outcomes: &mut Outcomes, parent: &DatasetName, outcome: Outcome, reason: &str) {
    for report in outcomes
        .pending()
        .filter(|report| report.target.is_within(parent))
    {
        report.end(outcome, reason);
    }
}
