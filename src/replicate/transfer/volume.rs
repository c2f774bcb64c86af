//! One volume's transfer: its streams, one after the other.

use std::time::Instant;

use openzfs::{
    Cancel, DatasetName, ErrorKind, Received, ResumePoint, ResumeState, SendBase, SendFlags,
    SendRequest, TransferError,
};

use super::outcome::{Done, VolumeError};
use super::progress::{Progress, Running};
use super::stream;
use super::worker::Worker;
use crate::model::marks::RECEIVING_PROPERTY;
use crate::next::next;
use crate::plan::{
    self, Action, BaseSource, Conflict, Direction, Overwrite, Step, Transfer, VolumePlan,
    stream_blocks,
};
use crate::replicate::target::approved;
use crate::replicate::target::overwrite;
use crate::replicate::target::placeholder;
use crate::replicate::target::properties::{self, Given};
use crate::replicate::target::quiet::{self, Appeared};
use crate::replicate::target::replace::{self, Replacement};
use crate::replicate::target::taken_over::Place;
use crate::replicate::zfs::{Stream, Values, Zfs};
use crate::text::shell_word;

/// How often a stream that is interrupted is begun again without having got any further.
const FRUITLESS_TRIES: u32 = 10;

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
        if let Err(VolumeError::Conflict { conflict, .. }) = &result {
            done.conflict = Some(conflict.word());
        }
        if let Err(VolumeError::Unreadable(_, end)) = &result {
            done.unreadable = Some(*end);
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
    fn carry(&mut self) -> Result<(), VolumeError> {
        let (worker, volume, transfer) = (self.worker, self.volume, self.transfer);
        self.stop_if_cancelled()?;
        placeholder::create_late(worker, volume)?;
        let prepared = overwrite::prepare(worker, volume, transfer)?;
        let result = self.bring();
        let warnings = prepared.end(worker, volume, transfer, self.done.overwritten);
        self.done.warnings.extend(warnings);
        result
    }

    /// Sends everything to where it belongs.
    fn bring(&mut self) -> Result<(), VolumeError> {
        let (worker, volume, transfer) = (self.worker, self.volume, self.transfer);
        if !replace::arrives_beside(worker, volume, transfer) {
            return self.streams(&transfer.steps, &volume.target);
        }
        let replacement = Replacement::begin(worker, volume, transfer)?;
        self.streams(&replacement.steps, replacement.arriving())?;
        let placed = replacement.put_in_place()?;
        self.done.warnings.extend(placed.warnings);
        self.done.facts.extend(replacement.fact());
        let rest = transfer.steps.get(1..).unwrap_or_default();
        let result = self.streams(rest, &volume.target);
        self.done.overwritten = placed.old_is_destroyed;
        result
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
            let volume = &self.volume.volume;
            let what = describe(step);
            self.worker
                .monitor
                .started(volume, &what, self.volume.estimated_bytes);
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

    /// Sends one stream until it has arrived. A machine that was suspended, or a process that was stopped
    /// for a while, comes back with its system calls interrupted: nobody wanted that, and it goes on.
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
            let (rest, gained_bytes) = gone_on(self.worker.zfs, &next, target)?;
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

    /// Sends one stream, or the rest of one.
    fn send(
        &mut self,
        step: &Step,
        target: &DatasetName,
        first: bool,
        properties: &Values,
    ) -> Result<Received, VolumeError> {
        let stream = self.stream(step, target, first, properties)?;
        let is_into_a_zvol = step.base.is_some()
            && *target == self.volume.target
            && approved::changes_a_zvol_of_the_host(self.worker, self.volume);
        if stream.force || is_into_a_zvol {
            return self.run_guarded(step, &stream);
        }
        let result = stream::run(&stream, self.worker.zfs, &self.progress, &[self.cancel]);
        result.map_err(|error| self.blame(step, target, error))
    }

    /// Sets what the receive could not set. The data has arrived all the same.
    fn set(&mut self, target: &DatasetName, properties: Values) {
        for (name, value) in properties {
            if let Err(problem) = (self.worker.zfs).set_property(target, &name, &value) {
                self.done.warn_not_set(target, &name, &problem.to_string());
            }
        }
    }

    /// Sends a stream whose receive destroys whatever is newer than its base, or changes a zvol, and looks
    /// out for whom that would harm.
    fn run_guarded(&mut self, step: &Step, stream: &Stream) -> Result<Received, VolumeError> {
        let (result, appeared) = quiet::guarded(
            self.worker,
            self.volume,
            self.transfer,
            stream.force,
            |appeared| {
                let cancels = [self.cancel, appeared];
                stream::run(stream, self.worker.zfs, &self.progress, &cancels)
            },
        )
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

    /// What came while a stream was on its way, and was noticed only when that had arrived.
    fn warn_of(&mut self, appeared: &Appeared) {
        let target = &self.volume.target;
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

    /// A receive that is not forced is kept out by what somebody did to the target since the plan
    /// was made: that is a conflict like those of the plan.
    fn blame(&self, step: &Step, target: &DatasetName, error: TransferError) -> VolumeError {
        let keeps_out = matches!(&error, TransferError::Zfs(error) if matches!(
            error.kind,
            ErrorKind::Modified
                | ErrorKind::BaseMissing
                | ErrorKind::Exists
                | ErrorKind::Busy
                | ErrorKind::ResumeExists
        ));
        // What arrives beside the volume has a name that nobody else uses.
        let is_there = keeps_out && *target == self.volume.target;
        match is_there.then(|| approved::changed_meanwhile(self.worker, self.volume, step)) {
            Some(Ok(Some(conflict))) => VolumeError::Conflict {
                why: error.to_string(),
                conflict,
            },
            _ => self.stopped(target, error),
        }
    }

    /// What a stream uses is known for certain when it begins: somebody may have changed properties
    /// since the plan was made, or back again before it.
    fn stopped(&self, target: &DatasetName, error: TransferError) -> VolumeError {
        let direction = self.worker.plan.direction;
        match error {
            TransferError::NeedsFeatures(features) => VolumeError::Conflict {
                why: "Nothing was received".into(),
                conflict: Conflict::NeedsFeature {
                    features,
                    on_disk: direction == Direction::ToDisk,
                },
            },
            TransferError::Zfs(error) if error.kind == ErrorKind::NoSpace => {
                // What has arrived fills the pool that the host works on.
                let give_up = match direction {
                    Direction::ToHost => {
                        format!(
                            ". To give up what has arrived: zfs receive -A {}",
                            shell_word(target)
                        )
                    }
                    Direction::ToDisk => String::new(),
                };
                VolumeError::Failed(next!(
                    "full-on-the-way",
                    "{error}. Make room on its pool, then run the same command again: it goes on from \
                     here{give_up}"
                ))
            }
            error => error.into(),
        }
    }

    fn count(&mut self, step: &Step, target: &DatasetName, received: Received) {
        let done = &mut self.done;
        done.guid = Some(received.guid);
        // A replacement arrives beside what it replaces.
        done.overwritten |= *target == self.volume.target;
        for (property, problem) in &received.property_errors {
            done.warn_not_set(target, property, problem);
        }
        done.sent_bytes += received.read_bytes;
        let resumed = step.resume.as_ref();
        done.resumed_bytes += resumed.map_or(0, |resume| resume.received_bytes);
        self.progress.before_bytes = done.sent_bytes;
    }

    /// Properties that the receive sets: only what it makes anew gets any. Also if an interrupted
    /// stream is resumed: when it was interrupted, the kernel gave a parent its old properties back.
    fn properties(&self, step: &Step) -> Result<Given, VolumeError> {
        if step.base.is_some() {
            return Ok(Given::nothing());
        }
        let (worker, transfer, target) = (self.worker, self.transfer, &self.volume.target);
        let source = worker.source.dataset(&self.volume.source);
        let kind = transfer.kind;
        let replaces_placeholder = transfer.overwrite == Overwrite::Placeholder;
        if worker.plan.direction == Direction::ToDisk {
            return Ok(properties::of_copy(kind, source, replaces_placeholder));
        }
        let place = Place::look(worker.zfs, target)?;
        let mut given = if matches!(transfer.overwrite, Overwrite::Replace { .. })
            && let Some(old) = worker.target.dataset(target)
            && old.kind == kind
        {
            properties::of_replacement(worker.zfs, old, source, &place)
        } else {
            properties::of_new_volume(
                worker.zfs,
                target,
                kind,
                source,
                &place,
                replaces_placeholder,
            )
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
            flags: self.worker.flags(self.volume, self.transfer, step),
            resume: step.resume.as_ref().map(ResumePoint::from),
        };
        // Anything else is received beside what is there, or fits without force.
        let force = first
            && matches!(
                self.transfer.overwrite,
                Overwrite::Placeholder | Overwrite::RollBack { .. } | Overwrite::Destroy { .. }
            );
        let (features, estimated_bytes) =
            (self.worker.target.features, self.volume.estimated_bytes);
        Ok(Stream {
            resumable: stream::is_resumable(&send, estimated_bytes, features),
            send,
            target: target.snapshot(to.short())?,
            properties: properties.clone(),
            force,
            estimated_bytes,
            target_features: features,
        })
    }
}

impl Worker<'_> {
    /// A resumed stream has to be of the kind that was interrupted; others use what the target's pool
    /// can hold.
    fn flags(&self, volume: &VolumePlan, transfer: &Transfer, step: &Step) -> SendFlags {
        if let Some(resume) = &step.resume {
            return SendFlags::from(resume);
        }
        let blocks = self.source.dataset(&volume.source).map(stream_blocks);
        let blocks = blocks.unwrap_or_default();
        SendFlags {
            large_blocks: blocks.large,
            embedded: blocks.embedded,
            compressed: blocks.compressed,
            raw: transfer.raw,
        }
    }
}

/// Why a receive was interrupted by us, which has destroyed nothing.
fn interrupted_because_of(appeared: &Appeared, forced: bool) -> VolumeError {
    match &appeared.user {
        Some(user) if !forced => overwrite::zvol_in_use(user),
        Some(user) => VolumeError::Refused(next!(
            "in-use-elsewhere",
            "{user}. What is written there would have been lost, so the receive was interrupted; \
             nothing was destroyed. End what uses it, then run the same command again"
        )),
        None => VolumeError::Refused(next!(
            "appeared-meanwhile",
            "{} appeared meanwhile and would have gone too, so the receive was interrupted; \
             nothing was destroyed. Run the same command again to see all that would go",
            appeared.names()
        )),
    }
}

/// The rest of a stream that was interrupted, and how much of it has arrived since it last began. All of
/// it is left where the kernel keeps no account of what it has got.
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
