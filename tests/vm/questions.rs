//! `-v` asks before every single manipulation of the disk; each answer is honoured.

use crate::support::world::assert_nothing_open;
use crate::support::{Container, Dialogue, World, sh, zbackup};

fn world() -> World {
    let world = World::with_container(&["/home", "/srv"], Container::Luks2);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world
}

#[test]
fn yes_to_everything_does_everything() {
    let world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    for question in [
        "unlock",
        "import",
        "snapshot",
        "tank/home@",
        "tank/srv@",
        "export",
    ] {
        talk.sees(question).sees("[Y/n]").types("y");
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, 0);
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn no_to_the_unlock_touches_nothing() {
    let _world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.sees("unlock").sees("[Y/n]").types("n");
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r tank"), "");
}

#[test]
fn no_to_the_import_locks_the_disk_again() {
    let _world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.sees("unlock").sees("[Y/n]").types("y");
    talk.sees("import").sees("[Y/n]").types("n");
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(screen.contains("afe to unplug"), "{screen}");
    assert_nothing_open();
}

#[test]
fn no_to_the_snapshot_skips_every_volume() {
    let _world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    for (question, answer) in [
        ("unlock", "y"),
        ("import", "y"),
        ("snapshot", "n"),
        ("export", "y"),
    ] {
        talk.sees(question).sees("[Y/n]").types(answer);
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(screen.contains("skipped"), "{screen}");
    assert_nothing_open();
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r tank"), "");
}

#[test]
fn no_to_one_transfer_skips_that_volume_alone() {
    let world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    for (question, answer) in [
        ("unlock", "y"),
        ("import", "y"),
        ("snapshot", "y"),
        ("tank/home@", "n"),
        ("tank/srv@", "y"),
        ("export", "y"),
    ] {
        talk.sees(question).sees("[Y/n]").types(answer);
    }
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
    assert_eq!(
        world.inspect(|| sh("zfs list -Ho name -r backup")),
        "backup\nbackup/srv"
    );
}

#[test]
fn no_to_the_export_leaves_the_disk_open_and_says_so() {
    let _world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    for question in ["unlock", "import", "snapshot", "tank/home@", "tank/srv@"] {
        talk.sees(question).sees("[Y/n]").types("y");
    }
    talk.sees("export").sees("[Y/n]").types("n");
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("zbackup close"), "{screen}");
    assert!(!screen.contains("Safe to unplug"), "{screen}");
    assert_eq!(sh("zpool list -Ho name backup"), "backup");
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
fn v_without_a_terminal_is_a_usage_error() {
    let world = world();
    world.zbackup(&["-v", "usb"]).exits(2).says("-y");
    world.zbackup(&["-v", "-y", "usb"]).exits(0);
}

#[test]
fn a_passphrase_is_asked_for_three_times() {
    let mut world = world();
    world.container = Container::Luks2;
    let config = world
        .config()
        .replace("passphrase-file = /etc/zbackup.passphrase\n", "");
    std::fs::write("/etc/zbackup.ini", config).unwrap();
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

#[test]
fn a_signal_ends_all_questions() {
    let _world = world();
    let mut talk = Dialogue::start(&["-v", "usb"]);
    talk.sees("unlock").sees("[Y/n]").types("y");
    talk.sees("import").sees("[Y/n]").interrupts();
    let (code, screen) = talk.ends();
    assert_eq!(code, 130, "{screen}");
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
}

#[test]
fn what_is_open_is_closed_only_when_agreed_to() {
    let mut world = world();
    world.device("mount-point = /mnt/usb");
    world.backup();
    // Declined, `open` mounts nothing, and closes the disk when that is agreed to.
    let mut talk = Dialogue::start(&["-v", "open"]);
    for (question, answer) in [
        ("unlock", "y"),
        ("import", "y"),
        ("mount", "n"),
        ("export", "y"),
    ] {
        talk.sees(question).sees("[Y/n]").types(answer);
    }
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
    let mut talk = Dialogue::start(&["-v", "open"]);
    for question in [
        "unlock",
        "import",
        "mount the volumes of backup below /mnt/usb",
    ] {
        talk.sees(question).sees("[Y/n]").types("y");
    }
    assert_eq!(talk.ends().0, 0);
    assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    // It stays as it is, for a run and for `close`.
    for verb in ["usb", "close"] {
        let mut talk = Dialogue::start(&["-v", verb]);
        talk.sees("still open")
            .sees("export backup and lock")
            .sees("[Y/n]")
            .types("n");
        let (code, screen) = talk.ends();
        assert_eq!(code, 3, "{screen}");
        assert!(screen.contains("NOT SAFE to unplug"), "{screen}");
        assert_eq!(sh("cat /mnt/usb/backup/home/a"), "a");
    }
    let mut talk = Dialogue::start(&["-v", "close"]);
    talk.sees("export backup and lock").sees("[Y/n]").types("y");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();
}

#[test]
fn the_parent_that_only_holds_a_place_is_asked_for() {
    let world = World::new(&["/home", "/home/vic"]);
    let mut talk = Dialogue::start(&["-v", "usb", "/home/vic"]);
    for (question, answer) in [
        ("import", "y"),
        ("create backup/home as an empty parent", "n"),
        ("export", "y"),
    ] {
        talk.sees(question).sees("[Y/n]").types(answer);
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert_nothing_open();
    assert_eq!(
        world.inspect(|| sh("zfs list -Ho name -r backup")),
        "backup"
    );
    let mut talk = Dialogue::start(&["-v", "usb", "/home/vic"]);
    for question in [
        "import",
        "create backup/home as an empty parent",
        "snapshot",
        "tank/home/vic@",
        "export",
    ] {
        talk.sees(question).sees("[Y/n]").types("y");
    }
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
        for (question, answer) in answers {
            talk.sees(question).sees("[Y/n]").types(answer);
        }
        let (code, screen) = talk.ends();
        assert_eq!(code, 3, "{screen}");
        assert_nothing_open();
        assert_eq!(names(), left);
        assert_eq!(sh("cat /tank/home/a"), "a", "it is still mounted");
    }
    let mut talk = Dialogue::start(&["-v", "os", "--keep-both", "/home"]);
    for question in ["import", rename, "full backup/home@", unmount] {
        talk.sees(question).sees("[Y/n]").types("y");
    }
    talk.sees("Unmounted /tank/home (tank/home) for a moment");
    talk.sees("export").sees("[Y/n]").types("y");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert_nothing_open();
    assert!(names().contains("tank/home-kept-"), "{}", names());
}
