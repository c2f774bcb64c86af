//! The newest snapshot that both sides of a volume have in common.

use openzfs::{Createtxg, Guid, Snapshot};

use super::types::{Base, BaseSource};
use crate::model::Dataset;

/// A snapshot of the target whose guid the source still knows: a possible base.
pub(super) struct Common<'a> {
    /// The snapshot on the target.
    pub on_target: &'a Snapshot,
    /// The target's snapshots after it, oldest first. The source knows none of them.
    pub newer_on_target: &'a [Snapshot],
    /// The base on the source.
    pub from: BaseSource,
    /// The newest common snapshot, by the order of the source's history.
    pub latest: Guid,
    /// The source's snapshots after `latest`, oldest first. The target holds none of them.
    pub newer_on_source: &'a [Snapshot],
    /// IV-set guid on the source.
    pub ivset_guid: Option<Guid>,
}

impl<'a> Common<'a> {
    /// The newest common snapshot, by the order of the target's history.
    ///
    /// A snapshot on the source is preferred to its bookmark: estimates and sends from it are
    /// cheaper. An encrypted volume's raw stream cannot start from a bookmark without an IV-set guid.
    pub fn newest(source: &'a Dataset, target: &'a Dataset) -> Option<Self> {
        target
            .snapshots
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, on_target)| {
                let (from, createtxg, ivset_guid) = on_source(source, on_target.guid)?;
                let (latest, latest_createtxg) = out_of_order(source, createtxg, target, on_target)
                    .unwrap_or((on_target.guid, createtxg));
                Some(Self {
                    on_target,
                    newer_on_target: &target.snapshots[index + 1..],
                    from,
                    latest,
                    newer_on_source: newer_than(&source.snapshots, latest_createtxg),
                    ivset_guid,
                })
            })
    }

    /// The base of an increment from here.
    pub fn base(&self) -> Base {
        Base {
            guid: self.on_target.guid,
            source: self.from.clone(),
            label: self.on_target.name.short().into(),
        }
    }
}

/// The newest snapshot that the source has after `createtxg` and the target before `on_target`,
/// although it is one snapshot on both: its guid and its place in the source's history.
///
/// An empty snapshot is in nobody's way, so snapshots from two sides can arrive in either order.
/// Sending such a snapshot again would fail. A bookmark shows well enough that the target has had it.
fn out_of_order(
    source: &Dataset,
    createtxg: Createtxg,
    target: &Dataset,
    on_target: &Snapshot,
) -> Option<(Guid, Createtxg)> {
    let snapshots = newer_than(&source.snapshots, createtxg).iter();
    let bookmarks = source.bookmarks.iter().rev();
    let newer = snapshots
        .map(|snapshot| (snapshot.guid, snapshot.createtxg))
        .chain(
            bookmarks
                .map(|bookmark| (bookmark.guid, bookmark.createtxg))
                .take_while(|(_, of_bookmark)| *of_bookmark > createtxg),
        );
    let is_on_target = |guid: Guid| {
        let bookmark = target.bookmark(guid);
        target.snapshot(guid).is_some()
            || bookmark.is_some_and(|bookmark| bookmark.createtxg < on_target.createtxg)
    };
    newer
        .filter(|(guid, _)| is_on_target(*guid))
        .max_by_key(|(_, createtxg)| *createtxg)
}

/// The source's snapshots after the newest one of which `target` keeps only a bookmark, if that is
/// newer than `common` and than everything in common.
///
/// No stream can start there, since a base must be a snapshot on the target. But if retention on
/// the target has destroyed the snapshot, the bookmark tells which side is ahead.
pub(super) fn newer_than_bookmarked<'a>(
    source: &'a Dataset,
    target: &Dataset,
    common: Option<&Common<'a>>,
) -> Option<&'a [Snapshot]> {
    let newest_common = common.map(|common| common.on_target.createtxg);
    let bookmarks = target
        .bookmarks
        .iter()
        .rev()
        .take_while(|bookmark| newest_common.is_none_or(|common| bookmark.createtxg > common));
    let bookmarked = bookmarks
        .filter_map(|bookmark| on_source(source, bookmark.guid))
        .map(|(_, createtxg, _)| createtxg)
        .max()?;
    let after_common = common.map_or(&source.snapshots[..], |common| common.newer_on_source);
    Some(newer_than(after_common, bookmarked))
}

/// The source's snapshot or bookmark with this guid, its place in the source's history and its
/// IV-set guid.
fn on_source(source: &Dataset, guid: Guid) -> Option<(BaseSource, Createtxg, Option<Guid>)> {
    if let Some(snapshot) = source.snapshot(guid) {
        let from = BaseSource::Snapshot(snapshot.name.clone());
        return Some((from, snapshot.createtxg, snapshot.ivset_guid));
    }
    let bookmark = source.bookmarks.iter().rev().find(|bookmark| {
        bookmark.guid == guid && (!source.encrypted || bookmark.ivset_guid.is_some())
    })?;
    let from = BaseSource::Bookmark(bookmark.name.clone());
    Some((from, bookmark.createtxg, bookmark.ivset_guid))
}

/// Where in the source's history the snapshot with this guid is.
pub(super) fn place_on_source(source: &Dataset, guid: Guid) -> Option<Createtxg> {
    on_source(source, guid).map(|(_, createtxg, _)| createtxg)
}

/// The part of a history (in order of createtxg) that is newer than `createtxg`.
pub(super) fn newer_than(snapshots: &[Snapshot], createtxg: Createtxg) -> &[Snapshot] {
    let first = snapshots.partition_point(|snapshot| snapshot.createtxg <= createtxg);
    &snapshots[first..]
}

/// True if none of these snapshots holds data that the one before it does not.
pub(super) fn are_empty(snapshots: &[Snapshot]) -> bool {
    snapshots.iter().all(|snapshot| snapshot.written_bytes == 0)
}
