//! What has to be done on the target right before a volume's first stream, and after it.
//!
//! The plan may be hours old by then: other volumes were sent first. So what is about to be
//! destroyed is checked again, and only what the approved plan names is ever destroyed.

use openzfs::DatasetKind;

use super::approved::{changes_a_zvol_of_the_host, check_approved, undoes, undoes_on_the_host};
use super::quiet::Quiet;
use super::stale::Stale;
use crate::model::marks::EMPTY_BOOKMARK;
use crate::next::next;
use crate::plan::Overwrite;
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;

impl VolumeRun<'_> {
    /// Checks that what is about to be destroyed is what was approved, then destroys bookmarks of
    /// changes that will be undone, and drops an interrupted receive that cannot be resumed.
    ///
    /// If that fails, the volume ends here: its streams would fail or, worse, fit by accident.
    pub fn make_way(&mut self) -> Result<(), VolumeError> {
        let (target, transfer) = (&self.plan.target, self.transfer);
        if transfer.overwrite == Overwrite::Nothing && changes_a_zvol_of_the_host(self) {
            let unused = self.run.zfs.check_unused(target, DatasetKind::Volume);
            unused.map_err(|user| zvol_in_use(&user))?;
        }
        let has_victims = !matches!(
            transfer.overwrite,
            Overwrite::Nothing | Overwrite::KeepBoth { .. }
        );
        if !has_victims && !transfer.drops_resume_state {
            return Ok(());
        }
        if undoes_on_the_host(self) {
            self.quiet = Some(Quiet::around(self)?);
        }
        let cleared = self.clear(has_victims);
        if undoes(transfer) {
            self.witnesses.dismiss(target);
        }
        cleared.map_err(|stop| stop.with(&self.put_back()))
    }

    fn clear(&mut self, has_victims: bool) -> Result<(), VolumeError> {
        if has_victims {
            check_approved(self)?;
        }
        self.drop_resume_state()?;
        self.stale = Stale::destroy(self)?;
        Ok(())
    }

    /// Puts back what was removed only for the first stream. Returns warnings.
    pub fn put_back(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.done.overwritten {
            warnings.extend(self.stale.restore(self));
        } else if self.transfer.overwrite == Overwrite::Placeholder {
            self.forget_that_it_was_empty();
        }
        let quiet = self.quiet.take();
        warnings.extend(quiet.map(Quiet::end).unwrap_or_default());
        warnings
    }

    /// Drops the interrupted receive that the plan saw, and no other.
    fn drop_resume_state(&self) -> Result<(), VolumeError> {
        let (zfs, target) = (self.run.zfs, &self.plan.target);
        if !self.transfer.drops_resume_state {
            return Ok(());
        }
        let Some(dataset) = zfs.dataset(target)? else {
            return Ok(());
        };
        let found = zfs.resume_state(&dataset.reported);
        if found.is_none() && !dataset.is_inconsistent {
            // Somebody has finished or dropped it.
            return Ok(());
        }
        let planned = self.before.and_then(|target| target.resume.as_ref());
        if found.as_ref().map(|state| &state.token) != planned.map(|state| &state.token) {
            return Err(VolumeError::Refused(format!(
                "{target} has another interrupted receive by now; nothing was dropped"
            )));
        }
        zfs.abandon_receive(target)?;
        log::info!("{target}: dropped an interrupted receive that cannot be resumed");
        Ok(())
    }

    /// The new copy is no longer an empty parent, and its bookmarks are only for bases.
    fn forget_that_it_was_empty(&self) {
        let Ok(bookmark) = self.plan.target.bookmark(EMPTY_BOOKMARK) else {
            return;
        };
        let bookmarks = std::slice::from_ref(&bookmark);
        if let Err(error) = self.run.zfs.destroy_bookmarks(bookmarks) {
            log::warn!("{bookmark} is left: {error}");
        }
    }
}

/// The error if somebody uses a zvol of the host: nothing is received into it.
pub(in crate::replicate) fn zvol_in_use(user: &str) -> VolumeError {
    VolumeError::Refused(next!(
        "zvol-in-use",
        "{user}. New data would arrive below whoever uses it, who goes on with what it remembers of the \
         old and damages both. End what uses it, then run the same command again"
    ))
}
