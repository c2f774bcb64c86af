//! Plain, owned facts about datasets, snapshots and bookmarks.
//!
//! Nothing here holds a C handle: these values cross threads, are compared in tests and are what
//! the planner decides on.

use std::collections::BTreeMap;

use crate::name::{BookmarkName, Createtxg, DatasetName, Guid, SnapshotName};

/// What a dataset is: a file system or a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatasetKind {
    /// `ZFS_TYPE_FILESYSTEM`
    Filesystem,
    /// `ZFS_TYPE_VOLUME`, a zvol
    Volume,
}

/// A snapshot as one pool holds it. The same snapshot on two pools shares only its [`Guid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Full name on this pool.
    pub name: SnapshotName,
    /// Identity, the same on every pool that received it.
    pub guid: Guid,
    /// Order within this pool.
    pub createtxg: Createtxg,
    /// Wall clock at creation, seconds since the epoch. For display only.
    pub creation_seconds: u64,
    /// Bytes that destroying this snapshot alone would free.
    pub used_bytes: u64,
    /// Bytes that the snapshot refers to.
    pub referenced_bytes: u64,
    /// Bytes written between the snapshot before it and this one.
    pub written_bytes: u64,
    /// Number of holds (`userrefs`): a held snapshot cannot be destroyed.
    pub holds: u64,
    /// Datasets that were cloned from it: it cannot be destroyed while a clone needs it.
    pub clones: Vec<DatasetName>,
    /// IV-set guid of an encrypted snapshot; `None` for a clear one.
    pub ivset_guid: Option<Guid>,
    /// User properties set on the snapshot itself; inherited ones do not count.
    pub user_properties: BTreeMap<String, String>,
    /// User properties that a stream has brought with the snapshot (`zfs send -p` and `-R`), and that
    /// nobody has changed since.
    pub received_properties: BTreeMap<String, String>,
}

/// A bookmark: what remains of a snapshot, as a base for incremental sends. It is never a base on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Full name on this pool.
    pub name: BookmarkName,
    /// Guid of the snapshot that it was made from.
    pub guid: Guid,
    /// Transaction group of the snapshot that it was made from.
    pub createtxg: Createtxg,
    /// IV-set guid, only of an encrypted dataset's bookmark on a pool with `bookmark_v2`.
    pub ivset_guid: Option<Guid>,
}

/// What a `receive_resume_token` says: an interrupted receive that can be resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeState {
    /// The token as ZFS wrote it.
    pub token: String,
    /// Name that the snapshot had on the sender.
    pub to_name: String,
    /// Guid of the snapshot that was being received.
    pub to_guid: Guid,
    /// Guid of the incremental base; `None` for a full stream.
    pub from_guid: Option<Guid>,
    /// Object at which to resume.
    pub object: u64,
    /// Offset in that object, bytes.
    pub offset: u64,
    /// Bytes that had arrived.
    pub received_bytes: u64,
    /// The stream had blocks above 128 KiB.
    pub large_blocks: bool,
    /// The stream had embedded blocks.
    pub embedded: bool,
    /// The stream had compressed blocks.
    pub compressed: bool,
    /// The stream was raw (encrypted blocks as they lie on disk).
    pub raw: bool,
}

/// A feature that the receiving pool must have if the stream uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamFeature {
    /// Tiny blocks inside their pointers.
    EmbeddedData,
    /// Raw streams.
    Encryption,
    /// Blocks above 128 KiB.
    LargeBlocks,
    /// Objects whose headers take more than 512 bytes (`dnodesize`).
    LargeDnode,
    /// Large directories in one block.
    LargeMicrozap,
    /// File names above 255 bytes.
    Longname,
    /// Compressed blocks as they lie on disk, of a pool that may have used LZ4.
    Lz4Compress,
    /// Compressed blocks as they lie on disk, of a dataset that has used Zstandard.
    ZstdCompress,
}

impl StreamFeature {
    /// All features.
    pub const ALL: [Self; 8] = [
        Self::EmbeddedData,
        Self::Encryption,
        Self::LargeBlocks,
        Self::LargeDnode,
        Self::LargeMicrozap,
        Self::Longname,
        Self::Lz4Compress,
        Self::ZstdCompress,
    ];

    /// Its short name, as after `feature@`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmbeddedData => "embedded_data",
            Self::Encryption => "encryption",
            Self::LargeBlocks => "large_blocks",
            Self::LargeDnode => "large_dnode",
            Self::LargeMicrozap => "large_microzap",
            Self::Longname => "longname",
            Self::Lz4Compress => "lz4_compress",
            Self::ZstdCompress => "zstd_compress",
        }
    }
}

impl ResumeState {
    /// An interrupted receive of which only the token is known: no snapshot has the guid 0.
    pub fn unreadable(token: &str) -> Self {
        Self {
            token: token.into(),
            to_name: String::new(),
            to_guid: Guid(0),
            from_guid: None,
            object: 0,
            offset: 0,
            received_bytes: 0,
            large_blocks: false,
            embedded: false,
            compressed: false,
            raw: false,
        }
    }
}
