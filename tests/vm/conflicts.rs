//! Ways out of conflicts: `--force` destroys exactly what was listed, `--keep-both` destroys
//! nothing, and without either nothing changes.
//!
//! What a pool holds is compared before and after by names and guids, as `zfs list` tells them.

use crate::support::world::{assert_nothing_open, volumes};
use crate::support::{Dialogue, World, sh, zbackup};

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

#[test]
fn without_a_way_out_nothing_changes() {
    for world in [diverged(), foreign()] {
        // What has no conflict is to be up to date: the disk as a whole is compared.
        world.zbackup(&["usb", "/srv"]).exits(0);
        let (before, on_host) = (disk(&world), sh("zfs list -Hpt all -o name,guid -r tank"));
        let run = world.zbackup(&["--json", "usb", "/home"]).exits(3);
        let home = &volumes(&run)["/home"];
        assert_eq!(home["outcome"], "refused");
        let reason = home["reason"].as_str().unwrap();
        assert!(reason.contains("--force /home"), "{reason}");
        assert!(reason.contains("--keep-both /home"), "{reason}");
        assert_eq!(disk(&world), before);
        assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), on_host);
    }
}

#[test]
fn force_destroys_exactly_what_it_lists() {
    let world = diverged();
    let base = history(&world, "backup/home");
    let base = base.lines().next().unwrap();
    let planned = world.zbackup(&["-n", "--json", "usb", "--force", "/home"]);
    let planned = volumes(&planned.exits(0));
    let listed = serde_json::json!(["backup/home@theirs-1", "backup/home@theirs-2"]);
    assert_eq!(planned["/home"]["destroys"], listed);

    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/home"]["destroys"], listed);
    assert_eq!(done["/home"]["action"], "incremental");
    assert_eq!(done["/srv"]["destroys"], serde_json::json!([]));
    let short = done["/home"]["snapshot"].as_str().unwrap();
    let guid = done["/home"]["snapshot_guid"].as_str().unwrap();
    assert_eq!(
        history(&world, "backup/home"),
        format!("{base}\n{short}\t{guid}")
    );
    let bookmarks = world.inspect(|| sh("zfs list -Hpt bookmark -o name backup/home"));
    assert!(!bookmarks.contains("#theirs"), "{bookmarks}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_held_snapshot_is_never_destroyed() {
    let world = diverged();
    world.tamper(|| sh("zfs hold keep backup/home@theirs-1"));
    let before = disk(&world);
    let run = world.zbackup(&["--json", "usb", "/home", "--force", "/home"]);
    let home = &volumes(&run.exits(3))["/home"];
    assert!(home["reason"].as_str().unwrap().contains("is held"));
    assert_eq!(disk(&world), before);
    world.tamper(|| sh("zfs release keep backup/home@theirs-1"));
}

#[test]
fn keep_both_keeps_all_and_finds_free_names() {
    let world = diverged();
    let theirs = history(&world, "backup/home");
    let kept = format!("backup/home-kept-{}", sh("date +%F"));
    let run = world.zbackup(&["--json", "usb", "--keep-both", "/home"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/home"]["action"], "full");
    assert_eq!(done["/home"]["destroys"], serde_json::json!([]));
    let reason = done["/home"]["reason"].as_str().unwrap();
    assert!(reason.contains(&kept), "{reason}");
    assert_eq!(history(&world, &kept), theirs);
    let written = world.inspect(|| sh(&format!("zfs get -Hpo value written {kept}")));
    assert_ne!(written, "0", "what no snapshot held is there too");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    // Once more on the same day, and then nothing is in the way.
    sh("echo third > /tank/home/a");
    world.tamper(|| {
        sh(&format!(
            "{}; zfs snapshot backup/home@again",
            scribble("four")
        ))
    });
    let run = world.zbackup(&["--json", "usb", "--keep-both", "/home"]);
    let reason = volumes(&run.exits(0))["/home"]["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains(&format!("{kept}-2")),
        "{reason}"
    );
    sh("echo fourth > /tank/home/a");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
    assert_eq!(history(&world, &kept), theirs);
}

#[test]
fn force_replaces_what_has_nothing_in_common() {
    let world = foreign();
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let done = volumes(&run.exits(0));
    assert_eq!(done["/home"]["action"], "full");
    let listed = serde_json::json!(["backup/home@precious"]);
    assert_eq!(done["/home"]["destroys"], listed);
    assert_eq!(run_warnings(&world), "");
    let names = world.inspect(|| sh("zfs list -Ho name -r backup"));
    assert_eq!(names, "backup\nbackup/home\nbackup/srv");
    let properties = world.inspect(|| sh("zfs get -Ho value readonly,canmount backup/home"));
    assert_eq!(properties, "on\nnoauto");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    sh("echo aa > /tank/home/a");
    assert_eq!(world.backup()["/home"]["action"], "incremental");
}

/// The warnings of a dry run, one a line.
fn run_warnings(world: &World) -> String {
    let document = world.zbackup(&["-n", "--json", "usb"]).json();
    let warnings = document["warnings"].as_array().unwrap();
    let lines: Vec<_> = warnings
        .iter()
        .map(|one| one.as_str().unwrap().to_owned())
        .collect();
    lines.join("\n")
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
fn the_question_on_a_terminal_means_no_unless_yes_is_typed() {
    let world = diverged();
    world.zbackup(&["usb", "/srv"]).exits(0);
    let (before, on_host) = (disk(&world), sh("zfs list -Hpt all -o name,guid -r tank"));
    for options in [&["usb"][..], &["-y", "usb"]] {
        let arguments = [options, &["/home", "--force", "/home"]].concat();
        let mut talk = Dialogue::start(&arguments);
        talk.sees("backup/home@theirs-1")
            .sees("[y/N]")
            .types("")
            .sees("skipped");
        assert_eq!(talk.ends().0, 3);
        assert_nothing_open();
        assert_eq!(disk(&world), before);
        assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), on_host);
    }
    let mut talk = Dialogue::start(&["usb", "--force", "/home"]);
    talk.sees("[y/N]").types("y");
    assert_eq!(talk.ends().0, 0);
    assert_nothing_open();
    assert!(!history(&world, "backup/home").contains("theirs"));
}

#[test]
fn what_came_after_the_question_is_not_covered_by_the_answer() {
    let world = diverged();
    let before = history(&world, "backup/home");
    let mut talk = Dialogue::start(&["usb", "--force", "/home"]);
    talk.sees("[y/N]");
    sh("zfs snapshot backup/home@late");
    talk.types("y").sees("backup/home@late is new");
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("refused"), "{screen}");
    assert_nothing_open();
    let after = history(&world, "backup/home");
    assert!(after.starts_with(&before), "{after}");
    assert!(after.contains("late\t"), "{after}");
    let bookmarks = world.inspect(|| sh("zfs list -Hpt bookmark -o name backup/home"));
    assert!(bookmarks.contains("#theirs"), "{bookmarks}");
}

#[test]
fn another_tools_broken_off_receive_is_left_alone_unless_forced() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a
        zfs create tank/other; dd if=/dev/urandom of=/tank/other/data bs=1M count=16 status=none
        zfs snapshot tank/other@syncoid_1");
    world.tamper(|| {
        sh("(zfs send tank/other@syncoid_1 || true) | head -c 8M | zfs receive -s -u backup/home || true")
    });
    let token = || world.inspect(|| sh("zfs get -Hpo value receive_resume_token backup/home"));
    let before = token();
    assert!(before.len() > 20, "{before}");
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(volumes(&run)["/home"]["conflict"], "foreign-resume-state");
    assert_eq!(token(), before);
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    assert_eq!(volumes(&run.exits(0))["/home"]["action"], "full");
    assert_eq!(token(), "-");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
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
