//! `zbackup os`: what the disk holds comes to a host, and nothing of the host's own is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::support::world::{CONFIG, volumes};
use crate::support::{World, sh};

/// Where the second host's pool lies.
const OTHER_DISK: &str = "/dev/disk/by-id/virtio-HOST2";

/// Two hosts, of which one at a time is there: `tank` of the world, and `cave`.
struct Hosts {
    world: World,
    guids: [String; 2],
}

impl Hosts {
    fn new(volumes: &[&str]) -> Self {
        let world = World::new(volumes);
        sh(&format!(
            "zpool create -f -O mountpoint=/cave -O atime=off cave {OTHER_DISK}"
        ));
        let guids = ["tank", "cave"].map(|pool| sh(&format!("zpool get -Hpo value guid {pool}")));
        sh("zpool export cave");
        Self { world, guids }
    }

    /// Writes a configuration in which both hosts have a section; these are lines of the default one
    /// and of each of the two.
    fn configure(&self, defaults: &str, first: &str, second: &str) {
        let [tank, cave] = &self.guids;
        let config = format!(
            "[DEFAULT]\n{defaults}\n[USB device]\npartuuid = {}\nbackup_pool = backup\n\n\
             [host one]\nguid = {tank}\n{first}\n[host two]\nguid = {cave}\n{second}\n",
            self.world.usb.partuuid()
        );
        std::fs::write(CONFIG, config).expect("the configuration is written");
    }

    /// Makes this machine the host with the pool `to`. A zvol that udev still looks at would keep
    /// its pool from being exported.
    fn travel(&self, from: &str, to: &str) {
        sh(&format!(
            "udevadm settle; zpool export {from}
             zpool import -d /dev/disk/by-id -o cachefile=none {to}"
        ));
    }
}

/// Writes a file into a copy on the (imported) disk and snapshots it, as a run on another host would.
fn advance_on_disk(volume: &str) {
    sh(&format!(
        "mkdir -p /mnt/look; zfs set readonly=off backup/{volume}
         mount -t zfs -o zfsutil backup/{volume} /mnt/look
         echo 'from another host' > /mnt/look/news; umount /mnt/look
         zfs set readonly=on backup/{volume}
         zfs snapshot -o org.zbackup:created=then backup/{volume}@zbackup-other"
    ));
}

#[test]
fn a_volume_in_use_stays_mounted_while_it_receives() {
    let world = World::new(&["/home"]);
    sh("echo stays > /tank/home/a");
    world.backup();
    world.tamper(|| advance_on_disk("home"));
    let mount = || sh("grep ' /tank/home ' /proc/self/mountinfo");
    let before = mount();
    // Somebody who is in there, with an open file.
    let mut user = Command::new("bash")
        .args([
            "-c",
            "cd /tank/home; exec 9<a; echo ready; read -r; cat <&9; cat news",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let mut says = BufReader::new(user.stdout.take().unwrap());
    let mut ready = String::new();
    says.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    let came = volumes(&world.zbackup(&["--json", "os"]).exits(0));
    assert_eq!(came["/home"]["action"], "incremental");
    assert_eq!(mount(), before, "the same mount");
    user.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut read = String::new();
    says.read_to_string(&mut read).unwrap();
    assert!(user.wait().unwrap().success());
    assert_eq!(read, "stays\nfrom another host\n");
}

#[test]
fn a_section_for_each_host_and_a_place_of_its_own() {
    let hosts = Hosts::new(&["/home", "/srv"]);
    let world = &hosts.world;
    let defaults = "volume = /home\nintermediate = yes\nrecursive = yes";
    hosts.configure(
        defaults,
        "prefix = hosts/one",
        "volume = /srv\nrecursive = no",
    );
    sh("echo a > /tank/home/a; zfs snapshot tank/home@between; zfs create tank/home/vic");
    assert_eq!(
        world.backup().keys().collect::<Vec<_>>(),
        ["/home", "/home/vic"]
    );
    assert_eq!(
        world.inspect(|| sh("zfs list -Hpt snapshot -o name -r backup | grep -c hosts/one/home@")),
        "2",
        "intermediate is inherited"
    );

    hosts.travel("tank", "cave");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    assert_eq!(volumes(&run).keys().collect::<Vec<_>>(), ["/srv"]);
    sh("zfs create -p cave/srv/child; echo b > /cave/srv/b");
    assert_eq!(
        world.backup().keys().collect::<Vec<_>>(),
        ["/srv"],
        "recursive is overridden"
    );
    // What the first host keeps below its prefix is not there for this one.
    hosts.configure(defaults, "prefix = hosts/one", "");
    let run = world.zbackup(&["--json", "os"]).exits(3);
    let volumes_seen = volumes(&run);
    assert_eq!(volumes_seen.keys().collect::<Vec<_>>(), ["/home"]);
    assert_eq!(volumes_seen["/home"]["outcome"], "failed");
    assert_eq!(
        sh("zfs list -Ho name -r cave"),
        "cave\ncave/srv\ncave/srv/child"
    );

    hosts.travel("cave", "tank");
    sh("zfs destroy -r tank/home");
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/a"), "a");
}
