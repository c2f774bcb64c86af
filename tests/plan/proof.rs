//! Which bookmarks stand for the present history, and what a run does where one does not.

use openzfs::Bookmark;
use zbackup::plan::proof;

use crate::notation::dataset;
use crate::{OS, USB, check, check_with, force_home, keep_both_home};

fn shorts(bookmarks: &[Bookmark]) -> String {
    let shorts: Vec<_> = bookmarks.iter().map(|one| one.name.short()).collect();
    shorts.join(" ")
}

/// Words stand for transaction groups: the first for 10, the second for 20.
#[test]
#[rustfmt::skip] // one row, one line
fn a_bookmark_stands_where_its_history_is_there_or_told() {
    let (six, seven) = ("zbackup-6-10", "zbackup-7-20");
    let both = &format!("{six} {seven}")[..];
    for (why, history, proven, doubtful) in [
        ("its snapshot is there", "@a=1/foreign #theirs=1", "theirs", ""),
        ("a mark is no proof", "#zbackup-6-10=1 @b=2", "", six),
        ("one that it made earlier", "@a=1 #zbackup-7-20=2", "", seven),
        ("a name is no proof", "#zbackup-6-10=1 @x=9/foreign #zbackup-7-20=9", seven, six),
        ("nor the name that an earlier zbackup gave", "#zbackup-6-10=1 @x=9 #zbackup-6-20=9", "zbackup-6-20", six),
        ("a later one that was checked", "#zbackup-6-10=1 @x=9/foreign checked=20", six, ""),
        ("a later one that was not", "#zbackup-6-10=1 @x=9/foreign checked=19", "", six),
        ("one that was checked earlier", "@a=1 #zbackup-7-20=2 checked=20", "", seven),
        ("a forged note", "#zbackup-6-10=1 @x=9/foreign checked=twenty", "", six),
        ("a clone's note, which was promoted since", "made=15 #zbackup-6-10=1 @x=9/foreign checked=20", "", six),
        ("a note that was copied from another dataset", "#zbackup-6-10=1 @x=9/foreign checked=999:20", "", six),
        ("nobody checked other tools' bookmarks", "#theirs=1 @b=2 checked=20", "", "theirs"),
        ("nothing is left", "#zbackup-6-10=1", "", six),
        ("the log: merely destroyed", "#zbackup-6-10=1 log=5", six, ""),
        ("the log, and another tool's", "#theirs=1 log=5", "theirs", ""),
        ("the log: something was received", "#zbackup-6-10=1 log=5/15", "", six),
        ("before that", "#zbackup-6-10=1 log=5/10", six, ""),
        ("on top of a snapshot that is there", "#zbackup-6-10=1 @x=9/foreign log=5/25", six, ""),
        ("as the snapshot that is there", "#zbackup-6-10=1 @x=9/foreign log=5/20", "", six),
        ("the log is too short", "#zbackup-6-10=1 log=11", "", six),
        ("the log tells of all that was checked", "#zbackup-6-10=1 #zbackup-7-20=2 checked=20 log=15", both, ""),
        ("whatever came before", "#zbackup-6-10=1 #zbackup-7-20=2 checked=20 log=5/15", both, ""),
        ("unless that is in doubt too", "#zbackup-6-10=1 #zbackup-7-20=2 checked=20 log=5/25", "", both),
        ("the newest tells of itself alone", "#zbackup-6-10=1 #zbackup-7-20=2 log=5/15", seven, six),
        ("an earlier zbackup's, merely destroyed", "#zbackup-6-10=1 #zbackup-7-20=2 log=5", both, ""),
    ] {
        let mut dataset = dataset("tank/home", history).unwrap();
        for _ in 0..2 {
            proof::sift(&mut dataset);
            assert_eq!(shorts(&dataset.bookmarks), proven, "{why}: {history}");
            assert_eq!(shorts(&dataset.doubtful), doubtful, "{why}: {history}");
        }
    }
}

const UNDONE: &str = "#zbackup-6-10=1 +5 log=5/15";
const OLDER: &str = "@a=1 #zbackup-6-20=2 +5 log=5/25";

#[test]
#[rustfmt::skip] // one row, one line
fn no_increment_starts_from_what_may_have_been_undone() {
    check(USB, &[
        ["undone", UNDONE, "@a=1", "base-uncertain @a Undone: @a"],
        ["not to be told", "#zbackup-6-10=1 +5 log=99", "@a=1", "base-uncertain @a Untold: @a"],
        ["destroyed by hand", "#zbackup-6-10=1 +5 log=5", "@a=1", "#zbackup-6-10 to new"],
        ["something older is in common", OLDER, "@a=1 @b=2", "base-uncertain @b Undone from @a: @b"],
        ["and nothing after it", OLDER, "@a=1 @b=2/empty", "@a to new"],
        ["the disk has its own", OLDER, "@a=1 @c=3", "diverged @a @c"],
        ["a snapshot cannot lie", "@a=1 #zbackup-6-20=2 +5 log=5/25", "@a=1", "@a to new"],
    ]);
    check(OS, &[
        ["undone on the disk", "#zbackup-4-10=1 @b=2/foreign log=5/20", "@a=1", "base-uncertain @a Undone: @a"],
    ]);
}

#[test]
#[rustfmt::skip] // one row, one line
fn there_is_a_way_out() {
    check_with(USB, force_home, &[
        ["forced", UNDONE, "@a=1", "full to new; replaces @a"],
        ["forced, from an older one", OLDER, "@a=1 @b=2", "@a to new; destroys @b+0"],
        ["held", OLDER, "@a=1 @b=2/held", "base-uncertain @b Undone from @a: @b; refused: backup/home@b is held: `zbackup open --rw`, `zfs holds backup/home@b` shows by which tag, `zfs release TAG backup/home@b` ends it, `zbackup close`"],
    ]);
    check_with(USB, keep_both_home, &[
        ["kept", UNDONE, "@a=1", "full to new; renames to backup/home-kept-2026-11-22"],
    ]);
}
