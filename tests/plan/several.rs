//! Several volumes in one run: one name for all, parents first, nobody stops the others.

use super::*;
use notation::{dataset_name, side};

fn snapshot_name(volumes: &[[&str; 3]]) -> Option<String> {
    run(USB, volumes).snapshot
}

#[test]
fn one_name_for_all_free_on_both_sides() {
    let [day, time, second, third] = [
        "zbackup-2026-11-22",
        "zbackup-153012-2026-11-22",
        "zbackup-153012-2-2026-11-22",
        "zbackup-153012-3-2026-11-22",
    ];
    let with = |names: &[&str]| -> String {
        let word = |(index, name): (usize, &&str)| format!("@{name}={}/empty ", index + 50);
        names.iter().enumerate().map(word).collect()
    };
    let source = |names: &[&str]| format!("{} @z=1 +5", with(names));
    let target = |names: &[&str]| format!("{} @z=1", with(names).replace("=5", "=7"));
    let cases: [(&[&str], &[&str], &str); 6] = [
        (&[], &[], day),
        (&[day], &[], time),
        (&[], &[day], time),
        (&[day], &[time], second),
        (&[day, time, second], &[], third),
        (&[time], &[], day),
    ];
    for (on_source, on_target, expected) in cases {
        let volumes = [
            ["/free", "@y=9 +5", "@y=9"],
            ["/home", &source(on_source), &target(on_target)],
        ];
        let plan = run(USB, &volumes);
        assert_eq!(plan.snapshot.as_deref(), Some(expected));
        assert_eq!(lines(&plan), ["/free: @y to new", "/home: @z to new"]);
    }
}

#[test]
fn only_volumes_that_get_the_snapshot_matter_for_its_name() {
    let equal = ["/home", "@zbackup-2026-11-22=1", "@zbackup-2026-11-22=1"];
    let day = Some("zbackup-2026-11-22".to_owned());
    assert_eq!(snapshot_name(&[equal, ["/srv", "+5", "-"]]), day);
    assert_eq!(snapshot_name(&[equal]), None);
    assert_eq!(snapshot_name(&[["/home", "@a=1 @b=2", "@a=1"]]), None);
}

#[test]
fn a_conflict_stops_nobody_else() {
    let plan = run(
        USB,
        &[
            ["/gone", "-", "@z=9"],
            ["/home", "@a=1 +5", "@x=8"],
            ["/srv", "@a=1 +5", "@a=1"],
        ],
    );
    assert_eq!(
        lines(&plan),
        [
            "/gone: impossible: tank/gone does not exist. Create it, or take /gone out of the configuration",
            "/home: no-common-snapshot @x",
            "/srv: @a to new",
        ]
    );
}

#[test]
fn missing_parents_become_placeholders() {
    let plan = run(
        USB,
        &[
            ["/srv/www/a", "+5", "-"],
            ["/srv/b", "+5", "-"],
            ["/c", "+5", "-"],
        ],
    );
    assert_eq!(
        plan.placeholders,
        [dataset_name("backup/srv"), dataset_name("backup/srv/www")]
    );
}

#[test]
fn a_parent_of_this_run_needs_no_placeholder_but_time() {
    let plan = run(
        USB,
        &[
            ["/home/vic/mail", "+5", "-"],
            ["/home/eve", "@a=1 +5", "-"],
            ["/home", "+5", "-"],
            ["/srv", "@b=2 +5", "@b=2 parent"],
            ["/srv/www", "+5", "-"],
        ],
    );
    assert_eq!(plan.placeholders, [dataset_name("backup/home/vic")]);
    assert_eq!(
        lines(&plan),
        [
            "/home/vic/mail: full to new; waits for /home",
            "/home/eve: full to new; leaves out 1; waits for /home",
            "/home: full to new",
            "/srv: @b to new",
            "/srv/www: full to new",
        ]
    );
}

#[test]
fn a_parent_that_is_replaced_or_resumed_comes_first_too() {
    let plan = run(
        USB,
        &[["/home", "@a=1 +5", "first=1"], ["/home/vic", "+5", "-"]],
    );
    assert_eq!(lines(&plan)[1], "/home/vic: full to new; waits for /home");
    let plan = run(
        USB,
        &[
            ["/home", "@a=1 +5", "placeholder parent"],
            ["/home/vic", "@b=2 +5", "@b=2"],
        ],
    );
    assert_eq!(lines(&plan)[1], "/home/vic: @b to new; waits for /home");
}

#[test]
fn a_parent_in_conflict_needs_no_placeholder() {
    let plan = run(
        USB,
        &[["/home", "@a=1 +5", "@x=8"], ["/home/vic", "+5", "-"]],
    );
    assert_eq!(plan.placeholders, []);
    assert_eq!(
        lines(&plan),
        ["/home: no-common-snapshot @x", "/home/vic: full to new"]
    );
}

#[test]
fn the_prefix_is_made_too_but_never_the_pool() {
    let (source, _) = sides(USB, &[["/home", "+5", "-"]]);
    let mut target = side("backup/hosts/one");
    target.datasets.clear();
    let plan = plan(&policy(USB, &["/home"]), &source, &target);
    assert_eq!(
        plan.placeholders,
        [
            dataset_name("backup/hosts"),
            dataset_name("backup/hosts/one")
        ]
    );
    assert_eq!(plan.volumes[0].target.as_str(), "backup/hosts/one/home");
}

#[test]
fn nothing_goes_below_a_zvol() {
    let plan = run(
        USB,
        &[["/home", "@a=1", "zvol @a=1"], ["/home/vic", "+5", "-"]],
    );
    assert_eq!(
        lines(&plan)[1],
        "/home/vic: impossible: backup/home is a zvol: nothing can be below it"
    );
    assert_eq!((plan.snapshot, plan.placeholders), (None, vec![]));
}

#[test]
fn names_too_long_for_one_side() {
    // 255 bytes at most; `backup/` is 2 bytes longer than `tank/`, `@a` needs 2.
    let cases = [
        (235, "+5", "tank has no room for the new snapshot's name"),
        (
            247,
            "@a=1",
            "backup has room for the dataset, not for its snapshot",
        ),
        (249, "+5", "backup has no room for the dataset"),
    ];
    for (length, on_source, why) in cases {
        let long = format!("/{}", "x".repeat(length));
        let plan = run(USB, &[[&long, on_source, "-"], ["/home", "+5", "-"]]);
        let [refused, home] = &lines(&plan)[..] else {
            panic!("{plan:?}");
        };
        assert!(refused.contains("impossible: "), "{why}: {refused}");
        assert!(
            refused.contains("longer than 255 bytes"),
            "{why}: {refused}"
        );
        assert_eq!(home, "/home: full to new", "{why}");
    }
}
