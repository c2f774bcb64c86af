//! Reading what is to be known of one dataset.
//!
//! Opening a dataset, or listing its parent, also brings its properties: reading them costs no
//! further call. A volume's history, which takes a few more calls, is read at once.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{
    Bookmark, Createtxg, DatasetKind, DatasetName, Libzfs, Lzc, PoolStatus, Properties,
    PropertySource, ResumeState, Snapshot, SnapshotName,
};

use super::read::{Scope, Wanted};
use super::stream_features;
use crate::model::VolumePath;
use crate::model::ledger;
use crate::model::marks::{ARRIVING_SUFFIX, EMPTY_BOOKMARK, PLACEHOLDER_PROPERTY, REPLACED_SUFFIX};
use crate::model::{Dataset, WrappingKey};

/// What all visitors of one side share.
pub(super) struct Side<'a> {
    scope: &'a Scope,
    wanted: Wanted<'a>,
    log_reset_bytes: u64,
}

impl<'a> Side<'a> {
    pub fn new(scope: &'a Scope, wanted: Wanted<'a>, pool: &PoolStatus) -> Self {
        Self {
            scope,
            wanted,
            log_reset_bytes: log_reset_bytes(pool),
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
    /// Those that could not be read, and why.
    pub unreadable: BTreeMap<DatasetName, String>,
    /// What unfinished replacements have left beside the datasets that were visited by name.
    pub leftovers: BTreeSet<DatasetName>,
    /// `available` of the scope's top, or of the nearest dataset above it that exists.
    pub free_bytes: Option<u64>,
}

impl Found {
    /// Adds what another visitor found.
    pub fn add(&mut self, other: Self) {
        self.datasets.extend(other.datasets);
        self.unreadable.extend(other.unreadable);
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

    /// Visits a dataset and all those below it. What cannot be read is noted, and the others are still read.
    pub fn visit_all(&mut self, dataset: &openzfs::Dataset) {
        self.visit(dataset);
        let mut has_children = false;
        let listed = dataset.each_child(|child| {
            has_children = true;
            self.visit_all(&child);
            Ok::<_, openzfs::Error>(())
        });
        if let Err(error) = listed {
            self.fail(dataset.name(), &error);
        }
        if let Some(visited) = self.found.datasets.get_mut(dataset.name()) {
            visited.has_children = has_children;
        }
    }

    /// Visits one dataset. This does not tell whether it has children.
    pub fn visit(&mut self, dataset: &openzfs::Dataset) {
        let name = dataset.name();
        let properties = dataset.reported_properties();
        // Parents come before children: the last one that is at or above the top is the nearest.
        if self.side.scope.top.is_within(name)
            && let Some(available) = properties.number("available")
        {
            self.found.free_bytes = Some(available);
        }
        match self.facts(dataset, &properties) {
            Ok(facts) => {
                self.found.datasets.insert(name.clone(), facts);
            }
            Err(error) => self.fail(name, &error),
        }
    }

    /// Visits the dataset of that name, if there is one.
    pub fn visit_by_name(&mut self, name: &DatasetName) {
        match self.zfs.dataset(name) {
            Ok(Some(dataset)) => self.visit(&dataset),
            Ok(None) => {}
            Err(error) => self.fail(name, &error),
        }
    }

    /// Notes what cannot be read. What was destroyed meanwhile counts as absent.
    pub fn fail(&mut self, name: &DatasetName, error: &openzfs::Error) {
        self.found.datasets.remove(name);
        if Lzc::open().is_ok_and(|lzc| !lzc.exists(name.as_str())) {
            log::info!("{name} went while it was looked at: {error}");
            return;
        }
        log::warn!("{name} cannot be read: {error}");
        let unreadable = &mut self.found.unreadable;
        unreadable.insert(name.clone(), error.to_string());
    }

    /// Looks for what an unfinished replacement has left beside a dataset.
    pub fn look_beside(&mut self, name: &DatasetName, lzc: Lzc) {
        let beside = [ARRIVING_SUFFIX, REPLACED_SUFFIX].map(|suffix| format!("{name}{suffix}"));
        let there = beside.into_iter().filter(|name| lzc.exists(name));
        let names = there.filter_map(|name| DatasetName::new(&name).ok());
        self.found.leftovers.extend(names);
    }

    fn facts(
        &self,
        dataset: &openzfs::Dataset,
        properties: &Properties,
    ) -> Result<Dataset, openzfs::Error> {
        let name = dataset.name();
        let path = name.below(&self.side.scope.top).map(VolumePath::new);
        let placeholder = is_empty_placeholder(dataset, properties, self.side.log_reset_bytes);
        let histories = self.side.wanted.histories;
        let (bookmarks, listed_from, snapshots) = match path {
            Some(Ok(path)) if histories.take(&path) => {
                let bookmarks = dataset.bookmarks(None)?;
                // For a placeholder any snapshot matters, however old.
                let from = if self.side.wanted.whole || placeholder {
                    Createtxg::default()
                } else {
                    self.ledger_base(&bookmarks)
                };
                let mut snapshots = self.snapshots_from(from, dataset, properties)?;
                if self.side.scope.peer.is_host() {
                    snapshots.iter_mut().for_each(count_what_was_received);
                }
                (bookmarks, from, snapshots)
            }
            _ => Default::default(),
        };
        let written_bytes = properties.number("written").unwrap_or(0);
        Ok(Dataset {
            name: name.clone(),
            guid: dataset.guid(),
            createtxg: Createtxg(properties.number("createtxg").unwrap_or(0)),
            objset: dataset.objset(),
            kind: dataset.kind(),
            snapshots,
            listed_from,
            bookmarks,
            doubtful: Vec::new(),
            past: None,
            resume: resume_state(self.zfs, properties),
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
            activity: None,
            atime: dataset.kind() == DatasetKind::Filesystem
                && properties.value("atime") != Some("off"),
            local_properties: properties
                .local()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            own_properties: own_properties(properties),
            file_properties: super::file_properties(dataset.kind(), properties)?,
            may_use: stream_features::by_properties(properties),
            peer_lacks: BTreeSet::new(),
            is_split: false,
            logical_bytes: properties.number("logicalreferenced").unwrap_or(0),
            available_bytes: properties.number("available").unwrap_or(u64::MAX),
            key: wrapping_key(properties),
        })
    }

    /// The snapshots that were made in this transaction group or later. Mostly there is none, or only
    /// the base itself: then the newest snapshot tells, and the kernel need not go through all of them.
    fn snapshots_from(
        &self,
        from: Createtxg,
        dataset: &openzfs::Dataset,
        properties: &Properties,
    ) -> Result<Vec<Snapshot>, openzfs::Error> {
        if from == Createtxg::default() {
            return dataset.snapshots(None);
        }
        match self.newest_snapshot(dataset, properties) {
            Ok(Some(newest)) if newest.createtxg == from => Ok(vec![newest]),
            Ok(Some(newest)) if newest.createtxg < from => Ok(Vec::new()),
            // A snapshot that cannot be opened does not matter if it is older than what is wanted.
            _ => dataset.snapshots(Some(from)),
        }
    }

    /// The newest of a dataset's own snapshots, which its `prevsnap` names. In a clone without
    /// snapshots that is the origin, which belongs to another dataset.
    fn newest_snapshot(
        &self,
        dataset: &openzfs::Dataset,
        properties: &Properties,
    ) -> Result<Option<Snapshot>, openzfs::Error> {
        let name = properties
            .value("prevsnap")
            .and_then(|name| SnapshotName::new(name).ok())
            .filter(|name| name.dataset() == *dataset.name());
        match name {
            Some(name) => self.zfs.snapshot(&name),
            None => Ok(None),
        }
    }

    /// The point that the peer had reached at the last visit, by the ledger; zero without a ledger.
    fn ledger_base(&self, bookmarks: &[Bookmark]) -> Createtxg {
        bookmarks
            .iter()
            .filter_map(|bookmark| ledger::parse(bookmark.name.short()))
            .filter(|(of, _)| self.side.scope.peer.may_be(*of))
            .map(|(_, createtxg)| createtxg)
            .max()
            .unwrap_or_default()
    }
}

/// On a disk a mark counts even if a stream has brought it: somebody has moved all copies to a larger disk
/// (`zfs send -R`), and retention is to go on there. On a host such a mark would let the disk decide.
fn count_what_was_received(snapshot: &mut Snapshot) {
    for (name, value) in std::mem::take(&mut snapshot.received_properties) {
        snapshot.user_properties.entry(name).or_insert(value);
    }
}

/// The properties set on the dataset itself, whoever has set them.
fn own_properties(properties: &Properties) -> BTreeMap<String, String> {
    let is_own = |source| matches!(source, &PropertySource::Local | &PropertySource::Received);
    let own = properties
        .iter()
        .filter(|(_, property)| is_own(&property.source));
    own.map(|(name, property)| (name.to_owned(), property.value.clone()))
        .collect()
}

/// The key of a dataset; `None` for a clear dataset.
fn wrapping_key(properties: &Properties) -> Option<WrappingKey> {
    Some(WrappingKey {
        root: DatasetName::new(properties.value("encryptionroot")?).ok()?,
        salt: properties.number("pbkdf2salt").filter(|&salt| salt != 0),
        wrapped: None,
        heirs: Vec::new(),
    })
}

/// The point from which an interrupted receive into the dataset with these properties can be resumed. If its
/// token cannot be read, its owner is unknown and it cannot be resumed.
pub fn resume_state(zfs: &Libzfs, properties: &Properties) -> Option<ResumeState> {
    let token = properties
        .value("receive_resume_token")
        .filter(|token| !token.is_empty() && *token != "-")?;
    let state = zfs.decode_resume_token(token).unwrap_or_else(|error| {
        log::warn!("an interrupted receive cannot be placed: {error}");
        ResumeState::unreadable(token)
    });
    Some(state)
}

/// True if zbackup made a dataset only to be a parent. A mark that is inherited does not count.
fn is_placeholder(properties: &Properties) -> bool {
    properties
        .get(PLACEHOLDER_PROPERTY)
        .is_some_and(|mark| mark.source == PropertySource::Local && mark.value == "yes")
}

/// True if a dataset is a placeholder that nobody has used: it is not mounted, and at most its
/// intent log was reset since it was made. If the pool cannot tell, it counts as used.
pub fn is_empty_placeholder(
    dataset: &openzfs::Dataset,
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

/// Bytes that `written` can show although nothing was written.
///
/// A volume whose intent log was in use has it reset at the next mount or import. That rewrites one
/// block, the volume's root, in at most three copies of two sectors each. A change to an object also
/// rewrites the six levels of blocks above it, which is more. The kernel knows the difference too:
/// an unforced receive works if only the log was reset, and is refused if anything was written.
pub fn log_reset_bytes(pool: &PoolStatus) -> u64 {
    3 * 2 * pool.sector_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use openzfs::Property;

    #[test]
    fn what_a_stream_brought_is_a_datasets_own_too() {
        let from = |name: &str, source| {
            let value = "x".into();
            (name.to_owned(), Property { value, source })
        };
        let properties = Properties::from_iter([
            from("mountpoint", PropertySource::Local),
            from("quota", PropertySource::Received),
            from("acltype", PropertySource::Inherited("tank".into())),
            from("used", PropertySource::None),
            from("org.me:note", PropertySource::Received),
            from("org.me:other", PropertySource::Inherited("tank".into())),
        ]);
        let own = own_properties(&properties);
        let names: Vec<_> = own.into_keys().collect();
        assert_eq!(names, ["mountpoint", "org.me:note", "quota"]);
    }
}
