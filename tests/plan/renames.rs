//! A volume, or its copy, has another name than before.

use zbackup::plan::{Direction, Plan, follow, plan};

use super::notation::{add_other, lines, volume};
use super::{OS, USB, policy, sides};

/// Volumes of the run (path, source, target), and what else there is on either side.
struct Case<'a> {
    direction: Direction,
    volumes: &'a [[&'a str; 3]],
    others: &'a [[&'a str; 3]],
}

/// Plans with these volumes' renames followed; the plan's lines, then the renames.
fn decided(case: &Case, followed: &[&str]) -> Vec<String> {
    decided_with(case, followed, |_| {})
}

fn decided_with(
    case: &Case,
    followed: &[&str],
    change: impl FnOnce(&mut zbackup::plan::Policy),
) -> Vec<String> {
    let (mut source, mut target) = sides(case.direction, case.volumes);
    for [path, on_source, on_target] in case.others {
        add_other(&mut source, path, on_source);
        add_other(&mut target, path, on_target);
    }
    let paths: Vec<_> = case.volumes.iter().map(|[path, ..]| *path).collect();
    let mut policy = policy(case.direction, &paths);
    policy.follow_rename = followed.iter().map(|path| volume(path)).collect();
    change(&mut policy);
    let renames = follow(&policy, &source, &mut target);
    let plan = Plan {
        renames,
        ..plan(&policy, &source, &target)
    };
    let renames = plan.renames.iter().map(|rename| {
        let parents = rename.parents.iter().map(|parent| format!(" +{parent}"));
        format!(
            "{} to {}{}",
            rename.from,
            rename.to,
            parents.collect::<String>()
        )
    });
    let placeholders = plan.placeholders.iter().map(|name| format!("+{name}"));
    lines(&plan)
        .into_iter()
        .chain(renames)
        .chain(placeholders)
        .collect()
}

#[test]
fn a_renamed_volume_is_not_sent_again() {
    let case = Case {
        direction: USB,
        volumes: &[
            ["/home", "-", "@a=1 @b=2"],
            ["/data", "@a=1 #b=2 @c=3 +5", "-"],
        ],
        others: &[],
    };
    assert_eq!(
        decided(&case, &[]),
        [
            "/home: renamed to tank/data",
            "/data: renamed from backup/home"
        ]
    );
    assert_eq!(
        decided(&case, &["/data"]),
        [
            "/home: impossible: tank/home does not exist. Create it, or take /home out of the \
             configuration",
            "/data: #b to new; leaves out 1",
            "backup/home to backup/data"
        ]
    );
    // A person can have both, and --force is neither.
    let both = decided_with(&case, &[], |policy| {
        policy.keep_both.insert(volume("/data"));
    });
    assert_eq!(both[1], "/data: full to new; leaves out 2");
    let forced = decided_with(&case, &[], |policy| {
        policy.force.insert(volume("/data"));
    });
    assert!(forced[1].starts_with("/data: renamed from backup/home; refused: "));
}

#[test]
fn the_other_name_need_not_be_a_volume() {
    let case = Case {
        direction: USB,
        volumes: &[["/data", "@a=1 +5", "-"]],
        others: &[["/home", "-", "@a=1"], ["/old/home", "-", "@x=7"]],
    };
    assert_eq!(decided(&case, &[]), ["/data: renamed from backup/home"]);
    assert_eq!(
        decided(&case, &["/data"]),
        ["/data: @a to new", "backup/home to backup/data"]
    );
    let case = Case {
        direction: OS,
        volumes: &[["/home", "-", "@a=1"], ["/gone", "-", "-"]],
        others: &[["/data", "@a=1 @b=2", "-"]],
    };
    let lines = decided(&case, &["/home"]);
    assert_eq!(lines[0], "/home: renamed to backup/data");
    assert!(lines[1].starts_with("/gone: impossible: "), "{lines:?}");
}

/// A clone that was promoted has the snapshots, the old volume its bookmarks: the copy is the old
/// volume's.
#[test]
fn a_copy_that_has_its_volume_is_nobody_elses() {
    let case = Case {
        direction: USB,
        volumes: &[
            ["/home", "#a=1 @b=2 +5", "@a=1"],
            ["/clone", "@a=1 +5", "-"],
        ],
        others: &[],
    };
    assert_eq!(
        decided(&case, &["/clone"]),
        [
            "/home: #a to new; leaves out 1",
            "/clone: full to new; leaves out 1"
        ]
    );
    // What replacements and earlier ways out have left is no copy either.
    let case = Case {
        direction: USB,
        volumes: &[["/home", "@a=1 +5", "-"]],
        others: &[
            ["/home-zbackup-arriving", "-", "@a=1"],
            ["/home-kept-2026-11-22", "-", "@a=1"],
        ],
    };
    assert_eq!(decided(&case, &[]), ["/home: full to new; leaves out 1"]);
}

#[test]
fn children_go_along_and_parents_are_made() {
    let volumes = [
        ["/data", "@a=1 +5", "-"],
        ["/data/vic", "@b=2 +5", "-"],
        ["/a/b/mail", "@c=3 +5", "-"],
    ];
    let others = [
        ["/home", "-", "@a=1"],
        ["/home/vic", "-", "@b=2"],
        ["/home/vic/mail", "-", "@c=3"],
    ];
    let case = Case {
        direction: USB,
        volumes: &volumes,
        others: &others,
    };
    assert_eq!(
        decided(&case, &[]),
        [
            "/data: renamed from backup/home",
            "/data/vic: renamed from backup/home/vic along with /data",
            "/a/b/mail: renamed from backup/home/vic/mail",
        ]
    );
    assert_eq!(
        decided(&case, &["/data", "/a/b/mail"]),
        [
            "/data: @a to new",
            "/data/vic: @b to new",
            "/a/b/mail: @c to new",
            "backup/home/vic/mail to backup/a/b/mail +backup/a +backup/a/b",
            "backup/home to backup/data",
        ]
    );
}

/// A new volume below one whose copy has another name: an empty parent would take that one's place.
#[test]
fn what_is_new_below_it_waits() {
    let case = Case {
        direction: USB,
        volumes: &[["/data", "@a=1 +5", "-"], ["/data/vic", "+5", "-"]],
        others: &[["/home", "-", "@a=1"]],
    };
    assert_eq!(
        decided(&case, &[]),
        [
            "/data: renamed from backup/home",
            "/data/vic: impossible: backup/data/vic goes below backup/data, and the copy of /data is \
             not called that yet: see /data",
        ]
    );
    assert_eq!(
        decided(&case, &["/data"]),
        [
            "/data: @a to new",
            "/data/vic: full to new",
            "backup/home to backup/data",
        ]
    );
}

#[test]
fn two_that_exchange_their_names() {
    let case = Case {
        direction: USB,
        volumes: &[["/a", "@b=2 +5", "@a=1"], ["/b", "@a=1 +5", "@b=2"]],
        others: &[],
    };
    assert_eq!(
        decided(&case, &["/a"]),
        [
            "/a: renamed from backup/b over /b; refused: the copy cannot be renamed yet",
            "/b: renamed from backup/a over /a",
        ]
    );
    assert_eq!(
        decided(&case, &["/a", "/b"]),
        [
            "/a: @b to new",
            "/b: @a to new",
            "backup/b to backup/b-zbackup-renaming",
            "backup/a to backup/b",
            "backup/b-zbackup-renaming to backup/a",
        ]
    );
}

#[test]
fn another_volumes_copy_is_not_destroyed() {
    let case = Case {
        direction: USB,
        volumes: &[["/home", "@x=7 +5", "@a=1"]],
        others: &[["/old", "@a=1", "-"]],
    };
    let forced = decided_with(&case, &[], |policy| {
        policy.force.insert(volume("/home"));
    });
    assert_eq!(
        forced,
        ["/home: no-common-snapshot @a; refused: backup/home is the copy of /old"]
    );
    // With the other one followed, its place is free.
    let case = Case {
        volumes: &[["/home", "@x=7 +5", "@a=1"], ["/old", "@a=1 +5", "-"]],
        others: &[],
        ..case
    };
    assert_eq!(
        decided(&case, &["/old"]),
        [
            "/home: full to new; leaves out 1",
            "/old: @a to new",
            "backup/home to backup/old",
        ]
    );
}

/// A new volume has the old one's name, and the old one is below it now.
#[test]
fn a_copy_that_goes_below_itself() {
    let case = Case {
        direction: USB,
        volumes: &[["/a", "+5", "@a=1"], ["/a/old", "@a=1 +5", "-"]],
        others: &[],
    };
    assert_eq!(
        decided(&case, &["/a/old"]),
        [
            "/a: full to new; into placeholder",
            "/a/old: @a to new; waits for /a",
            "backup/a to backup/a-zbackup-renaming",
            "backup/a-zbackup-renaming to backup/a/old +backup/a",
        ]
    );
}
