//! The planner, case by case.
//!
//! Goal: every rule of the planner has a row that shows it, and random histories of a host and its
//! disks find no way around them. Method: both sides are written down in a small notation
//! ([`notation`]), the decision is read back as one line; no pool, file or clock is involved.

mod afterwards;
mod conflicts;
mod encryption;
mod features;
mod histories;
mod ledger;
mod notation;
mod planning;
mod proof;
mod renames;
mod resume;
mod retention;
mod select;
mod several;
mod space;
mod words;

use std::collections::BTreeSet;

use zbackup::model::Side;
use zbackup::plan::{Direction, Plan, Policy, Stamp, plan};

use notation::{add, lines, side, volume};

/// One case: why it is as it is, the source, the target, the decision.
type Row<'a> = [&'a str; 4];

const USB: Direction = Direction::ToDisk;
const OS: Direction = Direction::ToHost;

fn policy(direction: Direction, volumes: &[&str]) -> Policy {
    Policy {
        direction,
        volumes: volumes.iter().map(|text| volume(text)).collect(),
        now: Stamp {
            date: "2026-11-22".into(),
            time: "153012".into(),
        },
        taken_names: BTreeSet::new(),
        intermediate: false,
        force: BTreeSet::new(),
        keep_both: BTreeSet::new(),
        follow_rename: BTreeSet::new(),
        source_keep: None,
        target_keep: None,
    }
}

/// Both sides of `volumes` (path, source, target), named as the direction has it.
fn sides(direction: Direction, volumes: &[[&str; 3]]) -> (Side, Side) {
    let (mut source, mut target) = match direction {
        Direction::ToDisk => (side("tank"), side("backup")),
        Direction::ToHost => (side("backup"), side("tank")),
    };
    for [path, on_source, on_target] in volumes {
        add(&mut source, path, on_source);
        add(&mut target, path, on_target);
    }
    (source, target)
}

/// The plan for several volumes: path, source, target.
fn run(direction: Direction, volumes: &[[&str; 3]]) -> Plan {
    run_with(direction, volumes, |_| {})
}

fn run_with(direction: Direction, volumes: &[[&str; 3]], change: impl FnOnce(&mut Policy)) -> Plan {
    let (source, target) = sides(direction, volumes);
    let paths: Vec<_> = volumes.iter().map(|[path, ..]| *path).collect();
    let mut policy = policy(direction, &paths);
    change(&mut policy);
    plan(&policy, &source, &target)
}

/// Checks a table about the one volume `/home`.
#[track_caller]
fn check(direction: Direction, rows: &[Row<'_>]) {
    check_with(direction, |_| {}, rows);
}

/// Checks a table with another policy. All wrong rows are shown at once.
#[track_caller]
fn check_with(direction: Direction, change: impl Fn(&mut Policy), rows: &[Row<'_>]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|[why, source, target, expected]| {
            let plan = run_with(direction, &[["/home", source, target]], &change);
            let decision = lines(&plan)[0].replace("/home: ", "");
            let case = format!("{why}\n  source: {source}\n  target: {target}");
            (decision != *expected)
                .then(|| format!("{case}\n  expected: {expected}\n  decided:  {decision}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn force_home(policy: &mut Policy) {
    policy.force.insert(volume("/home"));
}

fn keep_both_home(policy: &mut Policy) {
    policy.keep_both.insert(volume("/home"));
}
