//! The questions about what will be destroyed or moved on the target, before anything is done.

use crate::human::human_bytes;
use crate::plan::{Overwrite, Transfer, VolumePlan};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::transfers_of;
use crate::report::{self, Outcome};
use crate::terminal::Approval;

/// Asks about each volume in conflict that `--force` or `--keep-both` named. A volume that the user
/// declines ends here as skipped: it gets no snapshot and nothing of it is touched.
pub(in crate::replicate) fn ask(run: &Replication, outcomes: &mut Outcomes) {
    for (index, volume, transfer) in transfers_of(run.plan) {
        let approved = match &transfer.overwrite {
            Overwrite::KeepBoth { renamed_to } => {
                let step = format!("rename {} to {renamed_to}, to keep both", volume.target);
                run.terminal.approve(&step) == Approval::Yes
            }
            _ => approves_destruction(run, volume, transfer),
        };
        if !approved {
            let reason = "you did not agree to what it would overwrite";
            let report = &mut outcomes.volumes[index];
            report.destroys.clear();
            report.end(Outcome::Skipped, reason);
        }
    }
}

/// Asks only about what `--force` names: a receive that nobody can resume is given up unasked.
fn approves_destruction(run: &Replication, volume: &VolumePlan, transfer: &Transfer) -> bool {
    if !run.forced.contains(&volume.volume) {
        return true;
    }
    let victims = victims(volume, transfer);
    if victims.is_empty() {
        return true;
    }
    let what = format!("--force {} destroys:", volume.volume);
    run.terminal.approve_destruction(what, &victims)
}

/// What is destroyed with a transfer without a question of its own: a receive that nobody can resume.
pub(in crate::replicate) fn unasked_losses(
    run: &Replication,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Vec<String> {
    if run.forced.contains(&volume.volume) {
        Vec::new()
    } else {
        victims(volume, transfer)
    }
}

/// Everything that is destroyed, one line each.
fn victims(volume: &VolumePlan, transfer: &Transfer) -> Vec<String> {
    let target = &volume.target;
    let mut victims = Vec::new();
    if transfer.drops_resume_state {
        victims.push(format!("an interrupted receive into {target}"));
    }
    victims.extend(report::victims(transfer).iter().map(ToString::to_string));
    match &transfer.overwrite {
        Overwrite::RollBack { written_bytes } | Overwrite::Destroy { written_bytes, .. } => {
            if *written_bytes > 0 {
                victims.push(changes(volume, *written_bytes));
            }
        }
        Overwrite::Replace { .. } => victims.push(format!("{target} as it is")),
        Overwrite::Nothing | Overwrite::Placeholder | Overwrite::KeepBoth { .. } => {}
    }
    victims
}

fn changes(volume: &VolumePlan, written_bytes: u64) -> String {
    let written = human_bytes(written_bytes);
    format!(
        "{written} written to {} that no snapshot holds",
        volume.target
    )
}
