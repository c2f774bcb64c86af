//! The properties that a new volume gets: a copy remembers those of its source, and a volume made
//! from a copy gets them back, as far as its host lets a disk decide that.

use openzfs::{DatasetKind, DatasetName};

use super::memory::{is_remembered, memory_of, shown_of};
use super::taken_over::{Place, TakenOver};
use super::values::{SET_LATER, Values, values};
use crate::inventory::FILE_PROPERTIES;
use crate::model::Dataset;
use crate::model::marks::{CANMOUNT_PROPERTY, PLACEHOLDER_PROPERTY};
use crate::replicate::zfs::Zfs;

/// Properties that belong to a place on the host: a replacement of the same kind gets them. `canmount`
/// is one too, but only when the replacement is in that place. Default quotas came with 2.4.
const OF_A_PLACE: [&str; 29] = [
    "context",
    "dedup",
    "defaultgroupobjquota",
    "defaultgroupquota",
    "defaultprojectobjquota",
    "defaultprojectquota",
    "defaultuserobjquota",
    "defaultuserquota",
    "defcontext",
    "filesystem_limit",
    "fscontext",
    "mountpoint",
    "nbmand",
    "overlay",
    "quota",
    "refquota",
    "refreservation",
    "reservation",
    "rootcontext",
    "secondarycache",
    "sharenfs",
    "sharesmb",
    "snapdev",
    "snapdir",
    "snapshot_limit",
    "special_small_blocks",
    "volmode",
    "volthreading",
    "vscan",
];

/// Prefix of user properties that say what zbackup has done to one dataset, which is not true of
/// its replacement.
const OURS: &str = "org.zbackup:";

/// What a receive sets on a new volume, and what is set or told after it has arrived.
pub(in crate::replicate) struct Given {
    /// Set by the receive.
    pub list: Values,
    /// Set afterwards.
    pub later: Values,
    /// What the disk remembers and the host does not accept, in one line.
    pub left_out: Option<String>,
}

impl Given {
    /// Nothing, for a volume that exists already.
    pub fn nothing() -> Self {
        Self {
            list: Values::new(),
            later: Values::new(),
            left_out: None,
        }
    }

    fn new(mut values: Values, left_out: Option<String>) -> Self {
        let later = values.remove_entry(SET_LATER).into_iter().collect();
        Self {
            list: values,
            later,
            left_out,
        }
    }
}

/// Properties of an empty parent, which is never mounted.
pub(in crate::replicate) fn placeholder() -> Values {
    values([("canmount", "off"), (PLACEHOLDER_PROPERTY, "yes")])
}

/// Properties of a copy that the disk did not have before. It is never mounted by itself and cannot be
/// written to; a zvol's copy gets no device node, since udev and LVM would otherwise use what is in it.
pub(in crate::replicate) fn of_copy(
    kind: DatasetKind,
    source: Option<&Dataset>,
    replaces_placeholder: bool,
) -> Given {
    let mut properties = values([("readonly", "on")]);
    properties.extend(match kind {
        DatasetKind::Filesystem => values([("canmount", "noauto")]),
        DatasetKind::Volume => values([("volmode", "none")]),
    });
    if let Some(source) = source {
        properties.extend(memory_of(source));
        let shown = shown_of(source).filter(|pair| *pair != (SET_LATER, "off"));
        properties.extend(shown.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    no_placeholder(&mut properties, replaces_placeholder);
    Given::new(properties, None)
}

/// Properties of a volume that is new on the host. It is for use there, like others at its place,
/// with what its copy remembers of its source. Its mount point is inherited.
pub(in crate::replicate) fn of_new_volume(
    zfs: &dyn Zfs,
    target: &DatasetName,
    kind: DatasetKind,
    copy: Option<&Dataset>,
    place: &Place,
    replaces_placeholder: bool,
) -> Given {
    let taken =
        copy.map(|copy| TakenOver::of_copy(copy, place, |name, value| zfs.knows(name, value)));
    let taken = taken.unwrap_or_default();
    let left_out = taken.left_out(target);
    let mut properties = taken.values;
    // Values set on it tell a later run that it was made here, but they change nothing.
    let readonly = place.inherited("readonly").unwrap_or("off");
    properties.extend(values([("readonly", readonly)]));
    properties.extend(match kind {
        DatasetKind::Filesystem => not_mounted_yet("on"),
        DatasetKind::Volume => {
            let volmode = place.inherited("volmode").unwrap_or("default");
            values([("volmode", volmode)])
        }
    });
    no_placeholder(&mut properties, replaces_placeholder);
    Given::new(properties, left_out)
}

/// Properties of the replacement of `old` on the host, if both are of the same kind: those that `old`
/// had there, but the copy decides what its files are. If the kinds differ, it is a new volume like
/// any other, see [`of_new_volume`].
pub(in crate::replicate) fn of_replacement(
    zfs: &dyn Zfs,
    old: &Dataset,
    copy: Option<&Dataset>,
    place: &Place,
) -> Given {
    let mut properties = of_the_place(old);
    let taken =
        copy.map(|copy| TakenOver::of_copy(copy, place, |name, value| zfs.knows(name, value)));
    let taken = taken.unwrap_or_default();
    let left_out = taken.left_out(&old.name);
    for name in taken.as_inherited {
        properties.remove(&name);
    }
    let of_files = |name: &str| FILE_PROPERTIES.contains(&name);
    properties.extend(taken.values.into_iter().filter(|(name, _)| of_files(name)));
    Given::new(properties, left_out)
}

/// The user properties of `old`. The host's tools go by them: of which datasets they take snapshots,
/// and when.
fn of_the_place(old: &Dataset) -> Values {
    let is_users = |name: &str| name.contains(':') && !name.starts_with(OURS);
    let is_kept = |name: &str| is_remembered(name) || OF_A_PLACE.contains(&name) || is_users(name);
    let own = old.own_properties.iter().filter(|(name, _)| is_kept(name));
    let mut properties: Values = own
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if old.kind == DatasetKind::Filesystem {
        // If `old` itself is not in its place yet, it has the mark too.
        let mark = old.local_properties.get(CANMOUNT_PROPERTY);
        let canmount = mark.or_else(|| old.own_properties.get("canmount"));
        properties.extend(not_mounted_yet(canmount.map_or("on", String::as_str)));
    }
    properties
}

/// Until a file system is in its place on the host (see [`crate::replicate::mounts::arrival`]) no boot mounts
/// it, over files or where another dataset belongs. A mark remembers, for the run that mounts it, the
/// `canmount` that it is to have then.
fn not_mounted_yet(canmount: &str) -> Values {
    values([("canmount", "noauto"), (CANMOUNT_PROPERTY, canmount)])
}

fn no_placeholder(properties: &mut Values, replaces_placeholder: bool) {
    if replaces_placeholder {
        properties.insert(PLACEHOLDER_PROPERTY.into(), "no".into());
    }
}

#[cfg(test)]
pub(in crate::replicate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use openzfs::{Createtxg, Guid};

    /// An empty file system.
    pub(in crate::replicate) fn dataset(name: &str) -> Dataset {
        Dataset {
            name: DatasetName::new(name).unwrap(),
            guid: Guid(1),
            kind: DatasetKind::Filesystem,
            snapshots: Vec::new(),
            listed_from: Createtxg::default(),
            createtxg: Createtxg::default(),
            bookmarks: Vec::new(),
            doubtful: Vec::new(),
            past: None,
            resume: None,
            inconsistent: false,
            encrypted: false,
            written_bytes: 0,
            referenced_bytes: 0,
            placeholder: false,
            has_children: false,
            objset: 0,
            activity: None,
            atime: false,
            local_properties: Values::new(),
            own_properties: Values::new(),
            file_properties: Values::new(),
            may_use: BTreeSet::new(),
            peer_lacks: BTreeSet::new(),
            is_split: false,
            logical_bytes: 0,
            available_bytes: 0,
            key: None,
        }
    }

    #[test]
    fn what_replaces_a_file_system_is_not_mounted_before_it_is_in_its_place() {
        let mut old = dataset("tank/home");
        old.own_properties = values([
            ("mountpoint", "/srv"),
            ("atime", "on"),
            ("com.sun:auto-snapshot", "false"),
            ("org.zbackup:placeholder", "no"),
        ]);
        let expected = values([
            ("atime", "on"),
            ("canmount", "noauto"),
            ("com.sun:auto-snapshot", "false"),
            ("mountpoint", "/srv"),
            (CANMOUNT_PROPERTY, "on"),
        ]);
        assert_eq!(of_the_place(&old), expected);
        old.own_properties = values([("canmount", "off")]);
        assert_eq!(of_the_place(&old)[CANMOUNT_PROPERTY], "off");
        old.own_properties = values([("canmount", "noauto")]);
        old.local_properties = values([(CANMOUNT_PROPERTY, "on")]);
        assert_eq!(of_the_place(&old)[CANMOUNT_PROPERTY], "on");
    }

    #[test]
    fn what_replaces_a_zvol_has_nothing_to_mount() {
        let mut old = dataset("tank/disk");
        old.kind = DatasetKind::Volume;
        old.own_properties = values([("compression", "zstd"), ("volmode", "dev")]);
        assert_eq!(of_the_place(&old), old.own_properties);
    }
}
