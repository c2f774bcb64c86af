//! People whose disk is nearly full. They expect a run to make the room that it is allowed to make, to
//! be told what else would help, and to be able to try.

use crate::support::world::{advance_on_disk, assert_kept, snapshots, volumes};
use crate::support::{World, sh, type_in, zbackup_with_fault};

/// Leaves a pool this much room, whatever is in it.
fn leave_room(pool: &str, mebibytes: u32) -> String {
    format!(
        "zfs create -o mountpoint=none {pool}/others; zpool sync {pool}
         free=$(zfs get -Hpo value available {pool})
         zfs set reservation=$((free - {mebibytes} * 1024 * 1024)) {pool}/others"
    )
}

/// Three backups of a file that is another one each time: two old snapshots on both sides, which hold
/// 40 MiB each, and the base of the next stream.
fn with_old_snapshots() -> World {
    let world = World::new(&["/home"]);
    for _ in 0..3 {
        sh("head -c 40M /dev/urandom > /tank/home/big");
        world.backup();
    }
    world
}

#[track_caller]
fn assert_does_not_fit(world: &World, verb: &str) {
    let run = world.zbackup(&["--json", verb]).exits(3);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["conflict"], "does-not-fit", "{home}");
    let reason = home["reason"].as_str().unwrap();
    for said in ["makes room enough: -s 1", "--try-anyway"] {
        assert!(reason.contains(said), "{reason}");
    }
}

/// The disk is full of old backups, and fewer of them are wanted from now on.
#[test]
fn old_snapshots_make_room_on_a_full_disk() {
    let world = with_old_snapshots();
    sh("head -c 70M /dev/urandom > /tank/home/big");
    world.tamper(|| sh(&leave_room("backup", 30)));
    let before = world.inspect(|| snapshots("backup"));
    assert_does_not_fit(&world, "usb");
    assert_kept(&before, &world.inspect(|| snapshots("backup")));

    world
        .zbackup(&["-n", "usb", "-s", "1"])
        .exits(0)
        .says("Removed from the disk first, to make room: 2 old snapshots");
    assert_kept(&before, &world.inspect(|| snapshots("backup")));

    // The stream is interrupted, the copy is whole all the same.
    let arguments = ["--json", "usb", "-s", "1"];
    let run = zbackup_with_fault("lzc_receive_with_cmdprops:error", &arguments).exits(3);
    assert_eq!(run.json()["pruned"].as_array().unwrap().len(), 2);
    let left = world.inspect(|| snapshots("backup"));
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left.is_subset(&before));

    world.zbackup(&arguments).exits(0);
    assert_eq!(world.inspect(|| snapshots("backup")).len(), 1);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// The same on the host that the disk's newer data comes to.
#[test]
fn old_snapshots_make_room_on_a_full_host() {
    let world = with_old_snapshots();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "head -c 70M /dev/urandom"));
    sh(&leave_room("tank", 30));
    let before = snapshots("tank");
    assert_does_not_fit(&world, "os");
    assert_kept(&before, &snapshots("tank"));
    world.zbackup(&["os", "-s", "1"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// The host does not compress, the disk does; and what really does not fit loses nothing.
#[test]
// walks: quota
fn what_compresses_better_than_estimated_can_be_tried() {
    let world = World::new(&["/logs"]);
    let more = |name: &str| {
        sh(&format!(
            "head -c 60M /dev/zero | tr '\\0' a > /tank/logs/{name}"
        ));
    };
    sh("zfs set compression=off tank/logs");
    more("first");
    world.tamper(|| sh("zfs set compression=lz4 backup"));
    world.tamper(|| sh(&leave_room("backup", 30)));
    let logs =
        |arguments: &[&str], code| volumes(&world.zbackup(arguments).exits(code))["/logs"].clone();
    let refused = logs(&["--json", "usb"], 3);
    assert_eq!(refused["conflict"], "does-not-fit");
    assert!(refused["reason"].as_str().unwrap().contains("--try-anyway"));
    logs(&["--json", "usb", "--try-anyway"], 0);
    // The copy tells how well the next ones compress.
    more("second");
    logs(&["--json", "usb"], 0);
    assert_eq!(
        world.files_on_disk("backup/logs"),
        world.files_on_host("tank/logs")
    );

    let quota = |mebibytes: u32| {
        format!(
            "zfs set quota=$(($(zfs get -Hpo value used backup/logs) + {mebibytes} * 1024 * 1024)) backup/logs"
        )
    };
    world.tamper(|| sh(&quota(1)));
    sh("rm /tank/logs/second; head -c 50M /dev/urandom > /tank/logs/third");
    let before = world.inspect(|| snapshots("backup"));
    let run = world.zbackup(&["usb"]).exits(3);
    let mut advice = run.advises("Raise that quota (");
    assert_eq!(advice[1], "zfs set quota=… backup/logs");
    // It still is less than it takes: how well that compresses was guessed.
    advice[1] = quota(20);
    type_in(&advice);
    let failed = logs(&["--json", "usb", "--try-anyway"], 3);
    assert_eq!(failed["outcome"], "failed", "{failed}");
    assert_kept(&before, &world.inspect(|| snapshots("backup")));
    world.tamper(|| sh("zfs set quota=none backup/logs; zfs destroy backup/others"));
    assert_eq!(logs(&["--json", "usb"], 0)["action"], "resume");
    assert_eq!(
        world.files_on_disk("backup/logs"),
        world.files_on_host("tank/logs")
    );
}
