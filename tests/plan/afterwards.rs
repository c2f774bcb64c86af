//! What the plan says that retention will take from either side.

use std::num::NonZeroUsize;

use zbackup::plan::{Direction, Plan, Policy, Pruning, plan};

use crate::{OS, USB, force_home, keep_both_home, policy, sides};

/// Why, the source, the target, what goes from the source, what goes from the target.
type Row<'a> = [&'a str; 5];

fn keep(number: usize) -> impl Fn(&mut Policy) {
    move |policy| {
        policy.source_keep = NonZeroUsize::new(number);
        policy.target_keep = NonZeroUsize::new(number);
    }
}

fn old(pruning: &Pruning) -> String {
    let shorts: Vec<_> = pruning
        .old
        .iter()
        .map(|snapshot| format!("@{}", snapshot.name.short()))
        .collect();
    shorts.join(" ")
}

#[track_caller]
fn check(direction: Direction, change: impl Fn(&mut Policy), rows: &[Row<'_>]) {
    for [why, source, target, from_source, from_target] in rows {
        let (source, target) = sides(direction, &[["/home", source, target]]);
        let mut policy = policy(direction, &["/home"]);
        change(&mut policy);
        let retention = &plan(&policy, &source, &target).volumes[0].retention;
        assert_eq!(old(&retention.source), *from_source, "{why}: source");
        assert_eq!(old(&retention.target), *from_target, "{why}: target");
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn this_runs_snapshot_counts() {
    check(USB, keep(2), &[
        ["the first run", "+5", "-", "", ""],
        ["fewer than may stay", "@a=1 +5", "@a=1", "", ""],
        ["one too many with the new one", "@a=1 @b=2 +5", "@a=1 @b=2", "@a", "@a"],
        ["nothing is sent, but something goes", "@a=1 @b=2 @c=3", "@b=2 @c=3", "@a", ""],
        ["others' neither go nor count", "@a=1 @x=9/foreign @b=2 +5", "@a=1 @x=9/foreign @b=2", "@a", "@a"],
        ["held ones stay", "@a=1/held @b=2 +5", "@a=1 @b=2/held", "", "@a"],
        ["a receive that goes on needs nothing afterwards", "@a=1 @b=2 @c=3", "@a=1 @b=2 resume=3<2", "@a", "@a"],
        ["the disk has been away", "#a=1 @b=2 @c=3 +5", "@a=1", "@b", ""],
    ]);
}

#[test]
#[rustfmt::skip] // one row, one line
fn what_arrives_counts_too() {
    let intermediate = |policy: &mut Policy| {
        keep(1)(policy);
        policy.intermediate = true;
    };
    check(USB, intermediate, &[
        ["what comes between goes again", "@a=1 @b=2 +5", "@a=1", "@a @b", "@a @b"],
        ["others' stay others'", "@a=1 @x=9/foreign +5", "@a=1", "@a", "@a"],
    ]);
    check(USB, keep(1), &[
        ["the disk is ahead: the host receives on @a later", "@a=1 @c=3/empty", "#a=1 @b=2/foreign", "", ""],
    ]);
    check(OS, keep(1), &[
        ["the host takes over", "@a=1 @zbackup-b=2", "@a=1", "@a", "@a"],
        ["but nothing by another name", "@a=1 @b=2", "@a=1", "@a", ""],
        ["nothing to send", "@a=1 @b=2", "@a=1 @b=2", "@a", "@a"],
        ["the host is ahead: the disk's newest stays there", "@a=1 @b=2", "@a=1 @b=2 @c=3 @d=4", "@a", "@a @c"],
        ["but not where a bookmark holds it", "@a=1 @b=2", "@a=1 @b=2 #zbackup-6-20=2 @c=3 @d=4 checked=50", "@a", "@a @b @c"],
        ["and that one is proven without it", "@a=1 @b=2", "@a=1 @b=2 #zbackup-6-20=2 @c=3 @d=4 checked=49", "@a", "@a @c"],
    ]);
    for direction in [OS, USB] {
        check(direction, keep(1), &[
            ["ahead of a bookmark: only its snapshot tells so", "@a=1 #b=2", "@b=2 @c=3 @d=4", "", "@c"],
            ["or a bookmark here", "@a=1 #b=2", "@b=2 #zbackup-6-10=2 @c=3 @d=4 checked=40", "", "@b @c"],
        ]);
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn what_is_not_brought_up_to_date_is_left_alone() {
    check(USB, keep(1), &[
        ["diverged", "@a=1 @b=2 +5", "@a=1 @c=3", "", ""],
        ["nothing common", "@a=1 @b=2 +5", "@x=8 @y=9", "", ""],
    ]);
    check(USB, |_| {}, &[["both sides keep all", "@a=1 @b=2 +5", "@a=1 @b=2", "", ""]]);
    let force = |policy: &mut Policy| { keep(1)(policy); force_home(policy); };
    check(USB, force, &[
        ["what the receive destroys need not be pruned", "@a=1 @b=2 +5", "@a=1 @c=3", "@a @b", "@a"],
        ["what is replaced is gone as a whole", "@a=1 @b=2 +5", "@x=8 @y=9", "@a @b", ""],
    ]);
    let aside = |policy: &mut Policy| { keep(1)(policy); keep_both_home(policy); };
    check(USB, aside, &[["what is renamed aside stays", "@a=1 +5", "@x=8 @y=9", "@a", ""]]);
}

#[test]
fn each_side_has_its_own_number() {
    let target_alone = |policy: &mut Policy| policy.target_keep = NonZeroUsize::new(1);
    let source_alone = |policy: &mut Policy| policy.source_keep = NonZeroUsize::new(1);
    let both = ["both have two", "@a=1 @b=2 +5", "@a=1 @b=2"];
    let row = |source, target| [[both[0], both[1], both[2], source, target]];
    check(USB, target_alone, &row("", "@a @b"));
    check(USB, source_alone, &row("@a @b", ""));
}

fn plan_of(source: &str, target: &str, change: impl Fn(&mut zbackup::model::Side)) -> Plan {
    let (mut source, target) = sides(USB, &[["/home", source, target]]);
    change(&mut source);
    let mut policy = policy(USB, &["/home"]);
    keep(1)(&mut policy);
    plan(&policy, &source, &target)
}

fn unmarked(pruning: &Pruning) -> String {
    let names = pruning.unmarked.iter();
    let shorts: Vec<_> = names.map(openzfs::SnapshotName::short).collect();
    shorts.join(" ")
}

/// On the disk by what the host has bookmarked for it (its guid here is 6), on the host by its own
/// record alone: what stands on the disk marks nothing there.
#[test]
#[rustfmt::skip] // one row, one line
fn a_lost_mark_comes_back_where_the_host_knows_of_it() {
    let on_disk = "@a=1 @b=2/foreign @x=9/foreign";
    for (why, host, disk, of_host, of_disk) in [
        ("it was sent", "@a=1 @b=2 #zbackup-6-20=2 @x=9/foreign +5", on_disk, "", "b"),
        ("to another disk", "@a=1 @b=2 #zbackup-7-20=2 +5", on_disk, "", ""),
        ("somebody else brought it", "@a=1 @b=2 +5", on_disk, "", ""),
        ("theirs is theirs", "@a=1 @x=9/foreign #zbackup-6-20=9 +5", on_disk, "", ""),
        ("the disk's mark alone", "@a=1 @x=9/foreign +5", "@a=1 @x=9", "", ""),
        ("received here", "@a=1 @x=9/foreign receiving=9,7 +5", "@a=1 @x=9", "x", ""),
    ] {
        for direction in [USB, OS] {
            let (source, target) = if direction == USB { (host, disk) } else { (disk, host) };
            let (source, target) = sides(direction, &[["/home", source, target]]);
            let mut policy = policy(direction, &["/home"]);
            keep(1)(&mut policy);
            force_home(&mut policy);
            let retention = &plan(&policy, &source, &target).volumes[0].retention;
            let (on_host, on_disk) = match direction {
                Direction::ToDisk => (&retention.source, &retention.target),
                Direction::ToHost => (&retention.target, &retention.source),
            };
            assert_eq!(unmarked(on_host), of_host, "{why}: host, {direction:?}");
            assert_eq!(unmarked(on_disk), of_disk, "{why}: disk, {direction:?}");
        }
    }
}

#[test]
fn where_no_bookmark_can_be_a_base_everything_stays() {
    let clear = ("@a=1 @b=2 +5", "@a=1 @b=2");
    let encrypted = (
        "encrypted @a=1/iv=5 @b=2/iv=6 +5",
        "encrypted @a=1/iv=5 @b=2/iv=6",
    );
    for ((source, target), v2, expected) in [
        (clear, false, "@a @b"),
        (encrypted, true, "@a @b"),
        (encrypted, false, ""),
    ] {
        let plan = plan_of(source, target, |side| side.features.bookmark_v2 = v2);
        let retention = &plan.volumes[0].retention;
        assert_eq!(old(&retention.source), expected, "{source}");
        assert_eq!(retention.source.cannot_bookmark, expected.is_empty());
        assert_eq!(old(&retention.target), "@a @b");
    }
    // A bookmark from before the feature is no base: its snapshot stays for the disk in the drawer.
    let plan = plan_of(
        "encrypted @a=1/iv=5 #zbackup-77-20=1 @b=2/iv=6 @c=3/iv=7 +5",
        "encrypted @c=3/iv=7",
        |_| {},
    );
    assert_eq!(old(&plan.volumes[0].retention.source), "@b @c");
}
