//! Renames copies as their volumes were renamed, before anything else: the rest of the plan uses the
//! new names.

use openzfs::DatasetName;

use super::placeholder;
use crate::plan::Rename;
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::in_words;
use crate::replicate::mounts::remount::UnmountGuard;
use crate::report::{Outcome, VolumeReport};

/// Asks once about all renames, and makes them. Volumes that need one that was declined or failed end here.
pub(in crate::replicate) fn follow(run: &Replication, outcomes: &mut Outcomes) {
    let renames = &run.plan.renames;
    if renames.is_empty() {
        return;
    }
    let lines: Vec<_> = renames
        .iter()
        .map(|rename| format!("{} to {}", rename.from, rename.to))
        .collect();
    if !run.terminal.approve_renames(&lines) {
        for rename in renames {
            let reason = format!("declined: rename {} to {}", rename.from, rename.to);
            end_concerned(outcomes, rename, |report| {
                report.end(Outcome::Skipped, reason.clone());
            });
        }
        return;
    }
    for rename in renames {
        let parents: Vec<&DatasetName> = rename.parents.iter().collect();
        placeholder::create_all(run, outcomes, &parents);
        match rename_one(run, rename) {
            Ok(problems) => {
                for problem in problems {
                    outcomes.warn(problem);
                }
            }
            Err(why) => {
                let reason = format!("{} cannot be renamed to {}: {why}", rename.from, rename.to);
                end_concerned(outcomes, rename, |report| report.fail(reason.clone()));
            }
        }
    }
}

/// Ends the volumes whose targets the rename would have moved, or made room for.
fn end_concerned(outcomes: &mut Outcomes, rename: &Rename, end: impl Fn(&mut VolumeReport)) {
    let concerned = outcomes.volumes.iter_mut().filter(|report| {
        let target = &report.target;
        target.is_within(&rename.to) || target.is_within(&rename.from)
    });
    let open =
        concerned.filter(|report| matches!(report.outcome, Outcome::Planned | Outcome::Done));
    open.for_each(end);
}

/// Renames one copy, if it is still the one that the plan saw. Returns what is not mounted as it was.
fn rename_one(run: &Replication, rename: &Rename) -> Result<Vec<String>, String> {
    let Rename { from, to, guid, .. } = rename;
    let found = run.zfs.dataset(from).map_err(in_words)?;
    match found {
        Some(found) if found.guid == *guid => {}
        _ => return Err("it is not there any more, or another one".into()),
    }
    with_mounts(run, from, to)
}

/// Renames a dataset with all its mounts. Returns what is not mounted as it was.
pub(super) fn with_mounts(
    run: &Replication,
    from: &DatasetName,
    to: &DatasetName,
) -> Result<Vec<String>, String> {
    let mut mounts = UnmountGuard::all_of(from, run.zfs, run.terminal)?;
    let rename = || run.zfs.rename(from, to).map_err(in_words);
    if let Err(why) = mounts.moves_to(to).and_then(|()| rename()) {
        let problems = mounts.put_up();
        let all = std::iter::once(why).chain(problems);
        return Err(all.collect::<Vec<_>>().join("; "));
    }
    log::info!("renamed {from} to {to}");
    Ok(mounts.put_up_renamed(to, run.plan))
}
