//! Somebody writes zbackup's mark, which says what its retention may destroy, onto snapshots on the
//! disk. They find that nothing of theirs has gone from the host.

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
