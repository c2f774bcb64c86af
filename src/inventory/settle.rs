//! Making the kernel's figures true before they are read.

use crate::disk::mounts;
use crate::name::PoolName;
use crate::zfs::Lzc;

/// Brings everything that programs have written by now into the pool: `written` reads 0 right
/// after a write of megabytes otherwise, and the volume would count as unchanged.
///
/// Page caches of the pool's mounted file systems first (`syncfs`), then the open transaction
/// group (`lzc_sync`).
pub fn settle(pool: &PoolName, lzc: Lzc) -> Result<(), String> {
    let mounted =
        mounts::of_pool(pool).map_err(|error| format!("the mounts cannot be listed: {error}"))?;
    for (dataset, path) in mounted {
        let sync =
            || nix::unistd::syncfs(std::fs::File::open(&path)?).map_err(std::io::Error::from);
        // A directory hidden under another mount cannot be opened; lzc_sync covers what it holds.
        if let Err(error) = sync() {
            log::debug!(
                "{dataset} at {} was not synced by itself: {error}",
                path.display()
            );
        }
    }
    lzc.sync(pool).map_err(|error| error.to_string())
}
