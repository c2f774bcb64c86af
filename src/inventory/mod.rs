//! Reads what both sides hold, into the plain data of [`crate::model`].
//!
//! [`Side`] values are read once per run and are all that the planner knows. No C
//! handle survives the reading.

pub mod disks;
pub mod estimate;
mod files;
pub mod health;
pub mod keys;
pub mod probe;
pub mod read;
pub mod settle;
pub mod stream_features;
pub mod uncovered;
mod visit;

pub use disks::{
    DISK_PROPERTY_PREFIX, DiskRecord, KnownDisks, VISIT_PROPERTY_PREFIX, last_visitor, last_visits,
    twins,
};
pub use files::{FILE_PROPERTIES, file_properties, word_for_every_release};
pub use visit::{is_empty_placeholder, log_reset_bytes, resume_state};

use openzfs::DatasetName;

use crate::model::Side;

/// Notes that this dataset cannot be read after all.
fn give_up(side: &mut Side, name: DatasetName, error: &openzfs::Error) {
    log::warn!("{name} cannot be read: {error}");
    side.datasets.remove(&name);
    side.unreadable.insert(name, error.to_string());
}
