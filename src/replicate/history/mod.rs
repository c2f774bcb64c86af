//! What both sides have in common afterwards: the run's snapshot, bookmarks for absent peers, and the
//! pruning of old snapshots.

pub(in crate::replicate) mod ledger;
pub(in crate::replicate) mod retention;
pub(in crate::replicate) mod snapshot;
pub(in crate::replicate) mod stand_in;
pub(in crate::replicate) mod undone;
