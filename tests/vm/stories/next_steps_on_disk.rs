//! Something on the disk is in the way. Each run closes the disk: what is to be typed opens it.

use crate::support::{World, sh, type_in};

/// A dataset has the name that a copy is to get, and what was replaced long ago is still there.
#[test]
// walks: follow-in-the-way, on-disk, leftover-replaced
fn what_is_on_the_disk_is_renamed_there() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    sh("zfs rename tank/home tank/data");
    world.tamper(|| sh("zfs create -u backup/data; zfs create -u backup/home-zbackup-replaced"));
    world.configure(&["/data"]);
    let run = world.zbackup(&["usb"]).exits(3);
    let mut advice = run.advises("give backup/data another name");
    assert_eq!(advice.last().map(String::as_str), Some("zbackup close"));
    type_in(&advice);
    let run = world
        .zbackup(&["usb", "--follow-rename", "/data"])
        .exits(0)
        .says("backup/data was backup/home before");
    assert!(!run.stderr.contains("zbackup-replaced"), "{}", run.stderr);
    assert_eq!(
        world.files_on_disk("backup/data"),
        world.files_on_host("tank/data")
    );

    world.tamper(|| sh("zfs rename backup/home-zbackup-replaced backup/data-zbackup-replaced"));
    advice = world
        .zbackup(&["usb"])
        .exits(0)
        .advises("before it was replaced");
    type_in(&advice);
    world.zbackup(&["usb"]).exits(0);
    let names = world.inspect(|| sh("zfs list -Ho name -r backup"));
    assert_eq!(names, "backup\nbackup/data\nbackup/data-kept-aside");
}
