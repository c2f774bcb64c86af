//! How one volume's way can end.

use openzfs::StreamFeature;
use zbackup::model::marks::CANMOUNT_PROPERTY;
use zbackup::report::Outcome;

use super::super::fake::BUG;
use super::*;

const RECEIVE: &str = "lzc_receive_with_cmdprops";

#[test]
fn a_first_run_brings_all_and_a_second_one_finds_all_there() {
    let mut world = World::new(&["/home", "/srv"]);
    let outcomes = world.run();
    assert_eq!(said(&outcomes), [(Outcome::Done, ""); 2]);
    assert_eq!(outcomes.warnings, [""; 0]);
    let copies = [world.value("red/home"), world.value("red/srv")];
    assert_eq!(copies, [Some(1), Some(2)]);
    world.tomorrow();
    let outcomes = world.run();
    assert_eq!(outcomes.volumes[0].action, Some("up-to-date"));
    assert_eq!(said(&outcomes), [(Outcome::Done, ""); 2]);
}

#[test]
fn a_conflict_of_the_plan_is_refused_and_nothing_is_touched() {
    let world = World::new(&["/home"]);
    world.state().add(&name("red/home"), Volume::empty());
    world.write("red/home", 7);
    let outcomes = world.run();
    assert_eq!(said(&outcomes)[0].0, Outcome::Refused);
    assert_eq!(world.value("red/home"), Some(7));
    assert_eq!(
        world.state().datasets[&name("tank/home")]
            .volume
            .snaps
            .len(),
        0
    );
}

#[test]
fn what_somebody_has_written_since_the_plan_was_made_is_a_conflict_too() {
    let mut world = World::new(&["/home"]);
    world.run();
    world.tomorrow();
    world.write("tank/home", 8);
    let plan = world.plan();
    world.write("red/home", 9);
    let outcomes = world.carry_out(&plan);
    let (outcome, why) = said(&outcomes)[0];
    assert_eq!(outcome, Outcome::Refused, "{why}");
    assert!(why.contains("it was changed after the base"), "{why}");
    assert_eq!(outcomes.volumes[0].conflict, Some("modified"));
    assert_eq!(world.value("red/home"), Some(9));
}

#[test]
fn a_disk_that_is_full_on_the_way_fails_and_the_next_run_goes_on() {
    let world = World::new(&["/home"]);
    world.state().fail(RECEIVE, "red/home", libc::ENOSPC);
    let outcomes = world.run();
    let (outcome, why) = said(&outcomes)[0];
    assert_eq!(outcome, Outcome::Failed);
    assert!(why.contains("it goes on from here"), "{why}");
    let plan = world.plan();
    assert!(plan.transfer().steps[0].resume.is_some());
    let outcomes = world.carry_out(&plan);
    assert_eq!(said(&outcomes), [(Outcome::Done, "")]);
    assert_eq!(outcomes.volumes[0].resumed_bytes, 1);
    assert_eq!(world.value("red/home"), Some(1));
}

#[test]
fn a_stream_that_nobody_interrupted_goes_on_by_itself() {
    let world = World::new(&["/home"]);
    for _ in 0..3 {
        world.state().fail(RECEIVE, "red/home", libc::EINTR);
    }
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    assert_eq!(world.value("red/home"), Some(1));
}

#[test]
fn a_stream_that_gets_no_further_is_given_up() {
    let world = World::new(&["/home"]);
    for _ in 0..20 {
        world.state().fail(RECEIVE, "red/home", libc::EINTR);
    }
    assert_eq!(said(&world.run())[0].0, Outcome::Failed);
}

#[test]
fn a_disk_that_breaks_is_told_from_one_that_is_full() {
    let world = World::new(&["/home"]);
    world.state().fail(RECEIVE, "red/home", libc::EIO);
    let outcomes = world.run();
    let (outcome, why) = said(&outcomes)[0];
    assert_eq!(outcome, Outcome::Failed);
    assert!(
        why.contains("The disk failed while it was written to"),
        "{why}"
    );
}

#[test]
fn who_interrupts_a_run_keeps_what_has_arrived() {
    let world = World::new(&["/home", "/home/vic"]);
    world.state().endless.insert(name("red/home"));
    world.is_interrupted.store(true, Relaxed);
    let outcomes = world.run();
    let expected = [
        (
            Outcome::Skipped,
            "interrupted; the next run goes on from here",
        ),
        (Outcome::Skipped, "interrupted before it began"),
    ];
    assert_eq!(said(&outcomes), expected);
    world.is_interrupted.store(false, Relaxed);
    world.state().endless.clear();
    let outcomes = world.run();
    assert_eq!(said(&outcomes), [(Outcome::Done, ""); 2]);
    assert_eq!(outcomes.volumes[0].resumed_bytes, 1);
}

#[test]
fn what_lies_below_a_volume_that_failed_does_not_arrive_down_to_the_last() {
    let world = World::new(&["/home", "/home/vic", "/home/vic/mail", "/srv"]);
    world.state().fail(RECEIVE, "red/home", libc::EDQUOT);
    let outcomes = world.run();
    let orphan = (Outcome::Failed, "the volume above it did not arrive");
    assert_eq!(said(&outcomes)[0].0, Outcome::Failed);
    assert_eq!(said(&outcomes)[1..], [orphan, orphan, (Outcome::Done, "")]);
    assert_eq!(world.value("red/srv"), Some(4));
}

#[test]
fn what_the_disk_cannot_hold_is_refused_before_anything_arrives() {
    let world = World::new(&["/home"]);
    world
        .state()
        .used_features
        .push(StreamFeature::ZstdCompress);
    let outcomes = world.run();
    assert_eq!(said(&outcomes)[0].0, Outcome::Refused);
    assert_eq!(outcomes.volumes[0].conflict, Some("needs-feature"));
    assert_eq!(world.value("red/home"), None);
}

#[test]
fn a_bug_costs_one_volume() {
    let world = World::new(&["/home", "/srv"]);
    world.state().fail(RECEIVE, "red/home", BUG);
    let outcomes = world.run();
    let (outcome, why) = said(&outcomes)[0];
    assert_eq!(outcome, Outcome::Failed);
    assert!(why.starts_with("zbackup has a bug"), "{why}");
    assert_eq!(said(&outcomes)[1], (Outcome::Done, ""));
}

#[test]
fn a_volume_that_a_disk_brings_to_a_host_is_to_be_mounted_there_from_then_on() {
    let mut world = World::new(&["/home"]);
    world.run();
    world.state().datasets.remove(&name("tank/home"));
    world.policy.direction = Direction::ToHost;
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    assert_eq!(world.value("tank/home"), Some(1));
    let properties = &world.state().datasets[&name("tank/home")].properties;
    assert_eq!(properties["canmount"], "on");
    assert!(!properties.contains_key(CANMOUNT_PROPERTY));
}

#[test]
fn an_empty_parent_is_made_and_a_volume_takes_its_place() {
    let mut world = World::new(&["/home", "/home/vic"]);
    world.policy.volumes = vec![VolumePath::new("/home/vic").unwrap()];
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    world.write("tank/home", 5);
    world.policy.volumes = vec![VolumePath::new("/home").unwrap()];
    assert_eq!(said(&world.run()), [(Outcome::Done, "")]);
    assert_eq!(world.value("red/home"), Some(5));
}
