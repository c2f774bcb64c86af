//! Which bookmarks stand for the present history of their dataset.
//!
//! Another tool's forced receive rolls a dataset back and leaves the bookmarks of what it undid. An
//! increment from such a bookmark lacks what was undone, and no kernel notices. So a bookmark counts
//! only while its history is provably the present one; `docs/histories.md` has the rule and its proof.

use openzfs::{Bookmark, BookmarkName, Createtxg, Guid, Snapshot};

use super::types::Doubt;
use crate::model::Dataset;
use crate::model::ledger;

/// Parts a dataset's bookmarks into [`Dataset::bookmarks`] and [`Dataset::doubtful`], by what is
/// now known of the dataset.
pub fn sift(dataset: &mut Dataset) {
    let mut all = std::mem::take(&mut dataset.bookmarks);
    all.append(&mut dataset.doubtful);
    all.sort_by_key(|bookmark| bookmark.createtxg);
    let proven_up_to = proven_up_to(dataset);
    let (proven, doubtful) = all
        .into_iter()
        .partition(|bookmark| is_proven(dataset, bookmark, proven_up_to));
    dataset.bookmarks = proven;
    dataset.doubtful = doubtful;
}

/// True if the pool's log should be asked: a run is going to destroy a bookmark of the ledger, or
/// could send from one to `peer`, the same volume on the other side.
pub fn is_in_doubt(dataset: &Dataset, peer: Option<&Dataset>) -> bool {
    forgettable(dataset).next().is_some()
        || peer.is_some_and(|peer| uncertain_base(dataset, peer).is_some())
}

/// The ledger's bookmarks that are no longer a base. A run that adds to `dataset` has to destroy
/// them first: otherwise what it notes would count as their proof.
pub(super) fn forgettable(dataset: &Dataset) -> impl Iterator<Item = &BookmarkName> {
    let doubtful = dataset.doubtful.iter();
    let of_ledger = doubtful.filter(|bookmark| is_of_ledger(bookmark));
    of_ledger.map(|bookmark| &bookmark.name)
}

/// True if the bookmark of a snapshot is proven even if no snapshot but the newest is left.
pub(super) fn outlives_snapshots(dataset: &Dataset, guid: Guid) -> bool {
    let mut later = Dataset {
        snapshots: dataset.snapshots.last().cloned().into_iter().collect(),
        ..dataset.clone()
    };
    sift(&mut later);
    later.bookmark(guid).is_some()
}

/// The newest snapshot of `target` of which `source` has only a doubtful bookmark, if nothing newer
/// there is in common.
pub(super) fn uncertain_base<'a>(
    source: &Dataset,
    target: &'a Dataset,
) -> Option<(&'a Snapshot, Doubt)> {
    for snapshot in target.snapshots.iter().rev() {
        let guid = snapshot.guid;
        if source.snapshot(guid).is_some() || source.bookmark(guid).is_some() {
            return None;
        }
        let doubtful = source.doubtful.iter().find(|one| one.guid == guid);
        if let Some(doubtful) = doubtful {
            return Some((snapshot, doubt(source, doubtful)));
        }
    }
    None
}

fn doubt(dataset: &Dataset, bookmark: &Bookmark) -> Doubt {
    let past = dataset.past.as_ref();
    match past {
        Some(past) if past.known_from <= bookmark.createtxg => Doubt::Undone,
        _ => Doubt::Untold,
    }
}

/// The newest snapshot on which the proof of a bookmark rests, besides the pool's log. If it is still
/// there after this run's snapshot was made, nothing was undone meanwhile.
pub fn anchor(dataset: &Dataset) -> Option<&Snapshot> {
    let is_bookmarked = |snapshot: &Snapshot| dataset.bookmark(snapshot.guid).is_some();
    let mut snapshots = dataset.snapshots.iter().rev();
    snapshots.find(|snapshot| is_checked(dataset, snapshot) || is_bookmarked(snapshot))
}

/// Before it adds to a dataset, every run destroys doubtful bookmarks of the ledger and notes how far the
/// history had come then. The remaining bookmarks are of the present history as long as nobody rolls back
/// past that point. No bookmark proves an older one by its name: anybody can make one, and earlier
/// versions of zbackup destroyed none.
fn proven_up_to(dataset: &Dataset) -> Option<Createtxg> {
    let checked = dataset.checked()?;
    if is_in_log(dataset, checked) {
        return Some(checked);
    }
    let mut snapshots = dataset.snapshots.iter().rev();
    let newest = snapshots.find(|snapshot| is_checked(dataset, snapshot));
    newest.map(|snapshot| snapshot.createtxg)
}

fn is_checked(dataset: &Dataset, snapshot: &Snapshot) -> bool {
    let checked = dataset.checked();
    checked.is_some_and(|checked| snapshot.createtxg <= checked)
}

fn is_proven(dataset: &Dataset, bookmark: &Bookmark, proven_up_to: Option<Createtxg>) -> bool {
    dataset.snapshot(bookmark.guid).is_some()
        || is_of_ledger(bookmark)
            && is_of_this_dataset(dataset, bookmark)
            && proven_up_to.is_some_and(|up_to| bookmark.createtxg <= up_to)
        || is_in_log(dataset, bookmark.createtxg)
}

/// True if the log shows that nothing was undone from then until the oldest snapshot that is not
/// older. No receive rolls back past a snapshot and leaves that snapshot.
fn is_in_log(dataset: &Dataset, since: Createtxg) -> bool {
    let mut snapshots = dataset.snapshots.iter().map(|snapshot| snapshot.createtxg);
    let until = snapshots.find(|createtxg| *createtxg >= since);
    let past = dataset.past.as_ref();
    past.is_some_and(|past| past.is_unbroken(since, until))
}

/// False for a bookmark that a clone took over when it was promoted: it is older than the clone, and
/// whatever was checked before was the clone's own.
fn is_of_this_dataset(dataset: &Dataset, bookmark: &Bookmark) -> bool {
    bookmark.createtxg >= dataset.createtxg
}

fn is_of_ledger(bookmark: &Bookmark) -> bool {
    ledger::parse(bookmark.name.short()).is_some()
}
