//! The policy that goes into the planner and the plan that comes out, as plain data.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use crate::name::{BookmarkName, DatasetName, Guid, SnapshotName, VolumePath};
use crate::snapshot::{DatasetKind, ResumeState, Snapshot};

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `zbackup usb`: host to disk. The host is the source.
    ToDisk,
    /// `zbackup os`: disk to host. The disk is the source.
    ToHost,
}

/// What the user wants, beside what the two sides hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which way.
    pub direction: Direction,
    /// The volumes of this run, in the order of the configuration, children expanded.
    pub volumes: Vec<VolumePath>,
    /// Local date and time of this run, for the new snapshots' name.
    pub now: Stamp,
    /// Short names that are taken although no listed snapshot has them: histories may be listed only
    /// in part.
    pub taken_names: BTreeSet<String>,
    /// Send every snapshot between base and newest, not only the newest.
    pub intermediate: bool,
    /// Volumes whose target may lose what the base does not hold.
    pub force: BTreeSet<VolumePath>,
    /// Volumes whose target is renamed aside where it conflicts.
    pub keep_both: BTreeSet<VolumePath>,
    /// Newest own snapshots to keep on the source; `None` keeps all.
    pub source_keep: Option<NonZeroUsize>,
    /// Newest own snapshots to keep on the target; `None` keeps all.
    pub target_keep: Option<NonZeroUsize>,
}

/// A local point in time, already formatted: the planner has no clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `2026-11-22`
    pub date: String,
    /// `153012`
    pub time: String,
}

/// Everything that a run will do, in the order in which it will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which way.
    pub direction: Direction,
    /// Short name of the atomic snapshot; `None` where no volume needs one.
    pub snapshot: Option<String>,
    /// Datasets to create on the target as empty parents, parents first.
    pub placeholders: Vec<DatasetName>,
    /// One entry a volume, in the policy's order.
    pub volumes: Vec<VolumePlan>,
}

impl Plan {
    /// True where retention has something to destroy.
    pub fn removes_old_snapshots(&self) -> bool {
        let retentions = self.volumes.iter().map(|volume| &volume.retention);
        let mut sides = retentions.flat_map(|retention| [&retention.source, &retention.target]);
        sides.any(|tidying| !tidying.old.is_empty())
    }
}

/// What happens to one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePlan {
    /// The volume as the configuration names it.
    pub volume: VolumePath,
    /// Its dataset on the source.
    pub source: DatasetName,
    /// Its dataset on the target. Where that name would be too long (the action is
    /// [`Action::Impossible`] then), the place below which it would have been.
    pub target: DatasetName,
    /// What is to be done.
    pub action: Action,
    /// Start only after this volume's transfer has ended well: it makes, or replaces, the dataset
    /// that this one goes below.
    pub waits_for: Option<VolumePath>,
    /// Why `--force` or `--keep-both`, which named this volume, cannot be followed.
    pub refusal: Option<String>,
    /// Expected size of the streams in bytes; `None` until it was estimated.
    pub estimated_bytes: Option<u64>,
    /// What retention does on both sides, once the volume is done.
    pub retention: Retention,
}

/// What retention does with one volume. Nothing where both sides keep all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// On the source.
    pub source: Tidying,
    /// On the target.
    pub target: Tidying,
}

/// What retention does with one volume on one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tidying {
    /// Own snapshots that go, oldest first.
    pub old: Vec<OldSnapshot>,
    /// Snapshots whose mark a crash has lost: their twins on the other side are own.
    pub unmarked: Vec<SnapshotName>,
    /// Nothing goes although the side does not keep all: its pool's bookmarks could not stand in
    /// for what another disk or host goes on from.
    pub cannot_bookmark: bool,
}

/// A snapshot that retention is going to destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSnapshot {
    /// Full name on its side.
    pub name: SnapshotName,
    /// Its identity: another one may have got its name until it is destroyed.
    pub guid: Guid,
    /// Bytes that destroying it alone would free.
    pub used_bytes: u64,
}

impl VolumePlan {
    /// True where this run's atomic snapshot is taken of this volume.
    pub fn takes_snapshot(&self) -> bool {
        matches!(&self.action, Action::Send(transfer)
            if transfer.steps.iter().any(|step| matches!(step.to, Point::New(_))))
    }

    /// The snapshots that exist and are to be sent, as the source calls them.
    pub fn sends_existing(&self) -> impl Iterator<Item = &SnapshotName> {
        let steps = match &self.action {
            Action::Send(transfer) => &transfer.steps[..],
            _ => &[],
        };
        steps.iter().filter_map(|step| match &step.to {
            Point::Existing { name, .. } => Some(name),
            Point::New(_) => None,
        })
    }

    /// True where the first stream is a full one: the target dataset is made or replaced.
    pub fn sends_in_full(&self) -> bool {
        matches!(&self.action, Action::Send(transfer)
            if transfer.steps.first().is_some_and(|step| step.base.is_none()))
    }
}

/// The decision about one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing to send.
    UpToDate(UpToDate),
    /// One or more streams, one after the other.
    Send(Transfer),
    /// The two sides do not fit together; nothing is touched.
    Conflict(Conflict),
    /// It cannot be done at all, with the reason: the source does not exist, a name is too long.
    Impossible(String),
}

/// Why there is nothing to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpToDate {
    /// Both newest snapshots are the same one, or the target has the source's already in another
    /// order, and nothing was written since: the target's newest that both know.
    Equal(SnapshotName),
    /// The target is ahead: it holds the source's newest snapshot and newer ones; the text names
    /// the target's newest.
    TargetAhead(SnapshotName),
}

/// Streams that bring one volume up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// File system or zvol.
    pub kind: DatasetKind,
    /// Send raw: the source is encrypted by ZFS.
    pub raw: bool,
    /// At least one; each step's base is the step before it.
    pub steps: Vec<Step>,
    /// What happens to what the target holds besides the base.
    pub overwrite: Overwrite,
    /// Bookmarks of the target's own changes that [`Overwrite::RollBack`] and
    /// [`Overwrite::Destroy`] undo: destroyed before the first step, and made again where that does
    /// not arrive and their snapshots are there. The kernel keeps them, and a later increment from one
    /// of them would lack what was undone, without any error.
    pub stale_bookmarks: Vec<BookmarkName>,
    /// A broken-off receive that cannot go on, or that `--force` gives up: dropped before the first
    /// step. That is the hidden state below the target, or the target itself where it is
    /// [`crate::inventory::Dataset::inconsistent`].
    pub drops_resume_state: bool,
    /// Snapshots between base and newest that are not sent (`intermediate = no`).
    pub left_out: usize,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the target already has; `None` for a full stream.
    pub base: Option<Base>,
    /// What the target has afterwards.
    pub to: Point,
    /// Go on with this broken-off receive.
    pub resume: Option<ResumeState>,
}

/// An incremental stream's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The same on both sides.
    pub guid: Guid,
    /// What the source sends from.
    pub source: BaseSource,
    /// Short name to show: the snapshot's on the target.
    pub label: String,
}

/// A base on the source: a snapshot, or the bookmark that remains of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// The snapshot is still there.
    Snapshot(SnapshotName),
    /// Only its bookmark is.
    Bookmark(BookmarkName),
}

/// The snapshot that a stream ends at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// It exists on the source.
    Existing {
        /// Full name on the source.
        name: SnapshotName,
        /// Its identity.
        guid: Guid,
    },
    /// It will be made by this run's atomic snapshot ([`Plan::snapshot`]).
    New(SnapshotName),
}

impl Point {
    /// Full name on the source.
    pub fn name(&self) -> &SnapshotName {
        match self {
            Self::Existing { name, .. } | Self::New(name) => name,
        }
    }
}

/// What a receive does to what the target holds besides the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overwrite {
    /// The target dataset does not exist, or ends at the base.
    Nothing,
    /// Full stream into an empty parent that zbackup made itself.
    Placeholder,
    /// Changes after the base that no snapshot holds are rolled back: this many bytes.
    RollBack {
        /// `written` of the target.
        written_bytes: u64,
    },
    /// Approved with `--force`: these snapshots of the target are destroyed by the receive.
    Destroy {
        /// Newest last.
        snapshots: Vec<SnapshotName>,
        /// `written` of the target.
        written_bytes: u64,
    },
    /// Approved with `--force`, nothing common: received beside the target, swapped in, the old
    /// dataset destroyed last, with these snapshots.
    Replace {
        /// Newest last.
        snapshots: Vec<SnapshotName>,
    },
    /// `--keep-both`: received beside the target, which is then renamed to this, and put in its place.
    KeepBoth {
        /// Free name beside the target.
        renamed_to: DatasetName,
    },
}

/// Why the two sides of a volume do not fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The target was written to after the base.
    Modified {
        /// The newest common snapshot's short name on the target.
        base: String,
        /// How much.
        written_bytes: u64,
        /// atime is on there: reading alone may have done it.
        atime: bool,
    },
    /// The target has newer snapshots with changes of its own.
    Diverged {
        /// The newest common snapshot's short name on the target.
        base: String,
        /// The target's snapshots after it, newest last.
        newer: Vec<SnapshotName>,
        /// What these hold, and what was written after them.
        written_bytes: u64,
    },
    /// The target exists and shares no snapshot with the source.
    NoCommonSnapshot {
        /// The target's snapshots that `--force` would destroy, newest last.
        snapshots: Vec<SnapshotName>,
        /// What the target refers to, without what only its snapshots hold.
        referenced_bytes: u64,
    },
    /// A broken-off receive that is not zbackup's own, or not of a volume's history.
    ForeignResumeState {
        /// How much of it has arrived, where that is known.
        received_bytes: Option<u64>,
    },
    /// One side is encrypted by ZFS, the other is not, or their IV sets differ.
    EncryptionMismatch {
        /// Which of these it is, as a sentence.
        reason: String,
        /// Renaming the target would help: it is not the dataset above that is encrypted.
        can_move: bool,
    },
    /// The stream is larger than what is free on the target.
    DoesNotFit {
        /// Estimated size of the stream.
        needed_bytes: u64,
        /// Free on the target.
        free_bytes: u64,
    },
}

impl Conflict {
    /// Both sides went on from `base`: the target has `newer`, and so much was written after these.
    pub fn diverged(base: &Snapshot, newer: &[Snapshot], written_bytes: u64) -> Self {
        let in_snapshots = newer.iter().map(|snapshot| snapshot.written_bytes);
        Self::Diverged {
            base: base.name.short().into(),
            newer: newer.iter().map(|snapshot| snapshot.name.clone()).collect(),
            written_bytes: in_snapshots.fold(written_bytes, u64::saturating_add),
        }
    }
}
