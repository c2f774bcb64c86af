//! Making the kernel's figures true before they are read.

use std::collections::BTreeMap;
use std::path::Path;

use openzfs::{Health, Libzfs, Lzc, PoolName};

use crate::model::Activity;
use crate::system::activity;
use crate::system::flush;

/// Brings everything that programs have written by now into the pool: `written` reads 0 right
/// after a write of megabytes otherwise, and the volume would count as unchanged.
///
/// Page caches of whatever is mounted from the pool, or lies on its zvols, first, then the open
/// transaction group (`lzc_sync`). Returns how often each of its datasets, by [`openzfs::Dataset::objset`],
/// had been written to in between: what is counted there is in the pool, and what is not, is not told by
/// the figures either.
pub fn settle(pool: &PoolName, lzc: Lzc) -> Result<BTreeMap<u64, Activity>, String> {
    settle_pools_within(pool, lzc);
    flush::into_pool(pool).map_err(|error| format!("what lies on it cannot be listed: {error}"))?;
    let activities = activity::of_pool(pool)
        .map_err(|error| format!("the kernel's statistics cannot be read: {error}"))?;
    lzc.sync(pool).map_err(|error| error.to_string())?;
    Ok(activities)
}

/// The same for pools that lie on a zvol or in a file, which may be this one's. Nothing else shows what
/// they hold back: ZFS has no pages that the kernel could be asked to write.
fn settle_pools_within(pool: &PoolName, lzc: Lzc) {
    let settled = pools_on_files().map(|names| {
        for name in names.iter().filter(|name| *name != pool) {
            if let Err(error) = flush::into_pool(name) {
                log::warn!("what lies on {name} cannot be listed: {error}");
            }
            if let Err(error) = lzc.sync(name) {
                log::warn!(
                    "what was written to {name} right before this run may be missing in it: {error}"
                );
            }
        }
    });
    if let Err(error) = settled {
        log::warn!("other pools were not written out: {error}");
    }
}

/// Imported pools of which a device is none of its own.
fn pools_on_files() -> Result<Vec<PoolName>, openzfs::Error> {
    let zfs = Libzfs::open()?;
    let mut found = Vec::new();
    for status in zfs.pools()? {
        // One that is suspended would keep us waiting, and nothing is on its way into one that is read-only.
        if status.health == Health::Suspended || status.readonly {
            continue;
        }
        let Some(pool) = zfs.pool(&status.name)? else {
            continue;
        };
        if pool.device_paths()?.iter().any(|path| is_virtual(path)) {
            found.push(status.name);
        }
    }
    Ok(found)
}

/// True for a file, and for a device that shows one or a part of something else. A disk that a run has
/// open is none of them: nothing of the host lies between.
fn is_virtual(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else {
        return false;
    };
    if path.starts_with("/dev/mapper") && path.to_string_lossy().contains("/zbackup-") {
        return false;
    }
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let is_device = real.starts_with("/dev");
    !is_device
        || ["zd", "loop", "dm-", "md", "nbd"]
            .iter()
            .any(|kind| name.starts_with(kind))
}
