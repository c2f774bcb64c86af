//! Reading both sides of a run from the kernel.
//!
//! Both are read at the same time, each by its own thread.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use super::settle::settle;
use super::visit::Visitor;
use super::{ARRIVING_SUFFIX, Dataset, EMPTY_PLACEHOLDER_BYTES, Features, REPLACED_SUFFIX, Side};
use crate::name::{Createtxg, DatasetName, Guid, PoolName, VolumePath};
use crate::zfs::{self, Libzfs, Lzc, PoolStatus};

/// A pool whose part below `top` is to be read.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The pool.
    pub pool: PoolName,
    /// Where its volumes live.
    pub top: DatasetName,
    /// The other pool of this run: its ledger bookmarks say from where on snapshots matter.
    pub peer: Guid,
}

/// What a side is read for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// These volumes …
    pub roots: &'a [VolumePath],
    /// … and all that is below them.
    pub recursive: bool,
    /// Which of these need their snapshots and bookmarks.
    pub history: &'a (dyn Fn(&VolumePath) -> bool + Sync),
    /// Every snapshot, not only what is newer than the peer's newest ledger bookmark.
    pub whole: bool,
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
    Zfs(#[from] zfs::Error),
}

/// Settles the host's pool and reads both sides at the same time; `zfs` reads the disk.
pub fn both(
    zfs: &Libzfs,
    host: &Scope,
    disk: &Scope,
    wanted: Wanted,
) -> Result<(Side, Side), ReadError> {
    let (host, disk) = thread::scope(|threads| {
        // A handle belongs to one thread.
        let reading = threads.spawn(|| settled(&Libzfs::open()?, host, wanted));
        let disk = side(zfs, disk, wanted);
        let host = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
        (host, disk)
    });
    Ok((host?, disk?))
}

fn settled(zfs: &Libzfs, host: &Scope, wanted: Wanted) -> Result<Side, ReadError> {
    settle(&host.pool, Lzc::open()?).map_err(|why| ReadError::Settle {
        pool: host.pool.clone(),
        why,
    })?;
    Ok(side(zfs, host, wanted)?)
}

/// Reads one side: the pool's root, the roots that are wanted with everything above them, and all
/// below them where that is wanted.
pub fn side(zfs: &Libzfs, scope: &Scope, wanted: Wanted) -> Result<Side, zfs::Error> {
    let status = pool_status(zfs, scope)?;
    let roots: BTreeSet<DatasetName> = wanted
        .roots
        .iter()
        .filter_map(|root| root.below(&scope.top).ok())
        .collect();
    let mut visitor = Visitor::new(zfs, scope, wanted, &status);
    for name in with_ancestors(&scope.top, wanted.roots) {
        if !visitor.datasets.contains_key(&name)
            && let Some(dataset) = zfs.dataset(&name)?
        {
            visitor.visit(&dataset, wanted.recursive && roots.contains(&name))?;
        }
    }
    Ok(Side {
        pool: scope.pool.clone(),
        pool_guid: status.guid,
        top: scope.top.clone(),
        free_bytes: visitor.free_bytes,
        features: features(&status),
        leftovers: BTreeSet::new(),
        datasets: visitor.datasets,
    })
}

fn pool_status(zfs: &Libzfs, scope: &Scope) -> Result<PoolStatus, zfs::Error> {
    zfs.pool(&scope.pool)?
        .ok_or_else(|| zfs::Error::not_found(scope.pool.as_str()))?
        .status()
}

/// Names, relative to the side's top, of all datasets that were read below it. Those that zbackup
/// made only to be parents, and that nobody has used since, are no volumes and left out.
pub fn volume_paths(side: &Side) -> BTreeSet<VolumePath> {
    let volumes = side.datasets.values().filter(|one| !is_mere_parent(one));
    volumes
        .filter_map(|dataset| VolumePath::new(dataset.name.below(&side.top)?).ok())
        .collect()
}

/// Leaves out what is neither one of `volumes` nor above one.
pub fn keep_only(side: &mut Side, volumes: &[VolumePath]) {
    let names = with_ancestors(&side.top, volumes);
    side.datasets.retain(|name, _| names.contains(name));
}

/// Lists in full the histories of those `volumes` whose listed parts do not show what both sides
/// have in common, and all that is newer.
pub fn complete(
    zfs: &Libzfs,
    source: &mut Side,
    target: &mut Side,
    volumes: &[VolumePath],
) -> Result<(), zfs::Error> {
    let unclear: Vec<&VolumePath> = volumes
        .iter()
        .filter(|volume| !agrees(source, target, volume))
        .collect();
    if !unclear.is_empty() {
        log::debug!(
            "{} volumes are listed in full: their ledger does not tell the base",
            unclear.len()
        );
    }
    for side in [source, target] {
        let names = unclear.iter().filter_map(|path| path.below(&side.top).ok());
        for name in names {
            if let Some(dataset) = side.datasets.get_mut(&name)
                && dataset.listed_from > Createtxg::default()
                && let Some(open) = zfs.dataset(&name)?
            {
                dataset.snapshots = open.snapshots(None)?;
                dataset.listed_from = Createtxg::default();
            }
        }
    }
    Ok(())
}

/// True where the listed parts of a volume's histories show its base, and all that is newer: the
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

/// Adds what `--keep-both` has to know of a volume's target: all that is below it, which a rename
/// takes along, and the names beside it that are taken already.
pub fn add_surroundings(
    zfs: &Libzfs,
    scope: &Scope,
    keep_both: &[VolumePath],
    side: &mut Side,
) -> Result<(), zfs::Error> {
    let without_history = Wanted {
        roots: keep_both,
        recursive: true,
        history: &|_| false,
        whole: false,
    };
    if keep_both.is_empty() {
        return Ok(());
    }
    let status = pool_status(zfs, scope)?;
    for volume in keep_both {
        let Ok(target) = side.name_of(volume) else {
            continue;
        };
        let parent = target.parent().map(|parent| zfs.dataset(&parent));
        let Some(parent) = parent.transpose()?.flatten() else {
            continue;
        };
        let mut visitor = Visitor::new(zfs, scope, without_history, &status);
        let kept = format!("{target}-kept-");
        parent.each_child(|child| {
            let is_target = *child.name() == target;
            if is_target || child.name().as_str().starts_with(&kept) {
                visitor.visit(&child, is_target)?;
            }
            Ok::<_, zfs::Error>(())
        })?;
        for (name, dataset) in visitor.datasets {
            side.datasets.entry(name).or_insert(dataset);
        }
    }
    Ok(())
}

/// Adds what replacements that died on the way have left beside the volumes of a target: as far as
/// its listing shows it, and beside the `roots` of that.
pub fn add_leftovers(side: &mut Side, roots: &[VolumePath], lzc: Lzc) {
    let is_leftover = |name: &&DatasetName| {
        [ARRIVING_SUFFIX, REPLACED_SUFFIX]
            .iter()
            .any(|suffix| name.as_str().ends_with(suffix))
    };
    let listed = side.datasets.keys().filter(is_leftover).cloned();
    let beside = roots
        .iter()
        .filter_map(|root| root.below(&side.top).ok())
        .flat_map(|root| [ARRIVING_SUFFIX, REPLACED_SUFFIX].map(|suffix| format!("{root}{suffix}")))
        .filter_map(|name| DatasetName::new(&name).ok())
        .filter(|name| lzc.exists(name.as_str()));
    side.leftovers = listed.chain(beside).collect();
}

fn is_mere_parent(dataset: &Dataset) -> bool {
    dataset.placeholder
        && dataset.referenced_bytes <= EMPTY_PLACEHOLDER_BYTES
        && dataset.snapshots.is_empty()
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
    }
}
