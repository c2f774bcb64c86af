//! Which of the managed snapshots are old enough to be destroyed.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use openzfs::{Guid, Snapshot};

use crate::model::{Dataset, is_managed};

/// The managed snapshots of `dataset` that may be destroyed, oldest first.
///
/// The newest `keep` managed ones stay, and so does everything that is held, that zbackup did not make,
/// that an interrupted receive into `dataset` starts from, or that is in `protected` ([`needed_for`] each
/// known peer). Only listed snapshots can be found: list the whole history ([`Dataset::listed_from`]), or
/// old ones stay for ever. Do not call this for a volume that failed in this run.
pub fn prunable<'a>(
    dataset: &'a Dataset,
    keep: NonZeroUsize,
    protected: &BTreeSet<Guid>,
) -> Vec<&'a Snapshot> {
    let resumed_from = dataset.resume.as_ref().and_then(|state| state.from_guid);
    let own: Vec<&Snapshot> = dataset.snapshots.iter().filter(|s| is_managed(s)).collect();
    let old = own.len().saturating_sub(keep.get());
    own[..old]
        .iter()
        .filter(|snapshot| snapshot.holds == 0)
        .filter(|snapshot| !protected.contains(&snapshot.guid))
        .filter(|snapshot| resumed_from != Some(snapshot.guid))
        .copied()
        .collect()
}

/// Guids that `dataset` must keep so that `peer`, the same volume on another pool, can continue
/// from where it is.
///
/// That is what an interrupted receive there needs, and the newest snapshot that `peer` holds of
/// this history, if no bookmark can stand in for it. An encrypted volume's bookmark can only if it
/// carries an IV-set guid.
pub fn needed_for(peer: &Dataset, dataset: &Dataset) -> BTreeSet<Guid> {
    let resume = peer.resume.iter();
    let mut needed: BTreeSet<Guid> = resume
        .flat_map(|state| [Some(state.to_guid), state.from_guid])
        .flatten()
        .collect();
    let history = peer.snapshots.iter().rev().map(|snapshot| snapshot.guid);
    let base = history
        .map(|guid| (guid, stands_in(dataset, guid)))
        .find(|(guid, bookmarked)| *bookmarked || dataset.snapshot(*guid).is_some());
    if let Some((guid, false)) = base {
        needed.insert(guid);
    }
    needed
}

/// The newest snapshot of `dataset` that `peer` knows: the base for what `dataset` receives next. No
/// bookmark here can stand in for it, so it has to stay. Only if `dataset` is the side that is ahead
/// is a bookmark enough: without either, nothing shows that it is ahead.
pub fn receives_on(dataset: &Dataset, peer: &Dataset) -> Option<Guid> {
    let history = dataset.snapshots.iter().rev().map(|snapshot| snapshot.guid);
    let mut known =
        history.filter(|guid| peer.snapshot(*guid).is_some() || peer.bookmark(*guid).is_some());
    known.next()
}

/// True if a bookmark can be the base instead of the snapshot with this guid.
fn stands_in(dataset: &Dataset, guid: Guid) -> bool {
    dataset.bookmarks.iter().any(|bookmark| {
        bookmark.guid == guid && (!dataset.encrypted || bookmark.ivset_guid.is_some())
    })
}
