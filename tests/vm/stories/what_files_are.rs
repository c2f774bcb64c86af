//! Somebody sets `acltype=posix` and `xattr=sa` once, at the pool's root, and expects that files have
//! their access control lists and attributes wherever they come to: on the disk that `zbackup open`
//! shows, on the next host, in what replaces a volume there, and also if a copy is older than that.

use crate::support::attributes::{self, ACL, readable_by_1000};
use crate::support::world::volumes;
use crate::support::{Hosts, sh, zbackup};

fn value_and_source(name: &str, dataset: &str) -> String {
    sh(&format!("zfs get -Hpo value,source {name} {dataset}"))
}

/// A file with a list and an attribute.
fn write(path: &str) {
    sh(&format!("echo kept > {path}; chmod 600 {path}"));
    attributes::set(path, ACL, &readable_by_1000());
    attributes::set(path, "user.note", b"kept");
}

#[track_caller]
fn assert_whole(path: &str) {
    assert_eq!(attributes::get(path, ACL), Ok(readable_by_1000()), "{path}");
    assert_eq!(
        attributes::get(path, "user.note").as_deref(),
        Ok(&b"kept"[..]),
        "{path}"
    );
}

#[test]
fn access_lists_set_up_at_the_pools_root_are_on_the_open_disk_and_on_the_next_host() {
    let mut hosts = Hosts::new(&["/home"]);
    // A copy as an earlier version made it: before the lists, and remembering less.
    hosts.world.backup();
    hosts.world.tamper(|| {
        sh(
            "zfs inherit acltype backup/home; zfs inherit xattr backup/home
            zfs inherit org.zbackup:source-file-properties backup/home",
        );
    });
    sh("zfs set acltype=posix xattr=sa tank
        zfs create -o casesensitivity=insensitive -o normalization=formD -o utf8only=on tank/new
        zfs create tank/other");
    write("/tank/home/file");
    write("/tank/new/file");
    write("/tank/other/file");
    hosts.world.configure(&["/home", "/new", "/other"]);
    hosts.world.device("mount-point = /mnt/usb");
    let world = &hosts.world;
    world.backup();

    zbackup(&["open"]).exits(0);
    for name in ["home", "new", "other"] {
        let path = format!("/mnt/usb/backup/{name}/file");
        assert_whole(&path);
        // What people do with an open disk.
        sh(&format!(
            "cp -a --preserve=all {path} /tank/home/{name}-again"
        ));
        assert_whole(&format!("/tank/home/{name}-again"));
    }
    world.zbackup(&["close"]).exits(0);

    // A property that changes alone is remembered by the next run too.
    sh("rm /tank/home/*-again; zfs set aclinherit=passthrough tank");
    let up_to_date = world.backup();
    assert_eq!(up_to_date["/new"]["action"], "up-to-date");
    let remembered = world.inspect(|| {
        sh("zfs get -Ho value org.zbackup:source-file-properties backup/home backup/new")
    });
    for json in remembered.lines() {
        assert!(json.contains(r#""aclinherit":"passthrough""#), "{json}");
        assert!(json.contains(r#""acltype":"posix""#), "{json}");
    }

    hosts.configure("volume = /home\n  /new\n  /other", "", "");
    hosts.travel("tank", "cave");
    sh(
        "zfs create -o quota=300M -o setuid=off -o xattr=off -o org.me:note=mine cave/other; echo mine > /cave/other/mine",
    );
    let run = world
        .zbackup(&["--json", "os", "--force", "/other"])
        .exits(0);
    let arrived = volumes(&run);
    for (volume, name) in [("/home", "home"), ("/new", "new"), ("/other", "other")] {
        assert_eq!(arrived[volume]["outcome"], "done", "{arrived:?}");
        assert_whole(&format!("/cave/{name}/file"));
        let aclinherit = value_and_source("aclinherit", &format!("cave/{name}"));
        assert_eq!(aclinherit, "passthrough\tlocal", "{name}");
    }
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    // What is there already needs no setting of its own, and a place keeps what is the place's.
    assert_eq!(value_and_source("aclmode", "cave/home"), "discard\tdefault");
    assert_eq!(value_and_source("setuid", "cave/other"), "off\tlocal");
    assert_eq!(value_and_source("quota", "cave/other"), "314572800\tlocal");
    assert_eq!(value_and_source("org.me:note", "cave/other"), "mine\tlocal");
    assert_eq!(
        sh("zfs get -Ho value casesensitivity,normalization,utf8only cave/new"),
        "insensitive\nformD\non"
    );
}
