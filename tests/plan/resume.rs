//! Interrupted receives.

use super::*;

#[test]
#[rustfmt::skip] // one row, one line
fn an_interrupted_receive_goes_on() {
    let of_x = "@a=1 resume=2<1/of=tank/home@x";
    check(
        USB,
        &[
            ["then to the new one", "@a=1 @b=2 +5", "@a=1 resume=2<1", "resume @a to @b, @b to new"],
            ["nothing else", "@a=1 @b=2", "@a=1 resume=2<1", "resume @a to @b"],
            ["then to the newest", "@a=1 @b=2 @c=3", "@a=1 resume=2<1", "resume @a to @b, @b to @c"],
            ["some left out", "@a=1 @b=2 @c=3 @d=4 +5", "@a=1 resume=3<1", "resume @a to @c, @c to new; leaves out 2"],
            ["base is a bookmark", "#a=1 @b=2 +5", "@a=1 resume=2<1", "resume #a to @b, @b to new"],
            ["in full", "@a=1 +5", "first=1", "resume full to @a, @a to new"],
            ["in full into a parent", "@a=1", "placeholder resume=1<", "resume full to @a; into placeholder"],
            ["raw", "encrypted @a=1", "encrypted first=1/raw", "raw resume full to @a"],
            ["changes are somebody's", "@a=1 @b=2", "@a=1 +5 resume=2<1", "modified @a+5"],
            ["another's, which was on its way to this disk", "@a=1 @x=2/foreign #zbackup-6-20=2 +5", of_x, "resume @a to @x, @x to new"],
            ["and what was sent before it", "@a=1 @x=2/foreign @b=3 #zbackup-6-30=3 +5", of_x, "resume @a to @x, @x to new; leaves out 1"],
            ["the first one of many", "@x=2/foreign @b=3 #zbackup-6-30=3", "readonly first=2/of=tank/home@x", "resume full to @x, @x to @b"],
        ],
    );
    check_with(
        USB,
        force_home,
        &[[
            "changes are rolled back",
            "@a=1 @b=2",
            "@a=1 +5 resume=2<1",
            "resume @a to @b; rolls back 5",
        ]],
    );
    check(
        OS,
        &[[
            "and on to the newest",
            "@a=1 @b=2 @c=3",
            "@a=1 resume=2<1",
            "resume @a to @b, @b to @c",
        ]],
    );
    check_with(
        OS,
        |policy| policy.intermediate = true,
        &[[
            "every one after it",
            "@a=1 @b=2 @c=3 @d=4",
            "@a=1 resume=2<1",
            "resume @a to @b, @b to @c, @c to @d",
        ]],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn a_dead_one_is_dropped() {
    check(
        USB,
        &[
            ["its snapshot is gone", "@a=1 +5", "@a=1 resume=9<1", "@a to new; drops state"],
            ["the first one's", "@a=1 +5", "first=9", "full to new; drops state; leaves out 1"],
            ["into a parent", "@a=1", "placeholder resume=9<", "full to @a; into placeholder; drops state"],
            ["from another host", "@a=1 +5", "@a=1 resume=9<1/of=pool/host1/home@zbackup-x", "@a to new; drops state"],
            ["the target went on", "@a=1 @b=2 +5", "@a=1 @b=2 resume=2<1", "@b to new; drops state"],
            ["its base is not the newest", "@a=1 @b=2 @c=3", "@a=1 @b=2 resume=3<1", "@b to @c; drops state"],
            ["into files in use", "@a=1", "+5 resume=1<", "no-common-snapshot "],
            ["a full one, no longer", "@a=1 @b=2", "@a=1 resume=2<", "@a to @b; drops state"],
            ["it was not raw", "encrypted @a=1", "encrypted first=1", "raw full to @a; drops state"],
            ["nothing to send", "@a=1", "@a=1 resume=9<1", "up-to-date @a"],
            ["a bookmark tells whose it was", "@a=1 #zbackup-6-20=9 +5", "@a=1 resume=9<1/of=tank/home@x", "@a to new; drops state"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn a_foreign_one_is_left_alone() {
    let foreign = "@a=1 resume=9<1/of=tank/home@syncoid_2026";
    let elsewhere = "@a=1 resume=9<1/of=tank/srv@zbackup-2026-11-20";
    let alike = "@a=1 resume=9<1/of=tank/myhome@zbackup-2026-11-20";
    let first = "first=9/of=tank/home@syncoid_2026";
    let known = "@a=1 resume=2<1/of=tank/home@x";
    check(
        USB,
        &[
            ["another tool's", "@a=1 +5", foreign, "foreign-resume-state"],
            ["no token", "@a=1 +5", "inconsistent", "foreign-resume-state"],
            ["another volume's", "@a=1 +5", elsewhere, "foreign-resume-state"],
            ["a like name", "@a=1 +5", alike, "foreign-resume-state"],
            ["a first one", "@a=1 +5", first, "foreign-resume-state"],
            ["not in the way", "@a=1", foreign, "up-to-date @a"],
            ["of a snapshot that is here", "@a=1 @x=2/foreign +5", known, "foreign-resume-state"],
            ["of an own one, as it is called now", "@a=1 @x=2 +5", known, "foreign-resume-state"],
            ["of one with a name like ours", "@a=1 @b=2/foreign +5", "@a=1 resume=2<1", "foreign-resume-state"],
            ["zbackup brought it to another disk", "@a=1 @x=2/foreign #zbackup-7-20=2 +5", known, "foreign-resume-state"],
            ["newer than what zbackup brought", "@a=1 #zbackup-6-10=1 @x=2/foreign +5", known, "foreign-resume-state"],
            ["a new copy, after ours was destroyed", "@x=2/foreign @b=3 #zbackup-6-30=3", "first=2/of=tank/home@x", "foreign-resume-state"],
            ["it would be dropped", "@a=1 @x=2/foreign @b=3 +5", "@a=1 @b=3 resume=2<1/of=tank/home@x", "foreign-resume-state"],
        ],
    );
    check_with(
        USB,
        force_home,
        &[
            ["forced", "@a=1 +5", foreign, "@a to new; drops state"],
            ["forced in full", "@a=1", first, "full to @a; drops state"],
            ["and all else", "@a=1", "@x=8 resume=9<8/of=tank/home@y", "full to @a; replaces @x; drops state"],
        ],
    );
    check_with(
        USB,
        keep_both_home,
        &[[
            "it moves along",
            "@a=1",
            first,
            "full to @a; renames to backup/home-kept-2026-11-22",
        ]],
    );
}

#[test]
fn a_source_that_never_completed_is_no_source() {
    check(
        USB,
        &[[
            "nothing to snapshot",
            "first=1",
            "-",
            "impossible: tank/home is itself a receive that never completed",
        ]],
    );
}
