//! Names of partitions.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The identity of a partition, spelled as udev spells its link in `/dev/disk/by-partuuid`.
/// GPT partitions have a uuid of their own. MBR partitions have none: theirs is made of the disk's
/// 32-bit signature and the partition's number, both in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartUuid(String);

/// The error for a text that is no partition uuid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a partition uuid")]
pub struct InvalidPartUuid {
    text: String,
}

impl PartUuid {
    /// Digits in each part of a GPT uuid, such as `09353f9f-c554-11e1-8897-5c260a0e9ee6`.
    const GPT_DIGITS: [usize; 5] = [8, 4, 4, 4, 12];
    /// Digits in each part of the MBR form, such as `1a2b3c4d-01`.
    const MBR_DIGITS: [usize; 2] = [8, 2];

    /// Checks `text` and turns it to lower case, which is what udev uses.
    pub fn new(text: &str) -> Result<Self, InvalidPartUuid> {
        let parts: Vec<&str> = text.split('-').collect();
        let digits: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let hexadecimal = parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // Partitions are counted from 1.
        let mbr = digits == Self::MBR_DIGITS && parts[1] != "00";
        if hexadecimal && (mbr || digits == Self::GPT_DIGITS) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidPartUuid { text: text.into() })
        }
    }

    /// The text as udev writes it, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for PartUuid {
    type Err = InvalidPartUuid;
    fn from_str(text: &str) -> Result<Self, InvalidPartUuid> {
        Self::new(text)
    }
}

impl Serialize for PartUuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
