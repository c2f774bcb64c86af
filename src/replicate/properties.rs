//! The properties that a new copy gets, and what it remembers of its source.

use std::collections::BTreeMap;

use crate::inventory::{Dataset, PLACEHOLDER_PROPERTY, SOURCE_PROPERTIES_PROPERTY};
use crate::plan::Direction;
use crate::snapshot::DatasetKind;
use crate::zfs::{Error, NvList, kernel_properties};

/// Longest value of a user property in bytes, its NUL included (`ZAP_MAXVALUELEN`).
const MAX_VALUE_BYTES: usize = 8191;

/// Source properties that are remembered so that a new dataset made from the copy can have them
/// back. Mount points, sharing, quotas and reservations belong to a place, not to the data.
const REMEMBERED: [&str; 18] = [
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "checksum",
    "compression",
    "copies",
    "devices",
    "dnodesize",
    "exec",
    "logbias",
    "primarycache",
    "recordsize",
    "redundant_metadata",
    "relatime",
    "setuid",
    "sync",
    "xattr",
];

/// Local properties that belong to a place on the host: what replaces a dataset there gets them.
const OF_A_PLACE: [&str; 9] = [
    "canmount",
    "mountpoint",
    "quota",
    "refquota",
    "refreservation",
    "reservation",
    "sharenfs",
    "sharesmb",
    "snapdir",
];

/// Properties of an empty parent that is never mounted.
pub(super) fn placeholder() -> Result<NvList, Error> {
    kernel_properties([("canmount", "off"), (PLACEHOLDER_PROPERTY, "yes")])
}

/// Properties of a volume that the target did not have before.
///
/// A copy on the disk is never mounted by itself and cannot be written to; a zvol's copy gets no
/// device node, or udev and LVM would pick up what lies in it.
pub(super) fn of_new_copy(
    direction: Direction,
    kind: DatasetKind,
    source: Option<&Dataset>,
    replaces_placeholder: bool,
) -> Result<NvList, Error> {
    if direction == Direction::ToHost {
        return Ok(NvList::new());
    }
    let remembered = source.map(|source| remembered(&source.local_properties));
    let mut properties = vec![("readonly", "on")];
    properties.push(match kind {
        DatasetKind::Filesystem => ("canmount", "noauto"),
        DatasetKind::Volume => ("volmode", "none"),
    });
    properties.extend(
        remembered
            .as_deref()
            .map(|remembered| (SOURCE_PROPERTIES_PROPERTY, remembered)),
    );
    if replaces_placeholder {
        properties.push((PLACEHOLDER_PROPERTY, "no"));
    }
    kernel_properties(properties)
}

/// Properties of what is going to replace `old` on the host: those that `old` had there.
pub(super) fn of_replacement(old: &Dataset) -> Result<NvList, Error> {
    let is_kept = |name: &str| REMEMBERED.contains(&name) || OF_A_PLACE.contains(&name);
    let local = old.local_properties.iter();
    kernel_properties(
        local
            .filter(|(name, _)| is_kept(name) && old.kind == DatasetKind::Filesystem)
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

/// The remembered properties as JSON, short enough for one property value.
fn remembered(local: &BTreeMap<String, String>) -> String {
    let kept: BTreeMap<&str, &str> = local
        .iter()
        .filter(|(name, _)| REMEMBERED.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let json = serde_json::to_string(&kept).unwrap_or_default();
    if json.len() > MAX_VALUE_BYTES {
        "{}".into()
    } else {
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_not_remembered() {
        let local = BTreeMap::from(
            [
                ("compression", "zstd"),
                ("mountpoint", "/srv"),
                ("sharenfs", "on"),
                ("org.me:note", "x"),
                ("quota", "1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(remembered(&local), r#"{"compression":"zstd"}"#);
    }
}
