//! What fits on the target.

use zbackup::plan::{Plan, check_space};

use super::*;

const MIB: u64 = 1024 * 1024;

/// The plan for these volumes (path, source, target), each with an estimate in MiB.
fn estimated<const N: usize>(volumes: [[&str; 3]; N], mebibytes: [u64; N]) -> Plan {
    let mut plan = run(USB, &volumes);
    for (volume, size) in plan.volumes.iter_mut().zip(mebibytes) {
        volume.estimated_bytes = Some(size * MIB);
    }
    plan
}

#[test]
fn what_fits_goes_and_what_does_not_is_a_conflict() {
    let volumes = [["/a", "+5", "-"], ["/b", "+5", "-"], ["/c", "+5", "-"]];
    let full = "full to new";
    let not = "does-not-fit";
    for (free_mebibytes, expected) in [
        (1000, [full, full, full]),
        (150, [full, full, not]),
        (140, [full, not, full]),
        (30, [not, not, full]),
        (0, [not, not, not]),
    ] {
        let mut plan = estimated(volumes, [64, 80, 10]);
        check_space(&mut plan, free_mebibytes * MIB);
        let expected: Vec<_> = ["/a", "/b", "/c"]
            .iter()
            .zip(expected)
            .map(|(path, decision)| format!("{path}: {decision}"))
            .collect();
        assert_eq!(lines(&plan), expected, "{free_mebibytes} MiB free");
        assert_eq!(plan.snapshot.is_some(), free_mebibytes > 0);
    }
}

/// 64 MiB need a 64th more, and 1 MiB.
#[test]
fn the_margin_is_part_of_the_need() {
    let needed_bytes = 66 * MIB;
    let mut plan = estimated([["/a", "+5", "-"]], [64]);
    check_space(&mut plan, needed_bytes);
    assert_eq!(lines(&plan), ["/a: full to new"]);
    check_space(&mut plan, needed_bytes - 1);
    let explained = match &plan.volumes[0].action {
        zbackup::plan::Action::Conflict(conflict) => conflict.explain(&plan.volumes[0]),
        other => panic!("{other:?}"),
    };
    assert!(explained.contains("66.0 MiB"), "{explained}");
}

#[test]
fn without_an_estimate_it_fits() {
    let mut plan = run(USB, &[["/a", "+5", "-"]]);
    let before = plan.clone();
    check_space(&mut plan, 0);
    assert_eq!(plan, before);
}

#[test]
fn what_sends_nothing_needs_nothing() {
    let mut plan = estimated(
        [["/a", "@a=1", "@a=1"], ["/b", "@a=1 +5", "@x=8"]],
        [50, 50],
    );
    let before = plan.clone();
    check_space(&mut plan, 0);
    assert_eq!(plan, before);
}

#[test]
fn what_nobody_needs_any_more_is_dropped() {
    let volumes = [["/big/a", "+5", "-"], ["/small/b", "@b=2", "-"]];
    let mut plan = estimated(volumes, [500, 1]);
    check_space(&mut plan, 100 * MIB);
    assert_eq!(
        lines(&plan),
        ["/big/a: does-not-fit", "/small/b: full to @b"]
    );
    assert_eq!(plan.placeholders, [notation::dataset_name("backup/small")]);
    assert_eq!(plan.snapshot, None);
}

#[test]
fn children_do_not_go_without_their_parent() {
    let volumes = [
        ["/home/vic/mail", "+5", "-"],
        ["/home/vic", "+5", "-"],
        ["/home", "+5", "-"],
        ["/srv", "+5", "-"],
    ];
    let mut plan = estimated(volumes, [1, 1, 500, 1]);
    check_space(&mut plan, 100 * MIB);
    assert_eq!(
        lines(&plan),
        [
            "/home/vic/mail: impossible: its parent /home/vic does not fit",
            "/home/vic: impossible: its parent /home does not fit",
            "/home: does-not-fit",
            "/srv: full to new",
        ]
    );
}
