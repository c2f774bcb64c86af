//! Validated names and numbers of the ZFS world.
//!
//! A value of one of these types can be handed to libzfs as it is: the rules of
//! `zfs_namecheck` (allowed characters, no empty component, 255 bytes at most) were
//! checked when it was made. Identity is a [`Guid`]; order within one pool is a
//! [`Createtxg`]; names are for people and for system calls.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Longest dataset, snapshot or bookmark name in bytes (`ZFS_MAX_DATASET_NAME_LEN` less its NUL).
const MAX_NAME_BYTES: usize = 255;

/// Why a text is no valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid {what} name: {reason}")]
pub struct InvalidName {
    name: String,
    what: &'static str,
    reason: String,
}

impl InvalidName {
    /// `name` is no valid name of a `what`: for kinds of names that callers build on these.
    pub fn new(name: &str, what: &'static str, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            what,
            reason: reason.into(),
        }
    }

    /// The same reason, for the whole `name` of which only a part was checked.
    #[must_use]
    pub fn named(self, name: &str, what: &'static str) -> Self {
        Self {
            name: name.into(),
            what,
            ..self
        }
    }
}

/// A 64-bit identity that ZFS gives to pools, datasets, snapshots and bookmarks.
///
/// A snapshot keeps its guid wherever it is sent, so two snapshots with one guid hold the same data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u64);

/// The transaction group in which something was created: the order of events within one pool.
///
/// Not comparable between pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Createtxg(pub u64);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({})", self.0)
    }
}

impl FromStr for Guid {
    type Err = ParseIntError;
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Createtxg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a pool, which is also the name of its root dataset.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

/// The name of a file system or zvol, such as `tank/home/vic`. The pool's root dataset is one too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName(String);

/// A full snapshot name, such as `tank/home@2026-11-22`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    full: String,
    at: usize,
}

/// A full bookmark name, such as `tank/home#monday`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookmarkName {
    full: String,
    hash: usize,
}

impl PoolName {
    /// Checks `name` as ZFS does: it starts with a letter, and the words that ZFS reserves for vdevs
    /// are refused.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        const RESERVED: [&str; 4] = ["mirror", "raidz", "draid", "spare"];
        check_component(name, "pool")?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(InvalidName::new(
                name,
                "pool",
                "it must start with a letter",
            ));
        }
        if name == "log" || RESERVED.iter().any(|word| name.starts_with(word)) {
            return Err(InvalidName::new(
                name,
                "pool",
                "ZFS keeps this word for itself",
            ));
        }
        Ok(Self(name.into()))
    }

    /// The pool's root dataset.
    pub fn root(&self) -> DatasetName {
        DatasetName(self.0.clone())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DatasetName {
    /// Checks every component of `name`.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_length(name, "dataset")?;
        for component in name.split('/') {
            check_component(component, "dataset").map_err(|error| error.named(name, "dataset"))?;
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pool that holds this dataset.
    pub fn pool(&self) -> PoolName {
        PoolName(self.0.split('/').next().unwrap_or_default().into())
    }

    /// The dataset above this one; `None` for a pool's root dataset.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.into()))
    }

    /// All datasets above this one, the pool's root first.
    pub fn ancestors(&self) -> Vec<Self> {
        let mut ancestors: Vec<_> = std::iter::successors(self.parent(), Self::parent).collect();
        ancestors.reverse();
        ancestors
    }

    /// The last component, such as `vic` of `tank/home/vic`.
    pub fn base_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The dataset `path` (one or more components) below this one.
    pub fn join(&self, path: &str) -> Result<Self, InvalidName> {
        Self::new(&format!("{}/{}", self.0, path))
    }

    /// True if `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.below(other).is_some()
    }

    /// What remains of this name below `other`: `home/vic` of `tank/home/vic` below `tank`,
    /// the empty text for `other` itself.
    pub fn below(&self, other: &Self) -> Option<&str> {
        let rest = self.0.strip_prefix(other.as_str())?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }

    /// The snapshot `short` of this dataset.
    pub fn snapshot(&self, short: &str) -> Result<SnapshotName, InvalidName> {
        SnapshotName::new(&format!("{}@{}", self.0, short))
    }

    /// The bookmark `short` of this dataset.
    pub fn bookmark(&self, short: &str) -> Result<BookmarkName, InvalidName> {
        BookmarkName::new(&format!("{}#{}", self.0, short))
    }
}

impl SnapshotName {
    /// Checks a full name with one `@`.
    pub fn new(full: &str) -> Result<Self, InvalidName> {
        let at = split_full_name(full, '@', "snapshot")?;
        Ok(Self {
            full: full.into(),
            at,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The dataset that this is a snapshot of.
    pub fn dataset(&self) -> DatasetName {
        DatasetName(self.full[..self.at].into())
    }

    /// The part behind the `@`.
    pub fn short(&self) -> &str {
        &self.full[self.at + 1..]
    }
}

impl BookmarkName {
    /// Checks a full name with one `#`.
    pub fn new(full: &str) -> Result<Self, InvalidName> {
        let hash = split_full_name(full, '#', "bookmark")?;
        Ok(Self {
            full: full.into(),
            hash,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The dataset that this is a bookmark of.
    pub fn dataset(&self) -> DatasetName {
        DatasetName(self.full[..self.hash].into())
    }

    /// The part behind the `#`.
    pub fn short(&self) -> &str {
        &self.full[self.hash + 1..]
    }
}

fn check_length(name: &str, what: &'static str) -> Result<(), InvalidName> {
    if name.len() > MAX_NAME_BYTES {
        return Err(InvalidName::new(
            name,
            what,
            format!("longer than {MAX_NAME_BYTES} bytes"),
        ));
    }
    Ok(())
}

fn check_component(component: &str, what: &'static str) -> Result<(), InvalidName> {
    let fail = |reason: String| Err(InvalidName::new(component, what, reason));
    check_length(component, what)?;
    match component {
        "" => return fail("a part of it is empty".into()),
        "." | ".." => return fail(format!("{component:?} is not allowed as a part")),
        _ => {}
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.: ".contains(c);
    match component.chars().find(|&c| !allowed(c)) {
        Some(bad) => fail(format!("{bad:?} is not allowed")),
        None => Ok(()),
    }
}

/// Checks `dataset<separator>short` and returns where the separator is.
fn split_full_name(full: &str, separator: char, what: &'static str) -> Result<usize, InvalidName> {
    check_length(full, what)?;
    let Some(at) = full.find(separator) else {
        return Err(InvalidName::new(
            full,
            what,
            format!("it has no {separator:?}"),
        ));
    };
    DatasetName::new(&full[..at])
        .and_then(|_| check_component(&full[at + 1..], what))
        .map_err(|error| error.named(full, what))?;
    Ok(at)
}

/// Display, Debug and `FromStr` that every name shares: all of them show the plain text.
macro_rules! text_name {
    ($($type:ident),+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    )+};
}

text_name!(PoolName, DatasetName, SnapshotName, BookmarkName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_zfs_accepts() {
        for name in ["tank", "tank/home", "tank/home/vic smith", "a/b-c_d.e:f"] {
            assert_eq!(DatasetName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(PoolName::new("logs").unwrap().as_str(), "logs");
        let snapshot = SnapshotName::new("tank/home@2026-11-22").unwrap();
        assert_eq!(snapshot.dataset().as_str(), "tank/home");
        assert_eq!(snapshot.short(), "2026-11-22");
    }

    #[test]
    fn names_that_zfs_rejects() {
        for name in [
            "",
            "/tank",
            "tank/",
            "tank//home",
            "tank/..",
            "tank/ho@me",
            "tank/hömé",
            "tank%",
        ] {
            assert!(DatasetName::new(name).is_err(), "{name}");
        }
        for name in ["1tank", "mirror0", "log", "tank/home", "raidz"] {
            assert!(PoolName::new(name).is_err(), "{name}");
        }
        for name in ["tank", "tank@", "@a", "tank@a@b", "tank@a/b"] {
            assert!(SnapshotName::new(name).is_err(), "{name}");
        }
        assert!(DatasetName::new(&"a".repeat(256)).is_err());
    }

    #[test]
    fn a_dataset_knows_its_family() {
        let vic = DatasetName::new("tank/home/vic").unwrap();
        let ancestors: Vec<_> = vic.ancestors().iter().map(ToString::to_string).collect();
        assert_eq!(ancestors, ["tank", "tank/home"]);
        assert_eq!(vic.base_name(), "vic");
        assert_eq!(
            vic.below(&DatasetName::new("tank").unwrap()),
            Some("home/vic")
        );
        assert!(!vic.is_within(&DatasetName::new("tank/ho").unwrap()));
        assert!(vic.is_within(&vic));
    }
}
