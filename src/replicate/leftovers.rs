//! What a run that died while a new copy took an old one's place has left beside a volume, and
//! what the next run does about it. Nothing is ever destroyed here.

use super::remount::TakenDown;
use super::{Outcomes, Replication, arrival};
use crate::inventory::{ARRIVING_SUFFIX, REPLACED_SUFFIX, Side};
use crate::name::{DatasetName, InvalidName};
use crate::plan::{Action, Direction, Overwrite, VolumePlan};
use crate::report::Outcome;
use crate::terminal::Approval;

/// Where a new copy arrives and where the one that it replaces goes.
pub(super) struct Names {
    pub arriving: DatasetName,
    pub replaced: DatasetName,
}

impl Names {
    pub fn beside(target: &DatasetName) -> Result<Self, InvalidName> {
        Ok(Self {
            arriving: DatasetName::new(&format!("{target}{ARRIVING_SUFFIX}"))?,
            replaced: DatasetName::new(&format!("{target}{REPLACED_SUFFIX}"))?,
        })
    }
}

/// How far a replacement had come when its run died, as the names show that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// There was none, or it came to its end.
    Nothing,
    /// The new copy, whole or not, is beside the old one.
    Arriving,
    /// The new copy is in its place; the old one was not destroyed.
    Replaced,
    /// That, and then another new copy, whole or not.
    ReplacedAndArriving,
    /// `--force` died between its two renames: the old one is away, the new one not in its place.
    HalfSwapped,
    /// `--keep-both` died between its two renames: the old one has its new name already.
    Unplaced,
    /// Whatever took the old one's place is gone.
    ReplacedAlone,
}

impl Left {
    /// What the inventory shows of a volume's target and beside it.
    pub fn beside(side: &Side, target: &DatasetName) -> Self {
        let Ok(Names { arriving, replaced }) = Names::beside(target) else {
            return Self::Nothing;
        };
        let is_left = |name| side.leftovers.contains(name);
        Self::of(
            side.dataset(target).is_some(),
            is_left(&arriving),
            is_left(&replaced),
        )
    }

    fn of(target: bool, arriving: bool, replaced: bool) -> Self {
        match (target, arriving, replaced) {
            (_, false, false) => Self::Nothing,
            (true, true, false) => Self::Arriving,
            (true, false, true) => Self::Replaced,
            (true, true, true) => Self::ReplacedAndArriving,
            (false, true, true) => Self::HalfSwapped,
            (false, true, false) => Self::Unplaced,
            (false, false, true) => Self::ReplacedAlone,
        }
    }
}

/// Puts back what has lost its place, and warns of the rest: nobody else would ever tell.
pub(super) fn mend(run: &Replication, outcomes: &mut Outcomes) {
    for (index, volume) in run.plan.volumes.iter().enumerate() {
        let Ok(names) = Names::beside(&volume.target) else {
            continue;
        };
        let left = Left::beside(run.target, &volume.target);
        if left == Left::HalfSwapped {
            put_back(run, outcomes, index, &names);
            continue;
        }
        for warning in warnings(left, volume, &names) {
            outcomes.warn(warning);
        }
    }
}

fn warnings(left: Left, plan: &VolumePlan, names: &Names) -> Vec<String> {
    let Names { arriving, replaced } = names;
    let VolumePlan { volume, target, .. } = plan;
    let mut warnings = Vec::new();
    if matches!(left, Left::Replaced | Left::ReplacedAndArriving) {
        warnings.push(format!(
            "{replaced} is what {target} was before it was replaced, by a run that ended early: \
             `zfs destroy -r {replaced}` when you do not need it any more"
        ));
    }
    let waits = matches!(
        left,
        Left::Arriving | Left::ReplacedAndArriving | Left::Unplaced
    );
    if waits && !goes_on(plan, left) {
        warnings.push(format!(
            "{arriving} is left of a run that ended before it took the place of {target}: go on \
             with --force {volume} or --keep-both {volume}, or `zfs destroy -r {arriving}`"
        ));
    }
    if left == Left::ReplacedAlone {
        warnings.push(format!(
            "{replaced} is what {target} was, and what took its place is gone: \
             `zfs rename {replaced} {target}` puts it back, `zfs destroy -r {replaced}` gives it up"
        ));
    }
    warnings
}

/// True where this run uses the copy that has arrived.
fn goes_on(volume: &VolumePlan, left: Left) -> bool {
    matches!(&volume.action, Action::Send(transfer) if match transfer.overwrite {
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. } => true,
        Overwrite::Nothing => left == Left::Unplaced,
        _ => false,
    })
}

/// The old one goes back to its place: that loses nothing, and whether it is given up for the new
/// one is asked again. The plan does not know it there, so the volume ends for this run.
fn put_back(run: &Replication, outcomes: &mut Outcomes, index: usize, names: &Names) {
    let Names { arriving, replaced } = names;
    let volume = &run.plan.volumes[index];
    let target = &volume.target;
    let step = format!("rename {replaced} back to {target}");
    let told = format!("an earlier run ended while {arriving} was to take the place of {target}");
    let (outcome, reason) = if run.terminal.approve(&step) == Approval::No {
        (Outcome::Skipped, format!("{told}; declined: {step}"))
    } else {
        match rename_back(run, replaced, target) {
            Ok(problems) => {
                let next = format!("Run the same command again, then --force {}", volume.volume);
                let reason = format!(
                    "{told}. What was there is back now.{problems} {next} goes on from there"
                );
                (Outcome::Refused, reason)
            }
            Err(why) => {
                let mends = format!("`zfs rename {replaced} {target}` mends it");
                (
                    Outcome::Failed,
                    format!("{told}, which is {replaced} since: {why}. {mends}"),
                )
            }
        }
    };
    let report = &mut outcomes.volumes[index];
    if report.outcome == Outcome::Planned {
        log::warn!("{}: {reason}", report.volume);
        report.end(outcome, reason);
    } else {
        outcomes.warn(reason);
    }
}

/// Renames, and mounts a host's file system again. Returns sentences that tell what is not mounted.
fn rename_back(
    run: &Replication,
    replaced: &DatasetName,
    target: &DatasetName,
) -> Result<String, String> {
    // A boot since then may have mounted it by its other name.
    let mounts = TakenDown::all_of(replaced, run.zfs, run.terminal)?;
    if let Err(error) = run.lzc.rename(replaced, target) {
        let problems = mounts.put_up(run.zfs);
        let all = std::iter::once(error.to_string()).chain(problems);
        return Err(all.collect::<Vec<_>>().join("; "));
    }
    log::info!("{replaced} is {target} again");
    let moved = mounts.renamed(target)?;
    if run.plan.direction == Direction::ToDisk {
        return Ok(String::new());
    }
    let below = moved.iter().filter(|name| *name != target);
    let problem = |name: &DatasetName| {
        let why = arrival::mount_again(run.zfs, name).err()?;
        Some(format!(" {name} is not mounted: {why}."))
    };
    Ok(std::iter::once(target)
        .chain(below)
        .filter_map(problem)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_there_tell_where_it_died() {
        let left = |names: &str| {
            let [target, arriving, replaced] = ["T", "A", "R"].map(|name| names.contains(name));
            Left::of(target, arriving, replaced)
        };
        for (names, expected) in [
            ("", Left::Nothing),
            ("T", Left::Nothing),
            ("TA", Left::Arriving),
            ("TR", Left::Replaced),
            ("TAR", Left::ReplacedAndArriving),
            ("AR", Left::HalfSwapped),
            ("A", Left::Unplaced),
            ("R", Left::ReplacedAlone),
        ] {
            assert_eq!(left(names), expected, "{names}");
        }
    }
}
