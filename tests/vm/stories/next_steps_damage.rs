//! Blocks rot where only the kernel looks: in what tells of the files. People are told which side it is,
//! see it with ZFS's own tools, and get back what is whole.

use std::fmt::Write;

use crate::support::machine::Usb;
use crate::support::world::{CONFIG, advance_on_disk};
use crate::support::{World, sh, type_in};

/// Bytes between the start of a device and the first block that its addresses count from.
const LABELS_BYTES: u64 = 4 << 20;
/// Bytes of a file's entry, and of the block in which it is among others.
const ENTRY_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 16 << 10;

/// The block that has the entry of this file.
fn block_of(file: u64) -> u64 {
    file * ENTRY_BYTES / BLOCK_BYTES * BLOCK_BYTES
}

/// Spoils all copies of a block of an object, in a pool that is exported.
fn spoil(dataset: &str, object: &str, block: u64, device: &str) {
    let addresses = sh(&format!(
        "zdb -e -p {device} -dddddd {dataset} {object} |
         awk '$1 == \"{block:x}\" && $2 == \"L0\" {{ for (i = 3; i <= NF; i++) if ($i ~ /^0:[0-9a-f]+:[0-9a-f]+$/) print $i }}'"
    ));
    assert!(!addresses.is_empty(), "{dataset} has no block {block:x}");
    for address in addresses.lines() {
        let offset = address.split(':').nth(1).expect("the address of a block");
        let offset_bytes = u64::from_str_radix(offset, 16).unwrap() + LABELS_BYTES;
        sh(&format!(
            "dd if=/dev/urandom of={device} bs=512 count=1 seek={offset_bytes} oflag=seek_bytes \
             conv=notrunc,fsync status=none"
        ));
    }
}

/// Another disk, not plugged in, with a section of its own.
fn with_another_disk(world: &World) -> Usb {
    let other = Usb(2);
    other.make_empty();
    sh(&format!(
        "zpool create -f -O mountpoint=none backup {0}; zpool export backup",
        other.partition()
    ));
    let mut config = world.config();
    write!(
        config,
        "\n[USB device 2]\npartuuid = {}\nbackup_pool = backup\n",
        other.partuuid()
    )
    .unwrap();
    std::fs::write(CONFIG, config).unwrap();
    other.unplug();
    other
}

#[test]
// walks: host-failed, disk-failed
fn the_target_cannot_be_read_where_it_is_written() {
    let world = World::new(&["/home"]);
    sh("for number in $(seq 300); do echo $number > /tank/home/$number; done");
    world.backup();
    let file: u64 = sh("stat -c %i /tank/home/300").parse().unwrap();

    // On the host, while the disk is ahead.
    world.tamper(|| {
        advance_on_disk(
            "home",
            "zbackup-other",
            "echo more >> /mnt/look/300; echo news",
        );
    });
    let device = sh("zpool list -vHPL tank | awk '$1 ~ \"^/dev\" { print $1 }'");
    sh("zpool export tank");
    spoil("tank/home", "0", block_of(file), &device);
    sh(&format!("zpool import -d {device} -o cachefile=none tank"));
    let run = world.zbackup(&["os"]).exits(3);
    let advice = run.advises("the disk is as it was");
    let seen = type_in(&advice);
    // Since 2.2 it does not name what has no path, such as this.
    assert!(seen.contains("Permanent errors"), "{seen}");
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/300 /tank/home/news"), "300\nmore\nnews");

    // On the disk, while the host is ahead.
    spoil("backup/home", "0", block_of(file), &world.usb.partition());
    sh("echo and more >> /tank/home/300");
    let other = with_another_disk(&world);
    let run = world.zbackup(&["usb"]).exits(3);
    let told = run.stderr.lines().chain(run.stdout.lines());
    let mut told = told.filter_map(|line| line.split_once("Scrub it ("));
    let (_, told) = told.next().expect("it tells how to scrub");
    let command = told.split_once("),").unwrap().0;
    let found = sh(command);
    assert!(found.contains("Permanent errors"), "{found}");
    world.usb.unplug();
    other.plug();
    world.zbackup(&["usb"]).exits(0);
    other.unplug();
}
