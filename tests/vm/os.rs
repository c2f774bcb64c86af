//! `zbackup os`: what the disk holds comes to a host, and nothing of the host's own is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use openzfs::XATTR_ON;
use serde_json::Value;

use crate::support::world::{advance_on_disk, volumes};
use crate::support::{Dialogue, Hosts, World, sh};

/// Short names and guids of a dataset's snapshots, oldest first.
fn history(dataset: &str) -> String {
    sh(&format!(
        "zfs list -Hpt snapshot -o name,guid -s createtxg -d 1 {dataset} | sed 's/.*@//'"
    ))
}

fn property(name: &str, dataset: &str) -> String {
    sh(&format!("zfs get -Hpo value,source {name} {dataset}"))
}

/// What a run on another host would leave.
fn comes_from_another_host(volume: &str) {
    advance_on_disk(volume, "zbackup-other", "echo from another host");
}

/// OpenZFS 2.3 and later have made another kind of extended attributes the usual one.
fn is_2_3() -> bool {
    XATTR_ON == "sa"
}

/// The kind of extended attributes that `on` is not short for, and that is shown by its own word.
fn xattr() -> &'static str {
    if is_2_3() { "dir" } else { "sa" }
}

/// Properties of the data that OpenZFS 2.1 has not, with other values than the default.
const SINCE_2_3: [(&str, &str); 2] = [("direct", "disabled"), ("prefetch", "metadata")];

/// What is about a place, such as the mountpoint and the share, is not the disk's to carry. Returns by
/// which of its two words this release shows /home/vic's kind of extended attributes, and from where.
fn set_properties_on_tank() -> String {
    let xattr = xattr();
    sh(&format!(
        "zfs set compression=gzip recordsize=16K quota=300M acltype=posix xattr={xattr} tank/home
        zfs set mountpoint=/tank/home/vic xattr=on tank/home/vic
        zfs set sharenfs=ro tank/home/vic || true"
    ));
    if is_2_3() {
        for (name, value) in SINCE_2_3 {
            sh(&format!("zfs set {name}={value} tank/home"));
        }
    }
    property("xattr", "tank/home/vic")
}

/// What /home and /home/vic have on the second host: the data's own properties, nothing of the place.
#[track_caller]
fn assert_properties_on_cave(xattr_of_vic: &str) {
    for (name, value) in [
        ("compression", "gzip\tlocal"),
        ("recordsize", "16384\tlocal"),
        ("acltype", "posix\tlocal"),
        ("xattr", &format!("{}\tlocal", xattr())),
        ("readonly", "off\tlocal"),
        ("mountpoint", "/cave/home\tinherited from cave"),
        ("quota", "0\tdefault"),
        ("mounted", "yes\t-"),
        ("canmount", "on\tlocal"),
    ] {
        assert_eq!(property(name, "cave/home"), value, "{name}");
    }
    for (name, value) in [
        ("mountpoint", "/cave/home/vic\tinherited from cave"),
        ("sharenfs", "off\tdefault"),
        ("xattr", xattr_of_vic),
    ] {
        assert_eq!(property(name, "cave/home/vic"), value, "{name}");
    }
    assert_eq!(property("volmode", "cave/disk"), "default\tlocal");
    if is_2_3() {
        for (name, value) in SINCE_2_3 {
            assert_eq!(property(name, "cave/home"), format!("{value}\tlocal"));
        }
    }
}

#[test]
fn changes_travel_from_host_to_host_and_back() {
    let hosts = Hosts::new(&["/home", "/home/vic", "/disk=16M"]);
    let world = &hosts.world;
    hosts.configure("volume = /home\n  /home/vic\n  /disk", "", "");
    let xattr_of_vic = set_properties_on_tank();
    sh(
        "echo stays > /tank/home/a; echo old > /tank/home/b; echo vic > /tank/home/vic/c
        udevadm wait --timeout=30 /dev/zvol/tank/disk
        head -c 1M /dev/urandom | dd of=/dev/zvol/tank/disk conv=fsync status=none",
    );
    world.backup();
    let zvol = |pool: &str| {
        sh(&format!(
            "zfs get -Hpo value volsize,volblocksize {pool}/disk"
        ))
    };
    let zvol_of_tank = zvol("tank");
    assert_eq!(property("sharenfs", "tank/home/vic"), "ro\tlocal");
    // A value that the kernel does not take comes to nothing, and that is told.
    let remembered = world.tamper(|| {
        sh("zfs set org.zbackup:source-properties='{\"recordsize\":\"33554432\"}' backup/disk");
        sh("zfs get -Ho value org.zbackup:source-properties backup/home/vic")
    });
    assert_eq!(remembered, format!(r#"{{"xattr":"{XATTR_ON}"}}"#));
    let disk_hash = sh("sha256sum < /dev/zvol/tank/disk");
    let files = ["home", "home/vic"].map(|name| world.files_on_host(&format!("tank/{name}")));

    hosts.travel("tank", "cave");
    let planned = volumes(&world.zbackup(&["-n", "--json", "os"]).exits(0));
    assert_eq!(planned["/home"]["action"], "full");
    assert_eq!(sh("zfs list -Ho name -r cave"), "cave", "a dry run");
    let run = world.zbackup(&["--json", "os"]).exits(0);
    assert_eq!(run.json()["host"]["section"], "host two");
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("cave/disk arrived, but its recordsize could not be set"),
        "{warnings}"
    );
    for (name, volume) in volumes(&run) {
        assert_eq!(volume["action"], "full", "{name}");
        assert_eq!(volume["outcome"], "done", "{name}");
        assert_eq!(volume["reason"], Value::Null, "{name}");
    }
    let there = ["home", "home/vic"].map(|name| world.files_on_host(&format!("cave/{name}")));
    assert_eq!(there, files);
    sh("udevadm wait --timeout=30 /dev/zvol/cave/disk");
    assert_eq!(sh("sha256sum < /dev/zvol/cave/disk"), disk_hash);
    assert_properties_on_cave(&xattr_of_vic);
    assert_eq!(zvol("cave"), zvol_of_tank);
    assert_eq!(
        sh("zfs get -Hpt snapshot -s local -o name org.zbackup:created -r cave | wc -l"),
        "3",
        "received snapshots are marked as zbackup's own"
    );

    // Mounting has changed nothing, in either direction.
    for verb in ["os", "usb"] {
        for (name, volume) in volumes(&world.zbackup(&["--json", verb]).exits(0)) {
            assert_eq!(volume["action"], "up-to-date", "{verb} {name}");
            assert_eq!(volume["reason"], Value::Null, "{verb} {name}");
        }
    }

    sh(
        "echo new > /cave/home/b; echo more > /cave/home/vic/d; rm /cave/home/vic/c
        head -c 1M /dev/urandom | dd of=/dev/zvol/cave/disk conv=fsync status=none",
    );
    let back = world.backup();
    assert!(
        back.values()
            .all(|volume| volume["action"] == "incremental"),
        "{back:?}"
    );
    let disk_hash = sh("sha256sum < /dev/zvol/cave/disk");
    let files = ["home", "home/vic"].map(|name| world.files_on_host(&format!("cave/{name}")));
    let on_cave = ["home", "home/vic", "disk"].map(|name| history(&format!("cave/{name}")));

    hosts.travel("cave", "tank");
    let ahead = volumes(&world.zbackup(&["-n", "--json", "usb"]).exits(0));
    for volume in ahead.values() {
        assert_eq!(volume["action"], "up-to-date");
        assert!(
            volume["reason"].as_str().unwrap().contains("`zbackup os`"),
            "{volume}"
        );
    }
    let came = volumes(&world.zbackup(&["--json", "os"]).exits(0));
    assert!(
        came.values()
            .all(|volume| volume["action"] == "incremental"),
        "{came:?}"
    );
    let there = ["home", "home/vic"].map(|name| world.files_on_host(&format!("tank/{name}")));
    assert_eq!(there, files);
    sh("udevadm wait --timeout=30 /dev/zvol/tank/disk");
    assert_eq!(sh("sha256sum < /dev/zvol/tank/disk"), disk_hash);
    for (index, name) in ["home", "home/vic", "disk"].into_iter().enumerate() {
        let on_disk = world.inspect(|| history(&format!("backup/{name}")));
        assert_eq!(on_disk, on_cave[index], "{name}");
        assert_eq!(history(&format!("tank/{name}")), on_cave[index], "{name}");
    }
    assert_eq!(world.files_on_disk("backup/home"), files[0]);
}

#[test]
fn each_side_keeps_a_bookmark_for_its_peer() {
    let hosts = Hosts::new(&["/home"]);
    let world = &hosts.world;
    hosts.configure("volume = /home", "", "");
    sh("echo a > /tank/home/a");
    world.backup();
    hosts.travel("tank", "cave");
    world.zbackup(&["os"]).exits(0);
    sh("echo b > /cave/home/b");
    world.backup();
    hosts.travel("cave", "tank");
    world.zbackup(&["os"]).exits(0);

    let [tank, cave] = &hosts.guids;
    let disk = world.inspect(|| sh("zpool get -Hpo value guid backup"));
    let newest = |dataset: &str| {
        sh(&format!(
            "zfs list -Hpt snapshot -o createtxg -s createtxg -d 1 {dataset} | tail -n 1"
        ))
    };
    assert_eq!(
        sh("zfs list -Hpt bookmark -o name -s createtxg -r tank | tail -n 1"),
        format!(
            "tank/home#zbackup-{disk}.1111111111-{}",
            newest("tank/home")
        )
    );
    // Up to where the ledger was checked, and of which dataset.
    let checked = |dataset: &str| {
        let expected = format!(
            "{}:{}\tlocal",
            sh(&format!("zfs get -Hpo value guid {dataset}")),
            newest(dataset)
        );
        assert_eq!(
            property("org.zbackup:checked", dataset),
            expected,
            "{dataset}"
        );
    };
    let (on_disk, createtxg) = world.inspect(|| {
        checked("backup/home");
        (
            sh("zfs list -Hpt bookmark -o name -s name -r backup"),
            newest("backup/home"),
        )
    });
    let mut expected = [tank, cave].map(|host| format!("backup/home#zbackup-{host}-{createtxg}"));
    expected.sort();
    assert_eq!(on_disk, expected.join("\n"));
    checked("tank/home");
    assert_eq!(
        sh("zfs get -Hpt snapshot -s local -o name org.zbackup:created -r tank | wc -l"),
        "2"
    );
    for host in [tank, cave] {
        let visit = world.inspect(|| property(&format!("org.zbackup:visit-{host}"), "backup"));
        assert!(visit.ends_with("local"), "{visit}");
    }
}

#[test]
fn nothing_of_the_hosts_own_is_lost() {
    let names = [
        "plain", "renamed", "modified", "diverged", "ahead", "same", "foreign",
    ];
    let mut world = World::new(
        &names
            .map(|name| format!("/{name}"))
            .each_ref()
            .map(String::as_str),
    );
    for name in names {
        sh(&format!("echo {name} > /tank/{name}/a"));
    }
    world.backup();
    let day = format!("zbackup-{}", sh("date +%F"));
    world.tamper(|| {
        for name in ["plain", "modified", "diverged", "foreign"] {
            comes_from_another_host(name);
        }
        // Of the base, the sending side may have only its bookmark.
        sh(&format!("zfs destroy backup/plain@{day}"));
    });
    sh(&format!(
        "zfs rename tank/renamed@{day} tank/renamed@my-own-name
         echo mine > /tank/modified/mine
         echo mine > /tank/diverged/mine; zfs snapshot tank/diverged@mine
         echo mine > /tank/ahead/mine; zfs snapshot tank/ahead@mine
         zfs destroy -r tank/foreign; zfs create tank/foreign
         echo mine > /tank/foreign/mine; zfs snapshot tank/foreign@mine
         zfs create tank/lost; echo mine > /tank/lost/mine"
    ));
    let mut configured: Vec<String> = names.map(|name| format!("/{name}")).to_vec();
    configured.extend(["/lost".into(), "/never".into()]);
    world.configure(&configured.iter().map(String::as_str).collect::<Vec<_>>());
    let everything = || sh("zfs list -Hpt all -o name,guid -s name -r tank");
    let before = everything();

    let planned = world.zbackup(&["-n", "--json", "os"]).exits(3);
    assert_eq!(everything(), before, "a dry run");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    for (document, done) in [(volumes(&planned), "planned"), (volumes(&run), "done")] {
        for (name, action, conflict, outcome) in [
            ("/plain", "incremental", Value::Null, done),
            ("/renamed", "up-to-date", Value::Null, "done"),
            ("/modified", "conflict", "modified".into(), "refused"),
            ("/diverged", "conflict", "diverged".into(), "refused"),
            ("/ahead", "up-to-date", Value::Null, "done"),
            ("/same", "up-to-date", Value::Null, "done"),
            (
                "/foreign",
                "conflict",
                "no-common-snapshot".into(),
                "refused",
            ),
        ] {
            let volume = &document[name];
            assert_eq!(volume["action"], action, "{volume}");
            assert_eq!(volume["conflict"], conflict, "{volume}");
            assert_eq!(volume["outcome"], outcome, "{volume}");
        }
        for name in ["/lost", "/never"] {
            assert_eq!(document[name]["outcome"], "failed", "{name}");
            let reason = document[name]["reason"].as_str().unwrap();
            assert!(reason.contains("does not exist"), "{reason}");
        }
        let reason = document["/ahead"]["reason"].as_str().unwrap();
        assert!(reason.contains("the host is ahead"), "{reason}");
        assert_eq!(document["/same"]["reason"], Value::Null);
    }
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    assert_eq!(sh("cat /tank/plain/news"), "from another host");
    assert_eq!(
        sh("cat /tank/{modified,diverged,ahead,foreign,lost}/mine"),
        ["mine"; 5].join("\n")
    );
    let of = |listing: &str, name: &str| -> Vec<String> {
        let is_of =
            |line: &&str| line.split(['@', '#', '\t']).next() == Some(&format!("tank/{name}"));
        listing.lines().filter(is_of).map(str::to_owned).collect()
    };
    let after = everything();
    for name in ["modified", "diverged", "ahead", "foreign", "lost"] {
        assert_eq!(of(&after, name), of(&before, name), "{name}");
    }
}

#[test]
// walks: arrival-key
fn new_volumes_go_where_nothing_is_hidden() {
    let mut world = World::new(&[
        "/one",
        "/two",
        "/three",
        "/deep",
        "/deep/er",
        "/deep/er/vol",
        "/else",
    ]);
    world.host("recursive = yes");
    sh("head -c 32 /dev/urandom > /root/key
        zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/secret
        zfs create -o mountpoint=none tank/quiet; zfs create tank/quiet/vol
        zfs create -o mountpoint=/tank/elsewhere tank/else/where
        for name in one two three deep deep/er deep/er/vol else secret; do echo $name > /tank/$name/a; done
        echo where > /tank/elsewhere/a; test ! -e /tank/else/where");
    world.configure(&[
        "/one",
        "/two",
        "/three",
        "/deep",
        "/else",
        "/quiet/vol",
        "/secret",
    ]);
    world.backup();
    sh(
        "for name in one two three deep else quiet/vol secret; do zfs destroy -r tank/$name; done
        rm -rf --one-file-system /tank/*
        mkdir /tank/two /tank/three; echo precious > /tank/three/file",
    );

    world.zbackup(&["os", "/deep/er/vol"]).exits(0);
    assert_eq!(sh("cat /tank/deep/er/vol/a"), "deep/er/vol");
    for parent in ["tank/deep", "tank/deep/er"] {
        assert_eq!(property("canmount", parent), "off\tlocal");
        assert_eq!(property("org.zbackup:placeholder", parent), "yes\tlocal");
    }

    let run = world.zbackup(&["--json", "os"]).exits(0);
    let volumes = volumes(&run);
    assert_eq!(volumes.len(), 10, "{volumes:?}");
    for name in ["one", "two", "else"] {
        assert_eq!(
            volumes[&format!("/{name}")]["reason"],
            Value::Null,
            "{name}"
        );
        assert_eq!(sh(&format!("cat /tank/{name}/a")), name);
        assert_eq!(property("canmount", &format!("tank/{name}")), "on\tlocal");
    }
    for (name, why) in [
        ("three", "/tank/three is not empty"),
        ("deep", "/tank/deep is not empty"),
        ("deep/er", "/tank/deep/er is not empty"),
        ("else/where", "would change tank/else"),
    ] {
        let reason = volumes[&format!("/{name}")]["reason"].as_str().unwrap();
        assert!(
            reason.contains(why) && reason.contains("canmount=noauto"),
            "{reason}"
        );
        let dataset = format!("tank/{name}");
        assert_eq!(property("canmount", &dataset), "noauto\tlocal");
        assert_eq!(property("mounted", &dataset), "no\t-");
        let file = sh(&format!(
            "mkdir -p /mnt/look; mount -t zfs -o zfsutil {dataset} /mnt/look
             cat /mnt/look/a; umount /mnt/look"
        ));
        assert!(name.ends_with(&file), "{name} holds {file}");
    }
    assert_eq!(sh("cat /tank/three/file"), "precious");
    assert_eq!(
        property("org.zbackup:placeholder", "tank/deep"),
        "no\tlocal"
    );
    assert_eq!(volumes["/quiet/vol"]["reason"], Value::Null);
    assert_eq!(property("mounted", "tank/quiet/vol"), "no\t-");
    let reason = volumes["/secret"]["reason"].as_str().unwrap();
    assert!(reason.contains("zfs load-key tank/secret"), "{reason}");
    sh("zfs load-key -L file:///root/key tank/secret; zfs mount -o ro tank/secret");
    assert_eq!(sh("cat /tank/secret/a"), "secret");

    for volume in
        crate::support::world::volumes(&world.zbackup(&["--json", "os"]).exits(0)).values()
    {
        assert_eq!(volume["action"], "up-to-date", "{volume}");
    }
}

#[test]
fn a_volume_in_use_stays_mounted_while_it_receives() {
    let world = World::new(&["/home"]);
    sh("echo stays > /tank/home/a");
    world.backup();
    world.tamper(|| comes_from_another_host("home"));
    let mount = || sh("grep ' /tank/home ' /proc/self/mountinfo");
    let before = mount();
    // Somebody who is in there, with an open file.
    let mut user = Command::new("bash")
        .args([
            "-c",
            "cd /tank/home; exec 9<a; echo ready; read -r; cat <&9; cat news",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let mut says = BufReader::new(user.stdout.take().unwrap());
    let mut ready = String::new();
    says.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    let came = volumes(&world.zbackup(&["--json", "os"]).exits(0));
    assert_eq!(came["/home"]["action"], "incremental");
    assert_eq!(mount(), before, "the same mount");
    user.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut read = String::new();
    says.read_to_string(&mut read).unwrap();
    assert!(user.wait().unwrap().success());
    assert_eq!(read, "stays\nfrom another host\n");
}

#[test]
fn a_section_for_each_host_and_a_place_of_its_own() {
    let hosts = Hosts::new(&["/home", "/srv"]);
    let world = &hosts.world;
    let defaults = "volume = /home\nintermediate = yes\nrecursive = yes";
    hosts.configure(
        defaults,
        "prefix = hosts/one",
        "volume = /srv\nrecursive = no",
    );
    sh("echo a > /tank/home/a; zfs snapshot tank/home@between; zfs create tank/home/vic");
    assert_eq!(
        world.backup().keys().collect::<Vec<_>>(),
        ["/home", "/home/vic"]
    );
    assert_eq!(
        world.inspect(|| sh("zfs list -Hpt snapshot -o name -r backup | grep -c hosts/one/home@")),
        "2",
        "intermediate is inherited"
    );

    hosts.travel("tank", "cave");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    assert_eq!(volumes(&run).keys().collect::<Vec<_>>(), ["/srv"]);
    sh("zfs create -p cave/srv/child; echo b > /cave/srv/b");
    assert_eq!(
        world.backup().keys().collect::<Vec<_>>(),
        ["/srv"],
        "recursive is overridden"
    );
    // What the first host keeps below its prefix is not there for this one.
    hosts.configure(defaults, "prefix = hosts/one", "");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let volumes_seen = volumes(&run);
    assert_eq!(volumes_seen.keys().collect::<Vec<_>>(), ["/home"]);
    assert_eq!(volumes_seen["/home"]["outcome"], "failed");
    assert_eq!(
        sh("zfs list -Ho name -r cave"),
        "cave\ncave/srv\ncave/srv/child"
    );

    hosts.travel("cave", "tank");
    sh("zfs destroy -r tank/home");
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/a"), "a");
}

#[test]
fn v_asks_before_a_mount() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    world.backup();
    sh("zfs destroy -r tank/home; zfs destroy -r tank/srv");
    let mut talk = Dialogue::start(&["-v", "os"]);
    talk.answers(&[
        ("import", "y"),
        ("into tank/home", "y"),
        ("into tank/srv", "y"),
        ("mount tank/home at /tank/home", "n"),
        ("mount tank/srv at /tank/srv", "y"),
        ("export", "y"),
    ]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(
        screen.contains("tank/home was not mounted: declined"),
        "{screen}"
    );
    assert_eq!(property("canmount", "tank/home"), "noauto\tlocal");
    assert_eq!(property("mounted", "tank/home"), "no\t-");
    assert_eq!(sh("cat /tank/srv/b"), "b");
}
