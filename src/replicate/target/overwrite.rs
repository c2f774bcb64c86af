//! What has to be seen to on the target right before a volume's first stream, and after it.
//!
//! The plan may be hours old by then: other volumes went first. So what is about to go is looked at
//! again, and only what the approved plan names ever goes.

use openzfs::DatasetKind;

use super::approved::{changes_a_zvol_of_the_host, check_approved, undoes, undoes_on_the_host};
use super::quiet::Quiet;
use super::stale::Stale;
use crate::model::marks::EMPTY_BOOKMARK;
use crate::next::next;
use crate::plan::{Overwrite, Transfer, VolumePlan};
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::worker::Worker;

/// A target that is ready for its first stream, until [`Prepared::end`].
#[derive(Default)]
pub(in crate::replicate) struct Prepared<'a> {
    /// Keeps everybody from writing to what a forced receive is going to undo.
    quiet: Option<Quiet<'a>>,
    stale: Stale,
}

/// Checks that what is about to go is what was approved, then drops bookmarks of changes that will
/// be undone, and an interrupted receive that cannot be resumed.
///
/// A volume where that fails ends here: its streams would fail or, worse, fit by accident.
pub(in crate::replicate) fn prepare<'a>(
    worker: &Worker<'a>,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<Prepared<'a>, VolumeError> {
    if transfer.overwrite == Overwrite::Nothing && changes_a_zvol_of_the_host(worker, volume) {
        worker
            .zfs
            .check_unused(&volume.target, DatasetKind::Volume)
            .map_err(|user| zvol_in_use(&user))?;
    }
    let has_victims = !matches!(
        transfer.overwrite,
        Overwrite::Nothing | Overwrite::KeepBoth { .. }
    );
    if !has_victims && !transfer.drops_resume_state {
        return Ok(Prepared::default());
    }
    let mut prepared = Prepared::default();
    if undoes_on_the_host(worker, transfer) {
        prepared.quiet = Some(Quiet::around(worker, &volume.target)?);
    }
    let cleared = check(worker, volume, transfer, has_victims)
        .and_then(|()| drop_resume_state(worker, volume, transfer))
        .and_then(|()| Stale::destroy(worker, volume, transfer));
    if undoes(transfer) {
        worker.witnesses.dismiss(&volume.target);
    }
    match cleared {
        Ok(stale) => {
            prepared.stale = stale;
            Ok(prepared)
        }
        Err(stop) => Err(stop.with(&prepared.end(worker, volume, transfer, false))),
    }
}

/// Why nothing is received into a zvol of the host while somebody uses it.
pub(in crate::replicate) fn zvol_in_use(user: &str) -> VolumeError {
    VolumeError::Refused(next!(
        "zvol-in-use",
        "{user}. New data would arrive below whoever uses it, who goes on with what it remembers of the \
         old and damages both. End what uses it, then run the same command again"
    ))
}

impl Prepared<'_> {
    /// Puts back what was taken away for the first stream alone, which has `arrived` or not.
    /// Returns warnings.
    pub fn end(
        self,
        worker: &Worker,
        volume: &VolumePlan,
        transfer: &Transfer,
        arrived: bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if !arrived {
            warnings.extend(self.stale.restore(worker, volume));
        } else if transfer.overwrite == Overwrite::Placeholder {
            forget_that_it_was_empty(worker, volume);
        }
        warnings.extend(self.quiet.map(Quiet::end).unwrap_or_default());
        warnings
    }
}

fn check(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
    has_victims: bool,
) -> Result<(), VolumeError> {
    if !has_victims {
        return Ok(());
    }
    check_approved(worker, volume, transfer)
}

/// Drops the interrupted receive that the plan saw, and no other.
fn drop_resume_state(
    worker: &Worker,
    volume: &VolumePlan,
    transfer: &Transfer,
) -> Result<(), VolumeError> {
    let target = &volume.target;
    if !transfer.drops_resume_state {
        return Ok(());
    }
    let Some(dataset) = worker.zfs.dataset(target)? else {
        return Ok(());
    };
    let found = worker.zfs.resume_state(&dataset.reported);
    if found.is_none() && !dataset.is_inconsistent {
        // Somebody finished or dropped it.
        return Ok(());
    }
    let planned = worker.target.dataset(target);
    let planned = planned.and_then(|target| target.resume.as_ref());
    let is_the_same = found.as_ref().map(|state| &state.token) == planned.map(|state| &state.token);
    if !is_the_same {
        return Err(VolumeError::Refused(format!(
            "{target} has another interrupted receive by now; nothing was dropped"
        )));
    }
    worker.zfs.abandon_receive(target)?;
    log::info!("{target}: dropped an interrupted receive that cannot be resumed");
    Ok(())
}

/// The new copy is no empty parent any more, and its bookmarks are for bases alone.
fn forget_that_it_was_empty(worker: &Worker, volume: &VolumePlan) {
    let Ok(bookmark) = volume.target.bookmark(EMPTY_BOOKMARK) else {
        return;
    };
    if let Err(error) = worker
        .zfs
        .destroy_bookmarks(std::slice::from_ref(&bookmark))
    {
        log::warn!("{bookmark} is left: {error}");
    }
}
