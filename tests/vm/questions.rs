//! `-v` asks before every single manipulation of the disk; each answer is honoured.

use crate::support::container::PASSPHRASE_FILE;
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{Container, Dialogue, World, sh, zbackup};

/// A host with two volumes, and an empty disk.
fn world() -> World {
    let world = World::with_container(&["/home", "/srv"], Container::Luks2);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world
}

/// Answers the questions of `usb`; insists on its exit code, on what it says, and that nothing is open.
#[track_caller]
fn backup_with(answers: &[(&str, &str)], expected: i32, said: &str) {
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.answers(answers);
    let (code, screen) = talk.ends();
    assert_eq!(code, expected, "{answers:?}: {screen}");
    assert!(screen.contains(said), "{answers:?}: {screen}");
    assert!(!screen.contains("NOT SAFE"), "{answers:?}: {screen}");
    assert_nothing_open();
}

#[test]
// walks: verbose-without-terminal
fn each_answer_to_a_backups_questions_is_honoured() {
    let world = world();
    let (unlock, import, export) = (("unlock", "y"), ("import", "y"), ("export", "y"));
    backup_with(&[("unlock", "n")], 3, "Safe to unplug");
    backup_with(&[unlock, ("import", "n")], 3, "Safe to unplug");
    a_signal_ends_all_questions();
    backup_with(&[unlock, import, ("snapshot", "n"), export], 3, "skipped");
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r tank"), "");
    let records = "zfs get -Ho property -s local all";
    assert_eq!(sh(&format!("{records} tank | grep zbackup || true")), "");
    let on_disk = world.inspect(|| sh(&format!("{records} backup | grep zbackup || true")));
    assert_eq!(on_disk, "", "it was no visit");

    let snapshot = ("snapshot", "y");
    let (home, srv) = (("tank/home@", "y"), ("tank/srv@", "y"));
    let no_home = [unlock, import, snapshot, ("tank/home@", "n"), srv, export];
    backup_with(&no_home, 3, "skipped");
    let on_disk = world.inspect(|| sh("zfs list -Ho name -r backup"));
    assert_eq!(on_disk, "backup\nbackup/srv", "one is skipped alone");

    sh("echo c > /tank/home/c; echo d > /tank/srv/d");
    let yes = [unlock, import, snapshot, home, srv, export];
    backup_with(&yes, 0, "Safe to unplug");
    for volume in ["home", "srv"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }

    sh("echo e > /tank/home/e; echo f > /tank/srv/f");
    no_to_the_export(&[unlock, import, snapshot, home, srv, ("export", "n")]);
    world.zbackup(&["-v", "usb"]).exits(2).says("-y");
    sh("echo g > /tank/home/g");
    world.zbackup(&["-v", "-y", "usb"]).exits(0);
}

fn a_signal_ends_all_questions() {
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.answers(&[("unlock", "y")]);
    talk.sees("import").sees("[Y/n]").interrupts();
    let (code, screen) = talk.ends();
    assert_eq!(code, 130, "{screen}");
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
}

/// The disk stays open, and that is said.
// walks: declined-close
fn no_to_the_export(answers: &[(&str, &str)]) {
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.answers(answers);
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("zbackup close"), "{screen}");
    assert!(!screen.contains("Safe to unplug"), "{screen}");
    assert_eq!(sh("zpool list -Ho name backup"), "backup");
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
fn a_passphrase_and_what_is_open() {
    let mut world = world();
    a_passphrase_is_asked_for_three_times(&world);
    world.device("mount-point = /mnt/usb");
    world.backup();
    no_to_the_mount();
    what_is_open_is_closed_only_when_agreed_to();
}

// walks: wrong-passphrase
fn a_passphrase_is_asked_for_three_times(world: &World) {
    let config = world
        .config()
        .replace(&format!("passphrase-file = {PASSPHRASE_FILE}\n"), "");
    std::fs::write(CONFIG, config).unwrap();
    let mut talk = Dialogue::start(&["usb"]);
    for _ in 0..3 {
        talk.sees("Passphrase of").types("wrong");
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, 1);
    assert!(
        !screen.contains("wrong\r"),
        "what was typed is not shown: {screen}"
    );
    assert_nothing_open();

    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("Passphrase of").types("not this one either");
    talk.sees("Passphrase of")
        .types("correct horse battery staple");
    assert_eq!(talk.ends().0, 0);
    assert_nothing_open();

    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("Passphrase of").interrupts();
    assert_eq!(talk.ends().0, 130);
    assert_nothing_open();
}

/// Declined, `open` mounts nothing, and closes the disk when that is agreed to.
fn no_to_the_mount() {
    let mut talk = Dialogue::start(&["-v", "open"]);
    talk.answers(&[
        ("unlock", "y"),
        ("import", "y"),
        ("mount", "n"),
        ("export", "y"),
    ]);
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
}

fn what_is_open_is_closed_only_when_agreed_to() {
    let mut talk = Dialogue::start(&["-v", "open"]);
    talk.answers(&[
        ("unlock", "y"),
        ("import", "y"),
        ("mount the volumes of backup below /mnt/usb", "y"),
    ]);
    assert_eq!(talk.ends().0, 0);
    assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    // It stays as it is, for a run and for `close`.
    for verb in ["usb", "close"] {
        let mut talk = Dialogue::start(&["-v", verb]);
        talk.sees("still open")
            .answers(&[("export backup and lock", "n")]);
        let (code, screen) = talk.ends();
        assert_eq!(code, 3, "{screen}");
        assert!(screen.contains("NOT SAFE to unplug"), "{screen}");
        assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    }
    let mut talk = Dialogue::start(&["-v", "close"]);
    talk.answers(&[("export backup and lock", "y")]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
}

#[test]
fn the_parent_that_only_holds_a_place_is_asked_for() {
    let world = World::new(&["/home", "/home/vic"]);
    let mut talk = Dialogue::start(&["-v", "usb", "/home/vic"]);
    talk.answers(&[
        ("import", "y"),
        ("create backup/home as an empty parent", "n"),
        ("export", "y"),
    ]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert_nothing_open();
    assert_eq!(
        world.inspect(|| sh("zfs list -Ho name -r backup")),
        "backup"
    );
    let mut talk = Dialogue::start(&["-v", "usb", "/home/vic"]);
    talk.answers(&[
        ("import", "y"),
        ("create backup/home as an empty parent", "y"),
        ("snapshot", "y"),
        ("tank/home/vic@", "y"),
        ("export", "y"),
    ]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert_nothing_open();
}

#[test]
fn keeping_both_asks_for_the_name_and_for_the_mount() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.tamper(|| {
        sh("zfs create -o canmount=noauto backup/home; zfs snapshot backup/home@theirs")
    });
    let names = || sh("zfs list -Ho name -r tank");
    let rename = "rename tank/home to tank/home-kept-";
    let unmount = "unmount /tank/home (tank/home)";
    // The new copy arrives beside the old one; a swap that is declined leaves it there.
    for (answers, left) in [
        (
            vec![("import", "y"), (rename, "n"), ("export", "y")],
            "tank\ntank/home",
        ),
        (
            vec![
                ("import", "y"),
                (rename, "y"),
                ("full backup/home@", "y"),
                (unmount, "n"),
                ("export", "y"),
            ],
            "tank\ntank/home\ntank/home-zbackup-arriving",
        ),
    ] {
        let mut talk = Dialogue::start(&["-v", "os", "--keep-both", "/home"]);
        talk.answers(&answers);
        let (code, screen) = talk.ends();
        assert_eq!(code, 3, "{screen}");
        assert_nothing_open();
        assert_eq!(names(), left);
        assert_eq!(sh("cat /tank/home/a"), "a", "it is still mounted");
    }
    let mut talk = Dialogue::start(&["-v", "os", "--keep-both", "/home"]);
    talk.answers(&[
        ("import", "y"),
        (rename, "y"),
        ("full backup/home@", "y"),
        (unmount, "y"),
    ]);
    talk.sees("Unmounted /tank/home (tank/home) for a moment");
    talk.answers(&[("export", "y")]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert_nothing_open();
    assert!(names().contains("tank/home-kept-"), "{}", names());
}
