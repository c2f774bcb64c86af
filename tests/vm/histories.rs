//! Which snapshot is the base: told by guid, through renames, lost snapshots and taken names.

use crate::support::program::program;
use crate::support::world::volumes;
use crate::support::{Container, Dialogue, World, sh};

fn today() -> String {
    format!("zbackup-{}", sh("date +%F"))
}

#[test]
fn the_bookmark_is_enough_as_base() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("echo second > /tank/home/b");
    sh(&format!("zfs destroy tank/home@{}", today()));
    let volumes = world.backup();
    assert_eq!(volumes["/home"]["action"], "incremental");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_renamed_snapshot_is_still_the_base() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    let first = world.backup();
    sh(&format!(
        "zfs rename tank/home@{} tank/home@my-own-name",
        today()
    ));
    // Without the bookmark only the guid of the renamed snapshot can tell.
    sh("for bookmark in $(zfs list -Hpt bookmark -o name -r tank); do zfs destroy $bookmark; done");
    sh("echo second > /tank/home/b");
    let second = world.backup();
    assert_eq!(second["/home"]["action"], "incremental");
    assert_eq!(
        second["/home"]["base_guid"],
        first["/home"]["snapshot_guid"]
    );
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn the_days_name_is_taken_on_the_disk_only() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    sh(&format!("zfs destroy tank/home@{}", today()));
    sh("echo second > /tank/home/b");
    let volumes = world.backup();
    let name = volumes["/home"]["snapshot"].as_str().unwrap();
    let date = sh("date +%F");
    assert!(
        name.starts_with("zbackup-") && name.ends_with(&date) && name != today(),
        "{name}"
    );
    assert_eq!(volumes["/home"]["action"], "incremental");
}

#[test]
fn the_days_name_is_taken_further_back_than_the_ledger() {
    let world = World::new(&["/home"]);
    // The third run lists only what is newer than the second's snapshot.
    for text in ["first", "second", "third"] {
        sh(&format!("echo {text} > /tank/home/a"));
        world.backup();
    }
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// Calls with which a run goes through the snapshots of a dataset (`ZFS_IOC_SNAPSHOT_LIST_NEXT`).
fn snapshot_listings_of_a_run() -> usize {
    let program = program();
    sh(&format!(
        "strace -f -X raw -e trace=ioctl -o /tmp/trace {program} usb"
    ));
    let calls = sh("grep -c 'ioctl(.*, 0x5a15,' /tmp/trace || true");
    calls.parse().unwrap()
}

#[test]
fn snapshots_that_are_older_than_the_base_are_not_gone_through() {
    let world = World::new(&["/home", "/srv"]);
    sh("for name in a b c; do zfs snapshot -r tank@$name; done; echo first > /tank/home/a");
    world.backup();
    sh("echo second > /tank/home/a");
    assert_eq!(snapshot_listings_of_a_run(), 0);
    sh("echo third > /tank/home/a; zfs snapshot tank/home@mine; echo fourth > /tank/home/a");
    // The base, the one that is newer, and the call that finds no more; again where a buffer is too small.
    assert!(snapshot_listings_of_a_run() >= 3);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn ledger_on_both_sides_has_one_bookmark_a_volume() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world.backup();
    sh("echo aa > /tank/home/a");
    world.backup();
    let disk_guid = world.inspect(|| sh("zpool get -Hpo value guid backup"));
    let host_guid = sh("zpool get -Hpo value guid tank");
    let on_host = sh("zfs list -Hpt bookmark -o name -r tank");
    // Of a disk an older one stays, for whoever copies it block by block.
    assert_eq!(on_host.lines().count(), 3, "{on_host}");
    assert!(
        on_host
            .lines()
            .all(|name| name.contains(&format!("#zbackup-{disk_guid}.1111111111-"))),
        "{on_host}"
    );
    let on_disk = world.inspect(|| sh("zfs list -Hpt bookmark -o name -r backup"));
    assert_eq!(on_disk.lines().count(), 2, "{on_disk}");
    assert!(
        on_disk
            .lines()
            .all(|name| name.contains(&format!("#zbackup-{host_guid}-"))),
        "{on_disk}"
    );
    let visit = world.inspect(|| {
        sh(&format!(
            "zfs get -Hpo value org.zbackup:visit-{host_guid} backup"
        ))
    });
    assert!(visit.contains("\"pool\":\"tank\""), "{visit}");
    let marks = world
        .inspect(|| sh("zfs get -Hpt snapshot -s local -o name org.zbackup:created -r backup"));
    assert_eq!(
        marks.lines().count(),
        3,
        "every received snapshot is marked: {marks}"
    );
}

/// Somebody has made the copy writable for a moment: it is as a run has left it again, but for his files.
#[test]
fn the_disks_own_changes_are_rolled_back_only_where_that_is_asked_for() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    world.tamper(|| {
        sh("zfs set readonly=off backup/home; mkdir -p /mnt/look; mount -t zfs -o zfsutil backup/home /mnt/look
            echo scribble > /mnt/look/scribble; umount /mnt/look; zfs set readonly=on backup/home")
    });
    sh("echo second > /tank/home/b");
    let scribble = || {
        world.inspect(|| {
            sh("mount -t zfs -o ro,zfsutil backup/home /mnt/look; cat /mnt/look/scribble; umount /mnt/look")
        })
    };
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "modified");
    assert_eq!(scribble(), "scribble");

    let forced = ["usb", "--force", "/home"];
    let mut talk = Dialogue::start(&forced);
    talk.sees("--force /home destroys").sees("[y/N]").types("n");
    assert_eq!(talk.ends().0, 3);
    assert_eq!(scribble(), "scribble");
    world.zbackup(&forced).exits(0).says("Rolled back");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_foreign_dataset_of_the_same_name_is_a_conflict_and_stays() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world.tamper(|| {
        sh("zfs create -o canmount=noauto backup/home; zfs snapshot backup/home@precious")
    });
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let volumes = crate::support::world::volumes(&run);
    assert_eq!(volumes["/home"]["action"], "conflict");
    assert_eq!(volumes["/home"]["conflict"], "no-common-snapshot");
    assert_eq!(volumes["/home"]["outcome"], "refused");
    assert_eq!(
        volumes["/srv"]["outcome"], "done",
        "the others are not stopped"
    );
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name -r tank/home"),
        "",
        "a volume in conflict gets no snapshot"
    );
    assert_eq!(
        world.inspect(|| sh("zfs list -Hpt snapshot -o name -r backup/home")),
        "backup/home@precious"
    );
}

/// The larger the sectors, the more a reset of the intent log can show as written; a change shows
/// more still.
#[test]
fn a_byte_is_a_change_and_idleness_is_none_on_large_sectors_too() {
    let world = World::new(&[]);
    let host = "/dev/disk/by-id/virtio-HOST1-part1";
    let disk = world.usb.partition();
    sh(&format!(
        "zpool destroy tank; zpool create -f -o ashift=12 -O mountpoint=/tank -O atime=off tank {host}
         zpool create -f -o ashift=12 -O mountpoint=/backup backup {disk}; zpool export backup
         zfs create tank/home; zfs create -V 16M tank/disk; echo some text > /tank/home/a; sync
         udevadm wait --timeout=30 /dev/zvol/tank/disk; udevadm settle
         dd if=/dev/urandom of=/dev/zvol/tank/disk bs=1M count=1 conv=fsync status=none"
    ));
    let world = (
        World::with_pool("tank", &["/home", "/disk"], Container::Plain),
        world,
    );
    let world = &world.0;
    world.backup();
    let idle = || {
        // The intent logs were in use: the import resets them.
        sh(&format!(
            "udevadm settle; zpool export tank; zpool import -d {host} -o cachefile=none tank; udevadm settle"
        ));
        let run = world.zbackup(&["--json", "usb"]).exits(0);
        for (volume, found) in volumes(&run) {
            assert_eq!(found["action"], "up-to-date", "{volume}");
        }
    };
    idle();
    for place in ["/tank/home/a", "/dev/zvol/tank/disk"] {
        sh(&format!(
            "udevadm wait --timeout=30 /dev/zvol/tank/disk
             printf x | dd of={place} bs=1 count=1 conv=notrunc,fsync status=none; sync"
        ));
        let changed = world.backup();
        let actions = ["/home", "/disk"].map(|volume| changed[volume]["action"].clone());
        let expected = match place {
            "/tank/home/a" => ["incremental", "up-to-date"],
            _ => ["up-to-date", "incremental"],
        };
        assert_eq!(actions, expected, "{place}");
        idle();
    }
}
