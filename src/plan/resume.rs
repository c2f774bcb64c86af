//! What to do with a receive that broke off and left its state on the target.

use super::common::Common;
use crate::inventory::Dataset;
use crate::name::{SnapshotName, VolumePath};
use crate::snapshot::{ResumeState, Snapshot};

/// A broken-off receive, judged.
#[derive(Clone, Copy)]
pub(super) enum Partial<'a> {
    /// There is none.
    None,
    /// It can go on.
    Resumable {
        /// What is needed to go on.
        state: &'a ResumeState,
        /// The snapshot that it ends at, on the source.
        to: &'a Snapshot,
    },
    /// It is of this volume but cannot go on: its snapshot is gone on the source, or the target
    /// has moved on since.
    Dead,
    /// Somebody else's.
    Foreign,
}

/// Judges the state that a broken-off receive left on `target`.
///
/// It goes on only where it starts at the newest common snapshot (or, for a full stream, at
/// nothing): anything else would end in a history that this run did not plan.
pub(super) fn judge<'a>(
    volume: &VolumePath,
    source: &'a Dataset,
    target: &'a Dataset,
    common: Option<&Common<'a>>,
) -> Partial<'a> {
    let Some(state) = &target.resume else {
        // What was received without a token can neither go on nor be told whose it was.
        return if target.inconsistent {
            Partial::Foreign
        } else {
            Partial::None
        };
    };
    let Some(to) = source.snapshot(state.to_guid) else {
        return if is_our_own(state, volume) {
            Partial::Dead
        } else {
            Partial::Foreign
        };
    };
    let starts_at_base = match common {
        Some(common) => {
            state.from_guid == Some(common.on_target.guid)
                && common.newer_on_source.iter().any(|s| s.guid == to.guid)
        }
        None => state.from_guid.is_none() && target.snapshots.is_empty(),
    };
    if starts_at_base && state.raw == source.encrypted {
        Partial::Resumable { state, to }
    } else {
        Partial::Dead
    }
}

/// True where zbackup must have sent it, and for this volume, though from which pool is unknown:
/// only then may a state be dropped whose snapshot nobody here knows.
fn is_our_own(state: &ResumeState, volume: &VolumePath) -> bool {
    let Ok(to) = SnapshotName::new(&state.to_name) else {
        return false;
    };
    to.short().starts_with("zbackup-") && to.dataset().as_str().ends_with(volume.as_str())
}
