//! What a run leaves behind so that the next one knows the state of both sides.
//!
//! - a bookmark for the peer on both sides: the base of the next increment, even if the snapshot is
//!   gone by then;
//! - the mark "managed" on received snapshots that are managed on the source, and what the copy
//!   remembers of its source;
//! - how far a dataset's bookmarks have been checked;
//! - a visit record of this host on the disk's root, and one of the disk on the host's.
//!
//! However many volumes there are, each pool takes only a handful of calls, and both pools work at
//! the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

use openzfs::{Bookmark, BookmarkName, DatasetName, PropertyChange, Snapshot, SnapshotName};

use crate::inventory::{DISK_PROPERTY_PREFIX, DiskRecord, VISIT_PROPERTY_PREFIX};
use crate::model::ledger;
use crate::model::ledger::Peer;
use crate::model::marks::{self, CHECKED_PROPERTY, CREATED_PROPERTY, RECEIVING_PROPERTY};
use crate::model::{Dataset, Side};
use crate::plan::{self, Action, Direction, Overwrite, Transfer, UpToDate, VolumePlan};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::batch;
use crate::replicate::target::memory;
use crate::replicate::zfs::Zfs;
use crate::report::Outcome;
use crate::system::threads;

/// One volume that is now the same on both sides, and the snapshots that its ledgers are to name.
/// `None` if a ledger stays as it is.
struct Agreement<'a> {
    source: Option<&'a Dataset>,
    target: Option<&'a Dataset>,
    on_source: Option<Snapshot>,
    on_target: Option<Snapshot>,
    transfer: Option<&'a Transfer>,
}

impl Agreement<'_> {
    /// Makes a copy show its files as they are on the host. The host's own dataset stays as it is.
    /// Returns what the user should know.
    fn files_not_shown(&self, run: &Replication) -> Vec<String> {
        match (self.with_target_before(), run.plan.direction) {
            (Some((source, copy)), Direction::ToDisk) => memory::show_files(run, source, copy),
            (Some((copy, target)), Direction::ToHost) if self.transfer.is_some() => {
                memory::not_shown_on_host(run.zfs, copy, target)
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The source, and its target as it was when this run began; `None` if the target is new.
    fn with_target_before(&self) -> Option<(&Dataset, &Dataset)> {
        let is_new = |transfer: &Transfer| transfer.steps.iter().any(|step| step.base.is_none());
        let target = self.target.filter(|_| !self.transfer.is_some_and(is_new))?;
        Some((self.source?, target))
    }
}

/// The snapshots that this run has bookmarked on the source before sending.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Secured {
    bookmarks: BTreeMap<DatasetName, Vec<Bookmark>>,
    snapshots: BTreeMap<SnapshotName, Snapshot>,
}

/// Bookmarks everything that is about to be sent, on the source. Even if the run is interrupted or dies
/// between a receive and its ledger, it then leaves the base of the next increment, whatever another
/// disk's run removes before this disk returns. A failure here is a warning, and [`update`] tries again.
pub(in crate::replicate) fn secure(run: &Replication, outcomes: &mut Outcomes) -> Secured {
    let mut secured = Secured::default();
    let mut create = Vec::new();
    for (_, volume, transfer) in outcomes.to_send(run.plan) {
        let dataset = run.source.dataset(&volume.source);
        let existing = dataset.map_or(&[][..], |dataset| &dataset.bookmarks);
        for step in &transfer.steps {
            let short = step.to.name().short();
            let Ok(sent) = snapshot(run, dataset, &volume.source, short) else {
                continue;
            };
            if can_be_bookmarked(run.source, dataset, &sent) {
                let update = ledger::update(existing, run.as_peer(run.target), &sent);
                create.extend(update.into_iter().flat_map(|update| update.create));
            }
            secured.snapshots.insert(sent.name.clone(), sent);
        }
    }
    let made = batch::bookmark(run.zfs, create);
    let failed = made.failed.into_iter();
    let failed = failed.map(|((bookmark, _), why)| (bookmark, why));
    for warning in batch::told(
        failed,
        "could not be made before it was sent, so that a run that dies half way may leave none",
    ) {
        outcomes.warn(warning);
    }
    for (name, snapshot) in made.done {
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

/// Notes on the host's volumes what is about to be received into them; new volumes get the note
/// with their other properties.
pub(in crate::replicate) fn note(run: &Replication, outcomes: &mut Outcomes) {
    if run.plan.direction == Direction::ToDisk {
        return;
    }
    let there = outcomes.to_send(run.plan).filter(|(_, volume, _)| {
        run.target.dataset(&volume.target).is_some() && !starts_anew(&volume.action)
    });
    let notes = there.map(|(_, volume, transfer)| {
        let record = plan::to_record(run.source.dataset(&volume.source), transfer);
        PropertyChange::new(volume.target.as_str(), RECEIVING_PROPERTY, &record)
    });
    let notes: Vec<_> = notes.collect();
    if let Err(error) = run.zfs.set_user_properties(&run.target.pool, &notes) {
        outcomes.warn(format!(
            "what comes to {} could not be noted there, so that retention will leave it alone where \
             this run dies: {error}",
            run.target.pool
        ));
    }
}

/// Writes the ledger of every volume that is now up to date. A failure here is a warning: the data has
/// arrived, and the next run finds its base without a ledger too, as long as that snapshot exists.
///
/// Returns the datasets of either side that lack a bookmark without which old snapshots must stay.
pub(in crate::replicate) fn update(
    run: &Replication,
    secured: &Secured,
    outcomes: &mut Outcomes,
) -> BTreeSet<DatasetName> {
    let (agreements, mut incomplete) = agreements(run, secured, outcomes);
    if agreements.is_empty() {
        // Nothing was completed, or the user declined everything: this was no visit.
        return incomplete;
    }
    let now = crate::replicate::now();
    let on_source =
        (agreements.iter()).filter_map(|one| Some((one.source, one.on_source.as_ref()?)));
    let on_target =
        (agreements.iter()).filter_map(|one| Some((one.target, one.on_target.as_ref()?)));
    let source = Entries {
        side: run.source,
        records: checked(on_source.clone())
            .chain([visit(run, run.source, &now)])
            .collect(),
        bookmarks: bookmarks(run.source, run.as_peer(run.target), on_source, secured),
    };
    let target = Entries {
        side: run.target,
        records: marks(run, &agreements)
            .into_iter()
            .chain(checked(on_target.clone()))
            .chain([visit(run, run.target, &now)])
            .collect(),
        bookmarks: bookmarks(run.target, run.as_peer(run.source), on_target, secured),
    };
    // Each of these calls waits for its pool's transaction group, and the two pools can wait at the
    // same time.
    let written = thread::scope(|scope| {
        let other = threads::spawn(scope, "ledger", || source.write(run.zfs));
        let written = target.write(run.zfs);
        let other = match other {
            Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => source.write(run.zfs),
        };
        [other, written]
    });
    for one in &agreements {
        for problem in one.files_not_shown(run) {
            outcomes.warn(problem);
        }
    }
    for one in written {
        incomplete.extend(one.incomplete);
        for warning in one.warnings {
            outcomes.warn(warning);
        }
    }
    outcomes.is_incomplete |= !incomplete.is_empty();
    incomplete
}

/// What both sides of each finished volume now hold, and the sources of those volumes for which that is
/// unknown.
fn agreements<'a>(
    run: &Replication<'a>,
    secured: &Secured,
    outcomes: &mut Outcomes,
) -> (Vec<Agreement<'a>>, BTreeSet<DatasetName>) {
    let mut incomplete = BTreeSet::new();
    let mut agreements = Vec::new();
    for index in 0..run.plan.volumes.len() {
        match agreement(run, secured, outcomes, index) {
            Ok(found) => agreements.extend(found),
            Err(error) => {
                let volume = &run.plan.volumes[index];
                incomplete.insert(volume.source.clone());
                outcomes.warn(format!(
                    "{}: the ledger was not updated: {error}",
                    volume.volume
                ));
            }
        }
    }
    (agreements, incomplete)
}

/// The new entries of one pool's part of the ledger.
struct Entries<'a> {
    side: &'a Side,
    bookmarks: Bookmarks,
    records: Vec<PropertyChange>,
}

/// Bookmarks to make, then the bookmarks that they replace, and why volumes are left without one.
#[derive(Default)]
struct Bookmarks {
    create: Vec<(BookmarkName, SnapshotName)>,
    destroy: Vec<BookmarkName>,
    problems: Vec<(DatasetName, String)>,
}

/// What was written.
struct Written {
    /// Datasets that lack a bookmark.
    incomplete: BTreeSet<DatasetName>,
    warnings: Vec<String>,
}

impl Entries<'_> {
    /// Writes the entries in two calls, whatever the number of volumes.
    fn write(&self, zfs: &dyn Zfs) -> Written {
        let pool = &self.side.pool;
        let Bookmarks {
            create,
            destroy,
            problems,
        } = &self.bookmarks;
        let mut warnings: Vec<String> = problems.iter().map(|(_, why)| why.clone()).collect();
        let mut incomplete: BTreeSet<DatasetName> = problems
            .iter()
            .map(|(dataset, _)| dataset.clone())
            .collect();
        let failures = zfs.apply(pool, create, &self.records);
        if let Some(error) = failures.properties.first() {
            warnings.push(format!("the records on {pool} were not updated: {error}"));
        }
        incomplete.extend(failures.bookmarks.iter().map(|(name, _)| name.dataset()));
        let failed = failures.bookmarks.into_iter();
        let failed = failed.map(|(name, error)| (name, error.description));
        warnings.extend(batch::told(
            failed,
            "was not made, for the next run to go on from",
        ));
        // Old bookmarks stay if the new one that was to replace them was not made.
        let superseded = destroy
            .iter()
            .filter(|one| !incomplete.contains(&one.dataset()));
        let destroyed = batch::destroy_bookmarks(zfs, superseded.cloned().collect());
        warnings.extend(batch::told(
            destroyed.failed,
            "stays, although there is a newer one",
        ));
        Written {
            incomplete,
            warnings,
        }
    }
}

/// The snapshots that the ledgers of a volume are to name, if this run knows them.
fn agreement<'a>(
    run: &Replication<'a>,
    secured: &Secured,
    outcomes: &Outcomes,
    index: usize,
) -> Result<Option<Agreement<'a>>, openzfs::Error> {
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
    // A dataset that was replaced or renamed aside has kept its bookmarks.
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

/// The base that each side of a volume would send from, if nothing was to be sent.
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

/// A snapshot from the inventory, or from the kernel if this run made it.
fn snapshot(
    run: &Replication,
    known: Option<&Dataset>,
    dataset: &DatasetName,
    short: &str,
) -> Result<Snapshot, openzfs::Error> {
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
        .ok_or_else(|| openzfs::Error::not_found(name.as_str()))
}

/// Moves this side's bookmarks for `peer` forward.
fn bookmarks<'a>(
    side: &Side,
    peer: Peer,
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
            Err(error) => bookmarks.problems.push((
                newest.name.dataset(),
                format!("{}: no bookmark for the next run: {error}", newest.name),
            )),
        }
    }
    bookmarks
}

/// Notes the point up to which the ledger has no doubtful bookmarks: this run has destroyed them.
///
/// A dataset that this run has made gets no note: its only bookmark is of the newest snapshot that
/// arrived, and tells the same.
fn checked<'a>(
    entries: impl Iterator<Item = (Option<&'a Dataset>, &'a Snapshot)>,
) -> impl Iterator<Item = PropertyChange> {
    entries.filter_map(|(dataset, newest)| {
        let dataset = dataset?;
        let is_news = dataset.checked() < Some(newest.createtxg);
        let note = || {
            let up_to = dataset.checked_note(newest.createtxg);
            let name = newest.name.dataset();
            PropertyChange::new(name.as_str(), CHECKED_PROPERTY, &up_to)
        };
        is_news.then(note)
    })
}

/// True if a snapshot can be bookmarked. The bookmark of an encrypted snapshot holds more, which
/// needs a feature of its own.
fn can_be_bookmarked(side: &Side, dataset: Option<&Dataset>, snapshot: &Snapshot) -> bool {
    let encrypted =
        snapshot.ivset_guid.is_some() || dataset.is_some_and(|dataset| dataset.encrypted);
    side.features.bookmarks && (!encrypted || side.features.bookmark_v2)
}

/// Marks received snapshots as managed, and brings up to date what a copy remembers of its source.
fn marks(run: &Replication, agreements: &[Agreement]) -> Vec<PropertyChange> {
    let now = crate::replicate::now();
    let mut changes = Vec::new();
    for one in agreements {
        if let Some((source, copy)) = one.with_target_before()
            && run.plan.direction == Direction::ToDisk
        {
            changes.extend(memory::forgotten(source, copy));
        }
        let (Some(transfer), Some(on_target)) = (one.transfer, &one.on_target) else {
            continue;
        };
        let copy = on_target.name.dataset();
        for step in transfer
            .steps
            .iter()
            .filter(|step| plan::is_managed_on_arrival(run.plan.direction, one.source, &step.to))
        {
            let received = copy.snapshot(step.to.name().short());
            let received = received.expect("the planner checks names");
            let mark = marks::mark(&now, received.short());
            changes.push(PropertyChange::new(
                received.as_str(),
                CREATED_PROPERTY,
                &mark,
            ));
        }
    }
    changes
}

/// A record for a side's root: on the host it is about the disk that was here, on the disk about the host.
fn visit(run: &Replication, side: &Side, when: &str) -> PropertyChange {
    let (host, disk) = run.host_and_disk();
    let (property, record) = if side.pool == host.pool {
        let of_disk = DiskRecord {
            section: run.disk.section.into(),
            partuuid: run.disk.partuuid.into(),
            pool: disk.pool.to_string(),
            when: when.into(),
        };
        let peer = run.as_peer(disk);
        (format!("{DISK_PROPERTY_PREFIX}{peer}"), of_disk.to_json())
    } else {
        let of_host =
            serde_json::json!({"host": run.hostname, "pool": host.pool.as_str(), "when": when});
        let guid = host.pool_guid;
        (
            format!("{VISIT_PROPERTY_PREFIX}{guid}"),
            of_host.to_string(),
        )
    };
    PropertyChange::new(side.pool.as_str(), &property, &record)
}
