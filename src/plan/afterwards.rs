//! What retention will do after the transfers, decided before them: it belongs into the table that
//! the user sees first.
//!
//! Both ends of a volume are thought forward to where this run leaves them, and the rules of
//! [`super::retention`] are asked about that.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::ledger;
use super::retention::{needed_for, prunable, receives_on};
use super::types::{
    Action, OldSnapshot, Overwrite, Point, Policy, Retention, Tidying, Transfer, UpToDate,
    VolumePlan,
};
use crate::inventory::{CREATED_PROPERTY, Dataset, Side, is_own};
use crate::name::{Createtxg, DatasetName, Guid};
use crate::snapshot::Snapshot;

/// Stands for the guid of this run's snapshot, which does not exist yet. No snapshot has it.
const NOT_YET: Guid = Guid(0);

/// What retention does with a decided volume, where all goes well. Volumes that are not brought up
/// to date are left alone.
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
            target_after(source, target, &volume.target, transfer),
        ),
        _ => return Retention::default(),
    };
    let unmarked_on_source = restore_marks(&mut source, &target);
    let unmarked_on_target = restore_marks(&mut target, &source);
    let target_is_ahead = matches!(volume.action, Action::UpToDate(UpToDate::TargetAhead(_)));
    let mut for_target = needed_for(&target, &source);
    for_target.extend(receives_on(&source, &target));
    let mut for_source = needed_for(&source, &target);
    // Who is ahead receives nothing there, and needs no more than a bookmark to tell that it is.
    let is_told = |guid: &Guid| target_is_ahead && target.bookmark(*guid).is_some();
    for_source.extend(receives_on(&target, &source).filter(|guid| !is_told(guid)));
    Retention {
        source: Tidying {
            unmarked: unmarked_on_source,
            ..tidying(source_side, &source, policy.source_keep, for_target)
        },
        target: Tidying {
            unmarked: unmarked_on_target,
            ..tidying(target_side, &target, policy.target_keep, for_source)
        },
    }
}

/// What goes from one side, where `needed` is what the other side's history needs here.
fn tidying(
    side: &Side,
    dataset: &Dataset,
    keep: Option<NonZeroUsize>,
    mut needed: BTreeSet<Guid>,
) -> Tidying {
    let Some(keep) = keep else {
        return Tidying::default();
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
    Tidying {
        old: if cannot_bookmark { Vec::new() } else { old },
        unmarked: Vec::new(),
        cannot_bookmark,
    }
}

/// True where a bookmark of this dataset can be a base. Where none can, nobody knows which of its
/// snapshots the disk in the drawer goes on from, so all of them stay.
fn can_bookmark(side: &Side, dataset: &Dataset) -> bool {
    side.features.bookmarks && (!dataset.encrypted || side.features.bookmark_v2)
}

/// Guids of which the ledger has a bookmark that cannot be a base: made before the pool got the
/// feature for it.
fn weakly_bookmarked(dataset: &Dataset) -> BTreeSet<Guid> {
    dataset
        .bookmarks
        .iter()
        .filter(|bookmark| ledger::parse(bookmark.name.short()).is_some())
        .filter(|bookmark| dataset.encrypted && bookmark.ivset_guid.is_none())
        .map(|bookmark| bookmark.guid)
        .collect()
}

/// Marks snapshots whose twin is own, and returns their names. Only zbackup sets the mark, and on
/// what it received only where the sender's twin has it: so these are its own too.
fn restore_marks(here: &mut Dataset, twins: &Dataset) -> Vec<crate::name::SnapshotName> {
    let own: BTreeSet<Guid> = twins
        .snapshots
        .iter()
        .filter(|snapshot| is_own(snapshot))
        .map(|snapshot| snapshot.guid)
        .collect();
    let unmarked = here
        .snapshots
        .iter_mut()
        .filter(|snapshot| !is_own(snapshot) && own.contains(&snapshot.guid));
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
        Point::New(_) => Some(arriving(source, &source.name, &step.to)),
        Point::Existing { .. } => None,
    });
    let mut after = source.clone();
    after.snapshots.extend(new.flatten());
    after
}

/// The target with what it receives, and without what that destroys.
fn target_after(
    source: &Dataset,
    target: Option<&Dataset>,
    name: &DatasetName,
    transfer: &Transfer,
) -> Dataset {
    let stays = match (&transfer.overwrite, target) {
        (Overwrite::Nothing | Overwrite::RollBack { .. }, Some(target)) => Some((target, &[][..])),
        (Overwrite::Destroy { snapshots, .. }, Some(target)) => Some((target, &snapshots[..])),
        // Replaced, renamed aside, or not there at all: a new dataset.
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
            ..source.clone()
        },
    };
    // The transfer ends whatever broke off here, or drops it.
    after.resume = None;
    let steps = transfer.steps.iter();
    after
        .snapshots
        .extend(steps.filter_map(|step| arriving(source, name, &step.to)));
    after
}

/// A snapshot as `dataset` will have it: newest of all there, and own where it is on the source.
fn arriving(source: &Dataset, dataset: &DatasetName, point: &Point) -> Option<Snapshot> {
    // A name that is too long has made the volume impossible before.
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
        ivset_guid: known.and_then(|known| known.ivset_guid),
        user_properties: BTreeMap::new(),
    };
    if known.is_none_or(is_own) {
        mark(&mut snapshot);
    }
    Some(snapshot)
}
