//! What happens when the cable is pulled.
//!
//! ZFS suspends a pool whose disk is gone: every system call on it waits, without end and without
//! listening to signals. So a thread of its own looks at the pool's state while the disk is open.
//! It says what has happened, brings the pool back when the disk returns, and ends the program,
//! without a promise about the disk, when the user gives up.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use super::partition::Partition;
use crate::config::Device;
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::name::PoolName;
use crate::terminal::Terminal;
use crate::zfs::Libzfs;

/// How often the state is looked at: far below the ten seconds in which a user wants to know.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the watching thread works with.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The disk's pool.
    pub pool: &'a PoolName,
    /// The disk's section: its partition is looked for by its uuid, the node's name may change.
    pub device: &'a Device,
    /// Where the user is told.
    pub terminal: &'a Terminal,
    /// Whether the user gives up.
    pub interrupt: &'a Interrupt,
    /// Reports the loss and ends the process. The main thread may never return from the kernel.
    pub give_up: &'a (dyn Fn(Error) + Sync),
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
    pub fn start<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        stop: &'scope Stop,
    ) -> Watching<'scope>
    where
        'a: 'scope,
    {
        scope.spawn(move || self.run(stop));
        Watching(stop)
    }

    fn run(self, stop: &Stop) {
        let mut lost = false;
        while !stop.after(INTERVAL) {
            let suspended = is_suspended(self.pool);
            if suspended && !lost {
                self.say_lost();
            }
            if !suspended && lost {
                self.terminal.say("The disk is back: going on.");
                log::warn!("{} is back", self.pool);
            }
            lost = suspended;
            if suspended {
                self.bring_back();
                if let Some(signal) = self.interrupt.caught() {
                    (self.give_up)(self.lost_error().exit(Exit::Signal(signal)));
                }
            }
        }
    }

    fn say_lost(self) {
        log::error!(
            "the disk of [{}] does not answer any more, {} is suspended",
            self.device.section,
            self.pool
        );
        self.terminal.say(
            "The disk does not answer. Plug it in again, the same one: zbackup goes on by itself where that is \
             possible. Ctrl-C gives up.",
        );
    }

    /// A pool that lies on the partition itself goes on as soon as it is told that its device is
    /// there again. A container's mapping keeps pointing to the device that is gone.
    fn bring_back(self) {
        if self.device.encryption.is_some() || !matches!(Partition::find(self.device), Ok(Some(_)))
        {
            return;
        }
        let clear = || {
            Libzfs::open()?
                .pool(self.pool)?
                .map_or(Ok(()), |pool| pool.clear())
        };
        if let Err(error) = clear() {
            log::debug!("the pool is not back yet: {error}");
        }
    }

    fn lost_error(self) -> Error {
        let message = format!(
            "the disk of [{}] was pulled out, or failed, while its pool {} was imported",
            self.device.section, self.pool
        );
        let next = format!(
            "Its older snapshots are whole. This process ends when the disk returns, or at the next boot; \
             nothing else can use {} until then. Afterwards plug the disk in and run the same command again.",
            self.pool
        );
        Error::new(Phase::Disk, message).next(next)
    }
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
    let state: PathBuf = Path::new("/proc/spl/kstat/zfs")
        .join(pool.as_str())
        .join("state");
    std::fs::read_to_string(state).is_ok_and(|state| state.trim() == "SUSPENDED")
}
