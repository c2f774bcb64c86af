//! What a run that died during a replacement has left beside a volume, and what the next run does
//! about it. Nothing is ever destroyed here.

use openzfs::{DatasetName, InvalidName};

use super::rename;
use crate::model::Side;
use crate::model::marks::{ARRIVING_SUFFIX, REPLACED_SUFFIX};
use crate::next::next;
use crate::plan::{Action, Direction, Overwrite, VolumePlan, typed};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::mounts::remount;
use crate::report::Outcome;
use crate::terminal::Approval;
use crate::text::shell_word;

/// The name under which a new copy arrives, and the one that the replaced dataset gets.
pub(in crate::replicate) struct Names {
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

/// How far a replacement had come when its run died, as the existing names show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replicate) enum Left {
    /// There was none, or it was completed.
    Nothing,
    /// The new copy, complete or not, is beside the old one.
    Arriving,
    /// The new copy is in its place; the old one was not destroyed.
    Replaced,
    /// As [`Self::Replaced`], and another new copy, complete or not, is beside it.
    ReplacedAndArriving,
    /// `--force` died between its two renames: the old dataset is moved away, the new one is not in
    /// its place.
    HalfSwapped,
    /// `--keep-both` died between its two renames: the old dataset already has its new name.
    Unplaced,
    /// The dataset that took the old one's place is gone.
    ReplacedAlone,
}

impl Left {
    /// What the inventory shows at a volume's target and beside it.
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

/// Puts back datasets that have lost their place, and warns of the rest: nothing else would ever tell.
pub(in crate::replicate) fn mend(run: &Replication, outcomes: &mut Outcomes) {
    for (index, volume) in run.plan.volumes.iter().enumerate() {
        let Ok(names) = Names::beside(&volume.target) else {
            continue;
        };
        let left = Left::beside(run.target, &volume.target);
        if left == Left::HalfSwapped {
            put_back(run, outcomes, index, &names);
            continue;
        }
        for warning in warnings(run.plan.direction, left, volume, &names) {
            outcomes.warn(warning);
        }
    }
}

fn warnings(direction: Direction, left: Left, plan: &VolumePlan, names: &Names) -> Vec<String> {
    let Names { arriving, replaced } = names;
    let VolumePlan { volume, target, .. } = plan;
    let typed = |command| typed::commands(direction == Direction::ToDisk, &[command]);
    let destroy = |name| {
        typed(next!(
            "leftover-replaced",
            "`zfs destroy -r {}`",
            shell_word(name)
        ))
    };
    let word = shell_word(volume);
    let mut warnings = Vec::new();
    // What this run sends takes the empty place.
    let is_taken = left == Left::ReplacedAlone && matches!(plan.action, Action::Send(_));
    if is_taken || matches!(left, Left::Replaced | Left::ReplacedAndArriving) {
        warnings.push(next!(
            "leftover-replaced",
            "{replaced} is what {target} was before it was replaced, by a run that ended early: \
             {} when you do not need it any more",
            destroy(replaced)
        ));
    }
    let waits = matches!(
        left,
        Left::Arriving | Left::ReplacedAndArriving | Left::Unplaced
    );
    if waits && !goes_on(plan, left) {
        warnings.push(next!(
            "leftover-arriving",
            "{arriving} is left of a run that ended before it took the place of {target}: go on \
             with --force {word} or --keep-both {word}, or {}",
            destroy(arriving)
        ));
    }
    if left == Left::ReplacedAlone && !is_taken {
        warnings.push(next!(
            "leftover-put-back",
            "{replaced} is what {target} was, and what took its place is gone: {} puts it back, {} \
             gives it up",
            typed(next!(
                "leftover-put-back",
                "`zfs rename {} {}`",
                shell_word(replaced),
                shell_word(target)
            )),
            destroy(replaced)
        ));
    }
    warnings
}

/// True if this run uses the copy that has arrived.
fn goes_on(volume: &VolumePlan, left: Left) -> bool {
    matches!(&volume.action, Action::Send(transfer) if match transfer.overwrite {
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. } => true,
        Overwrite::Nothing => left == Left::Unplaced,
        _ => false,
    })
}

/// Renames the old dataset back to its place: that loses nothing, and the user is asked again whether
/// to give it up for the new one. The plan does not know it there, so the volume ends for this run.
fn put_back(run: &Replication, outcomes: &mut Outcomes, index: usize, names: &Names) {
    let Names { arriving, replaced } = names;
    let volume = &run.plan.volumes[index];
    let target = &volume.target;
    let step = format!("rename {replaced} back to {target}");
    let told = format!("an earlier run ended while {arriving} was to take the place of {target}");
    let (outcome, reason) = if run.terminal.approve(&step) == Approval::No {
        (Outcome::Skipped, format!("{told}; declined: {step}"))
    } else {
        match rename_back(run, outcomes, replaced, target) {
            Ok(problems) => {
                let next = next!(
                    "leftover-again",
                    "Run the same command again, then --force {}",
                    shell_word(&volume.volume)
                );
                let reason = format!(
                    "{told}. What was there is back now.{problems} {next} goes on from there"
                );
                (Outcome::Refused, reason)
            }
            Err(why) => {
                let mends = next!(
                    "leftover-mend",
                    "`zfs rename {} {}`",
                    shell_word(replaced),
                    shell_word(target)
                );
                let mends = typed::commands(run.plan.direction == Direction::ToDisk, &[mends]);
                (
                    Outcome::Failed,
                    format!("{told}, which is {replaced} since: {why}. {mends} mends it"),
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

/// Renames it, and mounts it again. Returns sentences that tell what is not mounted as it was.
fn rename_back(
    run: &Replication,
    outcomes: &mut Outcomes,
    replaced: &DatasetName,
    target: &DatasetName,
) -> Result<String, String> {
    // A boot since then may have mounted it under its other name.
    let problems = rename::with_mounts(run, replaced, target)?;
    for told in remount::put_up_left_of(target, run.zfs, run.terminal) {
        outcomes.warn(told);
    }
    let sentence = |problem| format!(" {problem}.");
    Ok(problems.into_iter().map(sentence).collect())
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
