//! Keys that change on either side of several volumes, one of which is above the others.
//!
//! Goal: whatever keys people change, and whichever volumes a run takes, every dataset opens with the key
//! of its encryption root, what `usb` calls done opens with the host's present key, and what is refused
//! says what to do, which helps. Method: as in [`super`], with datasets that are nothing but a history and
//! the key that their own is wrapped with. Keys need not be loaded for a run, so that is not played.

use std::collections::BTreeSet;

use openzfs::{DatasetName, Guid, Snapshot};
use proptest::prelude::*;
use zbackup::model::VolumePath;
use zbackup::model::{Dataset, Features, Side, WrappingKey};
use zbackup::plan::{Action, Direction, Plan, Point, Policy, Stamp, UpToDate, plan};

use super::pool::managed_snapshot;
use super::pool::{Pool, dataset};

/// The first one is above the others.
const VOLUMES: [&str; 3] = ["/top", "/top/a", "/top/b"];
/// A host, a disk, and a host to which the disk is carried.
const NAMES: [&str; 3] = ["tank", "red", "rpool"];
const DISK: usize = 1;

#[derive(Debug, Clone)]
struct Set {
    /// What its own key is wrapped with.
    key: u64,
    /// Its encryption root, a place in [`VOLUMES`].
    root: usize,
    /// Guids, which are transaction groups as well.
    snaps: Vec<(String, u64)>,
    is_written: bool,
}

type Sets = [Option<Set>; VOLUMES.len()];

#[derive(Debug, Clone)]
enum Deed {
    Write {
        pool: usize,
        set: usize,
    },
    ChangeKey {
        pool: usize,
        set: usize,
    },
    /// `zfs change-key -i`
    Inherit {
        pool: usize,
        set: usize,
    },
    Run(Run),
}

#[derive(Debug, Clone)]
struct Run {
    direction: Direction,
    host: usize,
    volumes: [bool; VOLUMES.len()],
}

#[derive(Debug, Clone)]
struct World {
    pools: [Sets; NAMES.len()],
    /// The next key, guid and name.
    number: u64,
}

impl World {
    fn new() -> Self {
        let begun = Set {
            key: 1,
            root: 0,
            snaps: vec![],
            is_written: true,
        };
        let host = [(); VOLUMES.len()].map(|()| Some(begun.clone()));
        Self {
            pools: [host, Sets::default(), Sets::default()],
            number: 1,
        }
    }

    fn act(&mut self, deed: &Deed) {
        self.number += 1;
        match *deed {
            Deed::Write { pool, set } => {
                if let Some(set) = &mut self.pools[pool][set] {
                    set.is_written = true;
                }
            }
            Deed::ChangeKey { pool, set } => self.change_key(pool, set, set),
            Deed::Inherit { pool, set } => {
                let above = self.pools[pool][0].as_ref().map(|top| top.root);
                if let Some(root) = above.filter(|_| set != 0) {
                    self.change_key(pool, set, root);
                }
            }
            Deed::Run(ref run) => self.run(run),
        }
        self.check_all_open();
    }

    /// Wraps a dataset's own key anew, and those of all that have it as their root.
    fn change_key(&mut self, pool: usize, changed: usize, root: usize) {
        let theirs = self.pools[pool][root].as_ref().map(|root| root.key);
        let key = theirs.filter(|_| root != changed).unwrap_or(self.number);
        let sets = self.pools[pool].iter_mut().enumerate();
        for (index, set) in sets.filter_map(|(index, set)| Some((index, set.as_mut()?))) {
            if index == changed || set.root == changed {
                (set.key, set.root) = (key, root);
            }
        }
    }

    /// No key opens a dataset but its root's.
    fn check_all_open(&self) {
        for (name, sets) in NAMES.iter().zip(&self.pools) {
            for (volume, set) in VOLUMES.iter().zip(sets) {
                let root = |set: &Set| sets[set.root].as_ref().map(|root| root.key);
                let opens = set.as_ref().is_none_or(|set| root(set) == Some(set.key));
                assert!(opens, "nothing opens {name}{volume}");
            }
        }
    }

    fn plan(&self, run: &Run) -> Plan {
        let (source, target) = run.ends();
        let volumes = VOLUMES.iter().zip(run.volumes);
        let chosen = volumes.filter(|(_, is_chosen)| *is_chosen);
        let policy = Policy {
            direction: run.direction,
            volumes: chosen
                .map(|(volume, _)| VolumePath::new(volume).unwrap())
                .collect(),
            now: Stamp {
                date: format!("day-{}", self.number),
                time: "120000".into(),
            },
            taken_names: BTreeSet::new(),
            intermediate: false,
            force: BTreeSet::new(),
            keep_both: BTreeSet::new(),
            follow_rename: BTreeSet::new(),
            source_keep: None,
            target_keep: None,
        };
        plan(&policy, &self.side(source), &self.side(target))
    }

    fn side(&self, pool: usize) -> Side {
        let mut side = Pool::new(NAMES[pool], 101 + pool as u64).side();
        let name_of = |index: usize| {
            VolumePath::new(VOLUMES[index])
                .unwrap()
                .below(&side.top)
                .unwrap()
        };
        let sets = self.pools[pool].iter().enumerate();
        let heirs = |root: usize| -> Vec<DatasetName> {
            let all = sets.clone().filter(|(index, _)| *index != root);
            let heirs = all.filter(|(_, set)| set.as_ref().is_some_and(|set| set.root == root));
            heirs.map(|(index, _)| name_of(index)).collect()
        };
        let there = sets
            .clone()
            .filter_map(|(index, set)| Some((index, set.as_ref()?)));
        let datasets: Vec<Dataset> = there
            .map(|(index, set)| Dataset {
                encrypted: true,
                snapshots: set.snapshots(&name_of(index)),
                written_bytes: u64::from(set.is_written),
                key: Some(WrappingKey {
                    root: name_of(set.root),
                    salt: Some(set.key),
                    wrapped: None,
                    heirs: heirs(index),
                }),
                ..dataset(&name_of(index), None)
            })
            .collect();
        side.datasets
            .extend(datasets.into_iter().map(|one| (one.name.clone(), one)));
        side.features = Features {
            encryption: true,
            bookmarks: true,
            bookmark_v2: true,
            ..Features::default()
        };
        side
    }

    fn run(&mut self, run: &Run) {
        let (source, target) = run.ends();
        let plan = self.plan(run);
        self.check_ways_out(run, &plan);
        for volume in &plan.volumes {
            let index = VOLUMES
                .iter()
                .position(|one| *one == volume.volume.as_str())
                .unwrap();
            if let Action::Send(transfer) = &volume.action {
                assert!(transfer.raw);
                let last = transfer.steps.last().unwrap();
                let from = self.pools[source][index].as_mut().expect("a source");
                if let Point::New(name) = &last.to {
                    self.number += 1;
                    from.snaps.push((name.short().to_owned(), self.number));
                    from.is_written = false;
                }
                let from = from.clone();
                let base = transfer.steps[0].base.as_ref().map(|base| base.guid.0);
                let to = &mut self.pools[target][index];
                let had = to.as_ref().map(|to| to.snaps.last().unwrap().1);
                assert_eq!(base, had, "receive: another base, or EEXIST");
                // What is new has a key of its own; the key of an increment is that of its source.
                let root = to.as_ref().map_or(index, |to| to.root);
                *to = Some(Set {
                    root,
                    is_written: false,
                    ..from
                });
            }
            let is_done = match &volume.action {
                Action::Send(_) => true,
                Action::UpToDate(UpToDate::Equal(_)) => run.direction == Direction::ToDisk,
                _ => false,
            };
            if is_done {
                let key = |pool: usize| self.pools[pool][index].as_ref().map(|set| set.key);
                assert_eq!(
                    key(source),
                    key(target),
                    "{} opens with another key",
                    volume.target
                );
            }
        }
    }

    /// What would lock something out says what needs a key of its own, and with that it goes.
    fn check_ways_out(&self, run: &Run, plan: &Plan) {
        let refused = plan.volumes.iter().find_map(|volume| match &volume.action {
            Action::Impossible(reason) if reason.contains("nothing would open") => {
                Some((volume.volume.clone(), reason))
            }
            _ => None,
        });
        let Some((volume, reason)) = refused else {
            return;
        };
        let (_, target) = run.ends();
        let (_, named) = reason.rsplit_once(' ').expect("a command at its end");
        let path = named.strip_prefix(NAMES[target]).expect("on the target");
        let index = VOLUMES
            .iter()
            .position(|one| *one == path)
            .expect("a volume");
        let mut later = self.clone();
        later.number += 1;
        later.change_key(target, index, index);
        let again = later.plan(run);
        let action = &again
            .volumes
            .iter()
            .find(|one| one.volume == volume)
            .unwrap()
            .action;
        match action {
            // Another one of its heirs.
            Action::Impossible(other) => {
                assert_ne!(other, reason);
                later.check_ways_out(run, &again);
            }
            Action::Send(_) => {}
            other => panic!("{reason}: and then {other:?}"),
        }
    }
}

impl Set {
    fn snapshots(&self, name: &DatasetName) -> Vec<Snapshot> {
        let snapshot = |(short, guid): &(String, u64)| {
            managed_snapshot(name.snapshot(short).unwrap(), *guid, Some(Guid(*guid)))
        };
        self.snaps.iter().map(snapshot).collect()
    }
}

impl Run {
    fn ends(&self) -> (usize, usize) {
        match self.direction {
            Direction::ToDisk => (self.host, DISK),
            Direction::ToHost => (DISK, self.host),
        }
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = (0..NAMES.len(), 0..VOLUMES.len());
    let direction = prop_oneof![2 => Just(Direction::ToDisk), 1 => Just(Direction::ToHost)];
    let host = prop_oneof![2 => Just(0usize), 1 => Just(2usize)];
    let some = prop::array::uniform3(prop::bool::weighted(0.8));
    let run = (direction, host, some);
    prop_oneof![
        2 => place.clone().prop_map(|(pool, set)| Deed::Write { pool, set }),
        2 => place.clone().prop_map(|(pool, set)| Deed::ChangeKey { pool, set }),
        1 => place.prop_map(|(pool, set)| Deed::Inherit { pool, set }),
        4 => run.prop_map(|(direction, host, volumes)| Deed::Run(Run { direction, host, volumes })),
    ]
}

proptest! {
    #![proptest_config(super::lives())]

    #[test]
    fn what_is_encrypted_opens_with_one_key(deeds in prop::collection::vec(deed(), 1..40)) {
        let mut world = World::new();
        for deed in &deeds {
            world.act(deed);
        }
    }
}
