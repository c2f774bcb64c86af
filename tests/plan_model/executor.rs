//! Carries a plan out on two model pools, to the letter and nothing besides.

use std::collections::BTreeSet;

use openzfs::{BookmarkName, Guid, SnapshotName};
use zbackup::model::ledger;
use zbackup::plan::{
    Action, Base, BaseSource, Direction, Overwrite, Plan, Point, Pruning, Step, Transfer, UpToDate,
    is_managed_on_arrival, to_record,
};

use zbackup::model::ledger::Peer;

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
    /// All has arrived, and nothing of it was written down.
    Crashed,
    /// Conflict or impossible: nothing was touched.
    Refused,
}

/// Carries out the plan's one volume. `break_at` is the step that does not end; a number that there
/// is no step of is the moment after the last.
pub fn run(
    plan: &Plan,
    source: &mut Pool,
    target: &mut Pool,
    break_at: Option<usize>,
    next_guid: &mut u64,
) -> Ending {
    let is_refused = matches!(
        plan.volumes[0].action,
        Action::Conflict(_) | Action::Impossible(_)
    );
    if !is_refused {
        forget(&plan.volumes[0].forgets, [source, target]);
    }
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
    secure(transfer, source, target.peer());
    let is_beside = matches!(
        transfer.overwrite,
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. }
    );
    if break_at.is_some() && is_beside {
        // Received beside the target, which is swapped out only at the end.
        return Ending::BrokenOff;
    }
    prepare(transfer, target);
    let record = match plan.direction {
        Direction::ToDisk => String::new(),
        Direction::ToHost => to_record(source.side().dataset(&plan.volumes[0].source), transfer),
    };
    for volume in target.volume.iter_mut().filter(|_| !record.is_empty()) {
        volume.record.clone_from(&record);
    }
    for (index, step) in transfer.steps.iter().enumerate() {
        let stream = send(step, source);
        let name_is_ours = step.to.name().short().starts_with("zbackup-");
        if break_at == Some(index) {
            target.receive_partly(&stream);
            return Ending::BrokenOff;
        }
        receive(transfer, step, index, &stream, target);
        let volume = target.volume.as_mut().expect("it has arrived");
        volume.record.clone_from(&record);
        let arrived = volume.snaps.last_mut().expect("it has arrived");
        arrived.managed = name_is_ours;
    }
    match break_at {
        Some(_) => Ending::Crashed,
        None => Ending::Done,
    }
}

/// Bookmarks that stand for nothing go first. Where the log is whole, they do stand for nothing, or
/// nobody can know that they do not.
fn forget(names: &[BookmarkName], pools: [&mut Pool; 2]) {
    for pool in pools {
        let marks = pool.volume.iter_mut().map(|volume| &mut volume.marks);
        for marks in marks {
            marks.retain(|mark| {
                let is_named = |name: &&BookmarkName| {
                    name.dataset().pool().as_str() == pool.name && name.short() == mark.short
                };
                let goes = names.iter().any(|name| is_named(&name));
                assert!(!goes || mark.undone || !mark.tellable, "{mark:?} was fine");
                !goes
            });
        }
    }
}

/// The source bookmarks all that it is about to send, before it sends.
fn secure(transfer: &Transfer, source: &mut Pool, peer: Peer) {
    for step in &transfer.steps {
        let volume = source.volume.as_ref().expect("a source");
        let short = step.to.name().short();
        let mut snaps = volume.snaps.iter();
        let snap = snaps.find(|snap| snap.short == short);
        let snap = snap.expect("what is sent exists");
        let (guid, name) = (snap.guid, mark_name(peer, snap.txg));
        if !volume.marks.iter().any(|mark| mark.short == name) {
            source.bookmark(&name, guid);
        }
    }
}

/// How the ledger calls the bookmark of a snapshot.
pub fn mark_name(peer: Peer, txg: u64) -> String {
    format!("zbackup-{peer}-{txg}")
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
        Overwrite::Replace { snapshots, .. } => {
            let old = target.volume.take().expect("nothing to replace");
            assert!(!old.snaps.iter().any(|snap| snap.held), "destroy: EBUSY");
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
            .map(|mark| {
                assert!(!mark.undone, "send: {mark:?} stands for what was undone");
                (mark.guid, mark.txg)
            }),
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
pub fn tidy(
    plan: &Plan,
    source: &mut Pool,
    target: &mut Pool,
    keep: [usize; 2],
) -> [BTreeSet<u64>; 2] {
    let volume = &plan.volumes[0];
    let is_ahead = matches!(volume.action, Action::UpToDate(UpToDate::TargetAhead(_)));
    let is_new = matches!(&volume.action, Action::Send(transfer)
        if transfer.steps.first().is_some_and(|step| step.base.is_none()));
    mark(plan, source, target);
    if !is_ahead {
        let [there, back] = [sends_from(source, target), sends_from(target, source)];
        if let Some(guid) = there {
            keep_ledger(source, target.peer(), guid);
            note_checked(source, guid);
        }
        if let Some(guid) = back {
            keep_ledger(target, source.peer(), guid);
            if !is_new {
                note_checked(target, guid);
            }
        }
    }
    for pool in [&mut *source, &mut *target] {
        let mut marks = pool.volume.iter().flat_map(|volume| &volume.marks);
        let undone = marks.find(|mark| mark.undone);
        assert!(undone.is_none(), "{undone:?} is kept");
        pool.note_what_is_tellable();
    }
    let before = [source.clone(), target.clone()];
    let gone = [
        prune(source, &volume.retention.source),
        prune(target, &volume.retention.target),
    ];
    for (here, there) in [(0, 1), (1, 0)] {
        check_gone(&before[here], &before[there], keep[here], &gone[here]);
    }
    check_still_in_common(&before, [source, target], is_ahead);
    gone
}

/// The snapshot that a stream from `source` to `target` would start from, unless a bookmark is all
/// that is left of it.
fn sends_from(source: &Pool, target: &Pool) -> Option<u64> {
    let guid = base(source, target)?;
    source.volume.as_ref()?.find(guid).map(|_| guid)
}

/// Marks what has arrived, and what the plan says that an earlier run has not come to. On a host that
/// is nothing but what zbackup has made or received there.
fn mark(plan: &Plan, source: &mut Pool, target: &mut Pool) {
    let volume = &plan.volumes[0];
    let from = &source.side().datasets[&volume.source];
    let arrived = match &volume.action {
        Action::Send(transfer) => &transfer.steps[..],
        _ => &[],
    };
    let own = arrived.iter().map(|step| &step.to);
    let own = own.filter(|point| is_managed_on_arrival(plan.direction, Some(from), point));
    let own: Vec<&str> = own.map(|point| point.name().short()).collect();
    let unmarked = |pruning: &Pruning| -> Vec<String> {
        let names = pruning.unmarked.iter();
        names.map(|name| name.short().to_owned()).collect()
    };
    let retention = &volume.retention;
    for (pool, unmarked, own) in [
        (source, unmarked(&retention.source), &[][..]),
        (target, unmarked(&retention.target), &own[..]),
    ] {
        let is_host = pool.is_host();
        for snap in &mut pool.volume.as_mut().expect("a volume").snaps {
            if unmarked.contains(&snap.short) || own.contains(&snap.short.as_str()) {
                assert!(snap.managed || !is_host, "{snap:?} is not ours");
                snap.own = true;
            }
        }
    }
}

/// Notes that nothing is in doubt any more, up to this snapshot.
fn note_checked(pool: &mut Pool, newest_common: u64) {
    let volume = pool.volume.as_mut().unwrap();
    let snap = volume.snaps.iter().find(|snap| snap.guid == newest_common);
    volume.checked = volume.checked.max(Some(snap.unwrap().txg));
}

/// How many a host keeps for those who copy the disk.
const OLDER_OF_A_DISK: usize = 60;

/// Does what the ledger says, and checks it: what this pool sends from has its bookmark, this peer has
/// no older one, or a few of a disk, and nobody else's is touched.
fn keep_ledger(pool: &mut Pool, peer: Peer, newest_common: u64) {
    let side = pool.side();
    let dataset = &side.datasets[&side.top.join("home").unwrap()];
    let common = dataset.snapshot(Guid(newest_common)).unwrap();
    let txg = common.createtxg.0;
    // What stands for nothing was destroyed before; the log told of the others.
    let existing = [&dataset.bookmarks[..], &dataset.doubtful].concat();
    let update = ledger::update(&existing, peer, common).unwrap();
    for (bookmark, snapshot) in &update.create {
        assert_eq!(snapshot, &common.name);
        pool.bookmark(bookmark.short(), newest_common);
    }
    let marks = &mut pool.volume.as_mut().unwrap().marks;
    let destroyed = |short: &str| update.destroy.iter().any(|gone| gone.short() == short);
    let (gone, stay): (Vec<_>, Vec<_>) = marks.drain(..).partition(|mark| destroyed(&mark.short));
    *marks = stay;
    let of_peer = format!("zbackup-{peer}-");
    let is_old = |short: &str, of: u64| short.starts_with(&of_peer) && of < txg;
    let is_host = pool.is_host();
    let volume = pool.volume.as_mut().unwrap();
    let marks = &mut volume.marks;
    assert!(
        gone.iter().all(|mark| is_old(&mark.short, mark.txg)),
        "{gone:?}"
    );
    let old = marks.iter().filter(|mark| is_old(&mark.short, mark.txg));
    let allowed = if is_host { OLDER_OF_A_DISK } else { 0 };
    assert!(old.count() <= allowed, "{marks:?}");
    let wanted = mark_name(peer, txg);
    let found = marks.iter().find(|mark| mark.short == wanted);
    assert_eq!(
        found.map(|mark| mark.guid),
        Some(newest_common),
        "{marks:?}"
    );
}

/// Takes what the plan listed.
fn prune(pool: &mut Pool, pruning: &Pruning) -> BTreeSet<u64> {
    let listed: BTreeSet<u64> = pruning.old.iter().map(|snapshot| snapshot.guid.0).collect();
    let volume = pool.volume.as_mut().unwrap();
    volume.snaps.retain(|snap| !listed.contains(&snap.guid));
    listed
}

/// What retention may take, and must: managed snapshots but the newest few, the held ones, and
/// what the other side, or an interrupted receive, needs as its base.
fn check_gone(here: &Pool, there: &Pool, keep: usize, gone: &BTreeSet<u64>) {
    let (volume, peer) = (
        here.volume.as_ref().unwrap(),
        there.volume.as_ref().unwrap(),
    );
    let own: Vec<_> = volume.snaps.iter().filter(|snap| snap.own).collect();
    let old = &own[..own.len().saturating_sub(keep)];
    let broken_off: BTreeSet<u64> = [volume, peer]
        .iter()
        .filter_map(|volume| volume.partial.as_ref())
        .flat_map(|partial| [Some(partial.to_guid), partial.from_guid])
        .flatten()
        .collect();
    let free = old.iter().filter(|snap| !snap.held).map(|snap| snap.guid);
    let may_go: BTreeSet<u64> = free.filter(|guid| !broken_off.contains(guid)).collect();
    let name = here.name;
    let mut theirs = volume
        .snaps
        .iter()
        .filter(|snap| !snap.managed && here.is_host());
    assert!(
        !theirs.any(|snap| gone.contains(&snap.guid)),
        "{name}: {gone:?} are theirs"
    );
    assert!(gone.is_subset(&may_go), "{name}: {gone:?} of {may_go:?}");
    // One a direction: what would be received on next, and what would be sent from.
    let mut known: BTreeSet<u64> = bases(here, there).into_iter().flatten().collect();
    // What is not zbackup's on the host is not on the disk either, whatever mark it has there.
    if !here.is_host() {
        let theirs = peer.snaps.iter().filter(|snap| !snap.own);
        let theirs: BTreeSet<u64> = theirs.map(|snap| snap.guid).collect();
        assert!(gone.is_disjoint(&theirs), "{name}: {gone:?} are somebody's");
        known.extend(theirs);
    }
    let must_go: BTreeSet<u64> = may_go.difference(&known).copied().collect();
    assert!(
        must_go.is_subset(gone),
        "{name}: {gone:?} lacks some of {must_go:?}"
    );
}

/// What a stream each way would start from: the newest snapshot of the receiver that the sender has,
/// or has a bookmark of.
fn bases(one: &Pool, other: &Pool) -> [Option<u64>; 2] {
    [base(one, other), base(other, one)]
}

/// What a stream from `source` to `target` would start from.
pub fn base(source: &Pool, target: &Pool) -> Option<u64> {
    newest_common(source, target, |mark| !mark.undone)
}

/// The same, by what can be told.
pub fn tellable_base(source: &Pool, target: &Pool) -> Option<u64> {
    newest_common(source, target, |mark| !mark.undone && mark.tellable)
}

fn newest_common(source: &Pool, target: &Pool, counts: fn(&Mark) -> bool) -> Option<u64> {
    let source = source.volume.as_ref()?;
    let has = |guid: u64| {
        let stands = |mark: &Mark| mark.guid == guid && counts(mark);
        source.find(guid).is_some() || source.marks.iter().any(stands)
    };
    let mut snaps = target.volume.as_ref()?.snaps.iter().rev();
    Some(snaps.find(|snap| has(snap.guid))?.guid)
}

/// Retention has cost neither side its base. A target that is ahead may lose what only a stream to it
/// would start from.
fn check_still_in_common(before: &[Pool; 2], after: [&Pool; 2], is_ahead: bool) {
    let [there, back] = bases(&before[0], &before[1]);
    let [there_after, back_after] = bases(after[0], after[1]);
    assert_eq!(back_after, back, "the way back has lost its base");
    assert!(is_ahead || there_after == there, "the base is lost");
}
