//! The statistics that the kernel keeps of each file system while it is mounted in any namespace, and of
//! each zvol while it has a device.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use openzfs::{Dataset, DatasetKind, DatasetName, Libzfs, PoolName};

/// The statistics of one dataset: name, kind and value on each line, such as `writes 4 409`.
pub(super) struct Statistics(String);

impl Statistics {
    /// The value with this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (found, rest) = line.split_once(' ')?;
            let (_kind, value) = rest.trim_start().split_once(' ')?;
            (found == name).then(|| value.trim())
        })
    }

    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The statistics of all datasets of `pool` that have any, by [`Dataset::objset`]. A file system that
/// was renamed while it was mounted keeps its old name in them, which may by now belong to another.
pub(super) fn of_pool(pool: &PoolName) -> io::Result<BTreeMap<u64, Statistics>> {
    let folder = Path::new("/proc/spl/kstat/zfs").join(pool.as_str());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(objset) = objset_in(&entry.file_name().to_string_lossy()) {
            // If the file is gone, the dataset has just been unmounted.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            found.insert(objset, Statistics(text));
        }
    }
    Ok(found)
}

fn objset_in(file_name: &str) -> Option<u64> {
    let number = file_name.strip_prefix("objset-0x")?;
    u64::from_str_radix(number, 16).ok()
}

/// The datasets of `pool` that have statistics, by their present names.
pub(super) fn datasets_of(pool: &PoolName) -> io::Result<BTreeMap<DatasetName, DatasetKind>> {
    let zfs = Libzfs::open().map_err(io::Error::other)?;
    let mut found = BTreeMap::new();
    let mut renamed = BTreeSet::new();
    for (objset, statistics) in of_pool(pool)? {
        let name = statistics.value("dataset_name");
        let name = name.and_then(|name| DatasetName::new(name).ok());
        match name.and_then(|name| zfs.dataset(&name).ok().flatten()) {
            Some(dataset) if dataset.objset() == objset => {
                found.insert(dataset.name().clone(), dataset.kind());
            }
            _ => drop(renamed.insert(objset)),
        }
    }
    if !renamed.is_empty() {
        let top = zfs.dataset(&pool.root()).map_err(io::Error::other)?;
        if let Some(top) = top {
            find(&renamed, &top, &mut found);
        }
    }
    Ok(found)
}

/// Finds those with these numbers, at and below a dataset. A dataset that cannot be read hides no other.
fn find(wanted: &BTreeSet<u64>, dataset: &Dataset, found: &mut BTreeMap<DatasetName, DatasetKind>) {
    if wanted.contains(&dataset.objset()) {
        found.insert(dataset.name().clone(), dataset.kind());
    }
    let listed = dataset.each_child(|child| {
        find(wanted, &child, found);
        Ok::<_, openzfs::Error>(())
    });
    if let Err(error) = listed {
        log::debug!("what is below {} is not known: {error}", dataset.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_name_their_dataset() {
        let text = "28 1 0x01 7 2160 5214787391 73405258558961\n\
                    name                            type data\n\
                    dataset_name                    7    tank/my home\n\
                    writes                          4    409\n";
        let name = |text| {
            Statistics::of(text)
                .value("dataset_name")
                .map(str::to_owned)
        };
        assert_eq!(name(text).as_deref(), Some("tank/my home"));
        assert_eq!(name("name type data\n"), None);
    }

    #[test]
    fn the_files_name_a_number() {
        assert_eq!(objset_in("objset-0x1a3"), Some(0x1a3));
        assert_eq!(objset_in("iostats"), None);
    }
}
