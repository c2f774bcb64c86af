//! Carries out an approved plan.
//!
//! ```text
//!  Plan ─► consent ─► placeholders ─► atomic snapshot ─► transfers ─► ledger ─► arrival ─► VolumeReports
//!          what goes  empty parents   one call           several at   bookmarks, mounts what is
//!          for ever   on the target                      once         marks,     new on the host
//!                                                                     visit record
//! ```
//!
//! One volume's failure never stops the others. What stands in a volume's way on the target goes,
//! or is moved, only when that volume's turn comes: see [`overwrite`].

mod arrival;
mod aside;
mod cancel;
mod consent;
mod ledger;
pub mod monitor;
mod overwrite;
mod pipe;
mod placeholder;
mod progress;
mod properties;
mod queue;
mod remount;
mod replace;
mod snapshot;
mod stream;
mod transfers;
mod volume;

use crate::interrupt::Interrupt;
use crate::inventory::Side;
use crate::name::VolumePath;
use crate::plan::{Action, Plan};
use crate::report::{self, Outcome, VolumeReport};
use crate::terminal::{Approval, Terminal};
use crate::zfs::{Libzfs, Lzc};
use monitor::Monitor;

/// What carrying out a plan works with.
#[derive(Clone, Copy)]
pub struct Replication<'a> {
    /// The approved plan.
    pub plan: &'a Plan,
    /// The side that sends.
    pub source: &'a Side,
    /// The side that receives.
    pub target: &'a Side,
    /// Volumes that `--force` named: what they destroy is asked for.
    pub forced: &'a [VolumePath],
    /// For properties and for what the atomic calls do not tell.
    pub zfs: &'a Libzfs,
    /// For everything else.
    pub lzc: Lzc,
    /// Where `-v` asks.
    pub terminal: &'a Terminal,
    /// Who shows what is going on.
    pub monitor: &'a dyn Monitor,
    /// Ends the run early.
    pub interrupt: &'a Interrupt,
    /// Transfers at once.
    pub parallel: usize,
    /// Name of this host, for the visit record on the disk.
    pub hostname: &'a str,
}

/// What became of a plan.
#[derive(Debug)]
pub struct Outcomes {
    /// One entry a volume.
    pub volumes: Vec<VolumeReport>,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

impl Replication<'_> {
    /// Carries the plan out, as far as it goes.
    pub fn run(&self) -> Outcomes {
        let mut outcomes = Outcomes {
            volumes: report::from_plan(self.plan),
            warnings: Vec::new(),
        };
        replace::warn_of_leftovers(self, &mut outcomes);
        consent::ask(self, &mut outcomes);
        placeholder::create(self, &mut outcomes);
        snapshot::create(self, &mut outcomes);
        self.ask_for_transfers(&mut outcomes);
        transfers::run(self, &mut outcomes);
        ledger::update(self, &mut outcomes);
        arrival::mount(self, &mut outcomes);
        outcomes
    }

    /// With `-v`, asks for each transfer that is still to be made.
    fn ask_for_transfers(&self, outcomes: &mut Outcomes) {
        for report in outcomes.pending() {
            let from = report
                .base
                .as_ref()
                .map(|base| format!(" from {base}"))
                .unwrap_or_default();
            let to = report.snapshot.as_deref().unwrap_or_default();
            let action = report.action.unwrap_or("send");
            let step = format!(
                "{action} {}@{to}{from} into {}",
                report.source, report.target
            );
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

    /// Volumes that still have something to be done.
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

    /// Ends this volume as failed, and logs why.
    fn fail(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        log::error!("{}: {reason}", self.volume);
        self.end(Outcome::Failed, reason);
    }
}

/// The transfer of each volume that has one, with its place in the plan.
fn transfers_of(
    plan: &Plan,
) -> impl Iterator<Item = (usize, &crate::plan::VolumePlan, &crate::plan::Transfer)> {
    plan.volumes
        .iter()
        .enumerate()
        .filter_map(|(index, volume)| match &volume.action {
            Action::Send(transfer) => Some((index, volume, transfer)),
            _ => None,
        })
}
