//! What is in the directory on which something was mounted.
//!
//! While a file system is unmounted, programs that know its path write into that directory instead.
//! Once the file system is mounted again, nobody sees what they wrote.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment as the kernel writes it to files: seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(i64, i64);

impl Moment {
    /// The present time, by the clock that stamps files.
    pub fn now() -> io::Result<Self> {
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
        Ok(Self(now.tv_sec(), now.tv_nsec()))
    }

    fn of_change(file: &fs::Metadata) -> Self {
        Self(file.ctime(), file.ctime_nsec())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:09}", self.0, self.1)
    }
}

/// A directory that is about to be hidden by a mount, kept open so that it can still be read then.
#[derive(Debug)]
pub struct Beneath(File);

/// How many names are told, and how many entries are examined.
const TOLD: usize = 5;
const LOOKED_AT: usize = 100_000;

impl Beneath {
    /// Opens the directory; `None` if it is a file.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        if !path.symlink_metadata()?.is_dir() {
            return Ok(None);
        }
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        Ok(Some(Self(directory)))
    }

    /// What was written there since: the first few paths below it.
    pub fn changed_since(&self, since: Moment) -> Vec<PathBuf> {
        let top = PathBuf::from(format!("/proc/self/fd/{}/", self.0.as_raw_fd()));
        let Ok(device) = self.0.metadata().map(|top| top.dev()) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        let mut looked_at = 0;
        let mut waiting = vec![top.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                looked_at += 1;
                if changed.len() == TOLD || looked_at == LOOKED_AT {
                    return changed;
                }
                let Ok(found) = entry.metadata() else {
                    continue;
                };
                if found.dev() != device {
                    continue;
                }
                if Moment::of_change(&found) >= since {
                    let path = entry.path();
                    changed.push(path.strip_prefix(&top).unwrap_or(&path).to_owned());
                }
                if found.is_dir() {
                    waiting.push(entry.path());
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("old")).unwrap();
        fs::write(path("old/file"), "").unwrap();
        fs::write(path("file"), "").unwrap();
        let last = Moment::of_change(&path("file").symlink_metadata().unwrap());
        let since = loop {
            let now = Moment::now().unwrap();
            if now > last {
                break now;
            }
        };
        let beneath = Beneath::open(folder.path()).unwrap().unwrap();
        assert_eq!(beneath.changed_since(since), <[PathBuf; 0]>::default());
        fs::write(path("old/file"), "more").unwrap();
        assert_eq!(beneath.changed_since(since), [Path::new("old/file")]);
        assert!(Beneath::open(&path("file")).unwrap().is_none());
    }
}
