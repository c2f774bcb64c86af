//! A new copy that takes the place of an old dataset: `--force` if nothing is in common, and
//! `--keep-both`. It arrives beside the old dataset and takes its place when it is complete.
//!
//! ```text
//!  target                      old ──────────────────► renamed away ─► with --force: destroyed, last of all
//!  target-zbackup-arriving         full stream ──────► target
//! ```
//!
//! A forced full receive over the old dataset would destroy all of it, whatever was listed. This
//! way the old data is complete, and in its place, until the new data is there. If a run dies
//! before the end, the next one repairs what it left, see [`super::leftovers`].

use openzfs::{DatasetName, Guid, ResumeState, Snapshot, SnapshotName};

use super::approved;
use super::leftovers::{Left, Names};
use super::usage;
use crate::next::next;
use crate::plan::{Base, BaseSource, Direction, Overwrite, Point, Step, typed};
use crate::replicate::in_words;
use crate::replicate::mounts::arrival;
use crate::replicate::mounts::remount::UnmountGuard;
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;
use crate::replicate::zfs::{Found, Zfs};
use crate::text::shell_word;

/// True if the new copy is to arrive beside its place.
pub(in crate::replicate) fn arrives_beside(volume: &VolumeRun) -> bool {
    let target = &volume.plan.target;
    match &volume.transfer.overwrite {
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. } => true,
        // A run with --keep-both died when the old dataset was already renamed.
        Overwrite::Nothing => {
            volume.plan.sends_in_full() && Left::beside(volume.run.target, target) == Left::Unplaced
        }
        _ => false,
    }
}

/// What became of the old dataset.
#[derive(Default)]
pub(in crate::replicate) struct Placed {
    /// What the user should know.
    pub warnings: Vec<String>,
    /// It is destroyed, as `--force` asked.
    pub old_is_destroyed: bool,
}

/// A new copy that is being received.
pub(in crate::replicate) struct Replacement {
    names: Names,
    /// The streams that complete it, into [`Self::arriving`].
    pub steps: Vec<Step>,
}

impl Replacement {
    /// Looks at what an earlier run has left beside the target, and continues from there.
    pub fn begin(volume: &VolumeRun) -> Result<Self, VolumeError> {
        let names = Names::beside(&volume.plan.target)?;
        let Some(first) = volume.transfer.steps.first() else {
            return Err(VolumeError::Failed("the plan has nothing to send".into()));
        };
        let mut replacement = Self {
            names,
            steps: vec![first.clone()],
        };
        replacement.check_way(volume)?;
        // A dataset in use could not be unmounted for the swap.
        usage::check_unused(&volume.plan.target).map_err(|why| {
            let target = &volume.plan.target;
            VolumeError::Refused(next!(
                "in-use",
                "{why}. Nothing was done to {target}: end that, then run the same command again"
            ))
        })?;
        if let Some(found) = volume.run.zfs.dataset(replacement.arriving())? {
            let arriving = replacement.arriving();
            replacement.steps = go_on(volume, first, arriving, &found)?;
        }
        Ok(replacement)
    }

    /// The dataset into which the streams go.
    pub fn arriving(&self) -> &DatasetName {
        &self.names.arriving
    }

    /// What has been done to the old dataset, when the new one is in its place.
    pub fn fact(&self, volume: &VolumeRun) -> Option<String> {
        match &volume.transfer.overwrite {
            Overwrite::KeepBoth { renamed_to } => {
                Some(format!("what was there is kept as {renamed_to}"))
            }
            Overwrite::Replace { .. } => Some("what was there has been replaced".into()),
            _ => None,
        }
    }

    /// Puts the new copy in its place. Then what `--force` gave up is destroyed: exactly the
    /// snapshots that were approved, then the dataset, which fails if it holds any other.
    ///
    /// From the moment of the swap the volume has arrived.
    pub fn put_in_place(&self, volume: &VolumeRun) -> Result<Placed, VolumeError> {
        let zfs = volume.run.zfs;
        let arriving = self.arriving();
        // The streams may have taken hours: check again.
        self.check_way(volume)
            .map_err(|stop| stop.with(&[self.arrived()]))?;
        match zfs.dataset(arriving)? {
            Some(found) => check_untouched(zfs, arriving, &found)?,
            None => return Err(VolumeError::Refused(format!("{arriving} is gone"))),
        }
        match &volume.transfer.overwrite {
            Overwrite::Replace { snapshots, .. } => {
                let replaced = &self.names.replaced;
                let mut warnings = self.swap(volume, replaced)?;
                let checked = self.check_replaced(volume, replaced);
                volume.witnesses.dismiss(&volume.plan.target);
                let destroyed = checked.and_then(|()| self.destroy(volume, replaced, snapshots));
                if let Err(why) = &destroyed {
                    warnings.push(next!(
                        "replaced-left",
                        "what {} was is {replaced} now, and was not destroyed: {why}. \
                         {} does it, when you do not need it any more",
                        volume.plan.target,
                        typed(
                            volume,
                            next!("replaced-left", "`zfs destroy -r {}`", shell_word(replaced))
                        )
                    ));
                }
                Ok(Placed {
                    warnings,
                    old_is_destroyed: destroyed.is_ok(),
                })
            }
            Overwrite::KeepBoth { renamed_to } => Ok(Placed {
                warnings: self.swap(volume, renamed_to)?,
                old_is_destroyed: false,
            }),
            _ => {
                volume.run.zfs.rename(arriving, &volume.plan.target)?;
                Ok(Placed::default())
            }
        }
    }

    /// Checks once more, now that nobody finds the old dataset at its place.
    fn check_replaced(&self, volume: &VolumeRun, replaced: &DatasetName) -> Result<(), String> {
        let (zfs, target) = (volume.run.zfs, volume.run.target);
        let found = zfs.dataset(replaced).map_err(in_words)?;
        if found.is_none() {
            return Err(format!("{replaced} is gone"));
        }
        let (witnesses, approved) = (volume.witnesses, &volume.plan.target);
        witnesses.check(zfs, replaced, approved, target.log_reset_bytes)
    }

    /// Checks that what is going to be destroyed is what was approved, and that the name to which
    /// it is moved first is free.
    fn check_way(&self, volume: &VolumeRun) -> Result<(), VolumeError> {
        if !matches!(volume.transfer.overwrite, Overwrite::Replace { .. }) {
            return Ok(());
        }
        approved::check_approved(volume)?;
        let replaced = &self.names.replaced;
        if volume.run.zfs.exists(replaced.as_str()) {
            return Err(VolumeError::Refused(format!(
                "{replaced} is in the way: destroy or rename it"
            )));
        }
        Ok(())
    }

    /// Renames the target to `away` and the new copy to the target. Mounts come back at the same
    /// places: a replacement where the old dataset was, a kept dataset where it has been. Only if the
    /// properties of a kept dataset give another place for its new name does it go there, and the new
    /// copy comes to the old place.
    fn swap(&self, volume: &VolumeRun, away: &DatasetName) -> Result<Vec<String>, VolumeError> {
        let zfs = volume.run.zfs;
        let target = &volume.plan.target;
        let mut mounts = UnmountGuard::all_of(target, zfs, volume.run.terminal)
            .map_err(|why| self.in_use(&why))?;
        // Nobody can write any more: now it is what was approved, or it stays.
        if let Err(stop) = self.check_way(volume) {
            return Err(stop.with(&mounts.put_up()).with(&[self.arrived()]));
        }
        let noted = match volume.transfer.overwrite {
            Overwrite::KeepBoth { .. } => mounts.moves_to(away),
            _ => mounts.is_replaced_by(guid_of(zfs, self.arriving())?),
        };
        let delegated = noted.and_then(|()| self.delegate(volume));
        if let Err(why) = delegated.and_then(|()| self.rename(volume, away)) {
            let problems = mounts.put_up();
            let all = std::iter::once(why).chain(problems);
            return Err(self.not_swapped(all.collect::<Vec<_>>().join("; ")));
        }
        log::info!(
            "{target} is {away} now, and {} is {target}",
            self.arriving()
        );
        if matches!(volume.transfer.overwrite, Overwrite::KeepBoth { .. }) {
            return Ok(mounts.put_up_renamed(away, volume.run.plan));
        }
        let mut warnings = Vec::new();
        // The replacement of a zvol has no old mount: it is mounted like any new volume.
        let old = volume.before;
        if old.is_some_and(|old| old.kind == volume.transfer.kind)
            && let Err(why) = arrival::settle_canmount(zfs, target)
        {
            warnings.push(format!(
                "{target} may not be mounted at the next boot: {why}"
            ));
        }
        warnings.extend(mounts.put_up());
        Ok(warnings)
    }

    /// Copies what `zfs allow` has delegated on the old dataset to the new one. No stream carries it,
    /// and with `--force` it is gone with the old dataset.
    fn delegate(&self, volume: &VolumeRun) -> Result<(), String> {
        let (old, new) = (&volume.plan.target, self.arriving());
        let delegated = volume.run.zfs.take_over_delegation(old, new);
        delegated.map_err(in_words)
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

    fn rename(&self, volume: &VolumeRun, away: &DatasetName) -> Result<(), String> {
        let (zfs, target) = (volume.run.zfs, &volume.plan.target);
        zfs.rename(target, away).map_err(in_words)?;
        zfs.rename(self.arriving(), target)
            .map_err(|error| match zfs.rename(away, target) {
                Ok(()) => error.to_string(),
                Err(again) => next!(
                    "away-mend",
                    "{error}. {target} is {away} now: {again}. When that is out of the way, {} mends it",
                    typed(volume, next!(
                        "away-mend",
                        "`zfs rename {} {}`",
                        shell_word(away),
                        shell_word(target)
                    ))
                ),
            })
    }

    fn destroy(
        &self,
        volume: &VolumeRun,
        replaced: &DatasetName,
        snapshots: &[SnapshotName],
    ) -> Result<(), String> {
        let zfs = volume.run.zfs;
        let snapshots: Vec<SnapshotName> = snapshots
            .iter()
            .map(|name| replaced.snapshot(name.short()))
            .collect::<Result<_, _>>()
            .map_err(in_words)?;
        if !snapshots.is_empty() {
            zfs.destroy_snapshots(&snapshots, false).map_err(in_words)?;
        }
        zfs.destroy_dataset(replaced).map_err(in_words)
    }
}

fn typed(volume: &VolumeRun, command: String) -> String {
    let on_disk = volume.run.plan.direction == Direction::ToDisk;
    typed::commands(on_disk, &[command])
}

fn guid_of(zfs: &dyn Zfs, name: &DatasetName) -> Result<Guid, VolumeError> {
    let dataset = zfs.dataset(name)?;
    let dataset = dataset.ok_or_else(|| VolumeError::Refused(format!("{name} is gone")))?;
    Ok(dataset.guid)
}

/// Refuses a copy that somebody has used meanwhile: otherwise what they wrote would become part of
/// a volume that never held it.
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
    volume: &VolumeRun,
    first: &Step,
    arriving: &DatasetName,
    found: &Found,
) -> Result<Vec<Step>, VolumeError> {
    let (zfs, source) = (volume.run.zfs, volume.source);
    let state = zfs.resume_state(&found.reported);
    if found.is_inconsistent {
        if let Some(state) = state.filter(|state| state.raw == volume.transfer.raw)
            && let Some(to) = source.and_then(|source| source.snapshot(state.to_guid))
            && state.from_guid.is_none()
            && is_on_the_way(volume, to, first)
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
    match known.filter(|known| is_on_the_way(volume, known, first)) {
        Some(arrived) => Ok(steps(first, arrived, None)),
        None => Err(VolumeError::Refused(format!(
            "{arriving} is in the way: destroy or rename it"
        ))),
    }
}

/// True if `snapshot` is not newer than the end of the first stream.
fn is_on_the_way(volume: &VolumeRun, snapshot: &Snapshot, first: &Step) -> bool {
    let Point::Existing { guid, .. } = &first.to else {
        return true;
    };
    volume
        .source
        .and_then(|source| source.snapshot(*guid))
        .is_some_and(|to| snapshot.createtxg <= to.createtxg)
}

/// The steps from `reached`, or from what is missing up to there, to the end of the first stream.
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
