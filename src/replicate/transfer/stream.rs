//! One stream: how it is sent and received, and how it is watched.

use openzfs::{
    Cancel, DatasetName, Received, ResumePoint, SendBase, SendFlags, SendRequest, TransferError,
};

use super::blame::interrupted_because_of;
use super::outcome::VolumeError;
use super::volume::VolumeRun;
use crate::model::Features;
use crate::model::marks::RECEIVING_PROPERTY;
use crate::plan::{self, BaseSource, Direction, Overwrite, Step, stream_blocks};
use crate::replicate::target::approved;
use crate::replicate::target::properties::{self, Given};
use crate::replicate::target::quiet::{self, Appeared};
use crate::replicate::target::taken_over::Place;
use crate::replicate::zfs::{Stream, Values};

/// From this estimated size on a stream that is interrupted can be resumed.
const RESUMABLE_BYTES: u64 = 1 << 20;

impl VolumeRun<'_> {
    /// Sends one stream, or the rest of one.
    pub(super) fn send(
        &mut self,
        step: &Step,
        target: &DatasetName,
        first: bool,
        properties: &Values,
    ) -> Result<Received, VolumeError> {
        let stream = self.stream(step, target, first, properties)?;
        let is_into_a_zvol = step.base.is_some()
            && *target == self.plan.target
            && approved::changes_a_zvol_of_the_host(self);
        if stream.force || is_into_a_zvol {
            return self.run_guarded(step, &stream);
        }
        let result = self.transfer(&stream, &[self.cancel]);
        result.map_err(|error| self.blame(step, target, error))
    }

    /// Sends a stream whose receive destroys whatever is newer than its base, or changes a zvol, and
    /// watches for users and snapshots that would be harmed.
    fn run_guarded(&mut self, step: &Step, stream: &Stream) -> Result<Received, VolumeError> {
        let (result, appeared) = quiet::guarded(self, stream.force, |appeared| {
            self.transfer(stream, &[self.cancel, appeared])
        })
        .map_err(TransferError::Thread)?;
        if appeared.is_empty() {
            let target = stream.target.dataset();
            return result.map_err(|error| {
                if stream.force {
                    self.stopped(&target, error)
                } else {
                    self.blame(step, &target, error)
                }
            });
        }
        match result {
            Ok(arrived) => {
                self.warn_of(&appeared);
                Ok(arrived)
            }
            Err(_) => Err(interrupted_because_of(&appeared, stream.force)),
        }
    }

    fn transfer(&self, stream: &Stream, cancels: &[&Cancel]) -> Result<Received, TransferError> {
        let _shown = self.progress.show(&stream.send.snapshot);
        let sends = self.progress.sends();
        self.run.zfs.transfer(stream, cancels, sends)
    }

    /// Warns of what appeared during a stream and was noticed only after it had arrived.
    fn warn_of(&mut self, appeared: &Appeared) {
        let target = &self.plan.target;
        let names = appeared.names();
        if !names.is_empty() {
            self.done.warnings.push(format!(
                "{names} appeared while {target} was received, and is gone with what that replaced"
            ));
        }
        if let Some(user) = &appeared.user {
            self.done.warnings.push(format!(
                "{user}. What was written there while {target} was received is gone"
            ));
        }
    }

    /// Properties that the receive sets: only a new dataset gets any. That includes a resumed
    /// stream: when it was interrupted, the kernel gave a parent its old properties back.
    pub(super) fn properties(&self, step: &Step) -> Result<Given, VolumeError> {
        if step.base.is_some() {
            return Ok(Given::nothing());
        }
        let (run, transfer, target) = (self.run, self.transfer, &self.plan.target);
        let source = self.source;
        let kind = transfer.kind;
        let replaces_placeholder = transfer.overwrite == Overwrite::Placeholder;
        if run.plan.direction == Direction::ToDisk {
            return Ok(properties::of_copy(kind, source, replaces_placeholder));
        }
        let place = Place::look(run.zfs, target)?;
        let mut given = if matches!(transfer.overwrite, Overwrite::Replace { .. })
            && let Some(old) = self.before
            && old.kind == kind
        {
            properties::of_replacement(run.zfs, old, source, &place)
        } else {
            properties::of_new_volume(run.zfs, target, kind, source, &place, replaces_placeholder)
        };
        let record = plan::to_record(source, transfer);
        given.list.insert(RECEIVING_PROPERTY.into(), record);
        Ok(given)
    }

    fn stream(
        &self,
        step: &Step,
        target: &DatasetName,
        first: bool,
        properties: &Values,
    ) -> Result<Stream, VolumeError> {
        let to = step.to.name();
        let send = SendRequest {
            snapshot: to.clone(),
            from: step.base.as_ref().map(|base| match &base.source {
                BaseSource::Snapshot(name) => SendBase::Snapshot(name.clone()),
                BaseSource::Bookmark(name) => SendBase::Bookmark(name.clone()),
            }),
            flags: self.flags(step),
            resume: step.resume.as_ref().map(ResumePoint::from),
        };
        // Anything else is received beside the existing dataset, or fits without force.
        let force = first
            && matches!(
                self.transfer.overwrite,
                Overwrite::Placeholder | Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
            );
        let (features, estimated_bytes) = (self.run.target.features, self.plan.estimated_bytes);
        Ok(Stream {
            resumable: is_resumable(&send, estimated_bytes, features),
            send,
            target: target.snapshot(to.short())?,
            properties: properties.clone(),
            force,
            estimated_bytes,
            target_features: features,
        })
    }

    /// A resumed stream has to be of the kind that was interrupted; other streams use what the
    /// target's pool can hold.
    fn flags(&self, step: &Step) -> SendFlags {
        if let Some(resume) = &step.resume {
            return SendFlags::from(resume);
        }
        let blocks = self.source.map(stream_blocks);
        let blocks = blocks.unwrap_or_default();
        SendFlags {
            large_blocks: blocks.large,
            embedded: blocks.embedded,
            compressed: blocks.compressed,
            raw: self.transfer.raw,
        }
    }
}

/// True if the receive is to be resumable. The kernel records its progress for that, in every
/// transaction group and once more at the end: for a small stream that costs more than sending it again.
fn is_resumable(send: &SendRequest, estimated_bytes: Option<u64>, target: Features) -> bool {
    let is_small = |bytes| bytes < RESUMABLE_BYTES;
    target.extensible_dataset && (send.resume.is_some() || !estimated_bytes.is_some_and(is_small))
}
