//! All-or-nothing calls, made for as many items as it takes: the items to blame are left out.

use std::collections::BTreeMap;

use openzfs::{BookmarkName, Partly, SnapshotName, as_many_as_go};

use super::zfs::Zfs;
use crate::report::style::cut_list;

/// A bookmark, and the snapshot of which it is made.
pub type Pair = (BookmarkName, SnapshotName);

pub fn bookmark(zfs: &dyn Zfs, pairs: Vec<Pair>) -> Partly<Pair> {
    as_many_as_go(pairs, both, |pairs| zfs.bookmark(pairs))
}

/// The names by which ZFS can blame a bookmark that is not made.
pub fn both((bookmark, snapshot): &Pair) -> Vec<&str> {
    vec![bookmark.as_str(), snapshot.as_str()]
}

pub fn destroy_bookmarks(zfs: &dyn Zfs, names: Vec<BookmarkName>) -> Partly<BookmarkName> {
    as_many_as_go(
        names,
        |name| vec![name.as_str()],
        |names| zfs.destroy_bookmarks(names),
    )
}

pub fn destroy_snapshots(zfs: &dyn Zfs, names: Vec<SnapshotName>) -> Partly<SnapshotName> {
    as_many_as_go(
        names,
        |name| vec![name.as_str()],
        |names| zfs.destroy_snapshots(names, false),
    )
}

/// What failed and why, in a few sentences: failures with one reason share a sentence.
pub fn told<T: ToString>(failed: impl IntoIterator<Item = (T, String)>, what: &str) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, reason) in failed {
        by_reason.entry(reason).or_default().push(name.to_string());
    }
    let sentence = |(reason, names): (String, Vec<String>)| {
        format!("{} {what}: {reason}", cut_list(&names).join(", "))
    };
    by_reason.into_iter().map(sentence).collect()
}
