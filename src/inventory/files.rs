//! The properties that decide what a volume's files are.
//!
//! A file keeps its access control list and its extended attributes in every copy, but ZFS shows
//! them only if these properties say so. So their values count wherever they were set: on the
//! dataset, above it, or nowhere, for the defaults are not the same in all releases.
//!
//! `casesensitivity`, `normalization`, `utf8only` and a zvol's block size are part of a stream, and
//! cannot be changed after it was received.

use std::collections::BTreeMap;

use openzfs::{DatasetKind, Properties, XATTR_ON, default_keyword};

/// All these properties. `longname` came with OpenZFS 2.3: without it files with long names cannot be
/// reached.
pub const FILE_PROPERTIES: [&str; 5] = ["aclinherit", "aclmode", "acltype", "longname", "xattr"];

/// The values that hold for a file system with these properties, in words that mean the same to
/// every OpenZFS. What this OpenZFS does not have is left out, and zvols have none.
pub fn file_properties(
    kind: DatasetKind,
    properties: &Properties,
) -> Result<BTreeMap<String, String>, openzfs::Error> {
    let mut values = BTreeMap::new();
    if kind == DatasetKind::Volume {
        return Ok(values);
    }
    for name in FILE_PROPERTIES {
        let value = match properties.value(name) {
            Some(value) => Some(value.to_owned()),
            None => default_keyword(name)?,
        };
        values.extend(value.map(|value| {
            let word = word_for_every_release(name, &value).to_owned();
            (name.to_owned(), word)
        }));
    }
    Ok(values)
}

/// The host to which a disk goes may have another OpenZFS, in which `xattr=on` means the other kind.
pub fn word_for_every_release<'a>(name: &str, value: &'a str) -> &'a str {
    match (name, value) {
        ("xattr", "on") => XATTR_ON,
        _ => value,
    }
}
