//! One volume's transfer: its streams, one after the other.

use std::time::Instant;

use super::cancel::Cancel;
use super::monitor::Monitor;
use super::progress::Running;
use super::properties;
use super::stream::{Arrived, Stream, StreamError};
use crate::inventory::Side;
use crate::name::{Guid, SnapshotName};
use crate::plan::{BaseSource, Overwrite, Plan, Step, Transfer, VolumePlan};
use crate::report::{Outcome, VolumeReport};
use crate::zfs::{Lzc, NvList, ResumePoint, SendBase, SendFlags, SendRequest};

/// What a worker thread works with: nothing here belongs to one thread.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    pub plan: &'a Plan,
    pub source: &'a Side,
    pub target: &'a Side,
    pub lzc: Lzc,
    pub monitor: &'a dyn Monitor,
}

/// What became of one volume's transfer.
#[derive(Debug, Default)]
pub(super) struct Done {
    sent_bytes: u64,
    resumed_bytes: u64,
    seconds: f64,
    guid: Option<Guid>,
    failure: Option<(Outcome, String)>,
}

impl Done {
    /// It failed before it began.
    pub fn failed(reason: String) -> Self {
        Self {
            failure: Some((Outcome::Failed, reason)),
            ..Self::default()
        }
    }

    /// The user ended the run before it began.
    pub fn interrupted() -> Self {
        Self {
            failure: Some((Outcome::Skipped, "interrupted before it began".into())),
            ..Self::default()
        }
    }

    /// The target has the snapshot.
    pub fn arrived(&self) -> bool {
        self.failure.is_none()
    }

    /// Completes the volume's report.
    pub fn write_into(self, report: &mut VolumeReport) {
        report.sent_bytes = self.sent_bytes;
        report.resumed_bytes = self.resumed_bytes;
        report.seconds = self.seconds;
        report.snapshot_guid = self.guid.or(report.snapshot_guid);
        match self.failure {
            None => report.outcome = Outcome::Done,
            Some((Outcome::Failed, reason)) => report.fail(reason),
            Some((outcome, reason)) => report.end(outcome, reason),
        }
    }
}

impl Worker<'_> {
    /// Sends all of a volume's streams. The first failure ends it.
    pub fn transfer(&self, index: usize, running: &Running, cancel: &Cancel) -> Done {
        let volume = &self.plan.volumes[index];
        let crate::plan::Action::Send(transfer) = &volume.action else {
            return Done::failed("the plan has nothing to send".into());
        };
        let begun = Instant::now();
        let mut done = Done::default();
        let mut progress = running.of(&volume.volume);
        for (number, step) in transfer.steps.iter().enumerate() {
            self.monitor
                .started(&volume.volume, &describe(step), volume.estimated_bytes);
            log::info!("{}: {} begins", volume.volume, describe(step));
            let result = self.stream(volume, transfer, step, number == 0).and_then(
                |(stream, properties)| stream.run(&properties, self.lzc, &progress, cancel),
            );
            match result {
                Ok(Arrived { guid, bytes }) => {
                    done.guid = Some(guid);
                    done.sent_bytes += bytes;
                    done.resumed_bytes += step
                        .resume
                        .as_ref()
                        .map_or(0, |resume| resume.received_bytes);
                    progress.before_bytes = done.sent_bytes;
                }
                Err(error) => {
                    done.failure = Some(Self::failure(&error, cancel));
                    break;
                }
            }
        }
        done.seconds = begun.elapsed().as_secs_f64();
        let failure = done.failure.as_ref().map(|(_, reason)| reason.as_str());
        self.monitor
            .finished(&volume.volume, done.sent_bytes, done.seconds, failure);
        log::info!(
            "{}: {} bytes in {:.1} s",
            volume.volume,
            done.sent_bytes,
            done.seconds
        );
        done
    }

    fn stream(
        &self,
        volume: &VolumePlan,
        transfer: &Transfer,
        step: &Step,
        first: bool,
    ) -> Result<(Stream, NvList), StreamError> {
        let to = step.to.name();
        let target = target_snapshot(volume, step);
        // Also where a broken-off stream goes on: when it broke off, the kernel gave a parent its old
        // properties back.
        let properties = if step.base.is_none() {
            let source = self.source.dataset(&volume.source);
            properties::of_new_volume(
                self.plan.direction,
                transfer.kind,
                source,
                transfer.overwrite == Overwrite::Placeholder,
            )?
        } else {
            NvList::new()
        };
        let send = SendRequest {
            snapshot: to.clone(),
            from: step.base.as_ref().map(|base| match &base.source {
                BaseSource::Snapshot(name) => SendBase::Snapshot(name.clone()),
                BaseSource::Bookmark(name) => SendBase::Bookmark(name.clone()),
            }),
            flags: self.flags(transfer, step),
            resume: step.resume.as_ref().map(|resume| ResumePoint {
                object: resume.object,
                offset_bytes: resume.offset,
                received_bytes: resume.received_bytes,
            }),
        };
        let force = first
            && !matches!(
                transfer.overwrite,
                Overwrite::Nothing | Overwrite::KeepBoth { .. }
            );
        Ok((
            Stream {
                send,
                target,
                force,
                estimated_bytes: volume.estimated_bytes,
            },
            properties,
        ))
    }

    /// A resumed stream has to be of the kind that was broken off; others use what both pools can hold.
    fn flags(&self, transfer: &Transfer, step: &Step) -> SendFlags {
        if let Some(resume) = &step.resume {
            return SendFlags {
                large_blocks: resume.large_blocks,
                embedded: resume.embedded,
                compressed: resume.compressed,
                raw: resume.raw,
            };
        }
        let both = |has: fn(&crate::inventory::Features) -> bool| {
            has(&self.source.features) && has(&self.target.features)
        };
        SendFlags {
            large_blocks: both(|features| features.large_blocks),
            // Raw streams carry encrypted blocks, which are never embedded.
            embedded: !transfer.raw && both(|features| features.embedded_data),
            compressed: both(|features| features.lz4_compress),
            raw: transfer.raw,
        }
    }

    fn failure(error: &StreamError, cancel: &Cancel) -> (Outcome, String) {
        if cancel.is_requested() {
            return (
                Outcome::Skipped,
                "interrupted; the next run goes on from here".into(),
            );
        }
        (Outcome::Failed, error.to_string())
    }
}

fn target_snapshot(volume: &VolumePlan, step: &Step) -> SnapshotName {
    // The planner has checked that this name fits.
    volume
        .target
        .snapshot(step.to.name().short())
        .expect("the planner checks the target's names")
}

fn describe(step: &Step) -> String {
    let to = step.to.name().short();
    match (&step.resume, &step.base) {
        (Some(_), _) => format!("resume {to}"),
        (None, Some(base)) => format!("incremental {} → {to}", base.label),
        (None, None) => format!("full {to}"),
    }
}
