//! What happens to what the target holds besides the base, and where that is the user's to decide.

use super::common::{Common, are_empty};
use super::resume::Partial;
use super::types::{Conflict, Direction, Overwrite};
use super::volume::{Decision, Halt, Pair};
use crate::inventory::Dataset;
use crate::name::{DatasetName, SnapshotName, VolumePath};
use crate::snapshot::Snapshot;

/// What an import can write of an encrypted dataset whose key is not loaded, bytes: two copies of
/// its uncompressed root block, where it claims the intent log. Nobody has changed anything then.
const CLAIMED_LOG_BYTES: u64 = 2 * 4096;

impl<'a> Pair<'a> {
    /// What an increment from `common` does to the target's own changes.
    ///
    /// Newer snapshots without data are harmless: the kernel receives a stream that is not raw
    /// over them, and they stay. On the disk, changes that no snapshot holds are rolled back
    /// unasked: copies are read-only, so there is nothing of value in them.
    pub fn overwrite(&self, target: &Dataset, common: &Common<'_>) -> Result<Overwrite, Halt> {
        let newer = common.newer_on_target;
        let written_bytes = target.written_bytes;
        if newer.is_empty() {
            return self.roll_back(target, common);
        }
        if !self.source.encrypted && written_bytes == 0 && are_empty(newer) {
            return Ok(Overwrite::Nothing);
        }
        if self.is_forced() && held(newer).is_none() {
            return Ok(Overwrite::Destroy {
                snapshots: names(newer),
                written_bytes,
            });
        }
        Err(Halt::Conflict {
            conflict: Conflict::diverged(common.on_target, newer, written_bytes),
            refusal: self.refused_for_hold(newer),
        })
    }

    /// Changes after the base that no snapshot holds.
    fn roll_back(&self, target: &Dataset, common: &Common<'_>) -> Result<Overwrite, Halt> {
        let written_bytes = target.written_bytes;
        if written_bytes == 0 {
            Ok(Overwrite::Nothing)
        } else if self.policy.direction == Direction::ToDisk || self.is_forced() {
            Ok(Overwrite::RollBack { written_bytes })
        } else if target.encrypted && written_bytes <= CLAIMED_LOG_BYTES {
            // The kernel can tell, and keeps the receive out where there is a change.
            Ok(Overwrite::Nothing)
        } else {
            Err(Conflict::Modified {
                base: common.on_target.name.short().into(),
                written_bytes,
                atime: target.atime,
            }
            .into())
        }
    }

    /// A target in use that has nothing in common with the source: only `--force` replaces it.
    pub fn replace(&self, target: &'a Dataset) -> Result<Decision, Halt> {
        let snapshots = names(&target.snapshots);
        let refusal = if target.has_children {
            let reason = format!("{} has child datasets that would go with it", target.name);
            self.is_forced().then_some(reason)
        } else {
            self.refused_for_hold(&target.snapshots)
        };
        if !self.is_forced() || refusal.is_some() {
            return Err(Halt::Conflict {
                conflict: Conflict::NoCommonSnapshot {
                    snapshots,
                    referenced_bytes: target.referenced_bytes,
                },
                refusal,
            });
        }
        let partial = match target.resume {
            Some(_) => Partial::Dead,
            None => Partial::None,
        };
        let beside = Self {
            target: None,
            ..*self
        };
        beside.send(None, partial, Overwrite::Replace { snapshots })
    }

    /// Renames the target aside and starts anew, where `--keep-both` names all that moves.
    pub fn keep_both(&self, target: &Dataset, conflict: Conflict) -> Result<Decision, Halt> {
        let refuse = |reason| Halt::Conflict {
            conflict,
            refusal: Some(reason),
        };
        match self.name_aside(target) {
            Ok(renamed_to) => {
                let anew = Self {
                    target: None,
                    ..*self
                };
                anew.send(None, Partial::None, Overwrite::KeepBoth { renamed_to })
            }
            Err(reason) => Err(refuse(reason)),
        }
    }

    /// A free name beside the target. Its children move along, so each must be named too.
    fn name_aside(&self, target: &Dataset) -> Result<DatasetName, String> {
        let mut children = self
            .target_side
            .datasets
            .keys()
            .filter(|name| name.is_within(&target.name) && **name != target.name)
            .peekable();
        if target.has_children && children.peek().is_none() {
            return Err(format!("the children of {} are not known", target.name));
        }
        if let Some(child) = children.find(|child| !self.is_kept(child)) {
            return Err(format!(
                "{child} would move along: name its volume with --keep-both too"
            ));
        }
        let plain = format!("{}-kept-{}", target.name, self.policy.now.date);
        let counted = (2u64..).map(|count| format!("{plain}-{count}"));
        std::iter::once(plain.clone())
            .chain(counted)
            .map(|name| DatasetName::new(&name).map_err(|error| error.to_string()))
            .find(|name| !matches!(name, Ok(name) if self.target_side.dataset(name).is_some()))
            .expect("a finite set leaves a number free")
    }

    fn is_kept(&self, dataset: &DatasetName) -> bool {
        let path = dataset.below(&self.target_side.top);
        path.and_then(|path| VolumePath::new(path).ok())
            .is_some_and(|volume| self.policy.keep_both.contains(&volume))
    }

    fn refused_for_hold(&self, snapshots: &[Snapshot]) -> Option<String> {
        let held = held(snapshots).filter(|_| self.is_forced())?;
        Some(format!("{} is held (zfs holds)", held.name))
    }
}

fn held(snapshots: &[Snapshot]) -> Option<&Snapshot> {
    snapshots.iter().find(|snapshot| snapshot.holds > 0)
}

fn names(snapshots: &[Snapshot]) -> Vec<SnapshotName> {
    snapshots
        .iter()
        .map(|snapshot| snapshot.name.clone())
        .collect()
}
