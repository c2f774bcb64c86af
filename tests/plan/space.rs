//! What fits on the target.

use zbackup::plan::{Plan, Room};

use super::*;

const MIB: u64 = 1024 * 1024;

/// The plan for these volumes (path, source, target), each with an estimate in MiB.
fn estimated<const N: usize>(volumes: [[&str; 3]; N], mebibytes: [u64; N]) -> Plan {
    let mut plan = run(USB, &volumes);
    for (volume, size) in plan.volumes.iter_mut().zip(mebibytes) {
        volume.stored_bytes = Some(size * MIB);
    }
    plan
}

/// On a disk with this much left.
fn check_space(plan: &mut Plan, free_bytes: u64) {
    let mut disk = side("backup");
    disk.free_bytes = free_bytes;
    zbackup::plan::check_space(plan, &disk, &Room::default());
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

/// A volume that has two snapshots on both sides, of which the disk keeps as many as said.
fn rotating(keep: usize) -> (Plan, zbackup::model::Side) {
    let volumes = [["/a", "@a=1 @b=2 +5", "@a=1 @b=2"]];
    let (source, target) = sides(USB, &volumes);
    let mut policy = policy(USB, &["/a"]);
    policy.target_keep = std::num::NonZeroUsize::new(keep);
    let mut plan = plan(&policy, &source, &target);
    plan.volumes[0].stored_bytes = Some(64 * MIB);
    (plan, target)
}

fn shorts(old: &[zbackup::plan::OldSnapshot]) -> Vec<&str> {
    old.iter().map(|old| old.name.short()).collect()
}

#[test]
fn room_is_made_of_what_goes_anyway_and_is_no_base() {
    let room = |freed: u64| Room {
        freed_bytes: [(volume("/a"), freed * MIB)].into(),
        try_anyway: false,
    };
    for (why, keep, free, freed, decision, first, at_the_end) in [
        ("fits anyway", 2, 100, 80, "@b to new", vec![], vec!["a"]),
        ("fits then", 2, 10, 80, "@b to new", vec!["a"], vec![]),
        (
            "the base stays",
            1,
            10,
            80,
            "@b to new",
            vec!["a"],
            vec!["b"],
        ),
        ("too little", 1, 10, 20, "does-not-fit", vec![], vec![]),
    ] {
        let (mut plan, mut disk) = rotating(keep);
        disk.free_bytes = free * MIB;
        zbackup::plan::check_space(&mut plan, &disk, &room(freed));
        assert_eq!(lines(&plan), [format!("/a: {decision}")], "{why}");
        assert_eq!(shorts(&plan.room), first, "{why}");
        let old = &plan.volumes[0].retention.target.old;
        assert_eq!(shorts(old), at_the_end, "{why}");
    }
}

#[test]
fn what_does_not_fit_may_be_tried() {
    let (mut plan, mut disk) = rotating(1);
    disk.free_bytes = 10 * MIB;
    let room = Room {
        freed_bytes: [(volume("/a"), MIB)].into(),
        try_anyway: true,
    };
    zbackup::plan::check_space(&mut plan, &disk, &room);
    assert_eq!(lines(&plan), ["/a: @b to new"]);
    assert_eq!(shorts(&plan.room), ["a"], "it helps all the same");
}

/// Each run closes the disk: what is to be set there takes it open.
#[test]
fn a_quota_is_named() {
    for (set, named) in [
        (&[("quota", 80_000_000)][..], "quota"),
        (&[("refquota", 5_000_000)], "refquota"),
        (&[("quota", 80_000_000), ("refquota", 900_000_000)], "quota"),
        (
            &[("quota", 80_000_000), ("refquota", 5_000_000)],
            "refquota",
        ),
    ] {
        let (mut plan, mut disk) = rotating(2);
        let a = disk.datasets.get_mut(&notation::dataset_name("backup/a"));
        let a = a.unwrap();
        a.available_bytes = 10 * MIB;
        for (property, bytes) in set {
            let local = &mut a.local_properties;
            local.insert((*property).into(), format!("{bytes}"));
        }
        zbackup::plan::check_space(&mut plan, &disk, &Room::default());
        let explained = match &plan.volumes[0].action {
            zbackup::plan::Action::Conflict(conflict) => conflict.explain(&plan.volumes[0]),
            other => panic!("{other:?}"),
        };
        for words in [
            format!("by the {named} of backup/a"),
            format!(
                "Raise that {named} (`zbackup open --rw`, `zfs set {named}=… backup/a`, \
                 `zbackup close`), or leave tank/a out"
            ),
        ] {
            assert!(explained.contains(&words), "{set:?}: {explained}");
        }
    }
}

/// A refquota counts nothing below its dataset.
#[test]
fn the_refquota_of_a_parent_is_nothing_to_a_volume() {
    let (mut plan, mut disk) = rotating(2);
    let root = disk.datasets.get_mut(&notation::dataset_name("backup"));
    let local = &mut root.unwrap().local_properties;
    local.insert("refquota".into(), "1".into());
    disk.datasets.remove(&notation::dataset_name("backup/a"));
    disk.datasets
        .values_mut()
        .for_each(|one| one.available_bytes = 0);
    zbackup::plan::check_space(&mut plan, &disk, &Room::default());
    assert_eq!(lines(&plan), ["/a: @b to new"]);
}
