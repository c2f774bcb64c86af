//! One run at a time on one machine.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Phase};
use crate::next::next;

/// Where the lock is.
pub const LOCK_FILE: &str = "/run/zbackup.lock";

/// Held while a run lasts; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(Mutex<Option<Flock<File>>>);

impl Lock {
    /// Takes the lock, or says which process has it.
    pub fn take() -> Result<Self, Error> {
        Self::take_at(Path::new(LOCK_FILE))
    }

    fn take_at(path: &Path) -> Result<Self, Error> {
        let fail = |why: String| Error::new(Phase::Lock, why);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| fail(format!("cannot open the lock {}: {error}", path.display())))?;
        let mut holder = String::new();
        // The pid is for the message only; a file that cannot be read can still be locked.
        let _ = file.read_to_string(&mut holder);
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
            |(_, errno)| match errno {
                Errno::EWOULDBLOCK => fail(match holder.trim() {
                    "" => "another zbackup is running".to_owned(),
                    pid => format!("another zbackup is running (pid {pid})"),
                })
                .next(next!(
                    "locked",
                    "Wait until it has finished, then run this command again."
                )),
                errno => fail(format!("cannot lock {}: {errno}", path.display())),
            },
        )?;
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // Even if /run is full, a disk can still be closed.
        if let Err(error) = write_pid(&mut lock) {
            log::warn!("{} does not say who has it: {error}", path.display());
        }
        Ok(Self(Mutex::new(Some(lock))))
    }

    /// Releases the lock. A process whose threads wait in the kernel for a pulled disk ends only
    /// when the disk is back, and until then no other process could bring it back.
    pub fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zbackup.lock");
        let first = Lock::take_at(&path).unwrap();
        let error = Lock::take_at(&path).unwrap_err();
        first.release();
        drop(Lock::take_at(&path).unwrap());
        assert!(
            error
                .message
                .contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(first);
        Lock::take_at(&path).unwrap();
    }
}
