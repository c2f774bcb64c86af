//! The disk's life around a run: plugged in late, not at all, opened, closed, looked at only.

use std::time::Duration;

use serde_json::Value;

use crate::support::world::assert_nothing_open;
use crate::support::{Container, World, sh, try_sh, zbackup};

#[test]
fn an_absent_disk_is_exit_75() {
    let world = World::new(&["/home"]);
    world.usb.unplug();
    let run = world.zbackup(&["--json", "usb"]).exits(75);
    let document = run.json();
    assert_eq!(document["error"]["phase"], "disk");
    assert_eq!(document["disk_state"], "untouched");
    assert_eq!(document["safe_to_unplug"], false);
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r tank"), "");
    world.usb.plug();
}

#[test]
fn wait_picks_up_a_disk_that_arrives_late() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.usb.unplug();
    let started = std::time::Instant::now();
    world.zbackup(&["--wait", "2", "usb"]).exits(75);
    assert!(started.elapsed() >= Duration::from_secs(2));
    let late = std::thread::spawn(|| world_run(&["--wait", "120", "usb"]));
    // The program is waiting once it holds the lock.
    sh("until pgrep -x zbackup >/dev/null; do :; done");
    world.usb.plug();
    assert_eq!(late.join().unwrap(), 0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

fn world_run(arguments: &[&str]) -> i32 {
    zbackup(arguments).code
}

#[test]
fn a_dry_run_leaves_every_byte_of_the_disk() {
    for container in [Container::Plain, Container::Luks2] {
        let world = World::with_container(&["/home", "/srv"], container);
        sh("echo a > /tank/home/a");
        world.zbackup(&["usb", "/home"]).exits(0);
        sh("echo b > /tank/home/b");
        world.usb.unplug();
        let before = world.usb.sha256();
        world.usb.plug();
        let run = world.zbackup(&["-n", "--json", "usb"]).exits(0);
        let volumes = crate::support::world::volumes(&run);
        assert_eq!(volumes["/home"]["action"], "incremental");
        assert_eq!(volumes["/home"]["outcome"], "planned");
        assert_eq!(volumes["/srv"]["action"], "full");
        assert!(volumes["/home"]["estimated_bytes"].as_u64().unwrap() > 0);
        assert_eq!(run.json()["dry_run"], true);
        assert_eq!(run.json()["safe_to_unplug"], true);
        world.usb.unplug();
        assert_eq!(world.usb.sha256(), before, "{container:?}");
        world.usb.plug();
        assert_eq!(
            sh("zfs list -Hpt snapshot -o name -r tank | wc -l"),
            "1",
            "the host has no new snapshot"
        );
    }
}

#[test]
fn open_mounts_read_only_and_close_leaves_nothing() {
    let mut world = World::with_container(&["/home", "/home/vic", "/disk=16M"], Container::Luks2);
    sh("echo a > /tank/home/a; echo b > /tank/home/vic/b");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open"]).exits(0).says("zbackup close");
    assert_eq!(
        sh("cat /mnt/usb/backup/home/a /mnt/usb/backup/home/vic/b"),
        "a\nb"
    );
    let options = sh("findmnt -no OPTIONS /mnt/usb/backup/home");
    for option in ["ro", "nosuid", "nodev"] {
        assert!(
            options.split(',').any(|one| one == option),
            "{option} in {options}"
        );
    }
    assert_ne!(try_sh("touch /mnt/usb/backup/home/scribble").0, 0);
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
    assert_eq!(
        sh("ls -d /mnt/usb 2>/dev/null || true"),
        "",
        "the directories that open made are gone"
    );
    // A second close only checks again.
    zbackup(&["close"]).exits(0).says("Safe to unplug");
}

#[test]
fn open_for_writing_and_a_run_over_an_open_disk() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open", "--rw"]).exits(0);
    assert_eq!(sh("zpool get -Ho value readonly backup"), "off");
    sh("echo b > /tank/home/b");
    // The run closes what is open and starts afresh.
    world.backup();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn open_mounts_nothing_over_what_is_there() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.device("mount-point = /mnt/usb");
    world.backup();
    sh("mkdir -p /mnt/usb/backup/home; echo mine > /mnt/usb/backup/home/mine");
    zbackup(&["open"]).exits(0).says("not empty");
    assert_eq!(sh("cat /mnt/usb/backup/home/mine"), "mine");
    zbackup(&["close"]).exits(0);
    assert_eq!(sh("cat /mnt/usb/backup/home/mine"), "mine");
    assert_nothing_open();
}

#[test]
fn keep_open_leaves_it_open_and_close_ends_it() {
    let mut world = World::with_container(&["/home"], Container::Luks2);
    world.device("mount-point = /mnt/usb");
    sh("echo a > /tank/home/a");
    let run = zbackup(&["--json", "usb", "--keep-open"]).exits(0);
    assert_eq!(run.json()["disk_state"], "imported");
    assert_eq!(run.json()["safe_to_unplug"], false);
    assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
fn a_busy_disk_is_not_safe_and_the_holder_is_named() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open"]).exits(0);
    let mut holder = std::process::Command::new("sleep")
        .arg("600")
        .current_dir("/mnt/usb/backup/home")
        .spawn()
        .unwrap();
    let run = zbackup(&["--json", "close"]).exits(1);
    let document: Value = run.json();
    assert_eq!(document["safe_to_unplug"], false);
    assert_eq!(document["disk_state"], "imported");
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("/mnt/usb/backup/home"),
        "{document}"
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
fn another_partition_of_the_disk_that_is_mounted_is_not_safe() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    let other = format!("{}-part2", world.usb.link().display());
    sh(&format!(
        "mkfs.ext4 -q -F {other}; mkdir -p /mnt/second; mount {other} /mnt/second"
    ));
    let run = world.zbackup(&["usb"]);
    sh("umount /mnt/second");
    let run = run.exits(1).says("/mnt/second");
    assert!(!run.stdout.contains("Safe to unplug"));
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn syslog_tells_what_was_done() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    let cursor = sh("journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'");
    world.backup();
    // With a filter of its own journalctl would leave the first match out.
    let lines = sh(&format!(
        "journalctl --sync; journalctl -q --after-cursor '{cursor}' | grep 'zbackup\\['"
    ));
    assert!(lines.contains("created 1 snapshot @zbackup-"), "{lines}");
    assert!(lines.contains("/home: full"), "{lines}");
    assert!(lines.contains(" bytes in "), "{lines}");
}
