//! Somebody reads what went wrong, does what the message says, word for word, and expects that to
//! lead on: no advice is refused by the next run, and none harms what was not asked about.

use crate::support::world::CONFIG;
use crate::support::{Container, World, sh, type_in, zbackup};

/// Renames the host's pool, which stays where it is mounted.
fn rename_host_pool(from: &str, to: &str) {
    sh(&format!(
        "zpool export {from}; zpool import -d /dev/disk/by-id/virtio-HOST1-part1 {from} {to}"
    ));
}

/// Two people have called their pools `backup`: one is this host's, the other comes on a disk.
#[test]
// walks: no-host
fn a_disks_pool_has_the_name_of_the_hosts() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    rename_host_pool("tank", "backup");
    let (own, text) = (world.config(), sh("zpool get -Hpo value guid backup"));
    std::fs::write(CONFIG, own.replace(&text, "1")).unwrap();
    // What is pasted from the message is this host's section, though its pool is called like the disk's.
    let said = zbackup(&["usb"]).exits(2).says("[host2]").stderr;
    let pasted: Vec<_> = said.lines().skip_while(|line| *line != "[host2]").collect();
    std::fs::write(
        CONFIG,
        [&own.replace(&text, "1"), "\n", &pasted.join("\n")].concat(),
    )
    .unwrap();

    zbackup(&["usb"])
        .exits(0)
        .says("Importing backup as backup-usb")
        .says("Safe to unplug");
    sh("echo b > /tank/home/b");
    zbackup(&["open"]).exits(0);
    assert_eq!(sh("zpool list -Ho name"), "backup\nbackup-usb");
    // The next run finds what is open by its guid.
    zbackup(&["usb"]).exits(0).says("incremental");
    sh("zfs destroy -r backup/home");
    let run = zbackup(&["os"]).exits(0).says("Safe to unplug");
    for said in [run.stdout, run.stderr] {
        assert!(!said.contains("zpool export"), "{said}");
    }
    assert_eq!(
        sh("zpool list -Ho name; cat /tank/home/[ab]"),
        "backup\na\nb"
    );
    // On the disk it is still called what its owner has called it.
    rename_host_pool("backup", "tank");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// A volume of the host has nothing in common with the disk's, and children that are not carried.
#[test]
// walks: keep-by-hand, on-disk, keep-both-refused, keep-both-child
fn what_would_move_along_is_moved_by_hand_or_named() {
    let mut world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    let begin_anew = || {
        sh(
            "zfs destroy -r tank/home; zfs create tank/home; zfs create tank/home/vic
            echo mine > /tank/home/mine; echo vic > /tank/home/vic/vic",
        );
    };
    begin_anew();
    let rename = "zfs rename tank/home tank/home-kept-aside";
    world
        .zbackup(&["os"])
        .exits(3)
        .says(&format!("`{rename}`, then run the same command again"))
        .says("--force /home would be refused");
    world
        .zbackup(&["os", "--keep-both", "/home"])
        .exits(3)
        .says(rename);
    sh(rename);
    world.zbackup(&["os"]).exits(0);
    let kept = "cat /tank/home/a /tank/home-kept-aside/mine /tank/home-kept-aside/vic/vic";
    assert_eq!(sh(kept), "a\nmine\nvic");

    // Its child is carried, too: the options that are named do it in one go.
    sh("zfs destroy -r tank/home-kept-aside");
    begin_anew();
    world.configure(&["/home", "/home/vic"]);
    let options = "--keep-both /home --keep-both /home/vic";
    world.zbackup(&["os"]).exits(3).says(options);
    let typed: Vec<_> = ["os"].into_iter().chain(options.split(' ')).collect();
    // The child is not on the disk, and moves along.
    world.zbackup(&typed).exits(3).says("/home/vic");
    let names = sh("zfs list -Hpt filesystem,snapshot -o name -r tank");
    assert!(names.contains("tank/home@zbackup-"), "{names}");
    let kept = names
        .lines()
        .find(|name| name.starts_with("tank/home-kept-"));
    let kept = kept.expect("it is kept").to_owned();
    assert!(names.contains(&format!("{kept}/vic")), "{names}");

    // The same on the disk, which is closed in between, and where both sides went on from the same.
    world.configure(&["/home"]);
    sh(&format!("zfs destroy -r {kept}; echo new > /tank/home/new"));
    world.tamper(|| {
        crate::support::world::advance_on_disk("home", "theirs", "echo b");
        sh("zfs create -u backup/home/old; zfs snapshot backup/home/old@precious");
    });
    let rename = "zfs rename backup/home backup/home-kept-aside";
    world
        .zbackup(&["usb"])
        .exits(3)
        .says(&format!("`zbackup open --rw`, `{rename}`, `zbackup close`"));
    zbackup(&["open", "--rw"]).exits(0);
    sh(rename);
    world.zbackup(&["close"]).exits(0);
    world.zbackup(&["usb"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    world.inspect(|| sh("zfs list backup/home-kept-aside/old@precious"));
}

/// A snapshot that is held or was cloned is in the way, and `--force` is not offered before it works.
#[test]
// walks: held, force-refused, clone-destroy
fn a_hold_and_a_clone_are_named_with_the_command_that_ends_it() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    world.tamper(|| crate::support::world::advance_on_disk("home", "theirs", "echo b"));
    sh("echo mine > /tank/home/mine; zfs snapshot tank/home@mine; zfs hold keep tank/home@mine");
    world
        .zbackup(&["os"])
        .exits(3)
        .says("--force /home would be refused: tank/home@mine is held")
        .says("`zfs release TAG tank/home@mine` ends it");
    assert!(sh("zfs holds tank/home@mine").contains("keep"));
    sh("zfs release keep tank/home@mine; zfs clone tank/home@mine tank/test");
    let words = "tank/test is a clone of tank/home@mine, and needs it";
    let run = world.zbackup(&["os", "--force", "/home"]).exits(3);
    assert_eq!(sh("cat /tank/test/mine"), "mine");
    type_in(&run.says("To keep both: --keep-both /home").advises(words));
    world
        .zbackup(&["os"])
        .exits(3)
        .says("snapshots included: --force /home");
    world.zbackup(&["os", "--force", "/home"]).exits(0);
    assert_eq!(sh("cat /tank/home/news"), "b");
}

/// The switch on the side of the disk is set.
#[test]
// walks: write-protected
fn a_write_protected_disk_is_called_that() {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh("echo a > /tank/home/a");
    world.backup();
    let (disk, part) = (
        sh(&format!("readlink -f {}", world.usb.link().display())),
        sh(&format!("readlink -f {}", world.usb.partition())),
    );
    sh(&format!("blockdev --setro {disk}"));
    for verb in ["usb", "os"] {
        world
            .zbackup(&[verb])
            .exits(1)
            .says(&format!("{part} is write-protected"))
            .says("was not touched");
    }
    // Looking changes nothing.
    world.zbackup(&["-n", "usb"]).exits(0);
    zbackup(&["open"]).exits(0);
    assert!(sh("zfs list -Ho name -r backup").contains("backup/home"));
    world.zbackup(&["close"]).exits(0).says("Safe to unplug");
    sh(&format!("blockdev --setrw {disk} {part}"));
    world.zbackup(&["usb"]).exits(0);
}

/// Somebody has imported the disk by hand; then everything goes on, one short message after the other.
// walks: imported-by-others, ahead, missing-on-disk, missing-on-host, open-dry-run, config-writable, no-pool
#[test]
fn short_advice_that_leads_on() {
    let mut world = World::new(&["/home"]);
    sh(&format!(
        "echo a > /tank/home/a; zpool import -N -o cachefile=none -d {} backup",
        world.usb.partition()
    ));
    zbackup(&["usb"]).exits(1).says("zpool export backup");
    sh("zpool export backup");
    world.backup();

    // The disk is ahead.
    world.tamper(|| crate::support::world::advance_on_disk("home", "theirs", "echo b"));
    world.zbackup(&["usb"]).exits(0).says("`zbackup os`");
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/news"), "b");

    // A volume that one of the two sides lacks.
    world.configure(&["/home", "/new"]);
    world.zbackup(&["usb"]).exits(3).says("Create it");
    sh("zfs create tank/new; echo new > /tank/new/new");
    world.zbackup(&["os"]).exits(3).says("`zbackup usb`");
    world.zbackup(&["usb"]).exits(0);
    world.zbackup(&["os"]).exits(0);

    zbackup(&["open"]).exits(0);
    zbackup(&["-n", "usb"]).exits(1).says("`zbackup close`");
    world.zbackup(&["close"]).exits(0);
    world.zbackup(&["-n", "usb"]).exits(0);

    sh(&format!("chmod o+w {CONFIG}"));
    world.zbackup(&["-n", "usb"]).says("chmod go-w");
    sh(&format!("chmod go-w {CONFIG}"));
    let run = world.zbackup(&["-n", "usb"]).exits(0);
    assert!(!run.stdout.contains("chmod"), "{}", run.stdout);

    // A new disk.
    world.usb.make_empty();
    world
        .zbackup(&["usb"])
        .exits(1)
        .says("make a pool on it first");
    sh(&format!(
        "zpool create -f -O mountpoint=none backup {}; zpool export backup",
        world.usb.partition()
    ));
    world.zbackup(&["usb"]).exits(0);
}

/// Replacements that died on the way have left datasets with names that nobody has given them.
// walks: leftover-replaced, leftover-arriving
#[test]
fn what_dead_replacements_have_left_is_cleared_as_told() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    for left in ["replaced", "arriving"] {
        let left = format!("tank/home-zbackup-{left}");
        sh(&format!("zfs create {left}; zfs snapshot {left}@x"));
        let clear = format!("zfs destroy -r {left}");
        world.zbackup(&["os"]).says(&clear);
        sh(&clear);
        let run = world.zbackup(&["os"]).exits(0);
        assert!(!run.stdout.contains(&left), "{}", run.stdout);
    }
    assert_eq!(sh("cat /tank/home/a"), "a");
}
