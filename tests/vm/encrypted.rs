//! Volumes that ZFS itself encrypts: they travel raw, and no run needs their keys.

use crate::support::world::{assert_nothing_open, volumes};
use crate::support::{Hosts, World, sh};

const MAKE: &str = "head -c 32 /dev/urandom > /root/key
    zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/secret";

/// Loads the key and mounts, as somebody does who works there.
fn unlock(dataset: &str) {
    sh(&format!("zfs load-key -L file:///root/key {dataset}"));
    mount(dataset);
}

/// Mounts what has come in a raw stream, read-only at first.
///
/// The first time that it is mounted for writing with its key, OpenZFS begins to count its users'
/// space beside the mount, and can panic where the two meet in one block (issues 9046 and 11679).
fn mount(dataset: &str) {
    sh(&format!(
        "zfs mount -o ro {dataset}; mount -o remount,rw $(zfs get -Ho value mountpoint {dataset})"
    ));
}

#[test]
fn round_trip_without_keys_and_with_work_on_both_hosts() {
    let hosts = Hosts::new(&[]);
    let world = &hosts.world;
    hosts.configure("volume = /secret", "", "");
    sh(MAKE);
    sh(
        "echo stays > /tank/secret/a; echo old > /tank/secret/b; head -c 3M /dev/urandom > /tank/secret/c",
    );
    world.backup();
    assert_eq!(
        world.inspect(|| sh("zfs get -Hpo value encryption,keystatus backup/secret")),
        "aes-256-gcm\nunavailable"
    );

    for round in 0..3 {
        hosts.travel("tank", "cave");
        let came = world.zbackup(&["--json", "os"]).exits(0);
        assert_eq!(
            sh("zfs get -Hpo value encryption,keystatus cave/secret"),
            "aes-256-gcm\nunavailable"
        );
        assert_eq!(volumes(&came)["/secret"]["outcome"], "done");
        unlock("cave/secret");
        assert_eq!(sh("cat /cave/secret/a"), "stays");
        sh(&format!(
            "echo {round} > /cave/secret/b; rm /cave/secret/c; head -c 3M /dev/urandom > /cave/secret/c"
        ));
        world.backup();
        let files = world.files_on_host("cave/secret");

        hosts.travel("cave", "tank");
        let came = world.zbackup(&["--json", "os"]).exits(0);
        assert_eq!(volumes(&came)["/secret"]["action"], "incremental");
        unlock("tank/secret");
        assert_eq!(world.files_on_host("tank/secret"), files, "round {round}");
        sh("echo back >> /tank/secret/b; zpool scrub -w tank");
        assert_eq!(sh("zpool status -x tank"), "pool 'tank' is healthy");
        world.backup();
    }
}

#[test]
fn a_volume_that_is_unlocked_and_in_use_receives() {
    let mut world = World::new(&[]);
    world.configure(&["/secret"]);
    sh(MAKE);
    sh("echo old > /tank/secret/a");
    world.backup();
    world.tamper(|| {
        sh("zfs load-key -L file:///root/key backup/secret; mkdir -p /mnt/look
            zfs set readonly=off backup/secret; mount -t zfs -o ro,zfsutil backup/secret /mnt/look
            mount -o remount,rw /mnt/look; echo new > /mnt/look/a; umount /mnt/look; zfs set readonly=on backup/secret
            zfs snapshot -o org.zbackup:created=then backup/secret@zbackup-other; zfs unload-key backup/secret")
    });
    let came = world.zbackup(&["--json", "os"]).exits(0);
    assert_eq!(volumes(&came)["/secret"]["action"], "incremental");
    assert_eq!(sh("cat /tank/secret/a"), "new");
}

/// A child that is encrypted with its parent's key arrives as a dataset with a key of its own, which is
/// the same one, and comes back into the one that inherits.
#[test]
fn a_child_that_inherits_its_key_goes_there_and_back() {
    const VOLUMES: [&str; 2] = ["/secret", "/secret/inner"];
    let hosts = Hosts::new(&[]);
    let world = &hosts.world;
    hosts.configure("volume = /secret\nrecursive = yes", "", "");
    sh(MAKE);
    sh("zfs create tank/secret/inner; echo out > /tank/secret/a; echo in > /tank/secret/inner/a");
    world.backup();

    hosts.travel("tank", "cave");
    world.zbackup(&["--json", "os"]).exits(0);
    for volume in VOLUMES {
        unlock(&format!("cave{volume}"));
    }
    assert_eq!(sh("cat /cave/secret/a /cave/secret/inner/a"), "out\nin");
    sh("echo there >> /cave/secret/a; echo there >> /cave/secret/inner/a");
    world.backup();

    hosts.travel("cave", "tank");
    // An import may write an encrypted dataset's intent log anew, which is no change.
    world.zbackup(&["os"]).exits(0);

    let state = sh("zfs get -Hpo value encryptionroot,keystatus tank/secret/inner");
    assert_eq!(state, "tank/secret\nunavailable");
    unlock("tank/secret");
    mount("tank/secret/inner");
    let files = sh("cat /tank/secret/a /tank/secret/inner/a");
    assert_eq!(files, "out\nthere\nin\nthere");
    sh("echo back >> /tank/secret/inner/a; zpool scrub -w tank");
    assert_eq!(sh("zpool status -x tank"), "pool 'tank' is healthy");
    world.backup();
}

/// Whatever would mix clear and encrypted, or two lineages, is refused and changes nothing.
#[test]
// walks: encrypt-too, encrypted-root
fn encryption_that_does_not_match_is_refused() {
    let mut world = World::new(&["/clear", "/par", "/par/vol"]);
    sh(MAKE);
    sh("zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/iv
        echo first > /tank/iv/a; zfs snapshot tank/iv@1; echo second > /tank/iv/a; zfs snapshot tank/iv@2
        for volume in secret clear par/vol; do echo $volume > /tank/$volume/a; done");
    let encrypted = "-u -o encryption=on -o keyformat=raw -o keylocation=file:///root/key";
    world.tamper(|| {
        sh(&format!(
            "zfs create -u backup/secret; zfs snapshot backup/secret@precious
             zfs create {encrypted} backup/clear; zfs create {encrypted} backup/par
             zfs send -w tank/iv@1 | zfs receive -u backup/iv
             zfs load-key -L file:///root/key backup/iv
             zfs send -i @1 tank/iv@2 | zfs receive -u backup/iv"
        ))
    });
    world.configure(&["/secret", "/clear", "/par/vol", "/iv"]);
    let all =
        || world.inspect(|| sh("zfs list -Hpt all -o name,guid,written,encryption -r backup"));
    let (before, on_host) = (all(), sh("zfs list -Hpt all -o name,guid -r tank"));
    let expected = [
        ("/secret", "tank/secret is encrypted, backup/secret is not"),
        ("/clear", "backup/clear is encrypted, tank/clear is not"),
        (
            "/par/vol",
            "backup/par is encrypted, so backup/par/vol below it",
        ),
        ("/iv", "the IV sets of backup/iv@2"),
    ];
    let forced = ["/secret", "/clear", "/par/vol", "/iv"].map(|volume| ["--force", volume]);
    let forced = [&["--json", "usb"][..], forced.as_flattened()].concat();
    for (arguments, refused) in [(&["--json", "usb"][..], false), (&forced, true)] {
        let run = world.zbackup(arguments).exits(3);
        let found = volumes(&run);
        for (volume, why) in expected {
            let one = &found[volume];
            assert_eq!(one["conflict"], "encryption-mismatch", "{one}");
            let reason = one["reason"].as_str().unwrap();
            assert!(reason.contains(why), "{reason}");
            assert_eq!(reason.contains("is refused"), refused, "{reason}");
        }
    }
    let found = volumes(&world.zbackup(&["--json", "os"]).exits(3));
    let reason = found["/secret"]["reason"].as_str().unwrap();
    let why = "tank/secret is encrypted, backup/secret is not";
    assert!(reason.contains(why), "{reason}");
    assert_eq!(found["/secret"]["conflict"], "encryption-mismatch");
    assert_eq!(all(), before);
    assert_eq!(sh("zfs list -Hpt all -o name,guid -r tank"), on_host);

    // Renamed aside, the old copy is in nobody's way.
    let run = world.zbackup(&[
        "--json",
        "usb",
        "/iv",
        "/secret",
        "--keep-both",
        "/iv",
        "--keep-both",
        "/secret",
    ]);
    assert_eq!(volumes(&run.exits(0))["/iv"]["action"], "full");
    let encryption = sh("zfs get -Hpo value encryption tank/secret");
    assert_eq!(
        world.inspect(|| sh("zfs get -Hpo value encryption backup/secret backup/iv")),
        format!("{encryption}\n{encryption}")
    );

    // What is below an encrypted dataset there is encrypted here too, or left out.
    let of_par = |arguments: &[&str]| world.zbackup(&[&["usb"], arguments].concat());
    of_par(&["/par/vol"])
        .exits(3)
        .says("Encrypt tank/par/vol too, or leave it out");
    sh(&format!(
        "zfs rename tank/par/vol tank/par/clear; zfs create {encrypted} tank/par/vol
         zfs mount tank/par/vol; cp -a /tank/par/clear/. /tank/par/vol"
    ));
    of_par(&["/par/vol"]).exits(0);

    // A pool that is encrypted from its root on is no disk for now.
    let make = |options: &str| {
        sh(&format!(
            "zpool create -f -O mountpoint=none {options} backup {}; zpool export backup",
            world.usb.partition()
        ))
    };
    make("-O encryption=on -O keyformat=raw -O keylocation=file:///root/key");
    let run = world.zbackup(&["usb"]).exits(1);
    run.says("the disk's pool backup is encrypted by ZFS at its root")
        .says("Use a disk whose pool is not")
        .says("Safe to unplug");
    assert_nothing_open();
    make("");
    world.zbackup(&["usb"]).exits(0);
    let encryption = "zfs get -Hpo value encryption backup/secret backup/clear";
    assert_eq!(world.inspect(|| sh(encryption)), "off\naes-256-gcm");
}
