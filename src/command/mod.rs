//! The verbs: one file each, short enough for one screen.

mod carry;
mod close;
mod forget;
mod health;
mod last_word;
mod open;
mod os;
mod panic;
mod session;
mod sides;
mod twins;
mod usb;

use openzfs::{ErrorKind, Libzfs, Lzc};

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::disk::lock::Lock;
use crate::disk::watch::{Watched, check_kernel_answers};
use crate::disk::{self, FoundDisk, find, host};
use crate::error::{Error, Exit, Phase};
use crate::interrupt::Interrupt;
use crate::next::next;
use crate::replicate::{OpenZfs, put_up_leftovers};
use crate::report::{DiskReport, HostReport, Report};
use crate::terminal::Terminal;

/// What every verb works with: the command line, and the two channels to the user.
#[derive(Clone, Copy)]
pub struct App<'a> {
    /// What was typed.
    pub cli: &'a Cli,
    /// The terminal on which people read and answer.
    pub terminal: &'a Terminal,
    /// Ctrl-C, SIGTERM, SIGHUP.
    pub interrupt: &'a Interrupt,
}

/// Runs the verb and reports what happened; the result is the process's exit status.
pub fn run(app: App) -> u8 {
    let verb = match &app.cli.command {
        Command::Usb { .. } => usb::run,
        Command::Os { .. } => os::run,
        Command::Open { .. } => open::run,
        Command::Close => close::run,
        Command::Forget { .. } => forget::run,
    };
    let mut report = Report::new(app.cli.command.name(), app.cli.options.dry_run);
    let result = app
        .terminal
        .check_verbosity()
        .and_then(|()| panic::catch(|| verb(app, &mut report)).unwrap_or_else(Err));
    report.end(result.err().as_ref());
    if let (Some(signal), true) = (app.interrupt.caught(), report.exit_code != 0) {
        report.exit_code = Exit::Signal(signal).code();
    }
    if let Err(error) = app.terminal.show_report(&report) {
        log::error!("the report could not be written: {error}");
        return report.exit_code.max(1);
    }
    report.exit_code
}

/// What a verb needs before it can look for the disk. Everything here is read-only.
struct Preparation {
    config: Config,
    lock: Lock,
    zfs: Libzfs,
    watched: Watched,
}

impl Preparation {
    /// Reads the configuration, takes the lock and opens libzfs, in this order: the cheapest checks
    /// come first, and none of them changes anything.
    fn make(app: App, report: &mut Report) -> Result<Self, Error> {
        let config = load_config(app)?;
        report.warnings.extend(config.warnings.iter().cloned());
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::new(
                Phase::Lock,
                "zbackup has to run as root: it imports pools and opens containers",
            )
            .next(next!("not-root", "Run it with sudo.")));
        }
        let lock = Lock::take()?;
        check_kernel_answers()?;
        let zfs = Libzfs::open().map_err(no_zfs)?;
        let of_mounts = OpenZfs::new(Lzc::open().map_err(no_zfs)?);
        for told in put_up_leftovers(&of_mounts, app.terminal, app.cli.options.dry_run) {
            log::warn!("{told}");
            report.warnings.push(told);
        }
        Ok(Self {
            config,
            lock,
            zfs,
            watched: Watched::default(),
        })
    }

    /// This host's section and pool.
    fn host(
        &self,
        report: &mut Report,
    ) -> Result<(&crate::config::Host, openzfs::PoolStatus), Error> {
        let pools = self
            .zfs
            .pools()
            .map_err(|error| Error::new(Phase::Host, error.to_string()))?;
        let (section, pool) = host::find(&self.config, &pools)?;
        report.host = Some(HostReport {
            section: section.section.clone(),
            pool: pool.name.clone(),
            guid: pool.guid,
            health: None,
        });
        Ok((section, pool))
    }

    /// The configured disk that is plugged in.
    fn disk<'s>(&'s self, app: App<'s>, report: &mut Report) -> Result<FoundDisk<'s>, Error> {
        let search = find::Search {
            config: &self.config,
            section: app.cli.options.device.as_deref(),
            wait: app.cli.options.wait,
            terminal: app.terminal,
            interrupt: app.interrupt,
        };
        let disk = find::find(&search)?;
        let device = disk.device;
        report.disk = Some(DiskReport {
            section: device.section.clone(),
            partuuid: device.partuuid.to_string(),
            pool: None,
            guid: None,
            encryption: device.encryption.map(|encryption| encryption.to_string()),
            health: None,
        });
        Ok(disk)
    }

    /// What opening and closing a disk works with.
    fn context<'a>(&'a self, app: App<'a>) -> disk::open::DiskContext<'a> {
        disk::open::DiskContext {
            zfs: &self.zfs,
            terminal: app.terminal,
            interrupt: app.interrupt,
            watched: &self.watched,
        }
    }
}

fn load_config(app: App) -> Result<Config, Error> {
    let load = || Config::load(&Config::find(app.cli.options.config.as_deref())?);
    load().map_err(|error| Error::new(Phase::Config, &error).exit(Exit::Usage))
}

fn no_zfs(error: openzfs::Error) -> Error {
    let next = match error.kind {
        ErrorKind::NoDevice => next!(
            "no-zfs-module",
            "Load the ZFS module (modprobe zfs), then run this command again."
        ),
        _ => next!(
            "zfs-versions",
            "Check that the ZFS module and its user programs have the same version (zfs version)."
        ),
    };
    Error::new(Phase::Host, error.to_string()).next(next)
}
