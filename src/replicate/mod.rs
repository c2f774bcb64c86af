//! Carries out an approved plan.
//!
//! ```text
//!  Plan ─► renames ─► consent ─► placeholders ─► atomic snapshot ─► transfers ─► ledger ─► arrival ─► retention ─► Outcomes
//!          copies     what goes  empty parents   one call           several at   bookmarks, mounts     old
//!          that       for ever   on the target                      once         records    what is    snapshots
//!          follow                                                                           new
//! ```
//!
//! One volume's failure never stops the others. What is in a volume's way on the target is
//! destroyed or moved only when that volume's turn comes: see `target::overwrite`.
//!
//! - `transfer`: running streams
//! - `target`: what is done to the receiving side around a stream
//! - `history`: what both sides have in common afterwards
//! - `mounts`: what is unmounted for a short time, or mounted for the first time
//! - [`zfs`]: everything that is asked of ZFS, and [`OpenZfs`], which answers it

mod batch;
mod history;
mod mounts;
mod open_zfs;
mod target;
mod transfer;
pub mod zfs;

use std::collections::BTreeMap;

use openzfs::{Snapshot, SnapshotName};

use crate::model::ledger::Peer;
use crate::model::{Side, VolumePath};
use crate::monitor::Monitor;
use crate::plan::{Action, Direction, Plan, Transfer, VolumePlan};
use crate::report::{self, Outcome, VolumeReport};
use crate::terminal::{Approval, Terminal};
use history::{ledger, retention, snapshot, undone};
use mounts::arrival;
pub use mounts::remount::{put_up_leftovers, taken_down};
pub use open_zfs::OpenZfs;
use target::witness::Witnesses;
use target::{consent, leftovers, placeholder, rename};
use transfer::transfers;
use zfs::Zfs;

/// What carrying out a plan works with.
#[derive(Clone, Copy)]
pub struct Replication<'a> {
    /// The approved plan.
    pub plan: &'a Plan,
    /// The side that sends.
    pub source: &'a Side,
    /// The side that receives.
    pub target: &'a Side,
    /// Volumes that `--force` named: the user is asked before anything is destroyed for them.
    pub forced: &'a [VolumePath],
    /// ZFS.
    pub zfs: &'a dyn Zfs,
    /// Asks the user.
    pub terminal: &'a Terminal,
    /// Shows what is going on.
    pub monitor: &'a dyn Monitor,
    /// Called with the report of each volume, by its place in the plan, as soon as that is known.
    pub record: &'a (dyn Fn(usize, &VolumeReport) + Sync),
    /// True once the run is to end early.
    pub is_interrupted: &'a (dyn Fn() -> bool + Sync),
    /// How many transfers may run at once.
    pub parallel: usize,
    /// Name of this host, for its visit record on the disk.
    pub hostname: &'a str,
    /// How the configuration identifies the disk, for its record on the host.
    pub disk: DiskIdentity<'a>,
}

/// How the configuration identifies a disk.
#[derive(Debug, Clone, Copy)]
pub struct DiskIdentity<'a> {
    /// Section of the configuration.
    pub section: &'a str,
    /// The UUID of its partition.
    pub partuuid: &'a str,
}

/// The result of carrying out a plan.
#[derive(Debug)]
pub struct Outcomes {
    /// One entry for each volume.
    pub volumes: Vec<VolumeReport>,
    /// Newest snapshots of targets that have received, by the volume's place in the plan, if they could
    /// be looked up then.
    arrived: BTreeMap<usize, Snapshot>,
    /// Old snapshots that were destroyed.
    pub pruned: Vec<SnapshotName>,
    /// What else the user should know.
    pub warnings: Vec<String>,
    /// The volumes have arrived, but not everything that a later run relies on was written down, or
    /// not all old snapshots were destroyed.
    pub is_incomplete: bool,
    /// The first step that concerns no single volume and to which the user said no.
    pub declined: Option<String>,
}

impl Replication<'_> {
    /// Carries the plan out, as far as it goes.
    pub fn run(&self) -> Outcomes {
        let mut outcomes = Outcomes {
            volumes: report::from_plan(self.plan),
            arrived: BTreeMap::new(),
            pruned: Vec::new(),
            warnings: Vec::new(),
            is_incomplete: false,
            declined: None,
        };
        leftovers::mend(self, &mut outcomes);
        rename::follow(self, &mut outcomes);
        consent::ask(self, &mut outcomes);
        let witnesses = Witnesses::call(self, &mut outcomes);
        placeholder::create(self, &mut outcomes);
        undone::forget(self, &mut outcomes);
        snapshot::create(self, &mut outcomes);
        undone::check(self, &mut outcomes);
        self.ask_for_transfers(&mut outcomes);
        let secured = ledger::secure(self, &mut outcomes);
        retention::make_room(self, &mut outcomes);
        ledger::note(self, &mut outcomes);
        transfers::run(self, &witnesses, &mut outcomes);
        drop(witnesses);
        // A peer may still need a snapshot as base if the ledger has no bookmark of it.
        let incomplete = ledger::update(self, &secured, &mut outcomes);
        arrival::mount(self, &mut outcomes);
        retention::run(self, &incomplete, &mut outcomes);
        outcomes
    }

    fn host_and_disk(&self) -> (&Side, &Side) {
        match self.plan.direction {
            Direction::ToDisk => (self.source, self.target),
            Direction::ToHost => (self.target, self.source),
        }
    }

    /// The identity of this side in the other side's ledger.
    fn as_peer(&self, side: &Side) -> Peer {
        let (_, disk) = self.host_and_disk();
        if side.pool == disk.pool {
            Peer::disk(disk.pool_guid, self.disk.partuuid)
        } else {
            Peer::host(side.pool_guid)
        }
    }

    /// With `-v`, asks the user about each transfer that is still to be made.
    fn ask_for_transfers(&self, outcomes: &mut Outcomes) {
        for (index, volume, transfer) in transfers_of(self.plan) {
            let report = &mut outcomes.volumes[index];
            if report.outcome != Outcome::Planned {
                continue;
            }
            let from = report
                .base
                .as_ref()
                .map(|base| format!(" from {base}"))
                .unwrap_or_default();
            let to = report.snapshot.as_deref().unwrap_or_default();
            let action = report.action.unwrap_or("send");
            let mut step = vec![format!(
                "{action} {}@{to}{from} into {}",
                report.source, report.target
            )];
            step.extend(consent::unasked_losses(self, volume, transfer));
            let step = step.join(", giving up ");
            if self.terminal.approve(&step) == Approval::No {
                report.end(Outcome::Skipped, "declined");
            }
        }
    }
}

impl Outcomes {
    fn warn(&mut self, warning: String) {
        log::warn!("{warning}");
        self.warnings.push(warning);
    }

    /// The transfers that are still to be made.
    fn to_send<'a>(
        &self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (usize, &'a VolumePlan, &'a Transfer)> {
        transfers_of(plan).filter(|(index, ..)| self.volumes[*index].outcome == Outcome::Planned)
    }

    /// Volumes with something still to be done.
    fn pending(&mut self) -> impl Iterator<Item = &mut VolumeReport> {
        self.volumes
            .iter_mut()
            .filter(|report| report.outcome == Outcome::Planned)
    }
}

impl VolumeReport {
    /// Ends this volume with an outcome and its reason.
    fn end(&mut self, outcome: Outcome, reason: impl Into<String>) {
        self.outcome = outcome;
        self.reason = Some(reason.into());
    }

    /// Ends this volume as failed, and logs the reason.
    fn fail(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        log::error!("{}: {reason}", self.volume);
        self.end(Outcome::Failed, reason);
    }
}

/// The words of an error, as part of a sentence.
fn in_words(error: impl ToString) -> String {
    error.to_string()
}

/// The present time, as marks and records hold it (RFC 3339, UTC).
fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// The transfer of each volume that has one, with its place in the plan.
fn transfers_of(plan: &Plan) -> impl Iterator<Item = (usize, &VolumePlan, &Transfer)> {
    plan.volumes
        .iter()
        .enumerate()
        .filter_map(|(index, volume)| match &volume.action {
            Action::Send(transfer) => Some((index, volume, transfer)),
            _ => None,
        })
}
