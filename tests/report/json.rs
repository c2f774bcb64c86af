//! The `--json` document, which programs rely on: keys, their order, and the words in them.

use openzfs::BookmarkName;
use serde_json::{Value, json};
use zbackup::error::{Error, Exit, Phase};
use zbackup::plan::{Action, Overwrite};
use zbackup::report::{DamagedFile, DiskState, HealthReport, Outcome, Report};

use crate::fixtures::{report, sent, snapshots, transfer, volume};

fn document(report: &Report) -> Value {
    serde_json::from_str(&report.json().unwrap()).unwrap()
}

#[test]
fn a_whole_document() {
    let action = Action::Send(transfer("/home", true, Overwrite::Nothing));
    let mut report = report(vec![sent(volume("/home", action, Some(1300)), 1234, 0.8)]);
    report.pruned = snapshots("tank/home", 1..=1);
    report.disk.as_mut().unwrap().health = Some(HealthReport {
        state: "DEGRADED".into(),
        missing: vec!["/dev/sdb1".into()],
        errors: vec![DamagedFile {
            volume: "backup/home@a".into(),
            file: "/b".into(),
        }],
        data_errors: 1,
        used_percent: 91,
        scrub_age_seconds: None,
    });
    report.end(None);
    let expected = r#"{
  "schema": 1,
  "command": "usb",
  "dry_run": false,
  "host": {
    "section": "host1",
    "pool": "tank",
    "guid": "14531453",
    "health": null
  },
  "disk": {
    "section": "USB device",
    "partuuid": "0f3a-01",
    "pool": "backup",
    "guid": "18446744073709551615",
    "encryption": "truecrypt",
    "health": {
      "state": "DEGRADED",
      "missing": [
        "/dev/sdb1"
      ],
      "errors": [
        {
          "volume": "backup/home@a",
          "file": "/b"
        }
      ],
      "data_errors": 1,
      "used_percent": 91,
      "scrub_age_seconds": null
    }
  },
  "volumes": [
    {
      "volume": "/home",
      "source": "tank/home",
      "target": "backup/home",
      "action": "incremental",
      "conflict": null,
      "base": "zbackup-2026-11-21",
      "base_guid": "9007199254740993",
      "snapshot": "zbackup-2026-11-22",
      "snapshot_guid": "18446744073709551614",
      "outcome": "done",
      "estimated_bytes": 1300,
      "sent_bytes": 1234,
      "resumed_bytes": 0,
      "seconds": 0.8,
      "destroys": [],
      "reason": null
    }
  ],
  "pruned": [
    "tank/home@hourly-1"
  ],
  "not_covered": [],
  "warnings": [],
  "disk_state": "closed",
  "safe_to_unplug": true,
  "exit_code": 0,
  "error": null
}
"#;
    let document = report.json().unwrap();
    assert!(document == expected, "{document}");
}

#[test]
fn an_error_before_there_are_volumes_has_the_same_keys() {
    let mut failed = Report::new("os", true);
    let error = Error::new(Phase::Disk, "no disk of zbackup.ini is plugged in").exit(Exit::NoDisk);
    failed.end(Some(&error));
    assert_eq!(
        document(&failed),
        json!({
            "schema": 1, "command": "os", "dry_run": true, "host": null, "disk": null,
            "volumes": [], "pruned": [], "not_covered": [], "warnings": [],
            "disk_state": "untouched", "safe_to_unplug": false, "exit_code": 75,
            "error": {
                "phase": "disk",
                "message": "no disk of zbackup.ini is plugged in",
                "next": null,
            },
        })
    );
}

#[test]
fn only_forget_lists_what_was_forgotten() {
    let mut forget = Report::new("forget", false);
    let bookmark = BookmarkName::new("tank/home#zbackup-77-4").unwrap();
    forget.forgotten = Some(vec![bookmark]);
    assert_eq!(
        document(&forget)["forgotten"],
        json!(["tank/home#zbackup-77-4"])
    );
    forget.forgotten = Some(Vec::new());
    assert_eq!(document(&forget)["forgotten"], json!([]));
    assert_eq!(document(&Report::new("usb", false)).get("forgotten"), None);
}

#[test]
fn words_that_programs_compare() {
    let states = [
        (DiskState::Untouched, "untouched"),
        (DiskState::Closed, "closed"),
        (DiskState::Unlocked, "unlocked"),
        (DiskState::Imported, "imported"),
        (DiskState::Lost, "lost"),
    ];
    for (state, expected) in states {
        assert_eq!(json!(state), expected);
    }
    let outcomes = [
        (Outcome::Planned, "planned"),
        (Outcome::Done, "done"),
        (Outcome::Skipped, "skipped"),
        (Outcome::Refused, "refused"),
        (Outcome::Failed, "failed"),
    ];
    for (outcome, expected) in outcomes {
        assert_eq!(json!(outcome), expected);
    }
}
