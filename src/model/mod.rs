//! Plain data that all modules share. Nothing here knows a C library, a file, a clock, a thread or a log.
//!
//! - [`VolumePath`]: what a run is about
//! - [`Side`], [`Dataset`]: what a pool holds, read once and used by everything else
//! - [`Past`]: what the pool's log tells of a dataset
//! - [`ledger`]: bookmarks for peers that continue from a snapshot
//! - [`marks`]: what zbackup writes down on datasets and snapshots

mod activity;
mod dataset;
pub mod ledger;
pub mod marks;
mod past;
mod side;
mod volume_path;

pub use activity::Activity;
pub use dataset::{Dataset, WrappingKey};
pub use marks::is_managed;
pub use past::Past;
pub use side::{Features, Side};
pub use volume_path::VolumePath;
