//! The cable is pulled in the middle of a transfer.

use crate::support::{Dialogue, World, sh, zbackup};

/// Waits until the receive has put something on the disk.
fn transfer_runs() {
    sh(
        "until [ \"$(zpool list -Hpo allocated backup 2>/dev/null || echo 0)\" -gt 20000000 ]; do :; done",
    );
}

#[test]
fn a_disk_that_comes_back_lets_the_run_finish() {
    let world = World::new(&["/home"]);
    sh("head -c 300M /dev/urandom > /tank/home/big");
    let mut talk = Dialogue::start(&["usb"]);
    transfer_runs();
    world.usb.unplug();
    talk.sees("Plug it in again");
    world.usb.plug();
    talk.sees("The disk is back");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("afe to unplug"), "{screen}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    crate::support::world::assert_nothing_open();
}

#[test]
fn giving_up_says_what_is_left_and_a_later_run_is_right() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("head -c 300M /dev/urandom > /tank/home/big");
    let mut talk = Dialogue::start(&["usb"]);
    transfer_runs();
    world.usb.unplug();
    talk.sees("Plug it in again").interrupts();
    talk.sees("pulled out").sees("run the same command again");
    // The process ends once the disk is back and the pool may write again.
    world.usb.plug();
    sh("until ! pgrep -x zbackup >/dev/null; do zpool clear backup 2>/dev/null || true; done");
    let (code, screen) = talk.ends();
    assert_ne!(code, 0);
    assert!(!screen.contains("afe to unplug"), "{screen}");
    // The next run finds the pool still imported, closes it first, and goes on.
    zbackup(&["usb"]).exits(0).says("afe to unplug");
    crate::support::world::assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
