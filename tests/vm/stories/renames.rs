//! Somebody renames a volume, or what is above it, or its pool, or exchanges two names, and expects
//! that nothing is sent a second time, that no copy is taken for another's, and to be told what to do.

use crate::support::world::{advance_on_disk, mounts, volumes};
use crate::support::{Dialogue, Other, World, sh, try_sh, zbackup_with_fault};

/// All on the disk: names and guids of datasets and snapshots.
fn on_disk(world: &World) -> String {
    world.inspect(|| sh("zfs list -Hpt filesystem,volume,snapshot -o name,guid -r backup"))
}

/// The disk's datasets.
fn names_on_disk(world: &World) -> String {
    world
        .inspect(|| sh("zfs list -Ho name -r backup"))
        .replace('\n', " ")
}

/// The bookmark for the disk, which is all that is left of the base, is what the renamed volume goes
/// on from. On the host the volume has children, one of them a zvol.
#[test]
fn a_renamed_volume_is_told_and_its_copy_follows() {
    let mut world = World::new(&["/home", "/home/vic", "/home/disk=4M", "/srv"]);
    sh(
        "echo a > /tank/home/a; echo v > /tank/home/vic/v; dd if=/dev/urandom of=/tank/home/big bs=1M count=8 status=none",
    );
    world.backup();
    let before = on_disk(&world);
    sh("zfs rename tank/home tank/data; echo b > /tank/data/b; echo s > /tank/srv/s");

    // The configuration still has the old name: told, and nothing of it is touched.
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(3);
    let told = volumes(&run);
    assert_eq!(told["/home"]["conflict"], "renamed");
    let reason = told["/home"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("tank/data") && reason.contains("--follow-rename /data"),
        "{reason}"
    );
    assert_eq!(told["/srv"]["outcome"], "done");
    let bookmarks = || sh("zfs list -Hpt bookmark -o name,guid -r tank/data");
    let ledger = bookmarks();

    // With the new name in it: both names, and no transfer without a word.
    world.configure(&["/data", "/data/vic", "/data/disk", "/srv"]);
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(3);
    let told = volumes(&run);
    for volume in ["/data", "/data/vic", "/data/disk"] {
        assert_eq!(told[volume]["conflict"], "renamed", "{volume}");
        let reason = told[volume]["reason"].as_str().unwrap();
        assert!(
            reason.contains(&volume.replace("/data", "backup/home")),
            "{reason}"
        );
        assert!(reason.contains("--follow-rename /data."), "{reason}");
    }
    let kept = |all: &str| -> Vec<String> {
        all.lines()
            .filter(|line| line.starts_with("backup/home"))
            .map(ToOwned::to_owned)
            .collect()
    };
    assert_eq!(kept(&on_disk(&world)), kept(&before));
    assert_eq!(bookmarks(), ledger, "the base stays");

    // --force is not the way.
    let run = world.zbackup(&["usb", "--force", "/data"]).exits(3);
    drop(run.says("--force does not rename a copy"));

    // On a terminal it is a question, whose default is no.
    let mut talk = Dialogue::start(&["usb", "--follow-rename", "/data"]);
    talk.sees("backup/home to backup/data")
        .sees("[y/N]")
        .types("")
        .sees("skipped");
    assert_eq!(talk.ends().0, 3);
    assert_eq!(kept(&on_disk(&world)), kept(&before));

    // The snapshots may be gone by then: their bookmarks are enough.
    sh("zfs list -Hpt snapshot -o name -r tank/data | xargs -n 1 zfs destroy");
    let run = world.zbackup(&["--json", "usb", "-s", "1", "--follow-rename", "/data"]);
    let done = volumes(&run.exits(0));
    for volume in ["/data", "/data/vic", "/data/disk"] {
        assert_eq!(done[volume]["outcome"], "done");
        assert_eq!(done[volume]["action"], "incremental", "{volume}");
    }
    assert!(done["/data"]["sent_bytes"].as_u64().unwrap() < 4 << 20);
    let reason = done["/data"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("backup/data was backup/home before"),
        "{reason}"
    );
    assert_eq!(
        names_on_disk(&world),
        "backup backup/data backup/data/disk backup/data/vic backup/srv"
    );
    assert_eq!(
        world.files_on_disk("backup/data"),
        world.files_on_host("tank/data")
    );
    assert_eq!(world.backup()["/data"]["action"], "up-to-date");
}

/// By hand, each by itself and in one run: an exchange of names, a move below another volume, and a
/// new volume that has taken an old one's name.
#[test]
// walks: follow-both, renamed-keep-both
fn names_that_change_hands() {
    const DISK: &str = "/dev/disk/by-id/virtio-HOST1-part1";
    let mut world = World::new(&["/a", "/b", "/mail", "/old"]);
    for volume in ["a", "b", "mail", "old"] {
        sh(&format!("echo {volume} > /tank/{volume}/was-{volume}"));
    }
    world.backup();
    sh(
        "zfs rename tank/a tank/x; zfs rename tank/b tank/a; zfs rename tank/x tank/b
        zfs create -p tank/p/q; zfs rename tank/mail tank/p/q/mail
        zfs rename tank/old tank/old2; zfs create tank/old; echo new > /tank/old/new
        zfs snapshot tank/old@mine",
    );
    world.configure(&["/a", "/b", "/p/q/mail", "/old", "/old2"]);
    let before = on_disk(&world);
    let run = world
        .zbackup(&["--json", "usb", "-s", "1", "--force", "/old"])
        .exits(3);
    let told = volumes(&run);
    for (volume, conflict, says) in [
        ("/a", "renamed", "backup/a is the copy of /b"),
        ("/b", "renamed", "--follow-rename /b --follow-rename /a"),
        ("/p/q/mail", "renamed", "backup/mail"),
        (
            "/old",
            "no-common-snapshot",
            "backup/old is the copy of /old2",
        ),
        ("/old2", "renamed", "backup/old"),
    ] {
        assert_eq!(told[volume]["conflict"], conflict, "{volume}");
        let reason = told[volume]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{reason}");
    }
    assert_eq!(on_disk(&world), before);

    // One of the two alone has nowhere to go.
    let run = world
        .zbackup(&["usb", "/a", "/b", "--follow-rename", "/a"])
        .exits(3);
    drop(run.says("the copy cannot be renamed yet"));
    assert_eq!(on_disk(&world), before);

    let all = ["/a", "/b", "/p/q/mail", "/old2"].map(|volume| ["--follow-rename", volume]);
    let arguments: Vec<_> = ["--json", "usb"].into_iter().chain(all.concat()).collect();
    let done = volumes(&world.zbackup(&arguments).exits(0));
    for (volume, action) in [
        ("/a", "up-to-date"),
        ("/b", "up-to-date"),
        ("/p/q/mail", "up-to-date"),
        ("/old2", "up-to-date"),
        ("/old", "full"),
    ] {
        assert_eq!(done[volume]["action"], action, "{volume}");
    }
    assert_eq!(
        names_on_disk(&world),
        "backup backup/a backup/b backup/old backup/old2 backup/p backup/p/q backup/p/q/mail"
    );
    for volume in ["a", "b", "p/q/mail", "old", "old2"] {
        let [copy, host] = ["backup", "tank"].map(|pool| format!("{pool}/{volume}"));
        assert_eq!(
            world.files_on_disk(&copy),
            world.files_on_host(&host),
            "{volume}"
        );
    }
    // Who wants both copies has them.
    sh("zfs rename tank/old2 tank/older; echo more > /tank/older/more");
    world.configure(&["/older"]);
    let run = world.zbackup(&["usb"]).exits(3);
    drop(run.says("send all of tank/older anew: --keep-both /older."));
    let run = world
        .zbackup(&["--json", "usb", "--keep-both", "/older"])
        .exits(0);
    assert_eq!(volumes(&run)["/older"]["action"], "full");
    assert!(names_on_disk(&world).contains("backup/old2 backup/older"));
    // A pool has no part in it.
    sh(&format!(
        "zpool export tank; zpool import -d {DISK} tank cave"
    ));
    let done = world.backup();
    sh(&format!(
        "zpool export cave; zpool import -d {DISK} cave tank"
    ));
    assert_eq!(done["/older"]["action"], "up-to-date");
}

/// Directories of the story, which are free again at its end.
struct Places;

impl Drop for Places {
    fn drop(&mut self) {
        try_sh(
            "for place in /mnt/kept /srv/*; do umount $place 2>/dev/null || true; done; rm -rf /srv/*",
        );
    }
}

/// On the way back the host's volumes follow, with all that is mounted of them, in whatever way.
#[test]
// walks: follow-parent, follow-rename, renamed-away
fn a_host_follows_what_the_disk_has_renamed() {
    let mut world = World::new(&["/home", "/home/vic", "/home/own", "/mail", "/box"]);
    sh(
        "mkdir /tank/home/pub /tank/home/box /tank/mail/in; echo a > /tank/home/pub/a
        echo v > /tank/home/vic/v; echo m > /tank/mail/in/m; echo b > /tank/box/b
        zfs set mountpoint=legacy tank/home/vic; zfs set canmount=noauto tank/home/own
        zfs set mountpoint=/srv/own tank/home/own; zfs snapshot tank/home@kept",
    );
    world.backup();
    let places = Places;
    sh("mkdir -p /srv/vic /srv/pub /srv/in /mnt/kept
        mount -t zfs -o ro,noexec tank/home/vic /srv/vic
        mount -o remount,bind,nodev /srv/own
        mount -o remount,bind,nosuid,noexec /tank/home
        mount --bind /tank/home/pub /srv/pub; mount -o remount,bind,ro /srv/pub
        mount -t zfs tank/home@kept /mnt/kept");
    // A service that must not write.
    let service = Other::in_a_container("slave", "mount -o remount,bind,ro /tank/home");
    let before = mounts("tank/home");
    assert_eq!(before.lines().count(), 5, "{before}");
    world.tamper(|| {
        sh("zfs rename backup/home backup/data");
        advance_on_disk("data", "zbackup-other-1", "echo 1");
    });
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let told = volumes(&run);
    assert_eq!(told["/home"]["conflict"], "renamed");
    let reason = told["/home"]["reason"].as_str().unwrap();
    assert!(reason.contains("backup/data has its snapshots"), "{reason}");

    world.configure(&["/data", "/data/vic", "/data/own"]);
    let run = world.zbackup(&["--json", "os"]).exits(3);
    assert_eq!(volumes(&run)["/data"]["conflict"], "renamed");
    let run = world
        .zbackup(&["--json", "os", "--follow-rename", "/data"])
        .exits(0);
    assert_eq!(volumes(&run)["/data"]["action"], "incremental");
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    assert_eq!(
        mounts("tank/data"),
        before.replace("tank/home", "tank/data")
    );
    assert_eq!(
        sh("cat /tank/data/news /srv/vic/v /srv/pub/a /mnt/kept/pub/a"),
        "1\nv\na\na"
    );
    let options = sh(&format!(
        "grep ' /tank/data ' /proc/{}/mountinfo | cut -d' ' -f6",
        service.pid()
    ));
    assert!(options.starts_with("ro,nosuid,noexec"), "{options}");
    drop(service);
    assert_eq!(mounts("tank/home"), "");

    // A run that dies before it has mounted what it renamed leaves that to the next one, which follows
    // another volume into a directory of the first.
    sh(
        "mount -o remount,bind,nosuid /tank/mail; mount --bind /tank/mail/in /srv/in
        mount -o remount,bind,nodev /tank/box",
    );
    let [mail, in_data] = ["tank/mail", "tank/box"].map(mounts);
    world
        .tamper(|| sh("zfs rename backup/mail backup/post; zfs rename backup/box backup/data/box"));
    world.configure(&["/data", "/post", "/data/box"]);
    zbackup_with_fault(
        "zfs_mount_at:SIGKILL",
        &["os", "/post", "--follow-rename", "/post"],
    );
    assert_eq!(sh("zfs list -Ho name tank/post"), "tank/post");
    assert_eq!(mounts("tank/post"), "");
    let run = world
        .zbackup(&["--json", "os", "--follow-rename", "/data/box"])
        .exits(0);
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains("It is mounted again now"), "{warnings}");
    assert_eq!(mounts("tank/post"), mail.replace("tank/mail", "tank/post"));
    assert_eq!(
        mounts("tank/data/box"),
        in_data.replace("tank/box", "tank/data/box")
    );
    assert_eq!(sh("cat /srv/in/m /tank/data/box/b"), "m\nb");
    drop(places);
}
