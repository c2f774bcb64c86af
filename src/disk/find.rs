//! Which of the configured disks is plugged in, and waiting for one that is not.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::partition::{Partition, watched_directories};
use crate::config::{Config, Device};
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::terminal::{DiskPrompt, Terminal, WantedDisk};

/// How a disk is looked for.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The configuration with all disks.
    pub config: &'a Config,
    /// Only this section (`--device`).
    pub section: Option<&'a str>,
    /// How long to wait for a disk that is not plugged in (`--wait`).
    pub wait: Option<Duration>,
    /// Where a person is asked to plug it in.
    pub terminal: &'a Terminal,
    /// Ends the waiting.
    pub interrupt: &'a Interrupt,
}

/// Finds the one configured disk that is plugged in, waiting for it as long as the user wants.
///
/// On a terminal the user is asked for the disk, without a time limit unless there is one. Exit 75 where no disk came,
/// exit 2 where several are plugged in and none was named.
pub fn find<'a>(search: &Search<'a>) -> Result<(&'a Device, Partition), Error> {
    let devices = configured(search.config, search.section)?;
    let limit = match search.wait {
        None if search.terminal.can_ask() => Duration::MAX,
        wait => wait.unwrap_or_default(),
    };
    let begun = Instant::now();
    // Watching starts before the first look, so that no disk can slip in between.
    let watch = Watch::new()?;
    let mut prompt = None;
    loop {
        if let Some(found) = plugged_in(&devices)? {
            if let Some(prompt) = prompt.take() {
                DiskPrompt::found(prompt, &found.0.section);
            }
            return Ok(found);
        }
        if let Some(signal) = search.interrupt.caught() {
            return Err(no_disk(&devices, search.wait).exit(Exit::Signal(signal)));
        }
        let remaining = limit.saturating_sub(begun.elapsed());
        if remaining.is_zero() {
            return Err(no_disk(&devices, search.wait));
        }
        prompt = prompt.or_else(|| Some(search.terminal.ask_for_disk(&wanted(&devices))));
        watch.wait(search.interrupt, remaining)?;
    }
}

/// The disks that may be used: all, or the one of this section.
pub fn configured<'a>(config: &'a Config, section: Option<&str>) -> Result<Vec<&'a Device>, Error> {
    let Some(section) = section else {
        return Ok(config.devices.iter().collect());
    };
    let device = config.device(section).map_err(|error| {
        Error::new(Phase::Disk, error.to_string())
            .next("Name one of them with --device.")
            .exit(Exit::Usage)
    })?;
    Ok(vec![device])
}

fn wanted<'a>(devices: &[&'a Device]) -> Vec<WantedDisk<'a>> {
    let wanted = devices.iter().map(|device| WantedDisk {
        section: &device.section,
        partuuid: device.partuuid.as_str(),
    });
    wanted.collect()
}

fn plugged_in<'a>(devices: &[&'a Device]) -> Result<Option<(&'a Device, Partition)>, Error> {
    let mut found = Vec::new();
    for &device in devices {
        let partition = Partition::find(device).map_err(|error| {
            Error::new(
                Phase::Disk,
                format!("cannot look for {}: {error}", describe(device)),
            )
        })?;
        found.extend(partition.map(|partition| (device, partition)));
    }
    if found.len() > 1 {
        let names: Vec<_> = found
            .iter()
            .map(|(device, _)| format!("--device {:?}", device.section))
            .collect();
        return Err(Error::new(
            Phase::Disk,
            format!("{} of the configured disks are plugged in", found.len()),
        )
        .next(format!("Say which one: {}", names.join(" or ")))
        .exit(Exit::Usage));
    }
    Ok(found.pop())
}

fn describe(device: &Device) -> String {
    format!("[{}] (partition {})", device.section, device.partuuid)
}

fn no_disk(devices: &[&Device], waited: Option<Duration>) -> Error {
    let names: Vec<_> = devices.iter().map(|device| describe(device)).collect();
    let waited = waited.filter(|waited| !waited.is_zero());
    let waited = waited.map_or_else(String::new, |waited| {
        format!(" after {} s", waited.as_secs())
    });
    Error::new(
        Phase::Disk,
        format!("the disk is not plugged in{waited}: {}", names.join(", ")),
    )
    .next("Plug it in and run this command again, or add --wait SECONDS.")
    .exit(Exit::NoDisk)
}

/// Wakes up when a device node or link appears.
struct Watch(Inotify);

impl Watch {
    fn new() -> Result<Self, Error> {
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(watch_failed)?;
        let watch = Self(inotify);
        watch.cover()?;
        Ok(watch)
    }

    /// Adds the directories that exist by now; udev makes them with the first partition.
    fn cover(&self) -> Result<(), Error> {
        for directory in watched_directories() {
            let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            self.0.add_watch(directory, events).map_err(watch_failed)?;
        }
        Ok(())
    }

    fn wait(&self, interrupt: &Interrupt, limit: Duration) -> Result<(), Error> {
        // A directory may appear between `cover` and `poll`: look again at least every second.
        let limit = limit.min(Duration::from_secs(1));
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(interrupt.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(watch_failed(errno)),
        }
        // What the events say does not matter: the caller looks for itself.
        let _ = self.0.read_events();
        self.cover()
    }
}

fn watch_failed(errno: nix::errno::Errno) -> Error {
    Error::new(
        Phase::Disk,
        format!("cannot watch /dev for new disks: {errno}"),
    )
}
