//! What a run leaves behind so that the next one knows where both sides stand.
//!
//! - a bookmark for the peer on both sides: the base of the next increment, also when the
//!   snapshot is gone by then;
//! - the mark "zbackup's own" on received snapshots that are own on the source, and the newest
//!   guid on the copy;
//! - a visit record of this host on the disk's root, and one of the disk on the host's.
//!
//! However many volumes there are, each pool is told in a handful of calls, both at the same time.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use super::{Outcomes, Replication, transfers_of};
use crate::inventory::{
    CREATED_PROPERTY, DISK_PROPERTY_PREFIX, Dataset, DiskRecord, NEWEST_PROPERTY, Side, is_own,
};
use crate::name::{BookmarkName, DatasetName, Guid, SnapshotName};
use crate::plan::{Action, Direction, Overwrite, Point, Transfer, UpToDate, VolumePlan, ledger};
use crate::report::Outcome;
use crate::snapshot::{Bookmark, Snapshot};
use crate::threads;
use crate::zfs::{self, BatchError, Lzc, PropertyChange};

/// Prefix of the user property on the disk's root that records a host's visit; the host pool's guid follows.
pub const VISIT_PROPERTY_PREFIX: &str = "org.zbackup:visit-";

/// One volume that is the same on both sides now, and what its ledgers are to name there. `None`
/// where that stays as it is.
struct Agreement<'a> {
    source: Option<&'a Dataset>,
    target: Option<&'a Dataset>,
    on_source: Option<Snapshot>,
    on_target: Option<Snapshot>,
    transfer: Option<&'a Transfer>,
}

/// What this run has bookmarked on the source before it sends.
#[derive(Debug, Default)]
pub(super) struct Secured {
    bookmarks: BTreeMap<DatasetName, Vec<Bookmark>>,
    snapshots: BTreeMap<SnapshotName, Snapshot>,
}

/// Bookmarks, on the source, all that is about to be sent. A run that breaks off or dies between a
/// receive and its ledger then still leaves the base of the next increment, whatever another disk's
/// run removes until this one returns. What fails here is a warning, and tried again by [`update`].
pub(super) fn secure(run: &Replication, outcomes: &mut Outcomes) -> Secured {
    let mut secured = Secured::default();
    let mut create = Vec::new();
    let planned = transfers_of(run.plan)
        .filter(|(index, ..)| outcomes.volumes[*index].outcome == Outcome::Planned);
    for (_, volume, transfer) in planned {
        let dataset = run.source.dataset(&volume.source);
        let existing = dataset.map_or(&[][..], |dataset| &dataset.bookmarks);
        for step in &transfer.steps {
            let short = step.to.name().short();
            let Ok(sent) = snapshot(run, dataset, &volume.source, short) else {
                continue;
            };
            if can_be_bookmarked(run.source, dataset, &sent) {
                let update = ledger::update(existing, run.target.pool_guid, &sent);
                create.extend(update.into_iter().flat_map(|update| update.create));
            }
            secured.snapshots.insert(sent.name.clone(), sent);
        }
    }
    let (made, failure) = bookmark_as_many(run.lzc, create);
    if let Some(error) = failure {
        outcomes.warn(format!(
            "not all snapshots on {} could be bookmarked before they were sent, so that a run that \
             dies half way may leave none: {error}",
            run.source.pool
        ));
    }
    for (name, snapshot) in made {
        let of_dataset = secured.bookmarks.entry(name.dataset()).or_default();
        of_dataset.extend(secured.snapshots.get(&snapshot).map(|of| Bookmark {
            name,
            guid: of.guid,
            createtxg: of.createtxg,
            ivset_guid: of.ivset_guid,
        }));
    }
    secured
}

/// The call is all or nothing: where some are to blame, the rest is tried once more. Returns what was
/// made, and the first failure.
fn bookmark_as_many(
    lzc: Lzc,
    mut create: Vec<(BookmarkName, SnapshotName)>,
) -> (Vec<(BookmarkName, SnapshotName)>, Option<BatchError>) {
    if create.is_empty() {
        return (create, None);
    }
    let Err(error) = lzc.bookmark(&create) else {
        return (create, None);
    };
    let wanted = create.len();
    create.retain(|(bookmark, snapshot)| {
        let mut names = [bookmark.as_str(), snapshot.as_str()].into_iter();
        names.all(|name| error.reason_for(name).is_none())
    });
    let is_worth_it = !create.is_empty() && create.len() < wanted;
    if !is_worth_it || lzc.bookmark(&create).is_err() {
        create.clear();
    }
    (create, Some(error))
}

/// Writes the ledger of every volume that is up to date now. What fails here is a warning: the
/// data has arrived, and the next run finds its base without a ledger too, as long as that base
/// stays.
///
/// Returns whether every bookmark is written that old snapshots may rely on.
pub(super) fn update(run: &Replication, secured: &Secured, outcomes: &mut Outcomes) -> bool {
    let (agreements, mut complete) = agreements(run, secured, outcomes);
    if agreements.is_empty() {
        // Nothing came to its end, or the user wanted nothing: this was no visit.
        return complete;
    }
    let (host_visit, disk_visit) = visits(run);
    let (source_visit, target_visit) = match run.plan.direction {
        Direction::ToDisk => (host_visit, disk_visit),
        Direction::ToHost => (disk_visit, host_visit),
    };
    let on_source =
        (agreements.iter()).filter_map(|one| Some((one.source, one.on_source.as_ref()?)));
    let on_target =
        (agreements.iter()).filter_map(|one| Some((one.target, one.on_target.as_ref()?)));
    let source = Entries {
        side: run.source,
        bookmarks: bookmarks(run.source, run.target.pool_guid, on_source, secured),
        records: vec![source_visit],
    };
    let target = Entries {
        side: run.target,
        bookmarks: bookmarks(run.target, run.source.pool_guid, on_target, secured),
        records: marks(run, &agreements)
            .into_iter()
            .chain([target_visit])
            .collect(),
    };
    // Each of these calls waits for its pool's transaction group, and the pools need not wait for
    // each other.
    let lzc = run.lzc;
    let written = thread::scope(|scope| {
        let other = threads::spawn(scope, "ledger", || source.write(lzc));
        let written = target.write(lzc);
        let other = match other {
            Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => source.write(lzc),
        };
        [other, written]
    });
    for one in written {
        complete &= one.bookmarks_are_complete;
        for warning in one.warnings {
            outcomes.warn(warning);
        }
    }
    complete
}

/// What both sides of each finished volume hold now, and whether that could be told of all.
fn agreements<'a>(
    run: &Replication<'a>,
    secured: &Secured,
    outcomes: &mut Outcomes,
) -> (Vec<Agreement<'a>>, bool) {
    let mut complete = true;
    let mut agreements = Vec::new();
    for index in 0..run.plan.volumes.len() {
        match agreement(run, secured, outcomes, index) {
            Ok(found) => agreements.extend(found),
            Err(error) => {
                complete = false;
                outcomes.warn(format!(
                    "{}: the ledger was not updated: {error}",
                    run.plan.volumes[index].volume
                ));
            }
        }
    }
    (agreements, complete)
}

/// What one pool's part of the ledger becomes.
struct Entries<'a> {
    side: &'a Side,
    bookmarks: Bookmarks,
    records: Vec<PropertyChange>,
}

/// Bookmarks to make and, only then, those that they stand in for; why volumes are left without one.
#[derive(Default)]
struct Bookmarks {
    create: Vec<(BookmarkName, SnapshotName)>,
    destroy: Vec<BookmarkName>,
    problems: Vec<String>,
}

/// How far that got.
struct Written {
    bookmarks_are_complete: bool,
    warnings: Vec<String>,
}

impl Entries<'_> {
    /// Two calls, whatever the number of volumes.
    fn write(&self, lzc: Lzc) -> Written {
        let pool = &self.side.pool;
        let Bookmarks {
            create,
            destroy,
            problems,
        } = &self.bookmarks;
        let mut warnings = problems.clone();
        let mut bookmarks_are_complete = warnings.is_empty();
        let failures = lzc.apply(pool, create, &self.records);
        if let Some(error) = failures.property {
            warnings.push(format!("the records on {pool} were not updated: {error}"));
        }
        let moved = match failures.bookmark {
            Some(error) => Err(error.to_string()),
            None if destroy.is_empty() => Ok(()),
            None => lzc
                .destroy_bookmarks(destroy)
                .map_err(|error| error.to_string()),
        };
        if let Err(error) = moved {
            bookmarks_are_complete = false;
            warnings.push(format!("the bookmarks on {pool} were not updated: {error}"));
        }
        Written {
            bookmarks_are_complete,
            warnings,
        }
    }
}

/// The snapshots that the ledgers of a volume are to name, where this run knows them.
fn agreement<'a>(
    run: &Replication<'a>,
    secured: &Secured,
    outcomes: &Outcomes,
    index: usize,
) -> Result<Option<Agreement<'a>>, zfs::Error> {
    let volume = &run.plan.volumes[index];
    if outcomes.volumes[index].outcome != Outcome::Done {
        return Ok(None);
    }
    let (last, transfer) = match &volume.action {
        Action::Send(transfer) => (transfer.steps.last(), transfer),
        Action::UpToDate(UpToDate::Equal(_)) => return Ok(known_to_both(run, volume)),
        _ => return Ok(None),
    };
    let Some(last) = last else {
        return Ok(None);
    };
    let short = last.to.name().short();
    let source = run.source.dataset(&volume.source);
    // What was replaced or renamed aside has taken its bookmarks along.
    let target = if starts_anew(&volume.action) {
        None
    } else {
        run.target.dataset(&volume.target)
    };
    let on_source = match secured.snapshots.get(last.to.name()) {
        Some(known) => known.clone(),
        None => snapshot(run, source, &volume.source, short)?,
    };
    let on_target = match outcomes.arrived.get(&index) {
        Some(known) => known.clone(),
        None => snapshot(run, None, &volume.target, short)?,
    };
    Ok(Some(Agreement {
        source,
        target,
        on_source: Some(on_source),
        on_target: Some(on_target),
        transfer: Some(transfer),
    }))
}

fn starts_anew(action: &Action) -> bool {
    matches!(action, Action::Send(transfer) if matches!(
        transfer.overwrite,
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. }
    ))
}

/// What each side of a volume would send from, where nothing was to be sent.
fn known_to_both<'a>(run: &Replication<'a>, volume: &VolumePlan) -> Option<Agreement<'a>> {
    let source = run.source.dataset(&volume.source)?;
    let target = run.target.dataset(&volume.target)?;
    Some(Agreement {
        source: Some(source),
        target: Some(target),
        on_source: ledger::newest_common(source, target).cloned(),
        on_target: ledger::newest_common(target, source).cloned(),
        transfer: None,
    })
}

/// A snapshot from the inventory, or from the kernel where this run made it.
fn snapshot(
    run: &Replication,
    known: Option<&Dataset>,
    dataset: &DatasetName,
    short: &str,
) -> Result<Snapshot, zfs::Error> {
    let found = known.and_then(|dataset| {
        dataset
            .snapshots
            .iter()
            .rev()
            .find(|snapshot| snapshot.name.short() == short)
    });
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let name = dataset.snapshot(short).expect("the planner checks names");
    run.zfs
        .snapshot(&name)?
        .ok_or_else(|| zfs::Error::not_found(name.as_str()))
}

/// This side's bookmarks for `peer`, moved forward.
fn bookmarks<'a>(
    side: &Side,
    peer: Guid,
    entries: impl Iterator<Item = (Option<&'a Dataset>, &'a Snapshot)>,
    secured: &Secured,
) -> Bookmarks {
    let mut bookmarks = Bookmarks::default();
    for (dataset, newest) in entries {
        if !can_be_bookmarked(side, dataset, newest) {
            continue;
        }
        let before = dataset.map_or(&[][..], |dataset| &dataset.bookmarks);
        let made = secured.bookmarks.get(&newest.name.dataset());
        let existing: Vec<Bookmark> = (before.iter())
            .chain(made.into_iter().flatten())
            .cloned()
            .collect();
        match ledger::update(&existing, peer, newest) {
            Ok(update) => {
                bookmarks.create.extend(update.create);
                bookmarks.destroy.extend(update.destroy);
            }
            Err(error) => bookmarks.problems.push(format!(
                "{}: no bookmark for the next run: {error}",
                newest.name
            )),
        }
    }
    bookmarks
}

/// The bookmark of an encrypted snapshot holds more, which needs a feature of its own.
fn can_be_bookmarked(side: &Side, dataset: Option<&Dataset>, snapshot: &Snapshot) -> bool {
    let encrypted =
        snapshot.ivset_guid.is_some() || dataset.is_some_and(|dataset| dataset.encrypted);
    side.features.bookmarks && (!encrypted || side.features.bookmark_v2)
}

/// Marks received snapshots as zbackup's own and, on the disk, writes the newest guid onto each copy.
fn marks(run: &Replication, agreements: &[Agreement]) -> Vec<PropertyChange> {
    let now = super::now();
    let mut changes = Vec::new();
    for one in agreements {
        let (Some(transfer), Some(on_target)) = (one.transfer, &one.on_target) else {
            continue;
        };
        let copy = on_target.name.dataset();
        for step in transfer
            .steps
            .iter()
            .filter(|step| is_own_there(one, &step.to))
        {
            let received = copy.snapshot(step.to.name().short());
            let received = received.expect("the planner checks names");
            changes.push(PropertyChange::new(
                received.as_str(),
                CREATED_PROPERTY,
                &now,
            ));
        }
        if run.plan.direction == Direction::ToDisk {
            changes.push(PropertyChange::new(
                copy.as_str(),
                NEWEST_PROPERTY,
                &on_target.guid.to_string(),
            ));
        }
    }
    changes
}

/// True where the sender's snapshot is own. One that somebody else made stays theirs on every disk
/// and host that it comes to: retention takes only what zbackup made.
fn is_own_there(one: &Agreement, point: &Point) -> bool {
    match point {
        Point::New(_) => true,
        Point::Existing { guid, .. } => one
            .source
            .and_then(|source| source.snapshot(*guid))
            .is_some_and(is_own),
    }
}

/// Records for the host's root, which disk was here, and for the disk's, which host.
fn visits(run: &Replication) -> (PropertyChange, PropertyChange) {
    let (host, disk) = match run.plan.direction {
        Direction::ToDisk => (run.source, run.target),
        Direction::ToHost => (run.target, run.source),
    };
    let when = super::now();
    let of_host = serde_json::json!({"host": run.hostname, "pool": host.pool, "when": when});
    let of_disk = DiskRecord {
        section: run.disk.section.into(),
        partuuid: run.disk.partuuid.into(),
        pool: disk.pool.to_string(),
        when,
    };
    let at_root = |side: &Side, property: &str, record: &str| {
        PropertyChange::new(side.pool.as_str(), property, record)
    };
    (
        at_root(
            host,
            &format!("{DISK_PROPERTY_PREFIX}{}", disk.pool_guid),
            &of_disk.to_json(),
        ),
        at_root(
            disk,
            &format!("{VISIT_PROPERTY_PREFIX}{}", host.pool_guid),
            &of_host.to_string(),
        ),
    )
}
