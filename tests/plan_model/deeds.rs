//! What can happen to the pools, and how often it does.

use proptest::prelude::*;
use zbackup::plan::Direction;

use super::pool::BLOCKS;
use super::{DISKS, HOSTS};

/// What people do.
#[derive(Debug, Clone)]
pub enum Deed {
    Write {
        host: usize,
        block: usize,
    },
    /// Somebody mounts the disk to write on it.
    Scribble {
        disk: usize,
        block: usize,
    },
    Snapshot {
        pool: usize,
    },
    Delete {
        pool: usize,
        index: usize,
    },
    DeleteAll {
        host: usize,
    },
    Rename {
        pool: usize,
        index: usize,
    },
    /// Somebody destroys all bookmarks.
    DeleteMarks {
        pool: usize,
    },
    /// `zfs hold`, or `zfs release` where it is held.
    Hold {
        pool: usize,
        index: usize,
    },
    /// A receive of another tool that breaks off.
    ForeignReceive {
        pool: usize,
    },
    /// `zfs receive -A` of whatever was interrupted.
    Abandon {
        pool: usize,
    },
    RollBack {
        host: usize,
        index: usize,
    },
    /// Another tool's `zfs receive -F`, from a snapshot that is there.
    ReceiveOver {
        pool: usize,
        index: usize,
        block: usize,
    },
    /// A clone of an old snapshot is promoted and takes the volume's place.
    GoBackByClone {
        host: usize,
        index: usize,
    },
    /// The oldest entries of the pool's log are overwritten.
    ForgetLog {
        pool: usize,
    },
    /// Somebody sets zbackup's mark on a snapshot on a disk.
    Forge {
        disk: usize,
        index: usize,
    },
    /// Somebody makes a bookmark under a name of zbackup's ledger.
    Mark {
        pool: usize,
        index: usize,
        peer: usize,
    },
    /// A disk is copied block by block to another partition: both take turns from then on.
    CopyDisk {
        from: usize,
        to: usize,
    },
    /// A pool is imported under another name.
    RenamePool {
        pool: usize,
    },
    /// It gets full, or has room again.
    Fill {
        pool: usize,
    },
    /// A child dataset comes, or goes.
    Child {
        pool: usize,
    },
    Midnight,
    Run(Run),
}

/// One call of zbackup.
#[derive(Debug, Clone)]
pub struct Run {
    pub direction: Direction,
    pub host: usize,
    pub disk: usize,
    pub force: bool,
    pub keep_both: bool,
    pub intermediate: bool,
    /// Of the source and of the target.
    pub keep: [usize; 2],
    /// The step that does not end. After the last one: the power fails when all has arrived and
    /// nothing of it is written down.
    pub break_at: Option<usize>,
}

pub fn deed() -> impl Strategy<Value = Deed> {
    let pool = 0..HOSTS + DISKS;
    prop_oneof![
        6 => (0..HOSTS, 0..BLOCKS).prop_map(|(host, block)| Deed::Write { host, block }),
        1 => (0..DISKS, 0..BLOCKS).prop_map(|(disk, block)| Deed::Scribble { disk, block }),
        2 => pool.clone().prop_map(|pool| Deed::Snapshot { pool }),
        2 => (pool.clone(), 0..8usize).prop_map(|(pool, index)| Deed::Delete { pool, index }),
        1 => (0..HOSTS).prop_map(|host| Deed::DeleteAll { host }),
        1 => (pool.clone(), 0..8usize).prop_map(|(pool, index)| Deed::Rename { pool, index }),
        1 => pool.clone().prop_map(|pool| Deed::DeleteMarks { pool }),
        2 => (pool.clone(), 0..8usize).prop_map(|(pool, index)| Deed::Hold { pool, index }),
        1 => pool.clone().prop_map(|pool| Deed::ForeignReceive { pool }),
        1 => pool.clone().prop_map(|pool| Deed::Abandon { pool }),
        2 => (pool.clone(), 0..8usize, 0..BLOCKS)
            .prop_map(|(pool, index, block)| Deed::ReceiveOver { pool, index, block }),
        1 => (0..HOSTS, 0..8usize).prop_map(|(host, index)| Deed::GoBackByClone { host, index }),
        1 => pool.clone().prop_map(|pool| Deed::ForgetLog { pool }),
        1 => (0..DISKS, 0..DISKS).prop_map(|(from, to)| Deed::CopyDisk { from, to }),
        1 => pool.clone().prop_map(|pool| Deed::RenamePool { pool }),
        1 => pool.clone().prop_map(|pool| Deed::Fill { pool }),
        1 => pool.clone().prop_map(|pool| Deed::Child { pool }),
        1 => (pool.clone(), 0..8usize, pool).prop_map(|(pool, index, peer)| Deed::Mark { pool, index, peer }),
        1 => (0..DISKS, 0..8usize).prop_map(|(disk, index)| Deed::Forge { disk, index }),
        1 => (0..HOSTS, 0..8usize).prop_map(|(host, index)| Deed::RollBack { host, index }),
        1 => Just(Deed::Midnight),
        14 => a_run().prop_map(Deed::Run),
    ]
}

fn a_run() -> impl Strategy<Value = Run> {
    let direction = prop_oneof![3 => Just(Direction::ToDisk), 2 => Just(Direction::ToHost)];
    let seldom = || prop::bool::weighted(0.15);
    let break_at = prop_oneof![5 => Just(None), 1 => (0..3usize).prop_map(Some)];
    (
        direction,
        0..HOSTS,
        0..DISKS,
        seldom(),
        seldom(),
        any::<bool>(),
        [1..4usize, 1..4usize],
        break_at,
    )
        .prop_map(
            |(direction, host, disk, force, keep_both, intermediate, keep, break_at)| Run {
                direction,
                host,
                disk,
                force,
                keep_both,
                intermediate,
                keep,
                break_at,
            },
        )
}

impl Run {
    /// Source and target, as places in [`super::World::pools`].
    pub fn ends(&self) -> (usize, usize) {
        match self.direction {
            Direction::ToDisk => (self.host, HOSTS + self.disk),
            Direction::ToHost => (HOSTS + self.disk, self.host),
        }
    }
}
