//! Short messages around a run, each of which names one thing to do: it is done, and the run is a plain one.

use crate::support::degrade::degrade;
use crate::support::{Hosts, World, sh, type_in, zbackup_with_fault};

/// This machine has the pools of two hosts, or none, or no threads; then zbackup has a bug, and nothing
/// was scrubbed for a hundred days.
#[test]
// walks: several-hosts, no-pools, no-thread, bug, forget-again, import-failed
fn one_thing_is_in_the_way_after_the_other() {
    let hosts = Hosts::new(&["/home"]);
    let world = &hosts.world;
    sh("echo a > /tank/home/a");
    hosts.configure("volume = /home", "", "");
    sh("zpool import -d /dev/disk/by-id -o cachefile=none cave");
    world
        .zbackup(&["usb"])
        .exits(2)
        .says("Only one [host…] section may name a pool that is imported here");
    world.write_config();
    world.zbackup(&["-n", "usb"]).exits(0);

    sh("zpool export cave; zpool export tank");
    world
        .zbackup(&["usb"])
        .exits(2)
        .says("import the one that holds its volumes first");
    sh("zpool import -d /dev/disk/by-id/virtio-HOST1-part1 -o cachefile=none tank");

    // As many tasks as the program itself is.
    sh("mkdir /sys/fs/cgroup/few; echo 1 > /sys/fs/cgroup/few/pids.max");
    let script = "echo $$ > /sys/fs/cgroup/few/cgroup.procs; exec \"$ZBACKUP_BIN\" usb";
    let (code, _, stderr) = crate::support::try_sh(script);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("uses up the system's threads"), "{stderr}");
    assert_ne!(sh("grep ^max /sys/fs/cgroup/few/pids.events"), "max 0");
    sh("rmdir /sys/fs/cgroup/few");
    let import = zbackup_with_fault("zpool_import_props:error", &["usb"]).exits(1);
    let said = type_in(&import.advises("See what ZFS says about it"));
    assert!(said.contains("pool: backup"), "{said}");

    for fault in ["disk-inventory:panic", "stream-end:panic"] {
        let run = zbackup_with_fault(fault, &["usb"]);
        assert!([1, 3].contains(&run.code), "{run:?}");
        drop(run.says("report it").says("hen run the same command again"));
        crate::support::world::assert_nothing_open();
    }
    world.backup();

    // The disk will not come back, and its bookmarks do not go at the first time.
    let forget = ["forget", "--force", "USB device"];
    zbackup_with_fault("lzc_destroy_bookmarks:error", &forget)
        .exits(1)
        .says("Run the same command again");
    world.zbackup(&forget).exits(0).says("Removed 1 bookmark");
    assert_eq!(sh("zfs list -Hpt bookmark -o name -r tank"), "");
}

/// The clock of this machine is elsewhere until this is dropped.
struct Later {
    seconds: u64,
}

impl Later {
    fn by_days(days: u64) -> Self {
        let seconds = days * 86_400;
        sh(&format!("date -s @$(($(date +%s) + {seconds})) >/dev/null"));
        Self { seconds }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        sh(&format!(
            "date -s @$(($(date +%s) - {})) >/dev/null",
            self.seconds
        ));
    }
}

/// A scrub that somebody has paused does not go on by itself.
#[test]
// walks: scrub-host, scrub-disk, scrub-paused
fn pools_that_were_not_scrubbed_for_long() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    let _later = Later::by_days(100);
    let run = world.zbackup(&["usb"]).exits(0);
    for pool in ["the host's pool tank", "the disk's pool backup"] {
        let told = run.stderr.lines().chain(run.stdout.lines());
        let mut told = told.filter_map(|line| line.split_once(pool));
        let (_, told) = told.next().expect("it is told");
        let command = told.split_once('(').unwrap().1.split_once(')').unwrap().0;
        sh(command);
    }
    // On the host it goes on meanwhile.
    sh("zpool wait -t scrub tank");
    world.tamper(|| {
        sh(
            "echo 1 > /sys/module/zfs/parameters/zfs_scan_suspend_progress
            zpool scrub backup; zpool scrub -p backup
            echo 0 > /sys/module/zfs/parameters/zfs_scan_suspend_progress",
        )
    });
    let run = world.zbackup(&["usb"]).exits(0);
    assert!(!run.stderr.contains("is being scrubbed"), "{}", run.stderr);
    type_in(&run.advises("the disk's pool backup has a paused scrub"));
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    for side in ["host", "disk"] {
        let age = &run.json()[side]["health"]["scrub_age_seconds"];
        assert!(age.as_u64().unwrap() < 3600, "{age}");
    }
}

/// The host's volume does not keep what the disk's files have, and one of its devices makes errors.
#[test]
// walks: remembered-differs, pool-unwell
fn a_host_that_does_not_show_what_files_have_on_a_device_that_makes_errors() {
    let world = World::new(&["/home"]);
    sh("zfs set acltype=posix tank/home; echo a > /tank/home/a");
    world.backup();
    sh("zfs set acltype=off tank/home");
    world.tamper(|| crate::support::world::advance_on_disk("home", "zbackup-other", "echo news"));
    let run = world.zbackup(&["os"]).exits(0);
    type_in(&run.advises("may not show its files as they are"));
    let run = world.zbackup(&["os"]).exits(0);
    assert!(!run.stderr.contains("may not show"), "{}", run.stderr);
    assert_eq!(sh("zfs get -Ho value acltype tank/home"), "posix");

    let guid = sh("zpool list -vHPg tank | awk 'NR == 2 { print $1 }'");
    degrade("tank", guid.parse().unwrap());
    let run = world.zbackup(&["usb"]).exits(0);
    let said = type_in(&run.advises("the host's pool tank is DEGRADED"));
    assert!(said.contains("zpool clear"), "{said}");
    sh("zpool clear tank");
    let run = world.zbackup(&["usb"]).exits(0);
    assert!(!run.stderr.contains("DEGRADED"), "{}", run.stderr);
}
