//! Volumes that ZFS itself encrypts: they travel raw, and no run needs their keys.

use crate::support::world::volumes;
use crate::support::{Hosts, World, sh};

const MAKE: &str = "head -c 32 /dev/urandom > /root/key
    zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/secret";

/// Loads the key and mounts; the way of somebody who works there.
fn unlock(dataset: &str) {
    sh(&format!(
        "zfs load-key -L file:///root/key {dataset}; zfs mount {dataset}"
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
            zfs set readonly=off backup/secret; mount -t zfs -o zfsutil backup/secret /mnt/look
            echo new > /mnt/look/a; umount /mnt/look; zfs set readonly=on backup/secret
            zfs snapshot -o org.zbackup:created=then backup/secret@zbackup-other; zfs unload-key backup/secret")
    });
    let came = world.zbackup(&["--json", "os"]).exits(0);
    assert_eq!(volumes(&came)["/secret"]["action"], "incremental");
    assert_eq!(sh("cat /tank/secret/a"), "new");
}
