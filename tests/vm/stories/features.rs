//! People whose disk is older than their host, or made for older hosts: its pool lacks features that
//! the host's volumes use. They expect that what can travel does, and to be told by name what cannot,
//! before anything is done, with commands that change it.

use crate::support::world::{advance_on_disk, volumes};
use crate::support::{Hosts, World, sh, try_sh, type_in};

const KEY: &str = "-o encryption=on -o keyformat=raw -o keylocation=file:///root/key";

/// Makes the disk's pool anew, without these features.
fn make_disk_without(world: &World, features: &[&str]) {
    // A feature that needs another one turns that on as well. A release names those that it has.
    let is_known =
        |feature: &&str| sh(&format!("zpool upgrade -v | grep -c '^{feature}' || true")) != "0";
    let dependants = ["large_microzap"].into_iter().filter(is_known);
    let without: Vec<_> = (features.iter().copied())
        .chain(dependants)
        .map(|feature| format!("-o feature@{feature}=disabled"))
        .collect();
    sh(&format!(
        "zpool create -f -O mountpoint=/backup -O atime=off {} backup {}; zpool export backup",
        without.join(" "),
        world.usb.partition()
    ));
}

/// What a volume was refused for.
#[track_caller]
fn needs(volume: &serde_json::Value) -> &str {
    assert_eq!(volume["conflict"], "needs-feature", "{volume}");
    assert_eq!(volume["outcome"], "refused", "{volume}");
    volume["reason"].as_str().unwrap()
}

/// The disk was made on another system, the host uses what is new: Zstandard, large records, dnodes
/// of automatic size.
#[test]
// walks: avoid-feature, enable-feature
fn what_can_travel_does_and_what_cannot_is_named() {
    let mut world = World::new(&[]);
    let lacking = ["zstd_compress", "large_dnode", "large_blocks"];
    make_disk_without(&world, &lacking);
    sh(&format!(
        "head -c 32 /dev/urandom > /root/key
         zfs create -o compression=zstd tank/zstd; zfs create -o recordsize=1M tank/large
         zfs create -o dnodesize=auto tank/dnode; zfs create {KEY} -o compression=zstd tank/secret
         zfs create -V 16M -o compression=zstd tank/zvol; zfs create tank/later
         zfs create -o dnodesize=auto tank/back; echo a > /tank/back/a; zpool sync tank; zfs set dnodesize=legacy tank/back
         head -c 2M /dev/zero | tr '\\0' a > /tank/zstd/a; cp /tank/zstd/a /tank/secret/a
         head -c 3M /dev/urandom > /tank/large/a; echo a > /tank/dnode/a; echo a > /tank/later/a
         udevadm wait --timeout=30 /dev/zvol/tank/zvol; head -c 1M /dev/urandom > /dev/zvol/tank/zvol; sync"
    ));
    world.configure(&[
        "/zstd", "/large", "/dnode", "/secret", "/zvol", "/later", "/back",
    ]);

    let dry = volumes(&world.zbackup(&["--json", "-n", "usb"]).exits(3));
    assert_eq!(dry["/dnode"]["conflict"], "needs-feature");
    let run = volumes(&world.zbackup(&["--json", "usb"]).exits(3));
    for volume in ["/zstd", "/large", "/zvol", "/later"] {
        assert_eq!(run[volume]["outcome"], "done", "{}", run[volume]);
    }
    for volume in ["zstd", "large", "later"] {
        let (disk, host) = (format!("backup/{volume}"), format!("tank/{volume}"));
        assert_eq!(world.files_on_disk(&disk), world.files_on_host(&host));
    }
    for (volume, feature) in [
        ("/dnode", "large_dnode"),
        ("/secret", "zstd_compress"),
        // A file was made with it: what is set now does not tell.
        ("/back", "large_dnode"),
    ] {
        let reason = needs(&run[volume]);
        let command = format!("zpool set feature@{feature}=enabled backup");
        assert!(reason.contains(&command), "{reason}");
    }
    assert_eq!(sh("zfs list -Ht snapshot tank/dnode tank/secret"), "");

    // An incremental stream needs no less.
    sh("zfs set dnodesize=auto tank/later; echo b > /tank/later/b; zpool sync tank");
    let run = volumes(&world.zbackup(&["--json", "usb", "/later"]).exits(3));
    needs(&run["/later"]);
    assert_eq!(
        sh("zfs list -Ht snapshot -o name tank/later")
            .lines()
            .count(),
        1
    );

    // What the message says leads on: files can do without what is new.
    sh("zfs create -o dnodesize=legacy tank/plain; cp -a /tank/dnode/. /tank/plain");
    world.configure(&["/plain"]);
    world.zbackup(&["usb", "/plain"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/plain"),
        world.files_on_host("tank/dnode")
    );
    // Or the disk's pool gets it.
    world.configure(&[
        "/zstd", "/large", "/dnode", "/secret", "/zvol", "/later", "/back",
    ]);
    for volume in ["/secret", "/dnode"] {
        let run = world.zbackup(&["usb", volume]).exits(3);
        type_in(&run.advises("To enable that for good"));
    }
    sh("echo b > /tank/zstd/b; echo b > /tank/large/b");
    world.backup();
    for volume in ["zstd", "large", "dnode", "later"] {
        let (disk, host) = (format!("backup/{volume}"), format!("tank/{volume}"));
        assert_eq!(world.files_on_disk(&disk), world.files_on_host(&host));
    }
}

/// The same the other way round: the disk holds what the host's pool does not take. That one is
/// restricted to what older hosts know.
#[test]
// walks: compatibility-off
fn a_host_whose_pool_is_older_takes_what_it_can() {
    let mut hosts = Hosts::new(&[]);
    sh(
        "zpool create -f -O mountpoint=/cave -O atime=off -o feature@zstd_compress=disabled \
        -o feature@large_dnode=disabled cave /dev/disk/by-id/virtio-HOST2",
    );
    hosts.guids[1] = sh("zpool get -Hpo value guid cave");
    // What it can do without these.
    sh("zpool get -Ho property,value all cave | sed -n 's/^feature@\\(.*\\)\\t\\(enabled\\|active\\)$/\\1/p' > /etc/older-hosts
        zpool set compatibility=/etc/older-hosts cave; zpool export cave");
    let world = &hosts.world;
    hosts.configure("volume = /zstd\n /dnode", "", "");
    sh(
        "zfs create -o compression=zstd tank/zstd; head -c 1M /dev/zero | tr '\\0' a > /tank/zstd/a
        zfs create -o dnodesize=auto tank/dnode; echo a > /tank/dnode/a",
    );
    world.backup();
    let files = world.files_on_host("tank/zstd");

    hosts.travel("tank", "cave");
    let run = volumes(&world.zbackup(&["--json", "os"]).exits(3));
    assert_eq!(run["/zstd"]["outcome"], "done", "{}", run["/zstd"]);
    assert_eq!(world.files_on_host("cave/zstd"), files);
    needs(&run["/dnode"]);
    let run = world.zbackup(&["os"]).exits(3);
    let [enable, unrestrict] = ["To enable that for good", "the first `zpool set` has to be"]
        .map(|words| run.advises(words).swap_remove(0));
    assert_eq!(enable, "zpool set feature@large_dnode=enabled cave");
    assert_ne!(
        try_sh(&enable).0,
        0,
        "ZFS keeps to what it is restricted to"
    );
    type_in(&[unrestrict, enable]);
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /cave/dnode/a"), "a");
}

/// A disk of the times before there were features.
#[test]
// walks: bookmarks-v2
fn a_pool_without_any_feature_takes_a_backup() {
    let world = World::new(&["/home"]);
    let partition = world.usb.partition();
    sh(&format!(
        "zpool create -f -d -O mountpoint=/backup backup {partition}; zpool export backup"
    ));
    sh("head -c 2M /dev/zero | tr '\\0' a > /tank/home/a; echo tiny > /tank/home/b");
    world.backup();
    sh("echo more >> /tank/home/b");
    world.backup();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    assert_eq!(world.backup()["/home"]["action"], "up-to-date");
    // Nothing could tell from which of the old snapshots another host continues.
    let old = || world.inspect(|| sh("zfs list -Hpt snapshot -o name -d 1 backup/home"));
    let run = world.zbackup(&["usb", "-s", "1"]).exits(0);
    assert_eq!(old().lines().count(), 2);
    type_in(&run.advises("bookmarks cannot stand in for them yet"));
    let run = world.zbackup(&["usb", "-s", "1"]).exits(0);
    assert!(!run.stderr.contains("cannot stand in"), "{}", run.stderr);
    assert_eq!(old().lines().count(), 1);
}

/// Large records are split on a disk that does not know them. Back on the host that has them whole,
/// no increment fits.
#[test]
fn split_records_are_kept_beside_the_whole_ones() {
    let mut world = World::new(&[]);
    make_disk_without(&world, &["large_blocks"]);
    sh("zfs create -o recordsize=1M tank/large; head -c 3M /dev/urandom > /tank/large/a");
    world.configure(&["/large"]);
    world.backup();
    world.tamper(|| advance_on_disk("large", "zbackup-other", "head -c 1M /dev/urandom"));
    let run = volumes(&world.zbackup(&["--json", "os"]).exits(3));
    let reason = needs(&run["/large"]);
    assert!(
        reason.contains("over a pool without the feature large_blocks"),
        "{reason}"
    );
    world.zbackup(&["os", "--keep-both", "/large"]).exits(0);
    let guid = |pool: &str| {
        sh(&format!(
            "zfs get -Hpo value guid {pool}/large@zbackup-other"
        ))
    };
    assert_eq!(guid("tank"), world.inspect(|| guid("backup")));
}

/// Somebody brings a volume back by hand, and the stream has no large records: nothing on the host says
/// that it ever had some.
#[test]
fn what_was_restored_without_its_large_records_is_kept_aside() {
    let mut world = World::new(&[]);
    sh("zfs create -o recordsize=1M tank/large; head -c 3M /dev/urandom > /tank/large/a");
    world.configure(&["/large"]);
    world.backup();
    world.tamper(|| {
        sh("zfs send $(zfs list -Hpt snapshot -o name -d 1 backup/large) | zfs receive tank/restored")
    });
    sh(
        "zfs rename tank/large tank/old; zfs rename tank/restored tank/large; echo b > /tank/large/b",
    );
    let run = volumes(&world.zbackup(&["--json", "usb"]).exits(3));
    let reason = needs(&run["/large"]);
    assert!(reason.contains("only with -L"), "{reason}");
    world.zbackup(&["usb", "--keep-both", "/large"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/large"),
        world.files_on_host("tank/large")
    );
}
