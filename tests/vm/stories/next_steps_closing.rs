//! A container that cannot be opened or closed: somebody looks for the reason where the message says,
//! ends that, and expects that the next `zbackup close` or run is a plain one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::container::{PASSPHRASE, damage_header};
use crate::support::world::assert_nothing_open;
use crate::support::{Container, Running, World, sh, type_in, zbackup, zbackup_with_fault};

/// A program that has this device open until it is killed.
fn holder(device: &str) -> Child {
    let mut child = Command::new("bash")
        .args([
            "-ec",
            &format!("exec 9<{device}; echo ready; exec sleep infinity"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .expect("it is ready");
    assert_eq!(line, "ready\n");
    child
}

#[test]
// walks: import-failed, mapping-busy, left-unlocked, not-closed, interrupted-wake-up
fn a_container_whose_pool_or_mapping_is_in_trouble() {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh("echo a > /tank/home/a");
    let mapping = format!("/dev/mapper/zbackup-{}", world.usb.partuuid());

    // ZFS refuses, and is asked by hand: the container is closed by then.
    let run = zbackup_with_fault("zpool_import_props:error", &["usb"]).exits(1);
    assert_nothing_open();
    let mut looked = run.advises("See what ZFS says about it");
    looked[0] = format!("printf %s '{PASSPHRASE}' | {}", looked[0]);
    let said = type_in(&looked);
    assert!(
        said.contains("pool: backup") && said.contains("ONLINE"),
        "{said}"
    );
    world.zbackup(&["usb"]).exits(0);

    // Somebody has the container open, for the run and for `close`.
    let run = Running::start_with_fault("zpool_export:SIGSTOP", &["usb"]).stops();
    let mut user = holder(&mapping);
    let run = run
        .signal(Signal::SIGCONT)
        .ends()
        .exits(1)
        .says("NOT SAFE to unplug: USB device is still unlocked. To lock it: zbackup close");
    for run in [run, zbackup(&["close"]).exits(1)] {
        let look = run.stderr.lines().find_map(|line| {
            let (_, advice) = line.split_once("See what uses it (")?;
            Some(advice.split_once(')')?.0.to_owned())
        });
        let seen = sh(&format!("({}) 2>&1", look.expect("it tells how to see")));
        assert!(seen.contains(&format!("{} ", user.id())), "{seen}");
    }
    user.kill().unwrap();
    user.wait().unwrap();
    world.zbackup(&["close"]).exits(0).says("Safe to unplug");

    // Somebody opens it again as soon as it is closed.
    let run = Running::start_with_fault("verdict:SIGSTOP", &["usb"]).stops();
    let open = format!(
        "printf %s '{PASSPHRASE}' | cryptsetup open --disable-keyring {} {}",
        world.usb.partition(),
        mapping.trim_start_matches("/dev/mapper/")
    );
    sh(&open);
    run.signal(Signal::SIGCONT)
        .ends()
        .exits(1)
        .says("the disk is not closed")
        .says("Run `zbackup close`");
    world.zbackup(&["close"]).exits(0).says("Safe to unplug");

    // The pool waits for its disk, and so does whoever closes it.
    // Where the key is in its table, the mapping can be given back what it has lost.
    sh(&format!(
        "{open}; zpool import -N -o cachefile=none -d {mapping} backup
         dmsetup table --showkeys {mapping} > /run/table
         dmsetup load {mapping} --table \"0 $(blockdev --getsz {mapping}) error\"
         dmsetup suspend --noflush --nolockfs {mapping}; dmsetup resume {mapping}"
    ));
    let mut waiting = Command::new("zfs")
        .args(["snapshot", "backup@waits"])
        .spawn()
        .unwrap();
    sh("until grep -q SUSPENDED /proc/spl/kstat/zfs/backup/state; do :; done");
    Running::start(&["close"])
        .says("bringing it back")
        .signal(Signal::SIGINT)
        .ends()
        .exits(130)
        .says("run `zbackup close` again");
    sh(&format!(
        "dmsetup load {mapping} /run/table; dmsetup suspend --noflush --nolockfs {mapping}
         dmsetup resume {mapping}; rm /run/table"
    ));
    world.zbackup(&["close"]).exits(0).says("Safe to unplug");
    waiting.wait().unwrap();
    world.zbackup(&["usb"]).exits(0);
}

/// TrueCrypt keeps a copy of the header at the end of the disk, and what it opens can be read.
#[test]
// walks: damaged-header
fn a_container_whose_header_is_damaged() {
    let world = World::with_container(&["/home"], Container::Truecrypt);
    sh("echo a > /tank/home/a");
    world.backup();
    damage_header(world.usb);
    let run = world.zbackup(&["usb"]).exits(1);
    let (_, told) = run.stderr.split_once("the header is damaged").unwrap();
    let (_, told) = told.split_once('(').unwrap();
    let (command, _) = told.split_once(')').unwrap();
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    sh(&format!(
        "printf %s '{PASSPHRASE}' | {command} {} by-hand
         zpool import -N -o readonly=on -o cachefile=none -d /dev/mapper/by-hand backup",
        world.usb.partition()
    ));
    let file = "mkdir -p /mnt/look; mount -t zfs -o ro backup/home@$(zfs list -Hpt snapshot -o name \
        backup/home | sed 's/.*@//') /mnt/look; cat /mnt/look/a; umount /mnt/look";
    assert_eq!(sh(file), "a");
    sh("zpool export backup; cryptsetup close by-hand");
}

/// What opens it takes a cipher that the kernel has in a module, which somebody has forbidden.
#[test]
// walks: no-cipher-module
fn a_cipher_whose_module_is_not_loaded() {
    let world = World::with_container(&["/home"], Container::OldTruecrypt);
    sh(
        "echo 'install algif_skcipher /bin/false' > /etc/modprobe.d/no-skcipher.conf
        modprobe -r algif_skcipher",
    );
    let run = zbackup(&["usb"]);
    sh("rm /etc/modprobe.d/no-skcipher.conf");
    run.exits(1).says("(modprobe algif_skcipher)");
    assert_nothing_open();
    sh("modprobe algif_skcipher");
    world.backup();
}
