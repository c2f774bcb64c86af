//! A new copy that takes the place of what is there: `--force` where nothing is in common, and
//! `--keep-both`. It arrives beside the old one and takes its place when it is whole.
//!
//! ```text
//!  target                      old ──────────────────► renamed away ─► with --force: destroyed, last of all
//!  target-zbackup-arriving         full stream ──────► target
//! ```
//!
//! A forced full receive over the old dataset would destroy all of it, whatever was listed. This
//! way the old data is whole, and in its place, until the new is there; what a run that dies on the
//! way leaves is mended by the next one, see [`super::leftovers`].

use openzfs::{DatasetName, Guid, ResumeState, Snapshot, SnapshotName};

use super::approved;
use super::leftovers::{Left, Names};
use super::usage;
use crate::next::next;
use crate::plan::{
    Base, BaseSource, Direction, Overwrite, Point, Step, Transfer, VolumePlan, typed,
};
use crate::replicate::mounts::arrival;
use crate::replicate::mounts::remount::UnmountGuard;
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::worker::Worker;
use crate::replicate::zfs::{Found, Zfs};
use crate::text::shell_word;

/// True where the new copy is to arrive beside its place.
pub(in crate::replicate) fn arrives_beside(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> bool {
    match &transfer.overwrite {
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. } => true,
        // A run with --keep-both died when the old one was out of the way already.
        Overwrite::Nothing => {
            volume.sends_in_full() && Left::beside(worker.target, &volume.target) == Left::Unplaced
        }
        _ => false,
    }
}

/// What became of the one whose place was taken.
#[derive(Default)]
pub(in crate::replicate) struct Placed {
    /// What the user should know.
    pub warnings: Vec<String>,
    /// It is gone, as `--force` wanted it.
    pub old_is_destroyed: bool,
}

/// A new copy on its way.
pub(in crate::replicate) struct Replacement<'a> {
    worker: &'a Worker<'a>,
    volume: &'a VolumePlan,
    transfer: &'a Transfer,
    names: Names,
    /// The streams that make it whole, into [`Self::arriving`].
    pub steps: Vec<Step>,
}

impl<'a> Replacement<'a> {
    /// Looks at what an earlier run has left beside the target, and goes on from there.
    pub fn begin(
        worker: &'a Worker,
        volume: &'a VolumePlan,
        transfer: &'a Transfer,
    ) -> Result<Self, VolumeError> {
        let names = Names::beside(&volume.target)?;
        let Some(first) = transfer.steps.first() else {
            return Err(VolumeError::Failed("the plan has nothing to send".into()));
        };
        let mut replacement = Self {
            worker,
            volume,
            transfer,
            names,
            steps: vec![first.clone()],
        };
        replacement.check_way()?;
        // It could not be unmounted for the swap.
        usage::check_unused(&volume.target).map_err(|why| {
            let target = &volume.target;
            VolumeError::Refused(next!(
                "in-use",
                "{why}. Nothing was done to {target}: end that, then run the same command again"
            ))
        })?;
        if let Some(found) = worker.zfs.dataset(replacement.arriving())? {
            let arriving = replacement.arriving();
            replacement.steps = go_on(worker, volume, transfer, first, arriving, &found)?;
        }
        Ok(replacement)
    }

    /// Where the streams go.
    pub fn arriving(&self) -> &DatasetName {
        &self.names.arriving
    }

    /// What has been done to the old one, once the new one is in its place.
    pub fn fact(&self) -> Option<String> {
        match &self.transfer.overwrite {
            Overwrite::KeepBoth { renamed_to } => {
                Some(format!("what was there is kept as {renamed_to}"))
            }
            Overwrite::Replace { .. } => Some("what was there has been replaced".into()),
            _ => None,
        }
    }

    /// Puts the new copy in its place. What `--force` gave up is destroyed then: exactly the
    /// snapshots that were approved, then the dataset, which fails where it holds any other.
    ///
    /// From the moment of the swap the volume has arrived.
    pub fn put_in_place(&self) -> Result<Placed, VolumeError> {
        let zfs = self.worker.zfs;
        let arriving = self.arriving();
        // The streams took their time: look again.
        self.check_way()
            .map_err(|stop| stop.with(&[self.arrived()]))?;
        match zfs.dataset(arriving)? {
            Some(found) => check_untouched(zfs, arriving, &found)?,
            None => return Err(VolumeError::Refused(format!("{arriving} is gone"))),
        }
        match &self.transfer.overwrite {
            Overwrite::Replace { snapshots, .. } => {
                let replaced = &self.names.replaced;
                let mut warnings = self.swap(replaced)?;
                let checked = self.check_replaced(replaced);
                self.worker.witnesses.dismiss(&self.volume.target);
                let destroyed = checked.and_then(|()| self.destroy(replaced, snapshots));
                if let Err(why) = &destroyed {
                    warnings.push(next!(
                        "replaced-left",
                        "what {} was is {replaced} now, and was not destroyed: {why}. \
                         {} does it, when you do not need it any more",
                        self.volume.target,
                        self.typed(next!(
                            "replaced-left",
                            "`zfs destroy -r {}`",
                            shell_word(replaced)
                        ))
                    ));
                }
                Ok(Placed {
                    warnings,
                    old_is_destroyed: destroyed.is_ok(),
                })
            }
            Overwrite::KeepBoth { renamed_to } => Ok(Placed {
                warnings: self.swap(renamed_to)?,
                old_is_destroyed: false,
            }),
            _ => {
                self.worker.zfs.rename(arriving, &self.volume.target)?;
                Ok(Placed::default())
            }
        }
    }

    /// Looks once more, now that nobody finds the old one where it was.
    fn check_replaced(&self, replaced: &DatasetName) -> Result<(), String> {
        let (zfs, target) = (self.worker.zfs, self.worker.target);
        let found = zfs.dataset(replaced).map_err(|error| error.to_string())?;
        if found.is_none() {
            return Err(format!("{replaced} is gone"));
        }
        let (witnesses, approved) = (self.worker.witnesses, &self.volume.target);
        witnesses.check(zfs, replaced, approved, target.log_reset_bytes)
    }

    /// Checks that what is going to be destroyed is what was approved, and that nothing else is
    /// where it is going to be meanwhile.
    fn check_way(&self) -> Result<(), VolumeError> {
        if !matches!(self.transfer.overwrite, Overwrite::Replace { .. }) {
            return Ok(());
        }
        approved::check_approved(self.worker, self.volume, self.transfer)?;
        let replaced = &self.names.replaced;
        if self.worker.zfs.exists(replaced.as_str()) {
            return Err(VolumeError::Refused(format!(
                "{replaced} is in the way: destroy or rename it"
            )));
        }
        Ok(())
    }

    /// Renames the target to `away` and the new copy to the target. What was mounted is mounted again
    /// at the same place: a replacement where the old one was, what is kept where it has been. Only
    /// if its properties say another place for its new name, it goes there, and the new copy comes to
    /// the old place.
    fn swap(&self, away: &DatasetName) -> Result<Vec<String>, VolumeError> {
        let zfs = self.worker.zfs;
        let target = &self.volume.target;
        let mut mounts = UnmountGuard::all_of(target, zfs, self.worker.terminal)
            .map_err(|why| self.in_use(&why))?;
        // Nobody can write any more: now it is either what was approved, or it stays.
        if let Err(stop) = self.check_way() {
            return Err(stop.with(&mounts.put_up()).with(&[self.arrived()]));
        }
        let noted = match self.transfer.overwrite {
            Overwrite::KeepBoth { .. } => mounts.moves_to(away),
            _ => mounts.is_replaced_by(guid_of(zfs, self.arriving())?),
        };
        let delegated = noted.and_then(|()| self.delegate());
        if let Err(why) = delegated.and_then(|()| self.rename(away)) {
            let problems = mounts.put_up();
            let all = std::iter::once(why).chain(problems);
            return Err(self.not_swapped(all.collect::<Vec<_>>().join("; ")));
        }
        log::info!(
            "{target} is {away} now, and {} is {target}",
            self.arriving()
        );
        if matches!(self.transfer.overwrite, Overwrite::KeepBoth { .. }) {
            return Ok(mounts.put_up_renamed(away, self.worker.plan));
        }
        let mut warnings = Vec::new();
        // What replaces a zvol has no place of the old one: it is mounted as any new volume.
        let old = self.worker.target.dataset(target);
        if old.is_some_and(|old| old.kind == self.transfer.kind)
            && let Err(why) = arrival::settle_canmount(zfs, target)
        {
            warnings.push(format!(
                "{target} may not be mounted at the next boot: {why}"
            ));
        }
        warnings.extend(mounts.put_up());
        Ok(warnings)
    }

    /// What `zfs allow` has delegated on the old one holds for the new one too. No stream carries it,
    /// and with `--force` it is gone with the old one.
    fn delegate(&self) -> Result<(), String> {
        let (old, new) = (&self.volume.target, self.arriving());
        let delegated = self.worker.zfs.take_over_delegation(old, new);
        delegated.map_err(|error| error.to_string())
    }

    fn in_use(&self, why: &str) -> VolumeError {
        VolumeError::Refused(format!(
            "{why}. End that, and the same command goes on from here: the new copy has arrived as {}",
            self.arriving()
        ))
    }

    fn not_swapped(&self, why: String) -> VolumeError {
        VolumeError::Failed(format!("{why}. {}", self.arrived()))
    }

    fn arrived(&self) -> String {
        format!(
            "The new copy has arrived as {}: the same command goes on from there",
            self.arriving()
        )
    }

    fn rename(&self, away: &DatasetName) -> Result<(), String> {
        let (zfs, target) = (self.worker.zfs, &self.volume.target);
        zfs.rename(target, away)
            .map_err(|error| error.to_string())?;
        zfs.rename(self.arriving(), target)
            .map_err(|error| match zfs.rename(away, target) {
                Ok(()) => error.to_string(),
                Err(again) => next!(
                    "away-mend",
                    "{error}. {target} is {away} now: {again}. When that is out of the way, {} mends it",
                    self.typed(next!(
                        "away-mend",
                        "`zfs rename {} {}`",
                        shell_word(away),
                        shell_word(target)
                    ))
                ),
            })
    }

    fn typed(&self, command: String) -> String {
        let on_disk = self.worker.plan.direction == Direction::ToDisk;
        typed::commands(on_disk, &[command])
    }

    fn destroy(&self, replaced: &DatasetName, snapshots: &[SnapshotName]) -> Result<(), String> {
        let zfs = self.worker.zfs;
        let snapshots: Vec<SnapshotName> = snapshots
            .iter()
            .map(|name| replaced.snapshot(name.short()))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        if !snapshots.is_empty() {
            zfs.destroy_snapshots(&snapshots, false)
                .map_err(|error| error.to_string())?;
        }
        zfs.destroy_dataset(replaced)
            .map_err(|error| error.to_string())
    }
}

fn guid_of(zfs: &dyn Zfs, name: &DatasetName) -> Result<Guid, VolumeError> {
    let dataset = zfs.dataset(name)?;
    let dataset = dataset.ok_or_else(|| VolumeError::Refused(format!("{name} is gone")))?;
    Ok(dataset.guid)
}

/// Refuses a copy that somebody has used meanwhile: what they wrote would take the place of a
/// volume that never held it.
fn check_untouched(zfs: &dyn Zfs, name: &DatasetName, found: &Found) -> Result<(), VolumeError> {
    let what = if zfs.is_mounted(name)? {
        "is mounted"
    } else if found.reported.number("written") != Some(0) {
        "was written to since it arrived"
    } else {
        return Ok(());
    };
    Err(VolumeError::Refused(format!(
        "{name} {what}, and is not taken for the copy any more: destroy or rename it"
    )))
}

/// The streams that are still missing in `found`, which an earlier run has left.
fn go_on(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    first: &Step,
    arriving: &DatasetName,
    found: &Found,
) -> Result<Vec<Step>, VolumeError> {
    let source = worker.source.dataset(&volume.source);
    let zfs = worker.zfs;
    let state = zfs.resume_state(&found.reported);
    if found.is_inconsistent {
        if let Some(state) = state.filter(|state| state.raw == transfer.raw)
            && let Some(to) = source.and_then(|source| source.snapshot(state.to_guid))
            && state.from_guid.is_none()
            && is_on_the_way(worker, volume, to, first)
        {
            return Ok(steps(first, to, Some(state)));
        }
        zfs.abandon_receive(arriving)?;
        log::info!("dropped {arriving}, which could not go on");
        return Ok(vec![first.clone()]);
    }
    check_untouched(zfs, arriving, found)?;
    if state.is_some() {
        zfs.abandon_receive(arriving)?;
    }
    let newest = zfs.snapshots(arriving, None)?.pop();
    let known = newest.and_then(|newest| source?.snapshot(newest.guid));
    match known.filter(|known| is_on_the_way(worker, volume, known, first)) {
        Some(arrived) => Ok(steps(first, arrived, None)),
        None => Err(VolumeError::Refused(format!(
            "{arriving} is in the way: destroy or rename it"
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
