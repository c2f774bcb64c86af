//! Old snapshots go, and a disk that will not come back is forgotten.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::support::machine::Usb;
use crate::support::program::Run;
use crate::support::world::{CONFIG, advance_on_disk, assert_nothing_open, volumes};
use crate::support::{Dialogue, World, sh, zbackup, zbackup_with_fault};

/// Short names of a dataset's snapshots, oldest first.
fn snapshots(dataset: &str) -> Vec<String> {
    sh(&format!(
        "zfs list -Hpt snapshot -o name -s createtxg -d 1 {dataset}"
    ))
    .lines()
    .map(|name| name.split('@').nth(1).unwrap().to_owned())
    .collect()
}

fn bookmarks() -> Vec<String> {
    let list = sh("zfs list -Hpt bookmark -o name -r tank");
    list.lines().map(ToOwned::to_owned).collect()
}

/// For which disks and volumes there are bookmarks: of a disk some older ones stay.
fn ledgers() -> BTreeSet<String> {
    let names = bookmarks().into_iter();
    names
        .map(|name| name.rsplit_once('-').unwrap().0.to_owned())
        .collect()
}

/// A list of names in the `--json` document.
fn listed(run: &Run, key: &str) -> BTreeSet<String> {
    let document = run.json();
    let names = document[key].as_array().expect("a list").iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn pruned(run: &Run) -> BTreeSet<String> {
    listed(run, "pruned")
}

fn names<'a>(dataset: &'a str, shorts: &'a [&String]) -> impl Iterator<Item = String> + 'a {
    shorts.iter().map(move |short| format!("{dataset}@{short}"))
}

/// Writes something into each volume, backs it up, and returns the new snapshot's short name.
fn write_and_back_up(world: &World, text: &str) -> String {
    for volume in sh("zfs list -Ho mountpoint -r tank | grep /tank/").lines() {
        sh(&format!("echo {text} > {volume}/{text}"));
    }
    let volumes = world.backup();
    volumes["/home"]["snapshot"].as_str().unwrap().to_owned()
}

fn on_disk(world: &World, dataset: &str) -> Vec<String> {
    world.inspect(|| snapshots(dataset))
}

#[test]
fn a_volume_that_is_not_done_keeps_everything() {
    let world = World::new(&["/home", "/srv"]);
    write_and_back_up(&world, "first");
    write_and_back_up(&world, "second");
    world.tamper(|| {
        sh("zfs set readonly=off backup/srv; mkdir -p /mnt/look
            mount -t zfs -o zfsutil backup/srv /mnt/look; echo theirs > /mnt/look/theirs
            umount /mnt/look; zfs snapshot backup/srv@theirs; zfs set readonly=on backup/srv")
    });
    let on_disk_before = on_disk(&world, "backup/srv");
    sh("echo third > /tank/home/third; echo third > /tank/srv/third");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(3);
    assert_eq!(volumes(&run)["/srv"]["conflict"], "diverged");
    assert_eq!(snapshots("tank/srv").len(), 2);
    assert_eq!(on_disk(&world, "backup/srv"), on_disk_before);
    assert_eq!(snapshots("tank/home").len(), 1);
    assert_eq!(on_disk(&world, "backup/home").len(), 1);
    assert_eq!(pruned(&run).len(), 4);
}

#[test]
fn a_mark_lost_in_a_crash_comes_back_and_nobody_elses_appears() {
    let mut world = World::new(&["/home"]);
    world.host("intermediate = yes");
    write_and_back_up(&world, "first");
    sh("zfs snapshot tank/home@mine");
    let second = write_and_back_up(&world, "second");
    world.tamper(|| {
        sh(&format!(
            "zfs inherit org.zbackup:created backup/home@{second}"
        ))
    });
    sh("echo third > /tank/home/third");
    let run = world.zbackup(&["--json", "usb", "-s", "2"]).exits(0);
    let third = volumes(&run)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let kept = ["mine".to_owned(), second.clone(), third.clone()];
    assert_eq!(snapshots("tank/home"), kept);
    assert_eq!(on_disk(&world, "backup/home"), kept);
    let marked = world.inspect(|| {
        sh("zfs get -Hpt snapshot -s local -o name -r org.zbackup:created backup/home")
    });
    let marked: BTreeSet<_> = marked.lines().map(ToOwned::to_owned).collect();
    assert_eq!(
        marked,
        names("backup/home", &[&second, &third]).collect::<BTreeSet<_>>()
    );

    // What comes to the host counts there, too.
    world.tamper(|| advance_on_disk("home", "zbackup-other", "echo news"));
    let run = world.zbackup(&["--json", "os", "-s", "1"]).exits(0);
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    let kept = ["mine", "zbackup-other"];
    assert_eq!(snapshots("tank/home"), kept);
    assert_eq!(on_disk(&world, "backup/home"), kept);
    let gone: BTreeSet<_> = names("tank/home", &[&second, &third])
        .chain(names("backup/home", &[&second, &third]))
        .collect();
    assert_eq!(pruned(&run), gone);
}

#[test]
// walks: forget-by-guid, forget-look, forget-force
fn a_disk_that_is_gone_is_forgotten() {
    let world = World::new(&["/home", "/srv"]);
    let snapshot = write_and_back_up(&world, "first");
    sh(&format!(
        "zfs bookmark tank/srv@{snapshot} tank/srv#zbackup-123-4"
    ));
    world.usb.unplug();
    let before = bookmarks();
    assert_eq!(before.len(), 3);
    let waiting = before.iter().filter(|name| !name.contains("-123-"));
    let of_disk: BTreeSet<_> = waiting.cloned().collect();

    let name = "USB device";
    world
        .zbackup(&["forget", "USB device 7"])
        .exits(2)
        .says("123: 1 bookmark");
    world
        .zbackup(&["forget", name])
        .exits(2)
        .says("zbackup forget --force 'USB device'");
    world.zbackup(&["-y", "forget", name]).exits(2);
    let dry = world.zbackup(&["-n", "--json", "forget", name]).exits(0);
    assert_eq!(listed(&dry, "forgotten"), of_disk);
    world
        .zbackup(&["-n", "forget", name])
        .exits(0)
        .says(of_disk.first().unwrap());
    for answer in ["", "n"] {
        let mut talk = Dialogue::start(&["-y", "forget", name]);
        talk.sees("#zbackup-").sees("[y/N]").types(answer);
        assert_eq!(talk.ends().0, 3);
    }
    assert_eq!(bookmarks(), before, "nothing has gone by now");

    let mut talk = Dialogue::start(&["forget", name]);
    talk.sees("#zbackup-").sees("[y/N]").types("y");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0);
    assert!(screen.contains("Removed 2 bookmarks"), "{screen}");
    assert_eq!(bookmarks(), ["tank/srv#zbackup-123-4"]);
    assert_eq!(
        sh("zfs get -Ho property all tank | grep zbackup:disk || true"),
        ""
    );
    world
        .zbackup(&["forget", name])
        .exits(0)
        .says("nothing to forget");

    let forced = zbackup(&["--json", "forget", "--force", "123"])
        .exits(0)
        .json();
    assert_eq!(
        forced["forgotten"],
        serde_json::json!(["tank/srv#zbackup-123-4"])
    );
    assert_eq!(forced["disk"], serde_json::Value::Null);
    assert_eq!(bookmarks(), [""; 0]);
    assert_eq!(snapshots("tank/home"), [snapshot], "snapshots stay");
    world.usb.plug();
}

#[test]
fn each_side_keeps_its_own_number_and_what_is_not_its_to_take() {
    let mut world = World::new(&["/home"]);
    sh("zfs set org.zbackup:created=inherited-does-not-count tank/home");
    let first = write_and_back_up(&world, "first");
    sh("zfs snapshot tank/home@mine");
    let second = write_and_back_up(&world, "second");
    sh(&format!("zfs hold keep tank/home@{second}"));
    let third = write_and_back_up(&world, "third");
    sh(&format!("zfs clone tank/home@{third} tank/clone"));
    let fourth = write_and_back_up(&world, "fourth");
    let fifth = write_and_back_up(&world, "fifth");

    world.host("last_snapshots = 2");
    world.device("save-last-snapshots = 3");
    sh("echo sixth > /tank/home/sixth");
    let on_host_before = snapshots("tank/home");
    let on_disk_before = on_disk(&world, "backup/home");
    let dry = world.zbackup(&["-n", "--json", "usb"]).exits(0);
    world
        .zbackup(&["-n", "usb"])
        .exits(0)
        .says("Removed from the host at the end: 3 old snapshots")
        .says("Removed from the disk at the end: 3 old snapshots")
        .says(&format!("  tank/home@{first}\n"));
    assert_eq!(snapshots("tank/home"), on_host_before);
    assert_eq!(on_disk(&world, "backup/home"), on_disk_before);

    let run = world.zbackup(&["--json", "usb"]).exits(0);
    let sixth = volumes(&run)["/home"]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        snapshots("tank/home"),
        ["mine", &second, &third, &fifth, &sixth]
    );
    assert_eq!(on_disk(&world, "backup/home"), [&*fourth, &fifth, &sixth]);
    let gone_from_disk = [&first, &second, &third];
    let gone_from_disk: Vec<_> = names("backup/home", &gone_from_disk).collect();
    let gone_from_host: Vec<_> = names("tank/home", &[&first, &fourth]).collect();
    let gone: BTreeSet<_> = gone_from_host.into_iter().chain(gone_from_disk).collect();
    assert_eq!(pruned(&run), gone);
    // A dry run cannot know of the clone.
    let cloned = format!("tank/home@{third}");
    assert_eq!(pruned(&dry), &gone | &BTreeSet::from([cloned.clone()]));
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains(&format!("{cloned} stays")), "{warnings}");

    // The next run still goes on from what is left, and -s overrides both sides.
    sh("zfs destroy tank/clone; echo seventh > /tank/home/seventh");
    let run = world.zbackup(&["--json", "usb", "-s", "1"]).exits(0);
    let seventh = &volumes(&run)["/home"];
    assert_eq!(seventh["action"], "incremental");
    let seventh = seventh["snapshot"].as_str().unwrap().to_owned();
    assert_eq!(snapshots("tank/home"), ["mine", &second, &seventh]);
    assert_eq!(on_disk(&world, "backup/home"), [&*seventh]);
    assert_eq!(run.json()["warnings"].to_string(), "[]");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn v_asks_before_each_pools_destroy() {
    let world = World::new(&["/home"]);
    let first = write_and_back_up(&world, "first");
    sh("echo second > /tank/home/second");
    let mut talk = Dialogue::start(&["-v", "-s", "1", "usb"]);
    for (question, answer) in [
        ("import", "y"),
        ("snapshot", "y"),
        ("tank/home@", "y"),
        ("destroy 1 old snapshot of tank", "n"),
        ("destroy 1 old snapshot of backup", "y"),
        ("export", "y"),
    ] {
        talk.sees(question).sees("[Y/n]");
        if question.ends_with("of backup") {
            // Until the answer comes another one has got its name.
            sh(&format!(
                "zfs destroy backup/home@{first}; zfs snapshot backup/home@{first}"
            ));
        }
        talk.types(answer);
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, 3);
    assert!(screen.contains("Safe to unplug"), "{screen}");
    assert_eq!(snapshots("tank/home").len(), 2);
    assert_eq!(snapshots("tank/home")[0], first);
    let on_disk = on_disk(&world, "backup/home");
    assert_eq!(on_disk.len(), 2, "{on_disk:?}");
    assert_eq!(on_disk[1], first, "the one that was not asked about");
}

/// Three disks whose pools have the same name.
fn three_disks(host_lines: &str, disk_lines: &str) -> World {
    let world = World::new(&["/home", "/srv"]);
    for usb in [Usb(2), Usb(3)] {
        usb.make_empty();
        sh(&format!(
            "zpool create -f -O mountpoint=/backup -O atime=off backup {}; zpool export backup",
            usb.partition()
        ));
    }
    let mut config = "[DEFAULT]\nvolume = /home\n         /srv\n".to_owned();
    for number in 1..=3 {
        write!(
            config,
            "[USB device {number}]\npartuuid = {}\nbackup_pool = backup\n{disk_lines}\n",
            Usb(number).partuuid()
        )
        .unwrap();
    }
    let guid = sh("zpool get -Hpo value guid tank");
    writeln!(config, "[host1]\nguid = {guid}\n{host_lines}").unwrap();
    std::fs::write(CONFIG, config).unwrap();
    world
}

/// In this round one volume fails first.
const FAILING_ROUND: usize = 6;

/// Breaks one of two streams off; the volume's next increment starts where the last one did. Returns
/// the other volume, which is up to date then.
fn a_volume_that_fails_keeps_its_bookmarks(device: &str) -> &'static str {
    let before = bookmarks();
    let run = zbackup_with_fault(
        "lzc_send_resume_redacted:error",
        &["--json", "--device", device, "usb"],
    );
    assert_nothing_open();
    let volumes = volumes(&run.exits(3));
    let is_failed = |name: &&str| volumes[*name]["outcome"] == "failed";
    let (failed, arrived): (Vec<_>, Vec<_>) = ["/home", "/srv"].into_iter().partition(is_failed);
    assert_eq!(failed.len(), 1, "{volumes:?}");
    let after = bookmarks();
    let of_failed = |name: &&String| name.starts_with(&format!("tank{}#", failed[0]));
    for bookmark in before.iter().filter(of_failed) {
        assert!(after.contains(bookmark), "{bookmark} is gone: {after:?}");
    }
    arrived[0]
}

/// A run to another disk removes from the host what the interrupted one has brought.
#[test]
fn what_arrived_before_a_run_broke_off_stays_that_disks_base() {
    let mut world = three_disks("intermediate = yes", "");
    let write = |text: &str| sh(&format!("echo {text} > /tank/home/{text}"));
    let [first, second] = [1, 2].map(|number| format!("USB device {number}"));
    let usb = |device: &str| {
        let run = world.zbackup(&["--json", "--device", device, "-s", "9", "usb", "/home"]);
        volumes(&run.exits(0))["/home"]["action"].clone()
    };
    write("a");
    assert_eq!(usb(&first), "full");
    for text in ["b", "c"] {
        write(text);
        usb(&second);
    }
    write("d");
    zbackup_with_fault(
        "lzc_send_resume_redacted:error:2",
        &["--device", &first, "usb", "/home"],
    )
    .exits(3);
    world
        .zbackup(&["--device", &second, "-s", "1", "usb", "/home"])
        .exits(0);
    assert_eq!(snapshots("tank/home").len(), 1);
    assert_eq!(usb(&first), "incremental");
    assert_eq!(ledgers().len(), 2);
    world.usb = Usb(1);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}

#[test]
fn three_disks_take_turns_and_the_host_keeps_one_snapshot() {
    let mut world = three_disks("last_snapshots = 1", "last_snapshots = 2");
    let mut seen = BTreeSet::new();
    for (round, (number, verb)) in [
        (1, "usb"),
        (2, "usb"),
        (3, "usb"),
        (2, "usb"),
        (1, "usb"),
        (1, "os"),
        (3, "usb"),
        (1, "usb"),
        (3, "usb"),
    ]
    .into_iter()
    .enumerate()
    {
        let device = format!("USB device {number}");
        if verb == "os" {
            world.usb = Usb(number);
            world.tamper(|| {
                ["home", "srv"].map(|volume| advance_on_disk(volume, "zbackup-other", "echo news"))
            });
        } else {
            sh(&format!(
                "echo {round} > /tank/home/{round}; echo {round} > /tank/srv/now"
            ));
        }
        let arrived =
            (round == FAILING_ROUND).then(|| a_volume_that_fails_keeps_its_bookmarks(&device));
        let run = world
            .zbackup(&["--json", "--device", &device, verb])
            .exits(0);
        let expected = if seen.insert(number) {
            "full"
        } else {
            "incremental"
        };
        for (volume, report) in volumes(&run) {
            let is_there = arrived == Some(volume.as_str());
            assert_eq!(
                report["action"],
                if is_there { "up-to-date" } else { expected },
                "round {round}, {device}, {volume}"
            );
            assert_eq!(
                snapshots(&format!("tank{volume}")).len(),
                1,
                "round {round}"
            );
        }
        // One ledger a volume and disk.
        assert_eq!(ledgers().len(), 2 * seen.len(), "round {round}");
    }
    // Disk 2 missed the last five rounds; unchanged since, it gets the newest snapshot as it is.
    let run = world
        .zbackup(&["--json", "--device", "USB device 2", "usb"])
        .exits(0);
    let newest = snapshots("tank/home");
    assert_eq!(volumes(&run)["/home"]["action"], "incremental");
    assert_eq!(volumes(&run)["/home"]["snapshot"], newest[0].as_str());
    for number in 1..=3 {
        world.usb = Usb(number);
        // Disk 1 was there one round before disk 3.
        let (kept, is_current) = (on_disk(&world, "backup/home"), number != 1);
        assert_eq!(kept.len(), 2, "disk {number}");
        assert_eq!(kept.last() == newest.last(), is_current, "disk {number}");
        if is_current {
            assert_eq!(
                world.files_on_disk("backup/home"),
                world.files_on_host("tank/home"),
                "disk {number}"
            );
        }
    }
}
