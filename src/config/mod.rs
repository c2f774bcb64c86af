//! `zbackup.ini`: which volumes of which hosts go to which disks.
//!
//! ```ini
//! `[DEFAULT]`
//! volume = /home
//!          /srv
//! last_snapshots = 30
//!
//! [USB device]
//! partuuid = 09353f9f-c554-11e1-8897-5c260a0e9ee6
//! backup_pool = backup
//! encryption = luks
//!
//! [host1]
//! guid = 14530958162319127105
//! ```
//!
//! The file follows the rules of Python's configparser: every section inherits from `[DEFAULT]`, a
//! value continues in lines that are indented deeper than its key, lines that start with `#` or `;`
//! are comments, there are no comments behind a value and `%` is a plain character. In keys, upper
//! and lower case are the same, and so are `_` and `-`.
//!
//! A file is read in three steps: `ini` takes it apart and knows where everything is,
//! `settings` checks key by key with the help of `key` and `value`, `build` checks how keys fit
//! together. Everything that is wrong is collected and reported at once.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use openzfs::{Guid, PoolName};

use crate::model::VolumePath;

mod build;
mod error;
mod find;
mod ini;
mod key;
mod partuuid;
#[cfg(test)]
mod python_tests;
mod selection;
mod settings;
mod value;

pub use error::{Candidate, ConfigError, Problem};
pub use partuuid::{InvalidPartUuid, PartUuid};
pub use selection::{Exclude, Fate, Selection, fate};

/// How many transfers may run at once if the config does not say.
pub const DEFAULT_PARALLEL: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// How old a scrub may be if the config does not say.
pub const DEFAULT_SCRUB_EVERY: Duration = Duration::from_secs(90 * 86_400);

/// A config file that was found to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The disks that rotate, in the order of the file. At least one; no two have one partuuid.
    pub devices: Vec<Device>,
    /// The hosts that the disks visit, in the order of the file. At least one; no two have one guid.
    pub hosts: Vec<Host>,
    /// What is allowed but hardly intended: one sentence each, for the log and the report.
    pub warnings: Vec<String>,
}

/// A `[USB device…]` section: a partition that holds a backup pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Name of the section, such as `USB device`.
    pub section: String,
    /// Line of the section's header, counted from 1.
    pub line: usize,
    /// The partition.
    pub partuuid: PartUuid,
    /// The pool on it.
    pub pool: PoolSelector,
    /// The container of the pool. Default: none, the pool is on the partition itself.
    pub encryption: Option<Encryption>,
    /// File with the passphrase, absolute. Default: ask. Only with `encryption`.
    pub passphrase_file: Option<PathBuf>,
    /// Keyfiles alone open the container: nobody is asked. Only with `keyfiles`.
    pub without_passphrase: bool,
    /// Files with keys, absolute, in their order. LUKS takes one. Only with `encryption`.
    pub keyfiles: Vec<PathBuf>,
    /// VeraCrypt's personal iterations multiplier; 0 is VeraCrypt's own default.
    pub pim: Option<u32>,
    /// The pool lies in the container's hidden volume. Default: no. Only TrueCrypt and VeraCrypt.
    pub hidden: bool,
    /// Altroot of the pool, absolute. Default: none.
    pub mount_point: Option<PathBuf>,
    /// Keep the newest of the managed snapshots on this disk. Default: keep all.
    pub keep_last: Option<NonZeroUsize>,
    /// A warning is given if the last scrub of its pool is older; `None`: none is wanted. Default:
    /// [`DEFAULT_SCRUB_EVERY`].
    pub scrub_every: Option<Duration>,
    /// No run begins if its pool lacks a device. Default: no, only a warning.
    pub refuses_degraded: bool,
    /// The volumes that this disk is for, if its section itself lists any. Inherited volumes belong
    /// to the hosts and do not limit a disk.
    pub selection: Option<Selection>,
}

/// A `[host…]` section: a pool whose volumes are carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name of the section, such as `host1`.
    pub section: String,
    /// Line of the section's header, counted from 1.
    pub line: usize,
    /// The pool. The machine where it is imported is this host.
    pub guid: Guid,
    /// The volumes that are carried.
    pub selection: Selection,
    /// Keep the newest of the managed snapshots on this host. Default: keep all.
    pub keep_last: Option<NonZeroUsize>,
    /// A warning is given if the last scrub of its pool is older; `None`: none is wanted. Default:
    /// [`DEFAULT_SCRUB_EVERY`].
    pub scrub_every: Option<Duration>,
    /// Where below the backup pool this host's volumes are. Default: directly below the pool, where
    /// hosts share them.
    pub prefix: Option<VolumePath>,
    /// Send every snapshot between the base and the newest. Default: no, only the newest.
    pub intermediate: bool,
    /// Most transfers at once. Default: [`DEFAULT_PARALLEL`].
    pub parallel: NonZeroUsize,
}

/// How a section names a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSelector {
    /// By its name. Disks that rotate may share one.
    Name(PoolName),
    /// By its guid, which no other pool has.
    Guid(Guid),
}

impl PoolSelector {
    /// True if this is the pool meant.
    pub fn matches(&self, name: &PoolName, guid: Guid) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Guid(wanted) => *wanted == guid,
        }
    }
}

impl fmt::Display for PoolSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Guid(guid) => write!(f, "the pool with guid {guid}"),
        }
    }
}

/// The kind of container that a pool lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// `encryption = truecrypt`
    Truecrypt,
    /// `encryption = veracrypt`
    Veracrypt,
    /// `truecrypt = yes`, which does not say which of the two: TrueCrypt is tried first.
    TruecryptOrVeracrypt,
    /// `encryption = luks`
    Luks,
}

/// The word of the `encryption` key; `truecrypt = yes` counts as `truecrypt`.
impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truecrypt | Self::TruecryptOrVeracrypt => "truecrypt",
            Self::Veracrypt => "veracrypt",
            Self::Luks => "luks",
        })
    }
}

impl Config {
    /// The disk of section `section`, named as in the file: `USB device 2`.
    pub fn device(&self, section: &str) -> Result<&Device, ConfigError> {
        let device = self.devices.iter().find(|device| device.section == section);
        device.ok_or_else(|| ConfigError::NoSuchDevice {
            path: self.path.clone(),
            asked: section.into(),
            known: self
                .devices
                .iter()
                .map(|device| device.section.clone())
                .collect(),
        })
    }
}
