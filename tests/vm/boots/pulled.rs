//! The cable is pulled and the machine restarted: what a kernel that does not let go of the old disk
//! leaves as the only way. Each step begins by looking at what the step before has left.

use std::time::{Duration, Instant};

use crate::support::{Container, Dialogue, World, sh};

/// How soon the user is to know.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn step_1_in_the_middle_of_a_transfer_on_a() {
    first_pull(Container::Plain);
}

#[test]
fn step_2_during_the_inventory_on_a() {
    next_pull(Container::Plain, "disk-inventory");
}

#[test]
fn step_3_before_the_export_on_a() {
    next_pull(Container::Plain, "zpool_export");
}

#[test]
fn step_4_the_next_run_is_right_on_a() {
    right_after_the_restart(Container::Plain);
}

/// Pulls the disk in the middle of a transfer.
pub(super) fn first_pull(container: Container) {
    let world = World::with_container(&["/home"], container);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("head -c 300M /dev/urandom > /tank/home/big; zpool sync tank");
    let talk = Dialogue::start(&["usb"]);
    // Until the receive has put something on the disk.
    sh(
        "until [ \"$(zpool list -Hpo allocated backup 2>/dev/null || echo 0)\" -gt 20000000 ]; do :; done",
    );
    world.usb.unplug();
    told(talk, container);
    world.keep();
}

/// Pulls the disk when the run comes to this place.
pub(super) fn next_pull(container: Container, place: &str) {
    let world = right_after_the_restart(container);
    sh(&format!("echo {place} > /tank/home/a"));
    let mut talk = Dialogue::start_with_fault(&format!("{place}:SIGSTOP"), &["usb"]);
    talk.is_stopped();
    world.usb.unplug();
    talk.goes_on();
    told(talk, container);
    world.keep();
}

/// What a user sees when the disk is gone.
fn told(mut talk: Dialogue, container: Container) {
    let pulled = Instant::now();
    if container == Container::Plain {
        talk.sees("The disk does not answer. Plug it in again")
            .interrupts();
    }
    talk.sees("was pulled out, or failed, while its pool backup was imported");
    assert!(pulled.elapsed() < TOLD_WITHIN, "{:?}", pulled.elapsed());
    talk.sees("run the same command again");
    let screen = talk.screen();
    assert!(!screen.contains("Safe to unplug"), "{screen}");
}

/// After the restart nothing older is lost, and the next run is a plain one.
pub(super) fn right_after_the_restart(container: Container) -> World {
    let world = World::again(&["/home"], container);
    let before = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -s createtxg -r backup"));
    assert!(before.contains("backup/home@zbackup-"), "{before}");
    let home = world.backup()["/home"].clone();
    assert_eq!(home["outcome"], "done");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    let after = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -s createtxg -r backup"));
    assert!(after.starts_with(&before), "{after}");
    world
}
