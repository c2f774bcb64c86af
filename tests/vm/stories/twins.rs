//! Somebody copies the backup disk block by block to a second one, gives that a partition uuid of its
//! own and lets the two take turns, with one snapshot kept on the host; and expects increments from both,
//! and to be told that the disks are twins.

use std::fmt::Write;

use crate::support::machine::Usb;
use crate::support::world::{CONFIG, volumes};
use crate::support::{World, sh};

/// One disk, backed up to, and the other one, a copy of it block by block; both in the configuration.
fn twins() -> World {
    let world = World::new(&["/home"]);
    let mut config = "[DEFAULT]\nvolume = /home\nlast_snapshots = 1\n".to_owned();
    for number in 1..=2 {
        let partuuid = Usb(number).partuuid();
        write!(
            config,
            "[USB device {number}]\npartuuid = {partuuid}\nbackup_pool = backup\n"
        )
        .unwrap();
    }
    let guid = sh("zpool get -Hpo value guid tank");
    writeln!(config, "[host1]\nguid = {guid}").unwrap();
    std::fs::write(CONFIG, config).unwrap();
    world
}

fn copy(world: &World) {
    Usb(2).plug_partitioned();
    sh(&format!(
        "dd if={} of={} bs=4M conv=fsync status=none; udevadm settle",
        world.usb.partition(),
        Usb(2).partition()
    ));
}

#[test]
// walks: twin
fn disks_that_were_copied_block_by_block_take_turns() {
    let mut world = twins();
    let usb = |number: u8, text: &str| {
        sh(&format!("echo {text} > /tank/home/{text}"));
        let device = format!("USB device {number}");
        let run = world
            .zbackup(&["--json", "--device", &device, "usb"])
            .exits(0);
        let action = volumes(&run)["/home"]["action"]
            .as_str()
            .unwrap()
            .to_owned();
        (action, run.json()["warnings"].to_string())
    };
    // A zbackup that did not look at partitions has left its bookmark, which is a base all the same.
    assert_eq!(usb(1, "a").0, "full");
    let guid = world.inspect(|| sh("zpool get -Hpo value guid backup"));
    sh(&format!(
        "old=$(zfs list -Hpt bookmark -o name tank/home); snapshot=$(zfs list -Hpt snapshot -o name tank/home)
         zfs bookmark $snapshot tank/home#zbackup-{guid}-${{old##*-}}; zfs destroy $old
         zfs inherit org.zbackup:checked tank/home
         record=$(zfs get -Hpo value org.zbackup:disk-{guid}.1111111111 tank)
         zfs set org.zbackup:disk-{guid}=\"$record\" tank; zfs inherit org.zbackup:disk-{guid}.1111111111 tank"
    ));
    copy(&world);

    // The first disk goes on before the second one comes for the first time, whose base only a bookmark
    // holds by then.
    let (action, warnings) = usb(1, "b");
    assert_eq!((&*action, &*warnings), ("incremental", "[]"));
    assert_eq!(usb(1, "c").0, "incremental");
    let mut told = String::new();
    for (round, number) in [2, 1, 2, 2, 1].into_iter().enumerate() {
        let (action, warnings) = usb(number, &format!("round-{round}"));
        assert_eq!(action, "incremental", "round {round}");
        told = warnings.clone();
        let other = format!("USB device {}", 3 - number);
        assert!(
            warnings.contains("block by block") && warnings.contains(&other),
            "{warnings}"
        );
        assert_eq!(
            sh("zfs list -Hpt snapshot -o name tank/home")
                .lines()
                .count(),
            1
        );
    }
    for number in [1, 2] {
        world.usb = Usb(number);
        let is_current = number == 1;
        let copy = world.files_on_disk("backup/home");
        assert_eq!(
            copy == world.files_on_host("tank/home"),
            is_current,
            "disk {number}"
        );
    }

    // One of them will not come back: the guid names both, its section one.
    world
        .zbackup(&["forget", "--force", &guid])
        .exits(2)
        .says(&format!("{guid}.2222222211: USB device 2"));
    let bookmarks = || sh("zfs list -Hpt bookmark -o name tank/home");
    // The warning has named it, and without a terminal the option has to say that it is meant.
    let (_, peer) = told.split_once("zbackup forget ").unwrap();
    let peer = peer.split('"').next().unwrap();
    let run = world.zbackup(&["forget", peer]).exits(2);
    drop(run.says(&format!("zbackup forget --force {peer}")));
    let run = world
        .zbackup(&["--json", "forget", "--force", peer])
        .exits(0);
    let gone = run.json()["forgotten"].to_string();
    assert!(
        gone.contains(".2222222211-") && !gone.contains(".1111111111-"),
        "{gone}"
    );
    assert!(bookmarks().contains(".1111111111-") && !bookmarks().contains(".2222222211-"));
    sh("echo last > /tank/home/last");
    let run = world
        .zbackup(&["--json", "--device", "USB device 1", "usb"])
        .exits(0);
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    // And the last one, by its guid alone.
    let run = world
        .zbackup(&["--json", "forget", "--force", &guid])
        .exits(0);
    assert!(run.json()["forgotten"].to_string().contains(".1111111111-"));
    assert_eq!(bookmarks(), "");
    assert_eq!(
        sh("zfs get -Ho property all tank | grep zbackup:disk || true"),
        ""
    );
}

/// Two disks that have nothing to do with each other. A clone that was promoted takes its origin's
/// place, whose bookmarks go: the other disk still has its base.
#[test]
fn a_promoted_clone_leaves_the_absent_disk_its_base() {
    let world = twins();
    Usb(2).make_empty();
    sh(&format!(
        "zpool create -f -O mountpoint=/backup -O atime=off backup {}; zpool export backup",
        Usb(2).partition()
    ));
    let usb = |number: u8, text: &str, keep: &str| {
        sh(&format!("echo {text} > /tank/home/{text}"));
        let device = format!("USB device {number}");
        let arguments = ["--json", "--device", &device, "-s", keep, "usb"];
        let done = volumes(&world.zbackup(&arguments).exits(0));
        done["/home"]["action"].as_str().unwrap().to_owned()
    };
    assert_eq!(usb(1, "a", "9"), "full");
    assert_eq!(usb(2, "b", "9"), "full");
    assert_eq!(usb(1, "c", "9"), "incremental");
    sh(
        "zfs snapshot tank/home@here; zfs clone tank/home@here tank/new; zfs promote tank/new
        zfs rename tank/home tank/old; zfs rename tank/new tank/home; zfs destroy -r tank/old
        zfs destroy tank/home@here",
    );
    assert_eq!(usb(1, "d", "1"), "incremental");
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name tank/home")
            .lines()
            .count(),
        1
    );
    assert_eq!(usb(2, "e", "1"), "incremental");
}

/// Both disks have the same partition uuid, as `dd` of a whole disk makes them, and are plugged in at once:
/// which of them a run would take is chance.
#[test]
// walks: same-partition-twice
fn copies_with_one_partition_uuid_are_not_told_apart_by_chance() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    world.usb.plug();
    let (first, second) = (world.usb.partition(), Usb(2).link());
    let second = second.display();
    Usb(2).plug();
    sh(&format!(
        "sgdisk -Z {second} >/dev/null 2>&1 || true
         sgdisk -n 1:2048:+900M -t 1:bf01 -u 1:{} {second} >/dev/null
         udevadm wait --timeout=30 --settle {second}-part1 {first}",
        world.usb.partuuid()
    ));
    let before = sh("zfs list -Hpt all -o name,guid -r tank");
    let run = world.zbackup(&["usb"]).exits(1);
    for node in [
        &format!("{second}-part1"),
        &format!("{}-part1", world.usb.link().display()),
    ] {
        let node = sh(&format!("readlink -f {node}"));
        assert!(run.stderr.contains(&node), "{node}: {}", run.stderr);
    }
    assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), before);

    // What it says: all but one are unplugged. The other one is emptied for the next test first.
    sh(&format!("sgdisk -Z {second} >/dev/null; udevadm settle"));
    Usb(2).unplug();
    sh(&format!("udevadm wait --timeout=30 --settle {first}"));
    sh("echo b > /tank/home/b");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
}
