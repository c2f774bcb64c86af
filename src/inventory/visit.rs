//! What a visit to one dataset tells.
//!
//! Opening a dataset, or listing its parent, brings its properties along: reading them costs no
//! further call. A volume's history, a few calls more, is read then and there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::read::{Scope, Wanted};
use super::{ARRIVING_SUFFIX, Dataset, EMPTY_BOOKMARK, PLACEHOLDER_PROPERTY, REPLACED_SUFFIX};
use crate::disk::mounts;
use crate::name::{Createtxg, DatasetName, SnapshotName, VolumePath};
use crate::plan::ledger;
use crate::snapshot::{Bookmark, DatasetKind, ResumeState, Snapshot};
use crate::zfs::{self, Libzfs, Lzc, PoolStatus, Properties, PropertySource};

/// What all visitors of one side know.
pub(super) struct Side<'a> {
    scope: &'a Scope,
    wanted: Wanted<'a>,
    log_reset_bytes: u64,
    mounted: BTreeMap<DatasetName, PathBuf>,
}

impl<'a> Side<'a> {
    pub fn new(scope: &'a Scope, wanted: Wanted<'a>, pool: &PoolStatus) -> Self {
        Self {
            scope,
            wanted,
            log_reset_bytes: log_reset_bytes(pool),
            mounted: mounts::of_pool(&scope.pool)
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }
    }
}

/// Visits datasets of one side, with a libzfs of its own.
pub(super) struct Visitor<'a> {
    zfs: &'a Libzfs,
    side: &'a Side<'a>,
    /// What was found.
    pub found: Found,
}

/// What visitors found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every dataset that was visited.
    pub datasets: BTreeMap<DatasetName, Dataset>,
    /// What dead replacements have left beside those that were visited by name.
    pub leftovers: BTreeSet<DatasetName>,
    /// `available` of the scope's top, or of the nearest dataset above it that exists.
    pub free_bytes: Option<u64>,
}

impl Found {
    /// Adds what another visitor found.
    pub fn add(&mut self, other: Self) {
        self.datasets.extend(other.datasets);
        self.leftovers.extend(other.leftovers);
        self.free_bytes = self.free_bytes.or(other.free_bytes);
    }
}

impl<'a> Visitor<'a> {
    pub fn new(zfs: &'a Libzfs, side: &'a Side<'a>) -> Self {
        Self {
            zfs,
            side,
            found: Found::default(),
        }
    }

    /// Visits a dataset and all that are below it.
    pub fn visit_all(&mut self, dataset: &zfs::Dataset) -> Result<(), zfs::Error> {
        self.visit(dataset)?;
        let mut has_children = false;
        dataset.each_child(|child| {
            has_children = true;
            self.visit_all(&child)
        })?;
        if let Some(visited) = self.found.datasets.get_mut(dataset.name()) {
            visited.has_children = has_children;
        }
        Ok(())
    }

    /// Visits one dataset. Whether it has children is not known then.
    pub fn visit(&mut self, dataset: &zfs::Dataset) -> Result<(), zfs::Error> {
        let name = dataset.name();
        let properties = dataset.reported_properties();
        // Parents come before children: the last one that is at or above the top is the nearest.
        if self.side.scope.top.is_within(name)
            && let Some(available) = properties.number("available")
        {
            self.found.free_bytes = Some(available);
        }
        let facts = self.facts(dataset, &properties)?;
        self.found.datasets.insert(name.clone(), facts);
        Ok(())
    }

    /// Looks for what a replacement that died on the way has left beside a dataset.
    pub fn look_beside(&mut self, name: &DatasetName, lzc: Lzc) {
        let beside = [ARRIVING_SUFFIX, REPLACED_SUFFIX].map(|suffix| format!("{name}{suffix}"));
        let there = beside.into_iter().filter(|name| lzc.exists(name));
        let names = there.filter_map(|name| DatasetName::new(&name).ok());
        self.found.leftovers.extend(names);
    }

    fn facts(
        &self,
        dataset: &zfs::Dataset,
        properties: &Properties,
    ) -> Result<Dataset, zfs::Error> {
        let name = dataset.name();
        let path = name.below(&self.side.scope.top).map(VolumePath::new);
        let placeholder = is_empty_placeholder(dataset, properties, self.side.log_reset_bytes);
        let histories = self.side.wanted.histories;
        let (bookmarks, listed_from, snapshots) = match path {
            Some(Ok(path)) if histories.is_some_and(|some| some.takes(&path)) => {
                let bookmarks = dataset.bookmarks(None)?;
                // Of a placeholder it matters whether there are any at all.
                let from = if self.side.wanted.whole || placeholder {
                    Createtxg::default()
                } else {
                    self.ledger_base(&bookmarks)
                };
                let snapshots = self.snapshots_from(from, dataset, properties)?;
                (bookmarks, from, snapshots)
            }
            _ => Default::default(),
        };
        let written_bytes = properties.number("written").unwrap_or(0);
        Ok(Dataset {
            name: name.clone(),
            guid: dataset.guid(),
            kind: dataset.kind(),
            snapshots,
            listed_from,
            bookmarks,
            resume: resume_state(self.zfs, properties)?,
            inconsistent: dataset.is_inconsistent(),
            encrypted: properties
                .value("encryption")
                .is_some_and(|value| value != "off"),
            written_bytes: if written_bytes <= self.side.log_reset_bytes {
                0
            } else {
                written_bytes
            },
            referenced_bytes: properties.number("referenced").unwrap_or(0),
            placeholder,
            has_children: false,
            mounted_at: self.side.mounted.get(name).cloned(),
            atime: dataset.kind() == DatasetKind::Filesystem
                && properties.value("atime") != Some("off"),
            local_properties: properties
                .local()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    /// The snapshots that were made in this transaction group or later. Mostly that is none, or the
    /// base itself: then the newest one tells so, and the kernel need not go through all of them.
    fn snapshots_from(
        &self,
        from: Createtxg,
        dataset: &zfs::Dataset,
        properties: &Properties,
    ) -> Result<Vec<Snapshot>, zfs::Error> {
        if from == Createtxg::default() {
            return dataset.snapshots(None);
        }
        match self.newest_snapshot(dataset, properties) {
            Ok(Some(newest)) if newest.createtxg == from => Ok(vec![newest]),
            Ok(Some(newest)) if newest.createtxg < from => Ok(Vec::new()),
            // One that cannot be opened and is older than what is wanted does not matter.
            _ => dataset.snapshots(Some(from)),
        }
    }

    /// The newest of a dataset's own snapshots, which its `prevsnap` names. In a clone without any,
    /// that is the origin, which is another's.
    fn newest_snapshot(
        &self,
        dataset: &zfs::Dataset,
        properties: &Properties,
    ) -> Result<Option<Snapshot>, zfs::Error> {
        let name = properties
            .value("prevsnap")
            .and_then(|name| SnapshotName::new(name).ok())
            .filter(|name| name.dataset() == *dataset.name());
        match name {
            Some(name) => self.zfs.snapshot(&name),
            None => Ok(None),
        }
    }

    /// Where the ledger says that the peer was at the last visit; zero without a ledger.
    fn ledger_base(&self, bookmarks: &[Bookmark]) -> Createtxg {
        bookmarks
            .iter()
            .filter_map(|bookmark| ledger::parse(bookmark.name.short()))
            .filter(|(peer, _)| *peer == self.side.scope.peer)
            .map(|(_, createtxg)| createtxg)
            .max()
            .unwrap_or_default()
    }
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
fn is_placeholder(properties: &Properties) -> bool {
    properties
        .get(PLACEHOLDER_PROPERTY)
        .is_some_and(|mark| mark.source == PropertySource::Local && mark.value == "yes")
}

/// True where a dataset is a placeholder that nobody has used: it is not mounted, and at most its
/// intent log was reset since it was made. Where the pool cannot tell, it counts as used.
pub fn is_empty_placeholder(
    dataset: &zfs::Dataset,
    properties: &Properties,
    log_reset_bytes: u64,
) -> bool {
    if !is_placeholder(properties) || dataset.is_mounted() {
        return false;
    }
    let written = dataset
        .name()
        .bookmark(EMPTY_BOOKMARK)
        .map_err(|error| error.to_string())
        .and_then(|bookmark| {
            let written = dataset.written_since_bookmark(&bookmark);
            written.map_err(|error| error.to_string())
        });
    match written {
        Ok(written_bytes) => written_bytes <= log_reset_bytes,
        Err(why) => {
            log::debug!(
                "{} is not known to be an empty parent: {why}",
                dataset.name()
            );
            false
        }
    }
}

/// What `written` can show although nothing was written.
///
/// A volume whose intent log was in use has it reset at the next mount or import. That rewrites
/// one block, the volume's root, in at most three copies of two sectors each. Whatever changes an
/// object rewrites the six levels of blocks above it as well, which is more. The kernel knows the
/// difference too: a receive that is not forced goes on where only the log was reset, and is
/// refused where anything was written.
pub fn log_reset_bytes(pool: &PoolStatus) -> u64 {
    3 * 2 * pool.sector_bytes
}
