//! What zbackup writes down on datasets and snapshots, and how it names what it has not finished.

use openzfs::Snapshot;

/// User property, set locally on a snapshot: zbackup made it or received it. Holds the time (RFC 3339), a
/// blank, and the name that the snapshot had then.
pub const CREATED_PROPERTY: &str = "org.zbackup:created";
/// User property, set locally on a dataset that zbackup made only to be a parent of a copy.
pub const PLACEHOLDER_PROPERTY: &str = "org.zbackup:placeholder";
/// Bookmark of the empty placeholder, made right after it: whatever was written since is
/// somebody's. Sizes cannot tell, since a small file can fit into a block that is there already.
pub const EMPTY_BOOKMARK: &str = "zbackup-empty";
/// User property of a volume, on either side: the guid of the dataset itself, a colon, and the createtxg of
/// the newest snapshot that a run has left there after it had destroyed the ledger's doubtful bookmarks.
pub const CHECKED_PROPERTY: &str = "org.zbackup:checked";
/// User property of a copy: the properties set on its source itself, as JSON.
pub const SOURCE_PROPERTIES_PROPERTY: &str = "org.zbackup:source-properties";
/// User property of a copy: its source's [`file_properties`](super::Dataset::file_properties), as JSON.
pub const SOURCE_FILE_PROPERTIES_PROPERTY: &str = "org.zbackup:source-file-properties";
/// User property of a volume on a host: guids of the managed snapshots that zbackup last began to
/// receive there.
pub const RECEIVING_PROPERTY: &str = "org.zbackup:receiving";
/// User property of a file system on a host that was received with `canmount=noauto` and is not in
/// its place yet: the `canmount` that it is to have there.
pub const CANMOUNT_PROPERTY: &str = "org.zbackup:canmount";

/// Suffix of the name of a new copy while it arrives beside the dataset that it replaces.
pub const ARRIVING_SUFFIX: &str = "-zbackup-arriving";
/// Suffix of the name of a dataset that has been replaced, until it is destroyed.
pub const REPLACED_SUFFIX: &str = "-zbackup-replaced";

/// True if the snapshot is managed: zbackup made it, or received and marked it, and nobody has renamed it
/// since. Somebody who renames it wants to keep it.
pub fn is_managed(snapshot: &Snapshot) -> bool {
    let mark = snapshot.user_properties.get(CREATED_PROPERTY);
    let name = mark.map(|mark| mark.split_once(' ').map(|(_, name)| name));
    name.is_some_and(|name| name.is_none_or(|name| name == snapshot.name.short()))
}

/// What [`CREATED_PROPERTY`] holds.
pub fn mark(now: &str, short: &str) -> String {
    format!("{now} {short}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openzfs::{Createtxg, Guid, SnapshotName};

    use super::*;

    #[test]
    fn who_renames_a_snapshot_keeps_it() {
        let managed = |name: &str, mark: Option<&str>| {
            let mark = mark.map(|mark| (CREATED_PROPERTY.to_owned(), mark.to_owned()));
            is_managed(&Snapshot {
                name: SnapshotName::new(name).unwrap(),
                guid: Guid(1),
                createtxg: Createtxg(1),
                creation_seconds: 0,
                used_bytes: 0,
                referenced_bytes: 0,
                written_bytes: 0,
                holds: 0,
                clones: Vec::new(),
                ivset_guid: None,
                user_properties: BTreeMap::from_iter(mark),
                received_properties: BTreeMap::new(),
            })
        };
        let noted = mark("2026-11-22T10:00:00Z", "my own");
        assert!(managed("tank/home@my own", Some(&noted)));
        assert!(!managed("tank/home@mine", Some(&noted)));
        assert!(managed("tank/home@mine", Some("2026-11-22T10:00:00Z")));
        assert!(!managed("tank/home@mine", None));
    }
}
