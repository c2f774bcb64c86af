//! A disk travels from host A to host B and back.

use crate::support::world::volumes;
use crate::support::{Container, World, sh};

const VOLUMES: [&str; 2] = ["/home", "/home/vic"];
/// Where the pool of host B lies.
const OTHER_DISK: &str = "/dev/disk/by-id/virtio-HOST2";

/// Names, guids and the files' hashes of all volumes below `top`, which is mounted at `root`.
fn everything(top: &str, root: &str) -> String {
    sh(&format!(
        "cd {root}; find . -type f -print0 | sort -z | xargs -0r sha256sum
         zfs list -Hpt snapshot -o name,guid -s name -r {top}/home | sed 's|^{top}/||'"
    ))
}

#[test]
fn step_1_backs_up_and_does_not_export_on_a() {
    let world = World::new(&VOLUMES);
    sh("echo stays > /tank/home/a; echo old > /tank/home/b; echo vic > /tank/home/vic/c");
    world.backup();
    // The disk is pulled from a host that has its pool imported.
    sh("zpool import -N -d /dev/disk/by-id -o cachefile=none backup; zpool export tank");
    world.keep();
}

#[test]
fn step_2_takes_it_over_and_changes_it_on_b() {
    sh(&format!(
        "udevadm wait --timeout=30 {OTHER_DISK}
         zpool create -f -O mountpoint=/cave -O atime=off cave {OTHER_DISK}"
    ));
    let world = World::with_pool("cave", &VOLUMES, Container::Plain);
    let refused = world.zbackup(&["os"]).exits(1);
    refused.says("was not exported").says("--force-import");
    assert_eq!(sh("zfs list -Ho name -r cave"), "cave");
    let run = world.zbackup(&["--json", "os", "--force-import"]).exits(0);
    for volume in volumes(&run).values() {
        assert_eq!(volume["action"], "full", "{volume}");
    }
    assert_eq!(
        sh("cat /cave/home/a /cave/home/b /cave/home/vic/c"),
        "stays\nold\nvic"
    );
    sh("echo new > /cave/home/b; rm /cave/home/vic/c; echo more > /cave/home/vic/d");
    for volume in world.backup().values() {
        assert_eq!(volume["action"], "incremental", "{volume}");
    }
    sh("zpool export cave");
    world.keep();
}

#[test]
fn step_3_gets_the_changes_on_a() {
    let world = World::again(&VOLUMES, Container::Plain);
    for volume in volumes(&world.zbackup(&["--json", "os"]).exits(0)).values() {
        assert_eq!(volume["action"], "incremental", "{volume}");
    }
    let here = everything("tank", "/tank/home");
    assert!(here.contains("./vic/d"), "{here}");
    assert_eq!(
        sh("cat /tank/home/a /tank/home/b /tank/home/vic/d"),
        "stays\nnew\nmore"
    );
    let on_disk = world.inspect(|| {
        sh(
            "mkdir -p /mnt/look; mount -t zfs -o zfsutil backup/home /mnt/look
            mount -t zfs -o zfsutil backup/home/vic /mnt/look/vic",
        );
        let found = everything("backup", "/mnt/look");
        sh("umount -R /mnt/look");
        found
    });
    assert_eq!(on_disk, here);
    sh("zpool import -f -o readonly=on -o cachefile=none -d /dev/disk/by-id cave");
    assert_eq!(everything("cave", "/cave/home"), here);
    sh("zpool export cave");
}
