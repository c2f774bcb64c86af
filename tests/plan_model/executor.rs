//! Has the program carry a plan out on two model pools, and measures what it did by rules of this
//! model's own.

use std::collections::BTreeSet;

use openzfs::PoolName;
use zbackup::model::ledger::Peer;
use zbackup::model::marks::{ARRIVING_SUFFIX, REPLACED_SUFFIX};
use zbackup::plan::{Action, Overwrite, Plan, UpToDate};
use zbackup::report::Outcome;

use super::carry::Planned;
use super::fake::Fake;
use super::pool::{Mark, Pool, Snap};

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
/// is no step of is the moment after the last. Returns the guids that retention took, too.
pub fn run(
    planned: &Planned,
    [source, target]: [&mut Pool; 2],
    break_at: Option<usize>,
    keep: [usize; 2],
    next_guid: &mut u64,
) -> (Ending, [BTreeSet<u64>; 2]) {
    let plan = &planned.plan;
    check_forgets(plan, [source, target]);
    let before = [source.clone(), target.clone()];
    let fake = Fake::new(before.clone());
    let steps = match &plan.volumes[0].action {
        Action::Send(transfer) => transfer.steps.len(),
        _ => 0,
    };
    fake.state().next_guid = *next_guid;
    fake.state().dies_after = break_at.map(|step| (step.min(steps), step >= steps));
    let partuuid = [&*source, &*target]
        .into_iter()
        .find_map(|pool| pool.partuuid.clone());
    let outcomes = planned.carry_out(&fake, &partuuid.expect("a disk"), &|| false);
    *next_guid = fake.state().next_guid;
    let destroyed = std::mem::take(&mut fake.state().destroyed);
    let mut pools = fake.into_pools();
    for pool in [&mut *source, &mut *target] {
        *pool = pools.remove(&PoolName::new(pool.name).unwrap()).unwrap();
        // Somebody does what the next run would say of a replacement that died.
        let is_left =
            |name: &str| name.ends_with(ARRIVING_SUFFIX) || name.ends_with(REPLACED_SUFFIX);
        pool.others.retain(|name, _| !is_left(name));
    }
    let report = &outcomes.volumes[0];
    let ending = match &plan.volumes[0].action {
        Action::UpToDate(_) => Ending::UpToDate,
        Action::Conflict(_) | Action::Impossible(_) => Ending::Refused,
        Action::Send(_) if break_at.is_none() => Ending::Done,
        Action::Send(transfer)
            if break_at >= Some(steps) && !ends_with_a_swap(&transfer.overwrite, steps) =>
        {
            Ending::Crashed
        }
        Action::Send(_) => Ending::BrokenOff,
    };
    if !matches!(ending, Ending::UpToDate | Ending::Done) {
        return (ending, Default::default());
    }
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.reason);
    assert!(!outcomes.is_incomplete, "{:?}", outcomes.warnings);
    let gone = [&*source, &*target].map(|pool| {
        let of_pool = destroyed
            .iter()
            .filter(|(name, _)| name.as_str() == format!("{}/home", pool.name));
        of_pool.map(|(_, snap)| snap.clone()).collect::<Vec<_>>()
    });
    (ending, check(plan, before, [source, target], gone, keep))
}

/// Received beside the target, which is swapped out when the one stream has arrived.
fn ends_with_a_swap(overwrite: &Overwrite, steps: usize) -> bool {
    let is_beside = matches!(
        overwrite,
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. }
    );
    is_beside && steps == 1
}

/// Where the log is whole, what is forgotten stands for nothing, or nobody can know that it does not.
fn check_forgets(plan: &Plan, pools: [&Pool; 2]) {
    for name in &plan.volumes[0].forgets {
        let pool = pools
            .iter()
            .find(|pool| name.dataset().pool().as_str() == pool.name);
        let marks = pool
            .iter()
            .flat_map(|pool| &pool.volume)
            .flat_map(|volume| &volume.marks);
        for mark in marks.filter(|mark| mark.short == name.short()) {
            assert!(mark.undone || !mark.tellable, "{mark:?} was fine");
        }
    }
}

/// How the ledger calls the bookmark of a snapshot.
pub fn mark_name(peer: Peer, txg: u64) -> String {
    format!("zbackup-{peer}-{txg}")
}

/// What follows a run that went well: marks, both ledgers, retention. Returns the pruned guids.
fn check(
    plan: &Plan,
    before: [Pool; 2],
    [source, target]: [&mut Pool; 2],
    gone: [Vec<Snap>; 2],
    keep: [usize; 2],
) -> [BTreeSet<u64>; 2] {
    let is_ahead = matches!(
        plan.volumes[0].action,
        Action::UpToDate(UpToDate::TargetAhead(_))
    );
    // As they were before retention.
    let with_gone = |pool: &Pool, gone: &[Snap]| {
        let mut pool = pool.clone();
        let volume = pool.volume.as_mut().expect("a volume");
        volume.snaps.extend(gone.iter().cloned());
        volume.snaps.sort_by_key(|snap| snap.txg);
        pool
    };
    let tidied = [with_gone(source, &gone[0]), with_gone(target, &gone[1])];
    let gone = gone.map(|gone| gone.iter().map(|snap| snap.guid).collect::<BTreeSet<_>>());
    if !is_ahead {
        let [from, to] = &tidied;
        if let Some(guid) = sends_from(from, to) {
            check_ledger(from, to.peer(), guid);
        }
        if let Some(guid) = sends_from(to, from) {
            check_ledger(to, from.peer(), guid);
        }
    }
    check_marks(plan, &before[0], source, target.peer());
    if !starts_anew(plan) {
        check_marks(plan, &before[1], target, source.peer());
    }
    for pool in [&mut *source, &mut *target] {
        let mut marks = pool.volume.iter().flat_map(|volume| &volume.marks);
        let undone = marks.find(|mark| mark.undone);
        assert!(undone.is_none(), "{undone:?} is kept");
        let mut own = pool.volume.iter().flat_map(|volume| &volume.snaps);
        let theirs = own.find(|snap| snap.own && !snap.managed && pool.is_host());
        assert!(theirs.is_none(), "{theirs:?} is not ours");
        pool.note_what_is_tellable();
    }
    for (here, there) in [(0, 1), (1, 0)] {
        check_gone(&tidied[here], &tidied[there], keep[here], &gone[here]);
    }
    check_still_in_common(&tidied, [source, target], is_ahead);
    gone
}

/// The snapshot that a stream from `source` to `target` would start from, unless a bookmark is all
/// that is left of it.
fn sends_from(source: &Pool, target: &Pool) -> Option<u64> {
    let guid = base(source, target)?;
    source.volume.as_ref()?.find(guid).map(|_| guid)
}

/// How many a host keeps for those who copy the disk.
const OLDER_OF_A_DISK: usize = 60;

/// What this pool sends from has its bookmark, this peer has no older one, or a few of a disk, and nobody
/// else's is touched.
fn check_ledger(pool: &Pool, peer: Peer, newest_common: u64) {
    let volume = pool.volume.as_ref().expect("a volume");
    let txg = volume.snaps[volume.find(newest_common).expect("it is in common")].txg;
    let marks = &volume.marks;
    let wanted = mark_name(peer, txg);
    let found = marks.iter().find(|mark| mark.short == wanted);
    assert_eq!(
        found.map(|mark| mark.guid),
        Some(newest_common),
        "{marks:?}"
    );
    let of_peer = format!("zbackup-{peer}-");
    let is_old = |mark: &&Mark| mark.short.starts_with(&of_peer) && mark.txg < txg;
    let allowed = if pool.is_host() { OLDER_OF_A_DISK } else { 0 };
    assert!(marks.iter().filter(is_old).count() <= allowed, "{marks:?}");
}

fn starts_anew(plan: &Plan) -> bool {
    matches!(&plan.volumes[0].action, Action::Send(transfer) if transfer.steps[0].base.is_none())
}

/// Only what the plan lists is gone, and older ones of the peer for which there is a newer one.
fn check_marks(plan: &Plan, before: &Pool, after: &Pool, peer: Peer) {
    let volume = &plan.volumes[0];
    let listed = match &volume.action {
        Action::Send(transfer) => &transfer.stale_bookmarks[..],
        _ => &[],
    };
    let is_listed = |mark: &&Mark| {
        let mut all = listed.iter().chain(&volume.forgets);
        all.any(|name| name.short() == mark.short)
    };
    let marks = |pool: &Pool| -> Vec<Mark> {
        let volumes = pool.volume.iter();
        volumes.flat_map(|volume| volume.marks.clone()).collect()
    };
    let (old, new) = (marks(before), marks(after));
    let of_peer = format!("zbackup-{peer}-");
    let any_part = format!("zbackup-{}-", peer.any_part());
    let may_be_of_peer = |short: &str| short.starts_with(&of_peer) || short.starts_with(&any_part);
    let is_there = |mark: &&Mark| new.iter().any(|one| one.short == mark.short);
    let mut gone = old
        .iter()
        .filter(|mark| !is_there(mark) && !is_listed(mark));
    let theirs = gone.find(|mark| !may_be_of_peer(&mark.short));
    assert!(theirs.is_none(), "{theirs:?} is gone");
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
