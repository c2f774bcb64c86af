//! Which of the snapshots that arrive on the target are managed there.
//!
//! Retention destroys managed snapshots, and what is written on the disk must not make it destroy
//! anything of somebody else's on the host. So the disk's mark alone never counts there: zbackup
//! marks on the host what it made there, and what it received there itself under a name of its own.

use std::collections::BTreeSet;

use openzfs::Guid;

use super::types::{Direction, Point, Transfer};
use crate::model::marks::RECEIVING_PROPERTY;
use crate::model::{Dataset, is_managed};

/// What the name of every snapshot that zbackup makes starts with.
const PREFIX: &str = "zbackup-";

/// The value of a property is limited in length. The newest snapshots are the ones that stay longest.
const MOST_RECORDED: usize = 300;

/// True for a short name that zbackup may have given.
pub(super) fn is_our_name(short: &str) -> bool {
    short.starts_with(PREFIX)
}

/// True if the snapshot that a stream ends at gets zbackup's mark on the target.
pub fn is_managed_on_arrival(
    direction: Direction,
    source: Option<&Dataset>,
    point: &Point,
) -> bool {
    match point {
        Point::New(_) => true,
        Point::Existing { name, guid } => {
            let marked = source
                .and_then(|source| source.snapshot(*guid))
                .is_some_and(is_managed);
            marked && (direction == Direction::ToDisk || is_our_name(name.short()))
        }
    }
}

/// What is noted on a host's volume before zbackup receives into it: the guids of the snapshots that
/// will be managed there. If a run dies before it has marked them, the next run uses the note.
pub fn to_record(source: Option<&Dataset>, transfer: &Transfer) -> String {
    let points = transfer.steps.iter().rev().map(|step| &step.to);
    let own = points.filter(|point| is_managed_on_arrival(Direction::ToHost, source, point));
    let guids = own.filter_map(|point| match point {
        Point::Existing { guid, .. } => Some(guid.to_string()),
        Point::New(_) => None,
    });
    guids.take(MOST_RECORDED).collect::<Vec<_>>().join(",")
}

/// What was noted last on this volume.
pub(super) fn recorded(dataset: &Dataset) -> BTreeSet<Guid> {
    let record = dataset.local_properties.get(RECEIVING_PROPERTY);
    let guids = record.into_iter().flat_map(|record| record.split(','));
    guids.filter_map(|guid| guid.parse().ok()).collect()
}
