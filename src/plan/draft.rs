//! A decided volume without the new snapshot's name, which depends on all volumes.

use openzfs::{DatasetName, InvalidName, SnapshotName};

use super::renames::{self, Sides};
use super::steps::Sending;
use super::types::{
    Action, Direction, Overwrite, Point, Policy, Remedies, Retention, Step, VolumePlan,
};
use super::volume::{Decision, Pair, PlanError};
use crate::model::VolumePath;
use crate::model::{Dataset, Side};
use crate::next::next;

/// One volume between the decision and the finished plan.
pub(super) struct Draft<'a> {
    volume: &'a VolumePath,
    source: DatasetName,
    target: DatasetName,
    decision: Result<Decision, PlanError>,
    /// Both datasets, if they exist, for their snapshots' names.
    datasets: [Option<&'a Dataset>; 2],
    /// What can be done if the decision is a conflict.
    remedies: Remedies,
}

impl<'a> Draft<'a> {
    /// Decides about `volume`. The targets in `moved` are going to be renamed aside, with all that
    /// is below them.
    pub fn new(
        policy: &'a Policy,
        source_side: &'a Side,
        target_side: &'a Side,
        volume: &'a VolumePath,
        moved: &[DatasetName],
    ) -> Self {
        let mut draft = Self {
            volume,
            source: source_side.top.clone(),
            target: target_side.top.clone(),
            decision: Err(PlanError::Impossible(String::new())),
            datasets: [None, None],
            remedies: Remedies {
                on_disk: policy.direction == Direction::ToDisk,
                ..Remedies::default()
            },
        };
        draft.decision = draft.decide(policy, source_side, target_side, moved);
        draft
    }

    fn decide(
        &mut self,
        policy: &'a Policy,
        source_side: &'a Side,
        target_side: &'a Side,
        moved: &[DatasetName],
    ) -> Result<Decision, PlanError> {
        self.source = source_side.name_of(self.volume)?;
        self.target = target_side.name_of(self.volume)?;
        for (side, name) in [(source_side, &self.source), (target_side, &self.target)] {
            if let Some(why) = side.unreadable.get(name) {
                return Err(PlanError::Impossible(format!(
                    "{name} cannot be read: {why}"
                )));
            }
        }
        let sides = Sides {
            source: source_side,
            target: target_side,
        };
        let Some(source) = source_side.dataset(&self.source) else {
            if let Some(conflict) = renames::gone(sides, self.volume) {
                return Err(conflict.into());
            }
            return Err(PlanError::Impossible(missing(
                policy.direction,
                self.volume,
                &self.source,
            )));
        };
        let target = target_side
            .dataset(&self.target)
            .filter(|target| !moved.iter().any(|gone| target.name.is_within(gone)));
        self.datasets = [Some(source), target];
        let above = encrypted_above(policy, [source_side, target_side], &self.target, moved);
        let pair = Pair {
            policy,
            volume: self.volume,
            source,
            sides,
            target_side,
            target_name: &self.target,
            target,
            encrypted_above: above.as_ref(),
        };
        let decision = pair.decide();
        if matches!(decision, Err(PlanError::Conflict { .. })) {
            self.remedies = pair.remedies();
        }
        decision
    }

    /// The target that is going to be renamed aside.
    pub fn moves(&self) -> Option<&DatasetName> {
        match &self.decision {
            Ok(Decision::Send(sending)) => {
                matches!(sending.transfer.overwrite, Overwrite::KeepBoth { .. })
                    .then_some(&self.target)
            }
            _ => None,
        }
    }

    /// True if this run's snapshot is taken of this volume.
    pub fn takes_snapshot(&self) -> bool {
        matches!(&self.decision, Ok(Decision::Send(sending)) if sending.takes_snapshot)
    }

    /// Short names that the new snapshot cannot have.
    pub fn taken_names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let datasets = self.datasets.into_iter().flatten();
        datasets
            .flat_map(|dataset| &dataset.snapshots)
            .map(|snapshot| snapshot.name.short())
    }

    /// The plan of this volume, with the new snapshot's short name if it takes one.
    pub fn finish(self, snapshot: &str) -> VolumePlan {
        let new_names = (
            self.source.snapshot(snapshot),
            self.target.snapshot(snapshot),
        );
        let (action, refusal) = match self.decision {
            Ok(Decision::UpToDate(up_to_date)) => (Action::UpToDate(up_to_date), None),
            Ok(Decision::Send(sending)) => (finish(sending, new_names), None),
            Err(PlanError::Impossible(reason)) => (Action::Impossible(reason), None),
            Err(PlanError::Conflict { conflict, refusal }) => (Action::Conflict(conflict), refusal),
        };
        VolumePlan {
            volume: self.volume.clone(),
            source: self.source,
            target: self.target,
            action,
            waits_for: None,
            refusal,
            remedies: self.remedies,
            estimated_bytes: None,
            stored_bytes: None,
            retention: Retention::default(),
            forgets: Vec::new(),
        }
    }
}

/// The nearest dataset above `target` that exists when its turn comes, if that dataset is
/// encrypted: it exists already, or this run brings it.
fn encrypted_above(
    policy: &Policy,
    [source_side, target_side]: [&Side; 2],
    target: &DatasetName,
    moved: &[DatasetName],
) -> Option<DatasetName> {
    let is_encrypted = |name: &DatasetName| {
        let stays = !moved.iter().any(|gone| name.is_within(gone));
        if let Some(there) = target_side.dataset(name).filter(|_| stays) {
            return Some(there.encrypted);
        }
        let volume = VolumePath::new(name.below(&target_side.top)?).ok()?;
        let arrives = policy.volumes.contains(&volume);
        let source = source_side.name_of(&volume).ok().filter(|_| arrives)?;
        Some(source_side.dataset(&source)?.encrypted)
    };
    let mut above = target.ancestors().into_iter().rev();
    above
        .find_map(|name| is_encrypted(&name).map(|encrypted| encrypted.then_some(name)))
        .flatten()
}

/// A snapshot's full name on the source and on the target, if these are valid.
type BothNames = (
    Result<SnapshotName, InvalidName>,
    Result<SnapshotName, InvalidName>,
);

/// Adds the stream up to the new snapshot.
fn finish(sending: Sending, new_names: BothNames) -> Action {
    let mut transfer = sending.transfer;
    if !sending.takes_snapshot {
        return Action::Send(transfer);
    }
    match new_names {
        (Ok(on_source), Ok(_)) => {
            transfer.steps.push(Step {
                base: sending.last,
                to: Point::New(on_source),
                resume: None,
            });
            Action::Send(transfer)
        }
        (Err(error), _) | (_, Err(error)) => Action::Impossible(error.to_string()),
    }
}

fn missing(direction: Direction, volume: &VolumePath, source: &DatasetName) -> String {
    match direction {
        Direction::ToDisk => {
            next!(
                "missing-on-host",
                "{source} does not exist. Create it, or take {volume} out of the configuration"
            )
        }
        Direction::ToHost => {
            next!(
                "missing-on-disk",
                "{source} does not exist. `zbackup usb` on a host that has it brings it there"
            )
        }
    }
}
