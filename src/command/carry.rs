//! From an open disk to volumes that are the same on both sides, in either direction.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::App;
use super::session::declined;
use crate::config::{Device, Host, Selection};
use crate::disk::Imported;
use crate::error::{Error, Exit, Phase};
use crate::inventory::read::{self, Scope};
use crate::inventory::{Side, estimate, settle};
use crate::name::{Guid, PoolName, SnapshotName, VolumePath};
use crate::plan::{self, Direction, Plan, Policy, Stamp};
use crate::replicate::{DiskIdentity, Replication};
use crate::report::{self, DiskReport, HostReport, PlanView, Report};
use crate::zfs::{self, Libzfs, Lzc, PoolStatus};

/// What a replication is about.
pub(super) struct Carry<'a> {
    pub app: App<'a>,
    pub zfs: &'a Libzfs,
    pub direction: Direction,
    pub host: &'a Host,
    pub host_pool: &'a PoolStatus,
    pub device: &'a Device,
    /// Volumes named on the command line; none means all.
    pub requested: &'a [VolumePath],
}

impl Carry<'_> {
    /// Settle, inventory, plan, table, and then, unless this is a dry run, the replication.
    pub fn run(&self, disk: &Imported, report: &mut Report) -> Result<(), Error> {
        let lzc = Lzc::open().map_err(|error| Error::new(Phase::Settle, error.to_string()))?;
        settle::settle(&self.host_pool.name, lzc).map_err(|why| {
            Error::new(
                Phase::Settle,
                format!("{} cannot be synced: {why}", self.host_pool.name),
            )
        })?;
        let (source_scope, target_scope) = self.scopes(disk.pool(), disk.guid())?;
        let volumes = self.volumes(&source_scope)?;
        let keep = self.keep();
        let whole = keep.0.is_some() || keep.1.is_some();
        let (source, target) = read::both(self.zfs, &source_scope, &target_scope, &volumes, whole)
            .map_err(inventory_failed)?;
        let mut plan = plan::plan(&self.policy(volumes, keep), &source, &target);
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

    /// The two sides: the host's pool, and this host's place on the disk.
    fn scopes(&self, disk_pool: &PoolName, disk_guid: Guid) -> Result<(Scope, Scope), Error> {
        let disk_top = match &self.host.prefix {
            Some(prefix) => prefix.below(&disk_pool.root()),
            None => Ok(disk_pool.root()),
        };
        let disk_top = disk_top
            .map_err(|error| Error::new(Phase::Inventory, error.to_string()).exit(Exit::Usage))?;
        let disk = Scope {
            pool: disk_pool.clone(),
            top: disk_top,
            peer: self.host_pool.guid,
        };
        let host = Scope {
            pool: self.host_pool.name.clone(),
            top: self.host_pool.name.root(),
            peer: disk_guid,
        };
        Ok(match self.direction {
            Direction::ToDisk => (host, disk),
            Direction::ToHost => (disk, host),
        })
    }

    /// The volumes of this run: what is configured, its children where it is recursive, and of
    /// these what the command line names.
    fn volumes(&self, source: &Scope) -> Result<Vec<VolumePath>, Error> {
        let existing = read::volume_paths(self.zfs, source).map_err(inventory_failed)?;
        let selection: &Selection = self
            .device
            .selection
            .as_ref()
            .unwrap_or(&self.host.selection);
        plan::select(
            &selection.volumes,
            selection.recursive,
            |volume| selection.exclude.matches(volume),
            self.requested,
            &existing,
        )
        .map_err(|error| Error::new(Phase::Arguments, error.to_string()).exit(Exit::Usage))
    }

    /// How many own snapshots to keep on the source and on the target.
    fn keep(&self) -> (Option<NonZeroUsize>, Option<NonZeroUsize>) {
        let typed = self.app.cli.options.save_last_snapshots;
        let host = typed.or(self.host.keep_last);
        let disk = typed.or(self.device.keep_last);
        match self.direction {
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
            direction: self.direction,
            volumes,
            now: Stamp {
                date: now.strftime("%Y-%m-%d").to_string(),
                time: now.strftime("%H%M%S").to_string(),
            },
            intermediate: self.host.intermediate,
            force: BTreeSet::new(),
            keep_both: BTreeSet::new(),
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
