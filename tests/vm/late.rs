//! What happens on the target after the table was shown: nothing goes that was not in it.
//!
//! A fault stops the program on its way, so that somebody else can do something meanwhile.

use crate::support::world::{advance_on_disk, assert_nothing_open, volumes};
use crate::support::{Dialogue, Running, World, sh, zbackup};

/// Shell lines that write a small file into an unmounted dataset.
fn put_file(dataset: &str) -> String {
    format!(
        "mkdir -p /mnt/look; mount -t zfs -o zfsutil {dataset} /mnt/look
         head -c 10K /dev/urandom > /mnt/look/small; umount /mnt/look"
    )
}

/// What a run on another host would leave: this much.
fn comes_from_another_host(volume: &str, mebibytes: u32) {
    let snapshot = format!("zbackup-other-{mebibytes}");
    let printed_by = format!("head -c {mebibytes}M /dev/urandom");
    advance_on_disk(volume, &snapshot, &printed_by);
}

/// One story, since every look at the disk takes its import.
#[test]
fn a_parent_that_somebody_has_used_is_no_empty_one() {
    let parents = ["/a", "/b", "/c", "/d"];
    let mut world = World::new(&["/a", "/b", "/c", "/d", "/a/x", "/b/x", "/c/x", "/d/x"]);
    world.configure(&["/a/x", "/b/x", "/c/x", "/d/x"]);
    sh("for parent in a b c d; do echo $parent > /tank/$parent/file; done");
    world.backup();
    world.tamper(|| {
        assert_eq!(
            sh("zfs list -Hpt snapshot -o name -d 1 backup backup/a"),
            ""
        );
        sh(&put_file("backup/d"))
    });

    // Between the table and the receive: a small file, a snapshot, a child.
    world.configure(&parents);
    let mut talk = Dialogue::start_with_fault("lzc_snapshot:SIGSTOP", &["--json", "usb"]);
    talk.is_stopped();
    sh(&format!(
        "{}; zfs snapshot backup/b@mine; zfs create -u -o mountpoint=none backup/c/mine",
        put_file("backup/a")
    ));
    talk.goes_on();
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert_nothing_open();
    for said in [
        "backup/a was used meanwhile",
        "backup/b@mine is new",
        "backup/d exists",
    ] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    let (files, rest) = world.tamper(|| {
        let files = ["a", "d"].map(|parent| {
            sh(&format!(
                "mount -t zfs -o ro,zfsutil backup/{parent} /mnt/look; ls /mnt/look; umount /mnt/look"
            ))
        });
        (files, sh("zfs list -Ho name backup/b@mine backup/c/mine"))
    });
    assert_eq!(files, ["small", "small"]);
    assert_eq!(rest, "backup/b@mine\nbackup/c/mine");
    assert_eq!(
        world.files_on_disk("backup/c"),
        world.files_on_host("tank/c"),
        "a child is no victim"
    );

    // Forced too: what is below would go with it.
    let run = world.zbackup(&["--json", "usb", "/a", "--force", "/a"]);
    let found = volumes(&run.exits(3));
    assert_eq!(found["/a"]["conflict"], "no-common-snapshot");
    let reason = found["/a"]["reason"].as_str().unwrap();
    assert!(reason.contains("has child datasets"), "{reason}");

    // On a host such a parent is a volume, since there is something in it.
    world.configure(&["/d"]);
    world.host("recursive = yes");
    sh("zfs destroy -r tank/d");
    world.zbackup(&["os", "/d/x"]).exits(0);
    let names = |run| volumes(run).into_keys().collect::<Vec<_>>();
    let run = world.zbackup(&["--json", "-n", "usb"]);
    assert_eq!(names(&run), ["/d", "/d/x"], "what is configured stays");
    world.configure(&["/e"]);
    sh("zfs create -o canmount=off tank/e; zfs rename tank/d tank/e/d");
    let run = world.zbackup(&["--json", "-n", "usb"]);
    assert_eq!(names(&run), ["/e", "/e/d/x"], "the parent is nobody's");
    sh(&put_file("tank/e/d"));
    let run = world.zbackup(&["--json", "-n", "usb"]);
    assert_eq!(names(&run), ["/e", "/e/d", "/e/d/x"]);

    // What is below a declined parent is no question any more.
    world.configure(&["/e/d/x"]);
    let mut talk = Dialogue::start(&["-v", "usb", "--keep-both", "/e/d/x"]);
    talk.answers(&[
        ("import", "y"),
        ("create backup/e as an empty parent", "n"),
        ("export", "y"),
    ]);
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(!screen.contains("create backup/e/d"), "{screen}");
    assert_nothing_open();
}

/// One story of a host whose volume is in use.
#[test]
// walks: appeared-meanwhile, atime
fn a_forced_increment_takes_nothing_that_was_not_shown() {
    let world = World::new(&["/home"]);
    sh("zfs set atime=on relatime=off tank/home; echo a > /tank/home/a");
    world.backup();
    world.tamper(|| comes_from_another_host("home", 1));

    // Reading alone has changed it.
    sh("cat /tank/home/a");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let home = volumes(&run)["/home"].clone();
    assert_eq!(home["conflict"], "modified");
    let reason = home["reason"].as_str().unwrap();
    assert!(reason.contains("zfs set atime=off tank/home"), "{reason}");
    assert!(reason.contains("--force /home"), "{reason}");
    sh("zfs set atime=off tank/home; echo own > /tank/home/own");

    // A file after the question.
    let forced = ["os", "--force", "/home"];
    let mut talk = Dialogue::start(&forced);
    talk.sees("[y/N]");
    sh("head -c 10K /dev/urandom > /tank/home/late");
    talk.types("y")
        .sees("was written to after you saw the table");
    assert_eq!(talk.ends().0, 3);
    assert_eq!(sh("ls /tank/home"), "a\nlate\nown");

    // Somebody works there.
    let mut user = std::process::Command::new("sleep")
        .arg("infinity")
        .current_dir("/tank/home")
        .spawn()
        .unwrap();
    let run = world.zbackup(&forced).exits(3);
    user.kill().unwrap();
    user.wait().unwrap();
    run.says("/tank/home cannot be unmounted");

    // While the stream is on its way nobody can write there, and a snapshot breaks it off.
    world.tamper(|| comes_from_another_host("home", 200));
    let running = Running::start(&["--json", "os", "--force", "/home"]).sends(0);
    assert_eq!(sh("findmnt -no SOURCE /tank/home || true"), "");
    sh("zfs snapshot tank/home@auto");
    let run = running.ends().exits(3);
    assert_nothing_open();
    let home = volumes(&run)["/home"].clone();
    assert_eq!(home["outcome"], "refused");
    let reason = home["reason"].as_str().unwrap();
    assert!(reason.contains("tank/home@auto appeared"), "{reason}");
    assert_eq!(home["destroys"], serde_json::json!([]));
    assert_eq!(
        sh("ls /tank/home; zfs list -Ho name tank/home@auto"),
        "a\nlate\nown\ntank/home@auto"
    );

    // The same command shows that one too.
    let mut talk = Dialogue::start(&forced);
    talk.sees("tank/home@auto").sees("[y/N]").types("n");
    assert_eq!(talk.ends().0, 3);

    // All that was shown, and agreed to.
    let run = world.zbackup(&["--json", "os", "--force", "/home"]);
    let home = volumes(&run.exits(0))["/home"].clone();
    assert_eq!(home["action"], "resume");
    assert_eq!(
        sh("findmnt -no SOURCE /tank/home; ls /tank/home"),
        "tank/home\na\nnews"
    );
}

/// The receive itself finds what came after the plan. (A send that is stopped in the kernel would not
/// go on: the fault is before it.)
#[test]
fn what_keeps_a_receive_out_is_a_conflict_with_its_ways_out() {
    let world = World::new(&["/home", "/srv", "/new", "/half"]);
    sh("for volume in home srv new half; do echo a > /tank/$volume/a; done");
    world.backup();
    world.tamper(|| ["home", "srv"].map(|volume| comes_from_another_host(volume, 1)));
    sh("zfs destroy -r tank/new; zfs destroy -r tank/half");
    let late = [
        (
            "/home",
            "echo own > /tank/home/own; zpool sync tank",
            "modified",
        ),
        (
            "/srv",
            "echo own > /tank/srv/own; zfs snapshot tank/srv@own",
            "diverged",
        ),
        (
            "/new",
            "zfs create tank/new; echo own > /tank/new/own",
            "no-common-snapshot",
        ),
        (
            "/half",
            "zfs snapshot tank/home@half
             zfs send tank/home@half | head -c 5K | zfs receive -su tank/half || true",
            "foreign-resume-state",
        ),
    ];
    for (volume, change, conflict) in late {
        let place = "lzc_send_resume_redacted:SIGSTOP";
        let mut talk = Dialogue::start_with_fault(place, &["--json", "os", volume]);
        talk.is_stopped();
        sh(change);
        talk.goes_on();
        let (code, screen) = talk.ends();
        assert_eq!(code, 3);
        assert_nothing_open();
        for said in [
            &format!("\"conflict\": \"{conflict}\""),
            "\"outcome\": \"refused\"",
            &format!("--force {volume}"),
            &format!("--keep-both {volume}"),
        ] {
            assert!(screen.contains(said), "{said}: {screen}");
        }
        if conflict == "foreign-resume-state" {
            let token = "zfs get -Ho value receive_resume_token tank/half";
            assert_ne!(sh(token), "-", "it is still there");
            sh("zfs receive -A tank/half; zfs destroy tank/home@half");
        } else {
            assert_eq!(sh(&format!("cat /tank{volume}/own")), "own");
        }
    }

    // Both ways out, on a host, each for the volume that it names.
    sh("zfs destroy tank/new");
    let run = world.zbackup(&["--json", "os", "--keep-both", "/home"]);
    let done = volumes(&run.exits(3));
    assert_eq!(done["/srv"]["conflict"], "diverged");
    assert_eq!(sh("cat /tank/srv/own"), "own");
    let forced = volumes(&world.zbackup(&["--json", "os", "--force", "/srv"]).exits(0));
    let kept = format!("tank/home-kept-{}", sh("date +%F"));
    assert_eq!(sh("findmnt -no SOURCE /tank/home"), "tank/home");
    assert_eq!(sh(&format!("cat /{kept}/own")), "own");
    assert_eq!(done["/home"]["action"], "full");
    assert_eq!(
        forced["/srv"]["destroys"],
        serde_json::json!(["tank/srv@own"])
    );
    assert_eq!(sh("ls /tank/srv"), "a\nnews");
}

#[test]
// walks: in-use, zvol-in-use
fn a_zvol_of_the_host_that_is_in_use_is_not_changed() {
    const NODE: &str = "/dev/zvol/tank/disk";
    let world = World::new(&["/disk=16M"]);
    sh(&format!("udevadm wait --timeout=30 {NODE}"));
    let write = |text: &str| {
        sh(&format!(
            "printf {text} | dd of={NODE} conv=fsync status=none"
        ))
    };
    let read = || sh(&format!("head -c 6 {NODE}"));
    for text in ["first.", "second"] {
        write(text);
        world.backup();
    }
    let refused_while_in_use = |arguments: &[&str], reason: &str, content: &str| {
        sh(&format!(
            "dmsetup create user --table \"0 $(blockdev --getsz {NODE}) linear {NODE} 0\""
        ));
        // Not the world's, which finds the mapping open afterwards.
        let run = zbackup(arguments).exits(3);
        sh("dmsetup remove user");
        run.says(&format!("{NODE} is in use")).says(reason);
        assert_eq!(read(), content);
        world.zbackup(arguments).exits(0);
        assert_eq!(read(), "second");
    };
    let go_back =
        "zfs rollback -r $(zfs list -Ht snapshot -o name -s createtxg tank/disk | head -n 1)";
    sh(go_back);
    refused_while_in_use(&["os"], "damages both", "first.");
    sh(go_back);
    write("mine..");
    refused_while_in_use(&["os", "--force", "/disk"], "would be lost", "mine..");
}
