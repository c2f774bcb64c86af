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
