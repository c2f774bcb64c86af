//! Somebody saves a file and starts a backup at once. The file lies in a file system on a zvol, in an
//! image of a virtual machine, in a container, or is mapped into memory: it is expected on the disk.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use crate::support::world::{assert_nothing_open, volumes};
use crate::support::{World, sh, zbackup};

/// Without a journal it can be looked at on a device that is read-only.
const MKFS: &str = "mkfs.ext4 -q -O ^has_journal";

/// A shell that goes on until it is ended, in a mount namespace of its own.
struct Container(Child);

impl Container {
    fn start(script: &str) -> Self {
        let mut shell = Command::new("unshare")
            .args([
                "-m",
                "bash",
                "-ec",
                &format!("{script}\necho ready; read end"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a container");
        let mut ready = String::new();
        let stdout = shell.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).unwrap();
        assert_eq!(ready, "ready\n", "{script}");
        Self(shell)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes through memory, and leaves the page dirty.
fn scribble_in_memory(path: &str, text: &[u8]) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    // SAFETY: a mapping of a file of that length, which is written to within it and then given back.
    unsafe {
        let shared = libc::PROT_READ | libc::PROT_WRITE;
        let place = libc::mmap(
            std::ptr::null_mut(),
            text.len(),
            shared,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(place, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(text.as_ptr(), place.cast(), text.len());
        libc::munmap(place, text.len());
    }
}

#[test]
fn what_was_saved_right_before_a_run_is_on_the_disk() {
    let world = World::new(&["/home", "/fs=16M", "/part=16M", "/raw=16M", "/lv=16M"]);
    sh(&format!(
        "modprobe loop || true
         for name in fs part raw lv; do udevadm wait --timeout=30 /dev/zvol/tank/$name; done
         mkdir -p /mnt/fs /mnt/part /mnt/image /mnt/lv
         {MKFS} /dev/zvol/tank/fs
         loop=$(losetup --show -f /dev/zvol/tank/part); {MKFS} $loop; mount $loop /mnt/part
         # As LVM does for a logical volume.
         size=$(blockdev --getsz /dev/zvol/tank/lv)
         dmsetup create lv --table \"0 $((size - 2048)) linear /dev/zvol/tank/lv 2048\"
         {MKFS} /dev/mapper/lv; mount /dev/mapper/lv /mnt/lv
         truncate -s 8M /tank/home/image; image=$(losetup --show -f /tank/home/image)
         {MKFS} $image; mount $image /mnt/image
         printf 'old\\n' > /tank/home/mapped; udevadm settle; sync"
    ));
    let container = Container::start("mount /dev/zvol/tank/fs /mnt/fs");
    let inside = format!("/proc/{}/root/mnt/fs", container.0.id());
    let mut raw = OpenOptions::new()
        .write(true)
        .open("/dev/zvol/tank/raw")
        .unwrap();
    zbackup(&["usb"]).exits(0);

    // Nothing of this is synced, and in the end no path leads to the mapped file.
    std::fs::write(format!("{inside}/new"), "in a container\n").unwrap();
    std::fs::write("/mnt/part/new", "on a device above\n").unwrap();
    std::fs::write("/mnt/lv/new", "in a logical volume\n").unwrap();
    std::fs::write("/mnt/image/new", "in an image\n").unwrap();
    raw.write_all(b"raw\n").unwrap();
    scribble_in_memory("/tank/home/mapped", b"new\n");
    sh("mount -t tmpfs none /tank/home");
    let run = zbackup(&["--json", "usb"]).exits(0);
    drop(raw);
    drop(container);
    sh(
        "umount /tank/home /mnt/part /mnt/image /mnt/lv; losetup -D; dmsetup remove --retry lv; udevadm settle",
    );
    assert_nothing_open();

    for (volume, found) in volumes(&run) {
        assert_eq!(found["action"], "incremental", "{volume}");
    }
    let on_disk = world.tamper(|| {
        sh(
            "for name in fs part raw lv; do zfs set volmode=dev backup/$name; done
            for name in fs part raw lv; do udevadm wait --timeout=30 /dev/zvol/backup/$name; done
            mkdir -p /mnt/look; head -c 4 /dev/zvol/backup/raw
            for name in fs part; do
                mount -o ro /dev/zvol/backup/$name /mnt/fs; cat /mnt/fs/new; umount /mnt/fs
            done
            mount -o ro,offset=1M,loop /dev/zvol/backup/lv /mnt/lv; cat /mnt/lv/new; umount /mnt/lv
            mount -t zfs -o ro,zfsutil backup/home /mnt/look; cat /mnt/look/mapped
            mount -o ro,loop /mnt/look/image /mnt/image; cat /mnt/image/new
            umount /mnt/image
            timeout 60 sh -c 'until umount /mnt/look 2>/dev/null; do losetup -D; udevadm settle; done'
            for name in fs part raw lv; do zfs set volmode=none backup/$name; done; udevadm settle",
        )
    });
    assert_eq!(
        on_disk,
        "raw\nin a container\non a device above\nin a logical volume\nnew\nin an image"
    );
    // Looking for what is to be written out changes nothing that a later run would send.
    world.backup();
    for (volume, found) in volumes(&world.zbackup(&["--json", "usb"]).exits(0)) {
        assert_eq!(found["action"], "up-to-date", "{volume}");
    }
}

/// A pool within a pool, as a virtual machine or somebody who tries something out has it.
#[test]
fn what_was_saved_in_a_pool_on_a_zvol_is_on_the_disk() {
    let world = World::new(&["/pool=96M"]);
    sh("udevadm wait --timeout=30 /dev/zvol/tank/pool; zpool create inner /dev/zvol/tank/pool");
    zbackup(&["usb"]).exits(0);
    sh("echo saved > /inner/new");
    zbackup(&["usb"]).exits(0);
    sh("zpool export inner; udevadm settle");
    assert_nothing_open();
    let on_disk = world.tamper(|| {
        sh(
            "zfs set volmode=full backup/pool; udevadm wait --timeout=30 /dev/zvol/backup/pool-part1
            zpool import -o readonly=on -R /mnt/look -d /dev/zvol/backup/pool-part1 inner >&2
            cat /mnt/look/inner/new; zpool export inner; udevadm settle
            zfs set volmode=none backup/pool; udevadm settle",
        )
    });
    assert_eq!(on_disk, "saved");
}
