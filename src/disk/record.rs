//! A note in `/run` that says which disk zbackup has open.
//!
//! It is written before a disk is unlocked and removed after it was closed, so that the next run
//! can tell a disk that zbackup left open from one that somebody else is using. `/run` is emptied
//! at boot, when no disk is open either.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::PartUuid;
use crate::error::{Error, Phase};
use crate::next::next;

const FOLDER: &str = "/run/zbackup";

/// What zbackup has done to a disk and not undone yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process that opened the disk.
    pub pid: u32,
    /// Directories made as mount points, in order of creation: they are removed after unmounting.
    #[serde(default)]
    pub made_directories: Vec<PathBuf>,
}

impl Record {
    /// The record of this partition's disk, if zbackup has it open.
    pub fn read(partuuid: &PartUuid) -> Result<Option<Self>, Error> {
        let path = path_of(partuuid);
        match std::fs::read(&path) {
            // A record that a crash has cut short still says that zbackup has the disk open.
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_default())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("read", &path, &error)),
        }
    }

    /// Writes the record for this process.
    pub fn write(partuuid: &PartUuid, made_directories: Vec<PathBuf>) -> Result<(), Error> {
        let path = path_of(partuuid);
        let record = Self {
            pid: std::process::id(),
            made_directories,
        };
        let write = || {
            std::fs::create_dir_all(FOLDER)?;
            let mut file = std::fs::File::create(&path)?;
            file.write_all(&serde_json::to_vec(&record)?)
        };
        write().map_err(|error| {
            failure("write", &path, &error).next(next!(
                "no-record",
                "zbackup has to write down in {FOLDER} which disk it has open: see to it that there is \
                 room and that it can be written to, then run this command again."
            ))
        })
    }

    /// Removes the record: the disk is closed.
    pub fn remove(partuuid: &PartUuid) -> Result<(), Error> {
        let path = path_of(partuuid);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failure("remove", &path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn path_of(partuuid: &PartUuid) -> PathBuf {
    Path::new(FOLDER).join(partuuid.as_str())
}

fn failure(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Phase::Disk,
        format!("cannot {what} the record {}: {error}", path.display()),
    )
}
