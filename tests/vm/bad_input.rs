//! Whatever can be wrong around a run: one message that names the thing, its exit code, and both
//! sides and the disk as they were.

use crate::support::machine::Usb;
use crate::support::world::{CONFIG, assert_nothing_open, volumes};
use crate::support::{World, sh, zbackup};

fn world() -> World {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world
}

/// The disk's bytes before something is refused.
struct Bytes(String);

impl Bytes {
    fn of(world: &World) -> Self {
        world.usb.unplug();
        let sum = world.usb.sha256();
        world.usb.plug();
        Self(sum)
    }

    /// Nothing is open, the host has nothing new, and no byte of the disk is another.
    #[track_caller]
    fn untouched(&self, world: &World, by: &str) {
        assert_nothing_open();
        let new = sh("zfs list -Hpt snapshot,bookmark -o name -r tank");
        assert_eq!(new, "", "the host after {by}");
        assert_eq!(Self::of(world).0, self.0, "the disk's bytes after {by}");
    }
}

/// What is wrong, and a run that is refused for it.
type Case = (&'static str, fn(&World));

/// One world for all, since each leaves it as it was.
#[test]
// walks: not-root, no-zfs-module, locked, other-pool
fn what_is_refused_touches_neither_side() {
    let mut world = world();
    let bytes = Bytes::of(&world);
    let cases: [Case; 8] = [
        ("a volume that is not configured", volume_not_configured),
        ("several disks", several_disks),
        ("another pool's name", another_pool_on_the_disk),
        ("no section of this host", no_host_section),
        (
            "a mistake in the configuration",
            mistake_in_the_configuration,
        ),
        ("somebody who is not root", not_root),
        ("no /dev/zfs", no_dev_zfs),
        ("a second run", a_second_run),
    ];
    for (name, refused) in cases {
        println!("--- {name}");
        refused(&world);
        world.write_config();
        bytes.untouched(&world, name);
    }
    // The same disk is good for what is right.
    one_of_several_disks(&world);
    a_volume_that_the_host_lacks_fails_alone(&mut world);
}

fn volume_not_configured(world: &World) {
    world
        .zbackup(&["usb", "/hoem"])
        .exits(2)
        .says("/hoem")
        .says("/home");
    for verb in ["usb", "os"] {
        for volume in [
            vec!["/hoem"],
            vec!["--force", "/hoem"],
            vec!["--keep-both", "/hoem"],
            vec!["/home/vic"],
        ] {
            let run = world.zbackup(&[&["--json", verb], &volume[..]].concat());
            let document = run.exits(2).json();
            assert_eq!(document["disk_state"], "untouched", "{volume:?}");
            assert_eq!(document["error"]["phase"], "arguments");
        }
    }
    // Configured, but left out, or not among those that are named.
    let config = world
        .config()
        .replace("volume = /home\n", "volume = /home\n         /srv\n");
    let config = config + "recursive = yes\nexclude = /home/tmp\n";
    std::fs::write(CONFIG, config).unwrap();
    for arguments in [vec!["/home/tmp"], vec!["/srv", "--force", "/home"]] {
        let run = world.zbackup(&[&["--json", "usb"], &arguments[..]].concat());
        assert_eq!(run.exits(2).json()["disk_state"], "untouched");
    }
    // The disk is not even looked for.
    world.usb.unplug();
    world.zbackup(&["usb", "/hoem"]).exits(2).says("/hoem");
    world.usb.plug();
}

/// The configuration of `several_disks`.
const OTHER_CONFIG: &str = "/run/other.ini";

fn several_disks(world: &World) {
    let other = Usb(2);
    other.plug_partitioned();
    let config = format!(
        "{}\n[USB device 2]\npartuuid = {}\nbackup_pool = backup\n",
        world.config(),
        other.partuuid()
    );
    std::fs::write(OTHER_CONFIG, config).unwrap();
    world
        .zbackup(&["--config", OTHER_CONFIG, "usb"])
        .exits(2)
        .says("--device 'USB device' or --device 'USB device 2'");
    world
        .zbackup(&["--config", OTHER_CONFIG, "--device", "USB", "usb"])
        .exits(2)
        .says(OTHER_CONFIG)
        .says("[USB device], [USB device 2]");
}

/// The second one is still plugged in.
// walks: several-disks, no-such-device
fn one_of_several_disks(world: &World) {
    world
        .zbackup(&["--config", OTHER_CONFIG, "--device", "USB device", "usb"])
        .exits(0);
    Usb(2).unplug();
    world
        .zbackup(&["--config", "/run/none.ini", "usb"])
        .exits(2);
    world.zbackup(&["--config", OTHER_CONFIG, "usb"]).exits(0);
}

fn a_volume_that_the_host_lacks_fails_alone(world: &mut World) {
    sh("echo b > /tank/home/b");
    world.configure(&["/home", "/gone"]);
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let volumes = volumes(&run);
    assert_eq!(volumes["/gone"]["outcome"], "failed");
    let reason = volumes["/gone"]["reason"].as_str().unwrap();
    assert!(reason.contains("tank/gone"), "{reason}");
    assert_eq!(volumes["/home"]["outcome"], "done");
    assert_eq!(run.json()["safe_to_unplug"], true);
}

fn another_pool_on_the_disk(world: &World) {
    let config = world
        .config()
        .replace("backup_pool = backup", "backup_pool = vault");
    std::fs::write(CONFIG, config).unwrap();
    world
        .zbackup(&["usb"])
        .exits(1)
        .says("backup")
        .says("vault");
}

fn no_host_section(world: &World) {
    let guid = sh("zpool get -Hpo value guid tank");
    std::fs::write(CONFIG, world.config().replace(&guid, "12345")).unwrap();
    world
        .zbackup(&["usb"])
        .exits(2)
        .says(&format!("guid = {guid}"));
}

// walks: config-guid
fn mistake_in_the_configuration(world: &World) {
    let partuuid = world.usb.partuuid();
    let guid = sh("zpool get -Hpo value guid tank");
    for (right, wrong, said) in [
        ("backup_pool", "backup_pol", "backup_pool"),
        ("[host1]", "[host1]\nguid = 1", "guid"),
        (guid.as_str(), "0x12g", "0x12g"),
        (partuuid.as_str(), "sda1", "sda1"),
    ] {
        std::fs::write(CONFIG, world.config().replace(right, wrong)).unwrap();
        world
            .zbackup(&["usb"])
            .exits(2)
            .says("/etc/zbackup.ini:")
            .says(said);
    }
}

fn not_root(_: &World) {
    let bin = crate::support::program::program();
    let (code, _, stderr) =
        crate::support::try_sh(&format!("setpriv --reuid 65534 --clear-groups {bin} usb"));
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        "zbackup: zbackup has to run as root: it imports pools and opens containers\nRun it with sudo."
    );
}

fn no_dev_zfs(_: &World) {
    sh("mv /dev/zfs /dev/zfs.away");
    let run = zbackup(&["usb"]);
    sh("mv /dev/zfs.away /dev/zfs");
    run.exits(1).says("modprobe zfs");
}

fn a_second_run(_: &World) {
    let held = sh(
        "exec 9>/run/zbackup.lock; flock 9; echo 4242 >&9; ZBACKUP=$ZBACKUP_BIN; set +e; \
                   out=$($ZBACKUP usb 2>&1 9>&-); echo \"$? $out\"",
    );
    assert!(held.starts_with('1') && held.contains("4242"), "{held}");
}

/// First it is somebody else's, and then there is none.
#[test]
fn a_disk_without_a_pool_to_import() {
    let world = world();
    sh(&format!(
        "zpool import -N -d {} backup",
        world.usb.partition()
    ));
    zbackup(&["usb"]).exits(1).says("zpool export backup");
    assert_eq!(
        sh("zpool list -Ho name backup"),
        "backup",
        "it stays as it was"
    );
    sh("zpool export backup");
    assert_nothing_open();
    assert_eq!(sh("zfs list -Hpt snapshot,bookmark -o name -r tank"), "");

    world.usb.make_empty();
    let bytes = Bytes::of(&world);
    world.zbackup(&["usb"]).exits(1).says("no pool");
    // An error before there are volumes is a document too.
    let document = world.zbackup(&["--json", "usb"]).exits(1).json();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["volumes"], serde_json::json!([]));
    assert_eq!(document["error"]["phase"], "import");
    assert_eq!(document["disk_state"], "closed");
    assert_eq!(document["safe_to_unplug"], true);
    assert_eq!(document["exit_code"], 1);
    bytes.untouched(&world, "two runs without a pool");
}

#[test]
// walks: force-import
fn a_pool_that_another_host_did_not_export() {
    let world = world();
    // Import with another hostid; what is on the disk now is what that host would leave if the
    // cable was pulled: a label that says that it has the pool.
    let own = sh("cat /sys/module/spl/parameters/spl_hostid");
    sh(&format!(
        "echo 4294967294 > /sys/module/spl/parameters/spl_hostid
         zpool import -N -o cachefile=none -d {} backup; zpool sync backup",
        world.usb.partition()
    ));
    world.usb.save();
    sh(&format!(
        "zpool export backup; echo {own} > /sys/module/spl/parameters/spl_hostid"
    ));
    world.usb.restore();
    sh(&format!(
        "udevadm wait --timeout=30 --settle {}",
        world.usb.partition()
    ));
    let bytes = Bytes::of(&world);
    world.zbackup(&["usb"]).exits(1).says("--force-import");
    bytes.untouched(&world, "a run without --force-import");
    world.zbackup(&["--force-import", "usb"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
// walks: newer-openzfs
fn a_pool_that_a_newer_openzfs_has_changed() {
    let world = world();
    world.backup();
    let kept = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -r backup"));
    // zhack looks at all of a directory.
    let zhack = |command: &str| {
        sh(&format!(
            "mkdir -p /run/future; ln -sf {} /run/future/; zhack -d /run/future feature {command}",
            world.usb.partition()
        ))
    };
    zhack("enable -r -d 'of the future' backup org.zbackup:future");
    zhack("ref backup org.zbackup:future");
    for verb in ["usb", "os"] {
        world
            .zbackup(&[verb])
            .exits(1)
            .says("org.zbackup:future")
            .says("zbackup open")
            .says("Safe to unplug");
    }
    zbackup(&["open"])
        .exits(0)
        .says("Nothing of the disk is mounted: [USB device] has no mount-point");
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name,guid -r backup"),
        kept,
        "nothing is lost, and it can be read"
    );
    world.zbackup(&["close"]).exits(0);
}
