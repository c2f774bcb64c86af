//! Whatever can be wrong around a run: one message that names the thing, its exit code, and both
//! sides and the disk as they were.

use crate::support::machine::Usb;
use crate::support::world::{CONFIG, assert_nothing_open, volumes};
use crate::support::{Container, World, sh, zbackup};

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
    fn untouched(&self, world: &World) {
        assert_nothing_open();
        assert_eq!(sh("zfs list -Hpt snapshot,bookmark -o name -r tank"), "");
        assert_eq!(Self::of(world).0, self.0, "the disk's bytes");
    }
}

#[test]
fn a_volume_that_is_not_configured() {
    let mut world = world();
    let bytes = Bytes::of(&world);
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
    world.configure(&["/home", "/srv"]);
    world.host("recursive = yes\nexclude = /home/tmp");
    for arguments in [vec!["/home/tmp"], vec!["/srv", "--force", "/home"]] {
        let run = world.zbackup(&[&["--json", "usb"], &arguments[..]].concat());
        assert_eq!(run.exits(2).json()["disk_state"], "untouched");
    }
    // The disk is not even looked for.
    world.usb.unplug();
    world.zbackup(&["usb", "/hoem"]).exits(2).says("/hoem");
    world.usb.plug();
    bytes.untouched(&world);
}

#[test]
fn several_disks_that_are_plugged_in() {
    let world = world();
    let other = Usb(2);
    other.plug_partitioned();
    let config = format!(
        "{}\n[USB device 2]\npartuuid = {}\nbackup_pool = backup\n",
        world.config(),
        other.partuuid()
    );
    std::fs::write("/run/other.ini", config).unwrap();
    let bytes = Bytes::of(&world);
    world
        .zbackup(&["--config", "/run/other.ini", "usb"])
        .exits(2)
        .says("--device \"USB device\" or --device \"USB device 2\"");
    world
        .zbackup(&["--config", "/run/other.ini", "--device", "USB", "usb"])
        .exits(2)
        .says("/run/other.ini")
        .says("[USB device], [USB device 2]");
    bytes.untouched(&world);
    world
        .zbackup(&[
            "--config",
            "/run/other.ini",
            "--device",
            "USB device",
            "usb",
        ])
        .exits(0);
    other.unplug();
    world
        .zbackup(&["--config", "/run/none.ini", "usb"])
        .exits(2);
    world
        .zbackup(&["--config", "/run/other.ini", "usb"])
        .exits(0);
}

#[test]
fn a_volume_that_the_host_lacks_fails_alone() {
    let mut world = world();
    world.configure(&["/home", "/gone"]);
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let volumes = volumes(&run);
    assert_eq!(volumes["/gone"]["outcome"], "failed");
    assert!(
        volumes["/gone"]["reason"]
            .as_str()
            .unwrap()
            .contains("tank/gone")
    );
    assert_eq!(volumes["/home"]["outcome"], "done");
    assert_eq!(run.json()["safe_to_unplug"], true);
}

#[test]
fn a_disk_with_another_pool_on_it() {
    let world = world();
    let bytes = Bytes::of(&world);
    std::fs::write(
        CONFIG,
        world
            .config()
            .replace("backup_pool = backup", "backup_pool = vault"),
    )
    .unwrap();
    world
        .zbackup(&["usb"])
        .exits(1)
        .says("backup")
        .says("vault");
    bytes.untouched(&world);
}

#[test]
fn a_disk_without_a_pool() {
    let world = world();
    world.usb.make_empty();
    let bytes = Bytes::of(&world);
    world.zbackup(&["usb"]).exits(1).says("no pool");
    bytes.untouched(&world);
}

#[test]
fn a_pool_that_somebody_else_has_imported() {
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
}

#[test]
fn a_container_that_somebody_else_has_open() {
    let world = World::with_container(&["/home"], Container::Luks2);
    let device = world.container.open(world.usb);
    zbackup(&["usb"]).exits(1).says("oracle");
    assert!(std::path::Path::new(&device).exists());
    world.container.close();
    assert_nothing_open();
}

#[test]
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
    bytes.untouched(&world);
    world.zbackup(&["--force-import", "usb"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
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
    zbackup(&["open"]).exits(0);
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name,guid -r backup"),
        kept,
        "nothing is lost, and it can be read"
    );
    world.zbackup(&["close"]).exits(0);
}

#[test]
fn no_host_section_fits() {
    let world = world();
    let bytes = Bytes::of(&world);
    let guid = sh("zpool get -Hpo value guid tank");
    std::fs::write(CONFIG, world.config().replace(&guid, "12345")).unwrap();
    world
        .zbackup(&["usb"])
        .exits(2)
        .says(&format!("guid = {guid}"));
    bytes.untouched(&world);
}

#[test]
fn mistakes_in_the_configuration_name_file_and_line() {
    let world = world();
    let bytes = Bytes::of(&world);
    std::fs::write(CONFIG, world.config().replace("backup_pool", "backup_pol")).unwrap();
    world
        .zbackup(&["usb"])
        .exits(2)
        .says("/etc/zbackup.ini:")
        .says("backup_pol")
        .says("backup_pool");
    bytes.untouched(&world);
}

#[test]
fn somebody_who_is_not_root() {
    let world = world();
    let bytes = Bytes::of(&world);
    let bin = crate::support::program::program();
    let (code, _, stderr) =
        crate::support::try_sh(&format!("setpriv --reuid 65534 --clear-groups {bin} usb"));
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        "zbackup: zbackup has to run as root: it imports pools and opens containers\nRun it with sudo."
    );
    bytes.untouched(&world);
}

#[test]
fn no_dev_zfs() {
    let world = world();
    let bytes = Bytes::of(&world);
    sh("mv /dev/zfs /dev/zfs.away");
    let run = zbackup(&["usb"]);
    sh("mv /dev/zfs.away /dev/zfs");
    run.exits(1).says("modprobe zfs");
    bytes.untouched(&world);
}

#[test]
fn a_second_run_at_the_same_time() {
    let world = world();
    let held = sh(
        "exec 9>/run/zbackup.lock; flock 9; echo 4242 >&9; ZBACKUP=$ZBACKUP_BIN; set +e; \
                   out=$($ZBACKUP usb 2>&1 9>&-); echo \"$? $out\"",
    );
    assert!(held.starts_with('1') && held.contains("4242"), "{held}");
    drop(world);
}

#[test]
fn an_error_before_there_are_volumes_is_a_document_too() {
    let world = world();
    world.usb.make_empty();
    let document = world.zbackup(&["--json", "usb"]).exits(1).json();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["volumes"], serde_json::json!([]));
    assert_eq!(document["error"]["phase"], "import");
    assert_eq!(document["disk_state"], "closed");
    assert_eq!(document["safe_to_unplug"], true);
    assert_eq!(document["exit_code"], 1);
}
