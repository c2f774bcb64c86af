//! From an open disk to volumes that are the same on both sides, in either direction.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use super::session::{After, with_disk};
use super::sides::{Inventory, Sides};
use super::{App, Preparation};
use crate::cli::WaysOut;
use crate::config::{Device, Host};
use crate::disk::{Imported, find};
use crate::error::{Error, Phase};
use crate::inventory::{Side, estimate, read};
use crate::name::{Createtxg, SnapshotName, VolumePath};
use crate::plan::{self, Direction, Plan, Policy, Stamp, VolumePlan};
use crate::replicate::{DiskIdentity, Replication};
use crate::report::{self, DiskReport, HostReport, PlanView, Report};
use crate::threads;
use crate::zfs::{self, Libzfs, Lzc, PoolStatus};

/// What the user wants of `usb` or `os`.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    /// Which of the two verbs.
    pub direction: Direction,
    /// Volumes named on the command line; none means all.
    pub requested: &'a [VolumePath],
    /// Volumes that `--force` and `--keep-both` name.
    pub ways_out: &'a WaysOut,
    /// Leave the disk open at the end.
    pub keep_open: bool,
}

/// Runs `usb` or `os`, from reading the configuration to the closed disk.
pub(super) fn carry(app: App, errand: Errand, report: &mut Report) -> Result<(), Error> {
    let prepared = Preparation::make(app, report)?;
    let (host, host_pool) = prepared.host(report)?;
    let carry = |device| Carry {
        app,
        zfs: &prepared.zfs,
        errand,
        host,
        host_pool: &host_pool,
        device,
    };
    // A disk can have volumes of its own. What none of them takes is known before one is there.
    let disks = find::configured(&prepared.config, app.cli.options.device.as_deref())?;
    let checks = disks.iter().map(|disk| carry(disk).sides().check_request());
    if let Some(refused) = first_where_all_fail(checks) {
        return Err(refused);
    }
    let (device, partition) = prepared.disk(app, report)?;
    let carry = carry(device);
    let sides = carry.sides();
    sides.check_request()?;
    thread::scope(|scope| {
        let reading = Cell::new(None);
        with_disk(
            app,
            &prepared,
            (device, partition),
            app.cli.options.dry_run,
            report,
            &|disk| reading.set(threads::spawn(scope, "host", move || sides.read_host(disk)).ok()),
            |disk, report| {
                // Without a thread of its own it is read now.
                let host = match reading.take().map(ScopedJoinHandle::join) {
                    Some(read) => read.unwrap_or_else(|panic| resume_unwind(panic)),
                    None => sides.read_host(disk.guid()),
                }?;
                carry.run(sides, host, disk, report)?;
                if !errand.keep_open {
                    return Ok(After::Close);
                }
                super::open::mount(app, &prepared.zfs, device, disk, false, report)?;
                Ok(After::KeepOpen)
            },
        )
    })
}

/// A replication between this host and an open disk.
struct Carry<'a> {
    app: App<'a>,
    zfs: &'a Libzfs,
    errand: Errand<'a>,
    host: &'a Host,
    host_pool: &'a PoolStatus,
    device: &'a Device,
}

impl<'a> Carry<'a> {
    /// What both sides are asked.
    fn sides(&self) -> Sides<'a> {
        let keep = self.keep();
        Sides {
            errand: self.errand,
            host: self.host,
            host_pool: self.host_pool,
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
        report: &mut Report,
    ) -> Result<(), Error> {
        self.stop_if_interrupted()?;
        let lzc = Lzc::open().map_err(|error| Error::new(Phase::Inventory, error.to_string()))?;
        let Inventory {
            source,
            mut target,
            volumes,
        } = sides.complete(self.zfs, host, disk)?;
        let policy = self.policy(volumes, self.keep());
        let mut plan = plan_with_free_names(policy, &source, &mut target, (self.zfs, lzc))
            .map_err(|error| Error::new(Phase::Inventory, error.to_string()))?;
        estimate::fill(&mut plan, &source, self.zfs, lzc);
        plan::check_space(&mut plan, target.free_bytes);
        self.show(&plan, &target, report)?;
        report.volumes = report::from_plan(&plan);
        self.stop_if_interrupted()?;
        if self.app.cli.options.dry_run {
            report.pruned = planned_pruning(&plan);
            return Ok(());
        }
        self.replicate(&plan, &source, &target, lzc, report)?;
        self.stop_if_interrupted()
    }

    /// How many own snapshots to keep on the source and on the target.
    fn keep(&self) -> (Option<NonZeroUsize>, Option<NonZeroUsize>) {
        let typed = self.app.cli.options.save_last_snapshots;
        let host = typed.or(self.host.keep_last);
        let disk = typed.or(self.device.keep_last);
        match self.errand.direction {
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
            direction: self.errand.direction,
            volumes,
            now: Stamp {
                date: now.strftime("%Y-%m-%d").to_string(),
                time: now.strftime("%H%M%S").to_string(),
            },
            taken_names: BTreeSet::new(),
            intermediate: self.host.intermediate,
            force: self.errand.ways_out.force.iter().cloned().collect(),
            keep_both: self.errand.ways_out.keep_both.iter().cloned().collect(),
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
        source: &Side,
        target: &Side,
        lzc: Lzc,
        report: &mut Report,
    ) -> Result<(), Error> {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let progress = self.app.terminal.progress();
        let replication = Replication {
            plan,
            source,
            target,
            forced: &self.errand.ways_out.force,
            zfs: self.zfs,
            lzc,
            terminal: self.app.terminal,
            monitor: &progress,
            interrupt: self.app.interrupt,
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
        outcomes
            .declined
            .map_or(Ok(()), |step| Err(Error::declined(Phase::Disk, &step)))
    }

    fn stop_if_interrupted(&self) -> Result<(), Error> {
        match self.app.interrupt.caught() {
            Some(signal) => Err(Error::interrupted(Phase::Transfer, signal)
                .next("Run the same command again: it goes on where this run stopped.")),
            None => Ok(()),
        }
    }
}

/// The first error where there are errors only.
fn first_where_all_fail(checks: impl Iterator<Item = Result<(), Error>>) -> Option<Error> {
    let errors: Result<Vec<_>, ()> = checks.map(|check| check.err().ok_or(())).collect();
    errors.ok()?.into_iter().next()
}

/// Plans again until nothing is in the way that was not listed: of a long history only the end is,
/// and the day's name, or what is to be sent, may be there further back.
fn plan_with_free_names(
    mut policy: Policy,
    source: &Side,
    target: &mut Side,
    (zfs, lzc): (&Libzfs, Lzc),
) -> Result<Plan, zfs::Error> {
    loop {
        let plan = plan::plan(&policy, source, target);
        let hidden = with_hidden_namesakes(&plan, target, lzc);
        if !hidden.is_empty() {
            read::list_in_full(zfs, target, &hidden)?;
            continue;
        }
        match plan
            .snapshot
            .clone()
            .filter(|name| is_taken(&plan, name, lzc))
        {
            Some(name) => policy.taken_names.insert(name),
            None => return Ok(plan),
        };
    }
}

/// Volumes of which a snapshot is to be sent that the target has the name of, in the part of its
/// history that is not listed. It may be the same one, so that there is nothing to send.
fn with_hidden_namesakes<'a>(plan: &'a Plan, target: &Side, lzc: Lzc) -> Vec<&'a VolumePath> {
    let is_hidden = |volume: &&VolumePlan| {
        let dataset = target.dataset(&volume.target);
        let in_part = dataset.is_some_and(|dataset| dataset.listed_from > Createtxg::default());
        let is_there = |short: &str| lzc.exists(&format!("{}@{short}", volume.target));
        in_part && volume.sends_existing().any(|name| is_there(name.short()))
    };
    let hidden = plan.volumes.iter().filter(is_hidden);
    hidden.map(|volume| &volume.volume).collect()
}

fn is_taken(plan: &Plan, name: &str, lzc: Lzc) -> bool {
    let volumes = plan.volumes.iter().filter(|volume| volume.takes_snapshot());
    let mut names = volumes.flat_map(|volume| [&volume.source, &volume.target]);
    names.any(|dataset| lzc.exists(&format!("{dataset}@{name}")))
}

/// What retention would destroy.
fn planned_pruning(plan: &Plan) -> Vec<SnapshotName> {
    let sides = plan
        .volumes
        .iter()
        .flat_map(|volume| [&volume.retention.source, &volume.retention.target]);
    let old = sides.flat_map(|tidying| &tidying.old);
    old.map(|snapshot| snapshot.name.clone()).collect()
}
