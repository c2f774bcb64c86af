//! The transfer of one volume: its streams, one after the other.

use std::time::Instant;

use openzfs::{Cancel, DatasetName, Received, ResumeState, Snapshot};

use super::outcome::{Done, VolumeError};
use super::progress::{Progress, Running};
use crate::model::Dataset;
use crate::plan::{Action, Step, Transfer, VolumePlan};
use crate::replicate::Replication;
use crate::replicate::target::placeholder;
use crate::replicate::target::properties::Given;
use crate::replicate::target::quiet::Quiet;
use crate::replicate::target::replace::{self, Replacement};
use crate::replicate::target::stale::Stale;
use crate::replicate::target::witness::Witnesses;
use crate::replicate::zfs::{Values, Zfs};

/// How often an interrupted stream is begun again without any progress.
const FRUITLESS_TRIES: u32 = 10;

/// What is to be done with a volume, by what means, and what has become of it.
pub(in crate::replicate) struct VolumeRun<'a> {
    pub run: &'a Replication<'a>,
    /// The witnesses of what is going to be destroyed.
    pub witnesses: &'a Witnesses,
    pub plan: &'a VolumePlan,
    pub transfer: &'a Transfer,
    /// Its dataset on the source, as the plan saw it.
    pub source: Option<&'a Dataset>,
    /// Its dataset on the target, as the plan saw it.
    pub before: Option<&'a Dataset>,
    pub progress: Progress<'a>,
    pub cancel: &'a Cancel,
    /// Keeps everybody from writing while a forced receive is going to undo changes.
    pub quiet: Option<Quiet<'a>>,
    /// Bookmarks that were destroyed because the receive is going to undo their snapshots.
    pub stale: Stale,
    pub done: Done,
}

impl<'a> VolumeRun<'a> {
    /// Makes way, sends all of a volume's streams, and puts things in place. The first failure ends it.
    pub fn carry_out(
        run: &'a Replication<'a>,
        witnesses: &'a Witnesses,
        index: usize,
        running: &'a Running,
        cancel: &'a Cancel,
    ) -> Done {
        let plan = &run.plan.volumes[index];
        let Action::Send(transfer) = &plan.action else {
            return Done::failed("the plan has nothing to send".into());
        };
        let begun = Instant::now();
        let mut volume = Self {
            run,
            witnesses,
            plan,
            transfer,
            source: run.source.dataset(&plan.source),
            before: run.target.dataset(&plan.target),
            progress: running.of(&plan.volume),
            cancel,
            quiet: None,
            stale: Stale::default(),
            done: Done::default(),
        };
        let result = volume.carry();
        volume.end(result, begun, running)
    }

    fn end(mut self, result: Result<(), VolumeError>, begun: Instant, running: &Running) -> Done {
        let (volume, done) = (&self.plan.volume, &mut self.done);
        match &result {
            Err(VolumeError::Conflict { conflict, .. }) => done.conflict = Some(conflict.word()),
            Err(VolumeError::Unreadable(_, end)) => done.unreadable = Some(*end),
            _ => {}
        }
        if let Err(stop) = result {
            done.failure = Some(stop.outcome(self.plan, self.cancel));
            // A failed receive does not tell how much it received.
            done.sent_bytes = done.sent_bytes.max(running.seen_bytes(volume));
        }
        done.seconds = begun.elapsed().as_secs_f64();
        let (bytes, seconds) = (done.sent_bytes, done.seconds);
        let failure = done.failure.as_ref();
        let failure = failure.map(|(outcome, reason)| (*outcome, reason.as_str()));
        self.run.monitor.finished(volume, bytes, seconds, failure);
        log::info!("{volume}: {bytes} bytes in {seconds:.1} s");
        if self.done.has_arrived() {
            self.done.arrived = self.arrived();
        }
        self.done
    }

    fn carry(&mut self) -> Result<(), VolumeError> {
        self.stop_if_cancelled()?;
        placeholder::create_late(self)?;
        self.make_way()?;
        let result = self.bring();
        let warnings = self.put_back();
        self.done.warnings.extend(warnings);
        result
    }

    /// Sends everything to its place.
    fn bring(&mut self) -> Result<(), VolumeError> {
        let (steps, target) = (&self.transfer.steps, &self.plan.target);
        if !replace::arrives_beside(self) {
            return self.streams(steps, target);
        }
        let replacement = Replacement::begin(self)?;
        self.streams(&replacement.steps, replacement.arriving())?;
        let placed = replacement.put_in_place(self)?;
        self.done.warnings.extend(placed.warnings);
        self.done.facts.extend(replacement.fact(self));
        let rest = steps.get(1..).unwrap_or_default();
        let result = self.streams(rest, target);
        self.done.overwritten = placed.old_is_destroyed;
        result
    }

    /// The target's newest snapshot now. If the look-up fails, it is tried again for the ledger.
    fn arrived(&self) -> Option<Snapshot> {
        let short = self.transfer.steps.last()?.to.name().short();
        let name = self.plan.target.snapshot(short).ok()?;
        self.run.zfs.snapshot(&name).ok()?
    }

    fn stop_if_cancelled(&self) -> Result<(), VolumeError> {
        if self.cancel.is_requested() {
            return Err(VolumeError::CutShort("between two streams".into()));
        }
        Ok(())
    }

    /// Sends these streams into `target`, one after the other.
    fn streams(&mut self, steps: &[Step], target: &DatasetName) -> Result<(), VolumeError> {
        for (number, step) in steps.iter().enumerate() {
            self.stop_if_cancelled()?;
            let volume = &self.plan.volume;
            let what = describe(step);
            self.run
                .monitor
                .started(volume, &what, self.plan.estimated_bytes);
            log::info!("{volume}: {what} begins");
            let Given {
                list: properties,
                later,
                left_out,
            } = self.properties(step)?;
            self.done.warnings.extend(left_out);
            let received = self.arrive(step, target, number == 0, &properties)?;
            self.count(step, target, received);
            self.set(target, later);
        }
        Ok(())
    }

    /// Sends one stream until it has arrived. After a suspend of the machine, or a stop of the process,
    /// system calls return as interrupted: nobody asked for that, and the stream is resumed.
    fn arrive(
        &mut self,
        step: &Step,
        target: &DatasetName,
        first: bool,
        properties: &Values,
    ) -> Result<Received, VolumeError> {
        let mut next = step.clone();
        let mut fruitless = 0;
        loop {
            let stop = match self.send(&next, target, first, properties) {
                Err(stop @ VolumeError::CutShort(_)) => stop,
                ended => return ended,
            };
            let (rest, gained_bytes) = gone_on(self.run.zfs, &next, target)?;
            fruitless = if gained_bytes > 0 { 0 } else { fruitless + 1 };
            if self.cancel.is_requested() || fruitless == FRUITLESS_TRIES {
                return Err(stop);
            }
            log::info!(
                "{target} goes on after {gained_bytes} bytes, interrupted by nobody ({})",
                stop.words()
            );
            self.done.sent_bytes += gained_bytes;
            self.progress.before_bytes = self.done.sent_bytes;
            next = rest;
        }
    }

    /// Sets properties that the receive could not set. The data has arrived all the same.
    fn set(&mut self, target: &DatasetName, properties: Values) {
        for (name, value) in properties {
            if let Err(problem) = (self.run.zfs).set_property(target, &name, &value) {
                self.done.warn_not_set(target, &name, &problem.to_string());
            }
        }
    }

    fn count(&mut self, step: &Step, target: &DatasetName, received: Received) {
        let done = &mut self.done;
        done.guid = Some(received.guid);
        // A replacement arrives beside what it replaces.
        done.overwritten |= *target == self.plan.target;
        for (property, problem) in &received.property_errors {
            done.warn_not_set(target, property, problem);
        }
        done.sent_bytes += received.read_bytes;
        let resumed = step.resume.as_ref();
        done.resumed_bytes += resumed.map_or(0, |resume| resume.received_bytes);
        self.progress.before_bytes = done.sent_bytes;
    }
}

/// The rest of an interrupted stream, and how much of it has arrived since it last began. The rest is
/// all of it if the kernel does not record what it has received.
fn gone_on(zfs: &dyn Zfs, step: &Step, target: &DatasetName) -> Result<(Step, u64), VolumeError> {
    let found = zfs.dataset(target)?;
    let state = found.and_then(|found| zfs.resume_state(&found.reported));
    let to = step.to.name().to_string();
    let from = step.base.as_ref().map(|base| base.guid);
    let state = state.filter(|state| state.to_name == to && state.from_guid == from);
    let received = |state: &ResumeState| state.received_bytes;
    let before_bytes = step.resume.as_ref().map_or(0, received);
    let gained_bytes = state
        .as_ref()
        .map_or(0, received)
        .saturating_sub(before_bytes);
    let rest = Step {
        resume: state,
        ..step.clone()
    };
    Ok((rest, gained_bytes))
}

fn describe(step: &Step) -> String {
    let to = step.to.name().short();
    match (&step.resume, &step.base) {
        (Some(_), _) => format!("resume {to}"),
        (None, Some(base)) => format!("incremental {} → {to}", base.label),
        (None, None) => format!("full {to}"),
    }
}
