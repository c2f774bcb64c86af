//! Somebody plugs in a disk that was in other hands, and expects what is on it to be shown: no name,
//! property or label of it colours, moves or hides what zbackup says, or says anything in its place.

use std::os::unix::ffi::OsStrExt;

use crate::support::program::Run;
use crate::support::{World, sh, zbackup};

/// What a terminal would obey, and lines that are not zbackup's.
const FORGED: &str =
    "\x1b[32m\u{9b}2J\u{202e}\nSafe to unplug: USB device\nzbackup: error: forged\r";

/// All lines of the log since `cursor`, whoever has written them.
fn journal_since(cursor: &str) -> String {
    sh(&format!(
        "journalctl --sync; journalctl -q -o cat --all --after-cursor '{cursor}'"
    ))
}

fn cursor() -> String {
    sh("journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'")
}

/// Insists that `text` has plain characters only, and no line that the disk has made up.
#[track_caller]
fn assert_plain(text: &str, what: &str) {
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(obeyed), "{what}: {text:?}");
    let forged = ["zbackup: error: forged", "zbackup: forged"];
    let line = text.lines().find(|line| forged.contains(line));
    assert_eq!(line, None, "{what}: {text}");
}

/// Insists on the one line about the disk's state that is zbackup's, and on plain text everywhere.
#[track_caller]
fn assert_told(run: Run, safe_lines: usize) -> Run {
    assert_plain(&run.stdout, "stdout");
    assert_plain(&run.stderr, "stderr");
    let both = run.stdout.lines().chain(run.stderr.lines());
    let safe = both.filter(|line| line.contains("Safe to unplug") && line.starts_with("Safe"));
    assert_eq!(safe.count(), safe_lines, "{}{}", run.stdout, run.stderr);
    run
}

/// The host that had the disk last is called what it likes: the kernel takes any bytes.
#[test]
fn the_name_of_another_host_is_shown_and_not_obeyed() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    let (own_id, own_name) = (
        sh("cat /sys/module/spl/parameters/spl_hostid"),
        nix::unistd::gethostname().unwrap(),
    );
    sh("echo 4294967294 > /sys/module/spl/parameters/spl_hostid");
    nix::unistd::sethostname("\x1b[32m\u{202e}\nSafe to unplug: USB device\nzbackup: forged")
        .unwrap();
    sh(&format!(
        "zpool import -N -o cachefile=none -d {} backup; zpool sync backup",
        world.usb.partition()
    ));
    world.usb.save();
    sh(&format!(
        "zpool export backup; echo {own_id} > /sys/module/spl/parameters/spl_hostid"
    ));
    nix::unistd::sethostname(&own_name).unwrap();
    assert!(!own_name.as_bytes().contains(&b'\n'));
    world.usb.restore();
    sh(&format!(
        "udevadm wait --timeout=30 --settle {}",
        world.usb.partition()
    ));
    let cursor = cursor();
    for arguments in [vec!["usb"], vec!["--color=always", "open"]] {
        let run = zbackup(&arguments)
            .exits(1)
            .says("\\u{1b}[32m\\u{202e}\\nSafe to unplug");
        let uncoloured = |text: &str| text.replace("\x1b[32mSafe", "Safe").replace("\x1b[0m", "");
        let run = Run {
            stdout: uncoloured(&run.stdout),
            ..run
        };
        assert_told(run, 1);
    }
    let run = zbackup(&["--json", "usb"]).exits(1);
    assert_plain(&run.stdout, "the document");
    assert_eq!(run.json()["safe_to_unplug"], true);
    assert_plain(&journal_since(&cursor), "the log");
    world.zbackup(&["--force-import", "usb"]).exits(0);
}

/// What a copy remembers of its volume, and what a pool says about its features, are texts from the
/// disk as well, and C prints some of them.
#[test]
fn properties_and_features_of_the_disk_are_shown_and_not_obeyed() {
    let world = World::new(&["/home", "/srv"]);
    sh("echo a > /tank/home/a");
    world.backup();
    let json = serde_json::to_string(&std::collections::BTreeMap::from([
        (FORGED, "on"),
        ("compression", FORGED),
    ]))
    .unwrap();
    world.tamper(|| {
        sh(&format!(
            "zfs set org.zbackup:source-properties='{json}' backup/home
             for guid in $(zpool get -Hpo value guid tank) 7; do
                 zfs set org.zbackup:visit-$guid='{{{FORGED}' backup
             done
             zfs set org.zbackup:source-properties=$'{{\\e[32m\\nforged' backup/srv
             zfs set org.zbackup:checked='{FORGED}' backup/srv
             zfs set comment='{FORGED}' backup || true"
        ));
    });
    sh("zfs destroy -r tank/home; zfs destroy -r tank/srv");
    let since = cursor();
    let run = world
        .zbackup(&["-v", "-y", "os"])
        .exits(0)
        .says("\\u{1b}[32m");
    assert_told(run, 1);
    assert_plain(&journal_since(&since), "the log");
    assert_eq!(sh("cat /tank/home/a"), "a");

    sh(&format!(
        "mkdir -p /run/future; ln -sf {} /run/future/
         zhack -d /run/future feature enable -r -d $'\\e[32m\\nzbackup: forged\\n' backup org.zbackup:future
         zhack -d /run/future feature ref backup org.zbackup:future",
        world.usb.partition()
    ));
    let run = world.zbackup(&["usb"]).exits(1).says("org.zbackup:future");
    assert_told(run, 1);
    assert_plain(&journal_since(&since), "the log");
}
