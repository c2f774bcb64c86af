//! Datasets of the host's pool that the configuration does not mention: no run copies them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use openzfs::{DatasetKind, DatasetName, Libzfs, PoolName, Properties, PropertySource};

use super::visit::{is_empty_placeholder, log_reset_bytes};
use crate::config::Fate;
use crate::model::VolumePath;
use crate::model::marks::{ARRIVING_SUFFIX, REPLACED_SUFFIX};
use crate::system::devices;

/// User property, set locally on a dataset of the host: it is left out of all copies on purpose, with
/// everything below it.
const SKIP_PROPERTY: &str = "org.zbackup:skip";
/// A file system that only has others below it refers to less than this. It may contain the
/// directories where those are mounted.
const MERE_PARENT_BYTES: u64 = 1 << 20;

/// Lists them, in order. If a dataset and everything below it is decided, nothing below it is read.
pub fn read(
    zfs: &Libzfs,
    pool: &PoolName,
    fate: &dyn Fn(&VolumePath) -> Fate,
) -> Result<Vec<DatasetName>, openzfs::Error> {
    let mut walk = Walk {
        fate,
        log_reset_bytes: 0,
        swap: swap_devices(),
        found: BTreeSet::new(),
    };
    if let Some(pool) = zfs.pool(pool)? {
        walk.log_reset_bytes = log_reset_bytes(&pool.status()?);
    }
    if let Some(root) = zfs.dataset(&pool.root())? {
        walk.visit(&root)?;
    }
    Ok(walk.found.into_iter().collect())
}

struct Walk<'a> {
    fate: &'a dyn Fn(&VolumePath) -> Fate,
    log_reset_bytes: u64,
    swap: BTreeSet<PathBuf>,
    found: BTreeSet<DatasetName>,
}

impl Walk<'_> {
    fn visit(&mut self, dataset: &openzfs::Dataset) -> Result<(), openzfs::Error> {
        let name = dataset.name();
        let path = name.below(&name.pool().root()).map(VolumePath::new);
        let path = path.and_then(Result::ok);
        let fate = path.as_ref().map_or(Fate::Open, self.fate);
        if fate == Fate::Settled {
            return Ok(());
        }
        let properties = dataset.reported_properties();
        let is_root = path.is_none();
        let is_skipped = is_skipped(&properties);
        if is_skipped && !is_root {
            return Ok(());
        }
        if fate == Fate::Open && !is_skipped && self.is_missed(dataset, &properties, is_root) {
            self.found.insert(name.clone());
        }
        dataset.each_child(|child| self.visit(&child))
    }

    /// True for a dataset that somebody would miss.
    fn is_missed(
        &self,
        dataset: &openzfs::Dataset,
        properties: &Properties,
        is_root: bool,
    ) -> bool {
        let name = dataset.name().as_str();
        let is_left_by_us = name.ends_with(ARRIVING_SUFFIX) || name.ends_with(REPLACED_SUFFIX);
        if is_left_by_us || dataset.is_inconsistent() {
            return false;
        }
        if dataset.kind() == DatasetKind::Volume {
            return !self.is_swap(name);
        }
        let is_parent = is_root || properties.value("canmount") == Some("off");
        if is_parent && properties.number("referenced") < Some(MERE_PARENT_BYTES) {
            return false;
        }
        !is_empty_placeholder(dataset, properties, self.log_reset_bytes)
    }

    fn is_swap(&self, name: &str) -> bool {
        let device = devices::zvol_link(name).canonicalize();
        device.is_ok_and(|device| self.swap.contains(&device))
    }
}

fn is_skipped(properties: &Properties) -> bool {
    properties.get(SKIP_PROPERTY).is_some_and(|skip| {
        skip.source == PropertySource::Local && !matches!(skip.value.as_str(), "no" | "off")
    })
}

/// The kernel's swap devices: nobody wants those in a backup.
fn swap_devices() -> BTreeSet<PathBuf> {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let devices = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    devices.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use openzfs::Property;

    #[test]
    fn only_a_mark_of_its_own_silences_a_dataset() {
        let skip = |value: &str, source| {
            let property = Property {
                value: value.into(),
                source,
            };
            is_skipped(&Properties::from_iter([(SKIP_PROPERTY.into(), property)]))
        };
        assert!(skip("yes", PropertySource::Local));
        assert!(!skip("no", PropertySource::Local));
        assert!(!skip("yes", PropertySource::Inherited("tank".into())));
        assert!(!skip("yes", PropertySource::Received));
        assert!(!is_skipped(&Properties::default()));
    }
}
