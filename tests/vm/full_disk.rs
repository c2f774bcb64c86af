//! The target takes less than the estimate promised.

use crate::support::world::{advance_on_disk, assert_kept, snapshots, volumes};
use crate::support::{World, noise, sh};

/// Has a pool keep everything twice, which no estimate can know, and leaves it this much.
fn leave_room(pool: &str, mebibytes: u32) -> String {
    format!(
        "zfs create -o mountpoint=none {pool}/others; zfs set copies=2 {pool}
         free=$(zfs get -Hpo value available {pool})
         zfs set reservation=$((free - {mebibytes} * 1024 * 1024)) {pool}/others"
    )
}

/// A run that ends in the middle of /home's stream, and one that sees beforehand that it would.
#[track_caller]
fn fails_for_want_of_room(world: &World, verb: &str) {
    let run = world.zbackup(&["--json", verb]).exits(3);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["action"], "incremental", "{home}");
    assert_eq!(home["outcome"], "failed", "{home}");
    let reason = home["reason"].as_str().unwrap();
    for said in ["no space left", "Make room", "run the same command again"] {
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(run.json()["safe_to_unplug"], true);

    let run = world.zbackup(&["--json", verb]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "does-not-fit");
}

/// There is room again: the stream goes on, and both sides are the same.
#[track_caller]
fn goes_on(world: &World, verb: &str) {
    let run = world.zbackup(&["--json", verb]).exits(0);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["action"], "resume", "{home}");
    assert_eq!(home["outcome"], "done", "{home}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo a > /tank/srv/a");
    world.backup();
    world.tamper(|| sh(&leave_room("backup", 100)));
    noise("/tank/home/big", 70);
    sh("echo b > /tank/srv/b; zpool sync tank");
    let before = world.inspect(|| snapshots("backup"));

    fails_for_want_of_room(&world, "usb");
    assert_kept(&before, &world.inspect(|| snapshots("backup")));
    world.tamper(|| sh("zfs destroy backup/others"));
    goes_on(&world, "usb");
}

#[test]
// walks: full-on-the-way, does-not-fit
fn a_host_that_fills_up_in_the_middle_loses_nothing() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo a > /tank/srv/a");
    world.backup();
    world.tamper(|| {
        advance_on_disk("home", "zbackup-other", "head -c 70M /dev/urandom");
        advance_on_disk("srv", "zbackup-other", "echo b");
    });
    sh(&leave_room("tank", 100));
    let before = snapshots("tank");

    fails_for_want_of_room(&world, "os");
    // The volume works as before. The other one arrived beside it, before the pool was full or not.
    assert_eq!(sh("ls /tank/home"), "a");
    assert!(["a", "a\nnews"].contains(&&*sh("ls /tank/srv")));
    assert_kept(&before, &snapshots("tank"));
    sh("zfs destroy tank/others");
    goes_on(&world, "os");
    assert_eq!(sh("ls /tank/srv"), "a\nnews");
}
