//! Which disks a host pool remembers: by record, and by the bookmarks that wait for them.

use std::collections::BTreeMap;

use crate::name::{BookmarkName, Guid, PoolName};
use crate::plan::ledger;
use crate::zfs::{self, Libzfs, Properties, PropertySource};

/// Prefix of the user property on the host pool's root that records a disk; the guid of the disk's
/// pool follows.
pub const DISK_PROPERTY_PREFIX: &str = "org.zbackup:disk-";

/// What a host remembers of a disk, so that the disk can be named when it is gone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DiskRecord {
    /// Its section of the configuration, at the last visit.
    pub section: String,
    /// Its partition.
    pub partuuid: String,
    /// Its pool's name.
    pub pool: String,
    /// The last visit (RFC 3339, UTC).
    pub when: String,
}

/// All that a host pool remembers of disks, by the guid of the disk's pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownDisks {
    /// One for each disk that a run has ended well with.
    pub records: BTreeMap<Guid, DiskRecord>,
    /// The ledger's bookmarks, of every dataset of the pool.
    pub bookmarks: BTreeMap<Guid, Vec<BookmarkName>>,
}

impl DiskRecord {
    /// The property's value.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl KnownDisks {
    /// Reads them from all of `pool`.
    pub fn read(zfs: &Libzfs, pool: &PoolName) -> Result<Self, zfs::Error> {
        let mut known = Self::default();
        if let Some(root) = zfs.dataset(&pool.root())? {
            known.records = records(&root.user_properties());
            known.collect_bookmarks(&root)?;
        }
        Ok(known)
    }

    fn collect_bookmarks(&mut self, dataset: &zfs::Dataset) -> Result<(), zfs::Error> {
        for bookmark in dataset.bookmarks(None)? {
            if let Some((peer, _)) = ledger::parse(bookmark.name.short()) {
                self.bookmarks.entry(peer).or_default().push(bookmark.name);
            }
        }
        for child in dataset.children()? {
            self.collect_bookmarks(&child)?;
        }
        Ok(())
    }
}

fn records(properties: &Properties) -> BTreeMap<Guid, DiskRecord> {
    let local = properties
        .iter()
        .filter(|(_, property)| property.source == PropertySource::Local);
    let mut records = BTreeMap::new();
    for (name, property) in local {
        let Some(Ok(guid)) = name.strip_prefix(DISK_PROPERTY_PREFIX).map(str::parse) else {
            continue;
        };
        match serde_json::from_str(&property.value) {
            Ok(record) => {
                records.insert(guid, record);
            }
            // Its guid still names the disk.
            Err(error) => log::warn!("the record {name} cannot be read: {error}"),
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zfs::Property;

    #[test]
    fn records_come_from_local_properties_alone() {
        let record = DiskRecord {
            section: "USB device 2".into(),
            partuuid: "0f3a-01".into(),
            pool: "backup".into(),
            when: "2026-11-22T15:30:12Z".into(),
        };
        let property = |name: &str, value: &str, source| {
            (
                name.to_owned(),
                Property {
                    value: value.into(),
                    source,
                },
            )
        };
        let json = record.to_json();
        let inherited = PropertySource::Inherited("rpool".into());
        let properties = Properties::from_iter([
            property("org.zbackup:disk-7", &json, PropertySource::Local),
            property("org.zbackup:disk-8", &json, inherited),
            property("org.zbackup:disk-9", "{", PropertySource::Local),
            property("org.zbackup:disk-x", &json, PropertySource::Local),
            property("org.zbackup:visit-7", &json, PropertySource::Local),
        ]);
        assert_eq!(records(&properties), BTreeMap::from([(Guid(7), record)]));
    }
}
