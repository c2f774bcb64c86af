//! The programs in `crates/openzfs/examples` do what they say.

use super::*;

/// Where the machine has them.
const EXAMPLES: &str = "/host/bin/openzfs-examples";

#[test]
fn they_list_snapshot_send_receive_transfer_and_import() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    tank.create("srv");
    run("head -c 1M /dev/urandom >/mnt/tank/home/f");
    let example = |arguments: &str| run(&format!("{EXAMPLES}/{arguments}"));

    example("snapshot tank/home@a tank/srv@a");
    let txg = |name: &str| run(&format!("zfs get -Hpo value createtxg {name}"));
    assert_eq!(txg("tank/home@a"), txg("tank/srv@a"), "at the same moment");

    let listed = example("list tank");
    for dataset in ["tank/home", "tank/srv"] {
        let guid = guid_of(&format!("{dataset}@a"));
        assert!(listed.contains(&format!("{dataset}\t")), "{listed}");
        assert!(listed.contains(&format!("{dataset}@a\t{guid}")), "{listed}");
    }

    example(&format!(
        "stream send tank/home@a | {EXAMPLES}/stream receive backup/streamed@a"
    ));
    let transferred = example("transfer tank/home@a backup/transferred");
    let guid = guid_of("tank/home@a");
    assert!(
        transferred.ends_with(&format!("guid {guid}")),
        "{transferred}"
    );
    for copy in ["backup/streamed@a", "backup/transferred@a"] {
        assert_eq!(guid_of(copy), guid);
    }

    run("zpool export backup");
    let imported = example(&format!("import {OTHER_DISK}1"));
    assert!(imported.starts_with("backup\tONLINE\t"), "{imported}");
    run(&format!(
        "zpool import -N -d {OTHER_DISK}1 -o cachefile=none backup"
    ));
}
