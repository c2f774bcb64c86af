//! The disk takes less than the estimate promised.

use crate::support::world::volumes;
use crate::support::{World, sh};

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo a > /tank/srv/a");
    world.backup();
    // The estimate cannot know that this disk keeps everything twice.
    world.tamper(|| {
        sh(
            "zfs create -o mountpoint=none backup/others; zfs set copies=2 backup
            free=$(zfs get -Hpo value available backup)
            zfs set reservation=$((free - 100 * 1024 * 1024)) backup/others",
        );
    });
    sh("head -c 70M /dev/urandom > /tank/home/big; echo b > /tank/srv/b; zpool sync tank");
    let kept = || world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -r backup"));
    let before = kept();

    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["action"], "incremental", "{home}");
    assert_eq!(home["outcome"], "failed", "{home}");
    let reason = home["reason"].as_str().unwrap();
    for said in ["no space left", "Make room", "run the same command again"] {
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(run.json()["safe_to_unplug"], true);
    for snapshot in before.lines() {
        assert!(kept().contains(snapshot), "{snapshot}");
    }

    // As long as it is full, the next run says so before it begins.
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "does-not-fit");
    world.tamper(|| sh("zfs destroy backup/others"));
    let home = world.backup()["/home"].clone();
    assert_eq!(home["action"], "resume", "{home}");
    assert_eq!(home["outcome"], "done", "{home}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
