//! Plugging USB disks in and out through the machine outside.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use super::sh;

const CONTROL: &str = "/dev/virtio-ports/zbackup.control";

/// Sends one request to the machine outside; panics where it is refused.
pub fn control(request: &str) -> String {
    let mut port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(CONTROL)
        .expect("the control port");
    writeln!(port, "{request}").expect("the request is sent");
    let mut answer = String::new();
    BufReader::new(port)
        .read_line(&mut answer)
        .expect("an answer");
    let answer = answer.trim_end();
    let result = answer
        .strip_prefix("ok")
        .unwrap_or_else(|| panic!("{request}: {answer}"));
    result.trim().to_owned()
}

/// A USB disk of the test machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usb(pub u8);

impl Usb {
    /// Its name on the control channel.
    pub fn name(self) -> String {
        format!("usb{}", self.0)
    }

    /// The link that udev makes while it is plugged in.
    pub fn link(self) -> PathBuf {
        format!("/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_USB{}-0:0", self.0).into()
    }

    /// The partition's uuid: every test partitions the disk the same way.
    pub fn partuuid(self) -> String {
        format!(
            "{0}{0}{0}{0}{0}{0}{0}{0}-1111-4111-8111-111111111111",
            self.0
        )
    }

    /// The partition's link.
    pub fn partition(self) -> String {
        format!("/dev/disk/by-partuuid/{}", self.partuuid())
    }

    pub fn is_plugged_in(self) -> bool {
        self.link().exists()
    }

    /// Plugs it in and waits for udev.
    pub fn plug(self) {
        if !self.is_plugged_in() {
            control(&format!("plug {}", self.name()));
            sh(&format!(
                "udevadm wait --timeout=30 --settle {}",
                self.link().display()
            ));
        }
    }

    /// Pulls it out and waits for udev.
    pub fn unplug(self) {
        if self.is_plugged_in() {
            control(&format!("unplug {}", self.name()));
            sh(&format!(
                "udevadm wait --timeout=30 --removed {}",
                self.link().display()
            ));
        }
    }

    /// Plugs it in, with a partition for a pool, and a small one that nobody cares about.
    pub fn plug_partitioned(self) {
        self.plug();
        if !std::path::Path::new(&self.partition()).exists() {
            sh(&format!(
                "sgdisk -Z {link} >/dev/null 2>&1 || true
                 sgdisk -n 1:2048:+900M -t 1:bf01 -u 1:{uuid} -n 2:0:0 {link} >/dev/null
                 udevadm wait --timeout=30 --settle {partition}",
                link = self.link().display(),
                uuid = self.partuuid(),
                partition = self.partition(),
            ));
        }
    }

    /// Empties the partition: pools have their labels at both ends, containers at the front.
    pub fn make_empty(self) {
        self.plug_partitioned();
        let node = self.partition();
        sh(&format!(
            "zpool labelclear -f {node} 2>/dev/null || true; wipefs -aqf {node}
             dd if=/dev/zero of={node} bs=1M count=2 conv=fsync status=none
             dd if=/dev/zero of={node} bs=1M seek=$(( $(blockdev --getsize64 {node}) / 1048576 - 2 )) count=2 conv=fsync status=none 2>/dev/null || true"
        ));
    }

    /// Keeps what a pulled cable would leave on it now.
    pub fn save(self) {
        control(&format!("save {}", self.name()));
    }

    /// Goes back to what was saved.
    pub fn restore(self) {
        self.unplug();
        control(&format!("restore {}", self.name()));
        self.plug();
    }

    /// sha256 of the whole disk, taken outside of this machine. It must not be plugged in.
    pub fn sha256(self) -> String {
        assert!(!self.is_plugged_in(), "{} is plugged in", self.name());
        control(&format!("sha256 {}", self.name()))
    }
}
