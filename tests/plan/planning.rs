//! What the planner turns out to need besides what was listed is looked up, and only that.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openzfs::{Error, SnapshotName};
use zbackup::model::VolumePath;
use zbackup::planning::{Probe, prepare};

use super::*;

const MIB: u64 = 1024 * 1024;

/// A kernel that knows these snapshots' names, the whole history of `/home` on the target, and how
/// large each stream will be. It notes what it was asked for.
struct Fake<'a> {
    existing: &'a [&'a str],
    /// In [`notation`].
    whole_history: &'a str,
    stream_bytes: u64,
    asked: RefCell<Vec<String>>,
}

impl Fake<'_> {
    fn new<'a>(existing: &'a [&'a str], whole_history: &'a str) -> Fake<'a> {
        Fake {
            existing,
            whole_history,
            stream_bytes: 0,
            asked: RefCell::default(),
        }
    }

    fn note(&self, what: &str) {
        self.asked.borrow_mut().push(what.to_owned());
    }
}

impl Probe for Fake<'_> {
    fn exists(&self, snapshot: &SnapshotName) -> bool {
        self.existing.contains(&snapshot.as_str())
    }

    fn add_surroundings(&self, _: &mut Side, volumes: &[VolumePath]) -> Result<(), Error> {
        let names: Vec<_> = volumes.iter().map(ToString::to_string).collect();
        self.note(&format!("surroundings of {}", names.join(" ")));
        Ok(())
    }

    fn list_in_full(&self, target: &mut Side, volumes: &[&VolumePath]) {
        assert_eq!(volumes, [&volume("/home")]);
        self.note("the whole history");
        add(target, "/home", self.whole_history);
    }

    fn estimate(&self, plan: &mut Plan, _: &Side, _: &Side) {
        for volume in &mut plan.volumes {
            volume.estimated_bytes = Some(self.stream_bytes);
            volume.stored_bytes = Some(self.stream_bytes);
        }
    }

    fn freed_bytes(&self, _: &Plan, _: &Side) -> BTreeMap<VolumePath, u64> {
        BTreeMap::new()
    }
}

/// The plan for `/home` as one line, the name of the new snapshot, and what was asked for.
fn prepared(
    probe: &Fake,
    [source, target]: [&str; 2],
    change: impl FnOnce(&mut Policy, &mut Side),
) -> (Plan, Vec<String>) {
    let (source, mut target) = sides(USB, &[["/home", source, target]]);
    target.free_bytes = 100 * MIB;
    let mut policy = policy(USB, &["/home"]);
    change(&mut policy, &mut target);
    let plan = prepare(&policy, &source, &mut target, probe, false).unwrap();
    (plan, probe.asked.take())
}

#[test]
fn nothing_is_looked_up_without_need() {
    let probe = Fake::new(&[], "-");
    let (plan, asked) = prepared(&probe, ["@a=1 +5", "partly-listed @a=1"], |_, _| {});
    assert_eq!(lines(&plan), ["/home: @a to new"]);
    assert_eq!(plan.snapshot.as_deref(), Some("zbackup-2026-11-22"));
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn a_name_that_is_taken_out_of_sight_is_not_used() {
    for taken in [
        "tank/home@zbackup-2026-11-22",
        "backup/home@zbackup-2026-11-22",
    ] {
        let taken = [taken];
        let probe = Fake::new(&taken, "-");
        let (plan, asked) = prepared(&probe, ["@a=1 +5", "@a=1"], |_, _| {});
        let name = plan.snapshot.as_deref();
        assert_eq!(name, Some("zbackup-153012-2026-11-22"), "{taken:?}");
        assert!(asked.is_empty(), "{asked:?}");
    }
}

/// The host's newest is on the disk too, but older there than what was listed.
#[test]
fn what_is_there_out_of_sight_is_not_sent_again() {
    let probe = Fake::new(&["backup/home@b"], "@b=2 @a=1");
    let (plan, asked) = prepared(&probe, ["@a=1 @b=2", "partly-listed @a=1"], |_, _| {});
    assert_eq!(asked, ["the whole history"]);
    assert_eq!(lines(&plan), ["/home: up-to-date @a"]);
}

#[test]
fn what_is_around_a_conflict_is_looked_up_once() {
    let probe = Fake::new(&[], "-");
    let (plan, asked) = prepared(&probe, ["@a=1 +5", "@x=9"], |_, _| {});
    assert_eq!(asked, ["surroundings of /home"]);
    assert_eq!(lines(&plan), ["/home: no-common-snapshot @x"]);
}

#[test]
fn what_does_not_fit_is_planned_once_more_with_fewer() {
    let probe = Fake {
        stream_bytes: 200 * MIB,
        ..Fake::new(&[], "@a=1")
    };
    let history = ["@a=1 +5", "@a=1"];
    let (plan, asked) = prepared(&probe, history, |_, _| {});
    assert_eq!(lines(&plan), ["/home: does-not-fit"]);
    assert_eq!(asked, ["the whole history"]);
    // There are no fewer than one.
    let (plan, asked) = prepared(&probe, history, |policy, _| {
        policy.source_keep = std::num::NonZeroUsize::new(1);
        policy.target_keep = std::num::NonZeroUsize::new(1);
    });
    assert_eq!(lines(&plan), ["/home: does-not-fit"]);
    assert!(asked.is_empty(), "{asked:?}");
}
