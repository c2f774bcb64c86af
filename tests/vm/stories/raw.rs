//! A volume that ZFS itself encrypts, with its key loaded, is given up with `--force` while it is mounted
//! in many ways and people work in it.

use crate::support::world::{assert_nothing_open, mounts, volumes};
use crate::support::{Dialogue, World, sh, try_sh};

const ENCRYPTED: &str = "-o encryption=on -o keyformat=raw -o keylocation=file:///root/key";
const FORCE: [&str; 4] = ["--json", "os", "--force", "/secret"];
/// The stream is over, and nothing is in its place yet.
const STREAM: &str = "stream-end:SIGSTOP";

/// /secret is on both sides.
fn world() -> World {
    let mut world = World::new(&[]);
    world.configure(&["/secret"]);
    sh(&format!(
        "head -c 32 /dev/urandom > /root/key; zfs create {ENCRYPTED} tank/secret
         mkdir /tank/secret/pub; echo p > /tank/secret/pub/p; zfs snapshot tank/secret@kept"
    ));
    world.backup();
    world
}

/// Writes into the copy, as a run on another host would leave it. (Read-only at first: see encrypted.rs.)
fn advance(world: &World) {
    world.tamper(|| {
        sh(
            "zfs load-key -L file:///root/key backup/secret; mkdir -p /mnt/look
            zfs set readonly=off backup/secret; mount -t zfs -o ro,zfsutil backup/secret /mnt/look
            mount -o remount,rw /mnt/look; echo 1 > /mnt/look/news; umount /mnt/look
            zfs set readonly=on backup/secret; zfs unload-key backup/secret
            zfs snapshot -o org.zbackup:created=then backup/secret@zbackup-other",
        )
    });
}

/// A legacy mount of it, with a read-only bind mount of a part, and a snapshot.
struct Places;

impl Places {
    fn fill() -> Self {
        sh(
            "zfs set mountpoint=legacy tank/secret; mkdir -p /data /srv/pub /mnt/kept
            mount -t zfs -o nosuid,noexec tank/secret /data
            mount --bind /data/pub /srv/pub; mount -o remount,bind,ro /srv/pub
            mount -t zfs tank/secret@kept /mnt/kept",
        );
        Self
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        try_sh(
            "for place in /mnt/kept /srv/pub /data; do umount -R $place 2>/dev/null || true; done
             rm -rf /data /srv/*",
        );
    }
}

#[test]
fn an_unlocked_volume_that_is_mounted_in_many_ways_stays_so() {
    let world = world();
    advance(&world);
    sh("echo own > /tank/secret/own; zfs snapshot tank/secret@late");
    let places = Places::fill();
    let before = mounts("tank/secret");
    assert!(before.contains("/pub /srv/pub ro,"), "{before}");

    // Somebody writes after the question.
    let mut talk = Dialogue::start(&["os", "--force", "/secret"]);
    talk.sees("[y/N]");
    sh("echo new > /data/own");
    talk.types("y").sees("was written to");
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
    assert_eq!(mounts("tank/secret"), before);
    assert_eq!(sh("cat /data/own"), "new");

    let run = world.zbackup(&FORCE).exits(0);
    let secret = &volumes(&run)["/secret"];
    assert_eq!(secret["action"], "incremental");
    assert_eq!(secret["destroys"], serde_json::json!(["tank/secret@late"]));
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    assert_eq!(mounts("tank/secret"), before);
    assert_eq!(
        sh("cat /data/news /srv/pub/p /mnt/kept/pub/p; ls /data"),
        "1\np\np\nnews\npub"
    );
    drop(places);
}

#[test]
// walks: again-key
fn a_raw_volume_that_is_replaced_takes_its_mounts_when_its_key_is_loaded() {
    let world = world();
    sh(&format!(
        "zfs destroy -r tank/secret; zfs create {ENCRYPTED} tank/secret
         mkdir /tank/secret/pub; echo mine > /tank/secret/pub/p; zfs snapshot tank/secret@kept"
    ));
    let places = Places::fill();
    let before = mounts("tank/secret");

    // People go on working while the stream runs.
    let mut talk = Dialogue::start_with_fault(STREAM, &FORCE);
    talk.sees("[y/N]").types("y").is_stopped();
    sh("echo late > /data/late");
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("\"destroys\": []"), "{screen}");
    assert_nothing_open();
    assert_eq!(mounts("tank/secret"), before);
    assert_eq!(sh("cat /data/late /srv/pub/p"), "late\nmine");

    // Only those who have the key can mount what has come.
    let run = world.zbackup(&FORCE);
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("its encryption key is not loaded. `zfs load-key tank/secret`, and the next run mounts it again"),
        "{warnings}"
    );
    drop(run.exits(0));
    assert_eq!(mounts("tank/secret"), "");

    // Before anybody loads it another copy takes that one's place, and the mounts wait for the new one.
    world.tamper(|| {
        sh(&format!(
            "zfs destroy -r backup/secret; zfs create -u {ENCRYPTED} backup/secret
             mkdir -p /mnt/look; mount -t zfs -o zfsutil backup/secret /mnt/look
             mkdir /mnt/look/pub; echo second > /mnt/look/pub/p; umount /mnt/look
             zfs unload-key backup/secret; zfs set readonly=on backup/secret
             zfs snapshot -o org.zbackup:created=then backup/secret@zbackup-other"
        ))
    });
    let run = world.zbackup(&FORCE).exits(0);
    assert_eq!(volumes(&run)["/secret"]["action"], "full");
    assert_eq!(mounts("tank/secret"), "");

    sh("zfs load-key -L file:///root/key tank/secret");
    let run = world.zbackup(&["--json", "os"]).exits(0);
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains("Not all is as it was"), "{warnings}");
    let left = before.lines().filter(|line| !line.contains("/mnt/kept"));
    assert_eq!(mounts("tank/secret"), left.collect::<Vec<_>>().join("\n"));
    assert_eq!(sh("cat /data/pub/p /srv/pub/p"), "second\nsecond");

    // What has been told is told once.
    let run = world.zbackup(&["--json", "os"]).exits(0);
    assert_eq!(run.json()["warnings"], serde_json::json!([]));
    drop(places);
}
