//! People who change a key: because somebody has left, or because it was seen. They expect the disk's
//! copies to open with the new one, and nothing on the host to be locked out.

use crate::support::world::volumes;
use crate::support::{Hosts, World, sh, try_sh};

/// A root and two volumes that are encrypted with its key, in words that somebody types.
const MAKE: &str = "echo old-password | zfs create -o encryption=on -o keyformat=passphrase -o \
    keylocation=prompt -o pbkdf2iters=100000 tank/secret
    zfs create tank/secret/a; zfs create tank/secret/b
    for volume in secret secret/a secret/b; do echo first > /tank/$volume/file; done";

/// True where this opens the dataset.
fn opens(password: &str, dataset: &str) -> bool {
    let (code, ..) = try_sh(&format!("echo {password} | zfs load-key -n {dataset}"));
    code == 0
}

/// Insists that these copies on the disk open with this, and with nothing older.
#[track_caller]
fn assert_copies_open(world: &World, password: &str, copies: &[&str]) {
    world.inspect(|| {
        for copy in copies {
            assert!(
                opens(password, copy),
                "{copy} does not open with {password}"
            );
            assert!(
                !opens("old-password", copy),
                "{copy} opens with the old one"
            );
        }
    });
}

/// After `zfs change-key` only one of the children is written to, then nothing at all.
#[test]
fn copies_open_with_the_new_key_whatever_was_written() {
    const COPIES: [&str; 3] = ["backup/secret", "backup/secret/a", "backup/secret/b"];
    let mut world = World::new(&[]);
    world.configure(&["/secret", "/secret/a", "/secret/b", "/file", "/file/a"]);
    sh(MAKE);
    sh(
        "for key in key new-key; do head -c 32 /dev/urandom > /root/$key; done
        zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/file
        zfs create tank/file/a",
    );
    world.backup();

    sh(
        "echo new-password | zfs change-key tank/secret; echo more > /tank/secret/a/file
        zfs change-key -o keyformat=raw -o keylocation=file:///root/new-key tank/file",
    );
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("opens with the key of tank/secret/b"),
        "{warnings}"
    );
    assert_copies_open(&world, "new-password", &COPIES);
    world.inspect(|| {
        for copy in ["file", "file/a"] {
            sh(&format!(
                "zfs load-key -n -L file:///root/new-key backup/{copy}"
            ));
        }
    });
    for (volume, state) in world.backup() {
        assert_eq!(state["action"], "up-to-date", "{volume}");
    }

    sh("echo newest-password | zfs change-key tank/secret");
    world.backup();
    assert_copies_open(&world, "newest-password", &COPIES);
}

/// Locks all of tank/secret and opens it again, as a restart does.
fn reopen(password: &str) {
    sh(&format!(
        "zfs unmount tank/secret; zfs unload-key tank/secret; echo {password} | zfs load-key tank/secret
         for volume in secret secret/a secret/b; do zfs mount tank/$volume; done"
    ));
}

/// The host's key is newer than the disk's, and the disk has something newer for one of the children:
/// with the old key in it, that one would never open again.
#[test]
fn a_child_is_not_locked_out_by_the_disks_old_key() {
    let hosts = Hosts::new(&[]);
    let world = &hosts.world;
    hosts.configure("volume = /secret\nrecursive = yes", "", "");
    sh(MAKE);
    world.backup();
    sh("echo new-password | zfs change-key tank/secret");
    let advance = |volume: &str| {
        sh(&format!(
            "zfs snapshot -o org.zbackup:created=then backup/{volume}@zbackup-other"
        ))
    };
    world.tamper(|| advance("secret/a"));

    let run = volumes(&world.zbackup(&["--json", "os"]).exits(3));
    let reason = run["/secret/a"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("nothing would open it any more"),
        "{reason}"
    );
    reopen("new-password");
    assert_eq!(sh("cat /tank/secret/a/file"), "first");

    // A parent alone would lock out its children.
    world.tamper(|| advance("secret"));
    let run = volumes(&world.zbackup(&["--json", "os", "/secret"]).exits(3));
    let reason = run["/secret"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("nothing would open tank/secret/"),
        "{reason}"
    );
    reopen("new-password");

    // All together have one key again, the disk's.
    world.tamper(|| advance("secret/b"));
    world
        .zbackup(&["os"])
        .exits(0)
        .says("opens with the key of backup/secret");
    reopen("old-password");
    assert_eq!(
        sh("cat /tank/secret/a/file /tank/secret/b/file"),
        "first\nfirst"
    );
}
