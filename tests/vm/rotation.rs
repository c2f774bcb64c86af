//! Old snapshots go, and a disk that will not come back is forgotten.

use std::collections::BTreeSet;

use crate::support::program::Run;
use crate::support::world::volumes;
use crate::support::{Dialogue, World, sh, zbackup};

/// Short names of a dataset's snapshots, oldest first.
fn snapshots(dataset: &str) -> Vec<String> {
    sh(&format!(
        "zfs list -Hpt snapshot -o name -s createtxg -d 1 {dataset}"
    ))
    .lines()
    .map(|name| name.split('@').nth(1).unwrap().to_owned())
    .collect()
}

fn bookmarks() -> Vec<String> {
    let list = sh("zfs list -Hpt bookmark -o name -r tank");
    list.lines().map(ToOwned::to_owned).collect()
}

/// A list of names in the `--json` document.
fn listed(run: &Run, key: &str) -> BTreeSet<String> {
    let document = run.json();
    let names = document[key].as_array().expect("a list").iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn pruned(run: &Run) -> BTreeSet<String> {
    listed(run, "pruned")
}

fn names<'a>(dataset: &'a str, shorts: &'a [&String]) -> impl Iterator<Item = String> + 'a {
    shorts.iter().map(move |short| format!("{dataset}@{short}"))
}

/// Writes something into each volume, backs it up, and returns the new snapshot's short name.
fn write_and_back_up(world: &World, text: &str) -> String {
    for volume in sh("zfs list -Ho mountpoint -r tank | grep /tank/").lines() {
        sh(&format!("echo {text} > {volume}/{text}"));
    }
    let volumes = world.backup();
    volumes["/home"]["snapshot"].as_str().unwrap().to_owned()
}

fn on_disk(world: &World, dataset: &str) -> Vec<String> {
    world.inspect(|| snapshots(dataset))
}

#[test]
fn a_volume_that_is_not_done_keeps_everything() {
    let world = World::new(&["/home", "/srv"]);
    write_and_back_up(&world, "first");
    write_and_back_up(&world, "second");
    world.tamper(|| {
        sh("zfs set readonly=off backup/srv; mkdir -p /mnt/look
            mount -t zfs -o zfsutil backup/srv /mnt/look; echo theirs > /mnt/look/theirs
            umount /mnt/look; zfs snapshot backup/srv@theirs; zfs set readonly=on backup/srv")
    });
    let on_disk_before = on_disk(&world, "backup/srv");
    sh("echo third > /tank/home/third; echo third > /tank/srv/third");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(3);
    assert_eq!(volumes(&run)["/srv"]["conflict"], "diverged");
    assert_eq!(snapshots("tank/srv").len(), 2);
    assert_eq!(on_disk(&world, "backup/srv"), on_disk_before);
    assert_eq!(snapshots("tank/home").len(), 1);
    assert_eq!(on_disk(&world, "backup/home").len(), 1);
    assert_eq!(pruned(&run).len(), 4);
}

#[test]
fn a_mark_lost_in_a_crash_comes_back_and_nobody_elses_appears() {
    let mut world = World::new(&["/home"]);
    world.host("intermediate = yes");
    let first = write_and_back_up(&world, "first");
    sh("zfs snapshot tank/home@mine");
    let second = write_and_back_up(&world, "second");
    world.tamper(|| {
        sh(&format!(
            "zfs inherit org.zbackup:created backup/home@{first}
             zfs inherit org.zbackup:created backup/home@{second}"
        ))
    });
    sh("echo third > /tank/home/third");
    let run = world.zbackup(&["--json", "usb", "-s", "2"]).exits(0);
    let third = volumes(&run)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let kept = ["mine".to_owned(), second.clone(), third.clone()];
    assert_eq!(snapshots("tank/home"), kept);
    assert_eq!(on_disk(&world, "backup/home"), kept);
    let marked = world.inspect(|| {
        sh("zfs get -Hpt snapshot -s local -o name -r org.zbackup:created backup/home")
    });
    let marked: BTreeSet<_> = marked.lines().map(ToOwned::to_owned).collect();
    assert_eq!(
        marked,
        names("backup/home", &[&second, &third]).collect::<BTreeSet<_>>()
    );
}

#[test]
fn a_disk_that_is_gone_is_forgotten() {
    let world = World::new(&["/home", "/srv"]);
    let snapshot = write_and_back_up(&world, "first");
    sh(&format!(
        "zfs bookmark tank/srv@{snapshot} tank/srv#zbackup-123-4"
    ));
    world.usb.unplug();
    let before = bookmarks();
    assert_eq!(before.len(), 3);
    let waiting = before.iter().filter(|name| !name.contains("-123-"));
    let of_disk: BTreeSet<_> = waiting.cloned().collect();

    let name = "USB device";
    world
        .zbackup(&["forget", "USB device 7"])
        .exits(2)
        .says("123: 1 bookmark");
    world
        .zbackup(&["forget", name])
        .exits(2)
        .says("zbackup forget --force 'USB device'");
    world.zbackup(&["-y", "forget", name]).exits(2);
    let dry = world.zbackup(&["-n", "--json", "forget", name]).exits(0);
    assert_eq!(listed(&dry, "forgotten"), of_disk);
    world
        .zbackup(&["-n", "forget", name])
        .exits(0)
        .says(of_disk.first().unwrap());
    for answer in ["", "n"] {
        let mut talk = Dialogue::start(&["-y", "forget", name]);
        talk.sees("#zbackup-").sees("[y/N]").types(answer);
        assert_eq!(talk.ends().0, 3);
    }
    assert_eq!(bookmarks(), before, "nothing has gone by now");

    let mut talk = Dialogue::start(&["forget", name]);
    talk.sees("#zbackup-").sees("[y/N]").types("y");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0);
    assert!(screen.contains("Removed 2 bookmarks"), "{screen}");
    assert_eq!(bookmarks(), ["tank/srv#zbackup-123-4"]);
    assert_eq!(
        sh("zfs get -Ho property all tank | grep zbackup:disk || true"),
        ""
    );
    world
        .zbackup(&["forget", name])
        .exits(0)
        .says("nothing to forget");

    let forced = zbackup(&["--json", "forget", "--force", "123"])
        .exits(0)
        .json();
    assert_eq!(
        forced["forgotten"],
        serde_json::json!(["tank/srv#zbackup-123-4"])
    );
    assert_eq!(forced["disk"], serde_json::Value::Null);
    assert_eq!(bookmarks(), [""; 0]);
    assert_eq!(snapshots("tank/home"), [snapshot], "snapshots stay");
    world.usb.plug();
}
