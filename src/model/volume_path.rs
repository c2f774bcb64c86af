//! A volume as the configuration and the command line name it.

use std::fmt;
use std::str::FromStr;

use openzfs::{DatasetName, InvalidName};
use serde::{Serialize, Serializer};

/// A volume as `zbackup.ini` and the command line name it: a dataset's place below its pool.
///
/// Written with a leading slash (`/home/vic`), accepted with or without one. The pool's root
/// dataset is no volume.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumePath(String);

impl VolumePath {
    /// Checks `text`, with or without its leading slash.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let path = text.strip_prefix('/').unwrap_or(text);
        if path.is_empty() {
            return Err(InvalidName::new(
                text,
                "volume",
                "the pool itself is not a volume",
            ));
        }
        DatasetName::new(path).map_err(|error| error.named(text, "volume"))?;
        Ok(Self(format!("/{path}")))
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dataset of this volume below `top` (a pool's root dataset, or a prefix in it).
    pub fn below(&self, top: &DatasetName) -> Result<DatasetName, InvalidName> {
        top.join(&self.0[1..])
    }

    /// True if `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(other.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl FromStr for VolumePath {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl Serialize for VolumePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_path_has_one_spelling() {
        assert_eq!(
            VolumePath::new("home/vic").unwrap(),
            VolumePath::new("/home/vic").unwrap()
        );
        assert!(VolumePath::new("/").is_err());
        assert!(VolumePath::new("//home").is_err());
        let backup = DatasetName::new("backup/host1").unwrap();
        assert_eq!(
            VolumePath::new("/home")
                .unwrap()
                .below(&backup)
                .unwrap()
                .as_str(),
            "backup/host1/home"
        );
    }
}
