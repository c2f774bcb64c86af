//! Whatever goes wrong, and wherever: the disk is closed or the user knows what to do, nothing that
//! was there is lost, and the next run is a plain one.
//!
//! What is covered, see `crates/openzfs/src/fault.rs` for the places:
//!
//! - Every step of a run takes an error, a panic, SIGINT, SIGTERM and SIGKILL: [`STEPS`] has the
//!   steps, and a test of its own that none of these is left out.
//! - A step that consists of several calls takes them at one or the other of these, by turns:
//!   [`matrix`] says which.
//! - A plain run follows each kill, and with it all faults before it.
//! - The container is opened and closed by the same code whatever the verb: it has a test of its own,
//!   and the others do without.
//! - The swap of a host's volume has all its steps as places.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::world::{advance_on_disk, assert_kept, assert_nothing_open, mounts, snapshots};
use crate::support::{Container, Dialogue, World, noise, sh, zbackup, zbackup_with_fault};

/// How soon a run has to end, whatever goes wrong: what hangs never does. A test machine that shares its
/// processors with others can take some twenty times as long as it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where something goes wrong and how such a run ends.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// `lzc_rename:2` is the second time.
    name: &'static str,
    /// Exit code after an error: 0 where the next run makes up for it and it is a warning at most.
    error: i32,
    /// Exit code after a panic: in a transfer it costs one volume.
    panic: i32,
    /// Nothing is left to be done that a signal could stop.
    late: bool,
    /// The disk cannot be closed after an error.
    closes: bool,
    /// What a kill leaves differs from what it leaves at the places before.
    killed: bool,
}

const fn place(name: &'static str, error: i32) -> Place {
    Place {
        name,
        error,
        panic: 1,
        late: false,
        closes: false,
        killed: false,
    }
}

/// A place in a volume's transfer.
const fn transfer(name: &'static str) -> Place {
    Place {
        panic: 3,
        ..place(name, 3)
    }
}

/// An error there is one volume's, or the ledger's: the run goes on, and its exit code tells.
const fn failing(name: &'static str) -> Place {
    Place {
        error: 3,
        ..place(name, 0)
    }
}

const fn killed(place: Place) -> Place {
    Place {
        killed: true,
        ..place
    }
}

const fn closing(name: &'static str) -> Place {
    Place {
        late: true,
        closes: true,
        killed: true,
        ..place(name, 1)
    }
}

/// A backup's way through the C libraries, in order.
const USB: [Place; 14] = [
    place("zpool_search_import", 1),
    place("lzc_sync", 1),
    failing("zfs_iter_snapshots"),
    place("zpool_import_props", 1),
    killed(place("disk-inventory", 1)),
    killed(place("lzc_snapshot", 3)),
    place("lzc_bookmark", 0),
    transfer("lzc_send_resume_redacted"),
    transfer("lzc_send_resume_redacted:2"),
    transfer("lzc_receive_with_cmdprops"),
    killed(transfer("stream-end")),
    failing("lzc_channel_program"),
    killed(place("lzc_destroy_bookmarks", 0)),
    closing("zpool_export"),
];

/// What the turns of [`matrix`] leave out.
const USB_BESIDES: [(Place, Kind); 11] = [
    (place("zpool_search_import", 1), Kind::Panic),
    (place("zpool_search_import", 1), Kind::Interrupt),
    (place("zpool_search_import", 1), Kind::Kill),
    (place("zpool_import_props", 1), Kind::Error),
    (place("zpool_import_props", 1), Kind::Terminate),
    (place("zpool_import_props", 1), Kind::Kill),
    (place("lzc_snapshot", 3), Kind::Error),
    (place("lzc_snapshot", 3), Kind::Terminate),
    (transfer("lzc_send_resume_redacted"), Kind::Kill),
    (closing("zpool_export"), Kind::Error),
    (closing("zpool_export"), Kind::Terminate),
];

/// What retention adds: the host's old snapshots go first, then the disk's.
const RETENTION: [Place; 2] = [
    place("lzc_destroy_snaps", 0),
    killed(place("lzc_destroy_snaps:2", 0)),
];

/// Where `os` works on the other side, or not as `usb` does.
const OS: [Place; 7] = [
    place("disk-inventory", 1),
    transfer("lzc_send_resume_redacted"),
    transfer("lzc_send_resume_redacted:2"),
    killed(transfer("lzc_receive_with_cmdprops")),
    killed(transfer("stream-end")),
    failing("lzc_channel_program:2"),
    killed(place("lzc_send_space_resume_redacted", 0)),
];

const OS_BESIDES: [(Place, Kind); 3] = [
    // What is to come is noted first: without that only a dead run's marks would be missed.
    (place("lzc_channel_program", 0), Kind::Error),
    (place("lzc_send_space_resume_redacted", 0), Kind::Error),
    (place("lzc_send_space_resume_redacted", 0), Kind::Terminate),
];

/// A stream that has not come far when it meets this.
const MIDDLE: [(Place, Kind); 5] = [
    // What nobody wanted to break off goes on in the same run.
    (place("stream-middle", 0), Kind::Error),
    (place("stream-middle", 1), Kind::Panic),
    (transfer("stream-middle"), Kind::Interrupt),
    (transfer("stream-middle"), Kind::Terminate),
    (transfer("stream-middle"), Kind::Kill),
];

/// A container's own steps, under `usb`.
const UNLOCK: Place = place("crypt_load", 1);
const LOCK: Place = closing("crypt_deactivate_by_name");

/// The steps of `open` and `close` on a disk with a `mount-point`.
const MOUNT: Place = place("zfs_mount_at", 0);
const UNMOUNT: Place = Place {
    late: true,
    ..closing("umount2")
};

/// The steps of a run, and the places that they consist of.
const STEPS: [(&str, &[&str]); 15] = [
    ("unlock", &["crypt_load"]),
    ("search", &["zpool_search_import"]),
    ("import", &["zpool_import_props"]),
    ("mount", &["zfs_mount_at"]),
    (
        "inventory",
        &["lzc_sync", "zfs_iter_snapshots", "disk-inventory"],
    ),
    ("snapshot", &["lzc_snapshot"]),
    ("estimate", &["lzc_send_space_resume_redacted"]),
    (
        "a transfer's start",
        &["lzc_send_resume_redacted", "lzc_receive_with_cmdprops"],
    ),
    ("its middle", &["stream-middle"]),
    ("its end", &["stream-end"]),
    (
        "ledger",
        &[
            "lzc_bookmark",
            "lzc_channel_program",
            "lzc_destroy_bookmarks",
        ],
    ),
    ("retention", &["lzc_destroy_snaps"]),
    ("unmount", &["umount2"]),
    ("export", &["zpool_export"]),
    ("lock", &["crypt_deactivate_by_name"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Panic,
    Interrupt,
    Terminate,
    Kill,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Panic,
        Self::Interrupt,
        Self::Terminate,
        Self::Kill,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Kill => "SIGKILL",
        }
    }

    /// The exit code that a run with this fault ends with.
    fn code(self, place: Place) -> Option<i32> {
        match self {
            Self::Error => Some(place.error),
            Self::Panic => Some(place.panic),
            Self::Interrupt | Self::Terminate if place.late => Some(0),
            Self::Interrupt => Some(130),
            Self::Terminate => Some(143),
            Self::Kill => None,
        }
    }
}

/// Which faults each place takes, in this order. `turn` is 0 or 1: what the one leaves out the other
/// has.
fn matrix(places: &[Place], turn: usize) -> Vec<(Place, Kind)> {
    let mut pairs = Vec::new();
    for (number, &place) in places.iter().enumerate() {
        let [failure, signal] = if (number + turn).is_multiple_of(2) {
            [Kind::Error, Kind::Terminate]
        } else {
            [Kind::Panic, Kind::Interrupt]
        };
        pairs.extend([(place, failure), (place, signal)]);
        if place.killed {
            pairs.push((place, Kind::Kill));
        }
    }
    pairs
}

fn usb_faults() -> Vec<(Place, Kind)> {
    [&matrix(&USB, 0)[..], &USB_BESIDES].concat()
}

fn retention_faults() -> Vec<(Place, Kind)> {
    matrix(&RETENTION, 0)
}

fn os_faults() -> Vec<(Place, Kind)> {
    [&matrix(&OS, 1)[..], &OS_BESIDES].concat()
}

/// These places with everything.
fn each_with_everything(places: &[Place]) -> Vec<(Place, Kind)> {
    let all = |&place| Kind::ALL.map(|kind| (place, kind));
    places.iter().flat_map(all).collect()
}

#[test]
fn no_step_is_spared_any_fault() {
    let mut taken = [
        usb_faults(),
        retention_faults(),
        os_faults(),
        MIDDLE.to_vec(),
    ]
    .concat();
    taken.extend(each_with_everything(&[UNLOCK, LOCK, MOUNT, UNMOUNT]));
    for (step, places) in STEPS {
        for kind in Kind::ALL {
            let is_taken = taken.iter().any(|(place, with)| {
                places.contains(&place.name.split(':').next().unwrap_or_default()) && *with == kind
            });
            assert!(is_taken, "{step} with {kind:?}");
        }
    }
}

/// How a run with a fault ended.
struct Ended {
    code: Option<i32>,
    said: String,
}

impl Ended {
    fn is_called_safe(&self) -> bool {
        self.said.contains("Safe to unplug")
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(self.said.contains(text), "{text:?} in {}", self.said);
        self
    }
}

/// Runs zbackup with a fault, which has to strike, and insists on its end: on the exit code, in time,
/// and with everything closed unless nobody was left to do that.
#[track_caller]
fn strike(place: Place, kind: Kind, arguments: &[&str]) -> Ended {
    let (name, nth) = place.name.split_once(':').unwrap_or((place.name, "1"));
    let fault = format!("{name}:{}:{nth}", kind.word());
    let begun = Instant::now();
    let run = zbackup_with_fault(&fault, arguments);
    let elapsed = begun.elapsed();
    println!("[{:.1} s] {fault}", elapsed.as_secs_f64());
    let ended = Ended {
        // Killed, it has none.
        code: Some(run.code).filter(|code| *code >= 0),
        said: run.stdout + &run.stderr,
    };
    let struck = ended.said.contains("injected") || ended.code.is_none();
    assert!(struck, "{fault} is not on the way: {}", ended.said);
    assert_eq!(ended.code, kind.code(place), "{fault}: {}", ended.said);
    assert!(elapsed < PATIENCE, "{fault} took {elapsed:?}");
    if kind == Kind::Kill {
        assert!(!ended.is_called_safe(), "{}", ended.said);
    } else if kind == Kind::Error && place.closes {
        assert!(!ended.is_called_safe(), "{}", ended.said);
        ended.says("zbackup close");
        zbackup(&["close"]).exits(0).says("Safe to unplug");
    } else {
        assert!(ended.is_called_safe(), "{fault}: {}", ended.said);
    }
    if kind == Kind::Panic {
        ended.says("zbackup has a bug");
    }
    if kind != Kind::Kill {
        assert_nothing_open();
    }
    ended
}

/// Whatever the faults before it, this run goes on as if there had been none.
#[track_caller]
fn goes_on(world: &World) {
    for (name, volume) in world.backup() {
        assert_ne!(volume["action"], "full", "{name}: its base is lost");
    }
}

#[track_caller]
fn assert_same_on_both_sides(world: &World) {
    for volume in ["home", "home/vic"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }
    let newest = |dataset| {
        sh(&format!(
            "zfs list -Hpt snapshot -d 1 -o guid -S createtxg {dataset} | head -n 1"
        ))
    };
    assert_eq!(world.inspect(|| newest("backup/home")), newest("tank/home"));
}

#[test]
fn usb_at_every_place() {
    let world = World::new(&["/home", "/home/vic"]);
    sh("echo first > /tank/home/a; echo first > /tank/home/vic/a; zfs snapshot -r tank@mine");
    world.backup();
    let mut on_disk = BTreeSet::new();
    let write = |text: &str| {
        sh(&format!(
            "echo {text} > /tank/home/a; echo {text} > /tank/home/vic/a"
        ))
    };
    for (number, (place, kind)) in usb_faults().into_iter().enumerate() {
        write(&number.to_string());
        if place.name == "zfs_iter_snapshots" {
            // Only where there is one that is newer than the base.
            sh(&format!("zfs snapshot -r tank@mine-{number}"));
        }
        let on_host = snapshots("tank");
        strike(place, kind, &["usb"]);
        assert_kept(&on_host, &snapshots("tank"));
        if kind == Kind::Kill {
            if sh("zpool list -Ho name").contains("backup") {
                let now = snapshots("backup");
                assert_kept(&on_disk, &now);
                on_disk = now;
            }
            goes_on(&world);
        }
    }
    assert_kept(&on_disk, &world.inspect(|| snapshots("backup")));
    for (place, kind) in retention_faults() {
        write(kind.word());
        strike(place, kind, &["usb", "-s", "2"]);
        if kind == Kind::Kill {
            goes_on(&world);
        }
    }
    // A bookmark that could not be made before the stream is made after it.
    write("bookmark");
    strike(place("lzc_bookmark", 0), Kind::Error, &["usb"])
        .says("could not be made before it was sent");
    sh("zfs list -Ho name -t snapshot -r tank | grep @zbackup- | xargs -n 1 zfs destroy");
    write("bookmarked");
    goes_on(&world);
    // No thread to watch the cable with, for the host's inventory, the ledger, any transfer, and the
    // first stream.
    write("threads");
    let run = zbackup_with_fault("thread-watch:error", &["usb"]);
    run.exits(1)
        .says("no thread for the watch")
        .says("USB device was not touched");
    for place in [transfer("thread-transfer"), transfer("thread-sender")] {
        strike(place, Kind::Error, &["usb"]).says("no thread for the");
    }
    for harmless in ["thread-host", "thread-ledger"] {
        write(harmless);
        strike(place(harmless, 0), Kind::Error, &["usb"]);
    }
    goes_on(&world);
    assert_same_on_both_sides(&world);
    assert_eq!(
        sh("zfs list -Ho name tank/home@mine tank/home/vic@mine | wc -l"),
        "2"
    );

    for (place, kind) in MIDDLE {
        noise("/tank/home/big", 80);
        sh("zpool sync tank");
        strike(place, kind, &["usb"]);
        // The rest of a stream can be too short for being killed in its middle.
        if kind != Kind::Kill {
            world.backup();
        }
    }
    assert_eq!(world.backup()["/home"]["action"], "resume");
    assert_same_on_both_sides(&world);
}

#[test]
fn os_at_every_place() {
    let world = World::new(&["/home", "/home/vic"]);
    sh("echo first > /tank/home/a; echo first > /tank/home/vic/a");
    let base = world.backup()["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    world.tamper(|| {
        ["home", "home/vic"].map(|volume| advance_on_disk(volume, "zbackup-other", "echo news"))
    });
    let on_host = snapshots("tank");
    let mounts = || sh("grep ' /tank/home' /proc/self/mountinfo | cut -d ' ' -f 5-");
    let mounted = mounts();
    for (place, kind) in os_faults() {
        strike(place, kind, &["os"]);
        assert_kept(&on_host, &snapshots("tank"));
        assert_eq!(mounts(), mounted, "{}", place.name);
        assert_eq!(sh("cat /tank/home/a /tank/home/vic/a"), "first\nfirst");
        if kind == Kind::Kill {
            world.zbackup(&["os"]).exits(0);
            assert_eq!(sh("cat /tank/home/news /tank/home/vic/news"), "news\nnews");
        }
        // The host is behind the disk again.
        sh(&format!(
            "zfs rollback -r tank/home@{base}; zfs rollback -r tank/home/vic@{base}"
        ));
    }
    world.zbackup(&["os"]).exits(0);
    assert_same_on_both_sides(&world);
    let on_host = snapshots("tank");
    // The disk's old snapshots are gone then, the host's are not.
    let between = place("lzc_destroy_snaps:2", 0);
    strike(between, Kind::Kill, &["os", "-s", "1"]);
    assert_eq!(snapshots("tank"), on_host);
    world.zbackup(&["os", "-s", "1"]).exits(0);
    assert_eq!(snapshots("tank").len(), on_host.len() - 2);
    assert_same_on_both_sides(&world);
}

#[test]
fn a_container_and_a_mounted_disk() {
    let mut world = World::with_container(&["/home"], Container::Luks2);
    world.device("mount-point = /mnt/usb");
    sh("echo a > /tank/home/a");
    world.backup();
    for (place, kind) in each_with_everything(&[UNLOCK, LOCK]) {
        strike(place, kind, &["usb"]);
        if kind == Kind::Kill {
            sh("date > /tank/home/a");
            goes_on(&world);
        }
    }
    // All is closed, and yet what the disk has not written would be lost.
    strike(closing("fsync"), Kind::Error, &["usb"])
        .says("did not write its cache out")
        .says("NOT SAFE");
    // What was left open by a fault is closed; what was opened before it takes a second try.
    for (place, kind) in each_with_everything(&[MOUNT]) {
        if kind == Kind::Error {
            // One volume that cannot be looked at: the others can.
            zbackup_with_fault("zfs_mount_at:error", &["open"])
                .exits(0)
                .says("backup/home was not mounted")
                .says("The disk is open below /mnt/usb")
                .says("NOT SAFE");
        } else {
            strike(place, kind, &["open"]);
        }
        world.zbackup(&["close"]).exits(0).says("Safe to unplug");
    }
    for (place, kind) in each_with_everything(&[UNMOUNT]) {
        zbackup(&["open"]).exits(0);
        assert_eq!(sh("cat /mnt/usb/backup/home/a"), sh("cat /tank/home/a"));
        if kind == Kind::Panic {
            // There is nobody above `close` who would close the disk.
            zbackup_with_fault("umount2:panic", &["close"])
                .exits(1)
                .says("zbackup has a bug");
        } else {
            strike(place, kind, &["close"]);
        }
        world.zbackup(&["close"]).exits(0).says("Safe to unplug");
    }
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// A host whose /home, with a place of its own, has nothing in common with the disk's.
fn foreign(world: &World) {
    sh("zfs list -Ho name -d 1 tank | grep '^tank/home' | xargs -rn 1 zfs destroy -r
        zfs create -o mountpoint=/tank/place -o quota=300M tank/home
        echo mine > /tank/place/mine; zfs snapshot tank/home@precious; zfs bookmark tank/home@precious tank/home#mark");
    assert_old_in_place();
    let _ = world;
}

#[track_caller]
fn assert_old_in_place() {
    assert_eq!(sh("findmnt -no SOURCE /tank/place"), "tank/home");
    assert_eq!(sh("cat /tank/place/mine"), "mine");
    assert_eq!(
        sh("zfs list -Ho name -t snapshot,bookmark -d 1 tank/home"),
        "tank/home@precious\ntank/home#mark"
    );
    assert_eq!(sh("zfs get -Ho value canmount tank/home"), "on");
}

/// Whatever waits beside /home is not mounted, now or by a boot.
#[track_caller]
fn assert_waits_unmounted() {
    let properties = "zfs get -Ho value canmount,mounted tank/home-zbackup-arriving";
    assert_eq!(sh(properties), "noauto\nno");
}

#[track_caller]
fn assert_new_in_place() {
    assert_eq!(sh("findmnt -no SOURCE /tank/place"), "tank/home");
    assert_eq!(sh("cat /tank/place/a"), "a");
    assert_eq!(
        sh("zfs get -Hpo value,source canmount,quota,org.zbackup:canmount tank/home"),
        "on\tlocal\n314572800\tlocal\n-\t-"
    );
}

#[test]
fn a_replacement_of_a_hosts_volume_at_every_step() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    foreign(&world);
    let force = &["os", "--force", "/home"];

    // Before the swap: the old one is in its place, the new one waits, and the next run uses that.
    strike(transfer("lzc_receive_with_cmdprops"), Kind::Kill, force);
    assert_old_in_place();
    for (place, kind) in [
        (transfer("stream-end"), Kind::Kill),
        (transfer("umount2"), Kind::Error),
        (transfer("lzc_rename"), Kind::Panic),
    ] {
        strike(place, kind, force);
        assert_old_in_place();
        assert_waits_unmounted();
    }
    strike(transfer("lzc_rename:2"), Kind::Error, force).says("the same command goes on");
    assert_old_in_place();
    // Somebody looks into what waits: it is not taken for the copy any more.
    sh("mkdir -p /mnt/look; mount -t zfs -o zfsutil tank/home-zbackup-arriving /mnt/look");
    world.zbackup(force).exits(3).says("is mounted");
    sh("echo theirs > /mnt/look/theirs; umount /mnt/look; zpool sync tank");
    world.zbackup(force).exits(3).says("was written to");
    assert_old_in_place();
    sh(
        "zfs rollback tank/home-zbackup-arriving@$(zfs list -Ht snapshot -o name tank/home-zbackup-arriving | sed 's/.*@//')",
    );

    // Between the two renames there is no /home; the next run puts the old one back.
    for kind in [Kind::Panic, Kind::Kill] {
        strike(transfer("lzc_rename:2"), kind, force);
        assert_eq!(
            sh("zfs list -Ho name -r tank"),
            "tank\ntank/home-zbackup-arriving\ntank/home-zbackup-replaced"
        );
        if kind == Kind::Panic {
            let mut talk = Dialogue::start(&["-v", "os"]);
            talk.answers(&[
                ("import", "y"),
                ("rename tank/home-zbackup-replaced back to tank/home", "n"),
                ("export", "y"),
            ]);
            assert_eq!(talk.ends().0, 3);
            assert_eq!(
                sh("zfs list -Ho name -r tank"),
                "tank\ntank/home-zbackup-arriving\ntank/home-zbackup-replaced"
            );
        }
        // A boot mounts it where its properties say, and somebody else in their own way.
        sh("zfs mount tank/home-zbackup-replaced");
        if kind == Kind::Kill {
            sh(
                "rm -r /run/zbackup.mounts; mount -o remount,bind,nosuid /tank/place
                touch /srv/mine; mount --bind /tank/place/mine /srv/mine",
            );
        }
        let before = mounts("tank/home");
        let run = world.zbackup(&["os"]).exits(3).says("is back now");
        assert!(!run.stderr.contains("not mounted"), "{}", run.stderr);
        assert_eq!(mounts("tank/home"), before.replace("-zbackup-replaced", ""));
        sh("umount /srv/mine 2>/dev/null || true; rm -f /srv/mine");
        assert_old_in_place();
        assert_waits_unmounted();
    }

    // After the swap the new one has arrived, and the next run brings it to its place.
    strike(place("zfs_prop_set", 0), Kind::Kill, force);
    world
        .zbackup(&["os"])
        .exits(0)
        .says("home-zbackup-replaced");
    assert_new_in_place();
    for (place, kind) in [
        (place("zfs_mount_at", 0), Kind::Error),
        (place("lzc_destroy_snaps", 0), Kind::Kill),
        (place("lzc_destroy", 0), Kind::Error),
        (transfer("lzc_rename:2"), Kind::Interrupt),
    ] {
        foreign(&world);
        strike(place, kind, force);
        if place.name == "zfs_mount_at" {
            sh("zfs mount tank/home");
        }
        world.zbackup(&["os"]).exits(0);
        assert_new_in_place();
    }
    assert_eq!(sh("zfs list -Ho name -r tank"), "tank\ntank/home");

    // A file system that replaces a zvol has no place of the old one to take.
    sh("zfs destroy -r tank/home
        zfs create -V 16M -o volmode=none -o compression=gzip tank/home; zfs snapshot tank/home@x");
    world.zbackup(force).exits(0);
    assert_eq!(sh("cat /tank/home/a"), "a");
    assert_eq!(
        sh("zfs get -Hpo value,source canmount,mountpoint,compression tank/home"),
        "on\tlocal\n/tank/home\tinherited from tank\nlz4\tinherited from tank"
    );
}

#[test]
// walks: arrival-later
fn keep_both_on_a_host_at_every_step() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    foreign(&world);
    let keep = &["os", "--keep-both", "/home"];
    let kept = format!("tank/home-kept-{}", sh("date +%F"));

    for (place, kind) in [
        (transfer("stream-end"), Kind::Kill),
        (transfer("umount2"), Kind::Error),
        (transfer("lzc_rename:2"), Kind::Error),
    ] {
        strike(place, kind, keep);
        assert_old_in_place();
        assert_waits_unmounted();
    }
    world.zbackup(&["os"]).exits(3).says("--keep-both /home");

    // Between the two renames the old one has its new name; the next run completes it.
    strike(transfer("lzc_rename:2"), Kind::Kill, keep);
    assert_eq!(
        sh("zfs list -Ho name -r tank"),
        format!("tank\n{kept}\ntank/home-zbackup-arriving")
    );
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/a"), "a");
    // What was unmounted for that is mounted again.
    assert_eq!(sh("findmnt -no SOURCE /tank/place"), kept);
    assert_eq!(sh("cat /tank/place/mine"), "mine");

    // A stream that fails after the swap: what was done to the old one is told.
    let mut world = world;
    world.host("intermediate = yes");
    sh("echo b > /tank/home/b");
    world.backup();
    foreign(&world);
    strike(transfer("lzc_send_resume_redacted:2"), Kind::Error, keep)
        .says(&format!("what was there is kept as {kept}"));
    assert_eq!(sh("findmnt -no SOURCE /tank/place"), kept);
    assert_eq!(sh("cat /tank/place/mine"), "mine");
    // The first stream made it; whichever run gets that far mounts it.
    strike(place("zfs_mount_at", 0), Kind::Kill, &["os"]);
    world
        .zbackup(&["os"])
        .exits(0)
        .says("had arrived in an earlier run, and is mounted at /tank/home now");
    assert_eq!(sh("cat /tank/home/b"), "b");
    assert_eq!(
        sh("zfs get -Ho value canmount,org.zbackup:canmount tank/home"),
        "on\n-"
    );
}
