//! Somebody takes a volume back with another tool's `zfs receive -F`, or destroys snapshots by hand,
//! and runs zbackup as ever. They expect a copy that is what the host holds, or to be told.
//!
//! ZFS keeps the bookmarks of what a forced receive undoes, and an increment from one of them is
//! received without any error although it lacks what went back. See `docs/histories.md`.

use std::collections::BTreeSet;

use crate::support::program::Run;
use crate::support::world::{snapshots, volumes};
use crate::support::{Dialogue, World, sh};

/// Another tool goes back to `base` and brings what it has made of that elsewhere, with `write` run in
/// the place where that is mounted.
fn receive_over(dataset: &str, base: &str, flags: &str, write: &str) {
    let pool = dataset.split('/').next().unwrap();
    sh(&format!(
        "zfs send {flags} {dataset}@{base} | zfs receive -u {pool}/elsewhere
         {write}
         zfs snapshot {pool}/elsewhere@theirs
         zfs send {flags} -i @{base} {pool}/elsewhere@theirs | zfs receive -u -F {dataset}
         zfs destroy -r {pool}/elsewhere"
    ));
}

const IN_A_FILE: &str = "mkdir -p /mnt/look; zfs set readonly=off $pool/elsewhere 2>/dev/null
    mount -t zfs -o zfsutil $pool/elsewhere /mnt/look; echo theirs > /mnt/look/theirs; umount /mnt/look";

fn in_a_file(pool: &str) -> String {
    IN_A_FILE.replace("$pool", pool)
}

/// The newest snapshot's short name, and a list of all on the disk.
fn on_disk(world: &World) -> BTreeSet<String> {
    world.inspect(|| snapshots("backup"))
}

#[track_caller]
fn assert_same_files(world: &World, volume: &str) {
    assert_eq!(
        world.files_on_disk(&format!("backup/{volume}")),
        world.files_on_host(&format!("tank/{volume}"))
    );
}

#[track_caller]
fn action<'a>(
    run: &'a std::collections::BTreeMap<String, serde_json::Value>,
    volume: &str,
) -> &'a str {
    run[volume]["action"].as_str().unwrap()
}

fn usb(world: &World, arguments: &[&str], code: i32) -> Run {
    let all: Vec<&str> = ["--json", "usb"].iter().chain(arguments).copied().collect();
    world.zbackup(&all).exits(code)
}

/// `/home` has an older snapshot in common with the disk, the zvol and the encrypted volume have not.
#[test]
fn a_host_that_another_tool_took_back_is_not_continued_in_silence() {
    let mut world = World::new(&["/home", "/disk=16M"]);
    sh("head -c 32 /dev/urandom > /root/key
        zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/safe");
    world.configure(&["/home", "/disk", "/safe"]);
    let write = |text: &str| {
        sh(&format!(
            "echo {text} | tee /tank/home/{text} /tank/home/last /tank/safe/{text} /tank/safe/last >/dev/null
             echo {text} | dd of=/dev/zvol/tank/disk conv=sync,fsync status=none"
        ));
    };
    write("first");
    sh("zfs snapshot tank/disk@old; zfs snapshot tank/safe@old");
    let first = usb(&world, &["/home"], 0);
    let first = volumes(&first)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    write("second");
    world.backup();
    let before = on_disk(&world);

    receive_over("tank/home", &first, "", &in_a_file("tank"));
    receive_over(
        "tank/disk",
        "old",
        "",
        "udevadm wait --timeout=30 /dev/zvol/tank/elsewhere
         echo theirs | dd of=/dev/zvol/tank/elsewhere conv=sync,fsync seek=9 status=none",
    );
    sh("zfs umount tank/safe");
    receive_over("tank/safe", "old", "-w", "true");
    sh("zfs mount tank/safe || { zfs load-key tank/safe; zfs mount tank/safe; }");
    assert_eq!(
        sh("cat /tank/home/last /tank/safe/last"),
        "first\nfirst",
        "it went back"
    );
    sh("echo third | tee /tank/home/third > /tank/safe/third");

    let run = usb(&world, &[], 3);
    for volume in ["/home", "/disk", "/safe"] {
        assert_eq!(
            volumes(&run)[volume]["conflict"],
            "base-uncertain",
            "{volume}"
        );
    }
    assert_eq!(on_disk(&world), before, "nothing was sent");

    // Going on from the older snapshot costs what the disk has after it, and no full transfer.
    let said = world.zbackup(&["usb"]).exits(3);
    said.says(&format!("To go on from @{first}"))
        .says("--force /home")
        .says("--keep-both /disk");
    let run = usb(
        &world,
        &[
            "--force",
            "/home",
            "--keep-both",
            "/disk",
            "--force",
            "/safe",
        ],
        0,
    );
    let done = volumes(&run);
    assert_eq!(action(&done, "/home"), "incremental");
    assert_eq!(
        [action(&done, "/disk"), action(&done, "/safe")],
        ["full", "full"]
    );
    assert_same_files(&world, "home");
    assert_eq!(
        world.inspect(|| sh("zfs list -Ho name -r backup | grep -c disk-kept")),
        "1"
    );

    sh("echo fourth | tee /tank/home/fourth > /tank/safe/fourth");
    let done = world.backup();
    assert_eq!(
        [action(&done, "/home"), action(&done, "/safe")],
        ["incremental"; 2]
    );
    assert_same_files(&world, "home");
}

/// What was destroyed, renamed or rolled back by hand has left its traces: no full transfer.
#[test]
fn snapshots_that_were_merely_destroyed_cost_nothing() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo first | tee /tank/home/a > /tank/srv/a");
    world.backup();
    sh(
        "for name in $(zfs list -Hpt snapshot -o name -r tank); do zfs destroy $name; done
        echo second | tee /tank/home/a > /tank/srv/a",
    );
    let done = world.backup();
    assert_eq!(
        [action(&done, "/home"), action(&done, "/srv")],
        ["incremental"; 2]
    );

    // Another tool receives on top of what is there, and all snapshots go only then.
    let newest = done["/home"]["snapshot"].as_str().unwrap();
    receive_over("tank/home", newest, "", &in_a_file("tank"));
    sh(
        "zfs snapshot tank/home@after; zfs rename tank/srv tank/away; zfs rename tank/away tank/srv",
    );
    let done = world.backup();
    assert_eq!(action(&done, "/home"), "incremental");
    sh(
        "for name in $(zfs list -Hpt snapshot -o name -r tank); do zfs destroy $name; done
        echo third | tee /tank/home/a > /tank/srv/a",
    );
    let done = world.backup();
    assert_eq!(
        [action(&done, "/home"), action(&done, "/srv")],
        ["incremental"; 2]
    );
    assert_same_files(&world, "home");
    assert_same_files(&world, "srv");

    // `zfs rollback` takes the bookmarks along: the disk is simply ahead, and then apart.
    sh("zfs snapshot tank/home@mine");
    sh("echo fourth > /tank/home/a");
    world.backup();
    sh("zfs rollback -r tank/home@mine; echo fifth > /tank/home/b");
    let run = usb(&world, &[], 3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "diverged");
    usb(&world, &["--force", "/home"], 0);
    assert_same_files(&world, "home");
}

/// Another tool takes the *disk* back, and `os` would send from its bookmark.
#[test]
fn a_disk_that_another_tool_took_back_is_no_base_either() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    let first = world.backup()["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    sh("echo second > /tank/home/a; echo stays > /tank/home/b");
    world.backup();
    // The host keeps the newest alone, and so has nothing older in common.
    sh(&format!("zfs destroy tank/home@{first}"));
    world.tamper(|| receive_over("backup/home", &first, "", &in_a_file("backup")));
    let files = world.files_on_host("tank/home");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "base-uncertain");
    assert_eq!(world.files_on_host("tank/home"), files);
    world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(0);
    assert_same_files(&world, "home");
    assert_eq!(sh("cat /tank/home/a /tank/home/theirs"), "first\ntheirs");
}

/// It happens while the run asks whether it may begin.
#[test]
fn a_volume_that_is_taken_back_at_the_last_moment_is_left_alone() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a; zfs snapshot tank/home@old; echo second > /tank/home/a");
    world.backup();
    sh("echo third > /tank/home/b");
    let before = on_disk(&world);
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.answers(&[("import", "y")]);
    talk.sees("snapshot");
    receive_over("tank/home", "old", "", &in_a_file("tank"));
    talk.types("y");
    talk.answers(&[("export", "y")]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("taken back"), "{screen}");
    assert_eq!(on_disk(&world), before);
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name -r tank | grep -c zbackup || true"),
        "0"
    );
    let run = usb(&world, &[], 3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "base-uncertain");
}
