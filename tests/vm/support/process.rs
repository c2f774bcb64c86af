//! A process from outside: its signals, and where in the kernel its threads are.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

use super::sh;

/// Sends it a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the signal is sent");
}

/// Waits until SIGSTOP has stopped it. It must not end before.
#[track_caller]
pub fn wait_until_stopped(pid: u32) {
    sh(&format!(
        "until grep -q '^State:.T' /proc/{pid}/status; do ! grep '^State:.Z' /proc/{pid}/status; done"
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
        sh(&format!(
            "chrt --other --pid 0 {}; sysctl -q kernel.sched_rt_runtime_us=950000",
            gettid()
        ));
    }
}

/// What each of its threads is doing in the kernel, for whoever reads why a test failed.
pub fn stacks(pid: u32) -> String {
    let mut text = String::new();
    for thread in threads(pid) {
        let file = |name| read(&thread, name).unwrap_or_default();
        let status = file("status");
        let told = |key: &&str| {
            ["Name:", "State:", "SigPnd:"]
                .iter()
                .any(|k| key.starts_with(k))
        };
        let told: Vec<_> = status.lines().filter(told).collect();
        writeln!(text, "{}\n{}", told.join(" "), file("stack")).expect("text");
    }
    text
}

fn threads(pid: u32) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    entries.flatten().flatten().map(|entry| entry.path())
}

/// None where the thread has ended.
fn read(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}
