//! The ledger: on each side, for each volume and peer, bookmarks of the snapshot that the side
//! would send from, which is the peer's newest that it has too.
//!
//! A bookmark holds no space and survives the snapshot that it was made of, so that the next
//! stream to that peer can be an incremental one, however long its disk was away. It is
//! named `zbackup-<peer>-<createtxg>`. A host is identified by the guid of its pool, a disk by that
//! and its partition: disks that were copied block by block share the guid, and differ from then on.

use std::fmt;
use std::str::FromStr;

use openzfs::{
    Bookmark, BookmarkName, Createtxg, DatasetName, Guid, InvalidName, Snapshot, SnapshotName,
};

use crate::model::{Dataset, is_managed};

/// What every ledger bookmark's short name starts with.
const PREFIX: &str = "zbackup-";

/// How many older bookmarks of a disk stay. Whoever copies a disk block by block has a second disk,
/// which continues from the snapshot that was the newest then. Nothing here tells of it until it comes.
const OLDER_OF_A_DISK: usize = 60;

/// Hexadecimal digits of a partition's uuid that tell disks of one pool guid apart: names have little room.
const PART_DIGITS: usize = 10;

/// Whom a ledger is for, written `<pool guid>`, and for a disk `<pool guid>.<start of its partuuid>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Guid of its pool.
    pub pool: Guid,
    /// The first digits of its partition's uuid. `None` for a host, and for a disk in bookmarks that
    /// zbackup made before it looked at partitions.
    part: Option<u64>,
}

impl Peer {
    /// A host, by its pool.
    pub fn host(pool: Guid) -> Self {
        Self { pool, part: None }
    }

    /// A disk, by its pool and its partition.
    pub fn disk(pool: Guid, partuuid: &str) -> Self {
        let digits = partuuid.chars().filter(char::is_ascii_hexdigit);
        let part: String = digits.take(PART_DIGITS).collect();
        Self {
            pool,
            part: u64::from_str_radix(&part, 16).ok(),
        }
    }

    /// True for a host. A disk in a bookmark of earlier versions looks like one.
    pub fn is_host(self) -> bool {
        self.part.is_none()
    }

    /// The same peer, without its partition.
    #[must_use]
    pub fn any_part(self) -> Self {
        Self { part: None, ..self }
    }

    /// True if a bookmark's peer `told` is this one, or may be since it does not tell its partition.
    pub fn may_be(self, told: Self) -> bool {
        told == self || told == self.any_part()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            None => self.pool.fmt(f),
            Some(part) => write!(f, "{}.{part:0PART_DIGITS$x}", self.pool),
        }
    }
}

/// Accepts only the spelling that zbackup writes: `+7` and `007` are somebody else's.
impl FromStr for Peer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let peer = match text.split_once('.') {
            None => Self::host(text.parse().map_err(drop)?),
            Some((pool, part)) => Self {
                pool: pool.parse().map_err(drop)?,
                part: Some(u64::from_str_radix(part, 16).map_err(drop)?),
            },
        };
        (peer.to_string() == text).then_some(peer).ok_or(())
    }
}

/// What is to be done to bring one dataset's ledger up to date for one peer.
///
/// Create first, then destroy: a run that dies in between leaves one bookmark too many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// New bookmarks, and the snapshots to make them of.
    pub create: Vec<(BookmarkName, SnapshotName)>,
    /// Bookmarks that the new one replaces.
    pub destroy: Vec<BookmarkName>,
}

/// Why a ledger cannot be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The dataset's name leaves no room for the bookmark's.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// Somebody made a bookmark of another snapshot under this name.
    #[error("{0} is not a bookmark of the snapshot that it is named after: destroy or rename it")]
    NameTaken(BookmarkName),
}

/// The ledger bookmark of a snapshot of `dataset` for `peer`. If the name leaves no room for the
/// partition, it is left out.
///
/// # Errors
///
/// If the full name would be too long.
pub fn bookmark_name(
    dataset: &DatasetName,
    peer: Peer,
    createtxg: Createtxg,
) -> Result<BookmarkName, InvalidName> {
    let name = |peer: Peer| dataset.bookmark(&format!("{PREFIX}{peer}-{createtxg}"));
    name(peer).or_else(|_| name(peer.any_part()))
}

/// The peer and the createtxg in a ledger bookmark's short name; `None` for any other
/// bookmark.
pub fn parse(short: &str) -> Option<(Peer, Createtxg)> {
    let (peer, createtxg) = short.strip_prefix(PREFIX)?.split_once('-')?;
    let (peer, createtxg) = (peer.parse::<Peer>().ok()?, createtxg.parse().ok()?);
    (short == format!("{PREFIX}{peer}-{createtxg}")).then_some((peer, Createtxg(createtxg)))
}

/// The snapshot of `dataset` that its ledger for `peer`, the same volume on another pool, should name.
///
/// That is the newest of the peer's snapshots that it has, in the order of the peer's history, which
/// can differ from its own. `None` if it has only a bookmark of that snapshot: the bookmark stays.
pub fn newest_common<'a>(dataset: &'a Dataset, peer: &Dataset) -> Option<&'a Snapshot> {
    let history = peer.snapshots.iter().rev().map(|snapshot| snapshot.guid);
    let mut known = history.filter_map(|guid| {
        let snapshot = dataset.snapshot(guid);
        (snapshot.is_some() || dataset.bookmark(guid).is_some()).then_some(snapshot)
    });
    known.next()?
}

/// The possible base for `peer`, which was last here at that time and has no bookmark here: the newest
/// managed snapshot of that time.
pub fn unbookmarked_base(dataset: &Dataset, peer: Peer, seconds: u64) -> Option<&Snapshot> {
    let is_of_peer =
        |bookmark: &Bookmark| parse(bookmark.name.short()).is_some_and(|(of, _)| peer.may_be(of));
    if dataset.bookmarks.iter().any(is_of_peer) {
        return None;
    }
    let mut history = dataset.snapshots.iter().rev();
    history.find(|snapshot| is_managed(snapshot) && snapshot.creation_seconds <= seconds)
}

/// Compares a dataset's bookmarks with what its ledger for `peer` should hold after a run.
///
/// `newest_common` is the newest snapshot in common ([`newest_common`]), as this side has it. Its bookmark is
/// created unless it exists; older ones of that peer are destroyed, except for some of a disk; all others
/// stay.
///
/// # Errors
///
/// If the bookmark's name is too long, or taken by a bookmark of another snapshot.
pub fn update(
    existing: &[Bookmark],
    peer: Peer,
    newest_common: &Snapshot,
) -> Result<Update, LedgerError> {
    let dataset = newest_common.name.dataset();
    let name = bookmark_name(&dataset, peer, newest_common.createtxg)?;
    let create = match existing.iter().find(|bookmark| bookmark.name == name) {
        Some(bookmark) if bookmark.guid != newest_common.guid => {
            return Err(LedgerError::NameTaken(name));
        }
        Some(_) => vec![],
        None => vec![(name, newest_common.name.clone())],
    };
    let is_older = |bookmark: &&Bookmark| {
        parse(bookmark.name.short()).is_some_and(|(of, _)| peer.may_be(of))
            && bookmark.createtxg < newest_common.createtxg
    };
    let mut older: Vec<&Bookmark> = existing.iter().filter(is_older).collect();
    older.sort_by_key(|bookmark| bookmark.createtxg);
    let kept = peer.part.map_or(0, |_| OLDER_OF_A_DISK);
    older.truncate(older.len().saturating_sub(kept));
    Ok(Update {
        create,
        destroy: older.iter().map(|bookmark| bookmark.name.clone()).collect(),
    })
}
