//! A host with a pool, a USB disk with another, and the zbackup.ini that joins them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::container::{Container, PASSPHRASE_FILE};
use super::machine::Usb;
use super::program::{Run, zbackup};
use super::{sh, try_sh};

/// The host's disk. Its pool lies on a partition that stays from test to test: making one anew each
/// time would race with udev, which reads the table again on its own account.
const HOST_DISK: &str = "/dev/disk/by-id/virtio-HOST1";
/// Where zbackup looks for its configuration.
pub const CONFIG: &str = "/etc/zbackup.ini";
/// Prints the hash of each file below the working directory, by the kind that an emulated processor
/// has soonest. What two sides hold is compared by this one listing.
pub const HASHES: &str = "find . -xdev -type f -print0 | sort -z | xargs -0r md5sum";
/// How long clearing away may take, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The test program's exit status where it takes longer: that of a failed test.
const STUCK_STATUS: i32 = 101;

/// Host pool `tank` and a disk with pool `backup`; both are gone when it is dropped.
pub struct World {
    pub usb: Usb,
    pub container: Container,
    /// Further lines for the sections of the configuration.
    device_lines: String,
    host_lines: String,
    volumes: Vec<String>,
    /// Guid of the host's pool.
    guid: String,
}

impl World {
    /// A host with these volumes (`/home` is a file system, `/disk=16M` a zvol), and a plain disk.
    pub fn new(volumes: &[&str]) -> Self {
        Self::with_container(volumes, Container::Plain)
    }

    /// The same, on a disk with a container.
    pub fn with_container(volumes: &[&str], container: Container) -> Self {
        remember_panics();
        sweep();
        sh(&format!(
            "test -e {HOST_DISK}-part1 || sgdisk -n 1:2048:0 -t 1:bf01 {HOST_DISK} >/dev/null
             udevadm wait --timeout=30 --settle {HOST_DISK}-part1
             zpool create -f -O mountpoint=/tank -O atime=off -O compression=lz4 tank {HOST_DISK}-part1"
        ));
        let usb = Usb(1);
        // What the last test has left there is written over.
        usb.plug_partitioned();
        container.format(usb);
        let device = container.open(usb);
        sh(&format!(
            "zpool create -f -O mountpoint=/backup -O atime=off backup {device}; zpool export backup"
        ));
        container.close();
        let mut world = Self {
            usb,
            container,
            device_lines: String::new(),
            host_lines: String::new(),
            volumes: Vec::new(),
            guid: sh("zpool get -Hpo value guid tank"),
        };
        for volume in volumes {
            match volume.split_once('=') {
                Some((name, size)) => sh(&format!("zfs create -V {size} tank{name}")),
                None => sh(&format!("zfs create tank{volume}")),
            };
            world
                .volumes
                .push(volume.split('=').next().unwrap().to_owned());
        }
        world.write_config();
        world
    }

    /// The world of an earlier boot, which has left its disks.
    pub fn again(volumes: &[&str], container: Container) -> Self {
        sh(&format!(
            "udevadm wait --timeout=30 {HOST_DISK}-part1
             zpool import -d {HOST_DISK}-part1 -o cachefile=none tank"
        ));
        Self::with_pool("tank", volumes, container)
    }

    /// A host whose pool is there, and the disk of an earlier boot.
    pub fn with_pool(pool: &str, volumes: &[&str], container: Container) -> Self {
        remember_panics();
        let usb = Usb(1);
        usb.plug();
        container.write_passphrase();
        let world = Self {
            usb,
            container,
            device_lines: String::new(),
            host_lines: String::new(),
            volumes: volumes.iter().map(|&volume| volume.to_owned()).collect(),
            guid: sh(&format!("zpool get -Hpo value guid {pool}")),
        };
        world.write_config();
        world
    }

    /// Leaves everything as it is for the next boot.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Adds lines to the disk's section.
    pub fn device(&mut self, lines: &str) {
        self.device_lines.extend([lines, "\n"]);
        self.write_config();
    }

    /// Adds lines to the host's section.
    pub fn host(&mut self, lines: &str) {
        self.host_lines.extend([lines, "\n"]);
        self.write_config();
    }

    /// Replaces the configured volumes.
    pub fn configure(&mut self, volumes: &[&str]) {
        self.volumes = volumes.iter().map(|&volume| volume.to_owned()).collect();
        self.write_config();
    }

    /// What zbackup.ini says.
    pub fn config(&self) -> String {
        format!(
            "[DEFAULT]\nvolume = {}\n\n[USB device]\npartuuid = {}\nbackup_pool = backup\n{}{}\n[host1]\nguid = {}\n{}",
            self.volumes.join("\n         "),
            self.usb.partuuid(),
            self.container.config(),
            self.device_lines,
            self.guid,
            self.host_lines,
        )
    }

    /// Writes zbackup.ini, as it was before a test wrote another one.
    pub fn write_config(&self) {
        std::fs::write(CONFIG, self.config()).expect("the configuration is written");
    }

    /// Runs zbackup, and then insists that it left nothing open.
    #[track_caller]
    pub fn zbackup(&self, arguments: &[&str]) -> Run {
        let run = zbackup(arguments);
        assert_nothing_open();
        run
    }

    /// Runs `zbackup usb --json`, insists on exit code 0, and returns its volumes by name.
    #[track_caller]
    pub fn backup(&self) -> BTreeMap<String, Value> {
        volumes(&self.zbackup(&["--json", "usb"]).exits(0))
    }

    /// Looks at the disk's pool with the standard tools: read-only, nothing mounted by itself.
    pub fn inspect<T>(&self, look: impl FnOnce() -> T) -> T {
        self.import("-o readonly=on", look)
    }

    /// Changes something on the disk with the standard tools.
    pub fn tamper<T>(&self, change: impl FnOnce() -> T) -> T {
        self.import("", change)
    }

    fn import<T>(&self, options: &str, work: impl FnOnce() -> T) -> T {
        let device = self.container.open(self.usb);
        sh(&format!(
            "zpool import -N -f {options} -o cachefile=none -d {device} backup"
        ));
        let result = work();
        sh("zpool export backup");
        self.container.close();
        result
    }

    /// The copy's files with their hashes, read from the newest snapshot after a fresh import.
    pub fn files_on_disk(&self, dataset: &str) -> String {
        self.inspect(|| {
            sh(&format!(
                "mkdir -p /mnt/look
                 newest=$(zfs list -Hpt snapshot -o name -s createtxg -d 1 {dataset} | tail -n 1)
                 mount -t zfs -o ro \"$newest\" /mnt/look
                 cd /mnt/look; {HASHES}; cd /; umount /mnt/look"
            ))
        })
    }

    /// The host's files with their hashes.
    pub fn files_on_host(&self, dataset: &str) -> String {
        sh(&format!("cd /{dataset}; {HASHES}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        sweep();
    }
}

/// Writes what a command prints into a copy on the (imported) disk and snapshots that, as a run on
/// another host would.
pub fn advance_on_disk(volume: &str, snapshot: &str, printed_by: &str) {
    sh(&format!(
        "mkdir -p /mnt/look; zfs set readonly=off backup/{volume}
         mount -t zfs -o zfsutil backup/{volume} /mnt/look
         {printed_by} > /mnt/look/news; umount /mnt/look
         zfs set readonly=on backup/{volume}
         zfs snapshot -o org.zbackup:created=then backup/{volume}@{snapshot}"
    ));
}

/// Everything of a dataset of the host that is mounted, in order, without the numbers that are new each
/// time.
pub fn mounts(of: &str) -> String {
    sh(&format!(
        "{{ grep ' - zfs {of}' /proc/self/mountinfo || true; }} | cut -d' ' -f4- | sed -E 's/:[0-9]+ / /g'"
    ))
}

/// Names and guids of the snapshots of a pool that is imported.
pub fn snapshots(pool: &str) -> BTreeSet<String> {
    let list = sh(&format!("zfs list -Hpt snapshot -o name,guid -r {pool}"));
    list.lines().map(str::to_owned).collect()
}

/// Insists that none of these is gone.
#[track_caller]
pub fn assert_kept(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let lost: Vec<_> = before.difference(after).collect();
    assert!(lost.is_empty(), "{lost:?} are gone");
}

/// The volumes of a `--json` document by name.
pub fn volumes(run: &Run) -> BTreeMap<String, Value> {
    let document = run.json();
    let list = document["volumes"]
        .as_array()
        .expect("volumes is a list")
        .clone();
    list.into_iter()
        .map(|volume| (volume["volume"].as_str().unwrap().to_owned(), volume))
        .collect()
}

/// Insists that no disk is open: no pool but the hosts', no mapping, no mount, no record.
#[track_caller]
pub fn assert_nothing_open() {
    let pools = imported_pools();
    let disks: Vec<_> = pools
        .iter()
        .filter(|&pool| pool != "tank" && pool != "cave")
        .collect();
    assert!(disks.is_empty(), "pools that are still imported: {disks:?}");
    let mappings = mappings();
    assert!(
        mappings.is_empty(),
        "mappings that are still open: {mappings:?}"
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left = mounts
        .lines()
        .find(|mount| mount.contains(" zfs backup") || mount.contains("/dev/mapper"));
    assert_eq!(left, None, "mounts that are left");
    let records = names_in("/run/zbackup");
    assert!(records.is_empty(), "records that are left: {records:?}");
}

/// Clears away whatever a test, also a failed one, has left.
fn sweep() {
    let (is_over, over) = mpsc::channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let said = if thread::panicking() {
        LAST_PANIC.lock().unwrap().clone()
    } else {
        "did not fail".to_owned()
    };
    let end = move || end_the_boot(&test, &said);
    let end_if_stuck = end.clone();
    let watching = thread::spawn(move || {
        if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            end_if_stuck();
        }
    });
    let pools = imported_pools().join(" ");
    let mappings = mappings().join(" ");
    try_sh(&format!(
        "umount -R /mnt/look /mnt/usb 2>/dev/null || true
         for pool in {pools}; do zpool destroy -f $pool || true; done
         for mapping in {mappings}; do dmsetup remove --retry $mapping || true; done
         rm -rf /run/zbackup /run/zbackup.mounts /mnt/usb {PASSPHRASE_FILE}"
    ));
    drop(is_over);
    watching.join().expect("the watching thread is well");
    if !imported_pools().is_empty() {
        end();
    }
}

/// Whoever touches a pool whose disk was pulled out can wait without end, and so would all tests to
/// come. What the test has printed is lost with the process: its panic is repeated.
fn end_the_boot(test: &str, said: &str) -> ! {
    // Past the capture of the test's own output.
    let _ = writeln!(
        std::io::stderr(),
        "\n{test}: {said}\nWhat it has left cannot be cleared away: no other test can run in this boot, which ends here."
    );
    std::process::exit(STUCK_STATUS);
}

/// What the last panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            *LAST_PANIC.lock().unwrap() = panic.to_string();
            print(panic);
        }));
    });
}

/// What the kernel has imported. No process is started: this is asked after every run.
pub fn imported_pools() -> Vec<String> {
    names_in("/proc/spl/kstat/zfs")
        .into_iter()
        .filter(|name| Path::new("/proc/spl/kstat/zfs").join(name).is_dir())
        .collect()
}

/// Names of the device-mapper devices.
fn mappings() -> Vec<String> {
    let devices = names_in("/sys/block").into_iter();
    devices
        .filter_map(|device| std::fs::read_to_string(format!("/sys/block/{device}/dm/name")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

fn names_in(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
