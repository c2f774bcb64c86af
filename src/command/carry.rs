//! From an open disk to volumes that are the same on both sides, in either direction.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::session::{After, declined, with_disk};
use super::{App, Preparation};
use crate::cli::WaysOut;
use crate::config::{Device, Host, Selection};
use crate::disk::Imported;
use crate::error::{Error, Exit, Phase};
use crate::inventory::read::{self, ReadError, Scope, Wanted};
use crate::inventory::{Side, estimate};
use crate::name::{Guid, PoolName, SnapshotName, VolumePath};
use crate::plan::{self, Direction, Plan, Policy, Stamp};
use crate::replicate::{DiskIdentity, Replication};
use crate::report::{self, DiskReport, HostReport, PlanView, Report};
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
    let (device, partition) = prepared.disk(app, report)?;
    with_disk(
        app,
        prepared.keeper(app),
        (device, partition),
        app.cli.options.dry_run,
        report,
        |disk, report| {
            let carry = Carry {
                app,
                zfs: &prepared.zfs,
                errand,
                host,
                host_pool: &host_pool,
                device,
            };
            carry.run(disk, report)?;
            if !errand.keep_open {
                return Ok(After::Close);
            }
            super::open::mount(app, &prepared.zfs, device, disk, false, report)?;
            Ok(After::KeepOpen)
        },
    )
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

impl Carry<'_> {
    /// Settle, inventory, plan, table, and then, unless this is a dry run, the replication.
    fn run(&self, disk: &Imported, report: &mut Report) -> Result<(), Error> {
        self.stop_if_interrupted()?;
        let lzc = Lzc::open().map_err(inventory_failed)?;
        let keep = self.keep();
        let (source, target, volumes) = self.inventory(disk, keep, lzc)?;
        let mut plan = plan_with_free_name(self.policy(volumes, keep), &source, &target, lzc);
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

    /// Both sides, as far as the volumes of this run are concerned, and these volumes.
    fn inventory(
        &self,
        disk: &Imported,
        keep: (Option<NonZeroUsize>, Option<NonZeroUsize>),
        lzc: Lzc,
    ) -> Result<(Side, Side, Vec<VolumePath>), Error> {
        let (host_scope, disk_scope) = self.scopes(disk.pool(), disk.guid())?;
        let selection = self.selection();
        let wanted = Wanted {
            roots: match self.errand.requested {
                [] => &selection.volumes,
                requested => requested,
            },
            recursive: selection.recursive,
            history: &|volume| selection.takes(volume),
            whole: keep.0.is_some() || keep.1.is_some(),
        };
        let sides = read::both(self.zfs, &host_scope, &disk_scope, wanted);
        let (host, disk) = sides.map_err(|error| match error {
            ReadError::Settle { .. } => Error::new(Phase::Settle, error.to_string()),
            ReadError::Zfs(error) => inventory_failed(error),
        })?;
        let (mut source, mut target, target_scope) = match self.errand.direction {
            Direction::ToDisk => (host, disk, disk_scope),
            Direction::ToHost => (disk, host, host_scope),
        };
        let volumes = self.volumes(&source)?;
        read::add_leftovers(&mut target, wanted.roots, lzc);
        read::keep_only(&mut source, &volumes);
        read::keep_only(&mut target, &volumes);
        read::complete(self.zfs, &mut source, &mut target, &volumes).map_err(inventory_failed)?;
        let keep_both = &self.errand.ways_out.keep_both;
        read::add_surroundings(self.zfs, &target_scope, keep_both, &mut target)
            .map_err(inventory_failed)?;
        Ok((source, target, volumes))
    }

    /// The two sides: the host's pool, and this host's place on the disk.
    fn scopes(&self, disk_pool: &PoolName, disk_guid: Guid) -> Result<(Scope, Scope), Error> {
        let disk_top = match &self.host.prefix {
            Some(prefix) => prefix.below(&disk_pool.root()),
            None => Ok(disk_pool.root()),
        };
        let disk_top = disk_top
            .map_err(|error| Error::new(Phase::Inventory, error.to_string()).exit(Exit::Usage))?;
        let host = Scope {
            pool: self.host_pool.name.clone(),
            top: self.host_pool.name.root(),
            peer: disk_guid,
        };
        let disk = Scope {
            pool: disk_pool.clone(),
            top: disk_top,
            peer: self.host_pool.guid,
        };
        Ok((host, disk))
    }

    /// The disk's own choice of volumes, or else the host's.
    fn selection(&self) -> &Selection {
        self.device
            .selection
            .as_ref()
            .unwrap_or(&self.host.selection)
    }

    /// The volumes of this run: what is configured, its children where it is recursive, and of
    /// these what the command line names.
    fn volumes(&self, source: &Side) -> Result<Vec<VolumePath>, Error> {
        let existing = read::volume_paths(source);
        let selection = self.selection();
        let select = |requested: &[VolumePath]| {
            plan::select(
                &selection.volumes,
                selection.recursive,
                |volume| selection.exclude.matches(volume),
                requested,
                &existing,
            )
            .map_err(|error| usage(error.to_string()))
        };
        let named: Vec<VolumePath> = self.errand.ways_out.volumes().cloned().collect();
        select(&named)?;
        let volumes = select(self.errand.requested)?;
        match named.iter().find(|volume| !volumes.contains(volume)) {
            Some(volume) => Err(usage(format!(
                "{volume} has --force or --keep-both, but is not among the volumes to carry"
            ))),
            None => Ok(volumes),
        }
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
            .map_or(Ok(()), |step| Err(declined(&step)))
    }

    fn stop_if_interrupted(&self) -> Result<(), Error> {
        match self.app.interrupt.caught() {
            Some(signal) => Err(Error::new(Phase::Transfer, "interrupted")
                .next("Run the same command again: it goes on where this run stopped.")
                .exit(Exit::Signal(signal))),
            None => Ok(()),
        }
    }
}

/// Plans again until the new snapshot's name is free: of a long history only the end is listed, and
/// the day's name may be taken further back.
fn plan_with_free_name(mut policy: Policy, source: &Side, target: &Side, lzc: Lzc) -> Plan {
    loop {
        let plan = plan::plan(&policy, source, target);
        match plan
            .snapshot
            .clone()
            .filter(|name| is_taken(&plan, name, lzc))
        {
            Some(name) => policy.taken_names.insert(name),
            None => return plan,
        };
    }
}

fn is_taken(plan: &Plan, name: &str, lzc: Lzc) -> bool {
    let volumes = plan.volumes.iter().filter(|volume| volume.takes_snapshot());
    let mut names = volumes.flat_map(|volume| [&volume.source, &volume.target]);
    names.any(|dataset| lzc.exists(&format!("{dataset}@{name}")))
}

fn usage(message: String) -> Error {
    Error::new(Phase::Arguments, message).exit(Exit::Usage)
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

fn inventory_failed(error: zfs::Error) -> Error {
    Error::new(Phase::Inventory, error.to_string())
}
