//! The ledger: on each side one bookmark a volume and peer pool, of the snapshot that it would send
//! from: the peer's newest one that it has too.
//!
//! A bookmark holds no space and survives the snapshot that it was made of, so that the next
//! stream to that peer can be an incremental one, however long its disk lay in a drawer. It is
//! named `zbackup-<peer pool guid>-<createtxg>`, both in decimal.

use crate::inventory::Dataset;
use crate::name::{BookmarkName, Createtxg, DatasetName, Guid, InvalidName, SnapshotName};
use crate::snapshot::{Bookmark, Snapshot};

/// What every ledger bookmark's short name starts with.
const PREFIX: &str = "zbackup-";

/// What is to be done to bring one dataset's ledger up to date for one peer.
///
/// Create first, destroy then: a run that dies in between leaves one bookmark too many.
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

/// The ledger bookmark of a snapshot of `dataset` for the pool `peer`.
///
/// # Errors
///
/// Where the full name would be too long.
pub fn bookmark_name(
    dataset: &DatasetName,
    peer: Guid,
    createtxg: Createtxg,
) -> Result<BookmarkName, InvalidName> {
    dataset.bookmark(&format!("{PREFIX}{peer}-{createtxg}"))
}

/// The peer and the createtxg that a ledger bookmark's short name tells; `None` for any other
/// bookmark.
pub fn parse(short: &str) -> Option<(Guid, Createtxg)> {
    let (peer, createtxg) = short.strip_prefix(PREFIX)?.split_once('-')?;
    let (peer, createtxg) = (peer.parse().ok()?, createtxg.parse().ok()?);
    // Only the spelling that `bookmark_name` writes: `+7` and `007` are somebody else's.
    (short == format!("{PREFIX}{peer}-{createtxg}")).then_some((Guid(peer), Createtxg(createtxg)))
}

/// The snapshot of `dataset` that its ledger for `peer`, the same volume on another pool, should name.
///
/// That is the newest of the peer's that it knows, in the order of the peer's history, which can be
/// another than its own. `None` where a bookmark is all that it has of it: that stays.
pub fn newest_common<'a>(dataset: &'a Dataset, peer: &Dataset) -> Option<&'a Snapshot> {
    let history = peer.snapshots.iter().rev().map(|snapshot| snapshot.guid);
    let mut known = history.filter_map(|guid| {
        let snapshot = dataset.snapshot(guid);
        (snapshot.is_some() || dataset.bookmark(guid).is_some()).then_some(snapshot)
    });
    known.next()?
}

/// Compares a dataset's bookmarks with what its ledger for `peer` should hold after a run.
///
/// `newest_common` is the newest snapshot in common ([`newest_common`]), as this side has it. Its bookmark is
/// created unless it exists; older ones of that peer go; all others stay untouched.
///
/// # Errors
///
/// Where the bookmark's name is too long, or taken by a bookmark of another snapshot.
pub fn update(
    existing: &[Bookmark],
    peer: Guid,
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
        parse(bookmark.name.short()).is_some_and(|(of, _)| of == peer)
            && bookmark.createtxg < newest_common.createtxg
    };
    let older = existing.iter().filter(is_older);
    Ok(Update {
        create,
        destroy: older.map(|bookmark| bookmark.name.clone()).collect(),
    })
}
