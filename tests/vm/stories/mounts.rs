//! Somebody has mounted a volume in their own way: with options, a directory of it elsewhere, a snapshot
//! of it, something else on top. They expect each mount to be as it was after a run that had to unmount
//! the volume, or to be told, and that nothing of anybody else is unmounted.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::program::{program, run_program};
use crate::support::world::{advance_on_disk, assert_nothing_open, mounts, volumes};
use crate::support::{Running, World, sh, try_sh, zbackup_with_fault};

/// The lines that do not have this.
fn without(lines: &str, path: &str) -> String {
    let others = lines.lines().filter(|line| !line.contains(path));
    others.collect::<Vec<_>>().join("\n")
}

/// Places of the story, which are free again at its end.
struct Places;

impl Places {
    /// Gives tank/home a legacy mountpoint, and these mounts.
    fn fill(snapshots: &str) -> Self {
        sh(&format!(
            "zfs set mountpoint=legacy tank/home
             mkdir -p /data /srv/pub /srv/all /srv/tied
             mount -t zfs -o nosuid,noexec tank/home /data; mount --make-shared /data
             mount --bind /data/pub /srv/pub; mount -o remount,bind,ro,noatime /srv/pub
             mount --bind /data /srv/all; mount --make-private /srv/all
             mount --bind /data/pub /srv/tied; mount --make-slave /srv/tied
             touch /srv/file; mount --bind /data/pub/p /srv/file
             for snapshot in {snapshots}; do
                 mkdir -p /mnt/$snapshot; mount -t zfs tank/home@$snapshot /mnt/$snapshot
             done"
        ));
        Self
    }

    fn clear() {
        try_sh(
            "for place in /mnt/kept /mnt/late /srv/file /srv/tied /srv/all /srv/pub /data /mnt; do
                 umount -R $place 2>/dev/null || true
             done; rm -rf /data /srv/*",
        );
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        Self::clear();
    }
}

/// The first story, with a snapshot that the force destroys, and a child; then the same is kept beside
/// the new copy.
#[test]
fn a_volume_that_is_mounted_in_many_ways_stays_so() {
    let world = World::new(&["/home"]);
    sh(
        "mkdir /tank/home/pub /tank/home/vic; echo p > /tank/home/pub/p; zfs snapshot tank/home@kept",
    );
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other-1", "echo 1"));
    sh("echo own > /tank/home/own; zfs snapshot tank/home@late");
    let places = Places::fill("kept late");
    sh(
        "zfs create -o mountpoint=legacy tank/home/vic; mount -t zfs -o nodev tank/home/vic /data/vic",
    );
    let before = mounts("tank/home");
    assert!(
        before.contains("/pub /srv/pub ro,nosuid,noexec,noatime shared"),
        "{before}"
    );
    // OpenZFS 2.4 mounts by the property `atime` here too.
    let is_private = |atime| before.contains(&format!("/ /srv/all rw,nosuid,noexec,{atime} - zfs"));
    assert!(is_private("relatime") || is_private("noatime"), "{before}");

    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(0);
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("/mnt/late is not mounted again: tank/home@late is gone"),
        "{warnings}"
    );
    assert_eq!(mounts("tank/home"), without(&before, "/mnt/late"));
    assert_eq!(sh("cat /data/news /srv/all/news; ls /srv/pub"), "1\n1\np");
    assert_eq!(sh("ls /mnt/kept; cat /srv/file"), "pub\nvic\np");

    // What is kept keeps its mounts, under its new name.
    sh("umount /data/vic; zfs destroy tank/home/vic; echo own > /data/own");
    world.tamper(|| advance_on_disk("home", "zbackup-other-2", "echo 2"));
    let before = mounts("tank/home");
    world.zbackup(&["os", "--keep-both", "/home"]).exits(0);
    let kept = format!("tank/home-kept-{}", sh("date +%F"));
    assert_eq!(
        mounts(&kept),
        before.replace("zfs tank/home", &format!("zfs {kept}"))
    );
    assert_eq!(sh("cat /data/own /tank/home/news"), "own\n2");
    drop(places);
}

/// A volume that has nothing in common with its copy is replaced, in the second try: the first run was
/// killed while all was unmounted, and something wrote into the empty directory.
#[test]
fn a_replacement_takes_over_the_mounts_also_after_a_crash() {
    let world = World::new(&["/home"]);
    sh("mkdir /tank/home/pub; echo copy > /tank/home/pub/p");
    world.backup();
    sh("zfs destroy -r tank/home; zfs create tank/home
        mkdir /tank/home/pub; echo mine > /tank/home/pub/p; zfs snapshot tank/home@kept");
    let places = Places::fill("kept");
    let before = mounts("tank/home");
    let force = ["os", "--force", "/home"];

    zbackup_with_fault("lzc_rename:SIGKILL", &force);
    assert_eq!(mounts("tank/home"), "", "all was unmounted");
    sh("mkdir /data/log; echo lost > /data/log/today");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let warnings = run.json()["warnings"].to_string();
    for said in [
        "an earlier run ended while /data, ",
        "log/today",
        "`mount --bind / /mnt`",
    ] {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
    assert_eq!(
        sh("mount --bind / /mnt; cat /mnt/data/log/today; umount /mnt"),
        "lost"
    );
    assert_eq!(mounts("tank/home"), before);
    assert_eq!(sh("cat /srv/file /mnt/kept/pub/p"), "mine\nmine");

    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(0);
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("/mnt/kept is not mounted again: tank/home@kept is gone"),
        "{warnings}"
    );
    assert_eq!(mounts("tank/home"), without(&before, "/mnt/kept"));
    assert_eq!(
        sh("cat /srv/file /srv/pub/p /srv/tied/p /srv/all/pub/p"),
        ["copy"; 4].join("\n")
    );
    assert_eq!(
        sh("ls -A /run | grep zbackup- || true"),
        "",
        "no stage is left"
    );
    drop(places);
}

/// Something else lies over a volume, or within it: neither is touched.
#[test]
fn what_strangers_have_mounted_over_a_volume_or_in_it_stays() {
    let world = World::new(&["/home", "/srv"]);
    sh("mkdir /tank/home/tmp /tank/srv/tmp");
    world.backup();
    world.tamper(|| {
        for volume in ["home", "srv"] {
            advance_on_disk(volume, "zbackup-other", "echo 1");
        }
    });
    sh("echo own > /tank/home/own; zfs destroy -r tank/srv; zfs create tank/srv; mkdir /tank/srv/tmp
        zfs snapshot tank/srv@mine");
    let force = ["--json", "os", "--force", "/home", "--force", "/srv"];
    for (directory, obstacle) in [
        ("", "is covered by theirs (tmpfs) at /tank/VOLUME"),
        (
            "/tmp",
            "within /tank/VOLUME is mounted theirs (tmpfs) at /tank/VOLUME/tmp",
        ),
    ] {
        sh(&format!(
            "for volume in home srv; do
                 mount -t tmpfs theirs /tank/$volume{directory}; echo theirs > /tank/$volume{directory}/file
             done"
        ));
        let before = sh("cat /proc/self/mountinfo");
        let run = world.zbackup(&force).exits(3);
        assert_eq!(sh("cat /proc/self/mountinfo"), before);
        for (name, volume) in volumes(&run) {
            assert_eq!(volume["outcome"], "refused", "{name}");
            let reason = volume["reason"].as_str().unwrap();
            let obstacle = obstacle.replace("VOLUME", &name[1..]);
            assert!(reason.contains(&obstacle), "{reason}");
        }
        let file = format!("/tank/{{home,srv}}{directory}");
        assert_eq!(
            sh(&format!("cat {file}/file; umount {file}")),
            "theirs\ntheirs"
        );
    }
    // Over a directory that leads there.
    sh("mount -t tmpfs theirs /tank; mkdir -p /tank/home; echo theirs > /tank/home/file");
    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(3);
    let reason = volumes(&run)["/home"]["reason"].to_string();
    assert!(
        reason.contains("is covered by theirs (tmpfs) at /tank"),
        "{reason}"
    );
    assert_eq!(
        sh("cat /tank/home/file; umount /tank; cat /tank/home/own"),
        "theirs\nown"
    );
}

/// Somebody's system lies on ZFS, and the disk has a newer state of it. The kernel, asked to unmount a
/// root, remounts it read-only and calls that a success.
#[test]
fn the_root_of_the_running_system_stays_what_it_is() {
    let world = World::new(&["/home"]);
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo 1"));
    let system = "bin sbin lib lib64 usr etc dev proc sys run host tmp";
    sh(&format!(
        "cd /tank/home; mkdir {system}; zfs snapshot tank/home@own"
    ));
    let inside = format!(
        "cd /tank/home; for one in {system}; do mount --rbind /$one $one; done; exec chroot . \"$@\""
    );
    for option in ["--force", "--keep-both"] {
        let mut command = Command::new("unshare");
        command.args(["-m", "bash", "-ec", &inside, "bash", &program()]);
        let run = run_program(&mut command, &["--json", "os", option, "/home"]).exits(3);
        let volume = &volumes(&run)["/home"];
        assert_eq!(volume["outcome"], "refused", "{option}");
        let reason = volume["reason"].as_str().unwrap();
        assert!(
            reason.contains("tank/home holds the root of the running system"),
            "{reason}"
        );
        sh(&format!(
            "echo writable > /tank/home/{option}; zfs list tank/home@own"
        ));
    }
}

/// A daemon goes on writing where the volume was.
#[test]
fn what_is_written_where_a_volume_was_is_told() {
    let world = World::new(&["/home"]);
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo 1"));
    sh("echo own > /tank/home/own");
    let run = Running::start_with_fault(
        "thread-guard:SIGSTOP",
        &["--json", "os", "--force", "/home"],
    )
    .stops();
    sh("echo 1 > /tank/home/daemon.log");
    let run = run.signal(Signal::SIGCONT).ends().exits(0);
    assert_nothing_open();
    let warnings = run.json()["warnings"].to_string();
    for said in [
        "something wrote daemon.log",
        "`mount --bind /tank /mnt` shows it at /mnt/home",
    ] {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
    assert_eq!(
        sh("ls /tank/home; mount --bind /tank /mnt; cat /mnt/home/daemon.log; umount /mnt"),
        "news\n1"
    );
}

/// Whoever had the disk has put links where a volume holds the places of others.
#[test]
fn a_link_on_the_disk_leads_no_mount_to_another_place() {
    let mut world = World::new(&["/home"]);
    world.host("recursive = yes");
    sh("zfs create tank/home/vic");
    world.backup();
    world.tamper(|| {
        sh(
            "zfs create -u backup/home/new; zfs create -u backup/home/new/deep
            zfs snapshot backup/home/new@1; zfs snapshot backup/home/new/deep@1",
        );
        advance_on_disk(
            "home",
            "evil",
            "rmdir /mnt/look/vic; ln -s /srv/trap /mnt/look/vic
             ln -s /srv/trap /mnt/look/new; echo 1",
        );
    });
    sh("mkdir -p /srv/trap/deep; echo own > /tank/home/own");
    let run = world.zbackup(&["--json", "os", "--force", "/home"]);
    let traps = sh("grep -c /srv/trap /proc/self/mountinfo || true");
    sh("umount -R /srv/trap/deep 2>/dev/null || true; rm -r /srv/trap");
    assert_eq!(traps, "0");
    let run = run.exits(0);
    let told = run.json().to_string();
    for said in [
        "/tank/home/vic is not mounted again: a symbolic link is in the way by now",
        "/tank/home/new is not a directory",
        "a symbolic link in tank/home leads /tank/home/new/deep to another place",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}
