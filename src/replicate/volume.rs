//! One volume's transfer: its streams, one after the other.

use std::time::Instant;

use super::cancel::Cancel;
use super::monitor::Monitor;
use super::progress::{Progress, Running};
use super::replace::Replacement;
use super::stream::{Arrived, Stream, StreamError};
use super::{aside, overwrite, properties};
use crate::inventory::Side;
use crate::name::{DatasetName, Guid, InvalidName};
use crate::plan::{Action, BaseSource, Direction, Overwrite, Plan, Step, Transfer, VolumePlan};
use crate::report::{Outcome, VolumeReport};
use crate::terminal::Terminal;
use crate::zfs::{
    self, BatchError, ErrorKind, Lzc, NvList, ResumePoint, SendBase, SendFlags, SendRequest,
};

/// What a worker thread works with: nothing here belongs to one thread.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    pub plan: &'a Plan,
    pub source: &'a Side,
    pub target: &'a Side,
    pub lzc: Lzc,
    pub monitor: &'a dyn Monitor,
    /// Where `-v` asks about mounts that are in the way.
    pub terminal: &'a Terminal,
}

/// What became of one volume's transfer.
#[derive(Debug, Default)]
pub(super) struct Done {
    sent_bytes: u64,
    resumed_bytes: u64,
    seconds: f64,
    guid: Option<Guid>,
    failure: Option<(Outcome, String)>,
    /// What the plan said that the target loses is gone.
    overwritten: bool,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

/// Why a volume's transfer ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The target is not what was approved: nothing was done to it.
    Refused(String),
    /// It was tried and failed.
    Failed(String),
}

impl Stop {
    /// What it counts as. A failure after a signal is the signal's doing.
    fn outcome(self, cancel: &Cancel) -> (Outcome, String) {
        match self {
            Self::Refused(reason) => (Outcome::Refused, reason),
            Self::Failed(_) if cancel.is_requested() => {
                let reason = "interrupted; the next run goes on from here";
                (Outcome::Skipped, reason.into())
            }
            Self::Failed(reason) => (Outcome::Failed, reason),
        }
    }
}

macro_rules! fails {
    ($($error:ty),*) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        }
    )*};
}

fails!(zfs::Error, BatchError, InvalidName);

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Self {
        let is_full = matches!(&error, StreamError::Zfs(error) if error.kind == ErrorKind::NoSpace);
        let way_out = if is_full {
            ". Make room on its pool, then run the same command again: it goes on from here"
        } else {
            ""
        };
        Self::Failed(format!("{error}{way_out}"))
    }
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
        if !self.overwritten {
            report.destroys.clear();
        }
        match self.failure {
            None => report.outcome = Outcome::Done,
            Some((Outcome::Failed, reason)) => report.fail(reason),
            Some((outcome, reason)) => report.end(outcome, reason),
        }
    }
}

impl Worker<'_> {
    /// Makes room, sends all of a volume's streams, puts things in place. The first failure ends it.
    pub fn transfer(&self, index: usize, running: &Running, cancel: &Cancel) -> Done {
        let volume = &self.plan.volumes[index];
        let Action::Send(transfer) = &volume.action else {
            return Done::failed("the plan has nothing to send".into());
        };
        let begun = Instant::now();
        let mut carrier = Carrier {
            worker: self,
            volume,
            transfer,
            progress: running.of(&volume.volume),
            cancel,
            done: Done::default(),
        };
        let result = carrier.carry();
        let mut done = carrier.done;
        done.failure = result.err().map(|stop| stop.outcome(cancel));
        if done.failure.is_some() {
            // A receive that fails does not say how much it took.
            done.sent_bytes = done.sent_bytes.max(running.seen_bytes(&volume.volume));
        }
        done.seconds = begun.elapsed().as_secs_f64();
        let failure = done.failure.as_ref();
        let failure = failure.map(|(outcome, reason)| (*outcome, reason.as_str()));
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
}

/// One volume on its way.
struct Carrier<'a> {
    worker: &'a Worker<'a>,
    volume: &'a VolumePlan,
    transfer: &'a Transfer,
    progress: Progress<'a>,
    cancel: &'a Cancel,
    done: Done,
}

impl Carrier<'_> {
    fn carry(&mut self) -> Result<(), Stop> {
        let (worker, volume, transfer) = (self.worker, self.volume, self.transfer);
        self.stop_if_cancelled()?;
        overwrite::prepare(worker, volume, transfer)?;
        match &transfer.overwrite {
            Overwrite::Replace { .. } => {
                let replacement = Replacement::begin(worker, volume, transfer)?;
                self.streams(&replacement.steps, replacement.arriving())?;
                let warnings = replacement.swap(worker, volume, transfer)?;
                self.done.warnings.extend(warnings);
                self.done.overwritten = true;
                self.streams(transfer.steps.get(1..).unwrap_or_default(), &volume.target)
            }
            Overwrite::KeepBoth { renamed_to } => {
                let warnings = aside::rename(worker, volume, renamed_to)?;
                self.done.warnings.extend(warnings);
                self.streams(&transfer.steps, &volume.target)
            }
            _ => self.streams(&transfer.steps, &volume.target),
        }
    }

    fn stop_if_cancelled(&self) -> Result<(), Stop> {
        if self.cancel.is_requested() {
            return Err(Stop::Failed("interrupted".into()));
        }
        Ok(())
    }

    /// Sends these streams into `target`, one after the other.
    fn streams(&mut self, steps: &[Step], target: &DatasetName) -> Result<(), Stop> {
        for (number, step) in steps.iter().enumerate() {
            self.stop_if_cancelled()?;
            let volume = &self.volume.volume;
            let what = describe(step);
            self.worker
                .monitor
                .started(volume, &what, self.volume.estimated_bytes);
            log::info!("{volume}: {what} begins");
            let properties = self.properties(step)?;
            let arrived = self.stream(step, target, number == 0)?.run(
                &properties,
                self.worker.lzc,
                &self.progress,
                self.cancel,
            )?;
            self.count(step, &arrived);
        }
        Ok(())
    }

    fn count(&mut self, step: &Step, arrived: &Arrived) {
        let done = &mut self.done;
        done.guid = Some(arrived.guid);
        // A replacement arrives beside what it replaces.
        done.overwritten |= !matches!(self.transfer.overwrite, Overwrite::Replace { .. });
        done.sent_bytes += arrived.bytes;
        let resumed = step.resume.as_ref();
        done.resumed_bytes += resumed.map_or(0, |resume| resume.received_bytes);
        self.progress.before_bytes = done.sent_bytes;
    }

    /// Properties that the receive sets: only what it makes anew gets any. Also where a broken-off
    /// stream goes on: when it broke off, the kernel gave a parent its old properties back.
    fn properties(&self, step: &Step) -> Result<NvList, Stop> {
        if step.base.is_some() {
            return Ok(NvList::new());
        }
        let (worker, volume, transfer) = (self.worker, self.volume, self.transfer);
        if worker.plan.direction == Direction::ToHost
            && matches!(transfer.overwrite, Overwrite::Replace { .. })
            && let Some(old) = worker.target.dataset(&volume.target)
        {
            return Ok(properties::of_replacement(old)?);
        }
        Ok(properties::of_new_volume(
            worker.plan.direction,
            transfer.kind,
            worker.source.dataset(&volume.source),
            transfer.overwrite == Overwrite::Placeholder,
        )?)
    }

    fn stream(&self, step: &Step, target: &DatasetName, first: bool) -> Result<Stream, Stop> {
        let to = step.to.name();
        let send = SendRequest {
            snapshot: to.clone(),
            from: step.base.as_ref().map(|base| match &base.source {
                BaseSource::Snapshot(name) => SendBase::Snapshot(name.clone()),
                BaseSource::Bookmark(name) => SendBase::Bookmark(name.clone()),
            }),
            flags: self.worker.flags(self.transfer, step),
            resume: step.resume.as_ref().map(ResumePoint::from),
        };
        // Anything else is received beside what is there, or fits without force.
        let force = first
            && matches!(
                self.transfer.overwrite,
                Overwrite::Placeholder | Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
            );
        Ok(Stream {
            send,
            target: target.snapshot(to.short())?,
            force,
            estimated_bytes: self.volume.estimated_bytes,
        })
    }
}

impl Worker<'_> {
    /// A resumed stream has to be of the kind that was broken off; others use what both pools can hold.
    fn flags(&self, transfer: &Transfer, step: &Step) -> SendFlags {
        if let Some(resume) = &step.resume {
            return SendFlags::from(resume);
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
}

fn describe(step: &Step) -> String {
    let to = step.to.name().short();
    match (&step.resume, &step.base) {
        (Some(_), _) => format!("resume {to}"),
        (None, Some(base)) => format!("incremental {} → {to}", base.label),
        (None, None) => format!("full {to}"),
    }
}
