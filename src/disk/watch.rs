//! What happens when the cable is pulled.
//!
//! ZFS suspends a pool whose disk is gone: every system call on it waits, without end and without
//! listening to signals. So a thread of its own looks at the pool's state while the disk is open.
//! It says what has happened, brings the pool back when the disk returns, and ends the program,
//! without a promise about the disk, when the user gives up.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::partition::Partition;
use crate::config::Device;
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::name::PoolName;
use crate::terminal::Terminal;
use crate::threads;
use crate::zfs::{self, Libzfs};

/// Where the kernel tells of its pools.
const KSTATS: &str = "/proc/spl/kstat/zfs";

/// How often the state is looked at: far below the ten seconds in which a user wants to know.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a pool may take to notice that its disk is back.
const PATIENCE: Duration = Duration::from_secs(20);

/// The disk's pool, as long as something of it is imported: from right before the import until
/// after the export. Before and after that nothing can wait for the disk without end.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Option<PoolName>>);

impl Watched {
    /// The pool is being imported, or is imported.
    pub fn begin(&self, pool: &PoolName) {
        *self.lock() = Some(pool.clone());
    }

    /// It is not any more.
    pub fn end(&self) {
        *self.lock() = None;
    }

    fn pool(&self) -> Option<PoolName> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<PoolName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a pool that was told so may take before it is told again. A call that came too early
/// never returns, but a later one can get through.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What the watching thread works with.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The disk's pool.
    pub watched: &'a Watched,
    /// The partition that the disk was found by.
    pub partition: &'a Partition,
    /// The disk's section: its partition is looked for by its uuid, the node's name may change.
    pub device: &'a Device,
    /// Where the user is told.
    pub terminal: &'a Terminal,
    /// Whether the user gives up.
    pub interrupt: &'a Interrupt,
    /// Reports the loss and ends the process. The main thread may never return from the kernel.
    pub give_up: &'a (dyn Fn(Error) + Sync),
}

/// How far a disk that was lost has come back.
#[derive(Debug)]
enum Loss {
    /// It is not there, or it is back and the pool has not been told.
    Gone { back_since: Option<Instant> },
    /// It is there, and the pool was told so.
    Clearing(Clearing),
}

/// A pool that was told that its disk is back.
#[derive(Debug)]
struct Clearing {
    answer: Receiver<Result<(), zfs::Error>>,
    /// When it was told last.
    told: Instant,
    since: Instant,
    /// The user knows that this takes too long.
    is_told: bool,
}

/// Ends the watching when dropped.
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
    /// Where there is no thread to be had: a disk is not opened unwatched.
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
            let message = format!("no thread for the watch over the disk's cable: {error}");
            Error::new(Phase::Disk, message).next(
                "Look what uses up the system's threads or memory, then run this command again.",
            )
        })?;
        Ok(Watching(stop))
    }

    fn run(self, stop: &Stop) {
        let mut loss: Option<Loss> = None;
        while !stop.after(INTERVAL) {
            let Some(pool) = self.watched.pool() else {
                loss = None;
                continue;
            };
            loss = match loss {
                None if self.is_lost(&pool) => {
                    self.say_lost(&pool);
                    Some(Loss::Gone { back_since: None })
                }
                Some(loss) => self.bring_back(&pool, loss),
                None => None,
            };
            if loss.is_none() {
                continue;
            }
            if let Some(signal) = self.interrupt.caught() {
                (self.give_up)(self.lost_error(&pool).exit(Exit::Signal(signal)));
            } else if self.is_beyond_return() {
                (self.give_up)(self.lost_error(&pool));
            }
        }
    }

    /// The pool goes on when it is told that its device is there again. `None` once it is over.
    fn bring_back(self, pool: &PoolName, loss: Loss) -> Option<Loss> {
        let mut clearing = match loss {
            Loss::Gone { back_since } => return Some(self.await_return(pool, back_since)),
            Loss::Clearing(clearing) => clearing,
        };
        if clearing.told.elapsed() > ANSWER_TIME && is_suspended(pool) {
            clearing.answer = clear(pool.clone());
            clearing.told = Instant::now();
        }
        match clearing.answer.try_recv() {
            Ok(Ok(())) if !is_suspended(pool) => {
                self.terminal.say("The disk is back: going on.");
                log::warn!("{pool} is back");
                return None;
            }
            Ok(result) => {
                log::debug!("the pool is not back yet: {result:?}");
                return Some(Loss::Gone { back_since: None });
            }
            Err(_) => {}
        }
        if clearing.since.elapsed() > PATIENCE && !clearing.is_told {
            clearing.is_told = true;
            self.terminal.say(
                "The disk is back, but the kernel does not let go of the old one. Press Ctrl-C, \
                 restart this machine, and run the same command again.",
            );
        }
        Some(Loss::Clearing(clearing))
    }

    /// Tells the pool once its device is there. A pool that is only about to wait would let the call
    /// wait as well; one that nobody uses does not notice, and is told all the same.
    fn await_return(self, pool: &PoolName, back_since: Option<Instant>) -> Loss {
        if !matches!(Partition::find(self.device), Ok(Some(_))) {
            return Loss::Gone { back_since: None };
        }
        let now = Instant::now();
        let back_since = back_since.unwrap_or(now);
        if !is_suspended(pool) && back_since.elapsed() < ANSWER_TIME {
            return Loss::Gone {
                back_since: Some(back_since),
            };
        }
        Loss::Clearing(Clearing {
            answer: clear(pool.clone()),
            told: now,
            since: now,
            is_told: false,
        })
    }

    /// The pool says so, or the kernel has no such disk any more: until something is written to it
    /// the pool may not have noticed.
    fn is_lost(self, pool: &PoolName) -> bool {
        is_suspended(pool) || (kstat(pool).is_dir() && !self.is_there())
    }

    fn is_there(self) -> bool {
        self.partition.is_there() || self.partition.again().is_there()
    }

    /// A container's mapping keeps pointing to the device that is gone, wherever the disk returns.
    fn is_beyond_return(self) -> bool {
        self.device.encryption.is_some() && !self.partition.is_there()
    }

    fn say_lost(self, pool: &PoolName) {
        log::error!(
            "the disk of [{}] does not answer any more, and with it the pool {pool}",
            self.device.section
        );
        if !self.is_beyond_return() {
            self.terminal.say(
                "The disk does not answer. Plug it in again, the same one: zbackup goes on by itself where that is \
                 possible. Ctrl-C gives up.",
            );
        }
    }

    fn lost_error(self, pool: &PoolName) -> Error {
        let message = format!(
            "the disk of [{}] was pulled out, or failed, while its pool {pool} was imported",
            self.device.section
        );
        let next = match self.device.encryption {
            None => "Its older snapshots are whole. Plug the same disk in, then: zbackup close. Where that does not \
                 help, restart this machine. Afterwards run the same command again."
                .to_owned(),
            Some(_) => format!(
                "Its older snapshots are whole. Restart this machine: the kernel keeps what was unlocked, and \
                 nothing can use {pool} until then. Afterwards plug the disk in and run the same command again."
            ),
        };
        Error::new(Phase::Disk, message).next(next)
    }
}

/// Brings back a pool that waits for its disk, where the disk is there again. False where it does not
/// come back in time, or the user gives up.
pub fn wake_up(pool: &PoolName, interrupt: &Interrupt) -> bool {
    let begun = Instant::now();
    while interrupt.caught().is_none() && begun.elapsed() < PATIENCE {
        let answer = clear(pool.clone()).recv_timeout(ANSWER_TIME);
        if !is_suspended(pool) {
            return true;
        }
        log::debug!("{pool} is not back yet: {answer:?}");
        if answer.is_ok() {
            thread::sleep(INTERVAL);
        }
    }
    false
}

/// Fails where the kernel answers no question about pools, because one of them waits for a disk that
/// was pulled out while it was being exported. Whoever asks then waits for ever.
pub fn check_kernel_answers() -> Result<(), Error> {
    let pools = std::fs::read_dir(KSTATS).into_iter().flatten().flatten();
    let waiting = pools
        .filter_map(|pool| PoolName::new(&pool.file_name().to_string_lossy()).ok())
        .find(is_suspended);
    let Some(pool) = waiting else {
        return Ok(());
    };
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let listed = Libzfs::open().and_then(|zfs| zfs.pools());
        // Whoever asked may have given up.
        let _ = sender.send(listed.is_ok());
    });
    if answer.recv_timeout(PATIENCE).is_ok() {
        return Ok(());
    }
    let message = format!(
        "{pool} waits for its disk, which was pulled out, and all of ZFS with it: the kernel does not answer"
    );
    Err(Error::new(Phase::Host, message).next(
        "Restart this machine, then run this command again. The disk's older snapshots are whole.",
    ))
}

/// Tells the pool that its device is there again. The call waits without end where the kernel still
/// writes to the old one, so it has a thread that nobody waits for.
fn clear(pool: PoolName) -> Receiver<Result<(), zfs::Error>> {
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let clear = || {
            Libzfs::open()?
                .pool(&pool)?
                .map_or(Ok(()), |pool| pool.clear())
        };
        // Whoever asked may have given up.
        let _ = sender.send(clear());
    });
    answer
}

impl Stop {
    /// Waits; true where it is time to stop.
    fn after(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self
            .changed
            .wait_timeout_while(stopped, time, |stopped| !*stopped);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The kernel's own word for the pool's state, which it tells without waiting for the disk.
pub fn is_suspended(pool: &PoolName) -> bool {
    std::fs::read_to_string(kstat(pool).join("state"))
        .is_ok_and(|state| state.trim() == "SUSPENDED")
}

/// What the kernel tells of an imported pool.
fn kstat(pool: &PoolName) -> PathBuf {
    Path::new(KSTATS).join(pool.as_str())
}
