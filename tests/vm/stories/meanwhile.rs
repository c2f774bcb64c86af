//! Somebody gives a volume up with `--force`, or moves it aside, and work goes on there until it is gone:
//! before the answer, while the stream runs, in the last moment. Nothing is lost that the table did not
//! list.

use crate::support::world::{advance_on_disk, assert_nothing_open, volumes};
use crate::support::{Dialogue, Other, World, sh, zbackup_with_fault};

/// The stream is over, and nothing is in its place yet. (What is stopped in the kernel would not go on.)
const STREAM: &str = "stream-end:SIGSTOP";

/// On the host /home, the zvol /disk and /srv are others than on the disk, and have nothing in common.
fn foreign() -> World {
    let world = World::new(&["/home", "/srv", "/disk=16M"]);
    sh(
        "udevadm wait --timeout=30 /dev/zvol/tank/disk; udevadm settle
        echo a > /tank/home/a; echo b > /tank/srv/b
        echo c | dd of=/dev/zvol/tank/disk conv=fsync status=none; udevadm settle",
    );
    world.backup();
    sh(
        "for volume in home srv disk; do zfs destroy -r tank/$volume; done; udevadm settle
        zfs create tank/home; zfs create tank/srv; zfs create -V 16M tank/disk
        udevadm wait --timeout=30 /dev/zvol/tank/disk; udevadm settle
        echo old > /tank/home/file; echo own > /tank/srv/own
        zfs snapshot tank/home@mine; echo older > /tank/home/file; zpool sync tank",
    );
    world
}

/// Runs `os --force`, and does something when the run has come to `place`. Returns the screen.
#[track_caller]
fn forced(volume: &str, place: &str, meanwhile: &str) -> String {
    let mut talk = Dialogue::start_with_fault(place, &["--json", "os", volume, "--force", volume]);
    talk.sees("[y/N]").types("y").is_stopped();
    sh(meanwhile);
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("\"outcome\": \"refused\""), "{screen}");
    assert!(screen.contains("\"destroys\": []"), "{screen}");
    assert_nothing_open();
    screen
}

#[test]
fn what_is_written_while_a_volume_is_replaced_is_not_lost() {
    let _world = foreign();
    let names = || sh("zfs list -Ho name -t all -r tank/home tank/disk | grep -v zbackup-2");
    let before = names();

    // The question is on the screen. The file is no larger than the one that it replaces.
    let mut talk = Dialogue::start(&["os", "/home", "--force", "/home"]);
    talk.sees("[y/N]");
    assert_eq!(names(), before, "nothing was made before the answer");
    sh("echo newer > /tank/home/file");
    talk.types("y").sees("was written to");
    assert_eq!(talk.ends().0, 3);
    assert_nothing_open();
    assert_eq!(names(), before);

    // While the stream runs people go on working.
    let screen = forced("/home", STREAM, "echo x > /tank/home/late");
    assert!(screen.contains("tank/home-zbackup-arriving"), "{screen}");
    assert_eq!(sh("cat /tank/home/file /tank/home/late"), "newer\nx");
    // In the last moment, and what else nobody has seen.
    for (change, said, undo) in [
        (
            "zfs bookmark tank/home@mine tank/home#late",
            "tank/home#late is new",
            "zfs destroy tank/home#late",
        ),
        (
            "zfs hold late tank/home@mine",
            "tank/home@mine is held",
            "zfs release late tank/home@mine",
        ),
        (
            "zfs clone -o canmount=off tank/home@mine tank/late",
            "tank/late was cloned from tank/home",
            "zfs destroy tank/late",
        ),
        (
            "zfs create -u tank/home/child",
            "has children",
            "zfs destroy tank/home/child",
        ),
    ] {
        let screen = forced("/home", "umount2:SIGSTOP", change);
        assert!(screen.contains(said), "{screen}");
        sh(undo);
    }
    // A zvol cannot be unmounted.
    forced(
        "/disk",
        STREAM,
        "echo late | dd of=/dev/zvol/tank/disk conv=notrunc,fsync status=none",
    );
    assert_eq!(sh("head -c 4 /dev/zvol/tank/disk"), "late");

    // Killed on the way, it asks again, and goes on with what has arrived.
    zbackup_with_fault("umount2:SIGKILL", &["os", "/home", "--force", "/home"]);
    let mut talk = Dialogue::start(&["os", "/home", "--force", "/home"]);
    talk.sees("tank/home@mine").sees("[y/N]").types("y");
    assert_eq!(talk.ends().0, 0);
    assert_nothing_open();
    assert_eq!(
        sh(
            "cat /tank/home/a; zfs list -Ho name -t all -r tank | grep -e approved -e home-zbackup || true"
        ),
        "a"
    );

    // Moved aside, what was written meanwhile is there.
    let keep = ["os", "/srv", "--keep-both", "/srv"];
    let mut talk = Dialogue::start_with_fault(STREAM, &keep);
    talk.is_stopped();
    sh("echo late > /tank/srv/late");
    talk.goes_on();
    assert_eq!(talk.ends().0, 0);
    assert_eq!(sh("cat /tank/srv-kept-*/{own,late}"), "own\nlate");
    assert_eq!(sh("findmnt -no SOURCE /tank/srv"), "tank/srv");
}

#[test]
// walks: written-meanwhile
fn what_is_written_before_a_forced_increment_is_not_lost() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo news"));
    sh(
        "echo own > /tank/home/own; zfs snapshot tank/home@mine; echo same > /tank/home/own; zpool sync tank",
    );
    // Of the same size, and in the same block.
    let mut talk = Dialogue::start(&["--json", "os", "--force", "/home"]);
    talk.sees("[y/N]");
    let mut writer = std::process::Command::new("bash")
        .args(["-c", "while echo more > /tank/home/own; do :; done"])
        .spawn()
        .unwrap();
    sh("until grep -q more /tank/home/own; do :; done");
    talk.types("y").sees("was written to");
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(screen.contains("\"conflict\": \"modified\""), "{screen}");
    assert!(screen.contains("End what writes there"), "{screen}");
    writer.kill().unwrap();
    writer.wait().unwrap();

    // The same command shows all that would go.
    let mut talk = Dialogue::start(&["os", "--force", "/home"]);
    talk.sees("tank/home@mine").sees("[y/N]").types("n");
    assert_eq!(talk.ends().0, 3);
    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(0);
    assert_eq!(
        volumes(&run)["/home"]["destroys"],
        serde_json::json!(["tank/home@mine"])
    );
    assert_eq!(
        sh("cat /tank/home/news; zfs list -Ho name -t all -r tank | grep approved || true"),
        "news"
    );
}

/// What nobody mounts but its owner stays mounted when it is renamed, and the kernel's statistics go on
/// with the name that it had.
#[test]
fn what_was_renamed_while_it_was_mounted_is_known_by_its_new_name() {
    let world = World::new(&["/data"]);
    sh("echo a > /tank/data/a");
    world.backup();
    world.tamper(|| advance_on_disk("data", "zbackup-other", "echo news"));
    sh(
        "echo own > /tank/data/own; zfs set mountpoint=legacy tank/data; zfs rename tank/data tank/old
        mkdir -p /data; mount -t zfs tank/old /data; zfs rename tank/old tank/data; zpool sync tank",
    );
    let force = ["os", "--force", "/data"];
    let mut talk = Dialogue::start(&force);
    talk.sees("[y/N]");
    sh("echo new > /data/own");
    talk.types("y").sees("was written to");
    assert_eq!(talk.ends().0, 3);
    assert_eq!(sh("cat /data/own"), "new");

    let user = Other::starts("exec 3<>/data/own; umount -l /data; echo ready");
    let run = world.zbackup(&force).exits(3);
    run.says(&format!("still open in {}", user.name()));
    drop(user);

    // Its old name is another's by now, which nobody uses.
    sh(
        "zfs destroy -r tank/data; zfs create -o mountpoint=legacy tank/data
        mount -t zfs tank/data /data; echo new > /data/own
        zfs rename tank/data tank/old; zfs create -u tank/data",
    );
    world.zbackup(&force).exits(0);
    assert_eq!(sh("cat /data/own"), "new");
    assert!(sh("zfs list -Ho name -t snapshot tank/data").contains("@zbackup-other"));
}
