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
             /home. To avoid it: `zfs set atime=off tank/home`.",
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
            "tank/home holds an interrupted receive of 4 B so far that zbackup did not start or cannot \
             place. Let its own tool finish it. To keep both: --keep-both /home. To drop it: --force /home.",
        ),
        (
            "@a=1 @b=2",
            "@a=1 inconsistent",
            "tank/home holds an interrupted receive that zbackup did not start or cannot place. Let its \
             own tool finish it. To keep both: --keep-both /home. To drop it: --force /home.",
        ),
    ] {
        assert_eq!(explained(&home(OS, source, target)), expected);
    }
}

#[test]
fn a_feature_is_named_with_the_commands_that_enable_it() {
    assert_eq!(
        explained(&home(USB, "lacks=large_dnode +5", "-")),
        "tank/home uses large_dnode, and the pool backup lacks this feature. To enable that for good: \
         `zbackup open --rw`, `zpool set feature@large_dnode=enabled backup`, `zbackup close`. If the \
         compatibility of backup is restricted, the first `zpool set` has to be `zpool set \
         compatibility=off backup`. Hosts whose OpenZFS does not know the feature cannot import the disk any more then. Or copy its \
         files into a new dataset that has dnodesize=legacy, and back up that one."
    );
    assert_eq!(
        explained(&home(OS, "encrypted lacks=zstd_compress @a=1", "-")),
        "backup/home uses zstd_compress, and the pool tank lacks this feature. To enable that for good: \
         `zpool set feature@zstd_compress=enabled tank`. If the compatibility of tank is \
         restricted, the first `zpool set` has to be `zpool set compatibility=off tank`."
    );
}

#[test]
fn a_refusal_is_explained_too() {
    let volumes = [["/home", "@a=1 @b=2", "@a=1 @x=8/held"]];
    let plan = run_with(OS, &volumes, force_home);
    let explained = explained(&plan.volumes[0]);
    assert!(
        explained.contains(
            "What you asked for is refused: tank/home@x is held: `zfs holds tank/home@x` shows by \
             which tag, `zfs release TAG tank/home@x` ends it."
        ),
        "{explained}"
    );
    assert_eq!(explained.matches("is held").count(), 1, "{explained}");
}

/// What would be refused is not offered, or only with the reason.
#[test]
fn only_ways_that_lead_out_are_offered() {
    let (source, target) = sides(
        OS,
        &[
            ["/home", "@a=1", "parent @x=8"],
            ["/home/vic", "@a=2", "@y=9"],
        ],
    );
    let both = plan(&policy(OS, &["/home", "/home/vic"]), &source, &target);
    assert_eq!(
        explained(&both.volumes[0]),
        "tank/home exists, with 97.7 KiB and 1 snapshot, and has no snapshot in common with \
         backup/home. To keep both: --keep-both /home --keep-both /home/vic. --force /home would be \
         refused: tank/home has child datasets that would go with it."
    );
    // Both ways lead on where they are typed.
    let mut policy_of_both = policy(OS, &["/home", "/home/vic"]);
    policy_of_both.keep_both = ["/home", "/home/vic"].map(volume).into();
    let kept = plan(&policy_of_both, &source, &target);
    assert_eq!(kept.volumes[0].action.word(), Some("full"));

    // A child that is none of the run's volumes may not be named.
    let alone = plan(&policy(OS, &["/home"]), &source, &target);
    let why = "tank/home/vic would move along, and is none of the volumes to carry";
    assert!(
        explained(&alone.volumes[0]).contains(&format!(
            "To keep both (--keep-both /home would be refused: {why}): `zfs rename tank/home \
             tank/home-kept-aside`, then run the same command again."
        )),
        "{}",
        explained(&alone.volumes[0])
    );
    let mut asked = policy(OS, &["/home"]);
    keep_both_home(&mut asked);
    let refused = explained(&plan(&asked, &source, &target).volumes[0]);
    assert!(
        refused.contains(&format!(
            "What you asked for is refused: {why}. To keep both: `zfs rename tank/home"
        )),
        "{refused}"
    );

    // The disk is closed between two runs.
    let (source, target) = sides(
        USB,
        &[["/home", "@a=1", "parent @x=8"], ["/home/old", "-", "@y=9"]],
    );
    let on_disk = explained(&plan(&policy(USB, &["/home"]), &source, &target).volumes[0]);
    assert!(
        on_disk.contains(
            "`zbackup open --rw`, `zfs rename backup/home backup/home-kept-aside`, `zbackup close`"
        ),
        "{on_disk}"
    );
}

/// A name may have blanks, and so look like more options. The shell takes it for one word.
#[test]
fn a_name_is_one_word_of_what_is_typed() {
    for (path, source, target, expected) in [
        (
            "/my data",
            "@a=1 @b=2",
            "atime @a=1 +4300000",
            "To keep both: --keep-both '/my data'. To give the changes up: --force '/my data'. To avoid it: \
             `zfs set atime=off 'tank/my data'`.",
        ),
        (
            "/home/x --force /home",
            "@a=1",
            "@x=8",
            "To keep both: --keep-both '/home/x --force /home'. To replace it, snapshots included: --force \
             '/home/x --force /home'.",
        ),
        (
            "/my data",
            "@a=1",
            "parent @x=8",
            "To keep both (--keep-both '/my data' would be refused: the children of tank/my data are not \
             known): `zfs rename 'tank/my data' 'tank/my data-kept-aside'`, then run the same command again. \
             --force '/my data' would be refused: tank/my data has child datasets that would go with it.",
        ),
    ] {
        let explained = explained(&run(OS, &[[path, source, target]]).volumes[0]);
        assert!(explained.ends_with(expected), "{explained}");
    }

    let held = [["/my data", "@a=1 @b=2", "@a=1 @x=8/held"]];
    let plan = run_with(OS, &held, |policy| {
        policy.force.insert(volume("/my data"));
    });
    let explained = explained(&plan.volumes[0]);
    assert!(
        explained.contains("`zfs release TAG 'tank/my data@x'` ends it"),
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
            copy_of: None,
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
        Conflict::NeedsFeature {
            features: vec![],
            on_disk: true,
        },
        Conflict::DoesNotFit {
            needed_bytes: 1,
            free_bytes: 0,
            quota: None,
            fits_with_fewer: false,
        },
    ]
    .iter()
    .map(Conflict::word)
    .collect();
    assert_eq!(
        words.join(" "),
        "modified diverged no-common-snapshot foreign-resume-state encryption-mismatch needs-feature \
         does-not-fit"
    );
}
