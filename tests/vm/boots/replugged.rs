//! The cable is pulled and put back while the run waits. Whether the kernel takes the disk again is its
//! luck (see `src/disk/watch.rs`), so what is asked for is that the words are true. One that does not
//! take it keeps a processor busy: a machine with one alone stands still.

use super::pulled::{in_a_transfer, right_after_the_restart};
use crate::support::{Container, Dialogue, World, noise, sh};

#[test]
fn step_1_in_the_middle_of_a_transfer_on_two_processors() {
    let world = World::with_container(&["/home"], Container::Plain);
    sh("echo first > /tank/home/a");
    world.backup();
    noise("/tank/home/big", 200);
    sh("zpool sync tank");
    let talk = in_a_transfer(20);
    world.usb.unplug();
    plugged_in_again(world, talk);
}

#[test]
fn step_2_during_the_inventory_on_two_processors() {
    let world = right_after_the_restart(Container::Plain);
    sh("echo second > /tank/home/a");
    let mut talk = Dialogue::start_with_fault("disk-inventory:SIGSTOP", &["usb"]);
    talk.is_stopped();
    world.usb.unplug();
    talk.goes_on();
    plugged_in_again(world, talk);
}

#[test]
// walks: suspended, back-in-vain, restart
fn step_3_the_next_run_is_right_on_a() {
    right_after_the_restart(Container::Plain);
}

/// Either the run goes on to its end, or it says that only a restart helps, and the disk is not safe.
fn plugged_in_again(world: World, mut talk: Dialogue) {
    const BACK: &str = "The disk is back: going on.";
    const LOST: &str = "The disk is back, but the kernel does not let go of the old one";
    talk.sees("The disk does not answer. Plug it in again");
    world.usb.plug();
    if talk.sees_one_of(&[BACK, LOST]) == BACK {
        let (code, screen) = talk.ends();
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("Safe to unplug"), "{screen}");
        assert_eq!(
            world.files_on_disk("backup/home"),
            world.files_on_host("tank/home")
        );
    } else {
        talk.sees("restart this machine")
            .interrupts()
            .sees("was pulled out, or failed, while its pool backup was imported")
            .sees("run the same command again")
            .sees("NOT SAFE: USB device");
        let screen = talk.screen();
        assert!(!screen.contains("Safe to unplug"), "{screen}");
        // What it names first is no way out here, and says so.
        let mut close = Dialogue::start(&["close"]);
        let stuck = "The kernel may still hold on to a disk";
        if close.sees_one_of(&[stuck, "is suspended"]) == stuck {
            close.interrupts().sees("nothing reaches the disk");
        }
        close.sees("Restart this machine").sees("NOT SAFE");
    }
    world.keep();
}
