//! The cable is pulled in the middle of a transfer and the machine restarted: what a kernel that does
//! not let go of the old disk leaves as the only way.

use std::time::{Duration, Instant};

use crate::support::{Dialogue, World, sh};

/// How soon the user is to know.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn step_1_it_is_said_and_never_called_safe_on_a() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("head -c 300M /dev/urandom > /tank/home/big; zpool sync tank");
    let mut talk = Dialogue::start(&["usb"]);
    // Until the receive has put something on the disk.
    sh(
        "until [ \"$(zpool list -Hpo allocated backup 2>/dev/null || echo 0)\" -gt 20000000 ]; do :; done",
    );
    world.usb.unplug();
    let pulled = Instant::now();
    talk.sees("The disk does not answer. Plug it in again");
    assert!(pulled.elapsed() < TOLD_WITHIN, "{:?}", pulled.elapsed());
    talk.interrupts();
    talk.sees("was pulled out, or failed, while its pool backup was imported");
    talk.sees("run the same command again");
    let screen = talk.screen();
    assert!(!screen.contains("Safe to unplug"), "{screen}");
    world.keep();
}

#[test]
fn step_2_the_next_run_is_right_on_a() {
    let world = World::again(&["/home"]);
    let before = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -r backup"));
    assert_eq!(before.lines().count(), 1, "{before}");
    let home = world.backup()["/home"].clone();
    assert_eq!(home["outcome"], "done");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    let after = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -s createtxg -r backup"));
    assert!(after.starts_with(&before), "{after}");
}
