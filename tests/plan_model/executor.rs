//! Carries a plan out on two model pools, to the letter and nothing besides.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use zbackup::name::{BookmarkName, Guid, SnapshotName};
use zbackup::plan::{
    Action, Base, BaseSource, Overwrite, Plan, Point, Step, Tidying, Transfer, UpToDate, ledger,
    retention,
};

use super::pool::{Mark, Pool, Stream};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was to be sent.
    UpToDate,
    /// Sent to the end.
    Done,
    /// The cable was pulled.
    BrokenOff,
    /// Conflict or impossible: nothing was touched.
    Refused,
}

/// Carries out the plan's one volume. `break_at` is the step that does not end.
pub fn run(
    plan: &Plan,
    source: &mut Pool,
    target: &mut Pool,
    break_at: Option<usize>,
    next_guid: &mut u64,
) -> Ending {
    let transfer = match &plan.volumes[0].action {
        Action::Send(transfer) => transfer,
        Action::UpToDate(_) => return Ending::UpToDate,
        Action::Conflict(_) | Action::Impossible(_) => return Ending::Refused,
    };
    assert_eq!(
        plan.snapshot.is_some(),
        plan.volumes[0].takes_snapshot(),
        "one volume: the run's snapshot is its"
    );
    if let Some(short) = &plan.snapshot {
        *next_guid += 1;
        source.snapshot(short, *next_guid, true);
    }
    secure(transfer, source, target.guid);
    if break_at.is_some() && matches!(transfer.overwrite, Overwrite::Replace { .. }) {
        // Received beside the target, which is swapped out only at the end.
        return Ending::BrokenOff;
    }
    prepare(transfer, target);
    for (index, step) in transfer.steps.iter().enumerate() {
        let stream = send(step, source);
        if break_at == Some(index) {
            target.receive_partly(&stream);
            return Ending::BrokenOff;
        }
        receive(transfer, step, index, &stream, target);
    }
    Ending::Done
}

/// What goes before the first stream.
fn prepare(transfer: &Transfer, target: &mut Pool) {
    if transfer.drops_resume_state
        && let Some(volume) = &mut target.volume
    {
        assert!(volume.partial.take().is_some(), "no state to drop");
        if volume.incomplete {
            target.volume = None;
        }
    }
    if let Some(volume) = &mut target.volume {
        let stale: BTreeSet<_> = transfer
            .stale_bookmarks
            .iter()
            .map(BookmarkName::short)
            .collect();
        volume
            .marks
            .retain(|mark| !stale.contains(mark.short.as_str()));
    }
    match &transfer.overwrite {
        Overwrite::KeepBoth { renamed_to } => {
            let old = target.volume.take().expect("nothing to rename");
            let guids = old.snaps.iter().map(|snap| snap.guid).collect();
            assert!(
                !target
                    .kept
                    .iter()
                    .any(|(name, _)| *name == renamed_to.to_string())
            );
            target.kept.push((renamed_to.to_string(), guids));
        }
        Overwrite::Replace { snapshots } => {
            let old = target.volume.take().expect("nothing to replace");
            let shorts = old.snaps.iter().map(|snap| snap.short.as_str());
            assert!(shorts.eq(snapshots.iter().map(SnapshotName::short)));
        }
        _ => {}
    }
}

fn send(step: &Step, source: &Pool) -> Stream {
    let volume = source.volume.as_ref().expect("send: no volume");
    let from = step
        .base
        .as_ref()
        .map(|base| (base.guid.0, base_txg(base, source)));
    let stream = volume.send(from, step.to.name().short());
    if let Point::Existing { guid, .. } = &step.to {
        assert_eq!(guid.0, stream.to.guid);
    }
    stream
}

/// Both kinds of base must be what the plan says they are.
fn base_txg(base: &Base, source: &Pool) -> u64 {
    let volume = source.volume.as_ref().expect("send: no volume");
    let found = match &base.source {
        BaseSource::Snapshot(name) => volume
            .snaps
            .iter()
            .find(|snap| snap.short == name.short())
            .map(|snap| (snap.guid, snap.txg)),
        BaseSource::Bookmark(name) => volume
            .marks
            .iter()
            .find(|mark| mark.short == name.short())
            .map(|mark| (mark.guid, mark.txg)),
    };
    let (guid, txg) = found.expect("send: no such base");
    assert_eq!(guid, base.guid.0);
    txg
}

fn receive(transfer: &Transfer, step: &Step, index: usize, stream: &Stream, target: &mut Pool) {
    if step.base.is_none() {
        target.receive_full(stream);
        return;
    }
    // What is overwritten is overwritten by the first stream; the others follow on it.
    let (force, listed) = match &transfer.overwrite {
        Overwrite::RollBack { .. } if index == 0 => (true, vec![]),
        Overwrite::Destroy { snapshots, .. } if index == 0 => (true, snapshots.clone()),
        _ => (false, vec![]),
    };
    let names: Vec<(u64, String)> = (target.volume.iter())
        .flat_map(|volume| &volume.snaps)
        .map(|snap| (snap.guid, snap.short.clone()))
        .collect();
    let destroyed = target.receive_increment(stream, force, step.resume.is_some());
    let destroyed = destroyed.iter().map(|guid| {
        let (_, short) = names.iter().find(|(of, _)| of == guid).unwrap();
        short.as_str()
    });
    assert!(
        destroyed.eq(listed.iter().map(SnapshotName::short)),
        "only what is listed"
    );
}

/// What follows a run that went well: marks, both ledgers, retention. Returns the pruned guids.
pub fn tidy(plan: &Plan, source: &mut Pool, target: &mut Pool, keep: usize) -> [BTreeSet<u64>; 2] {
    let volume = &plan.volumes[0];
    let is_ahead = matches!(volume.action, Action::UpToDate(UpToDate::TargetAhead(_)));
    share_marks(source, target);
    share_marks(target, source);
    if !is_ahead {
        let target_volume = target.volume.as_ref().expect("a copy");
        let source_volume = source.volume.as_ref().expect("a source");
        let newest_common = target_volume.snaps.iter().rev();
        let newest_common = newest_common
            .map(|snap| snap.guid)
            .find(|guid| source_volume.find(*guid).is_some());
        if let Some(guid) = newest_common {
            keep_ledger(source, target.guid, guid);
            keep_ledger(target, source.guid, guid);
        }
    }
    let keep = NonZeroUsize::new(keep).unwrap();
    let from_source = old(source, target, keep, false);
    let from_target = old(target, source, keep, is_ahead);
    [
        prune(source, &volume.retention.source, &from_source),
        prune(target, &volume.retention.target, &from_target),
    ]
}

/// A snapshot is own where its twin is.
fn share_marks(from: &Pool, to: &mut Pool) {
    let twins = from.volume.as_ref().expect("a volume");
    for snap in &mut to.volume.as_mut().expect("a volume").snaps {
        snap.own |= twins
            .find(snap.guid)
            .is_some_and(|index| twins.snaps[index].own);
    }
}

/// What is going to be sent is bookmarked before.
fn secure(transfer: &Transfer, source: &mut Pool, peer: u64) {
    let volume = source.volume.as_ref().expect("a source");
    let last = transfer.steps.last().expect("a step").to.name().short();
    let last = volume.snaps.iter().find(|snap| snap.short == last);
    let guid = last.expect("what is sent").guid;
    let update = ledger_update(source, peer, guid);
    add_marks(source, &update, guid);
}

fn ledger_update(pool: &Pool, peer: u64, newest_common: u64) -> ledger::Update {
    let side = pool.side();
    let dataset = &side.datasets[&side.top.join("home").unwrap()];
    let newest_common = dataset.snapshot(Guid(newest_common)).unwrap();
    ledger::update(&dataset.bookmarks, Guid(peer), newest_common).unwrap()
}

fn keep_ledger(pool: &mut Pool, peer: u64, newest_common: u64) {
    let update = ledger_update(pool, peer, newest_common);
    add_marks(pool, &update, newest_common);
    let marks = &mut pool.volume.as_mut().unwrap().marks;
    marks.retain(|mark| !update.destroy.iter().any(|gone| gone.short() == mark.short));
}

fn add_marks(pool: &mut Pool, update: &ledger::Update, guid: u64) {
    let side = pool.side();
    let dataset = &side.datasets[&side.top.join("home").unwrap()];
    let newest_common = dataset.snapshot(Guid(guid)).unwrap();
    let marks = &mut pool.volume.as_mut().unwrap().marks;
    for (bookmark, _) in &update.create {
        assert!(
            !marks.iter().any(|mark| mark.short == bookmark.short()),
            "bookmark: EEXIST"
        );
        marks.push(Mark {
            short: bookmark.short().into(),
            guid: newest_common.guid.0,
            txg: newest_common.createtxg.0,
        });
    }
    marks.sort_by_key(|mark| mark.txg);
}

/// What retention may take, seen from where the run has really ended.
fn old(pool: &Pool, peer: &Pool, keep: NonZeroUsize, is_ahead: bool) -> BTreeSet<u64> {
    let (here, there) = (pool.side(), peer.side());
    let home =
        |side: &zbackup::inventory::Side| side.datasets[&side.top.join("home").unwrap()].clone();
    let (here, there) = (home(&here), home(&there));
    let mut protected = retention::needed_for(&there, &here);
    protected.extend(retention::receives_on(&here, &there).filter(|_| !is_ahead));
    let old = retention::prunable(&here, keep, &protected);
    old.iter().map(|snapshot| snapshot.guid.0).collect()
}

/// Takes what the plan listed. All of it may go now; where the run has made a bookmark that the plan
/// could not count on, more might.
fn prune(pool: &mut Pool, tidying: &Tidying, old: &BTreeSet<u64>) -> BTreeSet<u64> {
    let listed: BTreeSet<u64> = tidying.old.iter().map(|snapshot| snapshot.guid.0).collect();
    assert!(
        listed.is_subset(old),
        "{}: {listed:?} was to go, but only {old:?} may",
        pool.name
    );
    let volume = pool.volume.as_mut().unwrap();
    let (gone, stay): (Vec<_>, Vec<_>) = volume
        .snaps
        .drain(..)
        .partition(|snap| listed.contains(&snap.guid));
    volume.snaps = stay;
    assert!(gone.iter().all(|snap| snap.own), "only own ones are pruned");
    gone.iter().map(|snap| snap.guid).collect()
}
