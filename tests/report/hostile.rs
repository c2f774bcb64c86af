//! A disk that was in other hands has names and properties that play with terminals and logs.

use openzfs::SnapshotName;
use proptest::prelude::*;
use zbackup::error::{Error, Phase};
use zbackup::plan::{Action, Conflict, Overwrite, Plan, UpToDate, VolumePlan};
use zbackup::report::style::Style;
use zbackup::report::{
    DiskReport, DiskState, HostReport, Outcome, PlanView, Report, VolumeReport, from_plan,
    plan_text, quiet_text, text,
};
use zbackup::text::{Text, visible_json};

use crate::fixtures::{disk, host, plan, report, resume_state, transfer, volume};

/// Pieces of what does harm, with harmless ones between them.
const PIECES: [&str; 18] = [
    "\x1b[32m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[1;1H",
    "\u{9b}31m",
    "\n",
    "\r",
    "\r\nSafe to unplug: USB device\n",
    "\nzbackup: error: forged",
    "\u{2028}",
    "\u{85}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{7f}",
    "\u{0}",
    "\u{fffd}",
    "home ",
    "ü",
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => proptest::sample::select(&PIECES[..]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Gives one text after the other, and starts over after the last.
struct Texts<'a>(std::iter::Cycle<std::slice::Iter<'a, String>>);

impl Texts<'_> {
    fn next(&mut self) -> String {
        self.0.next().cloned().unwrap_or_default()
    }
}

/// One volume of each kind that has texts of its own.
fn volumes(texts: &mut Texts) -> Vec<VolumePlan> {
    let snapshot = SnapshotName::new("backup/a@b").unwrap();
    let mut sent = transfer("/sent", true, Overwrite::Nothing);
    for step in &mut sent.steps {
        step.base.as_mut().unwrap().label = texts.next();
        let mut state = resume_state(7);
        (state.token, state.to_name) = (texts.next(), texts.next());
        step.resume = Some(state);
    }
    let conflicts = [
        Conflict::Modified {
            base: texts.next(),
            written_bytes: 1,
            atime: true,
        },
        Conflict::Diverged {
            base: texts.next(),
            newer: vec![snapshot.clone()],
            written_bytes: 1,
        },
        Conflict::EncryptionMismatch {
            reason: texts.next(),
            can_move: true,
        },
    ];
    let mut actions = vec![
        Action::Send(sent),
        Action::Impossible(texts.next()),
        Action::UpToDate(UpToDate::Equal(snapshot)),
    ];
    actions.extend(conflicts.map(Action::Conflict));
    let volumes = actions.into_iter().map(|action| VolumePlan {
        refusal: Some(texts.next()),
        ..volume("/v", action, Some(1))
    });
    volumes.collect()
}

fn both_sides(texts: &mut Texts) -> (HostReport, DiskReport) {
    let host = HostReport {
        section: texts.next(),
        ..host()
    };
    let disk = DiskReport {
        section: texts.next(),
        partuuid: texts.next(),
        encryption: Some(texts.next()),
        ..disk()
    };
    (host, disk)
}

fn hostile_plan(texts: &mut Texts) -> Plan {
    Plan {
        snapshot: Some(texts.next()),
        ..plan(volumes(texts))
    }
}

/// A report with one of `texts` in each place that holds a text.
fn hostile_report(plan: &Plan, texts: &mut Texts, state: DiskState) -> Report {
    let planned = from_plan(plan).into_iter().map(|volume| VolumeReport {
        base: Some(texts.next()),
        snapshot: Some(texts.next()),
        reason: Some(texts.next()),
        outcome: Outcome::Failed,
        ..volume
    });
    let volumes = planned.collect();
    let (host, disk) = both_sides(texts);
    let mut report = Report {
        host: Some(host),
        disk: Some(disk),
        warnings: vec![texts.next(), texts.next()],
        disk_state: state,
        safe_to_unplug: state == DiskState::Closed,
        ..report(volumes)
    };
    let mut error = Error::new(Phase::Import, texts.next()).next(texts.next());
    error.join(&Error::new(Phase::Close, texts.next()).next(texts.next()));
    report.end(Some(&error));
    report
}

/// All that is shown of a run whose names are `texts`.
fn shown(texts: &[String], style: Style, state: DiskState) -> Text {
    let mut texts = Texts(texts.iter().cycle());
    let plan = hostile_plan(&mut texts);
    let (host, disk) = both_sides(&mut texts);
    let view = PlanView {
        plan: &plan,
        host: &host,
        disk: &disk,
        free_bytes: 1,
        not_covered: &[],
    };
    let mut all = plan_text(&view, style);
    let report = hostile_report(&plan, &mut texts, state);
    all.extend(text(&report, style).into_iter().map(|part| part.text));
    all.append(quiet_text(&report));
    all
}

fn harmless(character: char) -> bool {
    let turns_or_hides = matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !character.is_control() && !turns_or_hides
}

proptest! {
    #[test]
    fn nothing_but_plain_lines_is_shown(
        texts in proptest::collection::vec(hostile(), 1..8),
        state in proptest::sample::select(vec![
            DiskState::Closed, DiskState::Unlocked, DiskState::Imported, DiskState::Lost,
        ]),
    ) {
        let lines = shown(&texts, Style::default(), state);
        for line in lines.iter() {
            prop_assert!(line.chars().all(harmless), "{line:?}");
        }
        // As many lines as there are where all names are harmless.
        let plain = shown(&["name".into()], Style::default(), state);
        prop_assert_eq!(lines.ended().lines().count(), plain.iter().count());
        // Broken into lines for a narrow terminal, and coloured, there are no other characters either.
        let style = Style { width: Some(40), color: true };
        for line in shown(&texts, style, state).iter() {
            let code = |line: &str| ["32", "33", "31", "1"]
                .iter()
                .find_map(|code| line.strip_prefix(&format!("\x1b[{code}m")).map(String::from));
            let inner = code(line).and_then(|line| line.strip_suffix("\x1b[0m").map(String::from));
            let inner = inner.unwrap_or_else(|| line.into());
            prop_assert!(inner.chars().all(harmless), "{line:?}");
        }
    }

    /// Whoever reads the document gets the names as they are; whoever looks at it on a terminal, too.
    #[test]
    fn the_document_is_exact_and_plain(texts in proptest::collection::vec(hostile(), 1..8)) {
        let mut supply = Texts(texts.iter().cycle());
        let plan = hostile_plan(&mut supply);
        let report = hostile_report(&plan, &mut supply, DiskState::Closed);
        let exact = report.json().unwrap();
        let shown = visible_json(&exact);
        prop_assert!(shown.chars().all(|c| c == '\n' || harmless(c)), "{shown:?}");
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        prop_assert_eq!(read(&shown), read(&exact));
        let warnings = read(&shown)["warnings"].clone();
        prop_assert_eq!(warnings[0].as_str(), Some(report.warnings[0].as_str()));
    }
}
