//! What a listing's visit to one dataset tells.
//!
//! A listing opens each dataset for its visitor: what came with the handle costs no further call,
//! and a volume's history, a few calls more, is read then and there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::read::{Scope, Wanted};
use super::{Dataset, PLACEHOLDER_PROPERTY};
use crate::disk::mounts;
use crate::name::{Createtxg, DatasetName, VolumePath};
use crate::plan::ledger;
use crate::snapshot::{Bookmark, DatasetKind, ResumeState};
use crate::zfs::{self, Libzfs, PoolStatus, Properties, PropertySource};

/// Collects one side's datasets.
pub(super) struct Visitor<'a> {
    zfs: &'a Libzfs,
    scope: &'a Scope,
    wanted: Wanted<'a>,
    log_reset_bytes: u64,
    mounted: BTreeMap<DatasetName, PathBuf>,
    /// What was visited.
    pub datasets: BTreeMap<DatasetName, Dataset>,
    /// `available` of the scope's top, or of the nearest dataset above it that exists.
    pub free_bytes: u64,
}

impl<'a> Visitor<'a> {
    pub fn new(zfs: &'a Libzfs, scope: &'a Scope, wanted: Wanted<'a>, pool: &PoolStatus) -> Self {
        Self {
            zfs,
            scope,
            wanted,
            log_reset_bytes: log_reset_bytes(pool),
            mounted: mounts::of_pool(&scope.pool)
                .unwrap_or_default()
                .into_iter()
                .collect(),
            datasets: BTreeMap::new(),
            free_bytes: pool.free_bytes,
        }
    }

    /// Takes down one dataset, and with `below` all that are below it.
    pub fn visit(&mut self, dataset: &zfs::Dataset, below: bool) -> Result<(), zfs::Error> {
        let name = dataset.name().clone();
        let properties = dataset.reported_properties();
        // Parents come before children: the last one that is at or above the top is the nearest.
        if self.scope.top.is_within(&name)
            && let Some(available) = properties.number("available")
        {
            self.free_bytes = available;
        }
        let facts = self.facts(dataset, &properties)?;
        self.datasets.insert(name.clone(), facts);
        let mut has_children = false;
        if below {
            dataset.each_child(|child| {
                has_children = true;
                self.visit(&child, below)
            })?;
        } else {
            has_children = dataset.has_children()?;
        }
        if let Some(visited) = self.datasets.get_mut(&name) {
            visited.has_children = has_children;
        }
        Ok(())
    }

    fn facts(
        &self,
        dataset: &zfs::Dataset,
        properties: &Properties,
    ) -> Result<Dataset, zfs::Error> {
        let name = dataset.name();
        let path = name.below(&self.scope.top).map(VolumePath::new);
        let placeholder = is_placeholder(properties);
        let (bookmarks, listed_from, snapshots) = match path {
            Some(Ok(path)) if (self.wanted.history)(&path) => {
                let bookmarks = dataset.bookmarks(None)?;
                // Of a placeholder it matters whether there are any at all.
                let from = if self.wanted.whole || placeholder {
                    Createtxg::default()
                } else {
                    self.ledger_base(&bookmarks)
                };
                let snapshots = dataset.snapshots((from > Createtxg::default()).then_some(from))?;
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
            written_bytes: if written_bytes <= self.log_reset_bytes {
                0
            } else {
                written_bytes
            },
            referenced_bytes: properties.number("referenced").unwrap_or(0),
            placeholder,
            has_children: false,
            mounted_at: self.mounted.get(name).cloned(),
            atime: dataset.kind() == DatasetKind::Filesystem
                && properties.value("atime") != Some("off"),
            local_properties: properties
                .local()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    /// Where the ledger says that the peer was at the last visit; zero without a ledger.
    fn ledger_base(&self, bookmarks: &[Bookmark]) -> Createtxg {
        bookmarks
            .iter()
            .filter_map(|bookmark| ledger::parse(bookmark.name.short()))
            .filter(|(peer, _)| *peer == self.scope.peer)
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
pub fn is_placeholder(properties: &Properties) -> bool {
    properties
        .get(PLACEHOLDER_PROPERTY)
        .is_some_and(|mark| mark.source == PropertySource::Local && mark.value == "yes")
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
