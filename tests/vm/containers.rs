//! Disks with and without a container, made by the standard tools.

use crate::support::container::{PASSPHRASE, PASSPHRASE_FILE};
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{Container, World, sh, zbackup};

fn backs_up_twice(container: Container) {
    let world = World::with_container(&["/home"], container);
    twice(&world);
}

#[track_caller]
fn twice(world: &World) {
    sh("echo first > /tank/home/a");
    world.backup();
    sh("echo second > /tank/home/b");
    let second = world.backup();
    assert_eq!(second["/home"]["action"], "incremental");
    assert_same(world);
}

#[track_caller]
fn assert_same(world: &World) {
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

// Plain disks are everywhere else.

#[test]
fn veracrypt() {
    backs_up_twice(Container::Veracrypt);
}

#[test]
fn veracrypt_with_a_pim() {
    backs_up_twice(Container::VeracryptPim);
}

#[test]
fn luks2_with_a_keyfile() {
    backs_up_twice(Container::Luks2Keyfile);
}

#[test]
fn the_hidden_volume_of_truecrypt() {
    backs_up_twice(Container::Hidden);
}

#[test]
fn truecrypt() {
    let world = World::with_container(&["/home"], Container::Truecrypt);
    // `truecrypt = yes` would try VeraCrypt next, which takes minutes here.
    let config = world
        .config()
        .replace("truecrypt = yes", "encryption = truecrypt");
    std::fs::write(CONFIG, config).unwrap();
    a_wrong_passphrase_is_one_clear_error(&world);
    world.write_config();
    twice(&world);
}

#[test]
fn luks2() {
    let world = World::with_container(&["/home"], Container::Luks2);
    a_container_that_somebody_else_has_open(&world);
    a_wrong_passphrase_is_one_clear_error(&world);
    a_passphrase_file_that_others_may_read_is_refused(&world);
    twice(&world);
    systemds_credential_is_enough(&world);
    the_passphrase_is_in_no_message(&world);
}

// walks: foreign-mapping
fn a_container_that_somebody_else_has_open(world: &World) {
    let device = world.container.open(world.usb);
    zbackup(&["usb"]).exits(1).says("oracle");
    assert!(std::path::Path::new(&device).exists());
    world.container.close();
    assert_nothing_open();
}

// walks: wrong-passphrase-file
fn a_wrong_passphrase_is_one_clear_error(world: &World) {
    sh(&format!("echo 'not the one' > {PASSPHRASE_FILE}"));
    let run = world.zbackup(&["--json", "usb"]).exits(1);
    world.container.write_passphrase();
    let error = &run.json()["error"];
    assert_eq!(error["phase"], "unlock");
    assert!(
        error["message"].as_str().unwrap().contains("assphrase"),
        "{error}"
    );
    assert!(!run.stderr.contains("not the one") && !run.stdout.contains("not the one"));
    let snapshots = sh("zfs list -Hpt snapshot -o name -r tank");
    assert_eq!(snapshots, "", "nothing was snapshotted");
}

// walks: secret-mode
fn a_passphrase_file_that_others_may_read_is_refused(world: &World) {
    sh(&format!("chmod 644 {PASSPHRASE_FILE}"));
    world
        .zbackup(&["usb"])
        .exits(1)
        .says(PASSPHRASE_FILE)
        .says("chmod 0600");
    sh(&format!("chmod 600 {PASSPHRASE_FILE}"));
}

// walks: no-passphrase
fn systemds_credential_is_enough(world: &World) {
    let config = world
        .config()
        .replace(&format!("passphrase-file = {PASSPHRASE_FILE}\n"), "");
    std::fs::write(CONFIG, config).unwrap();
    world.zbackup(&["usb"]).exits(1).says("passphrase-file");
    sh("echo third > /tank/home/c");
    let bin = crate::support::program::program();
    // What LoadCredential=zbackup.passphrase:/etc/zbackup.passphrase gives a service.
    sh(&format!(
        "mkdir -m 700 -p /run/credentials-of-test
         install -m 400 {PASSPHRASE_FILE} /run/credentials-of-test/zbackup.passphrase
         CREDENTIALS_DIRECTORY=/run/credentials-of-test {bin} usb
         rm -r /run/credentials-of-test"
    ));
    assert_nothing_open();
    assert_same(world);
    world.write_config();
}

fn the_passphrase_is_in_no_message(world: &World) {
    sh("echo fourth > /tank/home/d");
    let cursor = sh("journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'");
    let run = world.zbackup(&["-v", "-y", "usb"]).exits(0);
    let run = run.says("is open as zbackup-");
    // With a filter of its own journalctl would leave the first match out.
    let journal = sh(&format!(
        "journalctl --sync; journalctl -q -o verbose --after-cursor '{cursor}'"
    ));
    assert!(
        journal.contains("created 1 snapshot @zbackup-"),
        "{journal}"
    );
    for said in [run.stdout, run.stderr, journal] {
        assert!(!said.contains(PASSPHRASE), "{said}");
    }
}
