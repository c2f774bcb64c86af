//! Whatever goes wrong, and wherever: the disk is closed or the user knows what to do, nothing that
//! was there is lost, and the next run is a plain one.
//!
//! Each test takes one kind of trouble through every place of a run, see `src/fault.rs`.

use std::process::{Command, Stdio};

use crate::support::world::assert_nothing_open;
use crate::support::{Container, World, program, sh};

/// A backup's way through the C libraries, in order, and what it does with the disk there.
const BACKUP: [(&str, Disk); 15] = [
    ("crypt_load", Disk::Open),
    ("zpool_search_import", Disk::Open),
    ("lzc_sync", Disk::Open),
    ("zfs_iter_snapshots", Disk::Open),
    ("zpool_import_props", Disk::Open),
    ("disk-inventory", Disk::Open),
    ("lzc_snapshot", Disk::Open),
    ("lzc_bookmark", Disk::Open),
    ("lzc_send_resume_redacted", Disk::Open),
    ("lzc_receive_with_cmdprops", Disk::Open),
    ("stream-end", Disk::Open),
    ("lzc_channel_program", Disk::Open),
    ("lzc_destroy_snaps", Disk::Open),
    ("zpool_export", Disk::Closing),
    ("crypt_deactivate_by_name", Disk::Closing),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Open,
    Closing,
}

/// How a run with a fault ended.
struct Ended {
    code: Option<i32>,
    said: String,
}

impl Ended {
    fn is_called_safe(&self) -> bool {
        self.said.contains("Safe to unplug")
    }
}

fn with_fault(place: &str, kind: &str, arguments: &[&str]) -> Ended {
    let (place, nth) = place.split_once(':').unwrap_or((place, "1"));
    let fault = format!("{place}:{kind}:{nth}");
    let output = Command::new(program())
        .args(arguments)
        .env("ZBACKUP_FAULT", &fault)
        .stdin(Stdio::null())
        .output()
        .expect("zbackup starts");
    let said = [output.stdout, output.stderr].concat();
    let ended = Ended {
        code: output.status.code(),
        said: String::from_utf8(said).expect("text"),
    };
    println!(
        "$ {fault} zbackup {arguments:?}\n{}{:?}",
        ended.said, ended.code
    );
    ended
}

/// Takes `kind` through every place. After each, `check` looks at what is left, and a plain run has
/// to succeed; at the end everything is on the disk.
fn everywhere(kind: &str, check: impl Fn(&str, Disk, &Ended)) {
    let mut world = World::with_container(&["/home", "/home/vic"], Container::Luks2);
    world.device("mount-point = /mnt/usb\nsave-last-snapshots = 3");
    sh("echo 0 > /tank/home/a; echo 0 > /tank/home/vic/a");
    world.backup();
    for (number, (place, disk)) in BACKUP.into_iter().enumerate() {
        sh(&format!(
            "echo {number} > /tank/home/a; echo {number} > /tank/home/vic/a"
        ));
        let ended = with_fault(place, kind, &["usb"]);
        let struck = ended.said.contains("injected") || ended.code.is_none();
        assert!(struck, "{place} is not on the way: {}", ended.said);
        check(place, disk, &ended);
        world.zbackup(&["usb"]).exits(0);
    }
    for (verb, place) in [("open", "zfs_mount_at"), ("close", "umount2")] {
        if verb == "close" {
            crate::support::zbackup(&["open"]).exits(0);
        }
        with_fault(place, kind, &[verb]);
        world.zbackup(&["close"]).exits(0);
    }
    for volume in ["home", "home/vic"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }
    let newest = |dataset| {
        sh(&format!(
            "zfs list -Hpt snapshot -d 1 -o guid -S createtxg {dataset} | head -n 3"
        ))
    };
    assert_eq!(world.inspect(|| newest("backup/home")), newest("tank/home"));
}

#[test]
fn an_error_at_every_place() {
    everywhere("error", |place, disk, ended| {
        if disk == Disk::Closing {
            assert!(!ended.is_called_safe(), "{}", ended.said);
            assert!(ended.said.contains("zbackup close"), "{}", ended.said);
            assert_eq!(ended.code, Some(1));
            return;
        }
        assert_nothing_open();
        assert!(ended.is_called_safe(), "{}", ended.said);
        // What the next run makes up for is a warning at most.
        let bad = !matches!(
            place,
            "lzc_bookmark" | "lzc_channel_program" | "lzc_destroy_snaps"
        );
        assert_eq!(ended.code != Some(0), bad, "{place}: {}", ended.said);
    });
}

/// The signal ends the run where it stands, or after the last step that still had to be done.
fn a_signal(kind: &str, code: i32) {
    everywhere(kind, |place, _, ended| {
        assert_nothing_open();
        let ends = [Some(code), Some(0)].contains(&ended.code);
        assert!(ends, "{place}: {:?}", ended.code);
        assert!(ended.is_called_safe(), "{place}: {}", ended.said);
    });
}

#[test]
fn ctrl_c_at_every_place() {
    a_signal("SIGINT", 130);
}

#[test]
fn sigterm_at_every_place() {
    a_signal("SIGTERM", 143);
}

#[test]
fn a_kill_at_every_place() {
    // Nobody can tidy up behind it: the plain run that follows does.
    everywhere("SIGKILL", |_, _, ended| {
        assert_eq!(ended.code, None);
        assert!(!ended.is_called_safe(), "{}", ended.said);
    });
}

#[test]
fn a_panic_at_every_place() {
    everywhere("panic", |place, _, ended| {
        assert_nothing_open();
        assert_eq!(ended.code, Some(1), "{place}");
        assert!(ended.said.contains("zbackup has a bug"), "{}", ended.said);
        assert!(ended.is_called_safe(), "{place}: {}", ended.said);
    });
}

#[test]
fn a_panic_in_the_middle_of_a_transfer() {
    let world = World::with_container(&["/home"], Container::Luks2);
    world.backup();
    sh("head -c 64M /dev/urandom > /tank/home/big; zpool sync tank");
    let ended = with_fault("stream-middle", "panic", &["usb"]);
    assert_nothing_open();
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("zbackup has a bug"), "{}", ended.said);
    assert!(ended.is_called_safe(), "{}", ended.said);
    world.backup();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
