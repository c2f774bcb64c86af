//! Somebody writes zbackup's mark, which says what its retention may destroy, onto snapshots on the
//! disk. They find that nothing of theirs has gone from the host.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::world::{advance_on_disk, volumes};
use crate::support::{World, sh, zbackup_with_fault};

const MARK: &str = "org.zbackup:created";

/// Short names of a volume's snapshots on the host, oldest first, marked ones with a star.
fn on_host(volume: &str) -> Vec<String> {
    let list = sh(&format!(
        "for name in $(zfs list -Hpt snapshot -o name -s createtxg -d 1 tank/{volume}); do
             echo ${{name#*@}}$(zfs get -H -s local -o value {MARK} $name | sed 's/.*/*/'); done"
    ));
    list.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn what_is_marked_on_the_disk_is_not_destroyed_on_the_host() {
    let mut world = World::new(&["/home", "/disk=16M"]);
    world.host("intermediate = yes");
    let change = |text: &str| {
        sh(&format!(
            "echo {text} > /tank/home/{text}
             echo {text} | dd of=/dev/zvol/tank/disk conv=sync,fsync status=none"
        ));
    };
    change("first");
    sh("zfs snapshot -r tank@mine");
    change("second");
    world.backup();
    world.tamper(|| {
        sh(&format!(
            "zfs set {MARK}=x backup/home@mine backup/disk@mine"
        ))
    });
    change("third");
    world.zbackup(&["usb", "-s", "1"]).exits(0);
    for volume in ["home", "disk"] {
        let found = on_host(volume);
        assert_eq!(found[0], "mine", "{found:?}");
        assert!(found.len() == 2 && found[1].ends_with('*'), "{found:?}");
    }

    // Nor what comes from the disk under somebody's own name.
    world.tamper(|| advance_on_disk("home", "theirs", "echo news"));
    world.zbackup(&["os", "-s", "1"]).exits(0);
    change("fourth");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(0);
    let newest = volumes(&run)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        on_host("home"),
        ["mine".into(), "theirs".into(), format!("{newest}*")]
    );
}

/// Somebody moves all copies to a larger disk, with the tools that everybody has. They expect old snapshots
/// to go on being removed there; and nothing of what such a stream brings to a host.
#[test]
fn retention_goes_on_where_copies_were_moved_by_hand() {
    let mut world = World::new(&["/home"]);
    world.host("intermediate = yes");
    sh("echo first > /tank/home/a");
    let snapshot = |volumes: &BTreeMap<String, Value>| {
        volumes["/home"]["snapshot"].as_str().unwrap().to_owned()
    };
    let first = snapshot(&world.backup());
    sh("echo second > /tank/home/a; zfs snapshot tank/home@mine; echo third > /tank/home/a");
    let newest = world.backup()["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    world.tamper(|| {
        sh(&format!(
            "zfs rename backup/home backup/old
             zfs send -R backup/old@{newest} | zfs receive -u backup/home
             zfs send -R backup/old@{newest} | zfs receive -u -o canmount=off tank/by-hand
             zfs destroy -r backup/old"
        ));
    });
    // What the host still has tells the disk what is zbackup's.
    sh(&format!("zfs destroy tank/home@{first}"));
    sh("echo fourth > /tank/home/a");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(0);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["action"], "incremental", "{home}");
    let newest = home["snapshot"].as_str().unwrap();
    let on_disk =
        world.inspect(|| sh("zfs list -Hpt snapshot -o name -s createtxg -r backup/home"));
    assert_eq!(on_disk, format!("backup/home@mine\nbackup/home@{newest}"));

    world.configure(&["/by-hand"]);
    let all = || sh("zfs list -Hpt snapshot -o name -r tank/by-hand");
    let before = all();
    world.zbackup(&["usb", "-s", "1"]).exits(0);
    for snapshot in before.lines() {
        assert!(all().contains(snapshot), "{snapshot} is gone");
    }
}

#[test]
fn a_mark_that_a_killed_run_has_not_set_is_set_by_the_next() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo news"));
    // After the receives, when the ledger is to be written.
    let killed = zbackup_with_fault("lzc_channel_program:SIGKILL:2", &["os"]);
    assert_eq!(killed.code, -1);
    sh("echo second > /tank/home/b");
    let run = world
        .zbackup(&["--json", "usb", "-s", "1", "/home"])
        .exits(0);
    let newest = volumes(&run)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        on_host("home"),
        [format!("{newest}*")],
        "the received one was ours to remove"
    );
}
