//! Looks up in the kernel what a plan needs besides the inventory.

use std::collections::BTreeMap;

use openzfs::{Error, Libzfs, Lzc, SnapshotName};

use super::estimate;
use super::read::{self, Scope};
use crate::model::{Side, VolumePath};
use crate::plan::Plan;
use crate::planning;

/// The pools as they are now.
pub struct Probe<'a> {
    /// For listing.
    pub zfs: &'a Libzfs,
    /// For everything else.
    pub lzc: Lzc,
    /// The part of the target that the run concerns.
    pub target_scope: &'a Scope,
}

impl planning::Probe for Probe<'_> {
    fn exists(&self, snapshot: &SnapshotName) -> bool {
        self.lzc.exists(snapshot.as_str())
    }

    fn add_surroundings(&self, target: &mut Side, volumes: &[VolumePath]) -> Result<(), Error> {
        read::add_surroundings(self.zfs, self.target_scope, volumes, target)
    }

    fn list_in_full(&self, target: &mut Side, volumes: &[&VolumePath]) {
        read::list_in_full(self.zfs, target, volumes);
    }

    fn estimate(&self, plan: &mut Plan, source: &Side, target: &Side) {
        estimate::fill(plan, source, target, self.zfs, self.lzc);
    }

    fn freed_bytes(&self, plan: &Plan, target: &Side) -> BTreeMap<VolumePath, u64> {
        estimate::freed_bytes(plan, target, self.lzc)
    }
}
