//! Somebody looks into `.zfs/snapshot` of a volume, or has it exported by NFS, when a run has to unmount
//! it: the former is in nobody's way unless they stay there, and the latter are told who they are.

use crate::support::exports::Exports;
use crate::support::world::{advance_on_disk, volumes};
use crate::support::{Other, World, sh};

/// What is mounted of the volume, without numbers.
fn mounts() -> String {
    sh(
        "{ grep ' - zfs tank/home' /proc/self/mountinfo || true; } | cut -d' ' -f4- | sed -E 's/:[0-9]+ / /g'",
    )
}

#[test]
fn snapshots_that_somebody_looks_at_are_in_nobodys_way() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a; zfs snapshot tank/home@kept");
    world.backup();
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo 1"));
    sh("echo own > /tank/home/own; zfs snapshot tank/home@late");
    let before = mounts();
    let look = "cat /tank/home/.zfs/snapshot/{kept,late}/a";
    assert_eq!(sh(look), "a\na");
    assert_eq!(mounts().lines().count(), 3);

    // Who stays in there could be in the way of the kernel, too.
    let user = Other::starts("cd /tank/home/.zfs/snapshot/late; echo ready");
    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(3);
    let reason = volumes(&run)["/home"]["reason"].to_string();
    for words in [&user.name(), "run the same command again"] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    drop(user);
    assert_eq!(sh("cat /tank/home/own"), "own");

    // What is exported stays, too.
    let exports = Exports::of("/tank/home");
    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(3);
    let reason = volumes(&run)["/home"]["reason"].to_string();
    for words in [
        "NFS exports /tank/home to everybody",
        "run the same command again",
    ] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    drop(exports);

    // Nobody is there any more, but what was looked at is still mounted.
    assert_eq!(sh(look), "a\na");
    assert_eq!(mounts().lines().count(), 3);
    let run = world
        .zbackup(&["--json", "os", "--force", "/home"])
        .exits(0);
    assert_eq!(
        volumes(&run)["/home"]["destroys"],
        serde_json::json!(["tank/home@late"])
    );
    assert_eq!(
        sh("cat /tank/home/news /tank/home/.zfs/snapshot/kept/a"),
        "1\na"
    );
    let now = mounts();
    let plain = now.lines().filter(|line| !line.contains(".zfs"));
    assert_eq!(plain.collect::<Vec<_>>().join("\n"), before);
}
