//! The main job: the first backup, the next one, and the one with nothing to do.
//!
//! A copy is believed only after the disk was exported, imported again and mounted: what is read
//! then comes from the disk and not from a cache.

use crate::support::program::program;
use crate::support::world::{HASHES, assert_nothing_open};
use crate::support::{Dialogue, World, sh, zbackup};

/// Guid of a snapshot on either side.
fn guid(snapshot: &str) -> String {
    sh(&format!("zfs get -Hpo value guid {snapshot}"))
}

#[test]
fn first_full_second_incremental_then_nothing() {
    let world = World::new(&["/home", "/srv"]);
    sh("head -c 3M /dev/urandom > /tank/home/photo; seq 1000 > /tank/srv/numbers");

    let first = world.backup();
    for (volume, report) in &first {
        assert_eq!(report["action"], "full", "{volume}");
        assert_eq!(report["outcome"], "done", "{volume}");
        assert!(report["sent_bytes"].as_u64().unwrap() > 0, "{volume}");
    }
    let today = format!("zbackup-{}", sh("date +%F"));
    assert_eq!(first["/home"]["snapshot"], today.as_str());
    let moments = sh(&format!(
        "zfs get -Hpo value createtxg tank/home@{today} tank/srv@{today} | uniq | wc -l"
    ));
    assert_eq!(moments, "1", "both volumes are of one moment");
    let on_host = guid(&format!("tank/home@{today}"));
    assert_eq!(first["/home"]["snapshot_guid"], on_host.as_str());
    assert_eq!(
        world.inspect(|| guid(&format!("backup/home@{today}"))),
        on_host
    );
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );

    sh("echo more > /tank/home/note; rm /tank/srv/numbers; seq 5 > /tank/srv/few");
    let second = world.backup();
    assert_eq!(second["/home"]["action"], "incremental");
    assert_eq!(second["/home"]["base"], today.as_str());
    assert_eq!(second["/home"]["base_guid"], on_host.as_str());
    assert!(
        second["/home"]["sent_bytes"].as_u64().unwrap() < 1 << 20,
        "only the change travels"
    );
    for volume in ["home", "srv"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }

    let third = world.backup();
    for (volume, report) in &third {
        assert_eq!(report["action"], "up-to-date", "{volume}");
        assert_eq!(report["sent_bytes"], 0, "{volume}");
    }
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name -r tank | wc -l"),
        "4",
        "nothing new was snapshotted"
    );

    a_volume_that_goes_before_the_snapshot_drops_out(&world);
}

/// The call for all snapshots is all or nothing; the rest is tried again without the one.
fn a_volume_that_goes_before_the_snapshot_drops_out(world: &World) {
    sh("echo last > /tank/home/last; echo last > /tank/srv/last");
    let mut talk = Dialogue::start_with_fault("lzc_snapshot:SIGSTOP", &["usb"]);
    talk.is_stopped();
    sh("zfs destroy -r tank/srv");
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(screen.contains("Safe to unplug"), "{screen}");
    let failed = screen
        .lines()
        .any(|line| line.contains("/srv") && line.contains("failed"));
    assert!(failed, "{screen}");
    assert_nothing_open();
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    let kept = world.inspect(|| sh("zfs list -Hpt snapshot -o name backup/srv | wc -l"));
    assert_eq!(kept, "2", "the copy stays as it was");
}

/// How often each of these ioctls of ZFS is in a trace: which, and its number.
const BATCHES: [(&str, &str); 5] = [
    ("snapshot", "0x5a23"),
    ("destroy snapshots", "0x5a3b"),
    ("bookmark", "0x5a43"),
    ("destroy bookmarks", "0x5a45"),
    ("channel program", "0x5a48"),
];

#[test]
fn twelve_volumes_take_no_more_calls_than_two() {
    let names: Vec<String> = (1..=12).map(|number| format!("/v{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    world.host("last_snapshots = 1");
    world.device("last_snapshots = 1");
    let calls = |arguments: &str| {
        sh("for number in $(seq 12); do echo more >> /tank/v$number/file; done");
        sh(&format!(
            "strace -f -X raw -e trace=ioctl -o /tmp/trace {} usb {arguments}",
            program()
        ));
        BATCHES.map(|(what, number)| {
            let count = sh(&format!("grep -cE ', {number}[, ]' /tmp/trace || true"));
            (what, count.parse::<u32>().unwrap())
        })
    };
    world.backup();
    // The second run is the first with something to destroy.
    let few = calls("/v1 /v2");
    let many = calls("");
    assert!(few.iter().all(|(_, count)| *count > 0), "{few:?}");
    assert_eq!(many, few);
    let snapshots = world.inspect(|| sh("zfs list -Hpt snapshot -o name -r backup | wc -l"));
    assert_eq!(
        snapshots, "12",
        "everything was sent, and what is old is gone"
    );
}

#[test]
fn nested_volumes_arrive_parents_first() {
    let world = World::new(&["/home", "/home/vic", "/home/vic/mail"]);
    sh("echo a > /tank/home/a; echo b > /tank/home/vic/b; echo c > /tank/home/vic/mail/c");
    world.backup();
    for volume in ["home", "home/vic", "home/vic/mail"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }
    sh("echo d > /tank/home/vic/d");
    let second = world.backup();
    assert_eq!(second["/home/vic"]["action"], "incremental");
    assert_eq!(second["/home"]["action"], "up-to-date");
}

#[test]
fn recursive_takes_the_children_and_exclude_leaves_some_out() {
    let mut world = World::new(&["/home", "/home/vic", "/home/tmp", "/home/vic/cache"]);
    world.configure(&["/home"]);
    world.host("recursive = yes\nexclude = /home/tmp\n          **/cache");
    let volumes = world.backup();
    assert_eq!(volumes.keys().collect::<Vec<_>>(), ["/home", "/home/vic"]);
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name -r tank/home/tmp"),
        "",
        "what is excluded gets no snapshot"
    );
}

#[test]
fn a_missing_parent_is_made_and_never_mounted() {
    let mut world = World::new(&["/home", "/home/vic"]);
    world.configure(&["/home/vic"]);
    sh("echo b > /tank/home/vic/b");
    world.backup();
    let properties =
        world.inspect(|| sh("zfs get -Hpo value canmount,org.zbackup:placeholder backup/home"));
    assert_eq!(properties, "off\nyes");
    assert_eq!(
        world.files_on_disk("backup/home/vic"),
        world.files_on_host("tank/home/vic")
    );

    // Later the parent itself becomes a volume: it is received into the placeholder.
    world.configure(&["/home", "/home/vic"]);
    sh("echo a > /tank/home/a");
    let volumes = world.backup();
    assert_eq!(volumes["/home"]["action"], "full");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    assert_eq!(
        world.files_on_disk("backup/home/vic"),
        world.files_on_host("tank/home/vic")
    );
}

/// The parent in between is no volume, and the one above it comes in the same run.
#[test]
fn a_missing_parent_below_a_new_volume_is_made_in_the_same_run() {
    let mut world = World::new(&["/home", "/home/vic", "/home/vic/mail", "/home/vic/music"]);
    world.configure(&["/home", "/home/vic/mail", "/home/vic/music"]);
    sh("echo a > /tank/home/a; echo b > /tank/home/vic/mail/b; echo c > /tank/home/vic/music/c");
    world.backup();
    for volume in ["home", "home/vic/mail", "home/vic/music"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }
    // What was made is an empty parent, into which the volume comes when it is one.
    world.configure(&["/home", "/home/vic"]);
    assert_eq!(world.backup()["/home/vic"]["action"], "full");
}

#[test]
fn a_zvol_travels_and_its_copy_has_no_device() {
    let world = World::new(&["/disk=16M"]);
    // A partition table and a file system that udev would like to show.
    sh("udevadm wait --timeout=30 /dev/zvol/tank/disk
        sgdisk -n 1:2048:0 /dev/zvol/tank/disk >/dev/null; udevadm settle
        dd if=/dev/urandom of=/dev/zvol/tank/disk bs=1M seek=4 count=4 conv=fsync status=none");
    let before = sh("sha256sum < /dev/zvol/tank/disk");
    let nodes = || sh("udevadm settle; ls -d /dev/zd* /dev/zvol/*/*");
    let nodes_before = nodes();
    // The source's are to be seen, its partition's too.
    let partition = nodes_before
        .lines()
        .any(|node| node.starts_with("/dev/zd") && node.ends_with("p1"));
    assert!(partition, "{nodes_before}");
    world.backup();
    assert_eq!(nodes(), nodes_before, "the copy shows no device");
    zbackup(&["open", "--rw"]).exits(0);
    assert_eq!(nodes(), nodes_before, "not on an open disk either");
    world.zbackup(&["close"]).exits(0);
    assert_eq!(nodes(), nodes_before);
    assert_eq!(
        world.inspect(|| sh("zfs get -Hpo value volmode,readonly backup/disk")),
        "none\non"
    );
    // The oracle gives it a device for once.
    let after = world.tamper(|| {
        sh("zfs set volmode=dev backup/disk; udevadm settle; udevadm wait --timeout=30 /dev/zvol/backup/disk
            sha256sum < /dev/zvol/backup/disk; zfs set volmode=none backup/disk; udevadm settle")
    });
    assert_eq!(before, after);
}

#[test]
fn a_write_followed_at_once_by_a_run_is_on_the_disk() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    // No sync, no wait: the run itself has to settle.
    std::fs::write("/tank/home/b", vec![7; 4 << 20]).unwrap();
    let volumes = world.backup();
    assert_eq!(volumes["/home"]["action"], "incremental");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn copies_are_read_only_and_not_mounted() {
    let world = World::new(&["/home"]);
    sh("zfs set compression=gzip recordsize=64K org.me:note=hello tank/home");
    world.backup();
    let properties =
        world.inspect(|| sh("zfs get -Hpo value readonly,canmount,mounted backup/home"));
    assert_eq!(properties, "on\nnoauto\nno");
    let remembered =
        world.inspect(|| sh("zfs get -Hpo value org.zbackup:source-properties backup/home"));
    let remembered: serde_json::Value = serde_json::from_str(&remembered).unwrap();
    assert_eq!(
        remembered,
        serde_json::json!({"compression": "gzip", "recordsize": "65536"})
    );
}

#[test]
fn the_stream_is_what_zfs_receive_makes_of_it_too() {
    let world = World::new(&["/home"]);
    sh("cp -r /etc/ssl /tank/home/; head -c 2M /dev/urandom > /tank/home/noise");
    let volumes = world.backup();
    let snapshot = volumes["/home"]["snapshot"].as_str().unwrap().to_owned();
    sh(&format!(
        "zfs send -Lec tank/home@{snapshot} | zfs receive -u tank/oracle"
    ));
    let oracle_guid = guid(&format!("tank/oracle@{snapshot}"));
    assert_eq!(volumes["/home"]["snapshot_guid"], oracle_guid.as_str());
    let oracle = sh(&format!(
        "mkdir -p /mnt/look; mount -t zfs -o zfsutil,ro tank/oracle /mnt/look
         cd /mnt/look; {HASHES}; cd /; umount /mnt/look"
    ));
    assert_eq!(world.files_on_disk("backup/home"), oracle);
}
