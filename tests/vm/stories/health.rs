//! Disks rot, and halves of mirrors stay in the drawer. People expect to be told which device, which
//! file and what to do, before the other copy is gone too; and that what is whole is backed up all the same.

use serde_json::Value;

use crate::support::machine::Usb;
use crate::support::program::Run;
use crate::support::world::{CONFIG, assert_nothing_open, snapshots, volumes};
use crate::support::{World, sh, type_in, zbackup};

/// Bytes between the start of a device and the first block that its addresses count from.
const LABELS_BYTES: u64 = 4 << 20;

/// Spoils the first block of a file: `dataset` is in a pool that is exported, `file` its number there.
fn spoil(dataset: &str, file: &str, device: &str) {
    let address = sh(&format!(
        "zdb -e -p {device} -ddddd {dataset} {file} | awk '$2 == \"L0\" && !found++ {{ print $3 }}'"
    ));
    let offset = address.split(':').nth(1).expect("the address of a block");
    let offset_bytes = u64::from_str_radix(offset, 16).unwrap() + LABELS_BYTES;
    sh(&format!(
        "dd if=/dev/urandom of={device} bs=4096 count=4 seek={offset_bytes} oflag=seek_bytes \
         conv=notrunc,fsync status=none"
    ));
}

fn health(run: &Run) -> Value {
    run.json()["disk"]["health"].clone()
}

/// One half of a mirror is at home, the other has come along: the run goes on, and says so. Whoever
/// wants no run then writes `degraded = refuse`.
#[test]
// walks: pool-degraded, degraded-refused
fn half_of_a_mirror_is_missing() {
    let mut world = World::new(&["/home"]);
    let other = Usb(2);
    other.make_empty();
    let half = other.partition();
    world.tamper(|| {
        sh(&format!(
            "zpool attach -f -w backup {} {half}",
            world.usb.partition()
        ))
    });
    let whole = world.zbackup(&["--json", "-n", "usb"]).exits(0);
    assert_eq!(health(&whole)["state"], "ONLINE");
    other.unplug();
    sh("echo first > /tank/home/a");
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    let health_now = health(&run);
    assert_eq!(health_now["state"], "DEGRADED");
    assert_eq!(health_now["missing"], serde_json::json!([half]));
    assert_eq!(volumes(&run)["/home"]["outcome"], "done");
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("DEGRADED") && warnings.contains(&half),
        "{warnings}"
    );

    world.device("degraded = refuse");
    sh("echo second > /tank/home/b");
    let before = snapshots("tank");
    for arguments in [&["--json", "usb"][..], &["--json", "-n", "usb"]] {
        let run = world.zbackup(arguments).exits(1);
        let error = run.json()["error"].to_string();
        assert!(
            error.contains("DEGRADED") && error.contains("degraded = warn"),
            "{error}"
        );
        assert_eq!(run.json()["safe_to_unplug"], true);
    }
    assert_eq!(snapshots("tank"), before, "nothing was snapshotted");
    // To look at it is no run.
    zbackup(&["open"]).exits(0).says("DEGRADED");
    world.zbackup(&["close"]).exits(0);

    other.plug();
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    assert_eq!(health(&run)["state"], "ONLINE");
    other.unplug();
}

/// A block of the copy has rotted. The scrub that README names finds it; from then on each run names
/// the file, and `os` says that it is the disk's copy that cannot be read.
#[test]
// walks: damaged-copy
fn a_copy_has_rotted_on_the_disk() {
    let mut world = World::new(&["/home", "/srv"]);
    world.device("last_snapshots = 5\nmount-point = /mnt/usb");
    world.host("intermediate = yes");
    sh("head -c 1M /dev/urandom > '/tank/home/a photo'; echo fine > /tank/srv/b");
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    assert_eq!(health(&run)["scrub_age_seconds"], Value::Null);
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    let whole = sh("sha256sum '/tank/home/a photo'");
    let other = with_another_disk(&world);
    other.unplug();
    let file = sh("stat -c %i '/tank/home/a photo'");
    spoil("backup/home", &file, &world.usb.partition());
    sh("zbackup open --rw && zpool scrub -w backup && zpool status -v backup; zbackup close");
    assert_nothing_open();

    sh("zfs snapshot tank/home@mine; echo more > /tank/home/more");
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    let found = health(&run);
    assert_eq!(found["state"], "ONLINE");
    assert_eq!(found["data_errors"], 1);
    assert_eq!(found["errors"][0]["file"], "/a photo");
    let volume = found["errors"][0]["volume"].as_str().unwrap();
    assert!(volume.starts_with("backup/home"), "{volume}");
    assert!(found["scrub_age_seconds"].as_u64().unwrap() < 3600);
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains("/a photo in backup/home"), "{warnings}");

    // The host is lost: what is whole comes back, what is not is named.
    sh("zfs destroy -r tank/home; zfs destroy -r tank/srv");
    world.tamper(|| {
        sh("zfs create -o refreservation=$(($(zfs get -Hpo value available backup) * 93 / 100)) backup/hoard")
    });
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let volumes = volumes(&run);
    assert_eq!(volumes["/srv"]["outcome"], "done");
    assert_eq!(volumes["/home"]["outcome"], "failed");
    let reason = volumes["/home"]["reason"].as_str().unwrap();
    for words in [
        "The copy on the disk is damaged",
        "/a photo in backup/home",
        "another disk",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    let warnings = run.json()["warnings"].to_string();
    for words in ["% full", "1 snapshot on backup", "checksum error"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert!(health(&run)["used_percent"].as_u64().unwrap() > 90);
    // What can be read is there, and the other disk has all.
    zbackup(&["open"]).exits(0);
    assert_eq!(sh("cat /mnt/usb/backup/home/more"), "more");
    world.zbackup(&["close"]).exits(0);
    world.usb.unplug();
    other.plug();
    world.zbackup(&["os", "/home"]).exits(0);
    assert_eq!(sh("sha256sum '/tank/home/a photo'"), whole);
    other.unplug();
}

/// Adds another disk, and brings all volumes to it.
fn with_another_disk(world: &World) -> Usb {
    let other = Usb(2);
    other.make_empty();
    let section = format!(
        "\n[USB device 2]\npartuuid = {}\nbackup_pool = backup\n",
        other.partuuid()
    );
    std::fs::write(CONFIG, world.config() + &section).unwrap();
    sh(&format!(
        "zpool create -f -O mountpoint=none backup {}; zpool export backup",
        other.partition()
    ));
    world.zbackup(&["--device", "USB device 2", "usb"]).exits(0);
    other
}

/// A scrub has found what rotted on the host, and the disk has it whole.
#[test]
// walks: known-damage
fn what_a_scrub_has_found_comes_back_from_the_disk() {
    let mut world = World::new(&["/home"]);
    world.device("mount-point = /mnt/usb");
    let device = sh("zpool list -vHPL tank | awk '$1 ~ \"^/dev\" { print $1 }'");
    sh("head -c 1M /dev/urandom > /tank/home/photo");
    world.backup();
    let (file, whole) = (
        sh("stat -c %i /tank/home/photo"),
        sh("sha256sum /tank/home/photo"),
    );
    sh("zpool export tank");
    spoil("tank/home", &file, &device);
    sh(&format!(
        "zpool import -d {device} -o cachefile=none tank; zpool scrub -w tank"
    ));
    let run = world.zbackup(&["usb"]).exits(0);
    let list = run.advises("the host's pool tank has known damage");
    assert!(type_in(&list).contains("photo"));
    let told = run.stderr.lines().chain(run.stdout.lines());
    let mut told = told.filter_map(|line| line.split_once("has known damage: "));
    let (_, told) = told.next().unwrap();
    let mut in_brackets = told.split('(').skip(1).map(|part| {
        let (command, _) = part.split_once(')').expect("a bracket ends");
        command.to_owned()
    });

    zbackup(&["open"]).exits(0);
    sh("cp /mnt/usb/backup/home/photo /tank/home/photo");
    world.zbackup(&["close"]).exits(0);
    let (destroy, scrub) = (in_brackets.next().unwrap(), in_brackets.next().unwrap());
    assert!(destroy.starts_with("zfs destroy tank/home@"), "{destroy}");
    type_in(&[destroy, scrub, "zpool wait -t scrub tank".into()]);
    assert!(type_in(&list).contains("No known data errors"));
    let run = world.zbackup(&["usb"]).exits(0);
    assert!(!run.stderr.contains("known damage"), "{}", run.stderr);
    assert_eq!(sh("sha256sum /tank/home/photo"), whole);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// A file on the host has rotted, and the host's mirror lacks a half. The volume fails with the file's
/// name; who does what the message says gets a backup.
#[test]
// walks: damaged-host
fn a_file_has_rotted_on_the_host() {
    let world = World::new(&["/home", "/srv"]);
    let device = sh("zpool list -vHPL tank | awk '$1 ~ \"^/dev\" { print $1 }'");
    sh("head -c 4M /dev/urandom > /tank/home/photo; echo fine > /tank/srv/b; zpool sync tank
        truncate -s 2000M /var/tmp/half; zpool attach -w tank $(zpool list -vHP tank | awk '$1 ~ \"^/dev\" { print $1 }') /var/tmp/half
        zpool offline tank /var/tmp/half");
    let file = sh("stat -c %i /tank/home/photo");
    sh("zpool export tank");
    spoil("tank/home", &file, &device);
    sh(&format!("zpool import -d {device} -d /var/tmp tank"));
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let volumes_now = volumes(&run);
    assert_eq!(volumes_now["/srv"]["outcome"], "done");
    let reason = volumes_now["/home"]["reason"].as_str().unwrap().to_owned();
    let snapshot = run.json()["volumes"][0]["snapshot"].clone();
    let snapshot = format!("tank/home@{}", snapshot.as_str().unwrap());
    for words in [
        "Damaged on this host: /photo in tank/home",
        &format!("zfs destroy {snapshot}"),
        "run the same command again",
    ] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    let host = run.json()["host"]["health"].clone();
    assert_eq!(host["state"], "DEGRADED");
    assert_eq!(host["missing"], serde_json::json!(["/var/tmp/half"]));
    assert!(host["data_errors"].as_u64().unwrap() > 0);
    // The way on.
    sh(&format!("rm /tank/home/photo; zfs destroy {snapshot}"));
    let volumes = world.backup();
    assert_eq!(volumes["/home"]["outcome"], "done");
    sh("zpool detach tank /var/tmp/half; rm /var/tmp/half");
}
