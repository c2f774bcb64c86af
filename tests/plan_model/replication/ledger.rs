//! What a run leaves for the next one to start from, wherever it ends.

use zbackup::inventory::{DISK_PROPERTY_PREFIX, VISIT_PROPERTY_PREFIX};
use zbackup::report::Outcome;

use super::super::executor::mark_name;
use super::*;

/// A disk that has been here, and something new on the host.
fn second_run() -> World {
    let mut world = World::new(&["/home"]);
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    world.tomorrow();
    world.write("tank/home", 5);
    world
}

fn shorts(world: &World, dataset: &str) -> Vec<String> {
    let marks = world.state().datasets[&name(dataset)].volume.marks.clone();
    marks.into_iter().map(|mark| mark.short).collect()
}

#[test]
fn both_sides_have_a_bookmark_of_what_they_have_in_common() {
    let world = second_run();
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    let state = world.fake.state();
    let [host, disk] = [HOST, DISK].map(|pool| state.pools.values().find(|one| one.name == pool));
    let [host, disk] = [host.unwrap().peer(), disk.unwrap().peer()];
    let newest = |dataset| {
        state.datasets[&name(dataset)]
            .volume
            .snaps
            .last()
            .unwrap()
            .txg
    };
    let (on_host, on_disk) = (newest("tank/home"), newest("red/home"));
    let checked = |dataset| state.datasets[&name(dataset)].volume.checked;
    assert_eq!(checked("tank/home"), Some(on_host));
    assert_eq!(checked("red/home"), Some(on_disk));
    drop(state);
    let of_disk = shorts(&world, "tank/home");
    assert_eq!(of_disk.len(), 2, "a disk may have been copied: {of_disk:?}");
    assert_eq!(of_disk[1], mark_name(disk, on_host));
    assert_eq!(shorts(&world, "red/home"), [mark_name(host, on_disk)]);
}

#[test]
fn the_host_knows_which_disk_was_there_and_the_disk_which_host() {
    let world = second_run();
    let state = world.fake.state();
    let at_root = |pool: &str, prefix: &str| {
        let mut properties = state.datasets[&name(pool)].properties.iter();
        let found = properties.find(|(property, _)| property.starts_with(prefix));
        found.map(|(property, record)| (property[prefix.len()..].to_owned(), record.clone()))
    };
    let (disk, record) = at_root(HOST, DISK_PROPERTY_PREFIX).unwrap();
    assert!(
        disk.starts_with(&format!("{}.", FIRST_GUID + HOSTS as u64)),
        "{disk}"
    );
    assert!(record.contains(r#""section":"USB device""#), "{record}");
    assert!(record.contains(r#""pool":"red""#), "{record}");
    let (host, record) = at_root(DISK, VISIT_PROPERTY_PREFIX).unwrap();
    assert_eq!(host, FIRST_GUID.to_string());
    assert!(
        record.contains(r#""host":"host","pool":"tank""#),
        "{record}"
    );
    assert_eq!(at_root(DISK, DISK_PROPERTY_PREFIX), None);
}

#[test]
fn whatever_a_run_dies_at_the_next_one_is_an_increment_without_any_snapshot_of_the_host() {
    cut_everywhere(second_run, |mut world, cut| {
        let newest = |dataset| {
            let state = world.fake.state();
            let snaps = &state.datasets[&name(dataset)].volume.snaps;
            snaps.last().map(|snap| snap.guid)
        };
        let has_arrived = newest("red/home") == newest("tank/home");
        // What is sent is bookmarked before: so it is a base as soon as it is there.
        let home = name("tank/home");
        let mut state = world.fake.state();
        let volume = &mut state.datasets.get_mut(&home).unwrap().volume;
        let marked = volume.snaps.last().map(|snap| snap.guid);
        let is_marked = volume.marks.iter().any(|mark| Some(mark.guid) == marked);
        assert!(is_marked || !has_arrived, "cut {cut}: no bookmark");
        volume.snaps.clear();
        drop(state);
        world.tomorrow();
        world.write("tank/home", 6);
        let plan = world.plan();
        let base = &plan.transfer().steps[0].base;
        assert!(base.is_some(), "cut {cut}: all of it again");
        let outcomes = world.carry_out(&plan);
        assert_eq!(said(&outcomes)[0].0, Outcome::Done, "cut {cut}");
        assert_eq!(world.value("red/home"), Some(6), "cut {cut}");
    });
}

#[test]
fn a_first_run_that_dies_anywhere_is_finished_by_the_next_one() {
    let first = || World::new(&["/home", "/home/vic"]);
    cut_everywhere(first, |mut world, cut| {
        world.tomorrow();
        assert_eq!(said(&world.run()), [(Outcome::Done, ""); 2], "cut {cut}");
        let copies = [world.value("red/home"), world.value("red/home/vic")];
        assert_eq!(copies, [Some(1), Some(2)], "cut {cut}");
    });
}
