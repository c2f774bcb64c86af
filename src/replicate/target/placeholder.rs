//! Empty datasets on the target that only hold a volume's place in the tree.

use std::collections::BTreeMap;

use openzfs::{DatasetName, SnapshotName, as_many_as_go};

use crate::model::Side;
use crate::model::marks::EMPTY_BOOKMARK;
use crate::plan::Plan;
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::batch::{self, Pair};
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;
use crate::replicate::zfs::Zfs;
use crate::report::Outcome;
use crate::terminal::{Approval, Terminal};

/// Creates the plan's placeholders, parents first, except for those below what this run brings. Volumes
/// below a placeholder that could not be made end here, and placeholders below it are not tried.
pub(in crate::replicate) fn create(run: &Replication, outcomes: &mut Outcomes) {
    let placeholders = run.plan.placeholders.iter();
    let early: Vec<_> = placeholders
        .filter(|name| !goes_below_what_arrives(run.plan, name))
        .collect();
    create_all(run, outcomes, &early);
}

/// Creates the placeholders above `volume` that had to wait for what this run brings. Another volume
/// may need the same ones at the same moment.
pub(in crate::replicate) fn create_late(volume: &VolumeRun) -> Result<(), VolumeError> {
    let placeholders = volume.run.plan.placeholders.iter();
    let above = placeholders.filter(|name| volume.plan.target.is_within(name));
    for name in above.filter(|name| goes_below_what_arrives(volume.run.plan, name)) {
        let is_there = || volume.run.zfs.exists(name.as_str());
        if is_there() {
            continue;
        }
        match create_one(volume.run.terminal, volume.run.zfs, name) {
            Ok(()) => remember_as_empty(volume.run.target, volume.run.zfs, &[name]),
            Err(_) if is_there() => {}
            Err((Outcome::Failed, reason)) => return Err(VolumeError::Failed(reason)),
            Err((_, reason)) => return Err(VolumeError::Refused(reason)),
        }
    }
    Ok(())
}

fn goes_below_what_arrives(plan: &Plan, placeholder: &DatasetName) -> bool {
    let mut arriving = plan.volumes.iter().filter(|volume| volume.sends_in_full());
    arriving.any(|volume| placeholder.is_within(&volume.target))
}

/// Creates these placeholders.
pub(in crate::replicate) fn create_all(
    run: &Replication,
    outcomes: &mut Outcomes,
    names: &[&DatasetName],
) {
    let mut created: Vec<&DatasetName> = Vec::new();
    let mut missing: Vec<&DatasetName> = Vec::new();
    for name in names {
        if let Some(above) = missing.iter().find(|above| name.is_within(above)) {
            log::info!("{name} is not created, since {above} is not there");
            continue;
        }
        match create_one(run.terminal, run.zfs, name) {
            Ok(()) => created.push(name),
            Err((outcome, reason)) => {
                log::warn!("{reason}");
                missing.push(name);
                end_below(outcomes, name, outcome, &reason);
            }
        }
    }
    remember_as_empty(run.target, run.zfs, &created);
}

fn create_one(
    terminal: &Terminal,
    zfs: &dyn Zfs,
    name: &DatasetName,
) -> Result<(), (Outcome, String)> {
    let step = format!("create {name} as an empty parent");
    if terminal.approve(&step) == Approval::No {
        return Err((Outcome::Skipped, format!("declined: {step}")));
    }
    match zfs.create(name, &super::properties::placeholder()) {
        Ok(()) => {
            log::info!("created {name} as an empty parent");
            Ok(())
        }
        Err(error) => Err((Outcome::Failed, format!("cannot create {name}: {error}"))),
    }
}

/// Bookmarks new placeholders in their present state, so that a later run can see whether anybody
/// has put something there. A bookmark needs a snapshot for a moment. A placeholder without a
/// bookmark works as well, but no volume ever takes its place unasked.
fn remember_as_empty(target: &Side, zfs: &dyn Zfs, created: &[&DatasetName]) {
    let features = &target.features;
    if created.is_empty() || !features.bookmarks || !features.bookmark_written {
        return;
    }
    let mut names: Vec<Pair> = Vec::new();
    for name in created {
        let pair = (name.bookmark(EMPTY_BOOKMARK))
            .and_then(|bookmark| Ok((bookmark, name.snapshot(EMPTY_BOOKMARK)?)));
        match pair {
            Ok(pair) => names.push(pair),
            Err(error) => log::warn!("a new empty parent is not bookmarked: {error}"),
        }
    }
    let made = as_many_as_go(names, batch::both, |names| {
        zfs.take_snapshots(&snapshots(names), &BTreeMap::new())
    });
    let of_made = snapshots(&made.done);
    let bookmarked = batch::bookmark(zfs, made.done);
    let removed = batch::destroy_snapshots(zfs, of_made);
    for ((bookmark, _), why) in made.failed.into_iter().chain(bookmarked.failed) {
        log::warn!("{bookmark} of a new empty parent was not made: {why}");
    }
    for (snapshot, why) in removed.failed {
        log::warn!("{snapshot} of a new empty parent is left: {why}");
    }
}

fn snapshots(names: &[Pair]) -> Vec<SnapshotName> {
    names.iter().map(|(_, snapshot)| snapshot.clone()).collect()
}

fn end_below(outcomes: &mut Outcomes, parent: &DatasetName, outcome: Outcome, reason: &str) {
    for report in outcomes
        .pending()
        .filter(|report| report.target.is_within(parent))
    {
        report.end(outcome, reason);
    }
}
