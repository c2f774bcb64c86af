//! What people read about a decision.

use zbackup::plan::{Action, Conflict, Direction, VolumePlan};

use super::*;

fn home(direction: Direction, source: &str, target: &str) -> VolumePlan {
    run(direction, &[["/home", source, target]])
        .volumes
        .remove(0)
}

#[test]
fn every_action_has_its_word() {
    for (source, target, expected) in [
        ("@a=1", "@a=1", Some("up-to-date")),
        ("@a=1", "@a=1 @b=2", Some("up-to-date")),
        ("@a=1", "-", Some("full")),
        ("@a=1 +5", "@a=1", Some("incremental")),
        ("@a=1 @b=2", "@a=1 resume=2<1", Some("resume")),
        ("@a=1", "first=1", Some("resume")),
        ("@a=1", "@x=8", Some("conflict")),
        ("-", "@x=8", None),
    ] {
        assert_eq!(home(USB, source, target).action.word(), expected);
    }
}

#[test]
fn every_conflict_is_explained_with_its_ways_out() {
    for (source, target, expected) in [
        (
            "@a=1 @b=2",
            "atime @a=1 +4300000",
            "4.1 MiB were written to tank/home since @a. Reading alone may have done that, since \
             atime is on there. To keep both: --keep-both /home. To give the changes up: --force \
             /home. To avoid it: zfs set atime=off tank/home.",
        ),
        (
            "@a=1 @b=2",
            "@a=1 @x=8 @y=9",
            "Both sides went on from @a: tank/home has 2 snapshots (@x to @y) with 20 B, which \
             backup/home lacks. To keep both: --keep-both /home. To give these up, snapshots included: --force \
             /home.",
        ),
        (
            "@a=1",
            "@x=8",
            "tank/home exists, with 97.7 KiB and 1 snapshot, and has no snapshot in common with \
             backup/home. To keep both: --keep-both /home. To replace it, snapshots included: --force /home.",
        ),
        (
            "encrypted @a=1",
            "@x=8",
            "Encryption differs: backup/home is encrypted, tank/home is not. To keep both: --keep-both \
             /home.",
        ),
        (
            "@a=1 @b=2",
            "@a=1 resume=9<1/of=tank/home@other",
            "tank/home holds a broken-off receive of 4 B so far that zbackup did not start or cannot \
             place. Let its own tool finish it. To keep both: --keep-both /home. To drop it: --force /home.",
        ),
        (
            "@a=1 @b=2",
            "@a=1 inconsistent",
            "tank/home holds a broken-off receive that zbackup did not start or cannot place. Let its \
             own tool finish it. To keep both: --keep-both /home. To drop it: --force /home.",
        ),
    ] {
        assert_eq!(explained(&home(OS, source, target)), expected);
    }
}

#[test]
fn a_refusal_is_explained_too() {
    let volumes = [["/home", "@a=1 @b=2", "@a=1 @x=8/held"]];
    let plan = run_with(OS, &volumes, force_home);
    let explained = explained(&plan.volumes[0]);
    assert!(
        explained.contains("What you asked for is refused: tank/home@x is held (zfs holds)."),
        "{explained}"
    );
}

fn explained(volume: &VolumePlan) -> String {
    match &volume.action {
        Action::Conflict(conflict) => conflict.explain(volume),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_conflict_has_its_word() {
    let words: Vec<_> = [
        Conflict::Modified {
            base: "a".into(),
            written_bytes: 1,
            atime: false,
        },
        Conflict::Diverged {
            base: "a".into(),
            newer: vec![],
            written_bytes: 0,
        },
        Conflict::NoCommonSnapshot {
            snapshots: vec![],
            referenced_bytes: 0,
        },
        Conflict::ForeignResumeState {
            received_bytes: None,
        },
        Conflict::EncryptionMismatch {
            reason: String::new(),
            can_move: true,
        },
        Conflict::DoesNotFit {
            needed_bytes: 1,
            free_bytes: 0,
        },
    ]
    .iter()
    .map(Conflict::word)
    .collect();
    assert_eq!(
        words.join(" "),
        "modified diverged no-common-snapshot foreign-resume-state encryption-mismatch does-not-fit"
    );
}
