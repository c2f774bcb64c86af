//! What a run leaves behind so that the next one knows where both sides stand.
//!
//! - a bookmark for the peer on both sides: the base of the next increment, also when the
//!   snapshot is gone by then;
//! - the mark "zbackup's own" on received snapshots, and the newest guid on the copy;
//! - a visit record of this host on the disk's root.
//!
//! However many volumes there are, each pool is told in a handful of calls.

use super::{Outcomes, Replication};
use crate::inventory::{CREATED_PROPERTY, Dataset, NEWEST_PROPERTY, Side};
use crate::name::{BookmarkName, DatasetName, Guid, SnapshotName};
use crate::plan::{Action, Direction, Overwrite, UpToDate, VolumePlan, ledger};
use crate::report::Outcome;
use crate::snapshot::Snapshot;
use crate::zfs::{self, PropertyChange};

/// Prefix of the user property on the disk's root that records a host's visit; the host pool's guid follows.
pub const VISIT_PROPERTY_PREFIX: &str = "org.zbackup:visit-";

/// One volume that is the same on both sides now.
struct Agreement<'a> {
    source: Option<&'a Dataset>,
    target: Option<&'a Dataset>,
    on_source: Snapshot,
    on_target: Snapshot,
    received: bool,
}

/// Writes the ledger of every volume that is up to date now. What fails here is a warning: the
/// data has arrived, and the next run finds its base without a ledger too.
pub(super) fn update(run: &Replication, outcomes: &mut Outcomes) {
    let mut agreements = Vec::new();
    for index in 0..run.plan.volumes.len() {
        match agreement(run, outcomes, index) {
            Ok(found) => agreements.extend(found),
            Err(error) => outcomes.warn(format!(
                "{}: the ledger was not updated: {error}",
                run.plan.volumes[index].volume
            )),
        }
    }
    let source_peers: Vec<_> = agreements
        .iter()
        .map(|one| (one.source, &one.on_source))
        .collect();
    let target_peers: Vec<_> = agreements
        .iter()
        .map(|one| (one.target, &one.on_target))
        .collect();
    for (side, peer, entries) in [
        (run.source, run.target, source_peers),
        (run.target, run.source, target_peers),
    ] {
        if let Err(error) = bookmarks(run, side, peer.pool_guid, &entries) {
            outcomes.warn(format!(
                "the bookmarks on {} were not updated: {error}",
                side.pool
            ));
        }
    }
    if let Err(error) = marks(run, &agreements) {
        outcomes.warn(format!(
            "the records on {} were not updated: {error}",
            run.target.pool
        ));
    }
    if let Err(error) = visit(run) {
        outcomes.warn(format!("this visit was not recorded on the disk: {error}"));
    }
}

/// The snapshot that both sides of a volume hold as their newest, where this run knows it.
fn agreement<'a>(
    run: &Replication<'a>,
    outcomes: &Outcomes,
    index: usize,
) -> Result<Option<Agreement<'a>>, zfs::Error> {
    let volume = &run.plan.volumes[index];
    if outcomes.volumes[index].outcome != Outcome::Done {
        return Ok(None);
    }
    let last = match &volume.action {
        Action::Send(transfer) => transfer.steps.last(),
        Action::UpToDate(UpToDate::Equal(name)) => return Ok(known_to_both(run, volume, name)),
        _ => None,
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
    Ok(Some(Agreement {
        source,
        target,
        on_source: snapshot(run, source, &volume.source, short)?,
        on_target: snapshot(run, None, &volume.target, short)?,
        received: true,
    }))
}

fn starts_anew(action: &Action) -> bool {
    matches!(action, Action::Send(transfer) if matches!(
        transfer.overwrite,
        Overwrite::Replace { .. } | Overwrite::KeepBoth { .. }
    ))
}

/// The target's newest snapshot and the source's with the same guid, whatever its name there.
/// `None` where a bookmark is all that the source has of it: that stands in its ledger then.
fn known_to_both<'a>(
    run: &Replication<'a>,
    volume: &VolumePlan,
    newest: &SnapshotName,
) -> Option<Agreement<'a>> {
    let source = run.source.dataset(&volume.source)?;
    let target = run.target.dataset(&volume.target)?;
    let mut snapshots = target.snapshots.iter().rev();
    let on_target = snapshots.find(|snapshot| snapshot.name == *newest)?;
    Some(Agreement {
        source: Some(source),
        target: Some(target),
        on_source: source.snapshot(on_target.guid)?.clone(),
        on_target: on_target.clone(),
        received: false,
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

/// Moves this side's bookmarks for `peer` forward: two calls, whatever the number of volumes.
fn bookmarks(
    run: &Replication,
    side: &Side,
    peer: Guid,
    entries: &[(Option<&Dataset>, &Snapshot)],
) -> Result<(), zfs::BatchError> {
    let mut create: Vec<(BookmarkName, SnapshotName)> = Vec::new();
    let mut destroy: Vec<BookmarkName> = Vec::new();
    for (dataset, newest) in entries {
        let encrypted =
            newest.ivset_guid.is_some() || dataset.is_some_and(|dataset| dataset.encrypted);
        if !side.features.bookmarks || (encrypted && !side.features.bookmark_v2) {
            continue;
        }
        let existing = dataset
            .map(|dataset| dataset.bookmarks.as_slice())
            .unwrap_or_default();
        match ledger::update(existing, peer, newest) {
            Ok(update) => {
                create.extend(update.create);
                destroy.extend(update.destroy);
            }
            Err(error) => log::warn!("{}: no bookmark for the next run: {error}", newest.name),
        }
    }
    if !create.is_empty() {
        run.lzc.bookmark(&create)?;
    }
    if !destroy.is_empty() {
        run.lzc.destroy_bookmarks(&destroy)?;
    }
    Ok(())
}

/// Marks received snapshots as zbackup's own and, on the disk, writes the newest guid onto each copy.
fn marks(run: &Replication, agreements: &[Agreement]) -> Result<(), zfs::Error> {
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut changes = Vec::new();
    for one in agreements.iter().filter(|one| one.received) {
        let snapshot = &one.on_target.name;
        changes.push(PropertyChange::new(
            snapshot.as_str(),
            CREATED_PROPERTY,
            &now,
        ));
        if run.plan.direction == Direction::ToDisk {
            let newest = one.on_target.guid.to_string();
            changes.push(PropertyChange::new(
                snapshot.dataset().as_str(),
                NEWEST_PROPERTY,
                &newest,
            ));
        }
    }
    run.lzc.set_user_properties(&run.target.pool, &changes)
}

/// Records on the disk's root which host was here, and when.
fn visit(run: &Replication) -> Result<(), zfs::Error> {
    let (host, disk) = match run.plan.direction {
        Direction::ToDisk => (run.source, run.target),
        Direction::ToHost => (run.target, run.source),
    };
    let record = serde_json::json!({
        "host": run.hostname,
        "pool": host.pool,
        "when": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let property = format!("{VISIT_PROPERTY_PREFIX}{}", host.pool_guid);
    let change = PropertyChange::new(disk.pool.as_str(), &property, &record.to_string());
    run.lzc.set_user_properties(&disk.pool, &[change])
}
