//! Runs that end early, in the middle of a transfer, and the runs that go on where they stopped.
//!
//! A transfer is caught by what zbackup tells of it (`30 % of … sent`; of what is left, where it
//! goes on). The pipe holds up to 64 MiB, so that the volumes here are large enough for some of it to
//! have arrived by then. How many lines there are depends on the machine's speed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::world::{assert_nothing_open, volumes};
use crate::support::{Container, Dialogue, Running, World, noise, sh, zbackup};

/// How soon a run has to end after a signal. The test machine is slow.
const PATIENCE: Duration = Duration::from_secs(15);

fn history(world: &World, dataset: &str) -> String {
    world.inspect(|| {
        sh(&format!(
            "zfs list -Hpt snapshot -o name,guid -s createtxg -d 1 {dataset} | sed 's/.*@//'"
        ))
    })
}

/// The token of an interrupted receive; `-` if there is none.
fn token(world: &World, dataset: &str) -> String {
    world.inspect(|| {
        sh(&format!(
            "zfs get -Hpo value receive_resume_token {dataset}"
        ))
    })
}

/// Starts zbackup, sends it the signal when its transfer is that far, and insists on a good end.
fn interrupt(arguments: &[&str], percent: u32, signal: Signal) -> Value {
    let arguments = [&["--json"], arguments].concat();
    let running = Running::start(&arguments).sends(percent).signal(signal);
    let signalled = Instant::now();
    let run = running.ends().exits(128 + signal as i32);
    assert!(
        signalled.elapsed() < PATIENCE,
        "{signal} took {:?}",
        signalled.elapsed()
    );
    let document = run.json();
    assert_eq!(document["disk_state"], "closed");
    assert_eq!(document["safe_to_unplug"], true);
    assert_eq!(document["exit_code"], 128 + signal as i32);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["outcome"], "skipped");
    assert!(home["sent_bytes"].as_u64().unwrap() > 0, "{home}");
    assert_nothing_open();
    document
}

/// One story, since every look at the disk takes its import.
#[test]
// walks: interrupted
fn whatever_ends_a_run_the_next_goes_on() {
    let world = World::with_container(&["/home"], Container::Luks2);
    noise("/tank/home/data", 400);
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("0 % of").interrupts().interrupts();
    let (code, screen) = talk.ends();
    assert_eq!(code, 130);
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_nothing_open();

    interrupt(&["usb"], 0, Signal::SIGTERM);
    // Newer data and somebody's newer snapshot: the receive goes on to its own end first.
    sh("echo newer > /tank/home/newer; zfs snapshot tank/home@somebodys");

    let run = Running::start(&["usb"])
        .sends(0)
        .signal(Signal::SIGKILL)
        .ends();
    assert_eq!(run.code, -1);
    // What it leaves: everything is open.
    assert!(sh("zfs get -Hpo value receive_resume_token backup/home").len() > 20);
    assert_eq!(sh("zfs list -Hpt snapshot -o name -r backup"), "");
    assert!(sh("dmsetup ls").contains("zbackup-"));
    assert_eq!(sh("ls /run/zbackup"), world.usb.partuuid());

    sh("echo newest > /tank/home/newest");
    let run = world.zbackup(&["--json", "usb"]).exits(0);
    let home = volumes(&run)["/home"].clone();
    run.says("open from an earlier run");
    assert_eq!(home["action"], "resume");
    let bytes = |key: &str| home[key].as_u64().unwrap();
    assert!(bytes("resumed_bytes") > 20 << 20, "{home}");
    assert!(bytes("sent_bytes") < 380 << 20, "{home}");
    let all = bytes("resumed_bytes") + bytes("sent_bytes");
    assert!(all < 410 << 20, "nothing is sent twice: {home}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    let (history, token, properties) = world.inspect(|| {
        (
            sh("zfs list -Hpt snapshot -o name -s createtxg backup/home"),
            sh("zfs get -Hpo value receive_resume_token backup/home"),
            sh("zfs get -Ho value,source readonly,canmount,org.zbackup:source-properties backup/home"),
        )
    });
    assert_eq!(history.lines().count(), 2, "{history}");
    let newest = home["snapshot"].as_str().unwrap();
    assert!(history.ends_with(newest), "{history}");
    assert_eq!(token, "-");
    assert_eq!(
        properties, "on\tlocal\nnoauto\tlocal\n{}\tlocal",
        "an interrupted receive sets the copy's properties too"
    );
}

#[test]
fn a_token_whose_snapshot_is_gone_is_dropped_and_that_is_said() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    noise("/tank/home/data", 200);
    interrupt(&["usb"], 50, Signal::SIGHUP);
    assert!(token(&world, "backup/home").len() > 20);
    let before = history(&world, "backup/home");
    let newest = sh("zfs list -Hpt snapshot -o name -s createtxg -d 1 tank/home | tail -n 1");
    sh(&format!("zfs destroy {newest}; rm /tank/home/data"));
    let home = world.backup()["/home"].clone();
    assert_eq!(home["action"], "incremental");
    assert_eq!(home["resumed_bytes"], 0);
    let reason = home["reason"].as_str().unwrap();
    assert!(reason.contains("dropped"), "{reason}");
    assert!(history(&world, "backup/home").starts_with(&before));
    assert_eq!(token(&world, "backup/home"), "-");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

/// ZFS makes the thread that it is starting just then forget that it was killed: only the other end
/// of its pipe can tell it.
#[test]
fn a_kill_while_a_stream_starts_ends_both_of_its_sides() {
    let world = World::new(&["/received", "/sent"]);
    for (volume, side) in [("received", "zfs_ioc_recv"), ("sent", "zfs_ioc_send")] {
        noise(&format!("/tank/{volume}/data"), 80);
        let arguments = ["usb", &format!("/{volume}")];
        let run = Running::start_with_fault("lzc_snapshot:SIGSTOP", &arguments)
            .stops()
            .continues_until_in([side, "kthread_create"])
            .signal(Signal::SIGKILL)
            .ends();
        assert_eq!(run.code, -1);
        zbackup(&["close"]).exits(0).says("Safe to unplug");
        assert_nothing_open();
    }
    world.backup();
    for volume in ["received", "sent"] {
        assert_eq!(
            world.files_on_disk(&format!("backup/{volume}")),
            world.files_on_host(&format!("tank/{volume}"))
        );
    }
}

/// The volume is encrypted: its stream goes on raw, without the key.
#[test]
fn a_killed_run_can_be_put_away_by_close() {
    let mut world = World::new(&[]);
    world.configure(&["/secret"]);
    world.host("intermediate = yes");
    sh("head -c 32 /dev/urandom > /root/key
        zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/secret");
    noise("/tank/secret/data", 150);
    sh("zfs snapshot tank/secret@theirs; echo more > /tank/secret/more");
    let run = Running::start(&["usb"])
        .sends(60)
        .signal(Signal::SIGKILL)
        .ends();
    assert_eq!(run.code, -1);
    zbackup(&["close"]).exits(0).says("Safe to unplug");
    assert_nothing_open();

    // The ledger tells that this was zbackup's doing, though the snapshot is not.
    let secret = world.backup()["/secret"].clone();
    assert_eq!(secret["action"], "resume", "{secret}");
    assert!(secret["resumed_bytes"].as_u64().unwrap() > 0, "{secret}");
    let on_disk = world.inspect(|| {
        sh(
            "zfs load-key -L file:///root/key backup/secret >&2; mkdir -p /mnt/look
            mount -t zfs -o ro backup/secret@theirs /mnt/look
            sha256sum < /mnt/look/data; umount /mnt/look; zfs unload-key backup/secret >&2",
        )
    });
    assert_eq!(on_disk, sh("sha256sum < /tank/secret/data"));
}

#[test]
fn a_host_gets_in_the_end_what_was_interrupted() {
    let world = World::new(&["/home"]);
    // Broken off twice: also on a fast machine something must be left after the first time.
    noise("/tank/home/data", 300);
    world.backup();
    let files = world.files_on_host("tank/home");
    sh("zfs destroy -r tank/home");
    let properties = "zfs get -Hpo value canmount,mounted,org.zbackup:canmount tank/home";

    interrupt(&["os"], 30, Signal::SIGTERM);
    assert_eq!(sh(properties), "noauto\nno\non");
    let run = Running::start(&["os"])
        .sends(0)
        .signal(Signal::SIGKILL)
        .ends();
    assert_eq!(run.code, -1);
    let run = world.zbackup(&["--json", "os"]).exits(0);
    let home = volumes(&run)["/home"].clone();
    run.says("open from an earlier run");
    assert_eq!(home["action"], "resume");
    assert!(home["resumed_bytes"].as_u64().unwrap() > 0, "{home}");
    assert_eq!(sh(properties), "on\nyes\n-");
    assert_eq!(world.files_on_host("tank/home"), files);

    // An increment breaks off below what is mounted and in use.
    world.tamper(|| {
        sh("zfs set readonly=off backup/home; mkdir -p /mnt/look
            mount -t zfs -o zfsutil backup/home /mnt/look");
        noise("/mnt/look/more", 150);
        sh("umount /mnt/look; zfs set readonly=on backup/home
            zfs snapshot -o org.zbackup:created=then backup/home@zbackup-other")
    });
    let mount = || sh("grep ' /tank/home ' /proc/self/mountinfo");
    let mounted = mount();
    interrupt(&["os"], 50, Signal::SIGINT);
    assert_eq!(world.files_on_host("tank/home"), files);
    let run = world.zbackup(&["--json", "os"]).exits(0);
    let home = &volumes(&run)["/home"];
    assert_eq!(home["action"], "resume", "{home}");
    assert_eq!(mount(), mounted);
    assert_eq!(
        world.files_on_host("tank/home"),
        world.files_on_disk("backup/home")
    );
}

#[test]
fn a_forced_increment_that_breaks_off_has_destroyed_nothing() {
    let world = World::new(&["/home"]);
    sh("echo first > /tank/home/a");
    world.backup();
    world.tamper(|| {
        sh("zfs set readonly=off backup/home; mkdir -p /mnt/look
            mount -t zfs -o zfsutil backup/home /mnt/look; echo theirs > /mnt/look/theirs
            umount /mnt/look; zfs set readonly=on backup/home; zfs snapshot backup/home@theirs
            zfs bookmark backup/home@theirs backup/home#theirs; zfs snapshot backup/home@gone
            zfs bookmark backup/home@gone backup/home#gone; zfs destroy backup/home@gone")
    });
    let bookmarks = || world.inspect(|| sh("zfs list -Hpt bookmark -o name,guid backup/home"));
    let (before, marks) = (history(&world, "backup/home"), bookmarks());
    noise("/tank/home/data", 200);
    let run = interrupt(&["usb", "--force", "/home"], 50, Signal::SIGINT);
    assert_eq!(history(&world, "backup/home"), before);
    // A bookmark whose snapshot is gone cannot be made again, and that is said.
    let gone = marks.lines().filter(|mark| !mark.contains("#gone"));
    assert_eq!(bookmarks(), gone.collect::<Vec<_>>().join("\n"));
    let warnings = run["warnings"].to_string();
    assert!(warnings.contains("backup/home#gone is gone"), "{warnings}");
    assert!(!warnings.contains("#theirs"), "{warnings}");
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    assert_eq!(
        volumes(&run)["/home"]["conflict"],
        "diverged",
        "consent is for one run"
    );
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let home = volumes(&run.exits(0))["/home"].clone();
    assert_eq!(home["action"], "resume");
    assert!(home["resumed_bytes"].as_u64().unwrap() > 0, "{home}");
    assert!(!history(&world, "backup/home").contains("theirs"));
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn a_replacement_that_breaks_off_leaves_the_old_whole_and_goes_on() {
    let world = World::new(&["/home"]);
    world.tamper(|| sh("zfs create -u backup/home; zfs snapshot backup/home@precious"));
    let before = history(&world, "backup/home");
    noise("/tank/home/data", 200);
    interrupt(&["usb", "--force", "/home"], 50, Signal::SIGINT);
    assert_eq!(history(&world, "backup/home"), before);
    assert!(token(&world, "backup/home-zbackup-arriving").len() > 20);
    let run = world.zbackup(&["--json", "usb"]).exits(3);
    let warnings = run.json()["warnings"].to_string();
    assert!(
        warnings.contains("backup/home-zbackup-arriving"),
        "{warnings}"
    );
    let run = world.zbackup(&["--json", "usb", "--force", "/home"]);
    let home = volumes(&run.exits(0))["/home"].clone();
    assert!(home["resumed_bytes"].as_u64().unwrap() > 0, "{home}");
    assert!(home["sent_bytes"].as_u64().unwrap() < 200 << 20, "{home}");
    let names = world.inspect(|| sh("zfs list -Ho name -r backup"));
    assert_eq!(names, "backup\nbackup/home");
    assert!(!history(&world, "backup/home").contains("precious"));
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
