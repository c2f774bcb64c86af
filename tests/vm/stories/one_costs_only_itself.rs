//! One volume has a name that is too long for its bookmarks, or goes while it is looked at; another
//! program uses up what the kernel can watch. People expect that everything else is done all the same,
//! and to be told what was not.

use nix::sys::signal::Signal;

use crate::support::program::Run;
use crate::support::running::Running;
use crate::support::world::volumes;
use crate::support::{World, sh};

/// How many snapshots a dataset has.
fn snapshots(dataset: &str) -> usize {
    sh(&format!("zfs list -Hpt snapshot -o name -d 1 {dataset}"))
        .lines()
        .count()
}

fn warnings(run: &Run) -> String {
    run.json()["warnings"].to_string()
}

/// Its snapshots' names fit, those of its bookmarks do not. And a bookmark of another volume is not of
/// the snapshot that it is named after.
#[test]
fn a_volume_without_its_bookmark_keeps_its_snapshots_alone() {
    let long = format!("/{}", "x".repeat(222));
    let world = World::new(&["/home", "/srv", &long]);
    let write = |text: &str| {
        sh(&format!(
            "for dir in /tank/*/; do echo {text} > $dir/{text}; done"
        ));
    };
    write("first");
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert!(warnings(&run).contains(&long), "{}", warnings(&run));
    assert_eq!(volumes(&run)[&long]["outcome"], "done");
    write("second");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(3);
    for volume in ["/home", "/srv"] {
        assert_eq!(volumes(&run)[volume]["outcome"], "done");
        assert_eq!(snapshots(&format!("tank{volume}")), 1, "{volume}");
    }
    let said = warnings(&run);
    assert!(
        said.contains(&format!("{long}: no old snapshot of it is removed")),
        "{said}"
    );
    assert!(!said.contains("/home") && !said.contains("/srv"), "{said}");
    assert_eq!(snapshots(&format!("tank{long}")), 2);
    assert_eq!(volumes(&run)[&long]["action"], "incremental");

    // By its name it is the newest snapshot's, by its guid another's.
    sh(
        "bookmark=$(zfs list -Hpt bookmark -o name -s createtxg tank/home | tail -n 1)
        zfs destroy $bookmark; zfs snapshot tank/home@mine; zfs bookmark tank/home@mine $bookmark
        zfs destroy tank/home@mine",
    );
    sh("echo third > /tank/srv/third");
    let run = world
        .zbackup(&["--json", "usb", "-s", "1", "/home", "/srv"])
        .exits(3);
    assert!(warnings(&run).contains("is not a bookmark of the snapshot that it is named after"));
    assert_eq!(snapshots("tank/srv"), 1);
    assert_eq!(volumes(&run)["/srv"]["outcome"], "done");
    assert_eq!(
        world.files_on_disk("backup/srv"),
        world.files_on_host("tank/srv")
    );
}

/// Destroyed in the moment when its snapshots are listed.
#[test]
fn a_volume_that_goes_meanwhile_is_the_only_one_that_fails() {
    let world = World::new(&["/a", "/b", "/c"]);
    sh("for name in a b c; do echo $name > /tank/$name/file; done; zfs snapshot -r tank@mine");
    let run = Running::start_with_fault("zfs_iter_snapshots:SIGSTOP", &["--json", "usb"]).stops();
    sh("zfs destroy -r tank/a");
    let run = run.signal(Signal::SIGCONT).ends().exits(3);
    let found = volumes(&run);
    assert_eq!(found["/a"]["outcome"], "failed");
    let reason = found["/a"]["reason"].as_str().unwrap();
    assert!(reason.contains("tank/a"), "{reason}");
    for volume in ["b", "c"] {
        assert_eq!(found[&format!("/{volume}")]["outcome"], "done");
        let copy = world.files_on_disk(&format!("backup/{volume}"));
        assert_eq!(copy, world.files_on_host(&format!("tank/{volume}")));
    }
    // One that is there and cannot be read.
    sh("zfs create tank/a; zfs snapshot tank/a@mine");
    let run = Running::start_with_fault("zfs_iter_snapshots:error", &["--json", "usb"]).ends();
    let found = volumes(&run.exits(3));
    assert_eq!(found["/a"]["outcome"], "failed");
    assert!(
        found["/a"]["reason"]
            .as_str()
            .unwrap()
            .contains("tank/a cannot be read")
    );
    assert_eq!(found["/b"]["outcome"], "done");
}

/// The limit is the system's: a few file managers are enough.
#[test]
fn a_disk_is_found_where_nothing_can_be_watched() {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let world = World::new(&["/home"]);
    let before = std::fs::read_to_string(LIMIT).unwrap();
    std::fs::write(LIMIT, "0").unwrap();
    let there = crate::support::zbackup(&["usb"]);
    world.usb.unplug();
    let waits = Running::start(&["--wait", "60", "usb"]).says("USB device");
    std::fs::write(LIMIT, before).unwrap();
    drop(there.exits(0).says("Safe to unplug"));
    world.usb.plug();
    drop(waits.ends().exits(0).says("Safe to unplug"));
}
