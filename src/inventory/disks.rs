//! Which disks a host pool remembers: by record, and by the bookmarks kept for them.

use std::collections::BTreeMap;

use openzfs::{BookmarkName, Guid, Libzfs, PoolName, Properties, PropertySource};

use super::Side;
use crate::model::ledger::{self, Peer};

/// Prefix of the user property on the host pool's root that records a disk; the disk's [`Peer`]
/// follows.
pub const DISK_PROPERTY_PREFIX: &str = "org.zbackup:disk-";

/// Prefix of the user property on the disk's root that records a host's visit; the host pool's guid follows.
pub const VISIT_PROPERTY_PREFIX: &str = "org.zbackup:visit-";

/// What a host remembers of a disk, so that the disk can be named when it is away.
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

/// Everything that a host pool remembers of disks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownDisks {
    /// One for each disk with which a run has ended well.
    pub records: BTreeMap<Peer, DiskRecord>,
    /// The ledger's bookmarks, of every dataset of the pool.
    pub bookmarks: BTreeMap<Peer, Vec<BookmarkName>>,
}

impl DiskRecord {
    /// The property's value.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl KnownDisks {
    /// Reads them from all of `pool`.
    pub fn read(zfs: &Libzfs, pool: &PoolName) -> Result<Self, openzfs::Error> {
        let mut known = Self::default();
        if let Some(root) = zfs.dataset(&pool.root())? {
            known.records = records(&root.user_properties());
            known.collect_bookmarks(&root)?;
        }
        Ok(known)
    }

    fn collect_bookmarks(&mut self, dataset: &openzfs::Dataset) -> Result<(), openzfs::Error> {
        let bookmarks = dataset.bookmarks(None).unwrap_or_else(|error| {
            log::warn!("the bookmarks of {} are left out: {error}", dataset.name());
            Vec::new()
        });
        for bookmark in bookmarks {
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

fn records(properties: &Properties) -> BTreeMap<Peer, DiskRecord> {
    let local = properties
        .iter()
        .filter(|(_, property)| property.source == PropertySource::Local);
    parsed(local.map(|(name, property)| (name, property.value.as_str())))
}

/// The records among local properties. A record of a zbackup that did not look at partitions is
/// named by the pool alone, but its value tells the partition.
fn parsed<'a>(local: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<Peer, DiskRecord> {
    let mut records: BTreeMap<Peer, DiskRecord> = BTreeMap::new();
    for (name, value) in local {
        let Some(Ok(named)) = name
            .strip_prefix(DISK_PROPERTY_PREFIX)
            .map(str::parse::<Peer>)
        else {
            continue;
        };
        let record: DiskRecord = match serde_json::from_str(value) {
            Ok(record) => record,
            // Its name still tells of the disk.
            Err(error) => {
                log::warn!("the record {name} cannot be read: {error}");
                continue;
            }
        };
        let peer = Peer::disk(named.pool, &record.partuuid);
        let known = records.get(&peer);
        // Both are RFC 3339 in UTC, so they sort by time.
        if known.is_none_or(|known| known.when < record.when) {
            records.insert(peer, record);
        }
    }
    records
}

/// The disks that a host remembers, if it was read with its root.
fn remembered(host: &Side) -> BTreeMap<Peer, DiskRecord> {
    let root = host.dataset(&host.pool.root());
    let local = root.into_iter().flat_map(|root| &root.local_properties);
    parsed(local.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What the host remembers of other disks with the guid of this one's pool: copies of it, block by
/// block, or what it was copied from.
pub fn twins(host: &Side, disk: Peer) -> Vec<(Peer, DiskRecord)> {
    let is_twin = |(peer, _): &(Peer, DiskRecord)| peer.pool == disk.pool && *peer != disk;
    remembered(host).into_iter().filter(is_twin).collect()
}

/// When each disk that the host remembers was here last, seconds since the epoch.
pub fn last_visits(host: &Side) -> Vec<(Peer, u64)> {
    let visit = |(peer, record): (Peer, DiskRecord)| {
        let when: jiff::Timestamp = record.when.parse().ok()?;
        Some((peer, u64::try_from(when.as_second()).ok()?))
    };
    remembered(host).into_iter().filter_map(visit).collect()
}

/// The name of the host with which this host's pool last was at the disk. A record that cannot be
/// read tells nothing.
pub fn last_visitor(disk: &Side, host: Guid) -> Option<String> {
    let root = disk.dataset(&disk.pool.root())?;
    let record = root
        .local_properties
        .get(&format!("{VISIT_PROPERTY_PREFIX}{host}"))?;
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    Some(record.get("host")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openzfs::Property;

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
        let peer = Peer::disk(Guid(7), "0f3a-01");
        assert_eq!(records(&properties), BTreeMap::from([(peer, record)]));
    }
}
