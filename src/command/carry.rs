//! From an open disk to volumes that are the same on both sides, in either direction.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use openzfs::{Libzfs, Lzc, PoolStatus, SnapshotName};

use super::health::{self, Patients};
use super::last_word::LastWord;
use super::session::{After, with_disk};
use super::sides::{Inventory, Sides};
use super::{App, Preparation, twins};
use crate::cli::ConflictOptions;
use crate::config::{Config, Device, Host};
use crate::disk::{Imported, find};
use crate::error::{Error, Phase};
use crate::inventory::probe::Probe;
use crate::model::Side;
use crate::model::VolumePath;
use crate::next::next;
use crate::plan::{Direction, Plan, Policy, Stamp, VolumePlan};
use crate::planning;
use crate::replicate::{DiskIdentity, OpenZfs, Replication};
use crate::report::{self, DiskReport, HostReport, PlanView, Report};
use crate::system::threads;

/// What the user wants of `usb` or `os`.
#[derive(Clone, Copy)]
pub(super) struct RunRequest<'a> {
    /// Which of the two verbs.
    pub direction: Direction,
    /// Volumes named on the command line; none means all.
    pub requested: &'a [VolumePath],
    /// Which volumes `--force` and `--keep-both` name.
    pub conflict_options: &'a ConflictOptions,
    /// Leave the disk open at the end.
    pub keep_open: bool,
}

/// Runs `usb` or `os`, from reading the configuration to the closed disk.
pub(super) fn carry(app: App, request: RunRequest, report: &mut Report) -> Result<(), Error> {
    let prepared = Preparation::make(app, report)?;
    let (host, host_pool) = prepared.host(report)?;
    let carry = |device| Carry {
        app,
        config: &prepared.config,
        zfs: &prepared.zfs,
        request,
        host,
        host_pool: &host_pool,
        device,
    };
    // A disk can have volumes of its own. What no disk takes is known before a disk is found.
    let disks = find::configured(&prepared.config, app.cli.options.device.as_deref())?;
    let checks = disks.iter().map(|disk| carry(disk).sides().check_request());
    if let Some(refused) = first_where_all_fail(checks) {
        return Err(refused);
    }
    let found = prepared.disk(app, report)?;
    let carry = carry(found.device);
    let sides = carry.sides();
    sides.check_request()?;
    thread::scope(|scope| {
        let reading = Cell::new(None);
        with_disk(
            app,
            &prepared,
            &found,
            app.cli.options.dry_run,
            report,
            &|disk| reading.set(threads::spawn(scope, "host", move || sides.read_host(disk)).ok()),
            |disk, report, last_word| {
                // If there was no thread for it, the host is read now.
                let host = match reading.take().map(ScopedJoinHandle::join) {
                    Some(read) => read.unwrap_or_else(|panic| resume_unwind(panic)),
                    None => sides.read_host(disk.guid()),
                }?;
                match host.not_covered {
                    Ok(names) => report.not_covered = names,
                    Err(warning) => report.warnings.push(warning),
                }
                carry.run(sides, host.side, disk, (report, last_word))?;
                if !request.keep_open {
                    return Ok(After::Close);
                }
                super::open::mount(app, &prepared.zfs, found.device, disk, false, report)?;
                Ok(After::KeepOpen)
            },
        )
    })
}

/// A replication between this host and an open disk.
struct Carry<'a> {
    app: App<'a>,
    config: &'a Config,
    zfs: &'a Libzfs,
    request: RunRequest<'a>,
    host: &'a Host,
    host_pool: &'a PoolStatus,
    device: &'a Device,
}

impl<'a> Carry<'a> {
    /// What is needed to read both sides.
    fn sides(&self) -> Sides<'a> {
        let keep = self.keep();
        Sides {
            request: self.request,
            config: self.config,
            host: self.host,
            host_pool: self.host_pool,
            device: self.device,
            selection: self
                .device
                .selection
                .as_ref()
                .unwrap_or(&self.host.selection),
            whole: keep.0.is_some() || keep.1.is_some(),
        }
    }

    /// Inventory, plan, table, and then, unless this is a dry run, the replication.
    fn run(
        &self,
        sides: Sides,
        host: Side,
        disk: &Imported,
        (report, last_word): (&mut Report, &LastWord),
    ) -> Result<(), Error> {
        self.stop_if_interrupted()?;
        let lzc = Lzc::open().map_err(|error| Error::new(Phase::Inventory, error.to_string()))?;
        let Inventory {
            source,
            mut target,
            volumes,
            target_scope,
        } = sides.complete(self.zfs, host, disk)?;
        let (on_host, on_disk) = match self.request.direction {
            Direction::ToDisk => (&source, &target),
            Direction::ToHost => (&target, &source),
        };
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let hostname = hostname.to_string_lossy();
        twins::tell(self.device, on_host, on_disk, &hostname, report);
        let patients = self.patients(disk);
        let mut told = Vec::new();
        patients.tell(report, &mut told);
        let (side, keep) = match self.request.direction {
            Direction::ToDisk => (&target, self.keep().1),
            Direction::ToHost => (&source, self.keep().0),
        };
        if keep.is_some() {
            health::tell_of_unmanaged(side, &volumes, report);
        }
        let policy = self.policy(volumes, self.keep());
        let probe = Probe {
            zfs: self.zfs,
            lzc,
            target_scope: &target_scope,
        };
        let try_anyway = self.request.conflict_options.try_anyway;
        let plan = planning::prepare(&policy, &source, &mut target, &probe, try_anyway);
        let plan = plan.map_err(|error| Error::new(Phase::Inventory, error.to_string()))?;
        self.show(&plan, &target, report)?;
        report.volumes = report::from_plan(&plan);
        report
            .warnings
            .extend(plan.volumes.iter().filter_map(VolumePlan::notice));
        self.stop_if_interrupted()?;
        if self.app.cli.options.dry_run {
            report.pruned = planned_pruning(&plan);
            return Ok(());
        }
        last_word.update(report);
        self.replicate(&plan, (&source, &target), lzc, report, last_word)?;
        self.stop_if_interrupted()?;
        // The errors that reading and writing have found.
        patients.tell(report, &mut told);
        Ok(())
    }

    fn patients<'p>(&'p self, disk: &'p Imported) -> Patients<'p> {
        Patients {
            zfs: self.zfs,
            device: self.device,
            disk_pool: disk.pool(),
            host: Some((self.host, &self.host_pool.name)),
        }
    }

    /// How many managed snapshots to keep on the source and on the target.
    fn keep(&self) -> (Option<NonZeroUsize>, Option<NonZeroUsize>) {
        let typed = self.app.cli.options.save_last_snapshots;
        let host = typed.or(self.host.keep_last);
        let disk = typed.or(self.device.keep_last);
        match self.request.direction {
            Direction::ToDisk => (host, disk),
            Direction::ToHost => (disk, host),
        }
    }

    fn policy(
        &self,
        volumes: Vec<VolumePath>,
        keep: (Option<NonZeroUsize>, Option<NonZeroUsize>),
    ) -> Policy {
        let now = jiff::Zoned::now();
        Policy {
            direction: self.request.direction,
            volumes,
            now: Stamp {
                date: now.strftime("%Y-%m-%d").to_string(),
                time: now.strftime("%H%M%S").to_string(),
            },
            taken_names: BTreeSet::new(),
            intermediate: self.host.intermediate,
            force: self
                .request
                .conflict_options
                .force
                .iter()
                .cloned()
                .collect(),
            keep_both: self
                .request
                .conflict_options
                .keep_both
                .iter()
                .cloned()
                .collect(),
            follow_rename: self
                .request
                .conflict_options
                .follow_rename
                .iter()
                .cloned()
                .collect(),
            source_keep: keep.0,
            target_keep: keep.1,
        }
    }

    fn show(&self, plan: &Plan, target: &Side, report: &Report) -> Result<(), Error> {
        let (Some(host), Some(disk)): (Option<&HostReport>, Option<&DiskReport>) =
            (report.host.as_ref(), report.disk.as_ref())
        else {
            return Ok(());
        };
        let view = PlanView {
            plan,
            host,
            disk,
            free_bytes: target.free_bytes,
            not_covered: &report.not_covered,
        };
        self.app.terminal.show_plan(&view).map_err(|error| {
            Error::new(
                Phase::Inventory,
                format!("the plan cannot be shown: {error}"),
            )
        })
    }

    fn replicate(
        &self,
        plan: &Plan,
        (source, target): (&Side, &Side),
        lzc: Lzc,
        report: &mut Report,
        last_word: &LastWord,
    ) -> Result<(), Error> {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let progress = self.app.terminal.progress();
        let replication = Replication {
            plan,
            source,
            target,
            forced: &self.request.conflict_options.force,
            zfs: &OpenZfs::new(lzc),
            terminal: self.app.terminal,
            monitor: &progress,
            record: &|index, volume| last_word.update_volume(index, volume),
            is_interrupted: &|| self.app.interrupt.caught().is_some(),
            parallel: self.host.parallel.get(),
            hostname: &hostname.to_string_lossy(),
            disk: DiskIdentity {
                section: &self.device.section,
                partuuid: &self.device.partuuid.to_string(),
            },
        };
        let outcomes = replication.run();
        report.volumes = outcomes.volumes;
        report.pruned = outcomes.pruned;
        report.warnings.extend(outcomes.warnings);
        report.is_incomplete |= outcomes.is_incomplete;
        outcomes
            .declined
            .map_or(Ok(()), |step| Err(Error::declined(Phase::Disk, &step)))
    }

    fn stop_if_interrupted(&self) -> Result<(), Error> {
        match self.app.interrupt.caught() {
            Some(signal) => Err(Error::interrupted(Phase::Transfer, signal).next(next!(
                "interrupted",
                "Run the same command again: it goes on where this run stopped."
            ))),
            None => Ok(()),
        }
    }
}

/// The first error, if all checks failed.
fn first_where_all_fail(checks: impl Iterator<Item = Result<(), Error>>) -> Option<Error> {
    let errors: Result<Vec<_>, ()> = checks.map(|check| check.err().ok_or(())).collect();
    errors.ok()?.into_iter().next()
}

/// What retention would destroy.
fn planned_pruning(plan: &Plan) -> Vec<SnapshotName> {
    let sides = plan
        .volumes
        .iter()
        .flat_map(|volume| [&volume.retention.source, &volume.retention.target]);
    let old = plan
        .room
        .iter()
        .chain(sides.flat_map(|pruning| &pruning.old));
    old.map(|snapshot| snapshot.name.clone()).collect()
}
