//! The values of one section, each with its place, and how `[DEFAULT]` fills the gaps.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use openzfs::Guid;

use super::error::{Place, Problems};
use super::ini::{Entry, Section};
use super::key::{Key, Kind};
use super::selection::Exclude;
use super::value::{self, Refused};
use super::{Encryption, PartUuid, PoolSelector};
use crate::model::VolumePath;

/// The value of a key in a section.
#[derive(Debug, Clone, Default)]
pub(super) enum Setting<T> {
    /// The key is absent.
    #[default]
    Absent,
    /// An invalid value that was reported. It counts as set, so that it is not also reported as missing.
    Refused(Place),
    /// A value.
    Set(T, Place),
}

impl<T: Clone> Setting<T> {
    /// The value, for keys that may be left out.
    pub fn value(&self) -> Option<T> {
        match self {
            Self::Set(value, _) => Some(value.clone()),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    /// Where the value is; `None` without one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Set(_, place) => Some(place),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    fn inherit(&mut self, default: &Self) {
        if matches!(self, Self::Absent) {
            self.clone_from(default);
        }
    }

    fn fill(&mut self, place: Place, value: Result<T, Refused>, problems: &mut Problems) {
        if let Self::Set(_, first) | Self::Refused(first) = self {
            // Two names of one key; two spellings of one name were found earlier.
            let found = format!("repeated key, first in line {}", first.line);
            return problems.add(
                place,
                found,
                "last_snapshots and save-last-snapshots are the same",
            );
        }
        *self = match value {
            Ok(value) => Self::Set(value, place),
            Err(refused) => {
                for (line, refusal) in refused {
                    problems.refuse(
                        Place {
                            line,
                            ..place.clone()
                        },
                        refusal,
                    );
                }
                Self::Refused(place)
            }
        };
    }
}

/// All keys, of whatever kind of section.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub volume: Setting<Vec<VolumePath>>,
    pub recursive: Setting<bool>,
    pub exclude: Setting<Exclude>,
    pub keep_last: Setting<NonZeroUsize>,
    pub partuuid: Setting<PartUuid>,
    pub backup_pool: Setting<PoolSelector>,
    pub truecrypt: Setting<bool>,
    pub encryption: Setting<Option<Encryption>>,
    /// The inner `None` is `none`.
    pub passphrase_file: Setting<Option<PathBuf>>,
    pub keyfiles: Setting<Vec<PathBuf>>,
    pub pim: Setting<u32>,
    pub hidden: Setting<bool>,
    pub mount_point: Setting<PathBuf>,
    pub guid: Setting<Guid>,
    pub prefix: Setting<VolumePath>,
    pub intermediate: Setting<bool>,
    pub parallel: Setting<NonZeroUsize>,
    /// The inner `None` is `never`.
    pub scrub_every: Setting<Option<Duration>>,
    pub refuses_degraded: Setting<bool>,
}

impl Settings {
    /// Adds what `section` says. `[DEFAULT]` may come in several pieces, each added in turn.
    pub fn read(&mut self, section: &Section, kind: Kind, problems: &mut Problems) {
        for entry in &section.entries {
            let place = Place::key(entry.line, &section.name, &entry.key);
            match Key::of(&entry.key, kind) {
                Ok(key) => self.fill(key, entry, place, problems),
                Err(refusal) => problems.refuse(place, refusal),
            }
        }
    }

    fn fill(&mut self, key: Key, entry: &Entry, at: Place, problems: &mut Problems) {
        use value::single;
        match key {
            Key::Volume => self.volume.fill(at, value::volumes(entry), problems),
            Key::Recursive => self
                .recursive
                .fill(at, single(entry, value::boolean), problems),
            Key::Exclude => self.exclude.fill(at, value::exclude(entry), problems),
            Key::KeepLast => self
                .keep_last
                .fill(at, single(entry, value::keep_last), problems),
            Key::Partuuid => self
                .partuuid
                .fill(at, single(entry, value::partuuid), problems),
            Key::BackupPool => self
                .backup_pool
                .fill(at, single(entry, value::pool), problems),
            Key::Truecrypt => self
                .truecrypt
                .fill(at, single(entry, value::boolean), problems),
            Key::Encryption => self
                .encryption
                .fill(at, single(entry, value::encryption), problems),
            Key::PassphraseFile => {
                self.passphrase_file
                    .fill(at, single(entry, value::passphrase_file), problems);
            }
            Key::Keyfile => self.keyfiles.fill(at, value::keyfiles(entry), problems),
            Key::Pim => self.pim.fill(at, single(entry, value::pim), problems),
            Key::Hidden => self
                .hidden
                .fill(at, single(entry, value::boolean), problems),
            Key::MountPoint => {
                self.mount_point
                    .fill(at, single(entry, value::mount_point), problems);
            }
            Key::Guid => self.guid.fill(at, single(entry, value::guid), problems),
            Key::Prefix => self.prefix.fill(at, single(entry, value::volume), problems),
            Key::Intermediate => {
                self.intermediate
                    .fill(at, single(entry, value::boolean), problems);
            }
            Key::Parallel => self
                .parallel
                .fill(at, single(entry, value::parallel), problems),
            Key::ScrubEvery => {
                self.scrub_every
                    .fill(at, single(entry, value::scrub_every), problems);
            }
            Key::Degraded => {
                self.refuses_degraded
                    .fill(at, single(entry, value::degraded), problems);
            }
        }
    }

    /// Takes what is not set here from `defaults`.
    pub fn inherit(&mut self, defaults: &Self) {
        self.volume.inherit(&defaults.volume);
        self.recursive.inherit(&defaults.recursive);
        self.exclude.inherit(&defaults.exclude);
        self.keep_last.inherit(&defaults.keep_last);
        self.partuuid.inherit(&defaults.partuuid);
        self.backup_pool.inherit(&defaults.backup_pool);
        self.truecrypt.inherit(&defaults.truecrypt);
        self.encryption.inherit(&defaults.encryption);
        self.passphrase_file.inherit(&defaults.passphrase_file);
        self.keyfiles.inherit(&defaults.keyfiles);
        self.pim.inherit(&defaults.pim);
        self.hidden.inherit(&defaults.hidden);
        self.mount_point.inherit(&defaults.mount_point);
        self.guid.inherit(&defaults.guid);
        self.prefix.inherit(&defaults.prefix);
        self.intermediate.inherit(&defaults.intermediate);
        self.parallel.inherit(&defaults.parallel);
        self.scrub_every.inherit(&defaults.scrub_every);
        self.refuses_degraded.inherit(&defaults.refuses_degraded);
    }
}
