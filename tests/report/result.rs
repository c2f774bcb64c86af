//! The text after a run.

use zbackup::error::{Error, Exit, Phase};
use zbackup::plan::{Action, Conflict, Overwrite, VolumePlan};
use zbackup::report::style::Style;
use zbackup::report::{
    DiskState, Outcome, Report, Stream, VolumeReport, from_plan, quiet_text, text,
};
use zbackup::text::Text;

use crate::fixtures::{columns, plan, report, sent, snapshots, transfer, up_to_date, volume};

/// All parts in the order in which they are printed, those for stderr marked.
fn rendered(report: &Report, style: Style) -> String {
    let parts = text(report, style)
        .into_iter()
        .map(|part| match part.stream {
            Stream::Stdout => part.text.ended(),
            Stream::Stderr => marked(&part.text.ended()),
        });
    parts.collect()
}

fn marked(lines: &str) -> String {
    let lines: Vec<_> = lines.lines().map(|line| format!("2> {line}")).collect();
    lines.join("\n") + "\n"
}

#[track_caller]
fn assert_shows(report: &Report, style: Style, expected: &str) {
    let text = rendered(report, style);
    assert!(text == expected, "rendered:\n{text}\nexpected:\n{expected}");
}

fn incremental(path: &str) -> VolumePlan {
    let action = Action::Send(transfer(path, true, Overwrite::Nothing));
    volume(path, action, Some(1300))
}

fn failed(volume: VolumePlan, outcome: Outcome, reason: &str) -> VolumeReport {
    VolumeReport {
        outcome,
        reason: Some(reason.into()),
        ..from_plan(&plan(vec![volume])).remove(0)
    }
}

fn ended(mut report: Report) -> Report {
    report.end(None);
    report
}

/// One of each outcome.
fn mixed() -> Report {
    let conflict = Conflict::Diverged {
        base: "zbackup-2026-11-20".into(),
        newer: snapshots("backup/db", 1..=1),
        written_bytes: 2048,
    };
    let conflict = volume("/db", Action::Conflict(conflict), None);
    let mut report = report(vec![
        sent(incremental("/home"), 1234, 0.8),
        from_plan(&plan(vec![up_to_date("/var")])).remove(0),
        failed(
            incremental("/srv"),
            Outcome::Failed,
            "backup/srv: out of space",
        ),
        failed(incremental("/opt"), Outcome::Skipped, "you said no"),
        from_plan(&plan(vec![conflict])).remove(0),
    ]);
    report.warnings = vec!["backup is 96 % full".into()];
    ended(report)
}

#[test]
fn all_done() {
    let mut report = report(vec![
        sent(incremental("/home"), 1234, 0.8),
        sent(incremental("/srv"), 5 << 30, 185.0),
    ]);
    report.pruned = snapshots("tank/home", 1..=12);
    let report = ended(report);
    assert_eq!(report.exit_code, 0);
    assert_shows(
        &report,
        columns(80),
        "\
VOLUME  ACTION       RESULT  SNAPSHOT               SENT        TIME
/home   incremental  done    zbackup-2026-11-22  1.2 KiB       0.8 s
/srv    incremental  done    zbackup-2026-11-22  5.0 GiB  3 min 05 s

2 volumes: 2 done; 5.0 GiB sent
Removed 12 old snapshots:
  tank/home@hourly-1
  tank/home@hourly-2
  tank/home@hourly-3
  tank/home@hourly-4
  tank/home@hourly-5
  … and 2 more
  tank/home@hourly-8
  tank/home@hourly-9
  tank/home@hourly-10
  tank/home@hourly-11
  tank/home@hourly-12
Safe to unplug: USB device
",
    );
    assert!(quiet_text(&report).is_empty());
}

#[test]
fn mixed_failures_and_a_conflict_with_its_reason() {
    let report = mixed();
    assert_eq!(report.exit_code, Exit::Partial.code());
    assert_shows(
        &report,
        columns(80),
        "\
VOLUME  ACTION       RESULT   SNAPSHOT               SENT   TIME
/home   incremental  done     zbackup-2026-11-22  1.2 KiB  0.8 s
/var    up-to-date   done     zbackup-2026-11-21        -      -
/srv    incremental  failed   zbackup-2026-11-22        -      -
/opt    incremental  skipped  zbackup-2026-11-22        -      -
/db     conflict     refused  -                         -      -

/srv: backup/srv: out of space
/opt: you said no
/db: diverged: Both sides went on from @zbackup-2026-11-20: backup/db has
  @hourly-1 with 2.0 KiB, which tank/db lacks. To keep both: --keep-both /db. To
  give these up, snapshots included: --force /db.

5 volumes: 1 done, 1 up-to-date, 1 skipped, 1 refused, 1 failed; 1.2 KiB sent
Warning: backup is 96 % full
Safe to unplug: USB device
",
    );
}

#[test]
fn quiet_leaves_only_what_is_amiss() {
    let expected = "\
/srv: failed: backup/srv: out of space
/opt: skipped: you said no
/db: diverged: Both sides went on from @zbackup-2026-11-20: backup/db has @hourly-1 with 2.0 KiB, which tank/db lacks. To keep both: --keep-both /db. To give these up, snapshots included: --force /db.
";
    assert_eq!(quiet_text(&mixed()).ended(), expected);
}

#[test]
fn an_error_before_there_are_volumes() {
    let mut report = Report::new("usb", false);
    let error = Error::new(
        Phase::Host,
        "no [host…] section has the guid of an imported pool",
    )
    .next(Text::lines([
        "Add this to zbackup.ini:",
        "[host1]",
        "guid = 1453",
    ]))
    .exit(Exit::Usage);
    report.end(Some(&error));
    assert_eq!(report.exit_code, 2);
    let lines = "\
zbackup: no [host…] section has the guid of an imported pool
Add this to zbackup.ini:
[host1]
guid = 1453
";
    assert_eq!(quiet_text(&report).ended(), lines);
    assert_shows(&report, columns(80), &marked(lines));
}

#[test]
fn an_error_comes_before_the_state_of_the_disk() {
    let mut report = Report {
        disk_state: DiskState::Unlocked,
        safe_to_unplug: false,
        ..report(Vec::new())
    };
    report.end(Some(&Error::new(Phase::Import, "backup: no such pool")));
    assert_shows(
        &report,
        Style::default(),
        "\
2> zbackup: backup: no such pool
NOT SAFE to unplug: USB device is still unlocked. To lock it: zbackup close
",
    );
}

#[test]
fn a_dry_run_sums_up_its_plan() {
    let conflict = Action::Conflict(Conflict::ForeignResumeState {
        received_bytes: None,
    });
    let plan = plan(vec![
        incremental("/home"),
        up_to_date("/var"),
        volume("/db", conflict, None),
    ]);
    let report = ended(Report {
        dry_run: true,
        ..report(from_plan(&plan))
    });
    assert_eq!(report.exit_code, 3);
    assert_shows(
        &report,
        columns(80),
        "\
Dry run, nothing was changed: 3 volumes: 1 to send, 1 up-to-date, 1 refused
Safe to unplug: USB device
",
    );
}

#[test]
fn nothing_to_do() {
    let volumes = from_plan(&plan(vec![up_to_date("/home"), up_to_date("/var")]));
    let report = ended(report(volumes));
    assert_eq!(report.exit_code, 0);
    assert_shows(
        &report,
        columns(80),
        "\
VOLUME  ACTION      RESULT  SNAPSHOT            SENT  TIME
/home   up-to-date  done    zbackup-2026-11-21     -     -
/var    up-to-date  done    zbackup-2026-11-21     -     -

Nothing to do: 2 volumes up-to-date
Safe to unplug: USB device
",
    );
}

#[test]
fn every_state_of_the_disk_that_is_not_safe() {
    let cases = [
        (DiskState::Untouched, "USB device was not touched\n"),
        (
            DiskState::Closed,
            "NOT SAFE to unplug yet: USB device is closed, but something may still write to it\n",
        ),
        (
            DiskState::Imported,
            "NOT SAFE to unplug: the pool backup on USB device is still imported. To close it: zbackup close\n",
        ),
        (
            DiskState::Lost,
            "NOT SAFE: USB device vanished or does not answer, and its pool is still imported\n",
        ),
    ];
    for (disk_state, line) in cases {
        let report = Report {
            disk_state,
            safe_to_unplug: false,
            ..report(Vec::new())
        };
        assert_shows(&report, Style::default(), line);
    }
}

#[test]
fn quiet_does_not_complain_about_a_disk_that_is_to_stay_open() {
    let open = |exit: Exit| Report {
        disk_state: DiskState::Imported,
        safe_to_unplug: false,
        exit_code: exit.code(),
        ..report(Vec::new())
    };
    assert!(quiet_text(&open(Exit::Done)).is_empty());
    assert!(
        quiet_text(&open(Exit::Partial))
            .ended()
            .starts_with("NOT SAFE to unplug")
    );
}

#[test]
fn colours_follow_the_outcome() {
    let style = Style {
        width: None,
        color: true,
    };
    let text = rendered(&mixed(), style);
    assert!(text.contains("\x1b[32m/home   incremental  done"), "{text}");
    assert!(text.contains("\n/var    up-to-date"), "{text}");
    assert!(
        text.contains("\x1b[31m/srv    incremental  failed"),
        "{text}"
    );
    assert!(
        text.ends_with("\x1b[32mSafe to unplug: USB device\x1b[0m\n"),
        "{text}"
    );
    assert!(!rendered(&mixed(), Style::default()).contains('\x1b'));
}
