//! The ZFS of this machine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use openzfs::{
    BatchError, Bookmark, BookmarkName, Cancel, Createtxg, Damage, Dataset, DatasetKind,
    DatasetName, Error, Guid, Libzfs, Lzc, NotApplied, NvList, Pool, PoolHistory, PoolName,
    Progress, Properties, PropertyChange, Received, ResumeState, Snapshot, SnapshotName,
    StreamFeature, Transfer, TransferError, kernel_properties,
};

use super::zfs::{Found, Gauges, Stream, Values, Zfs};
use crate::inventory;
use crate::model::Activity;
use crate::replicate::in_words;
use crate::system::activity;
use crate::system::usage::{check_file_system, check_zvol};

thread_local! {
    static LIBRARY: RefCell<Option<Libzfs>> = const { RefCell::new(None) };
}

/// Each thread that uses this opens a libzfs of its own, which cannot leave the thread and lives until
/// it ends.
#[derive(Debug)]
pub struct OpenZfs(Lzc);

impl OpenZfs {
    /// Uses the pools that are imported now.
    pub fn new(lzc: Lzc) -> Self {
        Self(lzc)
    }
}

impl Drop for OpenZfs {
    /// What this thread's libzfs remembers of pools is stale once other pools are imported.
    fn drop(&mut self) {
        LIBRARY.take();
    }
}

fn library<T>(ask: impl FnOnce(&Libzfs) -> Result<T, Error>) -> Result<T, Error> {
    LIBRARY.with_borrow_mut(|library| match library {
        Some(library) => ask(library),
        None => ask(library.insert(Libzfs::open()?)),
    })
}

/// Asks about a dataset, if it exists.
fn of_dataset<T>(
    name: &DatasetName,
    ask: impl FnOnce(&Dataset) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    library(|zfs| zfs.dataset(name)?.as_ref().map(ask).transpose())
}

/// A dataset that has to exist.
fn existing<'a>(zfs: &'a Libzfs, name: &DatasetName) -> Result<Dataset<'a>, Error> {
    zfs.dataset(name)?
        .ok_or_else(|| Error::not_found(name.as_str()))
}

fn imported<'a>(zfs: &'a Libzfs, name: &PoolName) -> Result<Pool<'a>, Error> {
    zfs.pool(name)?
        .ok_or_else(|| Error::not_found(name.as_str()))
}

fn in_kernels_words(properties: &Values) -> Result<NvList, Error> {
    let pairs = properties.iter();
    kernel_properties(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
}

impl Zfs for OpenZfs {
    fn dataset(&self, name: &DatasetName) -> Result<Option<Found>, Error> {
        of_dataset(name, |found| {
            Ok(Found {
                kind: found.kind(),
                guid: found.guid(),
                objset: found.objset(),
                is_inconsistent: found.is_inconsistent(),
                reported: found.reported_properties(),
            })
        })
    }

    fn properties(&self, name: &DatasetName) -> Result<Option<Properties>, Error> {
        of_dataset(name, |found| Ok(found.properties()))
    }

    fn check_unused(&self, name: &DatasetName, kind: DatasetKind) -> Result<(), String> {
        match kind {
            DatasetKind::Volume => check_zvol(name),
            DatasetKind::Filesystem => check_file_system(name),
        }
        .map_err(String::from)
    }

    fn is_mounted(&self, name: &DatasetName) -> Result<bool, Error> {
        of_dataset(name, |found| Ok(found.is_mounted())).map(Option::unwrap_or_default)
    }

    fn has_children(&self, name: &DatasetName) -> Result<bool, Error> {
        library(|zfs| match zfs.dataset(name)? {
            Some(found) => found.has_children(),
            None => Ok(false),
        })
    }

    fn snapshots(
        &self,
        name: &DatasetName,
        from: Option<Createtxg>,
    ) -> Result<Vec<Snapshot>, Error> {
        of_dataset(name, |found| found.snapshots(from)).map(Option::unwrap_or_default)
    }

    fn bookmarks(&self, name: &DatasetName) -> Result<Vec<Bookmark>, Error> {
        self.0.bookmarks(name)
    }

    fn snapshot(&self, name: &SnapshotName) -> Result<Option<Snapshot>, Error> {
        library(|zfs| zfs.snapshot(name))
    }

    fn exists(&self, name: &str) -> bool {
        self.0.exists(name)
    }

    fn written_since(&self, name: &DatasetName, snapshot: &SnapshotName) -> Result<u64, Error> {
        library(|zfs| existing(zfs, name)?.written_since(snapshot))
    }

    fn is_empty_placeholder(
        &self,
        name: &DatasetName,
        log_reset_bytes: u64,
    ) -> Result<bool, Error> {
        library(|zfs| {
            let found = existing(zfs, name)?;
            let properties = found.reported_properties();
            Ok(inventory::is_empty_placeholder(
                &found,
                &properties,
                log_reset_bytes,
            ))
        })
    }

    fn resume_state(&self, properties: &Properties) -> Option<ResumeState> {
        library(|zfs| Ok(inventory::resume_state(zfs, properties))).ok()?
    }

    fn knows(&self, property: &str, value: &str) -> bool {
        kernel_properties([(property, value)]).is_ok()
    }

    fn default_keyword(&self, property: &str) -> Result<Option<String>, Error> {
        openzfs::default_keyword(property)
    }

    fn pool_guid(&self, pool: &PoolName) -> Result<Option<Guid>, Error> {
        library(|zfs| match zfs.pool(pool)? {
            Some(pool) => Ok(Some(pool.status()?.guid)),
            None => Ok(None),
        })
    }

    fn freeing_bytes(&self, pool: &PoolName) -> Result<u64, Error> {
        library(|zfs| {
            let pool = imported(zfs, pool)?;
            pool.refresh()?;
            Ok(pool.freeing_bytes())
        })
    }

    fn damages(&self, pool: &PoolName, most: usize) -> Result<Vec<Damage>, Error> {
        library(|zfs| imported(zfs, pool)?.damages(most))
    }

    fn history(&self, pool: &PoolName) -> Result<PoolHistory, Error> {
        library(|zfs| imported(zfs, pool)?.history())
    }

    fn activity(&self, pool: &PoolName) -> io::Result<BTreeMap<u64, Activity>> {
        activity::of_pool(pool)
    }

    fn settle(&self, pool: &PoolName) -> Result<(), String> {
        inventory::settle::settle(pool, self.0).map(drop)
    }

    fn sync(&self, pool: &PoolName) -> Result<(), Error> {
        self.0.sync(pool)
    }

    fn create(&self, name: &DatasetName, properties: &Values) -> Result<(), Error> {
        let properties = in_kernels_words(properties)?;
        self.0.create(name, DatasetKind::Filesystem, &properties)
    }

    fn rename(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error> {
        self.0.rename(from, to)
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), Error> {
        self.0.destroy_dataset(name)
    }

    fn set_property(&self, name: &DatasetName, property: &str, value: &str) -> Result<(), Error> {
        library(|zfs| existing(zfs, name)?.set_property(property, value))
    }

    fn inherit_property(&self, name: &DatasetName, property: &str) -> Result<(), Error> {
        library(|zfs| existing(zfs, name)?.inherit_property(property))
    }

    fn take_over_delegation(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error> {
        library(|zfs| {
            if let (Some(from), Some(to)) = (zfs.dataset(from)?, zfs.dataset(to)?) {
                to.take_over_delegation(&from)?;
            }
            Ok(())
        })
    }

    fn mount_at(&self, name: &DatasetName, path: &Path, options: &str) -> Result<(), Error> {
        library(|zfs| existing(zfs, name)?.mount_at(path, options))
    }

    fn take_snapshots(
        &self,
        names: &[SnapshotName],
        user_properties: &BTreeMap<String, String>,
    ) -> Result<(), BatchError> {
        self.0.snapshot(names, user_properties)
    }

    fn destroy_snapshots(&self, names: &[SnapshotName], defer: bool) -> Result<(), BatchError> {
        self.0.destroy_snapshots(names, defer)
    }

    fn hold_while_open(&self, snapshot: &SnapshotName, tag: &str) -> Result<OwnedFd, String> {
        let kept = OpenOptions::new().read(true).write(true).open("/dev/zfs");
        let kept = kept.map_err(in_words)?;
        let held = self.0.hold(&[(snapshot.clone(), tag)], Some(kept.as_fd()));
        held.map_err(in_words)?;
        Ok(kept.into())
    }

    fn bookmark(&self, bookmarks: &[(BookmarkName, SnapshotName)]) -> Result<(), BatchError> {
        self.0.bookmark(bookmarks)
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), BatchError> {
        self.0.destroy_bookmarks(names)
    }

    fn apply(
        &self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied {
        self.0.apply(pool, bookmarks, properties)
    }

    fn transfer(
        &self,
        stream: &Stream,
        cancels: &[&Cancel],
        progress: &Progress,
    ) -> Result<Received, TransferError> {
        let takes = |feature: StreamFeature| stream.target_features.takes(feature);
        let transfer = Transfer {
            send: stream.send.clone(),
            target: stream.target.clone(),
            properties: &in_kernels_words(&stream.properties)?,
            force: stream.force,
            resumable: stream.resumable,
            estimated_bytes: stream.estimated_bytes,
            takes: &takes,
        };
        self.0.transfer(&transfer, cancels, progress)
    }

    fn abandon_receive(&self, name: &DatasetName) -> Result<(), Error> {
        library(|zfs| self.0.abandon_receive(&existing(zfs, name)?))
    }

    fn gauges(&self) -> Gauges<'_> {
        let mut gauges = library(|zfs| Ok(openzfs::Gauges::new(zfs))).ok();
        Box::new(move |progress| {
            let gauges = gauges.as_mut();
            gauges.map_or_else(Vec::new, |gauges| progress.sent_bytes(gauges))
        })
    }
}
