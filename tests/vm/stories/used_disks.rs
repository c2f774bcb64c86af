//! Somebody fills a disk with another tool, or opens it for writing, and keeps files of their own in the
//! copies. They expect to find these files after a backup.

use crate::support::program::program;
use crate::support::world::volumes;
use crate::support::{World, sh, zbackup};

/// Files of the disk's volumes that are the owner's alone.
fn own_files(world: &World) -> String {
    world.inspect(|| {
        sh("mkdir -p /mnt/look
            for volume in home srv; do
                mount -t zfs -o ro,zfsutil backup/$volume /mnt/look; cat /mnt/look/own; umount /mnt/look
            done")
    })
}

#[test]
fn what_its_owner_keeps_on_a_disk_is_not_rolled_back() {
    let mut world = World::new(&["/home", "/srv", "/disk=16M"]);
    // Filled by hand, as a package with all properties, and used as storage ever since.
    sh(
        "echo a > /tank/home/a; echo b > /tank/srv/b; zfs snapshot -r tank@byhand
        udevadm wait --timeout=30 /dev/zvol/tank/disk; udevadm settle",
    );
    world.tamper(|| {
        sh("for volume in home srv disk; do
                zfs send -R tank/$volume@byhand | zfs receive -u backup/$volume
            done
            mkdir -p /mnt/look; mount -t zfs -o zfsutil backup/home /mnt/look
            echo own > /mnt/look/own; umount /mnt/look
            udevadm wait --timeout=30 /dev/zvol/backup/disk; udevadm settle
            echo own | dd of=/dev/zvol/backup/disk conv=fsync status=none; udevadm settle")
    });
    sh("echo aa > /tank/home/a; echo bb > /tank/srv/b
        echo theirs | dd of=/dev/zvol/tank/disk conv=fsync status=none");
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let done = volumes(&run);
    for volume in ["/home", "/disk"] {
        assert_eq!(done[volume]["conflict"], "modified", "{volume}");
        assert_eq!(done[volume]["outcome"], "refused", "{volume}");
    }
    assert_eq!(done["/srv"]["outcome"], "done", "nobody wrote to that one");

    // zbackup's own copy, opened for writing by zbackup itself. The host has nothing new for it.
    world.device("mount-point = /mnt/usb");
    zbackup(&["open", "--rw"]).exits(0);
    sh("mount -o remount,rw /mnt/usb/backup/srv; echo own > /mnt/usb/backup/srv/own");
    zbackup(&["close"]).exits(0);
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(volumes(&run)["/srv"]["conflict"], "modified");
    assert_eq!(own_files(&world), "own\nown");

    // Both ways out lead on, and a copy that is zbackup's again is continued.
    let ways = [
        "--json",
        "usb",
        "--keep-both",
        "/home",
        "--force",
        "/srv",
        "--force",
        "/disk",
    ];
    let done = volumes(&world.zbackup(&ways).exits(0));
    assert_eq!(done["/srv"]["action"], "incremental");
    let kept = format!("backup/home-kept-{}", sh("date +%F"));
    let found = world.inspect(|| {
        sh(&format!(
            "mount -t zfs -o ro,zfsutil {kept} /mnt/look; cat /mnt/look/own; umount /mnt/look"
        ))
    });
    assert_eq!(found, "own");
    sh("echo c > /tank/home/a; echo c > /tank/srv/b");
    let done = world.backup();
    assert_eq!(done["/home"]["outcome"], "done");
    assert_eq!(done["/srv"]["outcome"], "done");
}

/// Looking at files writes too, where somebody has made a copy writable and atime is on.
#[test]
// walks: atime
fn files_that_were_only_looked_at_are_no_dead_end() {
    let mut world = World::new(&["/home"]);
    world.device("mount-point = /mnt/usb");
    // What is deleted while somebody has it open goes at the next mount for writing.
    let program = program();
    sh(&format!(
        "echo a > /tank/home/a; exec 3>/tank/home/open; head -c 20K /dev/urandom >&3; rm /tank/home/open
         {program} usb"
    ));
    world.tamper(|| sh("zfs set atime=on relatime=off readonly=off backup/home"));

    // Where zbackup mounts it, neither that nor reading leaves anything.
    zbackup(&["open", "--rw"]).exits(0);
    assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    assert!(sh("grep ' /mnt/usb/backup/home ' /proc/mounts").contains(" rw,"));
    world.zbackup(&["close"]).exits(0);
    sh("echo b > /tank/home/b");
    world.backup();

    let look = || {
        world.tamper(|| {
            sh(
                "mkdir -p /mnt/look; mount -t zfs -o zfsutil backup/home /mnt/look
                cat /mnt/look/a; umount /mnt/look",
            )
        })
    };
    look();
    sh("echo c > /tank/home/c");
    world
        .zbackup(&["usb"])
        .exits(3)
        .says("Reading alone may have done that")
        .says("`zbackup open --rw`, `zfs set atime=off backup/home`, `zbackup close`");
    zbackup(&["open", "--rw"]).exits(0);
    sh("zfs set atime=off backup/home");
    world.zbackup(&["close"]).exits(0);
    world.zbackup(&["usb", "--force", "/home"]).exits(0);
    look();
    sh("echo d > /tank/home/d");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
}
