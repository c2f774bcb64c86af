//! A new copy that takes an old one's place, and dies at each step on the way.

use zbackup::report::Outcome;

use super::*;

const OLD: u64 = 70;
const NEW: u64 = 1;

/// The disk has something else by the name of the host's volume, and `way_out` names that.
fn in_the_way(way_out: impl Fn(&mut Policy) -> &mut BTreeSet<VolumePath>) -> World {
    let mut world = World::new(&["/home"]);
    world.state().add(&name("red/home"), Volume::empty());
    world.write("red/home", OLD);
    let of_old = |pool: &mut Pool| pool.snapshot("old", 7, false);
    world.state().act(&name("red/home"), of_old);
    let volumes = world.policy.volumes.clone();
    way_out(&mut world.policy).extend(volumes);
    world
}

fn forced() -> World {
    in_the_way(|policy| &mut policy.force)
}

fn kept() -> World {
    in_the_way(|policy| &mut policy.keep_both)
}

/// The datasets of the disk that hold this, with a snapshot of it.
fn holders(world: &World, value: u64) -> Vec<String> {
    let state = world.fake.state();
    let is_whole = |snap: &super::super::pool::Snap| snap.content[0].value == value;
    let on_disk = state.datasets.iter().filter(|(name, entry)| {
        name.as_str().starts_with("red/") && entry.volume.snaps.iter().any(is_whole)
    });
    on_disk.map(|(name, _)| name.to_string()).collect()
}

fn leftovers(world: &World) -> usize {
    world.sides(Direction::ToDisk)[1].leftovers.len()
}

/// Runs until the copy is the host's. A run that finds two halves of a swap puts them back first, and
/// says so.
fn converge(world: &mut World, cut: usize) {
    for _ in 0..3 {
        world.tomorrow();
        let outcomes = world.run();
        let (outcome, why) = said(&outcomes)[0];
        if outcome == Outcome::Done {
            assert_eq!(world.value("red/home"), Some(NEW), "cut {cut}");
            return;
        }
        assert_eq!(outcome, Outcome::Refused, "cut {cut}: {why}");
        assert!(
            why.contains("What was there is back now"),
            "cut {cut}: {why}"
        );
        assert_eq!(world.value("red/home"), Some(OLD), "cut {cut}");
    }
    panic!("cut {cut}: it does not come to an end");
}

#[test]
fn force_replaces_what_is_there_and_destroys_it_last() {
    let world = forced();
    let outcomes = world.run();
    assert_eq!(said(&outcomes), [(Outcome::Done, "")]);
    assert_eq!(outcomes.warnings, [""; 0]);
    assert_eq!(holders(&world, NEW), ["red/home"]);
    assert_eq!(holders(&world, OLD), [""; 0]);
    assert_eq!(leftovers(&world), 0);
}

#[test]
fn wherever_a_replacement_dies_old_or_new_is_whole_and_the_next_run_goes_on() {
    cut_everywhere(forced, |mut world, cut| {
        let (old, new) = (holders(&world, OLD), holders(&world, NEW));
        let is_new = world.value("red/home") == Some(NEW) && new == ["red/home"];
        assert!(!old.is_empty() || is_new, "cut {cut}: {old:?} {new:?}");
        converge(&mut world, cut);
        let (old, new) = (holders(&world, OLD), holders(&world, NEW));
        assert_eq!(new, ["red/home"], "cut {cut}");
        // One that was swapped and not destroyed is left to the user, who is told.
        let is_left = leftovers(&world) > 0;
        assert!(old.is_empty() || is_left, "cut {cut}: {old:?}");
        let outcomes = world.run();
        let tells =
            |told: &String| told.starts_with("red/home-zbackup-replaced is what red/home was");
        assert_eq!(outcomes.warnings.iter().any(tells), is_left, "cut {cut}");
    });
}

#[test]
fn wherever_keeping_both_dies_both_are_there_in_the_end() {
    cut_everywhere(kept, |mut world, cut| {
        assert_eq!(holders(&world, OLD).len(), 1, "cut {cut}");
        converge(&mut world, cut);
        let old = holders(&world, OLD);
        assert!(old.len() == 1 && old != ["red/home"], "cut {cut}: {old:?}");
        assert_eq!(holders(&world, NEW), ["red/home"], "cut {cut}");
        assert_eq!(leftovers(&world), 0, "cut {cut}");
    });
}

#[test]
fn what_is_written_after_the_table_is_never_destroyed() {
    let world = forced();
    let plan = world.plan();
    world.write("red/home", OLD + 1);
    let outcomes = world.carry_out(&plan);
    assert_eq!(said(&outcomes)[0].0, Outcome::Refused);
    assert_eq!(world.value("red/home"), Some(OLD + 1));
}

/// The disk's copy has gone its own way since the last run.
fn diverged() -> World {
    let mut world = World::new(&["/home"]);
    world.run();
    world.write("red/home", OLD);
    let of_old = |pool: &mut Pool| pool.snapshot("old", 7, false);
    world.state().act(&name("red/home"), of_old);
    world.write("tank/home", NEW);
    let volumes = world.policy.volumes.clone();
    world.policy.force.extend(volumes);
    world.tomorrow();
    world
}

#[test]
fn a_snapshot_that_appears_while_its_dataset_is_overwritten_ends_that() {
    let world = diverged();
    let late = name("red/home").snapshot("late").unwrap();
    world.state().endless.insert(name("red/home"));
    world.state().appearing.push(late);
    let outcomes = world.run();
    let (outcome, why) = said(&outcomes)[0];
    assert_eq!(outcome, Outcome::Refused, "{why}");
    assert!(why.starts_with("red/home@late appeared meanwhile"), "{why}");
    assert_eq!(world.value("red/home"), Some(OLD));
    assert_eq!(holders(&world, OLD), ["red/home"]);
}

#[test]
fn wherever_a_forced_increment_dies_it_has_undone_all_or_nothing() {
    cut_everywhere(diverged, |mut world, cut| {
        let is_old = world.value("red/home") == Some(OLD);
        assert_eq!(is_old, holders(&world, OLD) == ["red/home"], "cut {cut}");
        assert!(is_old || world.value("red/home") == Some(NEW), "cut {cut}");
        converge(&mut world, cut);
        assert_eq!(holders(&world, OLD), [""; 0], "cut {cut}");
    });
}
