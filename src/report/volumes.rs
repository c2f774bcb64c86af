//! A plan as the volumes of a report: what `-n` prints, and what a run then completes.

use openzfs::{Guid, SnapshotName};

use super::{Outcome, Victim, VolumeReport};
use crate::next::next;
use crate::plan::{
    Action, Direction, Overwrite, Plan, Point, Step, Transfer, UpToDate, VolumePlan,
};

/// One entry for each volume of `plan`, in its order, as it is before anything is done: `planned`
/// if there is something to send, `done` if there is not, `refused` for a conflict, `failed` for
/// what cannot be done at all.
pub fn from_plan(plan: &Plan) -> Vec<VolumeReport> {
    let volumes = plan.volumes.iter();
    volumes
        .map(|volume| {
            let mut report = volume_report(plan.direction, volume);
            let rename = plan.renames.iter().rfind(|one| one.to == volume.target);
            if let Some(rename) = rename.filter(|_| report.outcome != Outcome::Refused) {
                let said = format!("{} was {} before", rename.to, rename.from);
                let first = report.reason.map(|reason| format!("{reason}; "));
                report.reason = Some(first.unwrap_or_default() + &said);
            }
            report
        })
        .collect()
}

fn volume_report(direction: Direction, volume: &VolumePlan) -> VolumeReport {
    let mut report = VolumeReport {
        volume: volume.volume.clone(),
        source: volume.source.clone(),
        target: volume.target.clone(),
        action: volume.action.word(),
        conflict: None,
        base: None,
        base_guid: None,
        snapshot: None,
        snapshot_guid: None,
        outcome: Outcome::Planned,
        estimated_bytes: volume.estimated_bytes,
        sent_bytes: 0,
        resumed_bytes: 0,
        seconds: 0.0,
        destroys: Vec::new(),
        reason: None,
    };
    match &volume.action {
        Action::UpToDate(up_to_date) => {
            report.outcome = Outcome::Done;
            fill_up_to_date(&mut report, direction, up_to_date);
        }
        Action::Send(transfer) => fill_transfer(&mut report, transfer),
        Action::Conflict(conflict) => {
            report.outcome = Outcome::Refused;
            report.conflict = Some(conflict.word());
            report.reason = Some(conflict.explain(volume));
        }
        Action::Impossible(reason) => {
            report.outcome = Outcome::Failed;
            report.reason = Some(reason.clone());
        }
    }
    // A conflict's explanation has already told it.
    if report.conflict.is_none()
        && let Some(refusal) = &volume.refusal
    {
        let first = report.reason.map(|reason| format!("{reason}. "));
        report.reason = Some(first.unwrap_or_default() + &refused(refusal));
    }
    report
}

/// Why an option that named a volume is not followed.
pub(super) fn refused(refusal: &str) -> String {
    format!("What you asked for is refused: {refusal}.")
}

fn fill_up_to_date(report: &mut VolumeReport, direction: Direction, up_to_date: &UpToDate) {
    let (UpToDate::Equal(newest) | UpToDate::TargetAhead(newest)) = up_to_date;
    report.snapshot = Some(newest.short().into());
    if let UpToDate::TargetAhead(newest) = up_to_date {
        report.reason = Some(ahead(direction, newest));
    }
}

/// Tells that the target is ahead, and which verb brings its snapshots to the other side.
fn ahead(direction: Direction, newest: &SnapshotName) -> String {
    let (target, verb) = match direction {
        Direction::ToDisk => ("disk", "os"),
        Direction::ToHost => ("host", "usb"),
    };
    let newest = newest.short();
    next!(
        "ahead",
        "the {target} is ahead: it has @{newest}, which `zbackup {verb}` carries over"
    )
}

fn fill_transfer(report: &mut VolumeReport, transfer: &Transfer) {
    if let Some(base) = transfer.steps.first().and_then(|step| step.base.as_ref()) {
        report.base = Some(base.label.clone());
        report.base_guid = Some(base.guid);
    }
    if let Some(last) = transfer.steps.last() {
        report.snapshot = Some(last.to.name().short().into());
        report.snapshot_guid = existing_guid(last);
    }
    report.resumed_bytes = resumed_bytes(transfer);
    report.destroys = victims(transfer);
    if let Overwrite::KeepBoth { renamed_to } = &transfer.overwrite {
        report.reason = Some(format!("what was there is kept as {renamed_to}"));
    } else if transfer.drops_resume_state {
        report.reason = Some("an interrupted receive that cannot be resumed is dropped".into());
    }
}

/// The guid of the snapshot that `step` ends at, if that exists already.
fn existing_guid(step: &Step) -> Option<Guid> {
    match &step.to {
        Point::Existing { guid, .. } => Some(*guid),
        Point::New(_) => None,
    }
}

/// Bytes that an interrupted receive already has.
pub(super) fn resumed_bytes(transfer: &Transfer) -> u64 {
    let states = transfer
        .steps
        .iter()
        .filter_map(|step| step.resume.as_ref());
    states.map(|state| state.received_bytes).sum()
}

/// Everything with a name that is destroyed on the target: snapshots, newest last, then bookmarks.
pub(crate) fn victims(transfer: &Transfer) -> Vec<Victim> {
    let snapshots = destroyed_snapshots(&transfer.overwrite).iter();
    let bookmarks = transfer.stale_bookmarks.iter();
    snapshots
        .map(|name| Victim::Snapshot(name.clone()))
        .chain(bookmarks.map(|name| Victim::Bookmark(name.clone())))
        .collect()
}

/// The target's snapshots that are destroyed, newest last.
fn destroyed_snapshots(overwrite: &Overwrite) -> &[SnapshotName] {
    match overwrite {
        Overwrite::Destroy { snapshots, .. } | Overwrite::Replace { snapshots, .. } => snapshots,
        Overwrite::Nothing
        | Overwrite::Placeholder
        | Overwrite::RollBack { .. }
        | Overwrite::KeepBoth { .. } => &[],
    }
}
