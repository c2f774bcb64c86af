//! What the kernel of this machine tells and does, independent of any disk or plan.

pub mod activity;
pub mod devices;
pub mod flush;
pub mod mounts;
mod statistics;
pub(crate) mod threads;
pub mod usage;
pub mod users;
