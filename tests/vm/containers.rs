//! Disks with and without a container, made by the standard tools.

use crate::support::container::PASSPHRASE;
use crate::support::{Container, World, sh};

fn backs_up_twice(container: Container) {
    let world = World::with_container(&["/home"], container);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("echo second > /tank/home/b");
    let second = world.backup();
    assert_eq!(second["/home"]["action"], "incremental");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn plain() {
    backs_up_twice(Container::Plain);
}

#[test]
fn truecrypt() {
    backs_up_twice(Container::Truecrypt);
}

#[test]
fn veracrypt() {
    backs_up_twice(Container::Veracrypt);
}

#[test]
fn luks2() {
    backs_up_twice(Container::Luks2);
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
fn the_passphrase_is_in_no_message() {
    let world = World::with_container(&["/home"], Container::Luks2);
    let cursor = sh("journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'");
    let run = world.zbackup(&["-v", "-y", "usb"]).exits(0);
    let journal = sh(&format!(
        "journalctl --sync; journalctl -q --after-cursor '{cursor}' | grep 'zbackup\\['"
    ));
    for said in [run.stdout, run.stderr, journal] {
        assert!(!said.contains(PASSPHRASE), "{said}");
    }
}

#[test]
fn a_wrong_passphrase_is_one_clear_error() {
    for container in [Container::Truecrypt, Container::Luks2] {
        let mut world = World::with_container(&["/home"], container);
        // `truecrypt = yes` would try VeraCrypt next, which takes minutes here.
        if container == Container::Truecrypt {
            let config = world
                .config()
                .replace("truecrypt = yes", "encryption = truecrypt");
            std::fs::write("/etc/zbackup.ini", config).unwrap();
        }
        sh("echo 'not the one' > /etc/zbackup.passphrase");
        let run = world.zbackup(&["--json", "usb"]).exits(1);
        let error = &run.json()["error"];
        assert_eq!(error["phase"], "unlock");
        assert!(
            error["message"].as_str().unwrap().contains("assphrase"),
            "{error}"
        );
        assert!(!run.stderr.contains("not the one") && !run.stdout.contains("not the one"));
        assert_eq!(
            sh("zfs list -Hpt snapshot -o name -r tank"),
            "",
            "nothing was snapshotted"
        );
        world.device("");
    }
}

#[test]
fn a_passphrase_file_that_others_may_read_is_refused() {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh("chmod 644 /etc/zbackup.passphrase");
    world
        .zbackup(&["usb"])
        .exits(1)
        .says("/etc/zbackup.passphrase")
        .says("chmod 0600");
}

#[test]
fn systemds_credential_is_enough() {
    let world = World::with_container(&["/home"], Container::Luks2);
    let config = world
        .config()
        .replace("passphrase-file = /etc/zbackup.passphrase\n", "");
    std::fs::write("/etc/zbackup.ini", config).unwrap();
    world.zbackup(&["usb"]).exits(1).says("passphrase-file");
    sh("echo a > /tank/home/a");
    let bin = crate::support::program::program();
    // What LoadCredential=zbackup.passphrase:/etc/zbackup.passphrase gives a service.
    sh(&format!(
        "mkdir -m 700 -p /run/credentials-of-test
         install -m 400 /etc/zbackup.passphrase /run/credentials-of-test/zbackup.passphrase
         CREDENTIALS_DIRECTORY=/run/credentials-of-test {bin} usb
         rm -r /run/credentials-of-test"
    ));
    crate::support::world::assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
