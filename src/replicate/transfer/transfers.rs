//! All transfers of a run: several at once, watched, and able to be stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use openzfs::Cancel;

use super::damage;
use super::outcome::Done;
use super::progress::{INTERVAL, Running};
use super::queue::{Job, Next, Queue};
use super::volume::VolumeRun;
use crate::error::words_of_panic;
use crate::next::next;
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::target::witness::Witnesses;
use crate::report::{Outcome, VolumeReport};
use crate::system::threads;

/// Carries out every transfer that is still planned and records what became of it.
pub(in crate::replicate) fn run(run: &Replication, witnesses: &Witnesses, outcomes: &mut Outcomes) {
    let jobs = jobs(run, outcomes);
    for (index, volume) in outcomes.volumes.iter().enumerate() {
        (run.record)(index, volume);
    }
    if jobs.is_empty() {
        return;
    }
    run.monitor.begin(
        jobs.len(),
        jobs.iter().filter_map(|job| job.estimated_bytes).sum(),
    );
    let wanted = run.parallel.clamp(1, jobs.len());
    let engine = Engine {
        run,
        witnesses,
        planned: outcomes.volumes.clone(),
        cancel: Cancel::default(),
        running: Running::default(),
        state: Mutex::new(State {
            queue: Queue::new(jobs),
            results: Vec::new(),
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        let workers = engine.start(scope, wanted);
        engine.supervise();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    run.monitor.end();
    for (index, mut done) in engine.into_results() {
        for warning in std::mem::take(&mut done.warnings) {
            outcomes.warn(warning);
        }
        if let Some(snapshot) = done.arrived.take() {
            outcomes.arrived.insert(index, snapshot);
        }
        if let Some(end) = done.unreadable {
            done.explain(&damage::explain(run, &run.plan.volumes[index], end));
        }
        done.write_into(&mut outcomes.volumes[index]);
    }
}

fn jobs(run: &Replication, outcomes: &Outcomes) -> Vec<Job> {
    (outcomes.to_send(run.plan))
        .map(|(index, volume, _)| Job {
            index,
            volume: volume.volume.clone(),
            waits_for: volume.waits_for.clone(),
            estimated_bytes: volume.estimated_bytes,
        })
        .collect()
}

/// What the workers and the supervisor share.
struct Engine<'a> {
    run: &'a Replication<'a>,
    witnesses: &'a Witnesses,
    /// The reports as they are before anything is sent.
    planned: Vec<VolumeReport>,
    cancel: Cancel,
    running: Running,
    state: Mutex<State>,
    /// Signalled whenever [`State`] changes.
    changed: Condvar,
}

struct State {
    queue: Queue,
    results: Vec<(usize, Done)>,
}

impl Engine<'_> {
    /// Starts as many workers as are wanted and can be started. Without any, everything has failed.
    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        wanted: usize,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let mut workers = Vec::new();
        while workers.len() < wanted {
            match threads::spawn(scope, "transfer", || self.work()) {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => {
                    let failed = || Done::failed(format!("no thread for the transfer: {error}"));
                    self.lock().end_waiting(failed);
                    break;
                }
                Err(error) => {
                    log::warn!("no more than {} transfers at once: {error}", workers.len());
                    break;
                }
            }
        }
        workers
    }

    /// One worker's life: takes jobs until there are none left.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            match state.queue.next() {
                Next::Empty => return,
                Next::Wait => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Next::Orphan(job) => {
                    let reason = "the volume above it did not arrive".to_owned();
                    state.results.push((job.index, Done::failed(reason)));
                }
                Next::Start(job) => {
                    drop(state);
                    let mut ended = Ended {
                        engine: self,
                        index: job.index,
                        done: None,
                    };
                    ended.done = Some(self.transfer(job.index));
                    drop(ended);
                    state = self.lock();
                }
            }
        }
    }

    /// One volume's transfer. A panic there fails that volume alone: what others have done is still
    /// reported and written into the ledger.
    fn transfer(&self, index: usize) -> Done {
        let (run, witnesses) = (self.run, self.witnesses);
        let transfer = || VolumeRun::carry_out(run, witnesses, index, &self.running, &self.cancel);
        catch_unwind(AssertUnwindSafe(transfer)).unwrap_or_else(|panic| {
            let reason = next!(
                "bug",
                "zbackup has a bug and stopped here: {}. Please report it, with all that stands \
                 above. Then run the same command again",
                words_of_panic(panic.as_ref())
            );
            let volume = &run.plan.volumes[index].volume;
            let failure = Some((Outcome::Failed, reason.as_str()));
            run.monitor.finished(volume, 0, 0.0, failure);
            Done::failed(reason)
        })
    }

    /// Keeps the display moving and listens for Ctrl-C until all transfers have ended.
    fn supervise(&self) {
        let run = self.run;
        let mut gauges = run.zfs.gauges();
        let mut last_look = Instant::now();
        let _until_the_end = Supervision(self);
        let mut state = self.lock();
        while !state.queue.is_done() {
            state = self
                .changed
                .wait_timeout(state, INTERVAL)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if (run.is_interrupted)() {
                self.stop(&mut state);
            }
            drop(state);
            // Not whenever a transfer ends: small transfers end before anybody could see them.
            if last_look.elapsed() >= INTERVAL {
                if self.running.report(&mut gauges, run.monitor).is_err() {
                    self.cancel.wake_senders();
                }
                last_look = Instant::now();
            }
            state = self.lock();
        }
    }

    /// Lets no more transfers begin, and tells the running ones to stop.
    fn stop(&self, state: &mut State) {
        state.end_waiting(Done::interrupted);
        self.changed.notify_all();
        self.cancel.request();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_results(self) -> Vec<(usize, Done)> {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .results
    }
}

impl State {
    /// Ends all jobs that have not begun.
    fn end_waiting(&mut self, done: impl Fn() -> Done) {
        let waiting = self.queue.drain().into_iter();
        self.results.extend(waiting.map(|job| (job.index, done())));
    }
}

/// Stops all transfers if the supervisor itself panics, since then nothing would react to Ctrl-C.
struct Supervision<'a, 'b>(&'a Engine<'b>);

impl Drop for Supervision<'_, '_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let mut state = self.0.lock();
        while !state.queue.is_done() {
            self.0.stop(&mut state);
            state = self
                .0
                .changed
                .wait_timeout(state, INTERVAL)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Tells the queue that a job is over, also if its thread panics: the others must not wait for it.
struct Ended<'a, 'b> {
    engine: &'a Engine<'b>,
    index: usize,
    done: Option<Done>,
}

impl Drop for Ended<'_, '_> {
    fn drop(&mut self) {
        let done = self
            .done
            .take()
            .unwrap_or_else(|| Done::failed("zbackup panicked".to_owned()));
        let mut report = self.engine.planned[self.index].clone();
        done.fill(&mut report);
        (self.engine.run.record)(self.index, &report);
        let mut state = self.engine.lock();
        state.queue.finished(self.index, done.has_arrived());
        state.results.push((self.index, done));
        self.engine.changed.notify_all();
    }
}
