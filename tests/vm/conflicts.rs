//! Ways out of conflicts: `--force` destroys exactly what was listed, `--keep-both` destroys
//! nothing, and without either nothing changes.
//!
//! What a pool holds is compared before and after by names and guids, as `zfs list` tells them.

use crate::support::world::{advance_on_disk, assert_nothing_open, volumes};
use crate::support::{Dialogue, World, sh, type_in, zbackup};

/// The snapshots of the disk's copy of /home: short names and guids, oldest first.
const HISTORY: &str =
    "zfs list -Hpt snapshot -o name,guid -s createtxg -d 1 backup/home | sed 's/.*@//'";

/// Everything on the disk: file systems, snapshots and bookmarks with their guids, and the
/// bytes that no snapshot holds.
fn disk(world: &World) -> String {
    world.inspect(|| sh("zfs list -Hpt all -o name,guid,written -r backup"))
}

/// The snapshots of one dataset of the disk: short names and guids, oldest first.
fn history(world: &World, dataset: &str) -> String {
    world.inspect(|| {
        sh(&format!(
            "zfs list -Hpt snapshot -o name,guid -s createtxg -d 1 {dataset} | sed 's/.*@//'"
        ))
    })
}

/// Shell lines that write to the disk's copy of /home.
fn scribble(name: &str) -> String {
    format!(
        "zfs set readonly=off backup/home; mkdir -p /mnt/look
         mount -t zfs -o zfsutil backup/home /mnt/look; echo {name} > /mnt/look/{name}
         umount /mnt/look; zfs set readonly=on backup/home"
    )
}

/// /home went on on both sides: on the disk with @theirs-1, @theirs-2 and a file without snapshot.
fn diverged() -> World {
    let world = World::new(&["/home", "/srv"]);
    sh("echo first > /tank/home/a; echo b > /tank/srv/b");
    world.backup();
    world.tamper(|| {
        sh(&format!(
            "{}; zfs snapshot backup/home@theirs-1
             {}; zfs snapshot backup/home@theirs-2; zfs bookmark backup/home@theirs-2 backup/home#theirs
             {}",
            scribble("one"),
            scribble("two"),
            scribble("three"),
        ))
    });
    sh("echo second > /tank/home/a");
    world
}

/// On the disk /home is somebody else's.
fn foreign() -> World {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world.tamper(|| {
        sh(&format!(
            "zfs create -o canmount=noauto backup/home; {}; zfs snapshot backup/home@precious",
            scribble("treasure")
        ))
    });
    world
}

/// One story, since every look at the disk takes its import.
#[test]
// walks: force
fn force_destroys_exactly_what_was_listed_and_agreed_to() {
    let world = diverged();
    let listing = || sh("zfs list -Hpt all -o name,guid,written -r backup/home");
    let (base, before) = world.inspect(|| (sh(HISTORY), listing()));
    let on_host = sh("zfs list -Hpt all -o name,guid -r tank");

    // Without --force: refused, and told what to do.
    let run = world.zbackup(&["--json", "usb", "/home"]).exits(3);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["outcome"], "refused");
    assert_eq!(home["conflict"], "diverged");
    let reason = home["reason"].as_str().unwrap();
    assert!(reason.contains("--force /home"), "{reason}");
    assert!(reason.contains("--keep-both /home"), "{reason}");

    // A mere Enter is a no, also with -y; while it is asked for, the disk can be looked at.
    let mut talk = Dialogue::start(&["-y", "usb", "/home", "--force", "/home"]);
    talk.sees("backup/home@theirs-1")
        .sees("backup/home#theirs")
        .sees("[y/N]");
    assert_eq!(listing(), before, "the refused run has changed nothing");
    talk.types("").sees("skipped");
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();

    // What came after the question is not covered by the answer.
    let mut talk = Dialogue::start(&["usb", "/home", "--force", "/home"]);
    talk.sees("[y/N]");
    assert_eq!(listing(), before, "the declined run has changed nothing");
    assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), on_host);
    sh("zfs snapshot backup/home@late");
    talk.types("y").sees("backup/home@late is new");
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();

    // Without a terminal the option is the consent.
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let done = volumes(&run.exits(0));
    let listed = ["@theirs-1", "@theirs-2", "@late", "#theirs"];
    let listed = listed.map(|name| format!("backup/home{name}"));
    assert_eq!(done["/home"]["destroys"], serde_json::json!(listed));
    assert_eq!(done["/home"]["action"], "incremental");
    assert_eq!(done["/srv"]["destroys"], serde_json::json!([]));
    let short = done["/home"]["snapshot"].as_str().unwrap();
    let guid = done["/home"]["snapshot_guid"].as_str().unwrap();
    let base = base.lines().next().unwrap();
    let (after, bookmarks) = world.inspect(|| {
        let bookmarks = sh("zfs list -Hpt bookmark -o name backup/home");
        (sh(HISTORY), bookmarks)
    });
    assert_eq!(after, format!("{base}\n{short}\t{guid}"));
    assert!(!bookmarks.contains("#theirs"), "{bookmarks}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_snapshot_that_is_held_or_was_cloned_is_never_destroyed() {
    let world = diverged();
    world.tamper(|| sh("zfs hold keep backup/home@theirs-1"));
    let before = disk(&world);
    let run = world.zbackup(&["--json", "usb", "/home", "--force", "/home"]);
    let home = &volumes(&run.exits(3))["/home"];
    assert!(home["reason"].as_str().unwrap().contains("is held"));
    assert_eq!(disk(&world), before);
    // The kernel would find a clone only at the end of the stream.
    let before = world.tamper(|| {
        sh("zfs release keep backup/home@theirs-1
            zfs clone -o canmount=noauto backup/home@theirs-1 backup/clone
            zfs list -Hpt all -o name,guid,written -r backup")
    });
    let run = world.zbackup(&["--json", "usb", "/home", "--force", "/home"]);
    let home = &volumes(&run.exits(3))["/home"];
    let said = "`zbackup open --rw`, `zfs destroy backup/clone` gives that up too, `zbackup close`";
    assert!(home["reason"].as_str().unwrap().contains(said), "{home}");
    assert_eq!(home["conflict"], "diverged");
    assert_eq!(home["destroys"], serde_json::json!([]));
    assert_eq!(disk(&world), before);
}

#[test]
// walks: keep-both
fn keep_both_keeps_all_and_finds_free_names() {
    let world = diverged();
    let kept = format!("backup/home-kept-{}", sh("date +%F"));
    let kept_history = HISTORY.replace("backup/home", &kept);
    let theirs = world.inspect(|| sh(HISTORY));
    let run = world.zbackup(&["--json", "usb", "--keep-both", "/home"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/home"]["action"], "full");
    assert_eq!(done["/home"]["destroys"], serde_json::json!([]));
    let reason = done["/home"]["reason"].as_str().unwrap();
    assert!(reason.contains(&kept), "{reason}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    // Once more on the same day, and then nothing is in the way.
    sh("echo third > /tank/home/a");
    let (aside, written) = world.tamper(|| {
        let again = scribble("four");
        sh(&format!("{again}; zfs snapshot backup/home@again"));
        let written = sh(&format!("zfs get -Hpo value written {kept}"));
        (sh(&kept_history), written)
    });
    assert_eq!(aside, theirs);
    assert_ne!(written, "0", "what no snapshot held is there too");
    let run = world.zbackup(&["--json", "usb", "--keep-both", "/home"]);
    let reason = volumes(&run.exits(0))["/home"]["reason"].clone();
    let second = format!("{kept}-2");
    assert!(reason.as_str().unwrap().contains(&second), "{reason}");
    sh("echo fourth > /tank/home/a");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
    assert_eq!(world.inspect(|| sh(&kept_history)), theirs);
}

/// What somebody has cloned from it keeps what it needs.
#[test]
// walks: clone-promote
fn force_replaces_what_has_nothing_in_common() {
    let world = foreign();
    world.tamper(|| {
        sh(
            "zfs clone -o canmount=noauto backup/home@precious backup/clone
            zfs snapshot backup/home@later",
        )
    });
    let refused = world.zbackup(&["usb", "--force", "/home"]).exits(3);
    type_in(&refused.advises("backup/clone is a clone of backup/home@precious, and needs it"));
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/home"]["action"], "full");
    let listed = serde_json::json!(["backup/home@later"]);
    assert_eq!(done["/home"]["destroys"], listed);
    let (names, properties) = world.inspect(|| {
        let properties = sh("zfs get -Ho value readonly,canmount backup/home");
        (sh("zfs list -Ho name -r backup"), properties)
    });
    assert_eq!(names, "backup\nbackup/clone\nbackup/home\nbackup/srv");
    assert!(history(&world, "backup/clone").starts_with("precious\t"));
    assert_eq!(properties, "on\nnoauto");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    sh("echo aa > /tank/home/a");
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
}

#[test]
fn a_replacement_that_had_arrived_is_used() {
    let world = foreign();
    sh("zfs snapshot tank/home@mine");
    world.tamper(|| sh("zfs send tank/home@mine | zfs receive -u backup/home-zbackup-arriving"));
    sh("echo aa > /tank/home/a");
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let short = volumes(&run.exits(0))["/home"]["snapshot"].clone();
    let history = history(&world, "backup/home");
    let names: Vec<_> = history
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    assert_eq!(names, ["mine", short.as_str().unwrap()]);
    let names = world.inspect(|| sh("zfs list -Ho name -r backup"));
    assert_eq!(names, "backup\nbackup/home\nbackup/srv");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn leftovers_of_a_replacement_are_told_and_never_overwritten() {
    let world = foreign();
    world.tamper(|| {
        sh("zfs create -u backup/home-zbackup-arriving; zfs snapshot backup/home-zbackup-arriving@x
            zfs create -u backup/home-zbackup-replaced")
    });
    let before = history(&world, "backup/home-zbackup-arriving");
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["outcome"], "refused");
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("backup/home-zbackup-replaced"),
        "{warnings}"
    );
    run.exits(3);
    assert_eq!(history(&world, "backup/home-zbackup-arriving"), before);
    assert!(history(&world, "backup/home").starts_with("precious\t"));
}

#[test]
// walks: foreign-receive
fn another_tools_interrupted_receive_is_left_alone_unless_forced() {
    let world = World::new(&["/home"]);
    // Of a snapshot that zbackup knows, too.
    sh(
        "dd if=/dev/urandom of=/tank/home/data bs=1M count=16 status=none
        zfs snapshot tank/home@syncoid_1",
    );
    let receive_part = |mebibytes| {
        sh(&format!(
            "(zfs send tank/home@syncoid_1 || true) | head -c {mebibytes}M |
                zfs receive -s -u backup/home || true"
        ))
    };
    world.tamper(|| receive_part(8));
    let token = || world.inspect(|| sh("zfs get -Hpo value receive_resume_token backup/home"));
    let before = token();
    assert!(before.len() > 20, "{before}");
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "foreign-resume-state");
    assert_eq!(token(), before);
    // What the answer gives up is what was there when it was asked for.
    let mut talk = Dialogue::start(&["usb", "--force", "/home"]);
    talk.sees("[y/N]");
    sh("zfs receive -A backup/home");
    receive_part(12);
    talk.types("y").sees("another interrupted receive by now");
    assert_eq!(talk.ends().0, 3);
    assert!(![&before, "-"].contains(&token().as_str()));
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    assert_eq!(volumes(&run.exits(0))["/home"]["action"], "full");
    assert_eq!(token(), "-");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    // Its own tool finishes it.
    world.tamper(|| {
        sh("zfs destroy -r backup/home");
        receive_part(8);
    });
    world
        .zbackup(&["usb"])
        .exits(3)
        .says("Let its own tool finish it");
    world.tamper(|| {
        sh("zfs send -t $(zfs get -Hpo value receive_resume_token backup/home) | zfs receive -s -u backup/home")
    });
    assert_eq!(world.backup()["/home"]["action"], "incremental");
}

#[test]
fn only_this_runs_volumes_can_be_named() {
    let world = World::new(&["/home", "/srv"]);
    let on_host = sh("zfs list -Hpt all -o name,guid -r tank");
    for arguments in [
        &["usb", "--force", "/nowhere"][..],
        &["usb", "--keep-both", "/nowhere"],
        &["usb", "/srv", "--force", "/home"],
        &["usb", "--force", "/home", "--keep-both", "/home"],
    ] {
        let run = world.zbackup(arguments).exits(2);
        drop(run);
        assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), on_host);
    }
    zbackup(&["close"]).exits(0);
}

/// On a host the target is mounted and in use, and has its own place and properties.
#[test]
fn on_a_host_what_is_in_the_way_keeps_or_gives_up_its_place() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world.backup();
    world.tamper(|| {
        ["home", "srv"].map(|volume| advance_on_disk(volume, "zbackup-other-1", "echo 1"))
    });
    sh("echo own > /tank/home/own; zfs snapshot tank/home@own
        zfs destroy -r tank/srv
        zfs create -o org.me:plan=daily tank/other; zfs snapshot tank/other@1
        zfs send -p tank/other@1 | zfs receive -o mountpoint=/tank/elsewhere -o quota=300M tank/srv
        zfs destroy -r tank/other; zfs destroy tank/srv@1
        echo mine > /tank/elsewhere/mine; zfs snapshot tank/srv@mine
        zfs allow -l nobody snapshot,hold tank/srv; zfs allow -s @few mount tank/home
        mount -o remount,bind,nosuid /tank/home");
    let delegated = ["tank/home", "tank/srv"].map(|name| sh(&format!("zfs allow {name}")));
    let listing = || sh("zfs list -Hpt all -o name,guid -r tank");
    let before = listing();

    // In use: nothing is moved.
    let mut user = std::process::Command::new("sleep")
        .arg("infinity")
        .current_dir("/tank/home")
        .spawn()
        .unwrap();
    let run = world.zbackup(&["os", "--keep-both", "/home"]).exits(3);
    user.kill().unwrap();
    user.wait().unwrap();
    run.says("/tank/home cannot be unmounted")
        .says("--force /srv");
    assert_eq!(listing(), before);
    assert_eq!(sh("cat /tank/home/own /tank/elsewhere/mine"), "own\nmine");

    let run = world.zbackup(&["--json", "os", "--keep-both", "/home", "--force", "/srv"]);
    let done = volumes(&run.exits(0));
    let kept = format!("tank/home-kept-{}", sh("date +%F"));
    let reason = done["/home"]["reason"].as_str().unwrap();
    assert!(reason.contains(&kept), "{reason}");
    // Each is where it will be after the next start of the host.
    assert_eq!(sh("findmnt -no SOURCE /tank/home"), "tank/home");
    assert_eq!(sh("zfs get -Ho value canmount tank/home"), "on");
    assert_eq!(sh(&format!("findmnt -no SOURCE /{kept}")), kept);
    for place in ["tank/home", &kept] {
        let options = sh(&format!("findmnt -no OPTIONS /{place}"));
        assert!(options.contains("nosuid"), "{place}: {options}");
    }
    assert_eq!(sh(&format!("cat /{kept}/own /tank/home/news")), "own\n1");
    assert_eq!(
        done["/srv"]["destroys"],
        serde_json::json!(["tank/srv@mine"])
    );
    assert_eq!(sh("findmnt -no SOURCE /tank/elsewhere"), "tank/srv");
    assert_eq!(sh("cat /tank/elsewhere/news"), "1");
    assert_eq!(
        sh("zfs get -Hpo value,source quota,mountpoint tank/srv"),
        "314572800\tlocal\n/tank/elsewhere\tlocal"
    );
    // What the host's tools and users go by, also where a stream had brought it.
    assert_eq!(sh("zfs get -Ho value org.me:plan tank/srv"), "daily");
    for (name, delegated) in ["tank/home", "tank/srv"].into_iter().zip(delegated) {
        assert_ne!(delegated, "", "{name}");
        assert_eq!(sh(&format!("zfs allow {name}")), delegated);
    }
    assert_eq!(
        sh("zfs list -Ho name -r tank"),
        format!("tank\ntank/home\n{kept}\ntank/srv")
    );

    // A forced increment into what is mounted.
    sh(
        "echo own > /tank/elsewhere/own; zfs snapshot tank/srv@own; echo more > /tank/elsewhere/own",
    );
    world.tamper(|| advance_on_disk("srv", "zbackup-other-2", "echo 2"));
    let run = world.zbackup(&["--json", "os", "/srv", "--force", "/srv"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/srv"]["action"], "incremental");
    assert_eq!(
        done["/srv"]["destroys"],
        serde_json::json!(["tank/srv@own"])
    );
    assert_eq!(
        sh("cat /tank/elsewhere/news; ls /tank/elsewhere"),
        "2\nb\nnews"
    );
}
