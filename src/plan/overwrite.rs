//! What happens to what the target holds besides the base, and when the user decides that.

use openzfs::{DatasetName, Snapshot, SnapshotName};

use super::common::{Common, are_empty};
use super::renames;
use super::resume::Partial;
use super::typed;
use super::types::{Conflict, Direction, Overwrite};
use super::volume::{Decision, Pair, PlanError};
use crate::model::Dataset;
use crate::model::VolumePath;
use crate::next::next;
use crate::text::shell_word;

/// Bytes that an import can write to an encrypted dataset whose key is not loaded: two copies of
/// its uncompressed root block, if it claims the intent log. Nobody has changed anything then.
const CLAIMED_LOG_BYTES: u64 = 2 * 4096;

impl<'a> Pair<'a> {
    /// What an increment from `common` does to the target's own changes.
    ///
    /// Newer snapshots without data are harmless: the kernel receives a stream that is not raw
    /// over them, and they stay.
    pub fn overwrite(&self, target: &Dataset, common: &Common<'_>) -> Result<Overwrite, PlanError> {
        let newer = common.newer_on_target;
        let written_bytes = target.written_bytes;
        if newer.is_empty() {
            return self.roll_back(target, common);
        }
        if !self.source.encrypted && written_bytes == 0 && are_empty(newer) {
            return Ok(Overwrite::Nothing);
        }
        let refusal = self.refused_for_hold(newer).or_else(|| {
            let gone_with =
                |clone| next!("clone-destroy", "`zfs destroy {clone}` gives that up too");
            self.refused_for_clone(newer, gone_with)
        });
        if self.is_forced() && refusal.is_none() {
            return Ok(Overwrite::Destroy {
                snapshots: names(newer),
                written_bytes,
            });
        }
        Err(PlanError::Conflict {
            conflict: Conflict::diverged(common.on_target, newer, written_bytes),
            refusal,
        })
    }

    /// Changes after the base that no snapshot holds. No run leaves any, on a copy either: what an
    /// interrupted receive has brought is beside the dataset, and properties are not in it. So somebody made
    /// them, whatever the copy is like now.
    fn roll_back(&self, target: &Dataset, common: &Common<'_>) -> Result<Overwrite, PlanError> {
        let written_bytes = target.written_bytes;
        if written_bytes == 0 {
            Ok(Overwrite::Nothing)
        } else if self.is_forced() {
            Ok(Overwrite::RollBack { written_bytes })
        } else if target.encrypted && written_bytes <= CLAIMED_LOG_BYTES {
            // The kernel can tell, and refuses the receive if there is a change.
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
    pub fn replace(&self, target: &'a Dataset) -> Result<Decision, PlanError> {
        let snapshots = names(&target.snapshots);
        let copy_of = renames::owner(self.sides, target);
        let refusal = if target.has_children {
            let reason = format!("{} has child datasets that would go with it", target.name);
            self.is_forced().then_some(reason)
        } else if let Some(owner) = &copy_of {
            let reason = format!("{} is the copy of {owner}", target.name);
            self.is_forced().then_some(reason)
        } else {
            self.refused_for_hold(&target.snapshots).or_else(|| {
                let freed = |clone| {
                    next!(
                        "clone-promote",
                        "`zfs promote {clone}` gives it that for good"
                    )
                };
                self.refused_for_clone(&target.snapshots, freed)
            })
        };
        if !self.is_forced() || refusal.is_some() {
            return Err(PlanError::Conflict {
                conflict: Conflict::NoCommonSnapshot {
                    snapshots,
                    referenced_bytes: target.referenced_bytes,
                    copy_of,
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
        let overwrite = Overwrite::Replace {
            snapshots,
            written_bytes: target.written_bytes,
        };
        beside.send(None, partial, overwrite)
    }

    /// Renames the target aside and starts anew, if `--keep-both` names all that moves.
    pub fn keep_both(&self, target: &Dataset, conflict: Conflict) -> Result<Decision, PlanError> {
        let refuse = |reason| PlanError::Conflict {
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

    /// A free name beside the target. Its children move with it, so each must be named too.
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
            let volume = child
                .below(&self.target_side.top)
                .map(|path| format!("/{path}"));
            let volume = volume
                .filter(|volume| self.policy.volumes.iter().any(|one| one.as_str() == volume));
            return Err(match volume {
                Some(volume) => next!(
                    "keep-both-child",
                    "{child} would move along: add --keep-both {}",
                    shell_word(&volume)
                ),
                None => format!("{child} would move along, and is none of the volumes to carry"),
            });
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
        let held = snapshots.iter().find(|snapshot| snapshot.holds > 0);
        let name = &held.filter(|_| self.is_forced())?.name;
        let word = shell_word(name);
        let steps = [
            next!("held", "`zfs holds {word}` shows by which tag"),
            next!("held", "`zfs release TAG {word}` ends it"),
        ];
        let on_disk = self.policy.direction == Direction::ToDisk;
        Some(format!(
            "{name} is held: {}",
            typed::commands(on_disk, &steps)
        ))
    }

    /// A clone needs its snapshot: the kernel does not destroy that, and says so only when the whole stream
    /// has arrived. `way_out` says what to do with the clone. Promoting it gives it the snapshot and all
    /// older ones. If nothing of the target stays, promoting the clone of the newest snapshot is enough. If
    /// the target continues from its base, the base would move to the clone, and nothing would fit any more.
    fn refused_for_clone(
        &self,
        snapshots: &[Snapshot],
        way_out: impl Fn(String) -> String,
    ) -> Option<String> {
        let mut newest_first = snapshots.iter().rev().filter(|_| self.is_forced());
        let (snapshot, clone) = newest_first.find_map(|one| Some((one, one.clones.first()?)))?;
        let on_disk = self.policy.direction == Direction::ToDisk;
        Some(format!(
            "{clone} is a clone of {}, and needs it: {}",
            snapshot.name,
            typed::commands(on_disk, &[way_out(shell_word(clone))])
        ))
    }
}

fn names(snapshots: &[Snapshot]) -> Vec<SnapshotName> {
    snapshots
        .iter()
        .map(|snapshot| snapshot.name.clone())
        .collect()
}
