//! What the threads that transfer volumes share.

use crate::model::Side;
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::replicate::target::witness::Witnesses;
use crate::replicate::zfs::Zfs;
use crate::terminal::Terminal;

/// What a worker thread works with: nothing here belongs to one thread.
#[derive(Clone, Copy)]
pub(in crate::replicate) struct Worker<'a> {
    pub plan: &'a Plan,
    pub source: &'a Side,
    pub target: &'a Side,
    pub zfs: &'a dyn Zfs,
    pub monitor: &'a dyn Monitor,
    /// Where `-v` asks about mounts that are in the way.
    pub terminal: &'a Terminal,
    /// For what is going to be destroyed.
    pub witnesses: &'a Witnesses,
}
