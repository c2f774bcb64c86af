//! One dataset, as it was read.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{
    Bookmark, Createtxg, DatasetKind, DatasetName, Guid, ResumeState, Snapshot, StreamFeature,
};

use super::marks::CHECKED_PROPERTY;
use super::{Activity, Past};

/// One dataset and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Full name.
    pub name: DatasetName,
    /// Identity of the dataset itself (not of its snapshots).
    pub guid: Guid,
    /// When the dataset itself was made, as its pool counts.
    pub createtxg: Createtxg,
    /// Its number in its pool, which a rename does not change.
    pub objset: u64,
    /// File system or zvol.
    pub kind: DatasetKind,
    /// Snapshots in order of createtxg, from [`Dataset::listed_from`] on.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots older than this were not asked for; zero means that all are listed.
    pub listed_from: Createtxg,
    /// Bookmarks in order of createtxg, but for those in [`Dataset::doubtful`].
    pub bookmarks: Vec<Bookmark>,
    /// Bookmarks of a past that may have been undone. They are no base, and no proof of what the
    /// dataset holds now ([`crate::plan::proof`]).
    pub doubtful: Vec<Bookmark>,
    /// What its pool's log tells; `None` if it was not needed.
    pub past: Option<Past>,
    /// An interrupted receive into this dataset.
    pub resume: Option<ResumeState>,
    /// A first receive never completed: the dataset holds nothing else and cannot be used
    /// (`ZFS_PROP_INCONSISTENT`). If a receive into a dataset in use was interrupted, the dataset
    /// stays consistent, and the state is hidden below it.
    pub inconsistent: bool,
    /// Encrypted by ZFS itself.
    pub encrypted: bool,
    /// Bytes written since the newest snapshot (all of `referenced` if there is none). A reset
    /// of the intent log does not count.
    pub written_bytes: u64,
    /// Bytes that the live dataset refers to.
    pub referenced_bytes: u64,
    /// zbackup made it only to be a parent ([`PLACEHOLDER_PROPERTY`](super::marks::PLACEHOLDER_PROPERTY)),
    /// and nothing has been written to it since. A full stream can take its place.
    pub placeholder: bool,
    /// It has child datasets.
    pub has_children: bool,
    /// How often it had been written to when all writes were brought into the pool, if that was asked for.
    pub activity: Option<Activity>,
    /// `atime` is on: reading alone makes `written` grow.
    pub atime: bool,
    /// Properties set on the dataset itself, user properties included; inherited ones are left out.
    pub local_properties: BTreeMap<String, String>,
    /// Properties set on the dataset itself, by somebody here or by a stream that brought them; user
    /// properties included.
    pub own_properties: BTreeMap<String, String>,
    /// The properties that decide what its files are, wherever they were set: see
    /// [`crate::inventory::file_properties`].
    pub file_properties: BTreeMap<String, String>,
    /// Features that a stream of it may use, by the properties in force here. Whether anything was
    /// written with them is another matter.
    pub may_use: BTreeSet<StreamFeature>,
    /// Features that a stream of it uses, and that the pool on the other side lacks.
    pub peer_lacks: BTreeSet<StreamFeature>,
    /// Its large blocks were split on the way through a pool without them, and the other side has them whole.
    pub is_split: bool,
    /// Bytes that the live dataset refers to, as if nothing were compressed.
    pub logical_bytes: u64,
    /// Bytes that can still be written to it, by its quotas too.
    pub available_bytes: u64,
    /// How its own key is encrypted; `None` if it is clear.
    pub key: Option<WrappingKey>,
}

/// The user's key of an encrypted dataset, as far as ZFS shows it. It encrypts the dataset's own key,
/// and `zfs change-key` replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappingKey {
    /// The encryption root, whose key it is.
    pub root: DatasetName,
    /// The salt of a passphrase, which changes with each `zfs change-key`.
    pub salt: Option<u64>,
    /// The dataset's own key, encrypted: for keys that have no salt, and only if both sides were
    /// asked for it.
    pub wrapped: Option<Vec<u8>>,
    /// Datasets below it that are encrypted with this key too, if this is the root and another key is
    /// to come.
    pub heirs: Vec<DatasetName>,
}

impl WrappingKey {
    /// True if the same dataset on the other side is encrypted with another key, or with one that
    /// was changed on either side.
    pub fn differs(&self, other: &Self) -> bool {
        if self.salt.is_some() || other.salt.is_some() {
            return self.salt != other.salt;
        }
        matches!((&self.wrapped, &other.wrapped), (Some(one), Some(other)) if one != other)
    }
}

impl Dataset {
    /// True if zbackup made it as a parent, and nobody has used it since.
    pub fn is_mere_parent(&self) -> bool {
        self.placeholder && self.snapshots.is_empty()
    }

    /// The point up to which its ledger has no doubtful bookmarks, see [`CHECKED_PROPERTY`].
    ///
    /// A note about another dataset does not count: tools that copy properties along with snapshots
    /// (`syncoid --preserve-properties`) set them locally on the copy.
    pub fn checked(&self) -> Option<Createtxg> {
        let noted = self.local_properties.get(CHECKED_PROPERTY)?;
        let (guid, createtxg) = noted.split_once(':')?;
        let is_own = guid.parse() == Ok(self.guid);
        createtxg.parse().ok().filter(|_| is_own).map(Createtxg)
    }

    /// What to note on it when its ledger has no doubtful bookmarks up to here.
    pub fn checked_note(&self, up_to: Createtxg) -> String {
        format!("{}:{up_to}", self.guid)
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
