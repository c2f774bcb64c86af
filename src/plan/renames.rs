//! Volumes whose copies have another name: somebody has renamed one of the two.
//!
//! Guids tell: a dataset of the target that has snapshots in common with a volume, and with no other
//! volume of its own name, is that volume's copy, whatever it is called. If there is such a copy,
//! nothing is sent anew. The copy can be renamed after its volume ([`follow`]), and then the run
//! goes on as usual.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{Createtxg, DatasetKind, DatasetName, Guid, InvalidName};

use super::common::{Common, newer_than_bookmarked, place_on_source};
use super::proof::uncertain_base;
use super::types::{Conflict, InTheWay, Policy, Rename};
use crate::model::VolumePath;
use crate::model::marks::{ARRIVING_SUFFIX, REPLACED_SUFFIX};
use crate::model::{Dataset, Side};

/// Suffix of the name of a copy that is moved aside while two copies exchange their names.
const ASIDE_SUFFIX: &str = "-zbackup-renaming";

/// Both sides of a run.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub source: &'a Side,
    pub target: &'a Side,
}

/// The conflict of a volume whose copy has another name.
pub(super) fn conflict(policy: &Policy, sides: Sides, volume: &VolumePath) -> Option<Conflict> {
    let copy = copy_elsewhere(sides, volume)?;
    let target = sides.target.name_of(volume).ok()?;
    let in_the_way = sides.target.any_dataset(&target).map(|other| InTheWay {
        copy_of: owner(sides, other),
    });
    let goes_along = |above: &&VolumePath| {
        let copy_above = copy_elsewhere(sides, above).map(|copy| &copy.name);
        let place = sides.target.name_of(above).ok();
        copy_above
            .zip(place)
            .is_some_and(|(from, to)| moved(&copy.name, from, &to).as_ref() == Ok(&target))
    };
    let above = policy.volumes.iter();
    let mut above = above.filter(|above| *above != volume && volume.is_within(above));
    Some(Conflict::Renamed {
        copy: copy.name.clone(),
        along_with: above.find(goes_along).cloned(),
        in_the_way,
    })
}

/// The conflict of a volume that is not on the source, but has a copy: the source has it under
/// another name.
pub(super) fn gone(sides: Sides, volume: &VolumePath) -> Option<Conflict> {
    let target = sides.target.dataset(&sides.target.name_of(volume).ok()?)?;
    let now = owner(sides, target)?;
    Some(Conflict::RenamedAway {
        now: sides.source.name_of(&now).ok()?,
        volume: now,
    })
}

/// The volume that a dataset of the target is a copy of, if that is not the volume of its name.
pub(super) fn owner(sides: Sides, copy: &Dataset) -> Option<VolumePath> {
    // A copy whose base may have been undone still belongs to its own volume.
    if !is_free(sides, copy) {
        return None;
    }
    let volumes = sides.source.all_datasets();
    let mut related = volumes.filter(|source| age(source, copy).is_some());
    let of = |source: &Dataset| VolumePath::new(source.name.below(&sides.source.top)?).ok();
    related.find_map(of)
}

/// The copy of a volume that has none under its own name. If there are several, the newest.
fn copy_elsewhere<'a>(sides: Sides<'a>, volume: &VolumePath) -> Option<&'a Dataset> {
    let source = sides.source.dataset(&sides.source.name_of(volume).ok()?)?;
    let target = sides.target.name_of(volume).ok()?;
    let has_its_own = |target: &Dataset| {
        // A dataset that is being received counts too.
        target.inconsistent || target.resume.is_some() || are_linked(source, target)
    };
    if sides.target.any_dataset(&target).is_some_and(has_its_own) {
        return None;
    }
    let snapshots = source.snapshots.iter().map(|snapshot| snapshot.guid);
    let bookmarks = source.bookmarks.iter().chain(&source.doubtful);
    let bookmarks = bookmarks.map(|bookmark| bookmark.guid);
    let known: BTreeSet<Guid> = snapshots.chain(bookmarks).collect();
    let candidates = sides
        .target
        .all_datasets()
        .filter(|copy| copy.snapshots.iter().any(|one| known.contains(&one.guid)))
        .filter(|copy| copy.name != target && !is_aside(&copy.name, &target))
        .filter(|copy| is_free(sides, copy));
    let newest = |copy: &'a Dataset| Some((age(source, copy)?, copy));
    let newest = candidates.filter_map(newest).max_by_key(|(age, _)| *age);
    newest.map(|(_, copy)| copy)
}

/// The place in the source's history of what both have in common.
fn age(source: &Dataset, copy: &Dataset) -> Option<Createtxg> {
    let Some(common) = Common::newest(source, copy) else {
        let (base, _) = uncertain_base(source, copy)?;
        let mut doubtful = source.doubtful.iter();
        return doubtful
            .find(|bookmark| bookmark.guid == base.guid)
            .map(|bookmark| bookmark.createtxg);
    };
    place_on_source(source, common.on_target.guid)
}

/// True if it is not the copy of the volume of its own name.
fn is_free(sides: Sides, copy: &Dataset) -> bool {
    let path = copy.name.below(&sides.target.top);
    let Some(volume) = path.and_then(|path| VolumePath::new(path).ok()) else {
        return false;
    };
    let namesake = sides.source.name_of(&volume).ok();
    let namesake = namesake.and_then(|name| sides.source.any_dataset(&name));
    !namesake.is_some_and(|source| are_linked(source, copy))
}

/// True if the two are the same volume, even if only a bookmark shows it.
fn are_linked(source: &Dataset, target: &Dataset) -> bool {
    age(source, target).is_some() || newer_than_bookmarked(source, target, None).is_some()
}

/// True for a dataset that a run has left beside `target` while replacing it, or has kept of it.
fn is_aside(name: &DatasetName, target: &DatasetName) -> bool {
    name.as_str().ends_with(ARRIVING_SUFFIX)
        || name.as_str().ends_with(REPLACED_SUFFIX)
        || name.as_str().starts_with(&format!("{target}-kept-"))
}

/// Renames, on the target as it was read, the copies of the volumes that the policy names, and
/// returns what has to be done to make that true.
///
/// If the new name of one copy is the old name of another, the other is renamed first; two that
/// exchange their names use a third name. What cannot be renamed stays, and is a conflict of the plan.
pub fn follow(policy: &Policy, source: &Side, target: &mut Side) -> Vec<Rename> {
    let mut renames = Vec::new();
    // Parents first: their children move with them.
    let mut wanted: Vec<&VolumePath> = policy.follow_rename.iter().collect();
    loop {
        let sides = Sides {
            source,
            target: &*target,
        };
        let Some((volume, next)) = next_rename(sides, &wanted) else {
            return renames;
        };
        match renamed(target, &next, &policy.volumes) {
            Ok(after) => {
                *target = after;
                renames.push(next);
            }
            // A name would be too long.
            Err(_) => wanted.retain(|one| *one != volume),
        }
    }
}

/// What to rename next, and for which volume.
fn next_rename<'v>(sides: Sides, wanted: &[&'v VolumePath]) -> Option<(&'v VolumePath, Rename)> {
    let open: Vec<(&VolumePath, &Dataset, DatasetName)> = wanted
        .iter()
        .filter_map(|volume| {
            let to = sides.target.name_of(volume).ok()?;
            Some((*volume, copy_elsewhere(sides, volume)?, to))
        })
        .collect();
    let is_free = |copy: &Dataset, to: &DatasetName| {
        sides.target.any_dataset(to).is_none() && !to.is_within(&copy.name)
    };
    if let Some((volume, copy, to)) = open.iter().find(|(_, copy, to)| is_free(copy, to)) {
        let is_missing = |name: &DatasetName| sides.target.any_dataset(name).is_none();
        let parents = to.ancestors().into_iter().filter(is_missing).collect();
        return Some((volume, rename(copy, to.clone(), parents)));
    }
    let is_awaited = |copy: &Dataset| {
        let aside = copy.name.as_str().ends_with(ASIDE_SUFFIX);
        !aside && open.iter().any(|(.., to)| to.is_within(&copy.name))
    };
    let (volume, copy, _) = open.iter().find(|(_, copy, _)| is_awaited(copy))?;
    let to = DatasetName::new(&format!("{}{ASIDE_SUFFIX}", copy.name)).ok()?;
    sides
        .target
        .any_dataset(&to)
        .is_none()
        .then(|| (*volume, rename(copy, to, Vec::new())))
}

fn rename(copy: &Dataset, to: DatasetName, parents: Vec<DatasetName>) -> Rename {
    Rename {
        from: copy.name.clone(),
        to,
        guid: copy.guid,
        parents,
    }
}

/// The side as it is after a rename.
fn renamed(side: &Side, rename: &Rename, volumes: &[VolumePath]) -> Result<Side, InvalidName> {
    let mut after = Side {
        datasets: BTreeMap::new(),
        others: BTreeMap::new(),
        ..side.clone()
    };
    let concerned: Vec<DatasetName> = volumes
        .iter()
        .filter_map(|volume| side.name_of(volume).ok())
        .collect();
    let all = side.datasets.values().map(|dataset| (dataset, true));
    let all = all.chain(side.others.values().map(|dataset| (dataset, false)));
    for (dataset, is_concerned) in all {
        let mut dataset = dataset.clone();
        if dataset.name.is_within(&rename.from) {
            let name = moved(&dataset.name, &rename.from, &rename.to)?;
            call(&mut dataset, name)?;
        }
        let name = dataset.name.clone();
        let is_above = |target: &DatasetName| target.is_within(&name);
        if is_concerned || concerned.iter().any(is_above) {
            after.datasets.insert(name, dataset);
        } else {
            after.others.insert(name, dataset);
        }
    }
    for parent in &rename.parents {
        let above = parent.parent().and_then(|above| after.any_dataset(&above));
        if let Some(above) = above {
            let made = empty_parent(parent.clone(), above);
            after.datasets.insert(parent.clone(), made);
        }
    }
    let above = rename.to.parent();
    if let Some(parent) = above.and_then(|parent| after.datasets.get_mut(&parent)) {
        parent.has_children = true;
    }
    Ok(after)
}

/// Gives a dataset another name, and its snapshots and bookmarks with it.
fn call(dataset: &mut Dataset, name: DatasetName) -> Result<(), InvalidName> {
    for snapshot in &mut dataset.snapshots {
        snapshot.name = name.snapshot(snapshot.name.short())?;
    }
    let bookmarks = dataset.bookmarks.iter_mut();
    for bookmark in bookmarks.chain(&mut dataset.doubtful) {
        bookmark.name = name.bookmark(bookmark.name.short())?;
    }
    dataset.name = name;
    Ok(())
}

/// The name of `dataset` after `from`, which is it or above it, was renamed to `to`.
fn moved(
    dataset: &DatasetName,
    from: &DatasetName,
    to: &DatasetName,
) -> Result<DatasetName, InvalidName> {
    match dataset.below(from) {
        Some("") => Ok(to.clone()),
        Some(below) => to.join(below),
        None => Ok(dataset.clone()),
    }
}

/// A parent that will be made for a copy that moves: like the dataset above it, but empty.
fn empty_parent(name: DatasetName, above: &Dataset) -> Dataset {
    Dataset {
        name,
        guid: Guid(0),
        kind: DatasetKind::Filesystem,
        snapshots: Vec::new(),
        listed_from: Createtxg::default(),
        createtxg: Createtxg::default(),
        bookmarks: Vec::new(),
        doubtful: Vec::new(),
        past: None,
        resume: None,
        inconsistent: false,
        written_bytes: 0,
        placeholder: true,
        has_children: true,
        local_properties: BTreeMap::new(),
        ..above.clone()
    }
}
