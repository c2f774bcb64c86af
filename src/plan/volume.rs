//! What happens to one volume: the two ends of it, and the story of the decision.

use openzfs::{DatasetName, Guid, InvalidName, Snapshot};

use super::common::{Common, are_empty, newer_than_bookmarked};
use super::proof::uncertain_base;
use super::renames::{self, Sides};
use super::resume::{self, Partial};
use super::steps::Sending;
use super::types::{Conflict, Direction, Overwrite, Policy, UpToDate};
use crate::model::VolumePath;
use crate::model::{Dataset, Side, is_managed};

/// The two ends of a volume, and what the user wants and allows.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub policy: &'a Policy,
    pub volume: &'a VolumePath,
    pub source: &'a Dataset,
    /// Everything that both sides hold.
    pub sides: Sides<'a>,
    pub target_side: &'a Side,
    pub target_name: &'a DatasetName,
    /// `None` if it does not exist, or will no longer exist when this volume's turn comes.
    pub target: Option<&'a Dataset>,
    /// The nearest dataset above the target when its turn comes, if that dataset is encrypted.
    pub encrypted_above: Option<&'a DatasetName>,
}

/// What is to be done.
pub(super) enum Decision {
    UpToDate(UpToDate),
    Send(Sending),
}

/// Why nothing is done.
pub(super) enum PlanError {
    Impossible(String),
    Conflict {
        conflict: Conflict,
        /// Why the option that the user named is refused.
        refusal: Option<String>,
    },
}

impl From<Conflict> for PlanError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict {
            conflict,
            refusal: None,
        }
    }
}

impl From<InvalidName> for PlanError {
    fn from(error: InvalidName) -> Self {
        Self::Impossible(error.to_string())
    }
}

impl<'a> Pair<'a> {
    /// Decides from the two histories.
    pub fn decide(&self) -> Result<Decision, PlanError> {
        self.check_possible().map_err(PlanError::Impossible)?;
        self.check_renamed()?;
        let Some(target) = self.target else {
            return self.send(None, Partial::None, Overwrite::Nothing);
        };
        self.follow(target).or_else(|halt| match halt {
            PlanError::Conflict { conflict, .. } if self.keeps_both() => {
                self.keep_both(target, conflict)
            }
            other => Err(other),
        })
    }

    /// Nothing is sent anew if the target has it under another name, unless that is asked for.
    fn check_renamed(&self) -> Result<(), PlanError> {
        if self.keeps_both() {
            return Ok(());
        }
        let Some(conflict) = renames::conflict(self.policy, self.sides, self.volume) else {
            return Ok(());
        };
        let refusal = if self.is_forced() {
            Some("--force does not rename a copy, nor does it send one twice")
        } else if self.policy.follow_rename.contains(self.volume) {
            Some("the copy cannot be renamed yet")
        } else {
            None
        };
        Err(PlanError::Conflict {
            conflict,
            refusal: refusal.map(Into::into),
        })
    }

    /// Brings an existing target up to date.
    fn follow(&self, target: &'a Dataset) -> Result<Decision, PlanError> {
        let decided = self.follow_what_is_certain(target);
        decided.map_err(|halt| self.blame_doubt(target, halt))
    }

    fn follow_what_is_certain(&self, target: &'a Dataset) -> Result<Decision, PlanError> {
        let common = Common::newest(self.source, target);
        self.check_encryption(target, common.as_ref())?;
        if let Some(ahead) = self.ahead_by_bookmark(target, common.as_ref()) {
            return Ok(Decision::UpToDate(ahead));
        }
        let Some(common) = common else {
            return self.first_copy(target);
        };
        if let Some(up_to_date) = self.up_to_date(target, &common)
            && !self.undoes_changes(target, &common, &up_to_date)?
        {
            return Ok(Decision::UpToDate(up_to_date));
        }
        let overwrite = self.overwrite(target, &common)?;
        let partial = self.partial(target, Some(&common))?;
        self.send(Some(&common), partial, overwrite)
    }

    /// If a doubtful bookmark is all that the source has of the target's newest snapshot, the
    /// bookmark is the conflict: nobody has written to the target.
    fn blame_doubt(&self, target: &Dataset, halt: PlanError) -> PlanError {
        let Some((base, doubt)) = uncertain_base(self.source, target) else {
            return halt;
        };
        let (snapshots, older, refusal) = match halt {
            PlanError::Conflict {
                conflict: Conflict::Diverged { base, newer, .. },
                refusal,
            } => (newer, Some(base), refusal),
            PlanError::Conflict {
                conflict: Conflict::NoCommonSnapshot { snapshots, .. },
                refusal,
            } => (snapshots, None, refusal),
            other => return other,
        };
        PlanError::Conflict {
            conflict: Conflict::BaseUncertain {
                base: base.name.short().into(),
                doubt,
                snapshots,
                older,
            },
            refusal,
        }
    }

    /// Sends in full into a target that exists and has nothing in common with the source.
    fn first_copy(&self, target: &'a Dataset) -> Result<Decision, PlanError> {
        self.check_fully_listed(target)
            .map_err(PlanError::Impossible)?;
        let overwrite = if target.is_mere_parent() {
            self.check_room_for_children(target)
                .map_err(PlanError::Impossible)?;
            Overwrite::Placeholder
        } else if target.inconsistent {
            Overwrite::Nothing
        } else {
            return self.replace(target);
        };
        let partial = self.partial(target, None)?;
        self.send(None, partial, overwrite)
    }

    /// Nothing to send, and why.
    ///
    /// `usb` looks at what was written, not only at snapshots: a run must leave a managed snapshot on
    /// the disk that holds everything, however many snapshots other tools took meanwhile.
    /// Snapshots that only the target holds count as being ahead if they hold data.
    fn up_to_date(&self, target: &Dataset, common: &Common<'_>) -> Option<UpToDate> {
        if !self.has_nothing_newer(common.newer_on_source) {
            return None;
        }
        if let Some(newest) = target.newest()
            && !are_empty(common.newer_on_target)
        {
            return Some(UpToDate::TargetAhead(newest.name.clone()));
        }
        if self.policy.direction == Direction::ToDisk && self.new_key(target) {
            return None;
        }
        let is_managed_there =
            |guid: Guid| target.snapshot(guid).is_some() && self.is_managed(guid);
        let managed_is_there = (is_managed_there(common.on_target.guid)
            || is_managed_there(common.latest))
            && !common
                .newer_on_source
                .iter()
                .any(|s| self.is_managed(s.guid));
        (self.policy.direction == Direction::ToHost || managed_is_there)
            .then(|| UpToDate::Equal(common.on_target.name.clone()))
    }

    /// True if a copy on the disk was written to and `--force` gives that up, with a stream of nothing
    /// else. What somebody has written to a copy is a conflict even before the host has anything to send:
    /// until then they would take it for a copy. On the host it is just their work.
    fn undoes_changes(
        &self,
        target: &Dataset,
        common: &Common<'_>,
        up_to_date: &UpToDate,
    ) -> Result<bool, PlanError> {
        let is_copy =
            self.policy.direction == Direction::ToDisk && matches!(up_to_date, UpToDate::Equal(_));
        if !is_copy || target.written_bytes == 0 {
            return Ok(false);
        }
        Ok(self.overwrite(target, common)? != Overwrite::Nothing)
    }

    /// The target is ahead and its retention has destroyed what was in common: its bookmark proves
    /// it. Something older, such as a snapshot that zbackup did not make, may still be in common.
    fn ahead_by_bookmark(&self, target: &Dataset, common: Option<&Common<'a>>) -> Option<UpToDate> {
        let newer_on_source = newer_than_bookmarked(self.source, target, common)?;
        let newest = target.newest()?;
        self.has_nothing_newer(newer_on_source)
            .then(|| UpToDate::TargetAhead(newest.name.clone()))
    }

    /// True if the target would get another key with any stream of the source.
    pub fn new_key(&self, target: &Dataset) -> bool {
        let keys = self.source.key.as_ref().zip(target.key.as_ref());
        keys.is_some_and(|(source, target)| source.differs(target))
    }

    /// True if the source has nothing to send that is newer than what is in common.
    fn has_nothing_newer(&self, newer_on_source: &[Snapshot]) -> bool {
        match self.policy.direction {
            Direction::ToHost => newer_on_source.is_empty(),
            Direction::ToDisk => self.source.written_bytes == 0 && are_empty(newer_on_source),
        }
    }

    /// The interrupted receive on the target; somebody else's is a conflict unless forced.
    fn partial(
        &self,
        target: &'a Dataset,
        common: Option<&Common<'a>>,
    ) -> Result<Partial<'a>, PlanError> {
        let peer = self.target_side.pool_guid;
        match resume::judge(self.volume, self.source, target, peer, common) {
            Partial::Foreign if self.is_forced() => Ok(Partial::Dead),
            Partial::Foreign => Err(Conflict::ForeignResumeState {
                received_bytes: target.resume.as_ref().map(|state| state.received_bytes),
            }
            .into()),
            partial => Ok(partial),
        }
    }

    /// True if the last stream of this volume ends at this run's snapshot.
    ///
    /// `os` never takes one. `usb` takes none if nothing was written since the newest snapshot,
    /// that one is managed, and the target lacks it: the second of two rotating disks gets the same
    /// snapshot as the first.
    pub fn takes_snapshot(&self, newer_on_source: &[Snapshot]) -> bool {
        if self.policy.direction == Direction::ToHost {
            return false;
        }
        let can_end_at = |newest: &Snapshot| {
            self.is_managed(newest.guid) && self.other_of_that_name(newest).is_none()
        };
        self.source.written_bytes > 0 || !newer_on_source.last().is_some_and(can_end_at)
    }

    /// A snapshot of the target that has the same name as this one of the source, but is another.
    pub fn other_of_that_name(&self, snapshot: &Snapshot) -> Option<&'a Snapshot> {
        let short = snapshot.name.short();
        self.target?
            .snapshots
            .iter()
            .find(|other| other.name.short() == short && other.guid != snapshot.guid)
    }

    /// The mark on the source counts. If the snapshot is gone there, only the target's mark is left.
    fn is_managed(&self, guid: Guid) -> bool {
        let on_target = || self.target?.snapshot(guid);
        let known = self.source.snapshot(guid).or_else(on_target);
        known.is_some_and(is_managed)
    }

    pub fn is_forced(&self) -> bool {
        self.policy.force.contains(self.volume) && !self.keeps_both()
    }

    pub fn keeps_both(&self) -> bool {
        self.policy.keep_both.contains(self.volume)
    }
}
