//! Keeps what a C function prints off standard output.
//!
//! `zpool_import_props` explains some failures (missing devices, unknown features) with `printf`.
//! Standard output may carry a JSON document, so the text is caught and becomes part of the error.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::dup2_stdout;

/// Standard output belongs to the process: one capture at a time.
static CAPTURE: Mutex<()> = Mutex::new(());

/// Runs `function` and gives its result and what was printed meanwhile.
///
/// File descriptor 1 is redirected for the whole process, so other threads should not print to
/// standard output at that time. It is put back before anything else happens, also on a panic.
pub(super) fn with_captured_stdout<T>(function: impl FnOnce() -> T) -> io::Result<(T, String)> {
    let _lock = CAPTURE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text_file = File::from(memfd_create(c"stdout", MFdFlags::MFD_CLOEXEC)?);
    let redirected = Redirected::to(&text_file)?;
    let result = function();
    drop(redirected);
    let mut text = Vec::new();
    text_file.rewind()?;
    text_file.read_to_end(&mut text)?;
    Ok((result, String::from_utf8_lossy(&text).trim().to_owned()))
}

struct Redirected {
    original: OwnedFd,
}

impl Redirected {
    #[allow(clippy::disallowed_methods)] // nothing is written to it
    fn to(file: &File) -> io::Result<Self> {
        flush_c_streams();
        let original = io::stdout().as_fd().try_clone_to_owned()?;
        dup2_stdout(file)?;
        Ok(Self { original })
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        flush_c_streams();
        if let Err(errno) = dup2_stdout(&self.original) {
            log::error!("standard output cannot be put back: {errno}");
        }
    }
}

/// Text that C has buffered belongs where standard output pointed when it was printed.
fn flush_c_streams() {
    // SAFETY: fflush(NULL) flushes every C output stream; C locks each of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since standard output belongs to the whole process.
    #[test]
    fn what_c_prints_is_caught_and_stdout_is_put_back() {
        let stdout_target = || std::fs::read_link("/proc/self/fd/1").unwrap();
        let before = stdout_target();
        let (result, text) = with_captured_stdout(|| {
            assert_ne!(stdout_target(), before);
            // SAFETY: a NUL-terminated text.
            unsafe { libc::puts(c"said by C".as_ptr()) };
            42
        })
        .unwrap();
        assert_eq!(result, 42);
        // The test harness may have printed a line of its own meanwhile.
        assert!(text.contains("said by C"), "{text:?}");
        assert_eq!(stdout_target(), before);

        let caught = std::panic::catch_unwind(|| with_captured_stdout(|| panic!("boom")));
        assert!(caught.is_err());
        assert_eq!(stdout_target(), before);
    }
}
