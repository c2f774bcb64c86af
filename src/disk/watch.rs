//! What happens when the cable is pulled.
//!
//! ZFS suspends a pool whose disk is gone: every system call on it waits, for ever and whatever
//! signals come. So another thread watches the pool's state while the disk is open. It tells what
//! has happened, resumes the pool when the disk returns, and ends the program, without a promise
//! about the disk, if the user gives up.
//!
//! Whether a pool can be resumed depends on timing in the kernel. If it noticed the failed writes
//! and probed the device before it learned that the device was gone, `zpool_clear` opens the new
//! one. Otherwise OpenZFS 2.1 has marked the device for removal, which it does at the end of a
//! transaction group that cannot end without the device: then only a reboot helps.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use openzfs::{Libzfs, PoolName};

use super::find::FoundDisk;
use super::partition::Partition;
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::next::next;
use crate::system::threads;
use crate::terminal::Terminal;

/// The directory in which the kernel tells about its pools.
const KSTATS: &str = "/proc/spl/kstat/zfs";

/// How often the state is checked: far below the ten seconds in which a user wants to know.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a pool may take to notice that its disk is back, and how long nothing may reach the disk
/// while its pool is exported.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much longer to wait for a stuck export if a signal came before: the signal asked for the disk
/// to be closed, not to be left as it is.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// All that helps if the kernel does not release a disk.
fn restart() -> String {
    next!(
        "restart",
        "Its older snapshots are whole. Restart this machine, then run the same command again."
    )
}

/// The disk's pool, as long as something of it is imported: from right before the import until
/// after the export. Before and after that nothing can wait for the disk for ever.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Option<Open>>);

#[derive(Debug, Clone)]
struct Open {
    pool: PoolName,
    /// It is only being exported.
    is_exporting: bool,
}

impl Watched {
    /// Notes that the pool is being imported, or is imported.
    pub fn begin(&self, pool: &PoolName) {
        *self.lock() = Some(Open {
            pool: pool.clone(),
            is_exporting: false,
        });
    }

    /// Notes that it is being exported: the disk is busy until that is done.
    pub fn begin_export(&self, pool: &PoolName) {
        *self.lock() = Some(Open {
            pool: pool.clone(),
            is_exporting: true,
        });
    }

    /// Notes that it is no longer imported.
    pub fn end(&self) {
        *self.lock() = None;
    }

    fn open(&self) -> Option<Open> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a pool that was told that its device is back may take before it is told again. A call
/// that comes too early never returns, but a later one can succeed.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What the watching thread needs.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The disk's pool.
    pub watched: &'a Watched,
    /// The disk. Its partition is found by its uuid: the node's name may change.
    pub disk: &'a FoundDisk<'a>,
    /// The terminal on which the user is told.
    pub terminal: &'a Terminal,
    /// Whether the user gives up.
    pub interrupt: &'a Interrupt,
    /// Reports the loss and ends the process. The main thread may never return from the kernel.
    pub give_up: &'a (dyn Fn(Error) + Sync),
}

/// How a disk does not answer.
#[derive(Debug)]
enum Loss {
    /// It is absent.
    Gone,
    /// It is back.
    Back(Back),
    /// It is present, but its export does not reach it.
    Stuck {
        /// Until then an earlier signal does not end the waiting.
        patient_until: Instant,
    },
}

/// A disk that is back, and how its pool reacts.
#[derive(Debug)]
struct Back {
    since: Instant,
    /// The call that tells the pool so, and when it was made.
    clearing: Option<(Receiver<Result<(), openzfs::Error>>, Instant)>,
    /// That call has succeeded. The pool may be suspended again as soon as it resumes the waiting writes.
    is_cleared: bool,
    /// The user was told that this takes too long.
    is_told: bool,
}

/// Ends the watching when it is dropped.
#[derive(Debug)]
pub struct Watching<'a>(&'a Stop);

/// Tells the thread to stop.
#[derive(Debug, Default)]
pub struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self
            .0
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Watch<'a> {
    /// Watches until the result is dropped.
    ///
    /// # Errors
    /// If no thread can be started: a disk is not opened unwatched.
    pub fn start<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        stop: &'scope Stop,
    ) -> Result<Watching<'scope>, Error>
    where
        'a: 'scope,
    {
        let started = threads::spawn(scope, "watch", move || self.run(stop));
        started.map_err(|error| {
            no_thread(Phase::Disk, "for the watch over the disk's cable", &error)
        })?;
        Ok(Watching(stop))
    }

    fn run(self, stop: &Stop) {
        let mut loss: Option<Loss> = None;
        let mut activity = Activity::default();
        while !stop.after(INTERVAL) {
            let Some(open) = self.watched.open() else {
                (loss, activity) = (None, Activity::default());
                continue;
            };
            let pool = &open.pool;
            let is_stuck = open.is_exporting && !activity.goes_on(&self.disk.partition.again());
            loss = match loss {
                None if self.is_lost(pool) => {
                    self.say_lost(pool);
                    Some(Loss::Gone)
                }
                None if is_stuck => Some(self.say_stuck(pool)),
                Some(loss @ Loss::Stuck { .. }) => is_stuck.then_some(loss),
                Some(loss) => self.bring_back(pool, loss),
                None => None,
            };
            // What waited for the disk may be over by now.
            if let Some(loss) = &loss
                && self.watched.open().is_some()
            {
                self.give_up_in_time(pool, loss);
            }
        }
    }

    /// Ends the process if the user wants that, or if nothing else is left.
    fn give_up_in_time(self, pool: &PoolName, loss: &Loss) {
        let is_patient =
            matches!(loss, Loss::Stuck { patient_until } if Instant::now() < *patient_until);
        match self.interrupt.caught() {
            Some(signal) if !is_patient => {
                (self.give_up)(self.lost_error(pool, loss).exit(Exit::Signal(signal)));
            }
            None if self.is_beyond_return() => (self.give_up)(self.lost_error(pool, loss)),
            _ => {}
        }
    }

    /// Resumes the pool by telling it that its device is back. `None` once that is done.
    fn bring_back(self, pool: &PoolName, loss: Loss) -> Option<Loss> {
        if !matches!(Partition::find(self.disk.device), Ok(Some(_))) {
            return Some(Loss::Gone);
        }
        let mut back = match loss {
            Loss::Back(back) => back,
            Loss::Gone | Loss::Stuck { .. } => Back {
                since: Instant::now(),
                clearing: None,
                is_cleared: false,
                is_told: false,
            },
        };
        if back.goes_on(pool) {
            self.terminal.say("The disk is back: going on.");
            log::warn!("{pool} is back");
            return None;
        }
        if back.since.elapsed() < PATIENCE {
            back.tell(pool);
        } else if !back.is_told {
            back.is_told = true;
            self.terminal.say(&next!(
                "back-in-vain",
                "The disk is back, but the kernel does not let go of the old one. Press Ctrl-C, \
                 restart this machine, and run the same command again."
            ));
        }
        Some(Loss::Back(back))
    }

    /// True if the pool is suspended, or if the kernel no longer has the disk: the pool may not
    /// notice until something is written to it.
    fn is_lost(self, pool: &PoolName) -> bool {
        is_suspended(pool) || (kstat(pool).is_dir() && !self.is_there())
    }

    fn is_there(self) -> bool {
        self.disk.partition.is_there() || self.disk.partition.again().is_there()
    }

    /// True if the disk cannot be resumed: a container's mapping keeps pointing to the old device,
    /// wherever the disk returns.
    fn is_beyond_return(self) -> bool {
        self.disk.device.encryption.is_some() && !self.disk.partition.is_there()
    }

    fn say_lost(self, pool: &PoolName) {
        log::error!(
            "the disk of [{}] does not answer any more, and with it the pool {pool}",
            self.disk.device.section
        );
        if !self.is_beyond_return() {
            self.terminal.say(
                &next!("pulled-waiting", "The disk does not answer. Plug it in again, the same one: zbackup goes on by itself where that is \
                 possible. Ctrl-C gives up."),
            );
        }
    }

    fn say_stuck(self, pool: &PoolName) -> Loss {
        log::error!(
            "nothing has reached the disk of [{}] for {} s, and the export of {pool} waits for it",
            self.disk.device.section,
            PATIENCE.as_secs()
        );
        let (patience, wait) = match self.interrupt.caught() {
            None => (Duration::ZERO, "Wait, or press Ctrl-C,".to_owned()),
            Some(_) => (
                LAST_PATIENCE,
                format!("Wait {} s more; then", LAST_PATIENCE.as_secs()),
            ),
        };
        self.terminal.say(&next!(
"export-stuck",
"The kernel may still hold on to a disk that was pulled out before. {wait} restart this \
             machine, and run the same command again.",
        ));
        Loss::Stuck {
            patient_until: Instant::now() + patience,
        }
    }

    fn lost_error(self, pool: &PoolName, loss: &Loss) -> Error {
        let section = &self.disk.device.section;
        if matches!(loss, Loss::Stuck { .. }) {
            let message =
                format!("{pool} cannot be exported: nothing reaches the disk of [{section}]");
            return Error::new(Phase::Close, message).next(restart());
        }
        let message = format!(
            "the disk of [{section}] was pulled out, or failed, while its pool {pool} was imported"
        );
        let next = match self.disk.device.encryption {
            None if matches!(loss, Loss::Back(back) if back.is_told) => {
                restart()
            }
            None => next!("pulled", "Its older snapshots are whole. Plug the same disk in, then: zbackup close. Where that does not \
                 help, restart this machine. Afterwards run the same command again.")
                .to_owned(),
            Some(_) => next!(
"pulled-locked",
"Its older snapshots are whole. Restart this machine: the kernel keeps what was unlocked, and \
                 nothing can use {pool} until then. Afterwards plug the disk in and run the same command again."
            ),
        };
        Error::new(Phase::Disk, message).next(next)
    }
}

/// How much the kernel has read and written on a disk, to see whether it still does anything.
#[derive(Debug, Default)]
struct Activity(Option<(String, Instant)>);

impl Activity {
    /// False if nothing has been read or written for too long.
    fn goes_on(&mut self, partition: &Partition) -> bool {
        let now = partition.counters();
        match &self.0 {
            Some((before, since)) if *before == now => since.elapsed() < PATIENCE,
            _ => {
                self.0 = Some((now, Instant::now()));
                true
            }
        }
    }
}

impl Back {
    /// True if the pool has been told and works again, at two checks in a row.
    fn goes_on(&mut self, pool: &PoolName) -> bool {
        if self.is_cleared {
            self.is_cleared = !is_suspended(pool);
            return self.is_cleared;
        }
        let Some((answer, _)) = &self.clearing else {
            return false;
        };
        let Ok(result) = answer.try_recv() else {
            return false;
        };
        self.is_cleared = result.is_ok() && !is_suspended(pool);
        if !self.is_cleared {
            log::debug!("the pool is not back yet: {result:?}");
        }
        self.clearing = None;
        false
    }

    /// Tells the pool that its device is back. While a pool is not suspended yet, the call would
    /// wait as well; an unused pool does not notice the loss, and is told anyway.
    fn tell(&mut self, pool: &PoolName) {
        if self.is_cleared {
            return;
        }
        let waits = is_suspended(pool);
        let is_time = match &self.clearing {
            None => waits || self.since.elapsed() > ANSWER_TIME,
            Some((_, told)) => waits && told.elapsed() > ANSWER_TIME,
        };
        if is_time {
            self.clearing = Some((clear(pool.clone()), Instant::now()));
        }
    }
}

/// Resumes a pool that waits for its disk, if the disk is back. False if it does not resume in time,
/// or the user gives up.
pub fn wake_up(pool: &PoolName, interrupt: &Interrupt) -> bool {
    let begun = Instant::now();
    while interrupt.caught().is_none() && begun.elapsed() < PATIENCE {
        let answer = clear(pool.clone()).recv_timeout(ANSWER_TIME);
        if !is_suspended(pool) {
            return true;
        }
        log::debug!("{pool} is not back yet: {answer:?}");
        if !matches!(answer, Err(RecvTimeoutError::Timeout)) {
            thread::sleep(INTERVAL);
        }
    }
    false
}

/// Fails if the kernel answers no question about pools, because one of them waits for a disk that
/// was pulled out during an export. Whoever asks would wait for ever.
pub fn check_kernel_answers() -> Result<(), Error> {
    let pools = std::fs::read_dir(KSTATS).into_iter().flatten().flatten();
    let waiting = pools
        .filter_map(|pool| PoolName::new(&pool.file_name().to_string_lossy()).ok())
        .find(is_suspended);
    let Some(pool) = waiting else {
        return Ok(());
    };
    let (sender, answer) = mpsc::channel();
    let asked = threads::spawn_alone("ask", move || {
        let listed = Libzfs::open().and_then(|zfs| zfs.pools());
        // The receiver may have given up.
        let _ = sender.send(listed.is_ok());
    });
    asked.map_err(|error| no_thread(Phase::Host, "to ask the kernel for its pools", &error))?;
    if answer.recv_timeout(PATIENCE).is_ok() {
        return Ok(());
    }
    let message = format!(
        "{pool} waits for its disk, which was pulled out, and all of ZFS with it: the kernel does not answer"
    );
    Err(Error::new(Phase::Host, message).next(next!(
        "kernel-stuck",
        "Restart this machine, then run this command again. The disk's older snapshots are whole."
    )))
}

/// Tells the pool that its device is back. The call waits for ever if the kernel still writes to the old
/// device, so it has a thread that nothing waits for. If no thread can be started, no answer comes.
fn clear(pool: PoolName) -> Receiver<Result<(), openzfs::Error>> {
    let (sender, answer) = mpsc::channel();
    let told = threads::spawn_alone("clear", move || {
        let clear = || {
            Libzfs::open()?
                .pool(&pool)?
                .map_or(Ok(()), |pool| pool.clear())
        };
        // The receiver may have given up.
        let _ = sender.send(clear());
    });
    if let Err(error) = told {
        log::warn!("no thread to tell the pool that its disk is back: {error}");
    }
    answer
}

fn no_thread(phase: Phase, what_for: &str, error: &std::io::Error) -> Error {
    Error::new(phase, format!("no thread {what_for}: {error}")).next(next!(
        "no-thread",
        "See what uses up the system's threads or memory, then run this command again."
    ))
}

impl Stop {
    /// Waits; true if it is time to stop.
    fn after(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self
            .changed
            .wait_timeout_while(stopped, time, |stopped| !*stopped);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// True if the kernel says that the pool is suspended, which it tells without waiting for the disk.
pub fn is_suspended(pool: &PoolName) -> bool {
    std::fs::read_to_string(kstat(pool).join("state"))
        .is_ok_and(|state| state.trim() == "SUSPENDED")
}

/// The directory with what the kernel tells about an imported pool.
fn kstat(pool: &PoolName) -> PathBuf {
    Path::new(KSTATS).join(pool.as_str())
}
