//! `--force` where nothing is in common: the new copy arrives beside the old one and takes its
//! place when it is whole.
//!
//! ```text
//!  target                      old ──────────────────► renamed away ─► destroyed, last of all
//!  target-zbackup-arriving         full stream ──────► target
//! ```
//!
//! A forced full receive over the old dataset would destroy all of it, whatever was listed. This
//! way the old data is whole until the new is, and a run that dies on the way costs nothing.

use super::remount::TakenDown;
use super::volume::{Stop, Worker};
use super::{Outcomes, Replication, overwrite};
use crate::inventory::{ARRIVING_SUFFIX, REPLACED_SUFFIX, resume_state};
use crate::name::{DatasetName, InvalidName, SnapshotName};
use crate::plan::{Action, Base, BaseSource, Overwrite, Point, Step, Transfer, VolumePlan};
use crate::snapshot::{ResumeState, Snapshot};
use crate::zfs::{self, Libzfs};

/// Where the new copy arrives and where the old one goes.
struct Names {
    arriving: DatasetName,
    replaced: DatasetName,
}

impl Names {
    fn beside(target: &DatasetName) -> Result<Self, InvalidName> {
        Ok(Self {
            arriving: DatasetName::new(&format!("{target}{ARRIVING_SUFFIX}"))?,
            replaced: DatasetName::new(&format!("{target}{REPLACED_SUFFIX}"))?,
        })
    }
}

/// Warns of what a replacement that died on the way has left: nobody else would ever tell.
pub(super) fn warn_of_leftovers(run: &Replication, outcomes: &mut Outcomes) {
    for volume in &run.plan.volumes {
        let Ok(Names { arriving, replaced }) = Names::beside(&volume.target) else {
            continue;
        };
        if run.target.leftovers.contains(&replaced) {
            outcomes.warn(format!(
                "{replaced} is what {} was before it was replaced, by a run that ended early: \
                 destroy it when you do not need it any more",
                volume.target
            ));
        }
        if run.target.leftovers.contains(&arriving) && !is_replaced(volume) {
            outcomes.warn(format!(
                "{arriving} is left of a run that was to replace {} and ended early: destroy it, \
                 or go on with --force {}",
                volume.target, volume.volume
            ));
        }
    }
}

fn is_replaced(volume: &VolumePlan) -> bool {
    matches!(&volume.action, Action::Send(transfer)
        if matches!(transfer.overwrite, Overwrite::Replace { .. }))
}

/// A new copy on its way.
pub(super) struct Replacement {
    names: Names,
    /// The streams that make it whole, into [`Self::arriving`].
    pub steps: Vec<Step>,
}

impl Replacement {
    /// Looks at what an earlier run has left beside the target, and goes on from there.
    pub fn begin(worker: &Worker, volume: &VolumePlan, transfer: &Transfer) -> Result<Self, Stop> {
        let names = Names::beside(&volume.target)?;
        let Some(first) = transfer.steps.first() else {
            return Err(Stop::Failed("the plan has nothing to send".into()));
        };
        let zfs = Libzfs::open()?;
        let steps = match zfs.dataset(&names.arriving)? {
            None => vec![first.clone()],
            Some(found) => go_on(worker, volume, transfer, first, &found, &zfs)?,
        };
        Ok(Self { names, steps })
    }

    /// Where the streams go.
    pub fn arriving(&self) -> &DatasetName {
        &self.names.arriving
    }

    /// Puts the new copy in the old one's place, and destroys the old one: exactly the snapshots
    /// that were approved, then the dataset, which fails where it holds any other.
    ///
    /// Returns warnings: from the moment of the swap the volume has arrived.
    pub fn swap(
        &self,
        worker: &Worker,
        volume: &VolumePlan,
        transfer: &Transfer,
    ) -> Result<Vec<String>, Stop> {
        let Names { arriving, replaced } = &self.names;
        let target = &volume.target;
        let zfs = Libzfs::open()?;
        // The streams took their time: look again.
        overwrite::check_victims(&zfs, worker, volume, transfer)?;
        if worker.lzc.exists(replaced.as_str()) {
            return Err(Stop::Refused(format!(
                "{replaced} is in the way: destroy or rename it"
            )));
        }
        let mounts = TakenDown::all_of(target, &zfs, worker.terminal).map_err(Stop::Failed)?;
        let renamed = worker.lzc.rename(target, replaced).and_then(|()| {
            worker.lzc.rename(arriving, target).inspect_err(|_| {
                if let Err(error) = worker.lzc.rename(replaced, target) {
                    log::error!("{target} is {replaced} now: {error}");
                }
            })
        });
        let mut warnings = mounts.put_up(&zfs, target, target);
        renamed.map_err(|error| Stop::Failed(with_all(error.to_string(), &warnings)))?;
        log::info!("{target}: replaced");
        if let Err(error) = destroy(worker, replaced, transfer) {
            warnings.push(format!(
                "what {target} was is {replaced} now, and could not be destroyed: {error}"
            ));
        }
        Ok(warnings)
    }
}

fn with_all(reason: String, problems: &[String]) -> String {
    let all = std::iter::once(reason).chain(problems.iter().cloned());
    all.collect::<Vec<_>>().join("; ")
}

fn destroy(worker: &Worker, replaced: &DatasetName, transfer: &Transfer) -> Result<(), String> {
    let Overwrite::Replace { snapshots } = &transfer.overwrite else {
        return Ok(());
    };
    let snapshots: Vec<SnapshotName> = snapshots
        .iter()
        .map(|name| replaced.snapshot(name.short()))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if !snapshots.is_empty() {
        worker
            .lzc
            .destroy_snapshots(&snapshots, false)
            .map_err(|error| error.to_string())?;
    }
    worker
        .lzc
        .destroy_dataset(replaced)
        .map_err(|error| error.to_string())
}

/// The streams that are still missing in `found`, which an earlier run has left.
fn go_on(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    first: &Step,
    found: &zfs::Dataset<'_>,
    zfs: &Libzfs,
) -> Result<Vec<Step>, Stop> {
    let source = worker.source.dataset(&volume.source);
    let state = resume_state(zfs, &found.properties())?;
    if found.is_inconsistent() {
        if let Some(state) = state.filter(|state| state.raw == transfer.raw)
            && let Some(to) = source.and_then(|source| source.snapshot(state.to_guid))
            && state.from_guid.is_none()
            && is_on_the_way(worker, volume, to, first)
        {
            return Ok(steps(first, to, Some(state)));
        }
        worker.lzc.abandon_receive(found)?;
        log::info!("dropped {}, which could not go on", found.name());
        return Ok(vec![first.clone()]);
    }
    if state.is_some() {
        worker.lzc.abandon_receive(found)?;
    }
    let newest = found.snapshots(None)?.pop();
    let known = newest.and_then(|newest| source?.snapshot(newest.guid));
    match known.filter(|known| is_on_the_way(worker, volume, known, first)) {
        Some(arrived) => Ok(steps(first, arrived, None)),
        None => Err(Stop::Refused(format!(
            "{} is in the way: destroy or rename it",
            found.name()
        ))),
    }
}

/// True where `snapshot` is not newer than what the first stream ends at.
fn is_on_the_way(worker: &Worker, volume: &VolumePlan, snapshot: &Snapshot, first: &Step) -> bool {
    let Point::Existing { guid, .. } = &first.to else {
        return true;
    };
    let source = worker.source.dataset(&volume.source);
    source
        .and_then(|source| source.snapshot(*guid))
        .is_some_and(|to| snapshot.createtxg <= to.createtxg)
}

/// From `reached`, or from what is missing up to there, to where the first stream ends.
fn steps(first: &Step, reached: &Snapshot, resume: Option<ResumeState>) -> Vec<Step> {
    let mut steps = Vec::new();
    if resume.is_some() {
        steps.push(Step {
            base: None,
            to: Point::Existing {
                name: reached.name.clone(),
                guid: reached.guid,
            },
            resume,
        });
    }
    let is_there = matches!(&first.to, Point::Existing { guid, .. } if *guid == reached.guid);
    if !is_there {
        steps.push(Step {
            base: Some(Base {
                guid: reached.guid,
                source: BaseSource::Snapshot(reached.name.clone()),
                label: reached.name.short().into(),
            }),
            to: first.to.clone(),
            resume: None,
        });
    }
    steps
}
