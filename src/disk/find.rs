//! Which of the configured disks is plugged in, and waiting for one that is not.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::partition::{Partition, watched_directories};
use crate::config::{Config, Device};
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::next::next;
use crate::terminal::{DiskPrompt, Terminal, WantedDisk};
use crate::text::shell_word;

/// How a disk is looked for.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The configuration with all disks.
    pub config: &'a Config,
    /// Only this section (`--device`).
    pub section: Option<&'a str>,
    /// How long to wait for a disk that is not plugged in (`--wait`).
    pub wait: Option<Duration>,
    /// The terminal on which the user is asked to plug it in.
    pub terminal: &'a Terminal,
    /// Ends the waiting.
    pub interrupt: &'a Interrupt,
}

/// A disk that is plugged in, but not unlocked or imported yet.
#[derive(Debug, Clone)]
pub struct FoundDisk<'a> {
    /// Its section of the configuration.
    pub device: &'a Device,
    /// Its partition, found by its uuid.
    pub partition: Partition,
}

/// Finds the one configured disk that is plugged in, waiting for it as long as the user wants.
///
/// On a terminal the user is asked for the disk, without a time limit unless one was given. Exit 75 if no
/// disk came, exit 2 if several are plugged in and none was named.
pub fn find<'a>(search: &Search<'a>) -> Result<FoundDisk<'a>, Error> {
    let devices = configured(search.config, search.section)?;
    let limit = match search.wait {
        None if search.terminal.is_watched() => Duration::MAX,
        wait => wait.unwrap_or_default(),
    };
    let begun = Instant::now();
    // Watching starts before the first look, so that no disk can be missed in between.
    let watch = Watch::new();
    let mut prompt = None;
    loop {
        if let Some(found) = plugged_in(&devices)? {
            if let Some(prompt) = prompt.take() {
                DiskPrompt::found(prompt, &found.device.section);
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
        Error::new(Phase::Disk, &error)
            .next(next!("no-such-device", "Name one of them with --device."))
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

fn plugged_in<'a>(devices: &[&'a Device]) -> Result<Option<FoundDisk<'a>>, Error> {
    let mut found = Vec::new();
    for &device in devices {
        let partition = Partition::find(device).map_err(|error| {
            Error::new(
                Phase::Disk,
                format!("cannot look for {}: {error}", describe(device)),
            )
        })?;
        found.extend(partition.map(|partition| FoundDisk { device, partition }));
    }
    if found.len() > 1 {
        let names: Vec<_> = found
            .iter()
            .map(|disk| {
                next!(
                    "several-disks",
                    "--device {}",
                    shell_word(&disk.device.section)
                )
            })
            .collect();
        return Err(Error::new(
            Phase::Disk,
            format!("{} of the configured disks are plugged in", found.len()),
        )
        .next(next!(
            "several-disks",
            "Say which one: {}",
            names.join(" or ")
        ))
        .exit(Exit::Usage));
    }
    found.pop().map(alone).transpose()
}

/// Refuses a disk while a copy of it, which has its partition's uuid, is plugged in too: only a
/// person can tell which of the two is meant.
fn alone(disk: FoundDisk) -> Result<FoundDisk, Error> {
    let namesakes = disk.partition.namesakes();
    if namesakes.is_empty() {
        return Ok(disk);
    }
    let nodes = std::iter::once(&disk.partition.path).chain(&namesakes);
    let nodes: Vec<_> = nodes.map(|node| node.display().to_string()).collect();
    let message = format!(
        "{} is plugged in more than once, as {}: these disks are copies of each other",
        describe(disk.device),
        nodes.join(" and ")
    );
    Err(Error::new(Phase::Disk, message).next(next!(
        "same-partition-twice",
        "Unplug all but the one that is meant, then run this command again."
    )))
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
    .next(next!(
        "no-disk",
        "Plug it in and run this command again, or add --wait SECONDS."
    ))
    .exit(Exit::NoDisk)
}

/// Wakes up when a device node or link appears. If the kernel has no watch left (other programs can use up
/// all of them), it wakes up every second.
struct Watch(Option<Inotify>);

impl Watch {
    fn new() -> Self {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let watch = Self(watch.map_err(no_watch).ok());
        watch.cover();
        watch
    }

    /// Watches the directories that exist by now; udev makes them with the first partition.
    fn cover(&self) {
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        if let Some(inotify) = &self.0 {
            for directory in watched_directories() {
                if let Err(errno) = inotify.add_watch(directory, events) {
                    no_watch(errno);
                }
            }
        }
    }

    fn wait(&self, interrupt: &Interrupt, limit: Duration) -> Result<(), Error> {
        // A directory may appear between `cover` and `poll`: look again at least every second.
        let limit = limit.min(Duration::from_secs(1));
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(interrupt.as_fd(), PollFlags::POLLIN)];
        let inotify = self.0.iter();
        fds.extend(inotify.map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                let message = format!("cannot wait for a disk: {errno}");
                return Err(Error::new(Phase::Disk, message));
            }
        }
        // The content of the events does not matter: the caller looks again.
        if let Some(inotify) = &self.0 {
            let _ = inotify.read_events();
        }
        self.cover();
        Ok(())
    }
}

fn no_watch(errno: nix::errno::Errno) {
    log::info!("new disks cannot be watched for ({errno}): looking every second instead");
}
