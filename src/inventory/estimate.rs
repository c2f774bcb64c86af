//! How large the streams of a plan will be, how much space they need on the target, and what it can free.

use std::collections::BTreeMap;

use openzfs::{Libzfs, Lzc, SendBase, SendFlags, SendRequest, Snapshot, SnapshotName};

use crate::model::VolumePath;
use crate::model::{Dataset, Side};
use crate::plan::{
    Action, BaseSource, OldSnapshot, Plan, Point, Step, Transfer, goes_first, stream_blocks,
};

/// Fills in `estimated_bytes` of every volume that sends something. An estimate that cannot be made
/// stays unknown: it is only for the display, the order of work and the check for space.
pub fn fill(plan: &mut Plan, source: &Side, target: &Side, zfs: &Libzfs, lzc: Lzc) {
    for volume in &mut plan.volumes {
        let Action::Send(transfer) = &volume.action else {
            continue;
        };
        let estimator = Estimator {
            zfs,
            lzc,
            source,
            transfer,
        };
        volume.estimated_bytes = match transfer.steps.iter().map(|step| estimator.step(step)).sum()
        {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                log::debug!("no estimate for {}: {error}", volume.volume);
                None
            }
        };
        let target = target.dataset(&volume.target);
        volume.stored_bytes = volume
            .estimated_bytes
            .map(|bytes| stored_bytes(bytes, source.dataset(&volume.source), target));
    }
}

/// Below this many bytes, a dataset's metadata hides how well its data compresses.
const COMPARABLE_BYTES: u64 = 1 << 20;

/// Space that a stream takes on the target. Data that the source has not compressed is taken to compress
/// there as well as the target's present data; for a first stream only trying would tell.
fn stored_bytes(stream_bytes: u64, source: Option<&Dataset>, target: Option<&Dataset>) -> u64 {
    let (Some(source), Some(target)) = (source, target) else {
        return stream_bytes;
    };
    let comparable = |one: &Dataset| one.logical_bytes >= COMPARABLE_BYTES;
    if source.encrypted || !comparable(source) || !comparable(target) {
        return stream_bytes;
    }
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let here = product(target.referenced_bytes, source.logical_bytes);
    let there = product(source.referenced_bytes, target.logical_bytes);
    if here >= there {
        return stream_bytes;
    }
    let scaled = u128::from(stream_bytes).saturating_mul(here) / there.max(1);
    u64::try_from(scaled)
        .unwrap_or(stream_bytes)
        .min(stream_bytes)
}

/// What becomes free with the snapshots of each volume that can be destroyed first.
pub fn freed_bytes(plan: &Plan, target: &Side, lzc: Lzc) -> BTreeMap<VolumePath, u64> {
    let mut freed_bytes = BTreeMap::new();
    for volume in &plan.volumes {
        let first = goes_first(volume, target);
        let Some(dataset) = target.dataset(&volume.target).filter(|_| !first.is_empty()) else {
            continue;
        };
        let bytes = runs(dataset, &first)
            .into_iter()
            .map(|(first, last)| {
                lzc.range_space(first, last).unwrap_or_else(|error| {
                    log::debug!("what {first} to {last} would free is not known: {error}");
                    0
                })
            })
            .sum();
        freed_bytes.insert(volume.volume.clone(), bytes);
    }
    freed_bytes
}

/// The first and the last of each run of consecutive snapshots that are destroyed. What two
/// neighbours share becomes free only with both.
fn runs<'a>(
    dataset: &'a Dataset,
    gone: &[&OldSnapshot],
) -> Vec<(&'a SnapshotName, &'a SnapshotName)> {
    let goes = |snapshot: &Snapshot| gone.iter().any(|gone| gone.guid == snapshot.guid);
    let runs = dataset
        .snapshots
        .chunk_by(|one, next| goes(one) == goes(next));
    runs.filter(|run| goes(&run[0]))
        .filter_map(|run| Some((&run.first()?.name, &run.last()?.name)))
        .collect()
}

struct Estimator<'a> {
    zfs: &'a Libzfs,
    lzc: Lzc,
    source: &'a Side,
    transfer: &'a Transfer,
}

impl Estimator<'_> {
    fn step(&self, step: &Step) -> Result<u64, openzfs::Error> {
        let whole = match &step.to {
            Point::Existing { name, .. } => self.existing(name, step),
            Point::New(name) => self.live(&name.dataset(), step),
        }?;
        let received = step
            .resume
            .as_ref()
            .map_or(0, |resume| resume.received_bytes);
        Ok(whole.saturating_sub(received))
    }

    /// The kernel's own estimate. From a bookmark it would walk the whole dataset: `referenced` and
    /// `written` are close enough there.
    fn existing(&self, name: &openzfs::SnapshotName, step: &Step) -> Result<u64, openzfs::Error> {
        let from = match step.base.as_ref().map(|base| &base.source) {
            None => None,
            Some(BaseSource::Snapshot(base)) => Some(SendBase::Snapshot(base.clone())),
            Some(BaseSource::Bookmark(_)) => return self.live(&name.dataset(), step),
        };
        let source = self.source.dataset(&name.dataset());
        let flags = SendFlags {
            compressed: source.is_none_or(|source| stream_blocks(source).compressed),
            raw: self.transfer.raw,
            ..SendFlags::default()
        };
        self.lzc.send_space(&SendRequest {
            snapshot: name.clone(),
            from,
            flags,
            resume: None,
        })
    }

    /// What the live dataset has written since the base; the snapshot to send is not taken yet.
    fn live(&self, name: &openzfs::DatasetName, step: &Step) -> Result<u64, openzfs::Error> {
        let known = self.source.dataset(name);
        let Some(base) = &step.base else {
            return Ok(known.map_or(0, |dataset| dataset.referenced_bytes));
        };
        // If it starts at the newest snapshot, the inventory has the answer.
        if let Some(known) = known
            && known
                .newest()
                .is_some_and(|newest| newest.guid == base.guid)
        {
            return Ok(known.written_bytes);
        }
        let Some(dataset) = self.zfs.dataset(name)? else {
            return Ok(0);
        };
        match &base.source {
            BaseSource::Snapshot(base) => dataset.written_since(base),
            BaseSource::Bookmark(base) => dataset.written_since_bookmark(base),
        }
    }
}
