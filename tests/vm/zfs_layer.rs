//! The crate `openzfs` on a real kernel and real pools, with the `zfs` and `zpool` commands as oracle.
//!
//! Each test makes its own pools and takes them down again, whatever becomes of it. Where the layer
//! reports a fact, the command line is asked for the same fact; where it is to fail, the failure is
//! made on purpose and its kind is looked at.

mod datasets;
mod examples;
mod pools;
mod quiet;
mod snapshots;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use openzfs::*;

const DISK: &str = "/dev/vdb";
const OTHER_DISK: &str = "/dev/vdc";

/// Runs a command that has to succeed and gives what it printed.
fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A pool that is gone when this is dropped.
struct TestPool(&'static str);

impl TestPool {
    fn new(name: &'static str, device: &str) -> Self {
        run(&format!(
            "udevadm settle && zpool create -f -O mountpoint=none {name} {device}"
        ));
        Self(name)
    }

    /// On a file, for tests that copy or break the device.
    fn on_file(name: &'static str, file: &str) -> Self {
        run(&format!("rm -f {file} && truncate -s 128M {file}"));
        run(&format!("zpool create -f -O mountpoint=none {name} {file}"));
        Self(name)
    }

    fn create(&self, path: &str) -> DatasetName {
        run(&format!(
            "zfs create -o mountpoint=/mnt/{0}/{path} {0}/{path}",
            self.0
        ));
        dataset(&format!("{}/{path}", self.0))
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        let _ = Command::new("zpool")
            .args(["destroy", "-f", self.0])
            .output();
    }
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

fn bookmark(name: &str) -> BookmarkName {
    BookmarkName::new(name).unwrap()
}

fn pool_name(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn lzc() -> Lzc {
    Lzc::open().unwrap()
}

fn guid_of(name: &str) -> Guid {
    run(&format!("zfs get -Hpo value guid {name}"))
        .parse()
        .unwrap()
}

fn is_imported(name: &str) -> bool {
    Command::new("zpool")
        .args(["list", name])
        .output()
        .unwrap()
        .status
        .success()
}

fn mounted_below(pool: &str) -> bool {
    fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .lines()
        .any(|line| {
            line.split(' ')
                .next()
                .is_some_and(|source| source == pool || source.starts_with(&format!("{pool}/")))
        })
}

fn full(name: &str) -> SendRequest {
    SendRequest {
        snapshot: snapshot(name),
        from: None,
        flags: SendFlags::default(),
        resume: None,
    }
}

fn from_snapshot(name: &str, base: &str) -> SendRequest {
    SendRequest {
        from: Some(SendBase::Snapshot(snapshot(base))),
        ..full(name)
    }
}

struct Target<'a> {
    snapshot: &'a str,
    properties: NvList,
    force: bool,
    resumable: bool,
    /// Bytes behind the first record after which the stream ends.
    cut_after_bytes: Option<usize>,
}

impl<'a> Target<'a> {
    fn new(snapshot: &'a str) -> Self {
        let properties = kernel_properties([("readonly", "on")]).unwrap();
        Self {
            snapshot,
            properties,
            force: false,
            resumable: true,
            cut_after_bytes: None,
        }
    }
}

/// One transfer, with both results.
fn transfer(
    request: &SendRequest,
    target: &Target<'_>,
) -> (Result<(), Error>, Result<ReceiveOutcome, Error>) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let request = request.clone();
    let sender = thread::spawn(move || lzc().send(&request, writer.as_fd()));
    let begin = BeginRecord::read_from(reader.as_fd()).unwrap();
    let reader = match target.cut_after_bytes {
        Some(count) => first_bytes(reader, count),
        None => reader,
    };
    let receive = ReceiveRequest {
        snapshot: snapshot(target.snapshot),
        begin: &begin,
        properties: &target.properties,
        origin: None,
        force: target.force,
        resumable: target.resumable,
    };
    let received = lzc().receive(&receive, reader.as_fd());
    drop(reader);
    (sender.join().unwrap(), received)
}

/// A pipe with the next `count` bytes of another one and nothing behind them.
fn first_bytes(reader: OwnedFd, count: usize) -> OwnedFd {
    let (cut_reader, cut_writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    thread::spawn(move || {
        let mut writer = File::from(cut_writer);
        let mut limited = File::from(reader).take(count as u64);
        let _ = std::io::copy(&mut limited, &mut writer);
    });
    cut_reader
}

fn two_pools() -> (TestPool, TestPool) {
    (
        TestPool::new("tank", DISK),
        TestPool::new("backup", OTHER_DISK),
    )
}

fn content(dataset_name: &str) -> String {
    run("mkdir -p /mnt/look");
    let libzfs = Libzfs::open().unwrap();
    let copy = libzfs.dataset(&dataset(dataset_name)).unwrap().unwrap();
    copy.mount_at(Path::new("/mnt/look"), "ro").unwrap();
    let hashes = run("cd /mnt/look && find . -type f | sort | xargs sha256sum");
    nix::mount::umount2("/mnt/look", nix::mount::MntFlags::empty()).unwrap();
    hashes
}
