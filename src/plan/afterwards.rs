//! What retention will do after the transfers, decided before them: it belongs in the table that
//! the user sees first.
//!
//! Both ends of a volume are projected to the state in which this run leaves them, and the rules of
//! [`super::retention`] are applied to that state.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use openzfs::{BookmarkName, Createtxg, DatasetName, Guid, Snapshot, SnapshotName};

use super::retention::{needed_for, prunable, receives_on};
use super::types::{
    Action, Direction, OldSnapshot, Overwrite, Point, Policy, Pruning, Retention, Transfer,
    UpToDate, VolumePlan,
};
use super::{arrivals, proof};
use crate::model::ledger;
use crate::model::marks::CREATED_PROPERTY;
use crate::model::{Dataset, Side, is_managed};

/// Stands for the guid of this run's snapshot, which does not exist yet. No snapshot has it.
const NOT_YET: Guid = Guid(0);

/// What retention does with a decided volume, if all goes well. Volumes that are not brought up to
/// date are left alone.
pub(super) fn retention(
    policy: &Policy,
    source_side: &Side,
    target_side: &Side,
    volume: &VolumePlan,
) -> Retention {
    if policy.source_keep.is_none() && policy.target_keep.is_none() {
        return Retention::default();
    }
    let Some(source) = source_side.dataset(&volume.source) else {
        return Retention::default();
    };
    let target = target_side.dataset(&volume.target);
    let (mut source, mut target) = match (&volume.action, target) {
        (Action::UpToDate(_), Some(target)) => (source.clone(), target.clone()),
        (Action::Send(transfer), target) => (
            source_after(source, transfer),
            target_after(policy.direction, source, target, &volume.target, transfer),
        ),
        _ => return Retention::default(),
    };
    let (unmarked_on_source, unmarked_on_target) = match policy.direction {
        Direction::ToDisk => (
            mark_received(&mut source),
            mark_sent(&mut target, &source, target_side.pool_guid),
        ),
        Direction::ToHost => {
            let on_host = mark_received(&mut target);
            let on_disk = mark_sent(&mut source, &target, source_side.pool_guid);
            (on_disk, on_host)
        }
    };
    let target_is_ahead = matches!(volume.action, Action::UpToDate(UpToDate::TargetAhead(_)));
    let mut for_target = needed_for(&target, &source);
    for_target.extend(receives_on(&source, &target));
    let mut for_source = needed_for(&source, &target);
    // The side that is ahead receives nothing, and a bookmark is enough to show that it is ahead.
    let is_told = |guid: &Guid| target_is_ahead && proof::outlives_snapshots(&target, *guid);
    for_source.extend(receives_on(&target, &source).filter(|guid| !is_told(guid)));
    match policy.direction {
        Direction::ToDisk => for_source.extend(somebody_elses(&source)),
        Direction::ToHost => for_target.extend(somebody_elses(&target)),
    }
    Retention {
        source: Pruning {
            unmarked: unmarked_on_source,
            ..pruning(source_side, &source, policy.source_keep, for_target)
        },
        target: Pruning {
            unmarked: unmarked_on_target,
            ..pruning(target_side, &target, policy.target_keep, for_source)
        },
    }
}

/// The ledger's bookmarks that no longer stand for anything, of a volume that this run adds to. A
/// dataset that is replaced or renamed aside keeps its bookmarks.
pub(super) fn forgets(
    source_side: &Side,
    target_side: &Side,
    volume: &VolumePlan,
) -> Vec<BookmarkName> {
    let stays = match &volume.action {
        Action::UpToDate(_) => true,
        Action::Send(transfer) => !matches!(
            transfer.overwrite,
            Overwrite::Replace { .. } | Overwrite::KeepBoth { .. }
        ),
        Action::Conflict(_) | Action::Impossible(_) => return Vec::new(),
    };
    let target = target_side.dataset(&volume.target).filter(|_| stays);
    let sides = [source_side.dataset(&volume.source), target];
    let datasets = sides.into_iter().flatten();
    datasets.flat_map(proof::forgettable).cloned().collect()
}

/// What is pruned on one side; `needed` is what the other side's history needs here.
fn pruning(
    side: &Side,
    dataset: &Dataset,
    keep: Option<NonZeroUsize>,
    mut needed: BTreeSet<Guid>,
) -> Pruning {
    let Some(keep) = keep else {
        return Pruning::default();
    };
    needed.extend(weakly_bookmarked(dataset));
    let old: Vec<_> = prunable(dataset, keep, &needed)
        .into_iter()
        .map(|snapshot| OldSnapshot {
            name: snapshot.name.clone(),
            guid: snapshot.guid,
            used_bytes: snapshot.used_bytes,
        })
        .collect();
    let cannot_bookmark = !old.is_empty() && !can_bookmark(side, dataset);
    Pruning {
        old: if cannot_bookmark { Vec::new() } else { old },
        unmarked: Vec::new(),
        cannot_bookmark,
    }
}

/// True if a bookmark of this dataset can be a base. If none can, nobody knows which of its
/// snapshots is the base for an absent disk, so all of them stay.
fn can_bookmark(side: &Side, dataset: &Dataset) -> bool {
    side.features.bookmarks && (!dataset.encrypted || side.features.bookmark_v2)
}

/// Guids of which the ledger has a bookmark that cannot be a base: it was made before the pool got
/// the feature for that.
fn weakly_bookmarked(dataset: &Dataset) -> BTreeSet<Guid> {
    dataset
        .bookmarks
        .iter()
        .filter(|bookmark| ledger::parse(bookmark.name.short()).is_some())
        .filter(|bookmark| dataset.encrypted && bookmark.ivset_guid.is_none())
        .map(|bookmark| bookmark.guid)
        .collect()
}

/// A snapshot that is not managed on the host is not managed on the disk either, whatever mark it has there.
fn somebody_elses(host: &Dataset) -> impl Iterator<Item = Guid> {
    let theirs = host
        .snapshots
        .iter()
        .filter(|snapshot| !is_managed(snapshot));
    theirs.map(|snapshot| snapshot.guid)
}

/// Marks what an earlier run received on the host if that run died before it marked it, and returns
/// the names. What is on the disk marks nothing here.
fn mark_received(host: &mut Dataset) -> Vec<SnapshotName> {
    let recorded = arrivals::recorded(host);
    mark_all(host, &recorded)
}

/// Marks what an earlier run sent to the disk if that run died before it marked it, and returns the
/// names: such a snapshot is managed on the host, which bookmarked it for this disk before sending it.
fn mark_sent(disk: &mut Dataset, host: &Dataset, guid: Guid) -> Vec<SnapshotName> {
    let ledger = host.bookmarks.iter().filter(|bookmark| {
        ledger::parse(bookmark.name.short()).is_some_and(|(peer, _)| peer.pool == guid)
    });
    let sent: BTreeSet<Guid> = ledger
        .map(|bookmark| bookmark.guid)
        .filter(|guid| host.snapshot(*guid).is_some_and(is_managed))
        .collect();
    mark_all(disk, &sent)
}

fn mark_all(here: &mut Dataset, own: &BTreeSet<Guid>) -> Vec<SnapshotName> {
    let unmarked = here
        .snapshots
        .iter_mut()
        .filter(|snapshot| !snapshot.user_properties.contains_key(CREATED_PROPERTY))
        .filter(|snapshot| own.contains(&snapshot.guid));
    unmarked
        .map(|snapshot| {
            mark(snapshot);
            snapshot.name.clone()
        })
        .collect()
}

fn mark(snapshot: &mut Snapshot) {
    snapshot
        .user_properties
        .insert(CREATED_PROPERTY.into(), String::new());
}

/// The source with this run's snapshot.
fn source_after(source: &Dataset, transfer: &Transfer) -> Dataset {
    let new = transfer.steps.iter().filter_map(|step| match &step.to {
        Point::New(_) => Some(arriving(Direction::ToDisk, source, &source.name, &step.to)),
        Point::Existing { .. } => None,
    });
    let mut after = source.clone();
    after.snapshots.extend(new.flatten());
    after
}

/// The target with what it receives, and without what that destroys.
fn target_after(
    direction: Direction,
    source: &Dataset,
    target: Option<&Dataset>,
    name: &DatasetName,
    transfer: &Transfer,
) -> Dataset {
    let stays = match (&transfer.overwrite, target) {
        (Overwrite::Nothing | Overwrite::RollBack { .. }, Some(target)) => Some((target, &[][..])),
        (Overwrite::Destroy { snapshots, .. }, Some(target)) => Some((target, &snapshots[..])),
        // Replaced, renamed aside, or absent: a new dataset.
        _ => None,
    };
    let mut after = match stays {
        Some((target, destroyed)) => {
            let mut after = target.clone();
            after
                .snapshots
                .retain(|snapshot| !destroyed.contains(&snapshot.name));
            after
        }
        None => Dataset {
            name: name.clone(),
            snapshots: Vec::new(),
            bookmarks: Vec::new(),
            doubtful: Vec::new(),
            ..source.clone()
        },
    };
    // The transfer completes the interrupted receive here, or drops it.
    after.resume = None;
    let steps = transfer.steps.iter();
    after
        .snapshots
        .extend(steps.filter_map(|step| arriving(direction, source, name, &step.to)));
    after
}

/// A snapshot as `dataset` will have it: the newest there.
fn arriving(
    direction: Direction,
    source: &Dataset,
    dataset: &DatasetName,
    point: &Point,
) -> Option<Snapshot> {
    // A name that is too long has already made the volume impossible.
    let name = dataset.snapshot(point.name().short()).ok()?;
    let known = match point {
        Point::Existing { guid, .. } => Some(source.snapshot(*guid)?),
        Point::New(_) => None,
    };
    let mut snapshot = Snapshot {
        name,
        guid: known.map_or(NOT_YET, |known| known.guid),
        createtxg: Createtxg(u64::MAX),
        creation_seconds: 0,
        used_bytes: 0,
        referenced_bytes: 0,
        written_bytes: 0,
        holds: 0,
        clones: Vec::new(),
        ivset_guid: known.and_then(|known| known.ivset_guid),
        user_properties: BTreeMap::new(),
        received_properties: BTreeMap::new(),
    };
    if arrivals::is_managed_on_arrival(direction, Some(source), point) {
        mark(&mut snapshot);
    }
    Some(snapshot)
}
