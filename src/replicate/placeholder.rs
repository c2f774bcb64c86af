//! Empty datasets on the target that only hold a volume's place in the tree.

use std::collections::BTreeMap;

use super::{Outcomes, Replication};
use crate::inventory::EMPTY_BOOKMARK;
use crate::name::{BookmarkName, DatasetName, InvalidName, SnapshotName};
use crate::report::Outcome;
use crate::snapshot::DatasetKind;
use crate::terminal::Approval;

/// Creates the plan's placeholders, parents first. Volumes below one that could not be made end
/// here, and what would have been below it is not tried.
pub(super) fn create(run: &Replication, outcomes: &mut Outcomes) {
    let mut created: Vec<&DatasetName> = Vec::new();
    let mut missing: Vec<&DatasetName> = Vec::new();
    for name in &run.plan.placeholders {
        if let Some(above) = missing.iter().find(|above| name.is_within(above)) {
            log::info!("{name} is not created, since {above} is not there");
            continue;
        }
        match create_one(run, name) {
            Ok(()) => created.push(name),
            Err((outcome, reason)) => {
                log::warn!("{reason}");
                missing.push(name);
                end_below(outcomes, name, outcome, &reason);
            }
        }
    }
    remember_as_empty(run, &created);
}

fn create_one(run: &Replication, name: &DatasetName) -> Result<(), (Outcome, String)> {
    let step = format!("create {name} as an empty parent");
    if run.terminal.approve(&step) == Approval::No {
        return Err((Outcome::Skipped, format!("declined: {step}")));
    }
    let created = super::properties::placeholder()
        .and_then(|properties| run.lzc.create(name, DatasetKind::Filesystem, &properties));
    match created {
        Ok(()) => {
            log::info!("created {name} as an empty parent");
            Ok(())
        }
        Err(error) => Err((Outcome::Failed, format!("cannot create {name}: {error}"))),
    }
}

/// Bookmarks new placeholders as they are now, so that a later run can see whether anybody has put
/// something there. A bookmark needs a snapshot, for a moment. Without one the placeholder does its
/// work as well, but no volume ever takes its place unasked.
fn remember_as_empty(run: &Replication, created: &[&DatasetName]) {
    let features = &run.target.features;
    if created.is_empty() || !features.bookmarks || !features.bookmark_written {
        return;
    }
    let names: Result<Vec<(BookmarkName, SnapshotName)>, InvalidName> = created
        .iter()
        .map(|name| {
            Ok((
                name.bookmark(EMPTY_BOOKMARK)?,
                name.snapshot(EMPTY_BOOKMARK)?,
            ))
        })
        .collect();
    let names = match names {
        Ok(names) => names,
        Err(error) => return log::warn!("new empty parents are not bookmarked: {error}"),
    };
    let snapshots: Vec<_> = names.iter().map(|(_, snapshot)| snapshot.clone()).collect();
    if let Err(error) = run.lzc.snapshot(&snapshots, &BTreeMap::new()) {
        return log::warn!("new empty parents are not bookmarked: {error}");
    }
    if let Err(error) = run.lzc.bookmark(&names) {
        log::warn!("new empty parents are not bookmarked: {error}");
    }
    if let Err(error) = run.lzc.destroy_snapshots(&snapshots, false) {
        log::warn!("snapshots @{EMPTY_BOOKMARK} of new empty parents are left: {error}");
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
