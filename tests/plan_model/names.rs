//! Several volumes, one below another, that are renamed, exchange their names, or are cloned and promoted.
//!
//! Goal: no copy that a volume has, under whatever name, is lost or sent twice, what a run calls done is
//! equal, and doing what the conflicts say leads to where all are. Method: as in [`super`], with datasets
//! that are nothing but a history, on one host and one disk.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{DatasetName, Guid, Snapshot};
use proptest::prelude::*;
use zbackup::model::VolumePath;
use zbackup::model::{Dataset, Side};
use zbackup::plan::{
    Action, Conflict, Direction, InTheWay, Plan, Point, Policy, Stamp, UpToDate, follow, plan,
};

use super::pool::managed_snapshot;
use super::pool::{Pool, dataset};

const PATHS: [&str; 6] = ["/a", "/a/x", "/a/y", "/b", "/b/x", "/c"];
/// As often as somebody does what a run says, before all is done.
const PATIENCE: usize = 12;

#[derive(Debug, Clone, Default)]
struct Set {
    id: u64,
    /// Short name, guid and transaction group, oldest first.
    snaps: Vec<(String, u64)>,
    is_written: bool,
    is_placeholder: bool,
}

/// Datasets by their paths in the pool.
type Sets = BTreeMap<String, Set>;

#[derive(Debug, Clone)]
enum Deed {
    Create(&'static str),
    Write(&'static str),
    Rename {
        on_disk: bool,
        from: &'static str,
        to: &'static str,
    },
    Exchange {
        one: &'static str,
        other: &'static str,
    },
    /// A clone of one of its snapshots is promoted: what is older is the clone's from then on.
    Promote {
        of: &'static str,
        index: usize,
        to: &'static str,
    },
    Run,
}

#[derive(Debug, Clone, Default)]
struct World {
    host: Sets,
    disk: Sets,
    number: u64,
}

/// True for `path` itself and what is below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/')
        .map(|(above, _)| above)
        .filter(|above| !above.is_empty())
}

fn has_room(sets: &Sets, path: &str) -> bool {
    !sets.contains_key(path) && parent(path).is_none_or(|above| sets.contains_key(above))
}

/// `zfs rename`, which takes along what is below; false where the kernel refuses.
fn rename(sets: &mut Sets, from: &str, to: &str) -> bool {
    if !sets.contains_key(from) || !has_room(sets, to) || is_within(to, from) {
        return false;
    }
    let all = std::mem::take(sets).into_iter();
    *sets = all
        .map(|(path, set)| match path.strip_prefix(from) {
            Some(rest) if is_within(&path, from) => (format!("{to}{rest}"), set),
            _ => (path, set),
        })
        .collect();
    true
}

impl World {
    fn act(&mut self, deed: &Deed) {
        self.number += 1;
        match *deed {
            Deed::Create(path) => {
                if has_room(&self.host, path) {
                    self.create(path, vec![]);
                }
            }
            Deed::Write(path) => {
                if let Some(set) = self.host.get_mut(path) {
                    set.is_written = true;
                }
            }
            Deed::Rename { on_disk, from, to } => {
                let sets = if on_disk {
                    &mut self.disk
                } else {
                    &mut self.host
                };
                rename(sets, from, to);
            }
            Deed::Exchange { one, other } => {
                let there = [one, other]
                    .iter()
                    .all(|path| self.host.contains_key(*path));
                if there && !is_within(one, other) && !is_within(other, one) {
                    for (from, to) in [(one, "/aside"), (other, one), ("/aside", other)] {
                        assert!(rename(&mut self.host, from, to));
                    }
                }
            }
            Deed::Promote { of, index, to } => {
                if has_room(&self.host, to)
                    && let Some(origin) = self.host.get_mut(of)
                    && index < origin.snaps.len()
                {
                    let newer = origin.snaps.split_off(index + 1);
                    let older = std::mem::replace(&mut origin.snaps, newer);
                    self.create(to, older);
                }
            }
            Deed::Run => self.run(&[]),
        }
    }

    fn create(&mut self, path: &str, snaps: Vec<(String, u64)>) {
        let set = Set {
            id: self.number,
            snaps,
            is_written: true,
            is_placeholder: false,
        };
        self.host.insert(path.to_owned(), set);
    }

    fn plan(&self, followed: &[VolumePath]) -> Plan {
        let volumes = self.host.keys().map(|path| VolumePath::new(path).unwrap());
        let policy = Policy {
            direction: Direction::ToDisk,
            volumes: volumes.collect(),
            now: Stamp {
                date: format!("day-{}", self.number),
                time: "120000".into(),
            },
            taken_names: BTreeSet::new(),
            intermediate: false,
            force: BTreeSet::new(),
            keep_both: BTreeSet::new(),
            follow_rename: followed.iter().cloned().collect(),
            source_keep: None,
            target_keep: None,
        };
        let source = self.side("tank", 101, &self.host);
        let mut target = self.side("red", 103, &self.disk);
        let renames = follow(&policy, &source, &mut target);
        Plan {
            renames,
            ..plan(&policy, &source, &target)
        }
    }

    fn side(&self, pool: &'static str, guid: u64, sets: &Sets) -> Side {
        let mut side = Pool::new(pool, guid).side();
        for (path, set) in sets {
            let name = VolumePath::new(path).unwrap().below(&side.top).unwrap();
            let below = |other: &String| other != path && is_within(other, path);
            let facts = Dataset {
                guid: Guid(set.id),
                snapshots: set.snapshots(&name),
                written_bytes: u64::from(set.is_written),
                placeholder: set.is_placeholder,
                has_children: sets.keys().any(below),
                ..dataset(&name, None)
            };
            let is_concerned = self.host.keys().any(|volume| is_within(volume, path));
            let place = if is_concerned {
                &mut side.datasets
            } else {
                &mut side.others
            };
            place.insert(name, facts);
        }
        side
    }

    fn run(&mut self, followed: &[VolumePath]) {
        let plan = self.plan(followed);
        let before: BTreeSet<u64> = guids(&self.disk);
        for one in &plan.renames {
            for parent in &one.parents {
                self.place(parent);
            }
            let (from, to) = (path_of(&one.from), path_of(&one.to));
            assert_eq!(self.disk[&from].id, one.guid.0);
            assert!(rename(&mut self.disk, &from, &to), "rename {from} to {to}");
        }
        let mut sent: Vec<_> = plan.volumes.iter().collect();
        // A parent that others wait for comes first.
        sent.sort_by_key(|volume| volume.volume.as_str());
        for volume in sent {
            let path = volume.volume.as_str();
            if let Action::Send(transfer) = &volume.action {
                let base = transfer.steps[0].base.as_ref().map(|base| base.guid.0);
                assert!(
                    base.is_some() || !self.has_copy(path),
                    "{path} is sent twice"
                );
                let from = self.host.get_mut(path).expect("a source");
                if let Point::New(name) = &transfer.steps.last().unwrap().to {
                    self.number += 1;
                    from.snaps.push((name.short().to_owned(), self.number));
                    from.is_written = false;
                }
                self.receive(path, base);
            }
            if matches!(
                volume.action,
                Action::Send(_) | Action::UpToDate(UpToDate::Equal(_))
            ) {
                let newest = |sets: &Sets| sets[path].snaps.last().map(|(_, guid)| *guid);
                assert_eq!(newest(&self.disk), newest(&self.host), "{path} differs");
            }
        }
        assert!(guids(&self.disk).is_superset(&before), "something is lost");
    }

    fn place(&mut self, name: &DatasetName) {
        self.number += 1;
        let set = Set {
            id: self.number,
            is_placeholder: true,
            ..Set::default()
        };
        let path = path_of(name);
        assert!(has_room(&self.disk, &path), "create {path}");
        self.disk.insert(path, set);
    }

    fn receive(&mut self, path: &str, base: Option<u64>) {
        let from = self.host[path].snaps.clone();
        assert!(
            parent(path).is_none_or(|above| self.disk.contains_key(above)),
            "receive: no parent"
        );
        self.number += 1;
        let id = self.number;
        let to = self.disk.entry(path.to_owned()).or_insert(Set {
            id,
            ..Set::default()
        });
        assert_eq!(
            to.snaps.last().map(|(_, guid)| *guid),
            base,
            "receive: another base, or EEXIST"
        );
        let newest = from.last().expect("a snapshot").clone();
        to.snaps.push(newest);
        to.is_placeholder = false;
    }

    /// True where something on the disk has this volume's newest snapshot that is there at all, and no
    /// other volume has more in common with it.
    fn has_copy(&self, path: &str) -> bool {
        let has = |set: &Set, guid: u64| set.snaps.iter().any(|(_, of)| *of == guid);
        self.disk.values().any(|copy| {
            let Some((_, newest)) = copy.snaps.last() else {
                return false;
            };
            let owners = self.host.iter().filter(|(_, set)| has(set, *newest));
            owners.map(|(path, _)| path).eq([path])
        })
    }

    /// Whoever does what is said comes to an end, with everything on the disk under its name.
    fn check_ways_out(&self) {
        let mut later = self.clone();
        let mut followed: BTreeSet<VolumePath> = BTreeSet::new();
        for _ in 0..PATIENCE {
            let asked: Vec<VolumePath> = std::mem::take(&mut followed).into_iter().collect();
            later.run(&asked);
            let again = later.plan(&[]);
            let conflicts = again
                .volumes
                .iter()
                .filter_map(|volume| match &volume.action {
                    Action::Conflict(conflict) => Some((volume, conflict)),
                    Action::Impossible(reason) => {
                        assert!(reason.contains("is not called that yet"), "{reason}");
                        None
                    }
                    _ => None,
                });
            let mut is_done = true;
            for (volume, conflict) in conflicts {
                is_done = false;
                let said = conflict.explain(volume);
                match conflict {
                    Conflict::Renamed {
                        along_with,
                        in_the_way,
                        ..
                    } => {
                        followed.insert(along_with.as_ref().unwrap_or(&volume.volume).clone());
                        match in_the_way {
                            Some(InTheWay {
                                copy_of: Some(owner),
                            }) => {
                                followed.insert(owner.clone());
                            }
                            Some(InTheWay { copy_of: None }) => {
                                later.set_aside(volume.volume.as_str());
                            }
                            None => {}
                        }
                    }
                    // What was there under that name is kept by hand.
                    _ => later.set_aside(volume.volume.as_str()),
                }
                assert!(
                    said.contains("--follow-rename") || said.contains("o keep both"),
                    "{said}"
                );
            }
            if is_done
                && again
                    .volumes
                    .iter()
                    .all(|volume| matches!(volume.action, Action::UpToDate(_)))
            {
                return;
            }
        }
        panic!("no end: {:?}\n{later:?}", later.plan(&[]).volumes);
    }

    fn set_aside(&mut self, path: &str) {
        let aside = format!("/aside-{}", self.number);
        self.number += 1;
        rename(&mut self.disk, path, &aside);
    }
}

fn path_of(name: &DatasetName) -> String {
    format!("/{}", name.below(&name.pool().root()).unwrap())
}

fn guids(sets: &Sets) -> BTreeSet<u64> {
    let snaps = sets.values().flat_map(|set| &set.snaps);
    snaps.map(|(_, guid)| *guid).collect()
}

impl Set {
    fn snapshots(&self, name: &DatasetName) -> Vec<Snapshot> {
        let snapshot = |(short, guid): &(String, u64)| {
            managed_snapshot(name.snapshot(short).unwrap(), *guid, None)
        };
        self.snaps.iter().map(snapshot).collect()
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let path = || prop::sample::select(&PATHS[..]);
    let on_disk = prop::bool::weighted(0.2);
    prop_oneof![
        4 => path().prop_map(Deed::Create),
        3 => path().prop_map(Deed::Write),
        3 => (on_disk, path(), path()).prop_map(|(on_disk, from, to)| Deed::Rename { on_disk, from, to }),
        1 => (path(), path()).prop_map(|(one, other)| Deed::Exchange { one, other }),
        1 => (path(), 0..4usize, path()).prop_map(|(of, index, to)| Deed::Promote { of, index, to }),
        4 => Just(Deed::Run),
    ]
}

proptest! {
    #![proptest_config(super::lives())]

    #[test]
    fn every_copy_keeps_its_volume(deeds in prop::collection::vec(deed(), 1..30)) {
        let mut world = World::default();
        for deed in &deeds {
            world.act(deed);
        }
        world.check_ways_out();
    }
}
