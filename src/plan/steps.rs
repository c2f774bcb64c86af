//! The streams that bring one volume up to date.

use openzfs::{BookmarkName, Snapshot};

use super::common::{Common, newer_than};
use super::resume::Partial;
use super::types::{Base, BaseSource, Conflict, Overwrite, Point, Step, Transfer};
use super::volume::{Decision, Pair, PlanError};
use crate::model::ledger;

/// A transfer that lacks only the new snapshot's name, which depends on all volumes.
pub(super) struct Sending {
    /// The streams up to snapshots that exist: none yet if only the new snapshot is sent.
    pub transfer: Transfer,
    /// The newest snapshot that the target has after these streams.
    pub last: Option<Base>,
    /// One more stream follows, up to this run's snapshot.
    pub takes_snapshot: bool,
}

impl Pair<'_> {
    /// Lists the streams from what is in common up to the newest snapshot.
    pub fn send(
        &self,
        common: Option<&Common<'_>>,
        partial: Partial<'_>,
        overwrite: Overwrite,
    ) -> Result<Decision, PlanError> {
        self.check_features()?;
        if common.is_some() && self.source.is_split {
            let refusal = "--force brings increments alone, and no increment fits here";
            return Err(PlanError::Conflict {
                conflict: Conflict::SplitBlocks,
                refusal: self.is_forced().then(|| refusal.into()),
            });
        }
        if common.is_none() {
            self.check_encryption_above()?;
        }
        let newer = common.map_or(&self.source.snapshots[..], |common| common.newer_on_source);
        let takes_snapshot = self.takes_snapshot(newer);
        let points = self.points(newer, &partial, takes_snapshot);
        for point in &points {
            self.check_name(point).map_err(PlanError::Impossible)?;
        }
        let left_out = newer.len() - points.len();
        let stale_bookmarks = self.stale_bookmarks(common, &overwrite);
        let drops_resume_state = matches!(partial, Partial::Dead);
        let (steps, last) = chain(common.map(Common::base), &points, &partial);
        Ok(Decision::Send(Sending {
            transfer: Transfer {
                kind: self.source.kind,
                raw: self.source.encrypted,
                steps,
                overwrite,
                stale_bookmarks,
                drops_resume_state,
                left_out,
                new_key: common.is_some() && self.target.is_some_and(|target| self.new_key(target)),
            },
            last,
            takes_snapshot,
        }))
    }

    /// The existing snapshots to stop at, oldest first.
    fn points<'s>(
        &self,
        newer: &'s [Snapshot],
        partial: &Partial<'s>,
        takes_snapshot: bool,
    ) -> Vec<&'s Snapshot> {
        let mut points = Vec::new();
        let mut rest = newer;
        if let Partial::Resumable { to, .. } = partial {
            points.push(*to);
            rest = newer_than(newer, to.createtxg);
        }
        if self.policy.intermediate {
            points.extend(rest);
        } else if !takes_snapshot {
            points.extend(rest.last());
        }
        points
    }

    /// The target's bookmarks of changes that are going to be undone there.
    fn stale_bookmarks(
        &self,
        common: Option<&Common<'_>>,
        overwrite: &Overwrite,
    ) -> Vec<BookmarkName> {
        let undoes = matches!(
            overwrite,
            Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
        );
        let (true, Some(common), Some(target)) = (undoes, common, self.target) else {
            return Vec::new();
        };
        // Doubtful ones too: other tools may trust them. Those of the ledger are destroyed in any case.
        let doubtful = target.doubtful.iter();
        let foreign = doubtful.filter(|one| ledger::parse(one.name.short()).is_none());
        let all = target.bookmarks.iter().chain(foreign);
        all.filter(|bookmark| bookmark.createtxg > common.on_target.createtxg)
            .map(|bookmark| bookmark.name.clone())
            .collect()
    }

    /// A snapshot keeps its name on the target: the name must be free and not too long there.
    fn check_name(&self, point: &Snapshot) -> Result<(), String> {
        self.target_name
            .snapshot(point.name.short())
            .map_err(|error| error.to_string())?;
        match self.other_of_that_name(point) {
            Some(other) => Err(format!(
                "{} and {} are different snapshots of one name: rename one of them",
                point.name, other.name
            )),
            None => Ok(()),
        }
    }
}

/// Each step starts where the one before it ended; only the first can resume an interrupted receive.
fn chain(
    mut base: Option<Base>,
    points: &[&Snapshot],
    partial: &Partial<'_>,
) -> (Vec<Step>, Option<Base>) {
    let mut resume = match partial {
        Partial::Resumable { state, .. } => Some((*state).clone()),
        _ => None,
    };
    let mut steps = Vec::new();
    for point in points {
        steps.push(Step {
            base: base.replace(base_at(point)),
            to: Point::Existing {
                name: point.name.clone(),
                guid: point.guid,
            },
            resume: resume.take(),
        });
    }
    (steps, base)
}

fn base_at(snapshot: &Snapshot) -> Base {
    Base {
        guid: snapshot.guid,
        source: BaseSource::Snapshot(snapshot.name.clone()),
        label: snapshot.name.short().into(),
    }
}
