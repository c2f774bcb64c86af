//! What the plan says that retention will take from either side.

use std::num::NonZeroUsize;

use zbackup::plan::{Direction, Plan, Policy, Tidying, plan};

use crate::{OS, USB, force_home, keep_both_home, policy, sides};

/// Why, the source, the target, what goes from the source, what goes from the target.
type Row<'a> = [&'a str; 5];

fn keep(number: usize) -> impl Fn(&mut Policy) {
    move |policy| {
        policy.source_keep = NonZeroUsize::new(number);
        policy.target_keep = NonZeroUsize::new(number);
    }
}

fn old(tidying: &Tidying) -> String {
    let shorts: Vec<_> = tidying
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
        ["the host takes over", "@a=1 @b=2", "@a=1", "@a", "@a"],
        ["nothing to send", "@a=1 @b=2", "@a=1 @b=2", "@a", "@a"],
        ["the host is ahead: the disk's newest stays there", "@a=1 @b=2", "@a=1 @b=2 @c=3 @d=4", "@a", "@a @c"],
        ["but not where a bookmark holds it", "@a=1 @b=2", "@a=1 @b=2 #b=2 @c=3 @d=4", "@a", "@a @b @c"],
    ]);
    for direction in [OS, USB] {
        check(direction, keep(1), &[
            ["ahead of a bookmark: only its snapshot tells so", "@a=1 #b=2", "@b=2 @c=3 @d=4", "", "@c"],
            ["or a bookmark here", "@a=1 #b=2", "@b=2 #b=2 @c=3 @d=4", "", "@b @c"],
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

fn plan_of(source: &str, target: &str, change: impl Fn(&mut zbackup::inventory::Side)) -> Plan {
    let (mut source, target) = sides(USB, &[["/home", source, target]]);
    change(&mut source);
    let mut policy = policy(USB, &["/home"]);
    keep(1)(&mut policy);
    plan(&policy, &source, &target)
}

#[test]
fn a_lost_mark_comes_back_from_the_twin() {
    let plan = plan_of(
        "@a=1/foreign @b=2 @x=9/foreign +5",
        "@a=1 @b=2/foreign @x=9/foreign",
        |_| {},
    );
    let retention = &plan.volumes[0].retention;
    let unmarked = |tidying: &Tidying| {
        let names = tidying.unmarked.iter();
        names
            .map(|name| name.short().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(unmarked(&retention.source), ["a"]);
    assert_eq!(unmarked(&retention.target), ["b"]);
    assert_eq!(old(&retention.source), "@a @b");
    assert_eq!(old(&retention.target), "@a @b");
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
