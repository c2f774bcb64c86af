//! Somebody who hands out binaries builds zbackup without libcryptsetup, as README says. They expect
//! that everything works but containers, and that a container is refused in clear words.

use std::process::Command;

use crate::support::container::PASSPHRASE_FILE;
use crate::support::program::{Run, run_program};
use crate::support::world::{assert_nothing_open, imported_pools, volumes};
use crate::support::{Container, World, sh};

/// Runs the program that was built without libcryptsetup.
fn plain(arguments: &[&str]) -> Run {
    let program = format!("{}-plain", crate::support::program::program());
    run_program(&mut Command::new(program), arguments)
}

/// A host is backed up to a plain disk, looked at and brought back, with every verb that opens a disk.
#[test]
fn a_plain_disk_is_opened_and_closed_by_every_verb() {
    let mut world = World::new(&["/home"]);
    world.device("mount-point = /mnt/usb");
    sh("echo first > /tank/home/a");
    let backup = volumes(&plain(&["--json", "usb"]).exits(0));
    assert_eq!(backup["/home"]["outcome"], "done");
    assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    plain(&["-n", "usb"]).exits(0).says("up-to-date");
    plain(&["open"]).exits(0);
    assert_eq!(sh("cat /mnt/usb/backup/home/a"), "first");
    // The next run closes what was left open, and goes on.
    plain(&["os"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
    plain(&["open"]).exits(0);
    plain(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

/// A LUKS disk is refused before anybody is asked for its passphrase; what another build has left
/// open is named with the command that closes it.
#[test]
// walks: close-by-hand, not-built
fn a_container_is_refused_and_the_way_out_is_named() {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh(&format!("rm {PASSPHRASE_FILE}"));
    for verb in ["usb", "os", "open"] {
        let run = plain(&["--json", verb]).exits(1);
        let error = run.json()["error"].clone();
        assert_eq!(error["phase"], "unlock");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("without support for containers"), "{said}");
        let next = error["next"].as_str().unwrap();
        assert!(next.contains("cargo feature cryptsetup"), "{next}");
        assert_nothing_open();
    }
    plain(&["close"]).exits(0).says("Safe to unplug");
    world.container.write_passphrase();
    crate::support::zbackup(&["open"]).exits(0);
    let mapping = format!("zbackup-{}", world.usb.partuuid());
    plain(&["close"])
        .exits(1)
        .says(&format!("cryptsetup close {mapping}"));
    assert_eq!(imported_pools(), ["tank"]);
    sh(&format!("cryptsetup close {mapping}"));
    plain(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}
