//! Where the config is, and how it is read.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Place, Problems};
use super::{Candidate, Config, ConfigError};
use crate::next::next;

/// The config of a machine.
const SYSTEM_PATH: &str = "/etc/zbackup.ini";
/// The config in the current directory, as the first zbackup had it.
const LOCAL_NAME: &str = "zbackup.ini";
/// Write permission of the group and of everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// No config is larger than this; a device or a disk image named by mistake is.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is shown if there is no config yet.
pub(super) const EXAMPLE: &str = "\
[DEFAULT]
volume = /home

[USB device]
# ls -l /dev/disk/by-partuuid
partuuid = 09353f9f-c554-11e1-8897-5c260a0e9ee6
backup_pool = backup

[host1]
# zpool get guid
guid = 14530958162319127105
";

impl Config {
    /// The config file to use: `explicit` if it is given, else `/etc/zbackup.ini`, else
    /// `./zbackup.ini`.
    ///
    /// The last one counts only if it belongs to the effective user and nobody else may write it:
    /// this program runs as root, maybe in a directory of somebody else. Whether an `explicit` file
    /// exists is checked when it is loaded.
    pub fn find(explicit: Option<&Path>) -> Result<PathBuf, ConfigError> {
        if let Some(path) = explicit {
            return Ok(path.into());
        }
        let directory = std::env::current_dir().map_err(|source| ConfigError::Read {
            path: LOCAL_NAME.into(),
            source,
        })?;
        find_in(
            Path::new(SYSTEM_PATH),
            &directory.join(LOCAL_NAME),
            nix::unistd::geteuid().as_raw(),
        )
    }

    /// Reads the config file `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Read {
            path: path.into(),
            source,
        };
        let (bytes, metadata) = read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| not_text(path, &error))?;
        let mut config = Self::parse(path, &text)?;
        config
            .warnings
            .extend(doubts(path, &metadata, nix::unistd::geteuid().as_raw()));
        Ok(config)
    }
}

fn find_in(system: &Path, local: &Path, user_id: u32) -> Result<PathBuf, ConfigError> {
    let mut searched = Vec::new();
    let mut pass = |path: &Path, reason: String| {
        searched.push(Candidate {
            path: path.into(),
            reason,
        });
    };
    // A file that exists but cannot be examined is an error: otherwise another config than the
    // intended one would be used.
    match metadata_if_there(system, |path| fs::metadata(path))? {
        Some(_) => return Ok(system.into()),
        None => pass(system, "not there".into()),
    }
    // Not through a symlink: the file behind it may have been made for something else.
    match metadata_if_there(local, |path| fs::symlink_metadata(path))? {
        None => pass(local, "not there".into()),
        Some(metadata) => match distrust(&metadata, user_id) {
            None => return Ok(local.into()),
            Some(reason) => pass(local, format!("not used: {reason}")),
        },
    }
    Err(ConfigError::NotFound { searched })
}

fn metadata_if_there(
    path: &Path,
    look: impl Fn(&Path) -> io::Result<Metadata>,
) -> Result<Option<Metadata>, ConfigError> {
    match look(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read {
            path: path.into(),
            source,
        }),
    }
}

/// Why a file that nobody named is not used.
fn distrust(metadata: &Metadata, user_id: u32) -> Option<String> {
    if !metadata.is_file() {
        Some("it is not a regular file".into())
    } else if metadata.uid() != user_id {
        Some(format!(
            "it belongs to user {}, this program runs as {user_id}",
            metadata.uid()
        ))
    } else if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        Some(format!(
            "others may write it (mode {:04o})",
            metadata.mode() & 0o7777
        ))
    } else {
        None
    }
}

/// What is doubtful about a file that is used anyway.
fn doubts(path: &Path, metadata: &Metadata, user_id: u32) -> Vec<String> {
    let path = path.display();
    let mut doubts = Vec::new();
    if metadata.is_file() && metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        let mode = metadata.mode() & 0o7777;
        doubts.push(next!(
            "config-writable",
            "{path}: others may write this file (mode {mode:04o}), and so decide what is \
             backed up and overwritten; chmod go-w makes it safe"
        ));
    }
    if metadata.is_file() && ![0, user_id].contains(&metadata.uid()) {
        let owner = metadata.uid();
        doubts.push(format!(
            "{path}: this file belongs to user {owner}, who may change it at any time"
        ));
    }
    doubts
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file = File::open(path)?;
    // Metadata of the open file, not of the path: the open file is what is read.
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB, no config",
        ));
    }
    Ok((bytes, metadata))
}

fn not_text(path: &Path, error: &std::string::FromUtf8Error) -> ConfigError {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.split(|byte| *byte == b'\n').count();
    let mut problems = Problems::new(path.into());
    problems.add(
        Place::line(line),
        "not UTF-8",
        "plain UTF-8 text is allowed",
    );
    problems.into_error()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory with room for a system-wide and a local config.
    struct Places {
        directory: tempfile::TempDir,
        user_id: u32,
    }

    impl Places {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self {
                directory,
                user_id: nix::unistd::geteuid().as_raw(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, name: &str, mode: u32) {
            fs::write(self.path(name), EXAMPLE).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn find(&self) -> Result<PathBuf, ConfigError> {
            find_in(&self.path("system"), &self.path("local"), self.user_id)
        }

        /// What is said about the local file if nothing was found.
        fn local_reason(&self) -> String {
            match self.find() {
                Err(ConfigError::NotFound { searched }) => searched[1].reason.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_example_is_a_config() {
        let config = Config::parse(Path::new("example"), EXAMPLE).unwrap();
        assert_eq!((config.devices.len(), config.hosts.len()), (1, 1));
    }

    #[test]
    fn the_machines_config_goes_first() {
        let places = Places::new();
        places.write("local", 0o600);
        assert_eq!(places.find().unwrap(), places.path("local"));
        places.write("system", 0o666);
        assert_eq!(places.find().unwrap(), places.path("system"));
    }

    #[test]
    fn a_local_config_must_be_ones_own() {
        let mut places = Places::new();
        assert_eq!(places.local_reason(), "not there");
        for mode in [0o620, 0o602, 0o666] {
            places.write("local", mode);
            assert_eq!(
                places.local_reason(),
                format!("not used: others may write it (mode {mode:04o})")
            );
        }
        places.write("local", 0o600);
        places.user_id += 1;
        assert!(
            places
                .local_reason()
                .starts_with("not used: it belongs to user ")
        );
        places.user_id -= 1;
        fs::rename(places.path("local"), places.path("elsewhere")).unwrap();
        symlink(places.path("elsewhere"), places.path("local")).unwrap();
        assert_eq!(places.local_reason(), "not used: it is not a regular file");
    }

    #[test]
    fn a_config_of_somebody_else_is_doubtful() {
        let places = Places::new();
        places.write("local", 0o600);
        let path = places.path("local");
        // Root's own files are never doubtful, so root gives one away.
        if places.user_id == 0 {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        }
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            doubts(&path, &metadata, metadata.uid()),
            Vec::<String>::new()
        );
        let doubts = doubts(&path, &metadata, metadata.uid() + 1);
        assert!(
            doubts.len() == 1 && doubts[0].contains("belongs to user"),
            "{doubts:?}"
        );
    }

    #[test]
    fn a_machines_config_that_cannot_be_looked_at_is_an_error() {
        let places = Places::new();
        places.write("local", 0o600);
        let system = places.path("local").join("not a directory");
        let found = find_in(&system, &places.path("local"), places.user_id);
        assert!(matches!(found, Err(ConfigError::Read { path, .. }) if path == system));
    }

    #[test]
    fn where_nothing_is_found_the_message_helps() {
        let places = Places::new();
        let message = places.find().unwrap_err().to_string();
        let local = format!("\n  {}: not there\n", places.path("local").display());
        assert!(
            message.contains(&local) && message.ends_with(EXAMPLE),
            "{message}"
        );
    }
}
