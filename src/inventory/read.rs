//! Reading one side of a run from the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Dataset, EMPTY_PLACEHOLDER_BYTES, Features, PLACEHOLDER_PROPERTY, Side};
use crate::disk::mounts;
use crate::name::{Createtxg, DatasetName, Guid, PoolName, VolumePath};
use crate::plan::ledger;
use crate::snapshot::ResumeState;
use crate::zfs::{self, Libzfs, PoolStatus, Properties, PropertySource};

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

/// Where a broken-off receive into the dataset with these properties can go on.
pub fn resume_state(
    zfs: &Libzfs,
    properties: &Properties,
) -> Result<Option<ResumeState>, zfs::Error> {
    let token = properties
        .value("receive_resume_token")
        .filter(|token| !token.is_empty() && *token != "-");
    token
        .map(|token| zfs.decode_resume_token(token))
        .transpose()
}

/// True where zbackup made a dataset only to be a parent. A mark that is inherited does not count.
pub fn is_placeholder(properties: &Properties) -> bool {
    properties
        .get(PLACEHOLDER_PROPERTY)
        .is_some_and(|mark| mark.source == PropertySource::Local && mark.value == "yes")
}

/// Names, relative to the side's top, of all datasets that exist below it. Those that zbackup made
/// only to be parents, and that nobody has used since, are no volumes and left out.
pub fn volume_paths(zfs: &Libzfs, scope: &Scope) -> Result<BTreeSet<VolumePath>, zfs::Error> {
    let mut paths = BTreeSet::new();
    if let Some(top) = zfs.dataset(&scope.top)? {
        collect_paths(&top, &scope.top, &mut paths)?;
    }
    Ok(paths)
}

fn collect_paths(
    dataset: &zfs::Dataset,
    top: &DatasetName,
    paths: &mut BTreeSet<VolumePath>,
) -> Result<(), zfs::Error> {
    for child in dataset.children()? {
        // A name that is no volume path belongs to ZFS itself (`%recv`).
        if let Some(Ok(path)) = child.name().below(top).map(VolumePath::new)
            && !is_mere_parent(&child)?
        {
            paths.insert(path);
        }
        collect_paths(&child, top, paths)?;
    }
    Ok(())
}

fn is_mere_parent(dataset: &zfs::Dataset) -> Result<bool, zfs::Error> {
    if !is_placeholder(&dataset.user_properties()) {
        return Ok(false);
    }
    let referenced_bytes = dataset.properties().number("referenced");
    Ok(
        referenced_bytes.is_some_and(|bytes| bytes <= EMPTY_PLACEHOLDER_BYTES)
            && dataset.snapshots(None)?.is_empty(),
    )
}

/// Reads both sides of a run.
///
/// Only what is newer than the ledger's base is listed, and everything of those volumes where that
/// does not show what both sides have in common; `whole` lists everything at once.
pub fn both(
    zfs: &Libzfs,
    source: &Scope,
    target: &Scope,
    volumes: &[VolumePath],
    whole: bool,
) -> Result<(Side, Side), zfs::Error> {
    let mut sides = (
        side(zfs, source, volumes, !whole)?,
        side(zfs, target, volumes, !whole)?,
    );
    if whole {
        return Ok(sides);
    }
    let unclear: Vec<VolumePath> = volumes
        .iter()
        .filter(|volume| !agrees(&sides.0, &sides.1, volume))
        .cloned()
        .collect();
    if !unclear.is_empty() {
        log::debug!(
            "{} volumes are listed in full: their ledger does not tell the base",
            unclear.len()
        );
        sides.0.datasets.extend(
            side(zfs, source, &unclear, false)?
                .datasets
                .into_iter()
                .filter(|(name, _)| is_one_of(name, source, &unclear)),
        );
        sides.1.datasets.extend(
            side(zfs, target, &unclear, false)?
                .datasets
                .into_iter()
                .filter(|(name, _)| is_one_of(name, target, &unclear)),
        );
    }
    Ok(sides)
}

fn is_one_of(name: &DatasetName, scope: &Scope, volumes: &[VolumePath]) -> bool {
    volumes
        .iter()
        .any(|volume| volume.below(&scope.top).as_ref() == Ok(name))
}

/// True where the listed parts of a volume's histories show its base, and all that is newer: the
/// target's newest snapshot is known to the source. It can be older than the source's newest ledger
/// bookmark, since a run bookmarks what it is about to send, and may not have got that far.
fn agrees(source: &Side, target: &Side, volume: &VolumePath) -> bool {
    let find = |side: &'_ Side| {
        side.name_of(volume)
            .ok()
            .and_then(|name| side.dataset(&name).cloned())
    };
    let (Some(source), Some(target)) = (find(source), find(target)) else {
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

/// Reads the volumes of one side, with everything above them.
///
/// Snapshots older than the peer's newest ledger bookmark are left out where `from_ledger` is set.
pub fn side(
    zfs: &Libzfs,
    scope: &Scope,
    volumes: &[VolumePath],
    from_ledger: bool,
) -> Result<Side, zfs::Error> {
    let status = zfs
        .pool(&scope.pool)?
        .ok_or_else(|| zfs::Error::not_found(scope.pool.as_str()))?
        .status()?;
    let mounted: BTreeMap<DatasetName, PathBuf> = mounts::of_pool(&scope.pool)
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut datasets = BTreeMap::new();
    for name in names_to_read(scope, volumes) {
        if let Some(dataset) = zfs.dataset(&name)? {
            let history = volumes
                .iter()
                .any(|volume| volume.below(&scope.top).as_ref() == Ok(&name));
            let reader = Reader {
                zfs,
                dataset: &dataset,
                peer: scope.peer,
            };
            let mut read = reader.read(history, from_ledger)?;
            if read.written_bytes <= log_reset_bytes(&status) {
                read.written_bytes = 0;
            }
            read.mounted_at = mounted.get(&name).cloned();
            datasets.insert(name, read);
        }
    }
    let free_bytes = free_bytes(zfs, &scope.top)?.unwrap_or(status.free_bytes);
    Ok(Side {
        pool: scope.pool.clone(),
        pool_guid: status.guid,
        top: scope.top.clone(),
        free_bytes,
        features: features(&status),
        datasets,
    })
}

/// Adds what `--keep-both` has to know of a volume's target: all that is below it, which a rename
/// takes along, and the names beside it that are taken already.
pub fn add_surroundings(
    zfs: &Libzfs,
    scope: &Scope,
    keep_both: &[VolumePath],
    side: &mut Side,
) -> Result<(), zfs::Error> {
    for target in keep_both
        .iter()
        .filter_map(|path| path.below(&scope.top).ok())
    {
        let Some(parent) = target.parent() else {
            continue;
        };
        let Some(parent) = zfs.dataset(&parent)? else {
            continue;
        };
        let kept = format!("{target}-kept-");
        for dataset in parent.children()? {
            if *dataset.name() == target {
                add_children(zfs, scope, &dataset, side)?;
            } else if dataset.name().as_str().starts_with(&kept) {
                add(zfs, scope, &dataset, side)?;
            }
        }
    }
    Ok(())
}

fn add_children(
    zfs: &Libzfs,
    scope: &Scope,
    dataset: &zfs::Dataset,
    side: &mut Side,
) -> Result<(), zfs::Error> {
    for child in dataset.children()? {
        add(zfs, scope, &child, side)?;
        add_children(zfs, scope, &child, side)?;
    }
    Ok(())
}

/// Adds a dataset without its history, unless the side knows it already.
fn add(
    zfs: &Libzfs,
    scope: &Scope,
    dataset: &zfs::Dataset,
    side: &mut Side,
) -> Result<(), zfs::Error> {
    if side.dataset(dataset.name()).is_none() {
        let reader = Reader {
            zfs,
            dataset,
            peer: scope.peer,
        };
        let read = reader.read(false, false)?;
        side.datasets.insert(dataset.name().clone(), read);
    }
    Ok(())
}

/// The volumes and all datasets above them, each once.
fn names_to_read(scope: &Scope, volumes: &[VolumePath]) -> BTreeSet<DatasetName> {
    let mut names = BTreeSet::from([scope.pool.root(), scope.top.clone()]);
    for name in volumes
        .iter()
        .filter_map(|volume| volume.below(&scope.top).ok())
    {
        names.extend(name.ancestors());
        names.insert(name);
    }
    names
}

/// `available` of `top`, or of the nearest dataset above it that exists.
fn free_bytes(zfs: &Libzfs, top: &DatasetName) -> Result<Option<u64>, zfs::Error> {
    for name in std::iter::successors(Some(top.clone()), DatasetName::parent) {
        if let Some(dataset) = zfs.dataset(&name)? {
            return Ok(dataset.properties().number("available"));
        }
    }
    Ok(None)
}

/// What `written` can show although nothing was written.
///
/// A volume whose intent log was in use has it reset at the next mount or import. That rewrites
/// one block, the volume's root, in at most three copies of two sectors each. Whatever changes an
/// object rewrites the six levels of blocks above it as well, which is more. The kernel knows the
/// difference too: a receive that is not forced goes on where only the log was reset, and is
/// refused where anything was written.
fn log_reset_bytes(pool: &PoolStatus) -> u64 {
    3 * 2 * pool.sector_bytes
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

struct Reader<'a, 'h> {
    zfs: &'a Libzfs,
    dataset: &'a zfs::Dataset<'h>,
    peer: Guid,
}

impl Reader<'_, '_> {
    fn read(&self, history: bool, from_ledger: bool) -> Result<Dataset, zfs::Error> {
        let properties = self.dataset.properties();
        let bookmarks = if history {
            self.dataset.bookmarks(None)?
        } else {
            Vec::new()
        };
        let listed_from = if from_ledger {
            self.ledger_base(&bookmarks)
        } else {
            Createtxg::default()
        };
        let snapshots = if history {
            self.dataset
                .snapshots((listed_from > Createtxg::default()).then_some(listed_from))?
        } else {
            Vec::new()
        };
        let resume = resume_state(self.zfs, &properties)?;
        let written_bytes = properties.number("written").unwrap_or(0);
        Ok(Dataset {
            name: self.dataset.name().clone(),
            guid: self.dataset.guid(),
            kind: self.dataset.kind(),
            snapshots,
            listed_from,
            bookmarks,
            resume,
            inconsistent: self.dataset.is_inconsistent(),
            encrypted: properties
                .value("encryption")
                .is_some_and(|value| value != "off"),
            written_bytes,
            referenced_bytes: properties.number("referenced").unwrap_or(0),
            placeholder: is_placeholder(&properties),
            has_children: !self.dataset.children()?.is_empty(),
            mounted_at: None,
            atime: properties.value("atime") == Some("on"),
            local_properties: properties
                .local()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    /// Where the ledger says that the peer was at the last visit; zero without a ledger.
    fn ledger_base(&self, bookmarks: &[crate::snapshot::Bookmark]) -> Createtxg {
        bookmarks
            .iter()
            .filter_map(|bookmark| ledger::parse(bookmark.name.short()))
            .filter(|(peer, _)| *peer == self.peer)
            .map(|(_, createtxg)| createtxg)
            .max()
            .unwrap_or_default()
    }
}
