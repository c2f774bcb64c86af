//! One volume's transfer: its streams, one after the other.

use std::time::Instant;

use super::cancel::Cancel;
use super::monitor::Monitor;
use super::progress::{Progress, Running};
use super::quiet;
use super::replace::{self, Replacement};
use super::stream::{Arrived, Stream, StreamError};
use super::{overwrite, properties};
use crate::inventory::Side;
use crate::name::{DatasetName, Guid, InvalidName};
use crate::plan::{
    Action, BaseSource, Conflict, Direction, Overwrite, Plan, Step, Transfer, VolumePlan,
};
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
    /// What was in the way only when its turn came.
    conflict: Option<&'static str>,
    /// What the plan said that the target loses is gone.
    overwritten: bool,
    /// What has been done that the user would otherwise not hear of where the rest fails.
    facts: Vec<String>,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

/// Why a volume's transfer ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The target is not what was approved: nothing was done to it.
    Refused(String),
    /// It was free in the plan, and was not when its turn came.
    Conflict {
        /// What was found, and what was not done.
        why: String,
        /// What it is by now.
        conflict: Conflict,
    },
    /// It was tried and failed.
    Failed(String),
    /// The stream did not come to its end, as one whose sender was told to stop.
    CutShort(String),
}

impl Stop {
    /// The same, with what went wrong besides.
    pub fn with(mut self, problems: &[String]) -> Self {
        let (Self::Refused(text)
        | Self::Failed(text)
        | Self::CutShort(text)
        | Self::Conflict { why: text, .. }) = &mut self;
        for problem in problems {
            *text = format!("{text}; {problem}");
        }
        self
    }

    /// What it counts as. A stream that is cut short after a signal is the signal's doing; anything
    /// else that goes wrong then is told as ever.
    fn outcome(self, volume: &VolumePlan, cancel: &Cancel) -> (Outcome, String) {
        match self {
            Self::Refused(reason) => (Outcome::Refused, reason),
            Self::Conflict { why, conflict } => {
                let reason = format!("{why}. {}", conflict.explain(volume));
                (Outcome::Refused, reason)
            }
            Self::CutShort(reason) if cancel.is_requested() => {
                log::info!("interrupted: {reason}");
                let reason = "interrupted; the next run goes on from here";
                (Outcome::Skipped, reason.into())
            }
            Self::Failed(reason) | Self::CutShort(reason) => (Outcome::Failed, reason),
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
        if error.is_cut_short() {
            return Self::CutShort(error.to_string());
        }
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
        report.conflict = self.conflict;
        if !self.overwritten {
            report.destroys.clear();
        }
        let with_facts = |reason| {
            let all = std::iter::once(reason).chain(self.facts);
            all.collect::<Vec<_>>().join("; ")
        };
        match self.failure {
            None => report.outcome = Outcome::Done,
            Some((Outcome::Failed, reason)) => report.fail(with_facts(reason)),
            Some((outcome, reason)) => report.end(outcome, with_facts(reason)),
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
        if let Err(Stop::Conflict { conflict, .. }) = &result {
            done.conflict = Some(conflict.word());
        }
        done.failure = result.err().map(|stop| stop.outcome(volume, cancel));
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
        let prepared = overwrite::prepare(worker, volume, transfer)?;
        let result = self.bring();
        let warnings = prepared.end(worker, volume, transfer, self.done.overwritten);
        self.done.warnings.extend(warnings);
        result
    }

    /// Sends everything to where it belongs.
    fn bring(&mut self) -> Result<(), Stop> {
        let (worker, volume, transfer) = (self.worker, self.volume, self.transfer);
        if !replace::arrives_beside(worker, volume, transfer) {
            return self.streams(&transfer.steps, &volume.target);
        }
        let replacement = Replacement::begin(worker, volume, transfer)?;
        self.streams(&replacement.steps, replacement.arriving())?;
        let warnings = replacement.put_in_place()?;
        self.done.warnings.extend(warnings);
        self.done.overwritten = true;
        self.done.facts.extend(replacement.fact());
        self.streams(transfer.steps.get(1..).unwrap_or_default(), &volume.target)
    }

    fn stop_if_cancelled(&self) -> Result<(), Stop> {
        if self.cancel.is_requested() {
            return Err(Stop::CutShort("between two streams".into()));
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
            let stream = self.stream(step, target, number == 0)?;
            let arrived = if stream.force {
                self.run_guarded(&stream, &properties)?
            } else {
                let (lzc, cancels) = (self.worker.lzc, [self.cancel]);
                let result = stream.run(&properties, lzc, &self.progress, &cancels);
                result.map_err(|error| self.blame(step, target, error))?
            };
            self.count(step, target, arrived);
        }
        Ok(())
    }

    /// Sends a stream whose receive destroys whatever is newer than its base, and looks out for that.
    fn run_guarded(&mut self, stream: &Stream, properties: &NvList) -> Result<Arrived, Stop> {
        let (result, appeared) =
            quiet::guarded(self.worker, self.volume, self.transfer, |appeared| {
                let cancels = [self.cancel, appeared];
                stream.run(properties, self.worker.lzc, &self.progress, &cancels)
            })
            .map_err(StreamError::Thread)?;
        if appeared.is_empty() {
            return Ok(result?);
        }
        let names: Vec<_> = appeared.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        if let Ok(arrived) = result {
            self.done.warnings.push(format!(
                "{names} appeared while {} was received, and is gone with what that replaced",
                self.volume.target
            ));
            return Ok(arrived);
        }
        Err(Stop::Refused(format!(
            "{names} appeared meanwhile and would have gone too, so the receive was broken off; \
             nothing was destroyed. Run the same command again to see all that would go"
        )))
    }

    /// A receive that is not forced is kept out by what somebody did to the target since the plan
    /// was made: that is a conflict like those of the plan.
    fn blame(&self, step: &Step, target: &DatasetName, error: StreamError) -> Stop {
        let keeps_out = matches!(&error, StreamError::Zfs(error) if matches!(
            error.kind,
            ErrorKind::Modified
                | ErrorKind::BaseMissing
                | ErrorKind::Exists
                | ErrorKind::Busy
                | ErrorKind::ResumeExists
        ));
        // What arrives beside the volume has a name that nobody else uses.
        let is_there = keeps_out && *target == self.volume.target;
        match is_there.then(|| overwrite::changed_meanwhile(self.worker, self.volume, step)) {
            Some(Ok(Some(conflict))) => Stop::Conflict {
                why: error.to_string(),
                conflict,
            },
            _ => error.into(),
        }
    }

    fn count(&mut self, step: &Step, target: &DatasetName, arrived: Arrived) {
        let done = &mut self.done;
        done.guid = Some(arrived.guid);
        // A replacement arrives beside what it replaces.
        done.overwritten |= *target == self.volume.target;
        let not_set = arrived.property_errors.into_iter();
        done.warnings.extend(not_set.map(|(property, problem)| {
            format!("{target} arrived, but its {property} could not be set: {problem}")
        }));
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
            && old.kind == transfer.kind
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
