//! The properties that a new volume gets: a copy remembers those of its source, a volume made from
//! a copy is given them back.

use std::collections::BTreeMap;

use crate::inventory::{
    CANMOUNT_PROPERTY, Dataset, PLACEHOLDER_PROPERTY, SOURCE_PROPERTIES_PROPERTY,
};
use crate::plan::Direction;
use crate::snapshot::DatasetKind;
use crate::zfs::{Error, NvList, XATTR_ON, kernel_properties};

/// Longest value of a user property in bytes, its NUL included (`ZAP_MAXVALUELEN`).
const MAX_VALUE_BYTES: usize = 8191;

/// Source properties that are remembered so that a new dataset made from the copy can have them
/// back. Mount points, sharing, quotas and reservations belong to a place, not to the data. Not every
/// OpenZFS has all of them: `prefetch` came with 2.2, `direct` with 2.3. `longname` is left out, for its
/// kernel answers EBUSY where a receive is to set it.
const REMEMBERED: [&str; 20] = [
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "checksum",
    "compression",
    "copies",
    "devices",
    "direct",
    "dnodesize",
    "exec",
    "logbias",
    "prefetch",
    "primarycache",
    "recordsize",
    "redundant_metadata",
    "relatime",
    "setuid",
    "sync",
    "xattr",
];

/// Local properties that belong to a place on the host: what replaces a dataset of its kind there
/// gets them. `canmount` is one too, but only once it is in that place.
const OF_A_PLACE: [&str; 11] = [
    "mountpoint",
    "quota",
    "refquota",
    "refreservation",
    "reservation",
    "sharenfs",
    "sharesmb",
    "snapdev",
    "snapdir",
    "volmode",
    "volthreading",
];

/// Property values by name, spelled as ZFS shows them.
type Values = BTreeMap<String, String>;

/// Properties of an empty parent that is never mounted.
pub(super) fn placeholder() -> Result<NvList, Error> {
    kernel_properties([("canmount", "off"), (PLACEHOLDER_PROPERTY, "yes")])
}

/// Properties of a volume that the target did not have before.
pub(super) fn of_new_volume(
    direction: Direction,
    kind: DatasetKind,
    source: Option<&Dataset>,
    replaces_placeholder: bool,
) -> Result<NvList, Error> {
    let local = source.map(|source| &source.local_properties);
    let mut properties = match direction {
        Direction::ToDisk => on_disk(kind, local),
        Direction::ToHost => on_host(kind, local),
    };
    if replaces_placeholder {
        properties.insert(PLACEHOLDER_PROPERTY.into(), "no".into());
    }
    let pairs = properties.iter();
    kernel_properties(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// A copy on the disk is never mounted by itself and cannot be written to; a zvol's copy gets no
/// device node, or udev and LVM would pick up what lies in it.
fn on_disk(kind: DatasetKind, source: Option<&Values>) -> Values {
    let mut properties = values([("readonly", "on")]);
    properties.extend(match kind {
        DatasetKind::Filesystem => values([("canmount", "noauto")]),
        DatasetKind::Volume => values([("volmode", "none")]),
    });
    properties
        .extend(source.map(|local| (SOURCE_PROPERTIES_PROPERTY.to_owned(), remembered(local))));
    properties
}

/// A volume that is new on the host is for use there, with what its copy remembers of the volume
/// that it was made of. Its mount point is the host's affair: inherited.
fn on_host(kind: DatasetKind, copy: Option<&Values>) -> Values {
    let json = copy.and_then(|local| local.get(SOURCE_PROPERTIES_PROPERTY));
    let mut properties = json.map(|json| recalled(json)).unwrap_or_default();
    properties.extend(values([("readonly", "off")]));
    properties.extend(match kind {
        DatasetKind::Filesystem => not_mounted_yet("on"),
        DatasetKind::Volume => values([("volmode", "default")]),
    });
    properties
}

/// Until a file system is in its place on the host (see [`super::arrival`]) no boot mounts it, over
/// files or where another one belongs. A mark remembers, for whichever run gets that far, what its
/// canmount is to be then.
fn not_mounted_yet(canmount: &str) -> Values {
    values([("canmount", "noauto"), (CANMOUNT_PROPERTY, canmount)])
}

/// The remembered properties that this machine's ZFS has, too. Whoever could write to the disk
/// could have written anything there: what would not have been remembered is not taken back.
fn recalled(json: &str) -> Values {
    let mut recalled: Values = serde_json::from_str(json).unwrap_or_else(|error| {
        log::warn!("the remembered properties {json:?} are not readable: {error}");
        Values::new()
    });
    recalled.retain(|name, value| {
        let known = REMEMBERED.contains(&name.as_str())
            && kernel_properties([(name.as_str(), value.as_str())]).is_ok();
        if !known {
            log::warn!("the remembered property {name}={value} is left out: ZFS here lacks it");
        }
        known
    });
    recalled
}

fn values<const N: usize>(pairs: [(&str, &str); N]) -> Values {
    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.into()
}

/// Properties of what is going to replace `old`, a dataset of its kind, on the host: those that `old`
/// had there. Where the kinds differ it is just a new volume, see [`of_new_volume`].
pub(super) fn of_replacement(old: &Dataset) -> Result<NvList, Error> {
    let properties = of_the_place(old.kind, &old.local_properties);
    let pairs = properties.iter();
    kernel_properties(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
}

fn of_the_place(kind: DatasetKind, local: &Values) -> Values {
    let is_kept = |name: &str| REMEMBERED.contains(&name) || OF_A_PLACE.contains(&name);
    let kept = local.iter().filter(|(name, _)| is_kept(name));
    let mut properties: Values = kept
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if kind == DatasetKind::Filesystem {
        // One that is not in its place yet itself has the mark too.
        let canmount = local
            .get(CANMOUNT_PROPERTY)
            .or_else(|| local.get("canmount"));
        properties.extend(not_mounted_yet(canmount.map_or("on", String::as_str)));
    }
    properties
}

/// The remembered properties as JSON, short enough for one property value.
fn remembered(local: &Values) -> String {
    let kept: BTreeMap<&str, &str> = local
        .iter()
        .filter(|(name, _)| REMEMBERED.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), word_for_every_release(name, value)))
        .collect();
    let json = serde_json::to_string(&kept).unwrap_or_default();
    if json.len() > MAX_VALUE_BYTES {
        "{}".into()
    } else {
        json
    }
}

/// The host that the disk goes to may have another OpenZFS, to which `xattr=on` is the other kind.
fn word_for_every_release<'a>(name: &str, value: &'a str) -> &'a str {
    match (name, value) {
        ("xattr", "on") => XATTR_ON,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_not_remembered() {
        let local = values([
            ("compression", "zstd"),
            ("mountpoint", "/srv"),
            ("sharenfs", "on"),
            ("org.me:note", "x"),
            ("quota", "1"),
        ]);
        assert_eq!(remembered(&local), r#"{"compression":"zstd"}"#);
    }

    #[test]
    fn what_is_remembered_means_the_same_everywhere() {
        let on = values([("xattr", "on"), ("atime", "on")]);
        let long = format!(r#"{{"atime":"on","xattr":"{XATTR_ON}"}}"#);
        assert_eq!(remembered(&on), long);
        let off = values([("xattr", "off")]);
        assert_eq!(remembered(&off), r#"{"xattr":"off"}"#);
    }

    #[test]
    fn what_replaces_a_file_system_is_not_mounted_before_it_is_in_its_place() {
        let file_system = |local| of_the_place(DatasetKind::Filesystem, &local);
        let old = values([
            ("mountpoint", "/srv"),
            ("org.me:note", "x"),
            ("atime", "on"),
        ]);
        let expected = values([
            ("atime", "on"),
            ("canmount", "noauto"),
            ("mountpoint", "/srv"),
            (CANMOUNT_PROPERTY, "on"),
        ]);
        assert_eq!(file_system(old), expected);
        let canmount = |local| file_system(local)[CANMOUNT_PROPERTY].clone();
        assert_eq!(canmount(values([("canmount", "off")])), "off");
        let arrived = values([("canmount", "noauto"), (CANMOUNT_PROPERTY, "on")]);
        assert_eq!(canmount(arrived), "on");
    }

    #[test]
    fn what_replaces_a_zvol_has_nothing_to_mount() {
        let old = values([("compression", "zstd"), ("volmode", "dev")]);
        assert_eq!(of_the_place(DatasetKind::Volume, &old), old);
    }

    #[test]
    fn what_is_not_remembered_is_not_taken_back() {
        let json = r#"{"mountpoint":"/etc","sharenfs":"on","org.me:note":"x"}"#;
        assert_eq!(recalled(json), Values::new());
        assert_eq!(recalled("no JSON"), Values::new());
    }
}
