//! Environment variables that make libzfs print or start other programs.

use std::env;
use std::fs;

const OBEYED_BY_LIBZFS: [&str; 6] = [
    // Prints every failed system call to standard error.
    "ZFS_IOC_TRACE",
    // Print what an import or a property change is about.
    "ZFS_LOAD_INFO_DEBUG",
    "ZFS_PROP_DEBUG",
    // Resizes pipes that may not be empty, which can deadlock.
    "ZFS_SET_PIPE_MAX",
    // Starts modprobe.
    "ZFS_MODULE_LOADING",
    // Starts /bin/mount and /bin/umount.
    "ZFS_MOUNT_HELPER",
];

/// Removes the variables that make libzfs print or start other programs. To be called first in
/// `main`.
///
/// # Panics
/// If one of them is set and the process has more than one thread: another thread might be reading
/// the environment.
pub fn scrub_environment() {
    let is_set = |name: &&&str| env::var_os(name).is_some();
    for name in OBEYED_BY_LIBZFS.iter().filter(is_set) {
        assert!(
            is_single_threaded(),
            "scrub_environment() must be called before any thread starts"
        );
        // SAFETY: this is the only thread of the process, so nobody reads the environment meanwhile.
        unsafe { env::remove_var(name) };
    }
}

fn is_single_threaded() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}
