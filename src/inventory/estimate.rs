//! How large the streams of a plan will be.

use super::Side;
use crate::plan::{Action, BaseSource, Plan, Point, Step, Transfer};
use crate::zfs::{self, Libzfs, Lzc, SendBase, SendFlags, SendRequest};

/// Fills in `estimated_bytes` of every volume that sends something. An estimate that cannot be had
/// stays unknown: it is only for the display, the order of work and the check for space.
pub fn fill(plan: &mut Plan, source: &Side, zfs: &Libzfs, lzc: Lzc) {
    for volume in &mut plan.volumes {
        let Action::Send(transfer) = &volume.action else {
            continue;
        };
        let estimator = Estimator {
            zfs,
            lzc,
            source,
            transfer,
        };
        volume.estimated_bytes = match transfer.steps.iter().map(|step| estimator.step(step)).sum()
        {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                log::debug!("no estimate for {}: {error}", volume.volume);
                None
            }
        };
    }
}

struct Estimator<'a> {
    zfs: &'a Libzfs,
    lzc: Lzc,
    source: &'a Side,
    transfer: &'a Transfer,
}

impl Estimator<'_> {
    fn step(&self, step: &Step) -> Result<u64, zfs::Error> {
        let whole = match &step.to {
            Point::Existing { name, .. } => self.existing(name, step),
            Point::New(name) => self.live(&name.dataset(), step),
        }?;
        let received = step
            .resume
            .as_ref()
            .map_or(0, |resume| resume.received_bytes);
        Ok(whole.saturating_sub(received))
    }

    /// The kernel's own estimate. From a bookmark it would walk the whole dataset: `referenced` and
    /// `written` are near enough there.
    fn existing(&self, name: &crate::name::SnapshotName, step: &Step) -> Result<u64, zfs::Error> {
        let from = match step.base.as_ref().map(|base| &base.source) {
            None => None,
            Some(BaseSource::Snapshot(base)) => Some(SendBase::Snapshot(base.clone())),
            Some(BaseSource::Bookmark(_)) => return self.live(&name.dataset(), step),
        };
        let flags = SendFlags {
            compressed: true,
            raw: self.transfer.raw,
            ..SendFlags::default()
        };
        self.lzc.send_space(&SendRequest {
            snapshot: name.clone(),
            from,
            flags,
            resume: None,
        })
    }

    /// What the live dataset has written since the base; the snapshot to send is about to be made.
    fn live(&self, name: &crate::name::DatasetName, step: &Step) -> Result<u64, zfs::Error> {
        let known = self.source.dataset(name);
        let Some(base) = &step.base else {
            return Ok(known.map_or(0, |dataset| dataset.referenced_bytes));
        };
        // Where it starts at the newest snapshot, the inventory has the answer.
        if let Some(known) = known
            && known
                .newest()
                .is_some_and(|newest| newest.guid == base.guid)
        {
            return Ok(known.written_bytes);
        }
        let Some(dataset) = self.zfs.dataset(name)? else {
            return Ok(0);
        };
        match &base.source {
            BaseSource::Snapshot(base) => dataset.written_since(base),
            BaseSource::Bookmark(base) => dataset.written_since_bookmark(base),
        }
    }
}
