//! The keys that a config knows, and what was probably meant by unknown ones.

use strsim::levenshtein;

use super::error::Refusal;
use super::ini::one_spelling;

/// What a section describes, by the start of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[DEFAULT]`: all others inherit its keys.
    Default,
    /// `[USB device…]`: a disk.
    Device,
    /// `[host…]`: a host.
    Host,
}

impl Kind {
    /// The kind of the section `name`. Upper and lower case matter, as in Python.
    pub fn of(name: &str) -> Result<Self, Refusal> {
        if name == super::ini::DEFAULT {
            Ok(Self::Default)
        } else if name.starts_with("USB device") {
            Ok(Self::Device)
        } else if name.starts_with("host") {
            Ok(Self::Host)
        } else {
            let allowed = "allowed are [DEFAULT], [USB device…] and [host…]";
            let hint = Self::meant_by(name);
            Err(Refusal::new(
                "unknown section",
                format!("{allowed}{}", did_you_mean(hint)),
            ))
        }
    }

    fn meant_by(name: &str) -> Option<&'static str> {
        let name = name.to_lowercase();
        let meant = |start: &str| {
            let typed: String = name.chars().take(start.chars().count()).collect();
            levenshtein(&typed, &start.to_lowercase())
        };
        [
            ("DEFAULT", "[DEFAULT]"),
            ("USB device", "[USB device]"),
            ("host", "[host1]"),
        ]
        .into_iter()
        .map(|(start, example)| (meant(start), example))
        .filter(|(typos, _)| *typos <= 2)
        .min_by_key(|(typos, _)| *typos)
        .map(|(_, example)| example)
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Volume,
    Recursive,
    Exclude,
    KeepLast,
    Partuuid,
    BackupPool,
    Truecrypt,
    Encryption,
    PassphraseFile,
    Keyfile,
    Pim,
    Hidden,
    MountPoint,
    Guid,
    Prefix,
    Intermediate,
    Parallel,
    ScrubEvery,
    Degraded,
}

/// Every key as it is usually written, with the one kind of section that it is for, if any.
pub(super) const KEYS: [(&str, Key, Option<Kind>); 20] = [
    ("volume", Key::Volume, None),
    ("recursive", Key::Recursive, None),
    ("exclude", Key::Exclude, None),
    ("last_snapshots", Key::KeepLast, None),
    ("save-last-snapshots", Key::KeepLast, None),
    ("scrub-every", Key::ScrubEvery, None),
    ("partuuid", Key::Partuuid, Some(Kind::Device)),
    ("backup_pool", Key::BackupPool, Some(Kind::Device)),
    ("truecrypt", Key::Truecrypt, Some(Kind::Device)),
    ("encryption", Key::Encryption, Some(Kind::Device)),
    ("passphrase-file", Key::PassphraseFile, Some(Kind::Device)),
    ("keyfile", Key::Keyfile, Some(Kind::Device)),
    ("pim", Key::Pim, Some(Kind::Device)),
    ("hidden", Key::Hidden, Some(Kind::Device)),
    ("mount-point", Key::MountPoint, Some(Kind::Device)),
    ("degraded", Key::Degraded, Some(Kind::Device)),
    ("guid", Key::Guid, Some(Kind::Host)),
    ("prefix", Key::Prefix, Some(Kind::Host)),
    ("intermediate", Key::Intermediate, Some(Kind::Host)),
    ("parallel", Key::Parallel, Some(Kind::Host)),
];

impl Key {
    /// The key `written` in a section of `kind`. `[DEFAULT]` takes all keys: it passes them on.
    pub fn of(written: &str, kind: Kind) -> Result<Self, Refusal> {
        let written = one_spelling(written);
        let known = KEYS.iter().find(|(name, ..)| one_spelling(name) == written);
        let Some(&(_, key, home)) = known else {
            return Err(unknown(&written, kind));
        };
        match home {
            Some(home) if kind != Kind::Default && home != kind => Err(misplaced(home)),
            _ => Ok(key),
        }
    }
}

fn misplaced(home: Kind) -> Refusal {
    if home == Kind::Device {
        Refusal::new(
            "not a key of a host",
            "it is allowed in [USB device…] and [DEFAULT]",
        )
    } else {
        Refusal::new(
            "not a key of a disk",
            "it is allowed in [host…] and [DEFAULT]",
        )
    }
}

fn unknown(written: &str, kind: Kind) -> Refusal {
    let fits = |home: Option<Kind>| kind == Kind::Default || home.is_none_or(|home| home == kind);
    let names: Vec<&str> = KEYS
        .iter()
        .filter(|(.., home)| fits(*home))
        .map(|(name, ..)| *name)
        .collect();
    let meant = closest(written, KEYS.iter().map(|(name, ..)| *name));
    let allowed = format!("allowed are {}{}", names.join(", "), did_you_mean(meant));
    Refusal::new("unknown key", allowed)
}

/// The question to end a sentence with; nothing if no name is near enough.
fn did_you_mean(hint: Option<&str>) -> String {
    hint.map(|hint| format!(" (did you mean {hint}?)"))
        .unwrap_or_default()
}

/// The name nearest to `written`, if it is near enough to be a typing error.
fn closest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (levenshtein(written, &one_spelling(name)), name))
        // A third of the letters wrong is a typing error, more is another word.
        .filter(|(typos, name)| *typos <= name.len().div_ceil(3))
        .min_by_key(|(typos, _)| *typos)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_come_near_or_not_at_all() {
        let cases = [
            ("volumes", Some("volume")),
            ("mountpoint", Some("mount-point")),
            ("backuppool", Some("backup_pool")),
            ("safe-last-snapshots", Some("save-last-snapshots")),
            ("colour", None),
        ];
        for (written, meant) in cases {
            assert_eq!(
                closest(written, KEYS.iter().map(|(name, ..)| *name)),
                meant,
                "{written}"
            );
        }
    }
}
