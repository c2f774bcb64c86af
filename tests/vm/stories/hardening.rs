//! Somebody hardens a pool from its root on, and then brings home a disk that was out of the house.
//! Whatever is written on that disk, the host is not to become any weaker, and what is not taken from
//! it is told.

use serde_json::Value;

use crate::support::world::volumes;
use crate::support::{Hosts, sh};

/// All that a disk could want of a host.
const HOSTILE: &str = r#"{"setuid":"on","devices":"on","exec":"on","checksum":"off","sync":"disabled",
"copies":"1","redundant_metadata":"none","compression":"gzip","recordsize":"16384","readonly":"on",
"mountpoint":"/etc","canmount":"on","sharenfs":"on","sharesmb":"on","keylocation":"http://evil/","quota":"1M",
"reservation":"500M","refreservation":"500M","filesystem_limit":"0","volmode":"full","snapdir":"visible",
"overlay":"on","nbmand":"on","vscan":"on","zoned":"on","org.znapzend:src_plan":"1h=>1h","acltype":"no such"}"#;

/// Names of the properties that are set on a dataset itself.
fn set_on(dataset: &str) -> String {
    sh(&format!(
        "zfs get -Hs local -o property all {dataset} | sort"
    ))
}

fn values(properties: &str, dataset: &str) -> String {
    sh(&format!(
        "zfs get -Ho value {properties} {dataset} | paste -sd ' '"
    ))
}

#[test]
fn a_hardened_host_stays_so_whatever_the_disk_says() {
    let hosts = Hosts::new(&["/home", "/srv", "/disk=16M"]);
    let world = &hosts.world;
    sh("echo kept > /tank/home/file; echo kept > /tank/srv/file
        zfs set setuid=on sync=disabled checksum=sha512 compression=gzip tank/srv
        zfs set checksum=off tank/disk");
    hosts.configure("volume = /home\n  /srv\n  /disk", "", "");
    world.backup();
    world.tamper(|| {
        sh(&format!(
            "zfs set org.zbackup:source-properties='{HOSTILE}' backup/home
             zfs set org.zbackup:source-file-properties=\"$(head -c 8000 /dev/zero | tr '\\0' '{{')\" backup/home
             zfs set org.evil:note=x sharenfs=on mountpoint=/etc snapdir=visible backup/home"
        ));
    });
    hosts.travel("tank", "cave");
    let hardening = "setuid=off devices=off exec=off sync=always checksum=sha256 volmode=none";
    sh(&format!(
        "zfs set {hardening} cave; zfs create -o mountpoint=none cave/before"
    ));

    let run = world.zbackup(&["--json", "os"]).exits(0);
    for (name, volume) in volumes(&run) {
        assert_eq!(volume["outcome"], "done", "{name}: {volume}");
        assert_eq!(volume["reason"], Value::Null, "{name}");
    }
    assert_eq!(sh("cat /cave/home/file /cave/srv/file"), "kept\nkept");
    let guarded = "setuid,devices,exec,sync,checksum";
    for name in ["cave/home", "cave/srv"] {
        let guarded = values(guarded, name);
        assert_eq!(guarded, "off off off always sha256", "{name}");
    }
    assert_eq!(
        values("sync,checksum,volmode", "cave/disk"),
        "always sha256 none"
    );
    assert_eq!(
        values("sharenfs,snapdir,readonly", "cave/home"),
        "off hidden off"
    );
    assert_eq!(
        set_on("cave/home"),
        "canmount\ncompression\norg.zbackup:receiving\nreadonly\nrecordsize",
        "nothing else"
    );
    let mount = sh("grep ' /cave/home ' /proc/self/mounts");
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(mount.contains(option), "{mount}");
    }

    let document = run.json();
    let warnings: Vec<&str> = document["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(warnings.len(), 3, "one line a volume: {warnings:#?}");
    let of = |dataset: &str| {
        warnings
            .iter()
            .find(|line| line.starts_with(dataset))
            .unwrap()
    };
    for said in [
        "setuid=on",
        "checksum=off",
        "keylocation",
        "source-file-properties cannot be read",
    ] {
        assert!(of("cave/home").contains(said), "{said}: {warnings:#?}");
    }
    assert!(
        of("cave/srv").contains("setuid=on, sync=disabled"),
        "{warnings:#?}"
    );
    assert!(of("cave/disk").contains("checksum=off"), "{warnings:#?}");

    // What is there stays as it is, whatever comes later; but for what zbackup notes for itself.
    let set =
        || {
            sh("zfs get -Hs local,received -o name,property,value all cave/home cave/srv cave/disk |
            grep -v org.zbackup:")
        };
    let before = set();
    sh("echo more > /cave/home/more");
    world.backup();
    world.tamper(|| {
        sh(&format!(
            "zfs set org.zbackup:source-properties='{HOSTILE}' backup/home
             zfs set org.zbackup:source-file-properties='{{\"acltype\":\"posix\"}}' backup/home"
        ));
        crate::support::world::advance_on_disk("home", "zbackup-other", "echo news");
    });
    let run = world.zbackup(&["--json", "os"]).exits(0);
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    assert_eq!(sh("cat /cave/home/news"), "news");
    let way_out = "`zfs set acltype=posix cave/home` would";
    assert!(run.json()["warnings"].to_string().contains(way_out));
    assert_eq!(set(), before);
}
