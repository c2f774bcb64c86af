//! `--keep-both`: what the target has gets another name, and the volume starts anew.

use super::remount::TakenDown;
use super::volume::{Stop, Worker};
use crate::name::DatasetName;
use crate::plan::VolumePlan;
use crate::zfs::Libzfs;

/// Renames the target, with all below it, to `renamed_to`; what was mounted is mounted again at
/// the same place. Returns warnings.
pub(super) fn rename(
    worker: &Worker,
    volume: &VolumePlan,
    renamed_to: &DatasetName,
) -> Result<Vec<String>, Stop> {
    let target = &volume.target;
    let zfs = Libzfs::open()?;
    let mounts = TakenDown::all_of(target, &zfs, worker.terminal).map_err(Stop::Failed)?;
    if let Err(error) = worker.lzc.rename(target, renamed_to) {
        let mut reason = error.to_string();
        for problem in mounts.put_up(&zfs, target, target) {
            reason = format!("{reason}; {problem}");
        }
        return Err(Stop::Failed(reason));
    }
    log::info!("renamed {target} to {renamed_to}");
    Ok(mounts.put_up(&zfs, target, renamed_to))
}
