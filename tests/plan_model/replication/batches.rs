//! Calls that are all or nothing, of which some items are to blame.

use zbackup::report::Outcome;

use super::*;

#[test]
fn a_volume_that_cannot_be_snapshotted_costs_no_other() {
    let world = World::new(&["/a", "/b", "/c"]);
    let snapshot = "tank/b@zbackup-2026-11-01";
    world.state().fail("lzc_snapshot", snapshot, libc::EDQUOT);
    let outcomes = world.run();
    let said = said(&outcomes);
    assert_eq!((said[0].0, said[2].0), (Outcome::Done, Outcome::Done));
    let (outcome, why) = said[1];
    assert_eq!(outcome, Outcome::Failed);
    assert!(why.starts_with("tank/b cannot be snapshotted: "), "{why}");
    assert_eq!(world.value("red/b"), None);
}

#[test]
fn a_bookmark_that_cannot_be_made_before_is_made_afterwards() {
    let world = World::new(&["/a", "/b"]);
    let bookmark = bookmarks(&world, "tank/a", || drop(world.run()));
    let again = World::new(&["/a", "/b"]);
    again.state().fail("lzc_bookmark", &bookmark[0], libc::EIO);
    let outcomes = again.run();
    assert_eq!(said(&outcomes), [(Outcome::Done, ""); 2]);
    let [warning] = &outcomes.warnings[..] else {
        panic!("{:?}", outcomes.warnings);
    };
    assert!(warning.contains(&bookmark[0]), "{warning}");
    assert_eq!(bookmarks(&again, "tank/a", || {}), bookmark);
}

/// The names of a dataset's bookmarks after that.
fn bookmarks(world: &World, dataset: &str, after: impl FnOnce()) -> Vec<String> {
    after();
    let marks = world.state().datasets[&name(dataset)].volume.marks.clone();
    let marks = marks.iter();
    marks
        .map(|mark| format!("{dataset}#{}", mark.short))
        .collect()
}

#[test]
fn of_the_old_snapshots_one_that_stays_keeps_no_other() {
    let mut world = World::new(&["/a", "/b"]);
    world.policy.source_keep = NonZeroUsize::new(1);
    world.run();
    world.tomorrow();
    world.write("tank/a", 5);
    world.write("tank/b", 6);
    let old = "tank/a@zbackup-2026-11-01";
    world.state().fail("lzc_destroy_snaps", old, libc::EBUSY);
    let outcomes = world.run();
    assert_eq!(said(&outcomes), [(Outcome::Done, ""); 2]);
    let pruned: Vec<_> = outcomes.pruned.iter().map(ToString::to_string).collect();
    assert_eq!(pruned, ["tank/b@zbackup-2026-11-01"]);
    assert!(outcomes.warnings.iter().any(|told| told.starts_with(old)));
}
