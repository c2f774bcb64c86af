//! What replication asks of ZFS and lets it do, in plain values: nothing here is a handle, and whatever
//! answers the same can stand in for a kernel.

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
    /// Its first receive has not come to its end.
    pub is_inconsistent: bool,
    /// What the kernel tells at no further call ([`openzfs::Dataset::reported_properties`]).
    pub reported: Properties,
}

/// A stream, and what the receiver makes of it.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The sender's part.
    pub send: SendRequest,
    /// Snapshot to make on the target.
    pub target: SnapshotName,
    /// What the receive sets on the target.
    pub properties: Values,
    /// Let the receive roll the target back.
    pub force: bool,
    /// Keep what has arrived if the stream is interrupted.
    pub resumable: bool,
    /// Expected size.
    pub estimated_bytes: Option<u64>,
    /// What the target's pool can hold.
    pub target_features: Features,
}

/// Tells how much of each running stream has been sent.
pub type Gauges<'a> = Box<dyn FnMut(&Progress) -> Vec<(SnapshotName, u64)> + 'a>;

/// ZFS, for all threads of a run.
///
/// What is not there is `None`, or an empty list, and no error.
pub trait Zfs: Sync {
    /// A file system or zvol.
    fn dataset(&self, name: &DatasetName) -> Result<Option<Found>, Error>;
    /// All its properties, as `zfs get` shows them.
    fn properties(&self, name: &DatasetName) -> Result<Option<Properties>, Error>;
    /// Fails if somebody uses it, however: the error says who.
    fn check_unused(&self, name: &DatasetName, kind: DatasetKind) -> Result<(), String>;
    /// True where it is mounted in this mount namespace.
    fn is_mounted(&self, name: &DatasetName) -> Result<bool, Error>;
    /// True where there is a dataset below it.
    fn has_children(&self, name: &DatasetName) -> Result<bool, Error>;
    /// Its snapshots from that transaction group on, oldest first.
    fn snapshots(
        &self,
        name: &DatasetName,
        from: Option<Createtxg>,
    ) -> Result<Vec<Snapshot>, Error>;
    /// Its bookmarks.
    fn bookmarks(&self, name: &DatasetName) -> Result<Vec<Bookmark>, Error>;
    /// One snapshot.
    fn snapshot(&self, name: &SnapshotName) -> Result<Option<Snapshot>, Error>;
    /// True where a dataset, snapshot or bookmark of this name exists.
    fn exists(&self, name: &str) -> bool;
    /// Bytes written to a dataset since one of its snapshots.
    fn written_since(&self, name: &DatasetName, snapshot: &SnapshotName) -> Result<u64, Error>;
    /// True where zbackup made it as a parent and nobody has used it since; see
    /// [`crate::inventory::is_empty_placeholder`].
    fn is_empty_placeholder(&self, name: &DatasetName, log_reset_bytes: u64)
    -> Result<bool, Error>;
    /// The interrupted receive that a dataset's properties tell of.
    fn resume_state(&self, properties: &Properties) -> Option<ResumeState>;

    /// True if this ZFS knows the property, and this value of it.
    fn knows(&self, property: &str, value: &str) -> bool;
    /// The word that a property has where nobody has set it; see [`openzfs::default_keyword`].
    fn default_keyword(&self, property: &str) -> Result<Option<String>, Error>;

    /// The guid of a pool that is imported.
    fn pool_guid(&self, pool: &PoolName) -> Result<Option<Guid>, Error>;
    /// Bytes of destroyed snapshots that the pool still has to free.
    fn freeing_bytes(&self, pool: &PoolName) -> Result<u64, Error>;
    /// What the pool knows of damaged files, that many at most.
    fn damages(&self, pool: &PoolName, most: usize) -> Result<Vec<Damage>, Error>;
    /// What the pool has written down of its past.
    fn history(&self, pool: &PoolName) -> Result<PoolHistory, Error>;
    /// How often each dataset of the pool that can be written to was.
    fn activity(&self, pool: &PoolName) -> io::Result<BTreeMap<u64, Activity>>;
    /// Brings all that programs have written into the pool; see [`crate::inventory::settle`].
    fn settle(&self, pool: &PoolName) -> Result<(), String>;
    /// Waits until all that was written to the pool is on its disks.
    fn sync(&self, pool: &PoolName) -> Result<(), Error>;

    /// Makes a file system.
    fn create(&self, name: &DatasetName, properties: &Values) -> Result<(), Error>;
    /// Renames a dataset, with all below it.
    fn rename(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error>;
    /// Destroys a dataset that has no snapshots and no children.
    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), Error>;
    /// Sets a property.
    fn set_property(&self, name: &DatasetName, property: &str, value: &str) -> Result<(), Error>;
    /// Removes a property, so that it is inherited or default again.
    fn inherit_property(&self, name: &DatasetName, property: &str) -> Result<(), Error>;
    /// Lets users do on `to` what was delegated to them on `from`.
    fn take_over_delegation(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error>;
    /// Mounts it there.
    fn mount_at(&self, name: &DatasetName, path: &Path, options: &str) -> Result<(), Error>;

    /// Makes snapshots at the same moment, all or none, with these user properties.
    fn take_snapshots(
        &self,
        names: &[SnapshotName],
        user_properties: &BTreeMap<String, String>,
    ) -> Result<(), BatchError>;
    /// Destroys snapshots, all or none; with `defer`, a held one when its last hold ends.
    fn destroy_snapshots(&self, names: &[SnapshotName], defer: bool) -> Result<(), BatchError>;
    /// Holds a snapshot until what this returns is closed, also by the end of the process.
    fn hold_while_open(&self, snapshot: &SnapshotName, tag: &str) -> Result<OwnedFd, String>;
    /// Makes bookmarks, all or none.
    fn bookmark(&self, bookmarks: &[(BookmarkName, SnapshotName)]) -> Result<(), BatchError>;
    /// Destroys bookmarks, all or none.
    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), BatchError>;
    /// Makes bookmarks and sets user properties, as many as go, in one transaction.
    fn apply(
        &self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied;
    /// Sets user properties. The error is one of those that failed.
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
    /// Gives up the interrupted receive of a dataset, and the dataset with it if it holds nothing else.
    fn abandon_receive(&self, name: &DatasetName) -> Result<(), Error>;
    /// For the thread that shows how far the streams are.
    fn gauges(&self) -> Gauges<'_>;
}
