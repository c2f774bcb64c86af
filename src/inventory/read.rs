//! Reading both sides of a run from the kernel.
//!
//! A side that sends is listed; a side that receives is asked for the names that the other side sends.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use openzfs::{Createtxg, DatasetName, Guid, Libzfs, Lzc, PoolName, PoolStatus, StreamFeature};

use super::give_up;
use super::settle::settle;
use super::visit::{self, Found, Visitor};
use crate::config::Selection;
use crate::model::VolumePath;
use crate::model::ledger::Peer;
use crate::model::{Dataset, Features, Past, Side};
use crate::plan::proof;
use crate::system::threads;

/// Threads that read one side by name.
const MOST_READERS: usize = 16;
/// How many names make a further thread, with its own libzfs, worth while.
const NAMES_A_READER: usize = 3;

/// A pool whose part below `top` is to be read.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The pool.
    pub pool: PoolName,
    /// Where its volumes live.
    pub top: DatasetName,
    /// The other pool of this run: its ledger bookmarks say from which point on snapshots matter.
    pub peer: Peer,
}

/// What a side is read for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// These volumes …
    pub roots: &'a [VolumePath],
    /// … and all that is below them.
    pub recursive: bool,
    /// Whose snapshots and bookmarks to read.
    pub histories: Histories<'a>,
    /// Every snapshot, not only those newer than the peer's newest ledger bookmark.
    pub whole: bool,
}

/// Whose histories are read.
#[derive(Clone, Copy)]
pub enum Histories<'a> {
    /// No history.
    None,
    /// Those of the volumes in this selection.
    Of(&'a Selection),
    /// Every history.
    All,
}

impl Histories<'_> {
    /// True if the history of this volume is read.
    pub fn take(self, volume: &VolumePath) -> bool {
        match self {
            Self::None => false,
            Self::Of(selection) => selection.takes(volume),
            Self::All => true,
        }
    }
}

/// Why a side was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The host's pool did not write out what its programs have written.
    #[error("{pool} cannot be synced: {why}")]
    Settle {
        /// The host's pool.
        pool: PoolName,
        /// In the system's words.
        why: String,
    },
    /// The kernel did not answer.
    #[error(transparent)]
    Zfs(#[from] openzfs::Error),
}

/// Settles the host's pool and reads it, with a libzfs of its own: for a thread beside the one that
/// imports the disk.
pub fn host(scope: &Scope, wanted: Wanted) -> Result<Side, ReadError> {
    let settled = Lzc::open().map(|lzc| settle(&scope.pool, lzc))?;
    let activities = settled.map_err(|why| ReadError::Settle {
        pool: scope.pool.clone(),
        why,
    })?;
    let mut side = listed(&Libzfs::open()?, scope, wanted)?;
    for dataset in side.datasets.values_mut() {
        dataset.activity = activities.get(&dataset.objset).copied();
    }
    Ok(side)
}

/// Reads one side by listing it: the wanted roots, everything above them, and everything below them
/// if that is wanted.
pub fn listed(zfs: &Libzfs, scope: &Scope, wanted: Wanted) -> Result<Side, openzfs::Error> {
    let status = pool_status(zfs, scope)?;
    let side = visit::Side::new(scope, wanted, &status);
    let mut visitor = Visitor::new(zfs, &side);
    let roots: BTreeSet<DatasetName> = wanted
        .roots
        .iter()
        .filter_map(|root| root.below(&scope.top).ok())
        .collect();
    for name in with_ancestors(&scope.top, wanted.roots) {
        if visitor.found.datasets.contains_key(&name) {
            continue;
        }
        match zfs.dataset(&name) {
            Ok(Some(dataset)) if wanted.recursive && roots.contains(&name) => {
                visitor.visit_all(&dataset);
            }
            Ok(Some(dataset)) => visitor.visit(&dataset),
            Ok(None) => {}
            Err(error) => visitor.fail(&name, &error),
        }
    }
    Ok(side_of(scope, &status, visitor.found))
}

/// Reads the side that receives, by the names of the source's volumes: several at once, since each
/// waits for the disk.
pub fn named(
    zfs: &Libzfs,
    scope: &Scope,
    wanted: Wanted,
    volumes: &[VolumePath],
) -> Result<Side, openzfs::Error> {
    let status = pool_status(zfs, scope)?;
    let side = visit::Side::new(scope, wanted, &status);
    let names = with_ancestors(&scope.top, volumes);
    let helpers = (names.len() / NAMES_A_READER).min(MOST_READERS - 1);
    let (above, below): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|name| scope.top.is_within(name));
    let mut found = read_each(zfs, &side, &Mutex::new(above.into_iter()))?;
    let queue = Mutex::new(below.into_iter());
    let parts = thread::scope(|readers| {
        // As many helpers as can be started: this thread reads as well.
        let helper = || {
            threads::spawn(readers, "reader", || {
                read_each(&Libzfs::open()?, &side, &queue)
            })
        };
        let helpers: Vec<_> = (0..helpers).map_while(|_| helper().ok()).collect();
        let mut parts = vec![read_each(zfs, &side, &queue)];
        let joined = helpers.into_iter().map(ScopedJoinHandle::join);
        parts.extend(joined.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))));
        parts
    });
    for part in parts {
        found.add(part?);
    }
    Ok(side_of(scope, &status, found))
}

/// Takes names from the queue until there are none left.
fn read_each(
    zfs: &Libzfs,
    side: &visit::Side,
    queue: &Mutex<impl Iterator<Item = DatasetName>>,
) -> Result<Found, openzfs::Error> {
    let lzc = Lzc::open()?;
    let mut visitor = Visitor::new(zfs, side);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(name) = next() {
        visitor.visit_by_name(&name);
        visitor.look_beside(&name, lzc);
    }
    Ok(visitor.found)
}

fn side_of(scope: &Scope, status: &PoolStatus, found: Found) -> Side {
    Side {
        pool: scope.pool.clone(),
        pool_guid: status.guid,
        top: scope.top.clone(),
        free_bytes: found.free_bytes.unwrap_or(status.free_bytes),
        features: features(status),
        used_features: used_features(status),
        log_reset_bytes: visit::log_reset_bytes(status),
        leftovers: found.leftovers,
        datasets: found.datasets,
        unreadable: found.unreadable,
        others: BTreeMap::new(),
    }
}

fn pool_status(zfs: &Libzfs, scope: &Scope) -> Result<PoolStatus, openzfs::Error> {
    zfs.pool(&scope.pool)?
        .ok_or_else(|| openzfs::Error::not_found(scope.pool.as_str()))?
        .status()
}

/// Names, relative to the side's top, of all datasets that were read below it. Those that zbackup
/// made only to be parents, and that nobody has used since, are no volumes and are left out.
pub fn volume_paths(side: &Side) -> BTreeSet<VolumePath> {
    let volumes = side.datasets.values().filter(|one| !one.is_mere_parent());
    let names = volumes
        .map(|dataset| &dataset.name)
        .chain(side.unreadable.keys());
    names
        .filter_map(|name| VolumePath::new(name.below(&side.top)?).ok())
        .collect()
}

/// Removes datasets that are neither in `volumes` nor above one of them.
pub fn keep_only(side: &mut Side, volumes: &[VolumePath]) {
    let names = with_ancestors(&side.top, volumes);
    side.datasets.retain(|name, _| names.contains(name));
}

/// Reads what only volumes that are not simply continued need: their whole histories, if the listed
/// parts do not show what both sides have in common and all that is newer, and whether their
/// targets have children.
pub fn complete(zfs: &Libzfs, source: &mut Side, target: &mut Side, volumes: &[VolumePath]) {
    for side in [&mut *source, &mut *target] {
        side.datasets.values_mut().for_each(proof::sift);
    }
    let unclear: Vec<&VolumePath> = volumes
        .iter()
        .filter(|volume| {
            !agrees(source, target, volume)
                || is_doubtful(source, target, volume)
                || is_doubtful(target, source, volume)
        })
        .collect();
    if !unclear.is_empty() {
        log::debug!(
            "{} volumes are listed in full: their ledger does not tell the base",
            unclear.len()
        );
    }
    list_in_full(zfs, source, &unclear);
    list_in_full(zfs, target, &unclear);
    let doubtful = |side: &Side, other: &Side| -> Vec<VolumePath> {
        let unclear = unclear.iter().filter(|one| is_doubtful(side, other, one));
        unclear.map(|volume| (*volume).clone()).collect()
    };
    let (on_source, on_target) = (doubtful(source, target), doubtful(target, source));
    ask_log(zfs, source, &on_source);
    ask_log(zfs, target, &on_target);
    for volume in volumes {
        if is_continued(source, target, volume) {
            continue;
        }
        look_again(zfs, target, volume, |dataset, open| {
            dataset.has_children = open.has_children()?;
            Ok(())
        });
    }
}

/// Reads the whole histories of these volumes on one side, if only their ends were listed.
pub fn list_in_full(zfs: &Libzfs, side: &mut Side, volumes: &[&VolumePath]) {
    for volume in volumes {
        let in_part = |dataset: &Dataset| dataset.listed_from > Createtxg::default();
        if of_volume(side, volume).is_some_and(in_part) {
            look_again(zfs, side, volume, |dataset, open| {
                dataset.snapshots = open.snapshots(None)?;
                dataset.listed_from = Createtxg::default();
                proof::sift(dataset);
                Ok(())
            });
        }
    }
}

/// Reads something more of one volume. A failure affects that volume alone.
fn look_again(
    zfs: &Libzfs,
    side: &mut Side,
    volume: &VolumePath,
    look: impl FnOnce(&mut Dataset, &openzfs::Dataset) -> Result<(), openzfs::Error>,
) {
    let Some(dataset) = of_volume_mut(side, volume) else {
        return;
    };
    let name = dataset.name.clone();
    let looked = zfs.dataset(&name).and_then(|open| match open {
        Some(open) => look(dataset, &open),
        None => Err(openzfs::Error::not_found(name.as_str())),
    });
    if let Err(error) = looked {
        give_up(side, name, &error);
    }
}

/// True if a volume's bookmarks on one side may be of a past that was undone.
fn is_doubtful(side: &Side, other: &Side, volume: &VolumePath) -> bool {
    let dataset = of_volume(side, volume);
    dataset.is_some_and(|dataset| proof::is_in_doubt(dataset, of_volume(other, volume)))
}

/// Asks the log of one side's pool about the past of these volumes. If it cannot be read, their
/// bookmarks stay in doubt.
fn ask_log(zfs: &Libzfs, side: &mut Side, volumes: &[VolumePath]) {
    if volumes.is_empty() {
        return;
    }
    let pool = side.pool.clone();
    log::info!("reading the log of {pool}: a bookmark may stand for what has been undone");
    let read = zfs.pool(&pool).and_then(|found| match found {
        Some(pool) => pool.history(),
        None => Err(openzfs::Error::not_found(pool.as_str())),
    });
    let history = match read {
        Ok(history) => history,
        Err(error) => return log::warn!("the log of {pool} cannot be read: {error}"),
    };
    for volume in volumes {
        if let Some(dataset) = of_volume_mut(side, volume) {
            dataset.past = Some(Past::of(&dataset.name, &history));
            proof::sift(dataset);
        }
    }
}

/// True if the target's newest snapshot is one of the source's: nothing there is in the way.
fn is_continued(source: &Side, target: &Side, volume: &VolumePath) -> bool {
    let (Some(source), Some(target)) = (of_volume(source, volume), of_volume(target, volume))
    else {
        return false;
    };
    source.kind == target.kind
        && target
            .newest()
            .is_some_and(|newest| source.snapshot(newest.guid).is_some())
}

/// True if the listed parts of a volume's histories show its base, and all that is newer: the
/// target's newest snapshot is known to the source. It can be older than the source's newest ledger
/// bookmark, since a run bookmarks what it is about to send, and may not have got that far.
fn agrees(source: &Side, target: &Side, volume: &VolumePath) -> bool {
    let (Some(source), Some(target)) = (of_volume(source, volume), of_volume(target, volume))
    else {
        return true;
    };
    let nothing_left_out =
        source.listed_from == Createtxg::default() && target.listed_from == Createtxg::default();
    nothing_left_out
        || target.newest().is_some_and(|newest| {
            let bookmark = source.bookmark(newest.guid);
            source.snapshot(newest.guid).is_some()
                || bookmark.is_some_and(|bookmark| bookmark.createtxg >= source.listed_from)
        })
}

fn of_volume<'a>(side: &'a Side, volume: &VolumePath) -> Option<&'a Dataset> {
    side.dataset(&side.name_of(volume).ok()?)
}

fn of_volume_mut<'a>(side: &'a mut Side, volume: &VolumePath) -> Option<&'a mut Dataset> {
    let name = side.name_of(volume).ok()?;
    side.datasets.get_mut(&name)
}

/// The datasets of these volumes, all datasets above them, `top` and all above it, each once.
fn with_ancestors(top: &DatasetName, volumes: &[VolumePath]) -> BTreeSet<DatasetName> {
    let mut names = BTreeSet::from([top.clone()]);
    names.extend(top.ancestors());
    for name in volumes.iter().filter_map(|volume| volume.below(top).ok()) {
        names.extend(name.ancestors());
        names.insert(name);
    }
    names
}

/// Adds what `--keep-both` has to know of a volume's target: everything below it, which moves with
/// it in a rename, and the names beside it that are already taken.
pub fn add_surroundings(
    zfs: &Libzfs,
    scope: &Scope,
    keep_both: &[VolumePath],
    side: &mut Side,
) -> Result<(), openzfs::Error> {
    let without_histories = Wanted {
        roots: keep_both,
        recursive: true,
        histories: Histories::None,
        whole: false,
    };
    if keep_both.is_empty() {
        return Ok(());
    }
    let beside = visit::Side::new(scope, without_histories, &pool_status(zfs, scope)?);
    for volume in keep_both {
        let Ok(target) = side.name_of(volume) else {
            continue;
        };
        let parent = target.parent().map(|parent| zfs.dataset(&parent));
        let Some(parent) = parent.transpose()?.flatten() else {
            continue;
        };
        let mut visitor = Visitor::new(zfs, &beside);
        let kept = format!("{target}-kept-");
        parent.each_child(|child| {
            if *child.name() == target {
                visitor.visit_all(&child);
            } else if child.name().as_str().starts_with(&kept) {
                visitor.visit(&child);
            }
            Ok::<_, openzfs::Error>(())
        })?;
        for (name, dataset) in visitor.found.datasets {
            side.datasets.entry(name).or_insert(dataset);
        }
    }
    Ok(())
}

/// Adds what unfinished replacements have left beside a listed side's `volumes`.
pub fn add_leftovers(
    zfs: &Libzfs,
    scope: &Scope,
    wanted: Wanted,
    volumes: &[VolumePath],
    side: &mut Side,
) -> Result<(), openzfs::Error> {
    let beside = visit::Side::new(scope, wanted, &pool_status(zfs, scope)?);
    let mut visitor = Visitor::new(zfs, &beside);
    let lzc = Lzc::open()?;
    for name in volumes.iter().filter_map(|path| path.below(&side.top).ok()) {
        visitor.look_beside(&name, lzc);
    }
    side.leftovers = visitor.found.leftovers;
    Ok(())
}

/// Adds everything else that both sides hold, if one of `volumes` has no copy under its name although
/// it has a history: the copy may have another name. Only then, since this reads every history.
pub fn add_others(
    zfs: &Libzfs,
    scopes: &[Scope; 2],
    (source, target): (&mut Side, &mut Side),
    volumes: &[VolumePath],
) -> Result<(), openzfs::Error> {
    let alone: Vec<&VolumePath> = volumes
        .iter()
        .filter(|volume| !has_its_copy(source, target, volume))
        .collect();
    if alone.is_empty() {
        return Ok(());
    }
    // A copy that gets another name is read again by that name, which would not add what was left out.
    list_in_full(zfs, source, &alone);
    list_in_full(zfs, target, &alone);
    log::debug!("everything is listed: some volumes have no copy under their names");
    for (scope, side) in scopes.iter().zip([source, target]) {
        let everything = Wanted {
            roots: &[],
            recursive: true,
            histories: Histories::All,
            whole: true,
        };
        let status = pool_status(zfs, scope)?;
        let visits = visit::Side::new(scope, everything, &status);
        let mut visitor = Visitor::new(zfs, &visits);
        if let Some(top) = zfs.dataset(&side.top)? {
            visitor.visit_all(&top);
        }
        let mut found = visitor.found.datasets;
        found.retain(|name, _| !side.datasets.contains_key(name));
        found.values_mut().for_each(proof::sift);
        side.others = found;
    }
    Ok(())
}

/// True if both sides of a volume have something in common, or if there is no history to look for.
fn has_its_copy(source: &Side, target: &Side, volume: &VolumePath) -> bool {
    let knows = |source: &Dataset, guid: Guid| {
        let doubtful = &source.doubtful;
        source.snapshot(guid).is_some()
            || source.bookmark(guid).is_some()
            || doubtful.iter().any(|bookmark| bookmark.guid == guid)
    };
    match (of_volume(source, volume), of_volume(target, volume)) {
        (None, None) => true,
        (None, Some(target)) => target.snapshots.is_empty(),
        (Some(source), None) => {
            source.snapshots.is_empty() && source.bookmarks.is_empty() && source.doubtful.is_empty()
        }
        (Some(source), Some(target)) => {
            let mut history = target.snapshots.iter().rev();
            history.any(|snapshot| knows(source, snapshot.guid))
        }
    }
}

fn features(pool: &PoolStatus) -> Features {
    let has = |name: &str| pool.features.contains(name);
    Features {
        embedded_data: has("embedded_data"),
        large_blocks: has("large_blocks"),
        lz4_compress: has("lz4_compress"),
        zstd_compress: has("zstd_compress"),
        encryption: has("encryption"),
        bookmarks: has("bookmarks"),
        bookmark_v2: has("bookmark_v2"),
        bookmark_written: has("bookmark_written"),
        extensible_dataset: has("extensible_dataset"),
        large_dnode: has("large_dnode"),
        large_microzap: has("large_microzap"),
        longname: has("longname"),
    }
}

fn used_features(pool: &PoolStatus) -> BTreeSet<StreamFeature> {
    let is_used = |feature: &StreamFeature| pool.active_features.contains(feature.name());
    StreamFeature::ALL.into_iter().filter(is_used).collect()
}
