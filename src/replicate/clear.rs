//! What has to go from the target before a volume's first stream.

use super::{Outcomes, Replication, transfers_of};
use crate::plan::{Transfer, VolumePlan};
use crate::report::Outcome;
use crate::zfs;

/// Destroys bookmarks of changes that are about to be undone, and broken-off receives that cannot
/// go on. A volume where that fails ends here: its streams would fail or, worse, fit by accident.
pub(super) fn run(run: &Replication, outcomes: &mut Outcomes) {
    for (index, volume, transfer) in transfers_of(run.plan) {
        if outcomes.volumes[index].outcome == Outcome::Planned
            && let Err(error) = clear(run, volume, transfer)
        {
            outcomes.volumes[index].fail(error.to_string());
        }
    }
}

fn clear(run: &Replication, volume: &VolumePlan, transfer: &Transfer) -> Result<(), zfs::Error> {
    if !transfer.stale_bookmarks.is_empty() {
        run.lzc.destroy_bookmarks(&transfer.stale_bookmarks)?;
        log::info!(
            "{}: destroyed {} bookmarks of undone changes",
            volume.target,
            transfer.stale_bookmarks.len()
        );
    }
    if transfer.drops_resume_state
        && let Some(target) = run.zfs.dataset(&volume.target)?
    {
        run.lzc.abandon_receive(&target)?;
        log::info!(
            "{}: dropped a broken-off receive that cannot go on",
            volume.target
        );
    }
    Ok(())
}
