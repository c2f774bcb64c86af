//! What both sides hold, as plain data.
//!
//! [`Side`] values are read once per run and are all that the planner knows. No C handle survives
//! the reading, so an inventory can be written down by hand in a test.

pub mod disks;
pub mod estimate;
pub mod read;
pub mod settle;
mod visit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use disks::{DISK_PROPERTY_PREFIX, DiskRecord, KnownDisks};
pub use visit::{is_empty_placeholder, log_reset_bytes, resume_state};

use crate::name::{Createtxg, DatasetName, Guid, PoolName, VolumePath};
use crate::snapshot::{Bookmark, DatasetKind, ResumeState, Snapshot};

/// User property, set locally on a snapshot: zbackup made it or received it. Holds the time (RFC 3339).
pub const CREATED_PROPERTY: &str = "org.zbackup:created";
/// User property, set locally on a dataset that zbackup made only to be a parent of a copy.
pub const PLACEHOLDER_PROPERTY: &str = "org.zbackup:placeholder";
/// Bookmark of the empty placeholder, made right after it: what was written since, however little,
/// is somebody's. Sizes cannot tell, since a small file can fit into a block that is there already.
pub const EMPTY_BOOKMARK: &str = "zbackup-empty";
/// User property of a copy: guid of its newest snapshot, as the ledger knows it.
pub const NEWEST_PROPERTY: &str = "org.zbackup:newest";
/// User property of a copy: the source's locally set properties, as JSON.
pub const SOURCE_PROPERTIES_PROPERTY: &str = "org.zbackup:source-properties";
/// User property of a file system on a host that was received with `canmount=noauto` and is not in
/// its place yet: what its canmount is to be there.
pub const CANMOUNT_PROPERTY: &str = "org.zbackup:canmount";

/// Ends the name of what is to replace a dataset, while it arrives beside it.
pub const ARRIVING_SUFFIX: &str = "-zbackup-arriving";
/// Ends the name of a dataset that has been replaced, until it is destroyed.
pub const REPLACED_SUFFIX: &str = "-zbackup-replaced";

/// One pool of a run and the part of it that the run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The pool's name here and now.
    pub pool: PoolName,
    /// The pool's identity.
    pub pool_guid: Guid,
    /// Where volumes live: the pool's root dataset, or the host's `prefix` below it.
    pub top: DatasetName,
    /// Bytes that can still be written (`available` of `top`'s nearest existing dataset).
    pub free_bytes: u64,
    /// Pool features that change what a stream may hold.
    pub features: Features,
    /// What `written` can show although nothing was written: a reset of the intent log.
    pub log_reset_bytes: u64,
    /// Datasets that a replacement which died on the way has left, where this side receives.
    pub leftovers: BTreeSet<DatasetName>,
    /// Every dataset that is `top`, above it, or concerned by a selected volume (the volume, its
    /// ancestors; names are complete for what exists, see [`Side::dataset`]).
    pub datasets: BTreeMap<DatasetName, Dataset>,
}

/// Pool features that decide what a stream may contain and what a bookmark can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// `feature@embedded_data`
    pub embedded_data: bool,
    /// `feature@large_blocks`
    pub large_blocks: bool,
    /// `feature@lz4_compress`
    pub lz4_compress: bool,
    /// `feature@zstd_compress`
    pub zstd_compress: bool,
    /// `feature@encryption`
    pub encryption: bool,
    /// `feature@bookmarks`
    pub bookmarks: bool,
    /// `feature@bookmark_v2`: bookmarks carry the IV-set guid, so an encrypted volume's can be a base.
    pub bookmark_v2: bool,
    /// `feature@bookmark_written`: `written#bookmark` is known.
    pub bookmark_written: bool,
}

/// One dataset and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Full name.
    pub name: DatasetName,
    /// Identity of the dataset itself (not of its snapshots).
    pub guid: Guid,
    /// File system or zvol.
    pub kind: DatasetKind,
    /// Snapshots in order of createtxg, from [`Dataset::listed_from`] on.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots older than this were not asked for; zero means that all are listed.
    pub listed_from: Createtxg,
    /// Bookmarks in order of createtxg. Always complete.
    pub bookmarks: Vec<Bookmark>,
    /// A receive into this dataset that broke off.
    pub resume: Option<ResumeState>,
    /// A first receive never completed: the dataset holds nothing else and cannot be used
    /// (`ZFS_PROP_INCONSISTENT`). Where a receive into a dataset in use broke off, that one stays
    /// consistent, and the state is hidden below it.
    pub inconsistent: bool,
    /// Encrypted by ZFS itself.
    pub encrypted: bool,
    /// Bytes written since the newest snapshot (all of `referenced` where there is none). A reset
    /// of the intent log does not count.
    pub written_bytes: u64,
    /// Bytes that the live dataset refers to.
    pub referenced_bytes: u64,
    /// zbackup made it only to be a parent ([`PLACEHOLDER_PROPERTY`]), and nothing was written to it
    /// since. A full stream can take its place.
    pub placeholder: bool,
    /// It has child datasets.
    pub has_children: bool,
    /// Where it is mounted.
    pub mounted_at: Option<PathBuf>,
    /// `atime` is on: reading alone makes `written` grow.
    pub atime: bool,
    /// Properties set on the dataset itself, user properties included; inherited ones are left out.
    pub local_properties: BTreeMap<String, String>,
}

impl Dataset {
    /// True where zbackup made it as a parent, and nobody has used it since.
    pub fn is_mere_parent(&self) -> bool {
        self.placeholder && self.snapshots.is_empty()
    }

    /// The newest snapshot.
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.last()
    }

    /// The snapshot with this guid.
    pub fn snapshot(&self, guid: Guid) -> Option<&Snapshot> {
        self.snapshots
            .iter()
            .rev()
            .find(|snapshot| snapshot.guid == guid)
    }

    /// A bookmark of the snapshot with this guid.
    pub fn bookmark(&self, guid: Guid) -> Option<&Bookmark> {
        self.bookmarks
            .iter()
            .rev()
            .find(|bookmark| bookmark.guid == guid)
    }
}

impl Side {
    /// The dataset that is, or would be, `volume` on this side.
    pub fn name_of(&self, volume: &VolumePath) -> Result<DatasetName, crate::name::InvalidName> {
        volume.below(&self.top)
    }

    /// The dataset of that name, where it exists.
    pub fn dataset(&self, name: &DatasetName) -> Option<&Dataset> {
        self.datasets.get(name)
    }
}

/// True where zbackup made this snapshot, or received and marked it.
pub fn is_own(snapshot: &Snapshot) -> bool {
    snapshot.user_properties.contains_key(CREATED_PROPERTY)
}
