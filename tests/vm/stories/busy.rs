//! Somebody uses the disk in their own way when it is to be closed: a file system on its zvol, an image
//! in it, a directory that they have exported. They are told what it is, do what they are told to, and
//! the disk can be unplugged.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::exports::Exports;
use crate::support::world::assert_nothing_open;
use crate::support::{Container, Dialogue, Other, World, sh, zbackup};

/// A zvol of the disk that somebody has given a device.
const NODE: &str = "/dev/zvol/backup/disk";
/// Where the disk's /home is mounted.
const HOME: &str = "/mnt/usb/backup/home";

/// Insists that closing fails with all of these words, and does what it says.
#[track_caller]
fn told(words: &[&str]) {
    let run = zbackup(&["--json", "close"]).exits(1);
    let document = run.json();
    assert_eq!(document["safe_to_unplug"], false);
    done(&document, words);
}

/// The same for a run that has ended. What to do stands in brackets, one step a line; a program that is
/// to be ended has its number there.
#[track_caller]
fn done(document: &Value, words: &[&str]) {
    let message = document["error"]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word}: {document}");
    }
    let next = document["error"]["next"].as_str().unwrap();
    let (steps, last) = next.rsplit_once('\n').expect(next);
    assert!(last.contains("run `zbackup close`"), "{next}");
    for step in steps.lines() {
        let (_, command) = step.rsplit_once('(').expect(step);
        let (command, _) = command.rsplit_once(')').expect(step);
        match command.strip_prefix("pid ") {
            Some(pid) => ended(pid.split(',').next().unwrap()),
            None => drop(sh(command)),
        }
    }
}

fn ended(pid: &str) {
    sh(&format!(
        "kill -9 {pid}; while grep -q '^State:.[^Z]' /proc/{pid}/status; do true; done"
    ));
}

/// /home and the zvol /disk are on the disk, which is open for writing.
fn opened() -> World {
    let mut world = World::new(&["/home", "/disk=16M"]);
    sh("head -c 1M /dev/urandom > /tank/home/a; mkdir /tank/home/within");
    world.device("mount-point = /mnt/usb");
    world.backup();
    zbackup(&["open", "--rw"]).exits(0);
    world
}

fn closes() {
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();
}

#[test]
// walks: end-program, end-mount, end-mapping, end-loop, end-swap, end-elsewhere
fn whoever_uses_a_zvol_of_the_disk_is_named() {
    let _world = opened();
    sh(&format!(
        "zfs set readonly=off backup/disk; zfs set volmode=dev backup/disk
         udevadm wait --timeout=30 {NODE}; udevadm settle; mkdir -p /mnt/second"
    ));
    let is_busy = format!("{NODE} is in use: it ");

    let user = Other::starts(&format!("exec 3<{NODE}; echo ready"));
    told(&[&format!("{is_busy}is open in {}", user.name())]);
    drop(user);

    sh(&format!("mkswap -q {NODE}; swapon {NODE}"));
    told(&[&format!("{is_busy}is swap space")]);

    sh(&format!("mkfs.ext4 -q -F {NODE}; mount {NODE} /mnt/second"));
    let user = Other::starts("cd /mnt/second; echo ready");
    told(&[
        &format!("{is_busy}is mounted at /mnt/second"),
        &format!("it is used by {}", user.name()),
    ]);
    drop(user);

    sh(&format!(
        "dmsetup create user --table \"0 $(blockdev --getsz {NODE}) linear {NODE} 0\"
         mount /dev/mapper/user /mnt/second"
    ));
    told(&[&format!(
        "{is_busy}belongs to the mapping user, which is mounted at /mnt/second"
    )]);

    let node = sh(&format!("losetup --show -f {NODE}"));
    told(&[&format!("{is_busy}belongs to {node}")]);
    sh(&format!("mount -o loop {NODE} /mnt/second"));
    told(&[&is_busy, "which is mounted at /mnt/second"]);

    let container = Other::in_a_container("private", &format!("mount {NODE} /mnt/second"));
    told(&[
        &is_busy,
        &container.name(),
        "at /mnt/second in a mount namespace of its own",
    ]);
    drop(container);
    closes();
}

#[test]
// walks: end-export, end-overlay
fn whatever_keeps_a_file_system_of_the_disk_is_named() {
    let _world = opened();
    sh(&format!(
        "mkdir -p /mnt/image /mnt/second
         truncate -s 8M {HOME}/image; mkfs.ext4 -q {HOME}/image
         mount $(losetup --show -f {HOME}/image) /mnt/image"
    ));
    told(&[
        &format!("{HOME}/image belongs to /dev/loop"),
        "which is mounted at /mnt/image",
    ]);
    sh(&format!("mount -t tmpfs theirs {HOME}/within"));
    told(&[&format!("within {HOME} is mounted theirs (tmpfs)")]);

    // As exportfs and mountd tell the kernel, and as the former takes it back.
    let _exports = Exports::of(HOME);
    told(&[&format!("NFS exports {HOME} to everybody")]);

    // What was unmounted, and still is in use.
    let is_in_use = "backup/home is in use: ";
    let user = Other::starts(&format!("exec 3<{HOME}/a; umount -l {HOME}; echo ready"));
    told(&[is_in_use, "still open in", &user.name()]);
    drop(user);

    sh("mount -t zfs -o zfsutil backup/home /mnt/second");
    let user = Other::starts(
        "exec python3 -c 'import mmap, os, time
with open(\"/mnt/second/a\", \"rb\") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
os.system(\"umount -l /mnt/second\")
print(\"ready\", flush=True)
time.sleep(10000)'",
    );
    told(&[is_in_use, "still open in python3"]);
    drop(user);

    let snapshot = sh("zfs list -Hpt snapshot -o name backup/home");
    let mut send = Command::new("zfs")
        .args(["send", &snapshot])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    send.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    told(&[&format!("zfs (pid {}", send.id()), "is at work in it"]);
    send.wait().unwrap();

    let container =
        Other::in_a_container("private", "mount -t zfs -o zfsutil backup/home /mnt/second");
    // Its statistics go on with the name that it was mounted by.
    sh("zfs rename -u backup/home backup/other");
    told(&["backup/other is in use: ", &container.name()]);
    drop(container);
    sh("zfs rename -u backup/other backup/home");

    sh("mount -t zfs -o zfsutil backup/home /mnt/second
        mkdir -p /mnt/over; mount -t overlay -o lowerdir=/mnt/second:/mnt/image theirs /mnt/over");
    told(&[is_in_use, "such as an overlay"]);
    let options = sh("findmnt -nt overlay -o TARGET,OPTIONS");
    assert!(options.contains("lowerdir=/mnt/second"), "{options}");
    sh("umount /mnt/over");
    closes();
}

#[test]
// walks: mapping-busy, left-unlocked
fn whoever_uses_the_container_is_named() {
    let world = World::with_container(&["/home"], Container::Luks2);
    let mapping = format!("/dev/mapper/zbackup-{}", world.usb.partuuid());
    let mut talk = Dialogue::start_with_fault("zpool_export:SIGSTOP", &["--json", "usb"]);
    talk.is_stopped();
    let user = Other::starts(&format!("exec 3<{mapping}; echo ready"));
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 1, "{screen}");
    let told_first = screen.lines().find(|line| line.contains("stays open"));
    assert_eq!(
        told_first.unwrap().matches("remove ioctl").count(),
        1,
        "{screen}"
    );
    for words in [
        &format!("{mapping} is in use: it is open in {}", user.name()),
        "NOT SAFE to unplug",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    told(&["is open in", &user.name()]);
    drop(user);
    closes();
}
