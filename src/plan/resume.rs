//! What to do with the state that an interrupted receive has left on the target.

use openzfs::{Bookmark, Guid, ResumeState, Snapshot, SnapshotName};

use super::arrivals::is_our_name;
use super::common::Common;
use super::features;
use crate::model::VolumePath;
use crate::model::ledger;
use crate::model::{Dataset, is_managed};

/// What can be done with an interrupted receive.
#[derive(Clone, Copy)]
pub(super) enum Partial<'a> {
    /// There is none.
    None,
    /// It can be resumed.
    Resumable {
        /// What is needed to resume it.
        state: &'a ResumeState,
        /// The snapshot that it ends at, on the source.
        to: &'a Snapshot,
    },
    /// It is of this volume but cannot be resumed: its snapshot is gone on the source, the target
    /// has changed since, or this source would send it with features that the target's pool lacks.
    Dead,
    /// Somebody else's.
    Foreign,
}

/// Judges the state that an interrupted receive left on `target`, in the pool `peer`.
///
/// It is resumed only if it starts at the newest common snapshot (or, for a full stream, at
/// nothing): anything else would end in a history that this run did not plan.
pub(super) fn judge<'a>(
    volume: &VolumePath,
    source: &'a Dataset,
    target: &'a Dataset,
    peer: Guid,
    common: Option<&Common<'a>>,
) -> Partial<'a> {
    let Some(state) = &target.resume else {
        // What was received without a token cannot be resumed, and its owner is unknown.
        return if target.inconsistent {
            Partial::Foreign
        } else {
            Partial::None
        };
    };
    if !is_our_own(state, volume, [source, target], peer, common) {
        return Partial::Foreign;
    }
    let Some(to) = source.snapshot(state.to_guid) else {
        return Partial::Dead;
    };
    let starts_at_base = match common {
        Some(common) => {
            state.from_guid == Some(common.on_target.guid)
                && common.newer_on_source.iter().any(|s| s.guid == to.guid)
        }
        None => state.from_guid.is_none() && target.snapshots.is_empty(),
    };
    let fits = starts_at_base && state.raw == source.encrypted;
    if fits && features::can_resume(state, source) {
        Partial::Resumable { state, to }
    } else {
        Partial::Dead
    }
}

/// True if zbackup must have begun it, for this volume.
///
/// A run bookmarks for its peer what it is about to send, so such a bookmark shows that a state is
/// this volume's, whoever made the snapshot. If the pool cannot make bookmarks, a managed snapshot
/// with a name that zbackup gives shows it. If nobody here knows the snapshot, since it is gone or
/// another host's, only the name can show it.
fn is_our_own(
    state: &ResumeState,
    volume: &VolumePath,
    [source, target]: [&Dataset; 2],
    peer: Guid,
    common: Option<&Common<'_>>,
) -> bool {
    let of_peer = |bookmark: &&Bookmark| {
        ledger::parse(bookmark.name.short()).is_some_and(|(of, _)| of.pool == peer)
    };
    let mut ledger = source.bookmarks.iter().filter(of_peer);
    let Some(to) = source.snapshot(state.to_guid) else {
        return ledger.any(|bookmark| bookmark.guid == state.to_guid)
            || named_by_us(state).is_some_and(|to| is_of(&to, volume));
    };
    is_managed(to) && named_by_us(state).is_some()
        || ledger.any(|bookmark| {
            bookmark.guid == to.guid
                || bookmark.createtxg > to.createtxg && is_on_the_way(to, target, common)
        })
}

/// True if `to` is one of the snapshots before the last that a run with `intermediate` sends.
fn is_on_the_way(to: &Snapshot, target: &Dataset, common: Option<&Common<'_>>) -> bool {
    match common {
        Some(common) => common.newer_on_source.iter().any(|one| one.guid == to.guid),
        // The bookmark may be of a copy that is long gone. But what zbackup makes anew has this property set.
        None => target.placeholder || target.local_properties.contains_key("readonly"),
    }
}

/// The snapshot's name on the sender, if it is a name that zbackup gives.
fn named_by_us(state: &ResumeState) -> Option<SnapshotName> {
    let to = SnapshotName::new(&state.to_name).ok()?;
    is_our_name(to.short()).then_some(to)
}

/// True if it is this volume's; from which pool is unknown.
fn is_of(to: &SnapshotName, volume: &VolumePath) -> bool {
    to.dataset().as_str().ends_with(volume.as_str())
}
