//! The policy that goes into the planner and the plan that comes out, as plain data.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use openzfs::{
    BookmarkName, DatasetKind, DatasetName, Guid, ResumeState, Snapshot, SnapshotName,
    StreamFeature,
};

use crate::model::VolumePath;

/// In which direction the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `zbackup usb`: host to disk. The host is the source.
    ToDisk,
    /// `zbackup os`: disk to host. The disk is the source.
    ToHost,
}

/// What the user wants, apart from what the two sides hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// In which direction.
    pub direction: Direction,
    /// The volumes of this run, in the order of the configuration, children expanded.
    pub volumes: Vec<VolumePath>,
    /// Local date and time of this run, for the new snapshots' name.
    pub now: Stamp,
    /// Short names that are taken although no listed snapshot has them, since histories may be
    /// listed only in part.
    pub taken_names: BTreeSet<String>,
    /// Send every snapshot between base and newest, not only the newest.
    pub intermediate: bool,
    /// Volumes whose target may lose what the base does not hold.
    pub force: BTreeSet<VolumePath>,
    /// Volumes whose target is renamed aside if it conflicts.
    pub keep_both: BTreeSet<VolumePath>,
    /// Volumes whose copy has another name and is renamed to the volume's.
    pub follow_rename: BTreeSet<VolumePath>,
    /// Newest managed snapshots to keep on the source; `None` keeps all.
    pub source_keep: Option<NonZeroUsize>,
    /// Newest managed snapshots to keep on the target; `None` keeps all.
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
    /// In which direction.
    pub direction: Direction,
    /// Datasets of the target to rename before anything else: the volumes' targets are the names afterwards.
    pub renames: Vec<Rename>,
    /// Short name of the atomic snapshot; `None` if no volume needs one.
    pub snapshot: Option<String>,
    /// Datasets to create on the target as empty parents, parents first.
    pub placeholders: Vec<DatasetName>,
    /// Old snapshots of the target that retention destroys before anything is sent, to make room.
    pub room: Vec<OldSnapshot>,
    /// One entry for each volume, in the policy's order.
    pub volumes: Vec<VolumePlan>,
}

impl Plan {
    /// True if something does not fit on the target.
    pub fn has_unfit(&self) -> bool {
        let actions = self.volumes.iter().map(|volume| &volume.action);
        let mut conflicts = actions.filter_map(|action| match action {
            Action::Conflict(conflict) => Some(conflict),
            _ => None,
        });
        conflicts.any(|conflict| matches!(conflict, Conflict::DoesNotFit { .. }))
    }
}

/// A copy, with everything below it, gets the present name of its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name on the target.
    pub from: DatasetName,
    /// Its new name.
    pub to: DatasetName,
    /// Which dataset it is: another dataset may get the name before the rename.
    pub guid: Guid,
    /// Datasets to create as empty parents of `to`, parents first.
    pub parents: Vec<DatasetName>,
}

/// What happens to one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePlan {
    /// The volume as the configuration names it.
    pub volume: VolumePath,
    /// Its dataset on the source.
    pub source: DatasetName,
    /// Its dataset on the target. If that name would be too long (then the action is
    /// [`Action::Impossible`]), the place below which it would have been.
    pub target: DatasetName,
    /// What is to be done.
    pub action: Action,
    /// Start only after this volume's transfer has ended well: that transfer makes, or replaces,
    /// the dataset above this volume's target.
    pub waits_for: Option<VolumePath>,
    /// Why `--force` or `--keep-both`, which named this volume, cannot be followed.
    pub refusal: Option<String>,
    /// What the command line can do about a conflict.
    pub remedies: Remedies,
    /// Expected size of the streams in bytes; `None` until it is estimated.
    pub estimated_bytes: Option<u64>,
    /// Space that the target, which may compress better, will need for them; `None` until it is estimated.
    pub stored_bytes: Option<u64>,
    /// What retention does on both sides, once the volume is done.
    pub retention: Retention,
    /// Bookmarks of the ledger, on either side, that are destroyed before anything is added: what they
    /// stand for may have been undone ([`super::proof`]).
    pub forgets: Vec<BookmarkName>,
}

/// What would become of a conflict if `--keep-both` or `--force` named its volume. Both are tried, so
/// that nobody is told to type a command that would be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedies {
    /// The volumes below that `--keep-both` has to name too, or why it would be refused.
    pub keep_both: Result<Vec<VolumePath>, String>,
    /// Why `--force` would be refused.
    pub force: Result<(), String>,
    /// The target is on the disk, which is closed between two runs.
    pub on_disk: bool,
}

impl Default for Remedies {
    /// A conflict that comes up during the run: the options were not tried and count as possible.
    fn default() -> Self {
        Self {
            keep_both: Ok(Vec::new()),
            force: Ok(()),
            on_disk: false,
        }
    }
}

/// What retention does with one volume. Nothing if both sides keep all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// On the source.
    pub source: Pruning,
    /// On the target.
    pub target: Pruning,
}

/// What retention does with one volume on one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruning {
    /// Managed snapshots to destroy, oldest first.
    pub old: Vec<OldSnapshot>,
    /// Snapshots whose mark was lost in a crash: the same snapshots are managed on the other side.
    pub unmarked: Vec<SnapshotName>,
    /// Nothing is destroyed although the side does not keep all: its pool's bookmarks cannot stand
    /// in for the base of another disk or host.
    pub cannot_bookmark: bool,
}

/// A snapshot that retention is going to destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSnapshot {
    /// Full name on its side.
    pub name: SnapshotName,
    /// Its identity: another snapshot may get its name before it is destroyed.
    pub guid: Guid,
    /// Bytes that destroying it alone would free.
    pub used_bytes: u64,
}

impl VolumePlan {
    /// True if this run's atomic snapshot is taken of this volume.
    pub fn takes_snapshot(&self) -> bool {
        matches!(&self.action, Action::Send(transfer)
            if transfer.steps.iter().any(|step| matches!(step.to, Point::New(_))))
    }

    /// What the user should know of this volume besides what the table shows.
    pub fn notice(&self) -> Option<String> {
        let Self { source, target, .. } = self;
        let new_key = matches!(&self.action, Action::Send(transfer) if transfer.new_key);
        new_key.then(|| {
            format!(
                "{source} has another key than {target} (zfs change-key): after this run, that one \
                 opens with the key of {source}"
            )
        })
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

    /// True if the first stream is a full one: the target dataset is created or replaced.
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
    /// Both have the same newest snapshot, or the target already has the source's snapshots in
    /// another order, and nothing was written since. This is the newest on the target that both know.
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
    /// Send raw, since the source is encrypted by ZFS.
    pub raw: bool,
    /// At least one; each step's base is the end of the step before it.
    pub steps: Vec<Step>,
    /// What happens to what the target holds besides the base.
    pub overwrite: Overwrite,
    /// Bookmarks of the target's own changes that [`Overwrite::RollBack`] and [`Overwrite::Destroy`]
    /// undo: they are destroyed before the first step, and made again if that does not arrive and
    /// their snapshots exist. The kernel keeps them, and a later increment from one of them would lack
    /// what was undone, without any error.
    pub stale_bookmarks: Vec<BookmarkName>,
    /// An interrupted receive that cannot be resumed, or that `--force` gives up: it is dropped before the
    /// first step. That is the hidden state below the target, or the target itself if it is
    /// [`crate::model::Dataset::inconsistent`].
    pub drops_resume_state: bool,
    /// Snapshots between base and newest that are not sent (`intermediate = no`).
    pub left_out: usize,
    /// The target is encrypted, and afterwards opens with the source's key instead of its own.
    pub new_key: bool,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the target already has; `None` for a full stream.
    pub base: Option<Base>,
    /// What the target has afterwards.
    pub to: Point,
    /// Resume this interrupted receive.
    pub resume: Option<ResumeState>,
}

/// The base of an incremental stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its guid, the same on both sides.
    pub guid: Guid,
    /// The base on the source.
    pub source: BaseSource,
    /// Short name to show: that of the snapshot on the target.
    pub label: String,
}

/// A base on the source: a snapshot, or the bookmark of one that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// The snapshot is still there.
    Snapshot(SnapshotName),
    /// Only its bookmark is left.
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
    /// It will be taken by this run's atomic snapshot ([`Plan::snapshot`]).
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
    /// Approved with `--force`, with nothing in common: the new copy is received beside the target
    /// and swapped in, and the old dataset is destroyed last, with these snapshots.
    Replace {
        /// Newest last.
        snapshots: Vec<SnapshotName>,
        /// `written` of the target.
        written_bytes: u64,
    },
    /// `--keep-both`: the new copy is received beside the target, which is then renamed to this, and
    /// put in its place.
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
        /// `atime` is on there: reading alone may have caused it.
        atime: bool,
    },
    /// The target has newer snapshots with changes of its own.
    Diverged {
        /// The newest common snapshot's short name on the target.
        base: String,
        /// The target's snapshots after it, newest last.
        newer: Vec<SnapshotName>,
        /// Bytes that these hold, and that were written after them.
        written_bytes: u64,
    },
    /// The target exists and shares no snapshot with the source.
    NoCommonSnapshot {
        /// The target's snapshots that `--force` would destroy, newest last.
        snapshots: Vec<SnapshotName>,
        /// Bytes that the target refers to, without what only its snapshots hold.
        referenced_bytes: u64,
        /// The volume of which it is a copy, if that is another volume.
        copy_of: Option<VolumePath>,
    },
    /// The copy of this volume has another name than the volume.
    Renamed {
        /// The copy, on the target.
        copy: DatasetName,
        /// It would move with the copy of this volume above it, which was renamed.
        along_with: Option<VolumePath>,
        /// What already has the copy's new name.
        in_the_way: Option<InTheWay>,
    },
    /// The source has this volume's history under another name.
    RenamedAway {
        /// What it is called there now.
        now: DatasetName,
        /// The volume that it is now.
        volume: VolumePath,
    },
    /// Of the target's newest snapshot that the source knows, the source has only a bookmark, and it
    /// is unknown whether that is of the present history. If an increment from it lacked something,
    /// nobody would notice.
    BaseUncertain {
        /// The snapshot's short name on the target.
        base: String,
        /// Why that is unknown.
        doubt: Doubt,
        /// The target's snapshots that `--force` would destroy, newest last.
        snapshots: Vec<SnapshotName>,
        /// The newest snapshot that is certainly in common, by its short name on the target: `--force`
        /// continues from there. `None` if there is none.
        older: Option<String>,
    },
    /// An interrupted receive that is not zbackup's own, or not of a volume's history.
    ForeignResumeState {
        /// How much of it has arrived, if that is known.
        received_bytes: Option<u64>,
    },
    /// One side is encrypted by ZFS, the other is not, or their IV sets differ.
    EncryptionMismatch {
        /// Which of these it is, as a sentence.
        reason: String,
        /// Renaming the target would help, since it is not the dataset above that is encrypted.
        can_move: bool,
    },
    /// A stream of the source needs pool features that the target's pool lacks.
    NeedsFeature {
        /// Which, each once.
        features: Vec<StreamFeature>,
        /// The target's pool is that of the disk, which other hosts have to read too.
        on_disk: bool,
    },
    /// The source came through a pool without large blocks, but the target has such blocks: the kernel
    /// adds no increment without large blocks to them.
    SplitBlocks,
    /// The stream is larger than what is free on the target.
    DoesNotFit {
        /// Estimated size of the stream.
        needed_bytes: u64,
        /// Free on the target.
        free_bytes: u64,
        /// The quota on the target that limits it, if one does.
        quota: Option<Quota>,
        /// It would fit if both sides kept only one snapshot.
        fits_with_fewer: bool,
    },
}

/// A limit that somebody has set on a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The dataset.
    pub dataset: DatasetName,
    /// `quota`, or `refquota`, which counts no snapshots and nothing below it.
    pub property: &'static str,
}

/// What is in the way of renaming a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// The volume that it is a copy of; `None` if it is no copy of any volume of the source.
    pub copy_of: Option<VolumePath>,
}

/// Why a bookmark cannot be a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The pool's log has a receive that may have undone what it stands for.
    Undone,
    /// The pool's log does not reach back that far, or cannot be read.
    Untold,
}

impl Conflict {
    /// Both sides have changed since `base`: the target has `newer`, and so much was written after these.
    pub fn diverged(base: &Snapshot, newer: &[Snapshot], written_bytes: u64) -> Self {
        let in_snapshots = newer.iter().map(|snapshot| snapshot.written_bytes);
        Self::Diverged {
            base: base.name.short().into(),
            newer: newer.iter().map(|snapshot| snapshot.name.clone()).collect(),
            written_bytes: in_snapshots.fold(written_bytes, u64::saturating_add),
        }
    }
}
