//! Mounts in other mount namespaces.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use super::stage::set_options;
use super::table::Mount;
use super::unmount::id_in;
use crate::system::threads;

/// The mount namespace of a process: the same link for all processes that share it.
pub fn of_process(pid: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt"))
}

/// Gives these options to a mount in another namespace, that of this process.
pub fn set_options_in(
    pid: u32,
    namespace: &Path,
    mount: &Mount,
    options: &str,
) -> Result<(), String> {
    let enter = || -> Result<(), String> {
        let there = File::open(format!("/proc/{pid}/ns/mnt")).map_err(in_words)?;
        if fs::read_link(format!("/proc/self/fd/{}", there.as_raw_fd())).map_err(in_words)?
            != namespace
        {
            return Err("the process has ended".into());
        }
        // /proc need not be mounted there.
        let facts = File::open("/proc/self/fdinfo").map_err(in_words)?;
        // A thread that shares its file system state with others cannot change its namespace.
        unshare(CloneFlags::CLONE_FS).map_err(in_words)?;
        setns(&there, CloneFlags::CLONE_NEWNS).map_err(in_words)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = open(&mount.path, flags, Mode::empty()).map_err(in_words)?;
        let number = place.as_fd().as_raw_fd().to_string();
        let facts = openat(&facts, number.as_str(), OFlag::O_RDONLY, Mode::empty());
        let facts = io::read_to_string(File::from(facts.map_err(in_words)?)).map_err(in_words)?;
        if id_in(&facts) != Some(mount.id) {
            return Err("its path leads to another mount".into());
        }
        set_options(&mount.path, options)
    };
    // A thread of its own: there is no way back.
    thread::scope(|scope| {
        let entered = threads::spawn(scope, "namespace", enter).map_err(in_words)?;
        let ended = entered.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_words(error: impl ToString) -> String {
    error.to_string()
}
