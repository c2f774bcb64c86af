//! What replication asks of ZFS and lets it do, in plain values: nothing here is a handle, so a test
//! can stand in for the kernel.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use openzfs::{
    BatchError, Bookmark, BookmarkName, Cancel, Createtxg, Damage, DatasetKind, DatasetName, Error,
    Guid, NotApplied, PoolHistory, PoolName, Progress, Properties, PropertyChange, Received,
    ResumeState, SendRequest, Snapshot, SnapshotName, TransferError,
};

use crate::model::{Activity, Features};

/// Property values by name, spelled as ZFS shows them.
pub type Values = BTreeMap<String, String>;

/// A file system or zvol, as it is now.
#[derive(Debug, Clone)]
pub struct Found {
    /// File system or zvol.
    pub kind: DatasetKind,
    /// Its identity in its pool.
    pub guid: Guid,
    /// Its number in its pool.
    pub objset: u64,
    /// Its first receive is not complete.
    pub is_inconsistent: bool,
    /// What the kernel tells without a further call ([`openzfs::Dataset::reported_properties`]).
    pub reported: Properties,
}

/// A stream, and how it is received.
#[derive(Debug, Clone)]
pub struct Stream {
    /// What to send.
    pub send: SendRequest,
    /// Snapshot to make on the target.
    pub target: SnapshotName,
    /// Properties that the receive sets on the target.
    pub properties: Values,
    /// Let the receive roll the target back.
    pub force: bool,
    /// Keep what has arrived if the stream is interrupted.
    pub resumable: bool,
    /// Expected size of the stream.
    pub estimated_bytes: Option<u64>,
    /// Features of the target's pool.
    pub target_features: Features,
}

/// Tells how much of each running stream has been sent.
pub type Gauges<'a> = Box<dyn FnMut(&Progress) -> Vec<(SnapshotName, u64)> + 'a>;

/// ZFS, for all threads of a run.
///
/// What does not exist is `None`, or an empty list, and no error.
pub trait Zfs: Sync {
    /// A file system or zvol.
    fn dataset(&self, name: &DatasetName) -> Result<Option<Found>, Error>;
    /// All its properties, as `zfs get` shows them.
    fn properties(&self, name: &DatasetName) -> Result<Option<Properties>, Error>;
    /// Fails if anybody uses it in any way; the error says who.
    fn check_unused(&self, name: &DatasetName, kind: DatasetKind) -> Result<(), String>;
    /// True if it is mounted in this mount namespace.
    fn is_mounted(&self, name: &DatasetName) -> Result<bool, Error>;
    /// True if there is a dataset below it.
    fn has_children(&self, name: &DatasetName) -> Result<bool, Error>;
    /// Its snapshots from a transaction group on, oldest first.
    fn snapshots(
        &self,
        name: &DatasetName,
        from: Option<Createtxg>,
    ) -> Result<Vec<Snapshot>, Error>;
    /// Its bookmarks.
    fn bookmarks(&self, name: &DatasetName) -> Result<Vec<Bookmark>, Error>;
    /// One snapshot.
    fn snapshot(&self, name: &SnapshotName) -> Result<Option<Snapshot>, Error>;
    /// True if a dataset, snapshot or bookmark of this name exists.
    fn exists(&self, name: &str) -> bool;
    /// Bytes written to a dataset since one of its snapshots was taken.
    fn written_since(&self, name: &DatasetName, snapshot: &SnapshotName) -> Result<u64, Error>;
    /// True if zbackup made it as a parent and nobody has used it since; see
    /// [`crate::inventory::is_empty_placeholder`].
    fn is_empty_placeholder(&self, name: &DatasetName, log_reset_bytes: u64)
    -> Result<bool, Error>;
    /// The interrupted receive that a dataset's properties show.
    fn resume_state(&self, properties: &Properties) -> Option<ResumeState>;

    /// True if this ZFS knows the property, and this value of it.
    fn knows(&self, property: &str, value: &str) -> bool;
    /// The word that a property has if nobody has set it; see [`openzfs::default_keyword`].
    fn default_keyword(&self, property: &str) -> Result<Option<String>, Error>;

    /// The guid of a pool that is imported.
    fn pool_guid(&self, pool: &PoolName) -> Result<Option<Guid>, Error>;
    /// Bytes of destroyed snapshots that the pool still has to free.
    fn freeing_bytes(&self, pool: &PoolName) -> Result<u64, Error>;
    /// The damaged files that the pool knows of, at most that many.
    fn damages(&self, pool: &PoolName, most: usize) -> Result<Vec<Damage>, Error>;
    /// The pool's own log of its past.
    fn history(&self, pool: &PoolName) -> Result<PoolHistory, Error>;
    /// How often each writable dataset of the pool was written to.
    fn activity(&self, pool: &PoolName) -> io::Result<BTreeMap<u64, Activity>>;
    /// Brings everything that programs have written into the pool; see [`crate::inventory::settle`].
    fn settle(&self, pool: &PoolName) -> Result<(), String>;
    /// Waits until all that was written to the pool is on its disks.
    fn sync(&self, pool: &PoolName) -> Result<(), Error>;

    /// Makes a file system.
    fn create(&self, name: &DatasetName, properties: &Values) -> Result<(), Error>;
    /// Renames a dataset, with everything below it.
    fn rename(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error>;
    /// Destroys a dataset that has no snapshots and no children.
    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), Error>;
    /// Sets a property.
    fn set_property(&self, name: &DatasetName, property: &str, value: &str) -> Result<(), Error>;
    /// Removes a property, so that it is inherited or default again.
    fn inherit_property(&self, name: &DatasetName, property: &str) -> Result<(), Error>;
    /// Lets users do on `to` what a delegation lets them do on `from`.
    fn take_over_delegation(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error>;
    /// Mounts it at `path`.
    fn mount_at(&self, name: &DatasetName, path: &Path, options: &str) -> Result<(), Error>;

    /// Takes snapshots at the same moment, all or none, with these user properties.
    fn take_snapshots(
        &self,
        names: &[SnapshotName],
        user_properties: &BTreeMap<String, String>,
    ) -> Result<(), BatchError>;
    /// Destroys snapshots, all or none; with `defer`, a held snapshot when its last hold ends.
    fn destroy_snapshots(&self, names: &[SnapshotName], defer: bool) -> Result<(), BatchError>;
    /// Holds a snapshot until the returned descriptor is closed, also by the end of the process.
    fn hold_while_open(&self, snapshot: &SnapshotName, tag: &str) -> Result<OwnedFd, String>;
    /// Makes bookmarks, all or none.
    fn bookmark(&self, bookmarks: &[(BookmarkName, SnapshotName)]) -> Result<(), BatchError>;
    /// Destroys bookmarks, all or none.
    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), BatchError>;
    /// Makes bookmarks and sets user properties, as many as possible, in one transaction.
    fn apply(
        &self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied;
    /// Sets user properties. The error is that of one that failed.
    fn set_user_properties(
        &self,
        pool: &PoolName,
        changes: &[PropertyChange],
    ) -> Result<(), Error> {
        let failures = self.apply(pool, &[], changes).properties;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Sends and receives, and returns when both have ended. Each of `cancels` can interrupt it.
    fn transfer(
        &self,
        stream: &Stream,
        cancels: &[&Cancel],
        progress: &Progress,
    ) -> Result<Received, TransferError>;
    /// Abandons the interrupted receive into a dataset, and destroys the dataset if it holds nothing else.
    fn abandon_receive(&self, name: &DatasetName) -> Result<(), Error>;
    /// Gauges for the thread that shows how far the streams are.
    fn gauges(&self) -> Gauges<'_>;
}
