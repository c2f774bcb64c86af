//! The text after a run: what became of the volumes, why, and the state of the disk.

use super::style::{Style, Tone, cut_list};
use super::table::{Column, Row, Table};
use super::{DiskState, Outcome, Report, VolumeReport};
use crate::human::{count, human_bytes, human_seconds};
use crate::next::next;
use crate::text::Text;

/// The stream to which a part of the text belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What the user asked to see.
    Stdout,
    /// What went wrong.
    Stderr,
}

/// Some whole lines for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream to which they belong.
    pub stream: Stream,
    /// The lines.
    pub text: Text,
}

/// Everything that is printed at the end of a run, in this order. The state in which the disk was
/// left comes last, whatever happened before.
pub fn text(report: &Report, style: Style) -> Vec<Part> {
    let besides = [
        pruned_text(report),
        forgotten_text(report),
        warnings_text(report, style),
    ];
    let mut parts = vec![
        stdout(volumes_text(report, style)),
        stdout(besides.into_iter().collect()),
        stderr(error_text(report)),
        stdout(disk_text(report, style)),
    ];
    parts.retain(|part| !part.text.is_empty());
    parts
}

/// What `-q` still shows: failures, and a disk that is not as it should be. For stderr; empty if
/// all is well.
pub fn quiet_text(report: &Report) -> Text {
    let amiss = report.volumes.iter().filter(|volume| volume.is_amiss());
    let mut text = Text::lines(amiss.map(amiss_line));
    text.append(error_text(report));
    let left_open_on_purpose = report.exit_code == 0
        && matches!(report.disk_state, DiskState::Imported | DiskState::Unlocked);
    if !report.safe_to_unplug && !left_open_on_purpose {
        text.append(disk_text(report, Style::default()));
    }
    text
}

fn stdout(text: Text) -> Part {
    let stream = Stream::Stdout;
    Part { stream, text }
}

fn stderr(text: Text) -> Part {
    let stream = Stream::Stderr;
    Part { stream, text }
}

/// The table, the reasons below it, and the totals.
fn volumes_text(report: &Report, style: Style) -> Text {
    let mut text = Text::new();
    if report.volumes.is_empty() {
        return text;
    }
    // A dry run has just shown its plan, and nothing has changed since.
    if !report.dry_run {
        text.append(table(&report.volumes).render(style));
        text.push("");
        let reasons = report.volumes.iter().filter_map(reason_line);
        let reasons: Text = reasons.map(|line| style.wrap(&line)).collect();
        if !reasons.is_empty() {
            text.append(reasons);
            text.push("");
        }
    }
    text.push(summary(report));
    text
}

fn table(volumes: &[VolumeReport]) -> Table {
    let columns = vec![
        Column::Name("VOLUME"),
        Column::Word("ACTION"),
        Column::Word("RESULT"),
        Column::Name("SNAPSHOT"),
        Column::Number("SENT"),
        Column::Number("TIME"),
    ];
    Table {
        columns,
        rows: volumes.iter().map(row).collect(),
    }
}

fn row(volume: &VolumeReport) -> Row {
    let was_sent = volume.sent_bytes > 0 || volume.seconds > 0.0;
    let (sent, time) = if was_sent {
        (
            human_bytes(volume.sent_bytes),
            human_seconds(volume.seconds),
        )
    } else {
        ("-".into(), "-".into())
    };
    Row {
        cells: vec![
            volume.volume.to_string(),
            volume.action.unwrap_or("-").into(),
            volume.outcome.word().into(),
            volume.snapshot.clone().unwrap_or_else(|| "-".into()),
            sent,
            time,
        ],
        note: String::new(),
        tone: match volume.outcome {
            Outcome::Planned => Tone::Plain,
            Outcome::Done if is_up_to_date(volume) => Tone::Plain,
            Outcome::Done => Tone::Good,
            Outcome::Skipped => Tone::Notice,
            Outcome::Refused | Outcome::Failed => Tone::Bad,
        },
    }
}

fn is_up_to_date(volume: &VolumeReport) -> bool {
    volume.outcome == Outcome::Done && volume.action == Some("up-to-date")
}

fn reason_line(volume: &VolumeReport) -> Option<String> {
    let reason = volume.reason.as_ref()?;
    let conflict = volume.conflict.map(|word| format!("{word}: "));
    let conflict = conflict.unwrap_or_default();
    Some(format!("{}: {conflict}{reason}", volume.volume))
}

fn amiss_line(volume: &VolumeReport) -> String {
    let word = volume.conflict.unwrap_or(volume.outcome.word());
    let reason = volume.reason.as_deref().unwrap_or("no reason was given");
    format!("{}: {word}: {reason}", volume.volume)
}

/// `3 volumes: 2 done, 1 failed; 1.2 GiB sent`
fn summary(report: &Report) -> String {
    let volumes = &report.volumes;
    let all = count(volumes.len(), "volume");
    if volumes.iter().all(is_up_to_date) {
        return format!("Nothing to do: {all} up-to-date");
    }
    let number = |outcome| {
        let of_outcome = volumes.iter().filter(|volume| volume.outcome == outcome);
        of_outcome.filter(|volume| !is_up_to_date(volume)).count()
    };
    let up_to_date = volumes
        .iter()
        .filter(|volume| is_up_to_date(volume))
        .count();
    let counts = [
        (number(Outcome::Planned), "to send"),
        (number(Outcome::Done), "done"),
        (up_to_date, "up-to-date"),
        (number(Outcome::Skipped), "skipped"),
        (number(Outcome::Refused), "refused"),
        (number(Outcome::Failed), "failed"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<_> = counts
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let counts = counts.join(", ");
    if report.dry_run {
        return format!("Dry run, nothing was changed: {all}: {counts}");
    }
    let sent_bytes = volumes.iter().map(|volume| volume.sent_bytes);
    let sent = human_bytes(sent_bytes.fold(0, u64::saturating_add));
    format!("{all}: {counts}; {sent} sent")
}

fn pruned_text(report: &Report) -> Text {
    // A dry run has just shown them in its plan.
    if report.pruned.is_empty() || report.dry_run {
        return Text::new();
    }
    let names: Vec<_> = report.pruned.iter().map(ToString::to_string).collect();
    let heading = format!("Removed {}:", count(names.len(), "old snapshot"));
    let names = cut_list(&names).into_iter();
    Text::lines(
        [heading]
            .into_iter()
            .chain(names.map(|name| format!("  {name}"))),
    )
}

/// What `forget` did; a dry run has just listed it.
fn forgotten_text(report: &Report) -> Text {
    match &report.forgotten {
        Some(bookmarks) if !bookmarks.is_empty() && !report.dry_run => {
            format!("Removed {}", count(bookmarks.len(), "bookmark")).into()
        }
        _ => Text::new(),
    }
}

fn warnings_text(report: &Report, style: Style) -> Text {
    let warnings = report.warnings.iter();
    let lines = warnings.map(|warning| style.wrap(&format!("Warning: {warning}")));
    lines.map(|line| style.paint(line, Tone::Notice)).collect()
}

fn error_text(report: &Report) -> Text {
    let Some(error) = &report.error else {
        return Text::new();
    };
    let mut lines = error.message.iter();
    let first = lines.next().map(|line| format!("zbackup: {line}"));
    let mut text = Text::lines(first);
    text.append(Text::lines(lines));
    text.extend(error.next.clone());
    text
}

/// The last line: whether the disk can be unplugged, and if not, what to do.
fn disk_text(report: &Report, style: Style) -> Text {
    let Some(disk) = &report.disk else {
        return Text::new();
    };
    let name = &disk.section;
    if report.safe_to_unplug {
        return style.paint(format!("Safe to unplug: {name}"), Tone::Good);
    }
    let line = match report.disk_state {
        DiskState::Untouched => return format!("{name} was not touched").into(),
        DiskState::Closed => {
            format!("NOT SAFE to unplug yet: {name} is closed, but something may still write to it")
        }
        DiskState::Unlocked => {
            next!(
                "left-unlocked",
                "NOT SAFE to unplug: {name} is still unlocked. To lock it: zbackup close"
            )
        }
        DiskState::Imported => {
            let pool = disk.pool.as_ref().map(|pool| format!(" {pool}"));
            let pool = pool.unwrap_or_default();
            next!(
                "left-imported",
                "NOT SAFE to unplug: the pool{pool} on {name} is still imported. To close it: zbackup close"
            )
        }
        // What can be done about it depends on more, and is told above.
        DiskState::Lost => {
            format!("NOT SAFE: {name} vanished or does not answer, and its pool is still imported")
        }
    };
    style.paint(style.wrap(&line), Tone::Bad)
}
