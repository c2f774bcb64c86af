//! The table before a run: what will be done to which volume, and what is in the way.

use openzfs::DatasetName;

use super::not_covered;
use super::style::{Style, Tone, cut_list};
use super::table::{Column, Row, Table};
use super::volumes::{refused, resumed_bytes, victims};
use super::{DiskReport, HostReport};
use crate::human::{count, human_bytes};
use crate::plan::{
    Action, Direction, OldSnapshot, Overwrite, Plan, Pruning, Transfer, UpToDate, VolumePlan,
};
use crate::text::Text;

/// A plan together with the names of the two sides, as it is shown before anything is done.
#[derive(Debug, Clone, Copy)]
pub struct PlanView<'a> {
    /// What will be done.
    pub plan: &'a Plan,
    /// This host.
    pub host: &'a HostReport,
    /// The disk.
    pub disk: &'a DiskReport,
    /// Bytes that can still be written on the target.
    pub free_bytes: u64,
    /// Datasets of the host's pool that no volume of the configuration takes.
    pub not_covered: &'a [DatasetName],
}

/// The plan as a table, the explanations that do not fit into it, and its totals.
pub fn plan_text(view: &PlanView, style: Style) -> Text {
    let plan = view.plan;
    let mut text = style.paint(heading(view), Tone::Heading);
    text.push("");
    text.append(table(plan).render(style));
    let mut paragraphs = vec![
        explanations(plan, style),
        Text::lines(renames(view)),
        Text::lines(destructions(view)),
        Text::lines(old_snapshots(plan)),
        Text::lines(totals(view)),
        Text::lines(not_covered::lines(view.not_covered)),
    ];
    paragraphs.retain(|lines| !lines.is_empty());
    for lines in paragraphs {
        text.push("");
        text.append(lines);
    }
    text
}

/// Which side sends its volumes to which.
fn heading(view: &PlanView) -> String {
    let host = format!("{} (pool {})", view.host.section, view.host.pool);
    let disk = match &view.disk.pool {
        Some(pool) => format!("{} (pool {pool})", view.disk.section),
        None => view.disk.section.clone(),
    };
    match view.plan.direction {
        Direction::ToDisk => format!("{host} → {disk}"),
        Direction::ToHost => format!("{disk} → {host}"),
    }
}

fn table(plan: &Plan) -> Table {
    let columns = vec![
        Column::Name("VOLUME"),
        Column::Word("ACTION"),
        Column::Name("FROM"),
        Column::Name("TO"),
        Column::Number("SIZE"),
    ];
    let rows = plan.volumes.iter().map(|volume| row(plan, volume));
    Table {
        columns,
        rows: rows.collect(),
    }
}

fn row(plan: &Plan, volume: &VolumePlan) -> Row {
    let nothing = || "-".to_string();
    let (from, to) = match &volume.action {
        Action::UpToDate(UpToDate::Equal(newest) | UpToDate::TargetAhead(newest)) => {
            (nothing(), newest.short().into())
        }
        Action::Send(transfer) => ends(transfer),
        Action::Conflict(_) | Action::Impossible(_) => (nothing(), nothing()),
    };
    let size = match (&volume.action, volume.estimated_bytes) {
        (Action::Send(_), Some(bytes)) => human_bytes(bytes),
        (Action::Send(_), None) => "?".into(),
        _ => nothing(),
    };
    let action = volume.action.word().unwrap_or("impossible");
    Row {
        cells: vec![volume.volume.to_string(), action.into(), from, to, size],
        note: note(plan.direction, &volume.action),
        tone: match &volume.action {
            Action::UpToDate(_) => Tone::Plain,
            Action::Send(transfer) if is_destructive(&transfer.overwrite) => Tone::Notice,
            Action::Send(_) => Tone::Good,
            Action::Conflict(_) | Action::Impossible(_) => Tone::Bad,
        },
    }
}

/// Short names of the first base and the last snapshot.
fn ends(transfer: &Transfer) -> (String, String) {
    let first = transfer.steps.first().and_then(|step| step.base.as_ref());
    let last = transfer.steps.last();
    (
        first.map_or("-".into(), |base| base.label.clone()),
        last.map_or("-".into(), |step| step.to.name().short().into()),
    )
}

fn is_destructive(overwrite: &Overwrite) -> bool {
    match overwrite {
        Overwrite::Nothing | Overwrite::Placeholder | Overwrite::KeepBoth { .. } => false,
        Overwrite::RollBack { .. } | Overwrite::Destroy { .. } | Overwrite::Replace { .. } => true,
    }
}

/// What is worth knowing about one volume, in a few words.
fn note(direction: Direction, action: &Action) -> String {
    match action {
        // Volumes that are not sent are explained below the table.
        Action::UpToDate(UpToDate::Equal(_)) | Action::Conflict(_) | Action::Impossible(_) => {
            String::new()
        }
        Action::UpToDate(UpToDate::TargetAhead(_)) => {
            format!("the {} is ahead", target_word(direction))
        }
        Action::Send(transfer) => transfer_notes(transfer).join(", "),
    }
}

fn transfer_notes(transfer: &Transfer) -> Vec<String> {
    let mut notes = Vec::new();
    if transfer.steps.iter().any(|step| step.resume.is_some()) {
        let there = human_bytes(resumed_bytes(transfer));
        notes.push(format!("{there} are there already"));
    }
    if transfer.drops_resume_state {
        notes.push("drops an interrupted receive".into());
    }
    match &transfer.overwrite {
        Overwrite::Nothing | Overwrite::Placeholder => {}
        Overwrite::RollBack { written_bytes } => {
            notes.push(format!("rolls back {}", human_bytes(*written_bytes)));
        }
        Overwrite::Destroy { snapshots, .. } => {
            notes.push(format!("destroys {}", count(snapshots.len(), "snapshot")));
        }
        Overwrite::Replace { .. } => notes.push("replaces what is there".into()),
        Overwrite::KeepBoth { renamed_to } => notes.push(format!("keeps {renamed_to}")),
    }
    if transfer.steps.len() > 1 {
        notes.push(format!("{} streams", transfer.steps.len()));
    }
    if transfer.left_out > 0 {
        let snapshots = count(transfer.left_out, "snapshot");
        notes.push(format!("leaves out {snapshots} between"));
    }
    if transfer.raw {
        notes.push("raw".into());
    }
    notes
}

/// Why volumes are in conflict or cannot be done as asked, one line each.
fn explanations(plan: &Plan, style: Style) -> Text {
    let lines = plan.volumes.iter().filter_map(|volume| {
        let reason = match &volume.action {
            Action::Conflict(conflict) => {
                format!("{}: {}", conflict.word(), conflict.explain(volume))
            }
            Action::Impossible(reason) => reason.clone(),
            Action::UpToDate(_) | Action::Send(_) => refused(volume.refusal.as_ref()?),
        };
        Some(style.wrap(&format!("{}: {reason}", volume.volume)))
    });
    lines.collect()
}

/// Which copies are renamed.
fn renames(view: &PlanView) -> Vec<String> {
    let renames = &view.plan.renames;
    if renames.is_empty() {
        return Vec::new();
    }
    let side = target_word(view.plan.direction);
    let lines = renames
        .iter()
        .map(|rename| format!("  {} to {}", rename.from, rename.to));
    [format!("Renamed on the {side} first:")]
        .into_iter()
        .chain(lines)
        .collect()
}

/// What the receives of this plan will destroy, and the bookmarks that are destroyed before.
fn destructions(view: &PlanView) -> Vec<String> {
    let side = target_word(view.plan.direction);
    let mut lines = Vec::new();
    let forgets: Vec<_> = view
        .plan
        .volumes
        .iter()
        .filter(|one| !matches!(one.action, Action::Conflict(_) | Action::Impossible(_)))
        .flat_map(|one| &one.forgets)
        .collect();
    if !forgets.is_empty() {
        let what = count(forgets.len(), "bookmark");
        lines.push(format!(
            "Destroyed at the start: {what} of what may have been undone:"
        ));
        lines.extend(forgets.iter().map(|bookmark| format!("  {bookmark}")));
    }
    for volume in &view.plan.volumes {
        let Action::Send(transfer) = &volume.action else {
            continue;
        };
        let target = &volume.target;
        match &transfer.overwrite {
            Overwrite::Destroy {
                snapshots,
                written_bytes,
            } => lines.push(format!(
                "Destroyed on the {side}: {} of {target} and {} written after them:",
                count(snapshots.len(), "snapshot"),
                human_bytes(*written_bytes),
            )),
            Overwrite::Replace { snapshots, .. } => lines.push(format!(
                "Destroyed on the {side}: {target} as it is, with {}:",
                count(snapshots.len(), "snapshot"),
            )),
            _ if transfer.stale_bookmarks.is_empty() => continue,
            _ => lines.push(format!(
                "Destroyed on the {side}: {} of changes of {target} that are rolled back:",
                count(transfer.stale_bookmarks.len(), "bookmark"),
            )),
        }
        // In full, however many: nothing is destroyed that was not shown.
        lines.extend(victims(transfer).iter().map(|victim| format!("  {victim}")));
    }
    lines
}

/// What retention will destroy on either side.
fn old_snapshots(plan: &Plan) -> Vec<String> {
    let target = target_word(plan.direction);
    let source = if target == "disk" { "host" } else { "disk" };
    let of = |pick: fn(&VolumePlan) -> &Pruning| {
        let prunings = plan.volumes.iter().map(pick);
        prunings.flat_map(|pruning| &pruning.old).collect()
    };
    let sides: [(&str, &str, Vec<&OldSnapshot>); 3] = [
        (target, "first, to make room", plan.room.iter().collect()),
        (source, "at the end", of(|volume| &volume.retention.source)),
        (target, "at the end", of(|volume| &volume.retention.target)),
    ];
    let mut lines = Vec::new();
    for (side, when, old) in sides.iter().filter(|(.., old)| !old.is_empty()) {
        // Data that only several of them together hold is freed too, but is not counted.
        let used_bytes = old.iter().map(|snapshot| snapshot.used_bytes);
        lines.push(format!(
            "Removed from the {side} {when}: {}, which frees at least {}:",
            count(old.len(), "old snapshot"),
            human_bytes(used_bytes.fold(0, u64::saturating_add)),
        ));
        let names: Vec<_> = old
            .iter()
            .map(|snapshot| snapshot.name.to_string())
            .collect();
        lines.extend(cut_list(&names).iter().map(|line| format!("  {line}")));
    }
    lines
}

/// What the run as a whole does and needs.
fn totals(view: &PlanView) -> Vec<String> {
    let plan = view.plan;
    let side = target_word(plan.direction);
    let mut lines = Vec::new();
    if let Some(snapshot) = &plan.snapshot {
        lines.push(format!("New snapshot: @{snapshot}"));
    }
    if !plan.placeholders.is_empty() {
        let names: Vec<_> = plan.placeholders.iter().map(ToString::to_string).collect();
        let names = cut_list(&names).join(", ");
        lines.push(format!("New empty parents on the {side}: {names}"));
    }
    let rolled_back_bytes = rolled_back_bytes(plan);
    if rolled_back_bytes > 0 {
        let bytes = human_bytes(rolled_back_bytes);
        lines.push(format!(
            "Rolled back on the {side}: {bytes} that no snapshot holds"
        ));
    }
    lines.push(to_send(view));
    lines
}

fn rolled_back_bytes(plan: &Plan) -> u64 {
    let volumes = plan.volumes.iter().map(|volume| match &volume.action {
        Action::Send(Transfer {
            overwrite: Overwrite::RollBack { written_bytes },
            ..
        }) => *written_bytes,
        _ => 0,
    });
    volumes.fold(0, u64::saturating_add)
}

/// How much will be sent and whether it is known to fit.
fn to_send(view: &PlanView) -> String {
    let sends = || {
        let volumes = view.plan.volumes.iter();
        volumes.filter(|volume| matches!(volume.action, Action::Send(_)))
    };
    if sends().next().is_none() {
        return "Nothing to send".into();
    }
    let known = sends().filter_map(|volume| volume.estimated_bytes);
    let bytes = known.fold(0, u64::saturating_add);
    let unknown = sends().filter(|volume| volume.estimated_bytes.is_none());
    let more = match unknown.count() {
        0 => String::new(),
        number => format!(" and {} of unknown size", count(number, "volume")),
    };
    format!(
        "To send: {}{more}; free on the {}: {}",
        human_bytes(bytes),
        target_word(view.plan.direction),
        human_bytes(view.free_bytes),
    )
}

/// The side that receives.
fn target_word(direction: Direction) -> &'static str {
    match direction {
        Direction::ToDisk => "disk",
        Direction::ToHost => "host",
    }
}
