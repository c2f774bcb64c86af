//! What is in the way, and what `--force` and `--keep-both` make of it.

use super::*;

#[test]
#[rustfmt::skip] // one row, one line
fn os_leaves_the_hosts_own_changes_alone() {
    check(
        OS,
        &[
            ["written to", "@a=1 @b=2", "@a=1 +5", "modified @a+5"],
            ["or only read", "@a=1 @b=2", "atime @a=1 +5", "modified @a+5 atime"],
            ["snapshots of its own", "@a=1 @b=2", "@a=1 @x=8", "diverged @a @x"],
            ["older ones do not matter", "@a=1 @b=2", "@x=8 @a=1", "@a to @b"],
            ["no snapshot, files", "@a=1", "+5", "no-common-snapshot "],
            ["others' snapshots", "@a=1", "@x=8 @y=9", "no-common-snapshot @x @y"],
            ["a bookmark is no base there", "@a=1 @b=2", "#a=1 @x=8", "no-common-snapshot @x"],
            ["a parent with snapshots", "@a=1", "placeholder @x=8", "no-common-snapshot @x"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn usb_leaves_foreign_copies_alone() {
    check(
        USB,
        &[
            ["files", "@a=1 +5", "+5", "no-common-snapshot "],
            ["snapshots", "@a=1 +5", "@x=8", "no-common-snapshot @x"],
            ["same names", "@a=1 +5", "@a=8", "no-common-snapshot @a"],
        ],
    );
}

/// Somebody has filled the disk with another tool, or has worked on it.
#[test]
#[rustfmt::skip] // one row, one line
fn usb_rolls_nothing_back_unasked() {
    check(
        USB,
        &[
            ["a copy of ours", "@a=1 +5", "@a=1 +7", "modified @a+7"],
            ["another tool's", "@a=1 +5", "@a=1/foreign +7", "modified @a+7"],
            ["read, with atime", "@a=1 +5", "atime @a=1 +7", "modified @a+7 atime"],
            ["the host has nothing new", "@a=1", "@a=1 +7", "modified @a+7"],
            ["and nothing but a bookmark", "#a=1", "@a=1 +7", "modified @a+7"],
            ["an encrypted one's claimed log", "encrypted @a=1/iv=1", "encrypted @a=1/iv=1 +8192", "up-to-date @a"],
            ["a zvol", "zvol @a=1 +5", "zvol @a=1 +7", "modified @a+7"],
            ["a claimed log of an encrypted one", "encrypted @a=1/iv=1 +5", "encrypted @a=1/iv=1 +8192", "raw @a to new"],
            ["more than that", "encrypted @a=1/iv=1 +5", "encrypted @a=1/iv=1 +8193", "modified @a+8193"],
            ["not written to", "@a=1 +5", "@a=1/foreign", "@a to new"],
        ],
    );
    check_with(
        USB,
        force_home,
        &[
            ["forced", "@a=1 +5", "@a=1/foreign +7", "@a to new; rolls back 7"],
            ["forced, with nothing new", "@a=1", "@a=1 +7", "@a to new; rolls back 7"],
        ],
    );
    check_with(
        USB,
        keep_both_home,
        &[["kept, with nothing new", "@a=1", "@a=1 +7", "full to @a; renames to backup/home-kept-2026-11-22"]],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn force_destroys_exactly_what_it_lists() {
    check_with(
        OS,
        force_home,
        &[
            ["changes", "@a=1 @b=2", "@a=1 +5", "@a to @b; rolls back 5"],
            ["snapshots", "@a=1 @b=2", "@a=1 @x=8 @y=9 +5", "@a to @b; destroys @x @y+5"],
            ["a held one", "@a=1 @b=2", "@a=1 @x=8/held", "diverged @a @x; refused: tank/home@x is held: `zfs holds tank/home@x` shows by which tag, `zfs release TAG tank/home@x` ends it"],
            ["all", "@a=1 @b=2", "@x=8 @y=9", "full to @b; replaces @x @y; leaves out 1"],
            ["all, same name", "@a=1", "@a=8", "full to @a; replaces @a"],
            ["files alone", "@a=1", "+5", "full to @a; replaces "],
            ["all, a held one", "@a=1", "@x=8/held", "no-common-snapshot @x; refused: tank/home@x is held: `zfs holds tank/home@x` shows by which tag, `zfs release TAG tank/home@x` ends it"],
            ["a cloned one", "@a=1 @b=2", "@a=1 @x=8/cloned", "diverged @a @x; refused: tank/clone is a clone of tank/home@x, and needs it: `zfs destroy tank/clone` gives that up too"],
            ["what was cloned stays", "@a=1 @b=2", "@a=1/cloned @x=8", "@a to @b; destroys @x+0"],
            ["all, a cloned one", "@a=1", "@x=8/cloned", "no-common-snapshot @x; refused: tank/clone is a clone of tank/home@x, and needs it: `zfs promote tank/clone` gives it that for good"],
            ["children too", "@a=1", "parent @x=8", "no-common-snapshot @x; refused: tank/home has child datasets that would go with it"],
            ["nothing to force", "@a=1 @b=2", "@a=1", "@a to @b"],
            ["ahead stays", "@a=1", "@a=1 @x=8", "ahead @x"],
            ["equal stays", "@a=1", "@a=1 +5", "up-to-date @a"],
            ["a name in the way", "@a=1 @b=2", "@a=1 @b=8", "impossible: backup/home@b and tank/home@b are different snapshots of one name: rename one of them"],
        ],
    );
    check_with(
        USB,
        force_home,
        &[
            ["another host's changes", "@a=1 +5", "@a=1 @x=8", "@a to new; destroys @x+0"],
            ["another volume", "@a=1 +5", "@x=8", "full to new; replaces @x; leaves out 1"],
            ["a cloned one", "@a=1 +5", "@x=7/cloned @y=8/cloned @z=9", "no-common-snapshot @x @y @z; refused: backup/clone is a clone of backup/home@y, and needs it: `zbackup open --rw`, `zfs promote backup/clone` gives it that for good, `zbackup close`"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn bookmarks_of_what_is_undone_go_too() {
    check_with(
        OS,
        force_home,
        &[
            ["of a destroyed one", "@a=1 @b=2", "@a=1 #a=1 @x=8 #x=8", "@a to @b; destroys @x+0; forgets #x"],
            ["of one that is gone", "@a=1 @b=2", "#o=7 @a=1 #x=8 +5", "@a to @b; rolls back 5; forgets #x"],
            ["not of one without changes", "@a=1 @b=2", "@a=1 #x=8", "@a to @b"],
            ["with all the rest", "@a=1", "@x=8 #x=8", "full to @a; replaces @x"],
        ],
    );
    check_with(
        USB,
        force_home,
        &[[
            "on the disk too",
            "@a=1 @b=2",
            "@a=1 #x=8 +5",
            "@a to @b; rolls back 5; forgets #x",
        ]],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn keep_both_renames_the_target_aside() {
    let aside = "full to @b; renames to tank/home-kept-2026-11-22; leaves out 1";
    check_with(
        OS,
        keep_both_home,
        &[
            ["changes", "@a=1 @b=2", "@a=1 +5", aside],
            ["snapshots", "@a=1 @b=2", "@a=1 @x=8/held", aside],
            ["nothing common", "@a=1 @b=2", "@b=8", aside],
            ["no conflict", "@a=1 @b=2", "@a=1", "@a to @b"],
            ["unknown children", "@a=1 @b=2", "parent @x=8", "no-common-snapshot @x; refused: the children of tank/home are not known"],
        ],
    );
    let both = |policy: &mut Policy| {
        force_home(policy);
        keep_both_home(policy);
    };
    check_with(
        OS,
        both,
        &[["the one that keeps", "@a=1 @b=2", "@a=1 +5", aside]],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn keep_both_finds_a_free_name() {
    let volumes = [
        ["/home", "@a=1", "@x=8"],
        ["/home-kept-2026-11-22", "@a=2", "@a=2"],
    ];
    let plan = run_with(OS, &volumes, keep_both_home);
    assert_eq!(
        lines(&plan)[0],
        "/home: full to @a; renames to tank/home-kept-2026-11-22-2"
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn keep_both_moves_children_only_where_they_are_named() {
    let volumes = [
        ["/home/vic", "@c=3 @d=4", "@c=3"],
        ["/home", "@a=1", "parent @x=8"],
    ];
    let plan = run_with(OS, &volumes, keep_both_home);
    assert_eq!(
        lines(&plan),
        [
            "/home/vic: @c to @d",
            "/home: no-common-snapshot @x; refused: tank/home/vic would move along: add \
             --keep-both /home/vic",
        ]
    );
    let plan = run_with(OS, &volumes, |policy| {
        keep_both_home(policy);
        policy.keep_both.insert(volume("/home/vic"));
    });
    assert_eq!(
        lines(&plan),
        [
            "/home/vic: full to @d; leaves out 1; waits for /home",
            "/home: full to @a; renames to tank/home-kept-2026-11-22",
        ]
    );
}
