//! The disk's life around a run: plugged in late, not at all, opened, closed, looked at only.

use std::time::Duration;

use serde_json::Value;

use crate::support::world::assert_nothing_open;
use crate::support::{Container, Dialogue, Running, World, noise, sh, try_sh, zbackup};

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
// walks: no-disk
fn wait_picks_up_a_disk_that_arrives_late() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.usb.unplug();
    let started = std::time::Instant::now();
    world.zbackup(&["--wait", "2", "usb"]).exits(75);
    assert!(started.elapsed() >= Duration::from_secs(2));
    let late = Running::start(&["--wait", "120", "usb"]).says("Waiting for [USB device]");
    world.usb.plug();
    late.ends().exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );

    // On a terminal there is somebody to plug it in, with and without a limit.
    world.usb.unplug();
    let started = std::time::Instant::now();
    let mut talk = Dialogue::start(&["-q", "--wait", "2", "usb"]);
    talk.sees("Waiting for [USB device]");
    assert_eq!(talk.ends().0, 75);
    assert!(started.elapsed() >= Duration::from_secs(2));
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("Waiting for [USB device]").interrupts();
    assert_eq!(talk.ends().0, 130);
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("Waiting for [USB device]");
    world.usb.plug();
    talk.sees("Found USB device");
    assert_eq!(talk.ends().0, 0);
    assert_nothing_open();
}

/// What is left of a send after it was stopped and began anew would be no stream.
#[test]
fn ctrl_z_stops_nothing_and_ctrl_backslash_ends_in_good_order() {
    let world = World::new(&["/home"]);
    noise("/tank/home/data", 250);
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("0 % of").suspends().sees("0 % of").quits();
    let (code, screen) = talk.ends();
    assert_eq!(code, 131, "{screen}");
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("/home: resume").suspends();
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_signal_while_the_disk_is_being_opened_closes_it_again() {
    let mut world = World::with_container(&["/home"], Container::Luks2);
    world.device("mount-point = /mnt/usb");
    for (place, verb) in [
        ("crypt_load", "usb"),
        ("zpool_search_import", "os"),
        ("zpool_import_props", "open"),
    ] {
        let talk = Dialogue::start_with_fault(&format!("{place}:SIGINT"), &[verb]);
        let (code, screen) = talk.ends();
        assert_eq!(code, 130, "{verb}: {screen}");
        assert!(screen.contains("Safe to unplug"), "{verb}: {screen}");
        let goes_on = screen.contains("Importing backup");
        assert_eq!(goes_on, verb == "open", "{screen}");
        assert_nothing_open();
    }
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r tank"), "");
}

#[test]
fn a_dry_run_leaves_every_byte_of_the_disk() {
    for container in [Container::Plain, Container::Truecrypt, Container::Luks2] {
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
// walks: opened
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
// walks: writes-are-undone
fn open_for_writing_and_a_run_over_an_open_disk() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open", "--rw"])
        .exits(0)
        .says("is a conflict for the next `zbackup usb`");
    assert_eq!(sh("zpool get -Ho value readonly backup"), "off");
    sh("echo theirs > /mnt/usb/backup/home/theirs; echo b > /tank/home/b");
    world.zbackup(&["usb"]).exits(3).says("--force /home");
    world.zbackup(&["usb", "--force", "/home"]).exits(0);
    zbackup(&["open", "--rw"]).exits(0);
    sh("echo theirs > /mnt/usb/backup/home/theirs; echo c > /tank/home/c");
    world.zbackup(&["usb", "--keep-both", "/home"]).exits(0);
    zbackup(&["open", "--rw"]).exits(0);
    assert_eq!(sh("cat /mnt/usb/backup/home-kept-*/theirs"), "theirs");
    sh("echo d > /tank/home/d");
    // The run closes what is open and starts afresh.
    world.backup();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// A volume that is mounted elsewhere on the host has no directory in the copy above it.
#[test]
fn opening_for_writing_makes_nothing_in_a_copy() {
    let mut world = World::new(&["/home", "/home/vic"]);
    sh("zfs set mountpoint=/elsewhere tank/home/vic
        echo a > /tank/home/a; echo v > /elsewhere/v");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open", "--rw"])
        .exits(0)
        .says("backup/home/vic was not mounted at /mnt/usb/backup/home/vic");
    assert_eq!(sh("ls /mnt/usb/backup/home"), "a");
    zbackup(&["close"]).exits(0);
    sh("echo b > /tank/home/b");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
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
    // A dry run does not even close it.
    for verb in ["usb", "os", "open"] {
        let document = zbackup(&["-n", "--json", verb]).exits(1).json();
        assert_eq!(document["disk_state"], "imported");
        assert_eq!(document["safe_to_unplug"], false);
        let next = document["error"]["next"].to_string();
        assert!(next.contains("`zbackup close`"), "{document}");
        assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    }
    let document = zbackup(&["-n", "--json", "close"]).exits(0).json();
    assert_eq!(document["disk_state"], "imported");
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
// walks: end-program
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
    let end = format!("End sleep (pid {}", holder.id());
    zbackup(&["close"]).exits(1).says(&end);
    for verb in ["close", "usb"] {
        let document: Value = zbackup(&["--json", verb]).exits(1).json();
        assert_eq!(document["safe_to_unplug"], false, "{verb}");
        assert_eq!(document["disk_state"], "imported", "{verb}");
        assert!(
            document["error"]["message"]
                .as_str()
                .unwrap()
                .contains("/mnt/usb/backup/home"),
            "{document}"
        );
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
// walks: pool-busy, left-imported
fn a_disk_that_somebody_looks_at_when_the_run_ends_stays_open() {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh("echo a > /tank/home/a");
    let mut talk = Dialogue::start_with_fault("zpool_export:SIGSTOP", &["usb"]);
    talk.is_stopped();
    // Only that process sees its mount: nobody else could unmount it.
    let mut holder = std::process::Command::new("unshare")
        .args(["--mount", "bash", "-c"])
        .arg("mkdir -p /mnt/look && mount -t zfs -o ro,zfsutil backup/home /mnt/look && exec sleep 600")
        .spawn()
        .unwrap();
    let pid = holder.id();
    sh(&format!(
        "until grep -q ' zfs backup/home' /proc/{pid}/mountinfo; do
             if grep -q 'State:.Z' /proc/{pid}/status; then exit 1; fi
         done"
    ));
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 1, "{screen}");
    for words in [
        "backup cannot be exported",
        "NOT SAFE to unplug: the pool backup on USB device is still imported",
        "zbackup close",
    ] {
        assert!(screen.contains(words), "{words} in {screen}");
    }
    let document = zbackup(&["--json", "close"]).exits(1).json();
    assert_eq!(document["disk_state"], "imported");
    holder.kill().unwrap();
    holder.wait().unwrap();
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
// walks: not-free
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
    for (hold, release, words) in [
        (
            format!("dmsetup create foreign --table \"0 64 linear $(readlink -f {other}) 0\""),
            "dmsetup remove --retry foreign".to_owned(),
            "is in use by the mapping foreign",
        ),
        (
            format!("mkswap -q {other}; swapon {other}"),
            format!("swapoff {other}"),
            "cannot be opened alone",
        ),
    ] {
        sh(&hold);
        let run = zbackup(&["usb"]);
        sh(&release);
        run.exits(1)
            .says(words)
            .says("NOT SAFE to unplug yet: USB device is closed, but");
    }
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
