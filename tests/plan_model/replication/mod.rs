//! The program's executor, step by step, on pools in memory.

mod batches;
mod endings;
mod ledger;
mod replacing;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use openzfs::DatasetName;
use zbackup::model::{Side, VolumePath};
use zbackup::plan::{Direction, Policy, Stamp, plan};
use zbackup::replicate::Outcomes;
use zbackup::report::Outcome;

use super::HOSTS;
use super::carry::Planned;
use super::fake::{Fake, State};
use super::pool::{FIRST_GUID, Pool, Volume};

/// A host's pool and a disk's.
const HOST: &str = "tank";
const DISK: &str = "red";

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

/// Pools in memory, and the next call of zbackup.
struct World {
    fake: Fake,
    policy: Policy,
    is_interrupted: AtomicBool,
}

impl World {
    /// A host with these volumes, each with something in it, and an empty disk.
    fn new(volumes: &[&str]) -> Self {
        let disk_guid = FIRST_GUID + HOSTS as u64;
        let fake = Fake::new([Pool::new(HOST, FIRST_GUID), Pool::new(DISK, disk_guid)]);
        for volume in volumes {
            let dataset = name(&format!("{HOST}{volume}"));
            fake.state().add(&dataset, Volume::empty());
        }
        let policy = Policy {
            direction: Direction::ToDisk,
            volumes: volumes
                .iter()
                .map(|volume| VolumePath::new(volume).unwrap())
                .collect(),
            now: Stamp {
                date: "2026-11-01".into(),
                time: "120000".into(),
            },
            taken_names: BTreeSet::new(),
            intermediate: false,
            force: BTreeSet::new(),
            keep_both: BTreeSet::new(),
            follow_rename: BTreeSet::new(),
            source_keep: NonZeroUsize::new(9),
            target_keep: NonZeroUsize::new(9),
        };
        let world = Self {
            fake,
            policy,
            is_interrupted: AtomicBool::new(false),
        };
        for (value, volume) in (1..).zip(volumes) {
            world.write(&format!("{HOST}{volume}"), value);
        }
        world
    }

    fn state(&self) -> impl std::ops::DerefMut<Target = State> {
        self.fake.state()
    }

    fn write(&self, dataset: &str, value: u64) {
        self.state()
            .act(&name(dataset), |pool| pool.write(0, value));
    }

    /// Another day's run: the first one took its snapshots in another minute.
    fn tomorrow(&mut self) {
        let day: u32 = self.policy.now.date[8..].parse().unwrap();
        self.policy.now.date = format!("2026-11-{:02}", day + 1);
    }

    fn plan(&self) -> Planned {
        let sides = self.sides(self.policy.direction);
        let plan = plan(&self.policy, &sides[0], &sides[1]);
        Planned { plan, sides }
    }

    fn sides(&self, direction: Direction) -> [Side; 2] {
        match direction {
            Direction::ToDisk => self.state().sides(HOST, DISK),
            Direction::ToHost => self.state().sides(DISK, HOST),
        }
    }

    /// Plans and carries out.
    fn run(&self) -> Outcomes {
        self.carry_out(&self.plan())
    }

    fn carry_out(&self, planned: &Planned) -> Outcomes {
        let is_interrupted = || self.is_interrupted.load(Relaxed);
        planned.carry_out(&self.fake, "0000000067", &is_interrupted)
    }

    /// What a dataset holds now.
    fn value(&self, dataset: &str) -> Option<u64> {
        let state = self.fake.state();
        let entry = state.datasets.get(&name(dataset))?;
        Some(entry.volume.live[0].value)
    }
}

/// Runs on what `world` makes, and dies at each change in turn. `check` gets what is left, alive again.
fn cut_everywhere(world: impl Fn() -> World, check: impl Fn(World, usize)) {
    let whole = world();
    whole.state().revive();
    whole.run();
    let changes = whole.state().changes;
    assert!(changes > 3, "{changes} changes are no run");
    for cut in 1..=changes {
        let world = world();
        world.state().revive();
        world.state().dies_at = Some(cut);
        world.run();
        world.state().revive();
        check(world, cut);
    }
}

/// Outcome and reason of each volume.
fn said(outcomes: &Outcomes) -> Vec<(Outcome, &str)> {
    let reports = outcomes.volumes.iter();
    reports
        .map(|report| (report.outcome, report.reason.as_deref().unwrap_or_default()))
        .collect()
}
