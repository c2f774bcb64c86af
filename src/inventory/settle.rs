//! Making the kernel's figures true before they are read.

use std::collections::BTreeMap;
use std::path::Path;

use openzfs::{Health, Libzfs, Lzc, PoolName};

use crate::model::Activity;
use crate::system::activity;
use crate::system::flush;

/// Brings everything that programs have written so far into the pool: otherwise `written` can be 0
/// right after a write of megabytes, and the volume would count as unchanged.
///
/// It flushes first the page caches of whatever is mounted from the pool or lies on its zvols, then the
/// open transaction group (`lzc_sync`). Returns how often each dataset, by [`openzfs::Dataset::objset`],
/// had been written to in between: writes counted there are in the pool, and later writes are not in the
/// pool's figures either.
pub fn settle(pool: &PoolName, lzc: Lzc) -> Result<BTreeMap<u64, Activity>, String> {
    settle_pools_within(pool, lzc);
    flush::into_pool(pool).map_err(|error| format!("what lies on it cannot be listed: {error}"))?;
    let activities = activity::of_pool(pool)
        .map_err(|error| format!("the kernel's statistics cannot be read: {error}"))?;
    lzc.sync(pool).map_err(|error| error.to_string())?;
    Ok(activities)
}

/// The same for pools that lie on a zvol or in a file, which may be on this pool. Nothing else shows
/// what they hold back: ZFS has no pages that the kernel could be asked to write.
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

/// Imported pools with a device that is a file, or part of something else.
fn pools_on_files() -> Result<Vec<PoolName>, openzfs::Error> {
    let zfs = Libzfs::open()?;
    let mut found = Vec::new();
    for status in zfs.pools()? {
        // A suspended pool would keep us waiting, and nothing is being written to a read-only pool.
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

/// True for a file, and for a device that shows a file or a part of something else. A disk that a run
/// has open is neither: nothing of the host lies in between.
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
