//! Whatever can be wrong around a run: one message that names the thing, its exit code, and both
//! sides and the disk as they were.

use crate::support::world::{CONFIG, assert_nothing_open, volumes};
use crate::support::{Container, World, sh, zbackup};

fn world() -> World {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world
}

#[track_caller]
fn untouched() {
    assert_nothing_open();
    assert_eq!(sh("zfs list -Hpt snapshot,bookmark -o name -r tank"), "");
}

#[test]
fn a_volume_that_is_not_configured() {
    let world = world();
    world
        .zbackup(&["usb", "/hoem"])
        .exits(2)
        .says("/hoem")
        .says("/home");
    untouched();
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
    untouched();
}

#[test]
fn a_disk_without_a_pool() {
    let world = world();
    world.usb.make_empty();
    world.zbackup(&["usb"]).exits(1).says("no pool");
    untouched();
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
    untouched();
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
    world.zbackup(&["usb"]).exits(1).says("--force-import");
    untouched();
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
    let guid = sh("zpool get -Hpo value guid tank");
    std::fs::write(CONFIG, world.config().replace(&guid, "12345")).unwrap();
    world
        .zbackup(&["usb"])
        .exits(2)
        .says(&format!("guid = {guid}"));
    untouched();
}

#[test]
fn mistakes_in_the_configuration_name_file_and_line() {
    let world = world();
    std::fs::write(CONFIG, world.config().replace("backup_pool", "backup_pol")).unwrap();
    world
        .zbackup(&["usb"])
        .exits(2)
        .says("/etc/zbackup.ini:")
        .says("backup_pol")
        .says("backup_pool");
    untouched();
}

#[test]
fn somebody_who_is_not_root() {
    let _world = world();
    let bin = crate::support::program::program();
    let (code, _, stderr) =
        crate::support::try_sh(&format!("setpriv --reuid 65534 --clear-groups {bin} usb"));
    assert_eq!(code, 1);
    assert!(stderr.contains("root"), "{stderr}");
    untouched();
}

#[test]
fn no_dev_zfs() {
    let _world = world();
    sh("mv /dev/zfs /dev/zfs.away");
    let run = zbackup(&["usb"]);
    sh("mv /dev/zfs.away /dev/zfs");
    run.exits(1).says("modprobe zfs");
    untouched();
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
