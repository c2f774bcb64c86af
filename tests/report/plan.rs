//! The table before a run, and the same plan as the volumes of a report.

use openzfs::Guid;
use zbackup::plan::{
    Action, Conflict, Direction, OldSnapshot, Overwrite, Plan, Point, Pruning, UpToDate,
};
use zbackup::report::style::Style;
use zbackup::report::{Outcome, PlanView, from_plan, plan_text};

use crate::fixtures::{
    BASE_GUID, columns, dataset, disk, host, plan, resume_state, snapshots, transfer, up_to_date,
    volume,
};

fn rendered(plan: &Plan, style: Style) -> String {
    let view = PlanView {
        plan,
        host: &host(),
        disk: &disk(),
        free_bytes: 3 << 40,
        not_covered: &[],
    };
    plan_text(&view, style).ended()
}

#[track_caller]
fn assert_shows(plan: &Plan, style: Style, expected: &str) {
    let text = rendered(plan, style);
    assert!(text == expected, "rendered:\n{text}\nexpected:\n{expected}");
}

fn incremental(path: &str, overwrite: Overwrite) -> Action {
    Action::Send(transfer(path, true, overwrite))
}

/// Everything at once, which a run would rarely be.
fn mixed() -> Plan {
    let roll_back = Overwrite::RollBack {
        written_bytes: 123_456,
    };
    let newer = snapshots("backup/db", 1..=2);
    let diverged = Conflict::Diverged {
        base: "zbackup-2026-11-20".into(),
        newer,
        written_bytes: 2048,
    };
    let mut pictures = transfer("/home/vic/pictures", false, Overwrite::Nothing);
    pictures.left_out = 3;
    pictures.raw = true;
    Plan {
        placeholders: vec![dataset("backup/srv")],
        ..plan(vec![
            volume("/home", incremental("/home", roll_back), Some(1300)),
            volume("/home/vic/pictures", Action::Send(pictures), Some(5 << 30)),
            up_to_date("/var"),
            volume("/db", Action::Conflict(diverged), None),
            volume(
                "/gone",
                Action::Impossible("tank/gone does not exist".into()),
                None,
            ),
        ])
    }
}

#[test]
fn a_mixed_plan_in_a_pipe_is_never_cut() {
    assert_shows(&mixed(), Style::default(), "\
host1 (pool tank) → USB device (pool backup)

VOLUME              ACTION       FROM                TO                     SIZE  NOTE
/home               incremental  zbackup-2026-11-21  zbackup-2026-11-22  1.3 KiB  rolls back 120.6 KiB
/home/vic/pictures  full         -                   zbackup-2026-11-22  5.0 GiB  leaves out 3 snapshots between, raw
/var                up-to-date   -                   zbackup-2026-11-21        -
/db                 conflict     -                   -                         -
/gone               impossible   -                   -                         -

/db: diverged: Both sides went on from @zbackup-2026-11-20: backup/db has 2 snapshots (@hourly-1 to @hourly-2) with 2.0 KiB, which tank/db lacks. To keep both: --keep-both /db. To give these up, snapshots included: --force /db.
/gone: tank/gone does not exist

New snapshot: @zbackup-2026-11-22
New empty parents on the disk: backup/srv
Rolled back on the disk: 120.6 KiB that no snapshot holds
To send: 5.0 GiB; free on the disk: 3.0 TiB
");
}

#[test]
fn a_mixed_plan_fits_80_columns() {
    assert_shows(
        &mixed(),
        columns(80),
        "\
host1 (pool tank) → USB device (pool backup)

VOLUME              ACTION       FROM                TO                     SIZE
/home               incremental  zbackup-2026-11-21  zbackup-2026-11-22  1.3 KiB
/home/vic/pictures  full         -                   zbackup-2026-11-22  5.0 GiB
/var                up-to-date   -                   zbackup-2026-11-21        -
/db                 conflict     -                   -                         -
/gone               impossible   -                   -                         -
  /home: rolls back 120.6 KiB
  /home/vic/pictures: leaves out 3 snapshots between, raw

/db: diverged: Both sides went on from @zbackup-2026-11-20: backup/db has 2
  snapshots (@hourly-1 to @hourly-2) with 2.0 KiB, which tank/db lacks. To keep
  both: --keep-both /db. To give these up, snapshots included: --force /db.
/gone: tank/gone does not exist

New snapshot: @zbackup-2026-11-22
New empty parents on the disk: backup/srv
Rolled back on the disk: 120.6 KiB that no snapshot holds
To send: 5.0 GiB; free on the disk: 3.0 TiB
",
    );
}

#[test]
fn what_retention_takes_is_named_with_what_it_frees() {
    let old = |dataset: &str, number| {
        let names = snapshots(dataset, 1..=number).into_iter();
        let old = names.map(|name| OldSnapshot {
            name,
            guid: Guid(1),
            used_bytes: 1024,
        });
        Pruning {
            old: old.collect(),
            ..Pruning::default()
        }
    };
    let mut home = up_to_date("/home");
    home.retention.source = old("tank/home", 2);
    let mut srv = up_to_date("/srv");
    srv.retention.source = old("tank/srv", 1);
    srv.retention.target = old("backup/srv", 12);
    let plan = Plan {
        snapshot: None,
        ..plan(vec![home, srv])
    };
    assert_shows(
        &plan,
        Style::default(),
        "\
host1 (pool tank) → USB device (pool backup)

VOLUME  ACTION      FROM  TO                  SIZE
/home   up-to-date  -     zbackup-2026-11-21     -
/srv    up-to-date  -     zbackup-2026-11-21     -

Removed from the host at the end: 3 old snapshots, which frees at least 3.0 KiB:
  tank/home@hourly-1
  tank/home@hourly-2
  tank/srv@hourly-1
Removed from the disk at the end: 12 old snapshots, which frees at least 12.0 KiB:
  backup/srv@hourly-1
  backup/srv@hourly-2
  backup/srv@hourly-3
  backup/srv@hourly-4
  backup/srv@hourly-5
  … and 2 more
  backup/srv@hourly-8
  backup/srv@hourly-9
  backup/srv@hourly-10
  backup/srv@hourly-11
  backup/srv@hourly-12

Nothing to send
",
    );
}

#[test]
fn what_is_destroyed_is_named_before_anybody_is_asked() {
    let destroy = Overwrite::Destroy {
        snapshots: snapshots("tank/srv", 1..=47),
        written_bytes: 0,
    };
    let replace = Overwrite::Replace {
        snapshots: snapshots("tank/db", 1..=1),
        written_bytes: 0,
    };
    let bookmarks = |path: &str| vec![dataset(&format!("tank{path}")).bookmark("mine").unwrap()];
    let with_bookmark = |path: &str, overwrite| {
        let mut transfer = transfer(path, true, overwrite);
        transfer.stale_bookmarks = bookmarks(path);
        Action::Send(transfer)
    };
    let roll_back = Overwrite::RollBack { written_bytes: 5 };
    let plan = Plan {
        direction: Direction::ToHost,
        snapshot: None,
        ..plan(vec![
            volume("/srv", with_bookmark("/srv", destroy), Some(2048)),
            volume("/etc", with_bookmark("/etc", roll_back), Some(1)),
            volume("/db", Action::Send(transfer("/db", false, replace)), None),
        ])
    };
    assert_shows(
        &plan,
        Style::default(),
        "\
USB device (pool backup) → host1 (pool tank)

VOLUME  ACTION       FROM                TO                     SIZE  NOTE
/srv    incremental  zbackup-2026-11-21  zbackup-2026-11-22  2.0 KiB  destroys 47 snapshots
/etc    incremental  zbackup-2026-11-21  zbackup-2026-11-22      1 B  rolls back 5 B
/db     full         -                   zbackup-2026-11-22        ?  replaces what is there

Destroyed on the host: 47 snapshots of backup/srv and 0 B written after them:
  tank/srv@hourly-1
  tank/srv@hourly-2
  tank/srv@hourly-3
  tank/srv@hourly-4
  tank/srv@hourly-5
  tank/srv@hourly-6
  tank/srv@hourly-7
  tank/srv@hourly-8
  tank/srv@hourly-9
  tank/srv@hourly-10
  tank/srv@hourly-11
  tank/srv@hourly-12
  tank/srv@hourly-13
  tank/srv@hourly-14
  tank/srv@hourly-15
  tank/srv@hourly-16
  tank/srv@hourly-17
  tank/srv@hourly-18
  tank/srv@hourly-19
  tank/srv@hourly-20
  tank/srv@hourly-21
  tank/srv@hourly-22
  tank/srv@hourly-23
  tank/srv@hourly-24
  tank/srv@hourly-25
  tank/srv@hourly-26
  tank/srv@hourly-27
  tank/srv@hourly-28
  tank/srv@hourly-29
  tank/srv@hourly-30
  tank/srv@hourly-31
  tank/srv@hourly-32
  tank/srv@hourly-33
  tank/srv@hourly-34
  tank/srv@hourly-35
  tank/srv@hourly-36
  tank/srv@hourly-37
  tank/srv@hourly-38
  tank/srv@hourly-39
  tank/srv@hourly-40
  tank/srv@hourly-41
  tank/srv@hourly-42
  tank/srv@hourly-43
  tank/srv@hourly-44
  tank/srv@hourly-45
  tank/srv@hourly-46
  tank/srv@hourly-47
  tank/srv#mine
Destroyed on the host: 1 bookmark of changes of backup/etc that are rolled back:
  tank/etc#mine
Destroyed on the host: backup/db as it is, with 1 snapshot:
  tank/db@hourly-1

Rolled back on the host: 5 B that no snapshot holds
To send: 2.0 KiB and 1 volume of unknown size; free on the host: 3.0 TiB
",
    );
}

#[test]
fn nothing_to_do_says_so() {
    let plan = Plan {
        snapshot: None,
        ..plan(vec![up_to_date("/home")])
    };
    assert_shows(
        &plan,
        columns(80),
        "\
host1 (pool tank) → USB device (pool backup)

VOLUME  ACTION      FROM  TO                  SIZE
/home   up-to-date  -     zbackup-2026-11-21     -

Nothing to send
",
    );
}

#[test]
fn an_option_that_cannot_be_followed_is_explained() {
    let mut home = up_to_date("/home");
    home.refusal = Some("there is nothing to overwrite".into());
    let plan = plan(vec![home]);
    let line = "What you asked for is refused: there is nothing to overwrite.";
    let shown = rendered(&plan, Style::default());
    assert!(shown.contains(&format!("\n/home: {line}\n")), "{shown}");
    assert_eq!(from_plan(&plan)[0].reason.as_deref(), Some(line));
}

#[test]
fn a_plan_becomes_the_volumes_of_a_report() {
    let outcomes: Vec<_> = from_plan(&mixed())
        .into_iter()
        .map(|volume| (volume.action, volume.conflict, volume.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            (Some("incremental"), None, Outcome::Planned),
            (Some("full"), None, Outcome::Planned),
            (Some("up-to-date"), None, Outcome::Done),
            (Some("conflict"), Some("diverged"), Outcome::Refused),
            (None, None, Outcome::Failed),
        ]
    );
}

#[test]
fn a_resumed_transfer_tells_both_ends_and_what_is_there() {
    let destroy = Overwrite::Destroy {
        snapshots: snapshots("backup/home", 1..=2),
        written_bytes: 0,
    };
    let mut send = transfer("/home", true, destroy);
    send.stale_bookmarks = vec![dataset("backup/home").bookmark("mine").unwrap()];
    let step = &mut send.steps[0];
    step.resume = Some(resume_state(3 << 20));
    step.to = Point::Existing {
        name: step.to.name().clone(),
        guid: Guid(7),
    };
    let plan = plan(vec![volume("/home", Action::Send(send), Some(1 << 20))]);
    let report = from_plan(&plan).remove(0);
    assert_eq!(report.action, Some("resume"));
    assert_eq!(report.base.as_deref(), Some("zbackup-2026-11-21"));
    assert_eq!(report.base_guid, Some(BASE_GUID));
    assert_eq!(report.snapshot.as_deref(), Some("zbackup-2026-11-22"));
    assert_eq!(report.snapshot_guid, Some(Guid(7)));
    assert_eq!(report.resumed_bytes, 3 << 20);
    assert_eq!(report.estimated_bytes, Some(1 << 20));
    let destroys: Vec<_> = report.destroys.iter().map(ToString::to_string).collect();
    let expected = ["@hourly-1", "@hourly-2", "#mine"].map(|name| format!("backup/home{name}"));
    assert_eq!(destroys, expected);
    let shown = rendered(&plan, Style::default());
    assert!(
        shown.contains("3.0 MiB are there already, destroys 2 snapshots"),
        "{shown}"
    );
}

#[test]
fn a_target_that_is_ahead_is_up_to_date_and_says_so() {
    let newest = snapshots("backup/home", 9..=9).remove(0);
    let ahead = Action::UpToDate(UpToDate::TargetAhead(newest));
    let plan = plan(vec![volume("/home", ahead, None)]);
    let report = from_plan(&plan).remove(0);
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(
        report.reason.as_deref(),
        Some("the disk is ahead: it has @hourly-9, which `zbackup os` carries over")
    );
    assert!(rendered(&plan, Style::default()).contains("the disk is ahead"));
}
