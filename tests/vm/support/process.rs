//! A process from outside: its signals, and where in the kernel its threads are.

use std::fmt::Write;
use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

use super::{sh, try_sh};

/// How long a killed one may take to end.
const DEATH_MILLISECONDS: u16 = 60_000;

/// Sends it a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the signal is sent");
}

/// Waits until SIGSTOP has stopped it. It must not end before.
#[track_caller]
pub fn wait_until_stopped(pid: u32) {
    sh(&format!(
        "until grep -q '^State:.T' /proc/{pid}/status; do grep -q '^State:.[^Z]' /proc/{pid}/status; done"
    ));
}

/// This thread watches a process without missing anything: while this lives, it runs whenever the
/// process has to wait, and all others, the kernel's threads too, for half a second in between.
pub struct Watching {
    pid: u32,
}

impl Watching {
    pub fn ahead_of_all_but(pid: u32) -> Self {
        sh(&format!(
            "sysctl -q kernel.sched_rt_runtime_us=500000
             chrt --fifo --all-tasks --pid 2 {pid}; chrt --fifo --pid 1 {}",
            gettid()
        ));
        Self { pid }
    }

    /// Waits until one of its threads is in both of these functions of the kernel.
    #[track_caller]
    pub fn sees(&self, functions: [&str; 2]) {
        let is_there = |stack: String| functions.iter().all(|function| stack.contains(function));
        while !threads(self.pid).any(|thread| read(&thread, "stack").is_some_and(is_there)) {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
            let is_alive = status.is_ok_and(|status| !status.contains("State:\tZ"));
            assert!(is_alive, "it has ended and was never in {functions:?}");
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        try_sh(&format!(
            "chrt --other --pid 0 {}; sysctl -q kernel.sched_rt_runtime_us=950000",
            gettid()
        ));
    }
}

/// What a failed test leaves running is killed, and its end waited for. One that cannot be killed is
/// given up; a test that has succeeded may leave one of those on purpose.
pub fn end_of_failed_test(child: &mut Child) {
    if !thread::panicking() || !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let _ = child.kill();
    // SAFETY: two numbers; the descriptor that comes back is ours alone.
    let end = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, child.id(), 0);
        OwnedFd::from_raw_fd(RawFd::try_from(fd).expect("a descriptor"))
    };
    let mut ends = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ends, DEATH_MILLISECONDS) == Ok(1) {
        let _ = child.wait();
    }
}

/// What each of its threads is doing in the kernel, for whoever reads why a test failed.
pub fn stacks(pid: u32) -> String {
    let mut text = String::new();
    for thread in threads(pid) {
        let file = |name| read(&thread, name).unwrap_or_default();
        let status = file("status");
        let told = |line: &&str| {
            let keys = ["Name:", "State:", "SigPnd:"];
            keys.iter().any(|key| line.starts_with(key))
        };
        let told: Vec<_> = status.lines().filter(told).collect();
        writeln!(text, "{}\n{}", told.join(" "), file("stack")).expect("text");
    }
    text
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    entries.flatten().flatten().map(|entry| entry.path())
}

/// None where the thread has ended.
fn read(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}
