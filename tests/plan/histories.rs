//! What is sent, from which base, and when there is nothing to send.

use super::*;

#[test]
#[rustfmt::skip] // one row, one line
fn usb_without_a_copy() {
    check(
        USB,
        &[
            ["first run", "+5", "-", "full to new"],
            ["even of an empty volume", "", "-", "full to new"],
            ["older ones are left out", "@a=1 @b=2 +5", "-", "full to new; leaves out 2"],
            ["nothing new", "@a=1 @b=2", "-", "full to @b; leaves out 1"],
            ["newest is not ours", "@a=1 @b=2/foreign", "-", "full to new; leaves out 2"],
            ["into its parent", "@a=1", "placeholder parent", "full to @a; into placeholder"],
            ["a zvol", "zvol @a=1", "-", "full to @a"],
            ["a zvol cannot be a parent", "zvol @a=1", "placeholder parent", "impossible: backup/home has child datasets, and tank/home is a zvol, which cannot have any"],
            ["no volume", "-", "@a=1", "impossible: tank/home does not exist. Create it, or take /home out of the configuration"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn usb_goes_on_from_the_newest_common_guid() {
    check(
        USB,
        &[
            ["the usual run", "@a=1 +5", "@a=1", "@a to new"],
            ["newest of two", "@a=1 @b=2 +5", "@a=1 @b=2", "@b to new"],
            ["renamed on the host", "@z=1 +5", "@a=1", "@z to new"],
            ["renamed on the disk", "@a=1 +5", "@z=1", "@a to new"],
            ["same name is not same", "@a=1 @b=9 +5", "@a=1 @b=2/empty", "@a to new; leaves out 1"],
            ["pruned on the host", "#a=1 +5", "@a=1", "#a to new"],
            ["snapshot preferred", "@a=1 #a=1 +5", "@a=1", "@a to new"],
            ["bookmark is newer", "@a=1 #b=2 +5", "@a=1 @b=2", "#b to new"],
            ["ours left out", "@a=1 @b=2 @c=3 +5", "@a=1", "@a to new; leaves out 2"],
            ["after a bookmark", "@a=1 #b=2 @c=3 +5", "@b=2", "#b to new; leaves out 1"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn usb_takes_no_needless_snapshot() {
    check(
        USB,
        &[
            ["nothing written", "@a=1", "@a=1", "up-to-date @a"],
            ["older on the disk", "@a=1 @b=2", "@a=1 @b=2", "up-to-date @b"],
            ["the second disk", "@a=1 @b=2", "@a=1", "@a to @b"],
            ["a disk from the drawer", "#a=1 @b=2 @c=3", "@a=1", "#a to @c; leaves out 1"],
            ["newest is not ours", "@a=1 @b=2/foreign", "@a=1", "@a to new; leaves out 1"],
            ["empty and not ours", "@a=1 @b=2/foreign/empty", "@a=1", "up-to-date @a"],
            ["written before not ours", "@a=1 @b=2/foreign @c=3/foreign/empty", "@a=1", "@a to new; leaves out 2"],
            ["only not ours in common", "@a=1/foreign", "@a=1/foreign", "@a to new"],
            ["the disk's mark alone says nothing", "@a=1/foreign", "@a=1", "@a to new"],
            ["mark lost on the disk", "@a=1", "@a=1/foreign", "up-to-date @a"],
            ["only a bookmark is left", "#a=1", "@a=1", "up-to-date @a"],
            ["its name is taken there", "@a=1 @b=2", "@b=7/empty @a=1", "@a to new; leaves out 1"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn usb_where_the_disk_has_more() {
    check(
        USB,
        &[
            ["another host was here", "@a=1", "@a=1 @b=2", "ahead @b"],
            ["own empty snapshot since", "@a=1 @b=2/empty", "@a=1 @c=3", "ahead @c"],
            ["without data", "@a=1", "@a=1 @b=2/empty", "up-to-date @a"],
            ["written to after that", "@a=1", "@a=1 @b=2/empty +7", "diverged @a @b"],
            ["and the host went on", "@a=1 +5", "@a=1 @b=2", "diverged @a @b"],
            ["and the host went on", "@a=1 @c=3", "@a=1 @b=2", "diverged @a @b"],
            ["harmless", "@a=1 +5", "@a=1 @b=2/empty", "@a to new"],
            ["not harmless", "@a=1 +5", "@a=1 @b=2/empty +7", "diverged @a @b"],
            ["not harmless", "@a=1 +5", "@a=1 @b=2/empty @c=3", "diverged @a @b @c"],
            ["pruned to its newest", "@a=1", "#a=1 @b=2", "ahead @b"],
            ["pruned, host went on", "@a=1 +5", "#a=1 @b=2", "no-common-snapshot @b"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn os_brings_what_the_disk_has_more() {
    check(
        OS,
        &[
            ["new host", "@a=1 @b=2", "-", "full to @b; leaves out 1"],
            ["the usual run", "@a=1 @b=2", "@a=1", "@a to @b"],
            ["several", "@a=1 @b=2 @c=3", "@a=1", "@a to @c; leaves out 1"],
            ["not ours counts", "@a=1 @b=2/foreign", "@a=1", "@a to @b"],
            ["pruned on the disk", "#a=1 @b=2", "@a=1", "#a to @b"],
            ["both newest equal", "@a=1", "@a=1", "up-to-date @a"],
            ["the seed ignores it", "@a=1", "@a=1 +5", "up-to-date @a"],
            ["the disk takes none", "@a=1 +5", "@a=1", "up-to-date @a"],
            ["host ahead", "@a=1", "@a=1 @b=2", "ahead @b"],
            ["host ahead, disk pruned", "@a=1 #b=2", "@a=1 @b=2 @c=3", "ahead @c"],
            ["host ahead, host pruned", "@a=1", "#a=1 @b=2", "ahead @b"],
            ["host pruned to others' old ones", "@f=9/foreign @a=1", "@f=9/foreign #a=1 @b=2", "ahead @b"],
            ["an old bookmark proves nothing", "@a=1 @b=2 @c=3", "#a=1 @b=2 @d=4", "diverged @b @d"],
            ["host pruned, disk went on", "@a=1 @c=3", "#a=1 @b=2", "no-common-snapshot @b"],
            ["ahead without data", "@a=1", "@a=1 @b=2/empty", "up-to-date @a"],
            ["harmless", "@a=1 @c=3", "@a=1 @b=2/empty", "@a to @c"],
            ["empty parent", "@a=1", "placeholder", "full to @a; into placeholder"],
            ["nothing there", "+5", "-", "impossible: backup/home has no snapshot to bring over"],
            ["no such copy", "-", "@a=1", "impossible: backup/home does not exist. `zbackup usb` on a host that has it brings it there"],
            ["its name is taken", "@a=1 @b=2", "@b=7/empty @a=1", "impossible: backup/home@b and tank/home@b are different snapshots of one name: rename one of them"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn intermediate_sends_every_snapshot() {
    let intermediate = |policy: &mut Policy| policy.intermediate = true;
    check_with(
        USB,
        intermediate,
        &[
            ["two and the new one", "@a=1 @b=2/foreign @c=3 +5", "@a=1", "@a to @b, @b to @c, @c to new"],
            ["no new one", "#a=1 @b=2 @c=3", "@a=1", "#a to @b, @b to @c"],
            ["in full", "@a=1 @b=2 +5", "-", "full to @a, @a to @b, @b to new"],
            ["none between", "@a=1 +5", "@a=1", "@a to new"],
        ],
    );
    check_with(
        OS,
        intermediate,
        &[
            ["two", "@a=1 @b=2 @c=3", "@a=1", "@a to @b, @b to @c"],
            ["the name of one is taken", "@a=1 @b=2 @c=3", "@b=7/empty @a=1", "impossible: backup/home@b and tank/home@b are different snapshots of one name: rename one of them"],
        ],
    );
}

const TAKEN: &str = "impossible: tank/home@b and backup/home@b are different snapshots of one name: rename one of them";

/// An empty snapshot is in nobody's way, so what two disks bring can arrive in either order: here
/// `@b` and then `@x`, elsewhere `@x` and then `@b`. None of it is brought again.
#[test]
#[rustfmt::skip] // one row, one line
fn what_is_there_in_another_order_is_there() {
    let [here, there] = ["@b=2 @x=8/foreign/empty", "@x=8/foreign @b=2/empty"];
    let went_on = "@x=8/foreign @b=2/empty @c=3";
    let ahead = "@b=2 @x=8/foreign/empty @d=4";
    for direction in [OS, USB] {
        check(direction, &[
            ["all of it", there, here, "up-to-date @x"],
            ["the other way round", here, there, "up-to-date @b"],
            ["a zvol's too", "zvol @x=8/foreign @b=2/empty", "zvol @b=2 @x=8/foreign/empty", "up-to-date @x"],
            ["nor is what comes between", "@x=8/foreign @y=9/foreign/empty @b=2/empty", here, "up-to-date @x"],
            ["of one only a bookmark is left", "@x=8/foreign #b=2", here, "up-to-date @x"],
            ["the target is ahead", there, ahead, "ahead @d"],
            ["ahead and pruned", there, "#b=2 #x=8 @d=4", "ahead @d"],
            ["both went on", went_on, ahead, "diverged @x @d"],
            ["what was interrupted has come since", there, "@b=2 @x=8/foreign/empty resume=2<8", "up-to-date @x"],
        ]);
        for way_out in [force_home, keep_both_home] {
            check_with(direction, way_out, &[
                ["no conflict", there, here, "up-to-date @x"],
                ["no conflict where it is ahead", there, ahead, "ahead @d"],
            ]);
        }
        for intermediate in [false, true] {
            check_with(direction, |policy| policy.intermediate = intermediate, &[
                ["only what is new", went_on, here, "@x to @c"],
                ["and not what was interrupted", went_on, "@b=2 @x=8/foreign/empty resume=2<8", "@x to @c; drops state"],
                ["what was interrupted goes on", went_on, "@b=2 @x=8/foreign/empty resume=3<8", "resume @x to @c"],
            ]);
        }
    }
    for intermediate in [false, true] {
        check_with(USB, |policy| policy.intermediate = intermediate, &[
            ["only what is new", "@x=8/foreign @b=2/empty +5", here, "@x to new"],
            ["none is ours yet", "@x=8/foreign @b=2/foreign/empty", "@b=2/foreign @x=8/foreign/empty", "@x to new"],
            ["ours is gone there", there, "#b=2 @x=8/foreign/empty", "@x to new"],
            ["another one of that name is not it", "@x=8/foreign @b=2/empty +5", "@b=3 @x=8/foreign/empty", if intermediate { TAKEN } else { "@x to new; leaves out 1" }],
        ]);
        check_with(OS, |policy| policy.intermediate = intermediate, &[
            ["the disk's bookmark tells that it has been there", there, "#b=2 @x=8/foreign/empty", "up-to-date @x"],
            ["and the disk went on", went_on, "#b=2 @x=8/foreign/empty", "@x to @c"],
        ]);
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn a_history_read_in_part_proves_nothing() {
    let unknown = "impossible: the histories of tank/home and backup/home were read only in part, \
                   and these parts have no snapshot in common";
    check(
        USB,
        &[
            ["base in the part", "partly-listed @a=1 +5", "@a=1", "@a to new"],
            ["base not in the part", "partly-listed @b=2 +5", "@a=1", unknown],
            ["nor on the disk", "@b=2 +5", "partly-listed @a=1", unknown],
        ],
    );
}

/// A new snapshot's base and end are what the executor will use, so check them once in full.
#[test]
fn the_steps_name_both_sides() {
    let plan = run(USB, &[["/home", "#z=1 @b=2 +5", "@a=1"]]);
    let zbackup::plan::Action::Send(transfer) = &plan.volumes[0].action else {
        panic!("{:?}", plan.volumes[0]);
    };
    let [step] = transfer.steps.as_slice() else {
        panic!("{:?}", transfer.steps);
    };
    let base = step.base.as_ref().unwrap();
    assert_eq!((base.guid, base.label.as_str()), (notation::guid("1"), "a"));
    assert_eq!(step.to.name().as_str(), "tank/home@zbackup-2026-11-22");
    assert_eq!(plan.volumes[0].target.as_str(), "backup/home");
}

/// These names are looked up on the target where only the end of its history is listed.
#[test]
fn what_exists_and_is_sent_is_named() {
    let sent = |intermediate: bool, target: &str| {
        let volumes = [["/home", "@a=1 @b=2 @c=3 +5", target]];
        let plan = run_with(USB, &volumes, |policy| policy.intermediate = intermediate);
        let names = plan.volumes[0].sends_existing();
        names.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(sent(true, "@a=1"), ["tank/home@b", "tank/home@c"]);
    assert_eq!(sent(false, "@a=1 resume=2<1"), ["tank/home@b"]);
    assert!(sent(false, "@a=1").is_empty());
    assert!(sent(true, "@x=8").is_empty());
}
