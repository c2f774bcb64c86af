//! Calls about many snapshots or bookmarks of one pool at once.
//!
//! One call costs one transaction group, however many items it has; that is what makes a backup of
//! many small volumes quick.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::error::{BatchError, BatchItem, Error};
use super::lzc::Lzc;
use super::nvlist::{NvList, NvListRef, Value};
use super::pool::text_of;
use crate::fault;
use crate::ffi;
use crate::name::{BookmarkName, SnapshotName};

impl Lzc {
    /// Makes snapshots of several datasets of one pool at the same moment: all of them or none.
    /// `user_properties` (names with a colon) are set on each.
    ///
    /// # Errors
    /// Names the snapshots to blame, though not always all of them: if a dataset does not exist, the
    /// kernel does not look at the rest.
    #[doc(alias = "lzc_snapshot")]
    pub fn snapshot(
        self,
        snapshots: &[SnapshotName],
        user_properties: &BTreeMap<String, String>,
    ) -> Result<(), BatchError> {
        const CALL: &str = "lzc_snapshot";
        let names = flags(CALL, snapshots.iter().map(SnapshotName::as_str))?;
        let mut properties = NvList::new();
        for (name, value) in user_properties {
            properties
                .add_text(name, value)
                .map_err(|error| whole(CALL, &error))?;
        }
        batch(CALL, |errors| {
            // SAFETY: both lists are alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_snapshot(names.as_ptr(), properties.as_ptr(), errors) }
        })
    }

    /// Makes bookmarks of snapshots of one pool: all of them or none. A bookmark that exists already
    /// is an error, even for the same snapshot.
    #[doc(alias = "lzc_bookmark")]
    pub fn bookmark(self, bookmarks: &[(BookmarkName, SnapshotName)]) -> Result<(), BatchError> {
        const CALL: &str = "lzc_bookmark";
        let pairs = bookmarks
            .iter()
            .map(|(name, snapshot)| (name.as_str(), snapshot.as_str()));
        let list = texts(CALL, pairs)?;
        batch(CALL, |errors| {
            // SAFETY: the list is alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_bookmark(list.as_ptr(), errors) }
        })
    }

    /// Destroys bookmarks of one pool: all of them or none. A bookmark that does not exist is no error.
    #[doc(alias = "lzc_destroy_bookmarks")]
    pub fn destroy_bookmarks(self, bookmarks: &[BookmarkName]) -> Result<(), BatchError> {
        const CALL: &str = "lzc_destroy_bookmarks";
        let names = flags(CALL, bookmarks.iter().map(BookmarkName::as_str))?;
        batch(CALL, |errors| {
            // SAFETY: the list is alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_destroy_bookmarks(names.as_ptr(), errors) }
        })
    }

    /// Destroys snapshots of one pool: all of them or none. A snapshot that does not exist is no error. With
    /// `defer`, a held or cloned snapshot is destroyed when its last hold or clone is gone.
    #[doc(alias = "lzc_destroy_snaps")]
    pub fn destroy_snapshots(
        self,
        snapshots: &[SnapshotName],
        defer: bool,
    ) -> Result<(), BatchError> {
        let call = if defer {
            "lzc_destroy_snaps, deferred"
        } else {
            "lzc_destroy_snaps"
        };
        let names = flags(call, snapshots.iter().map(SnapshotName::as_str))?;
        batch(call, |errors| {
            // SAFETY: the list is alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_destroy_snaps(names.as_ptr(), ffi::boolean_t::from(defer), errors) }
        })
    }

    /// Holds snapshots of one pool, so that nobody can destroy them. With `cleanup`, a file descriptor
    /// of `/dev/zfs`, the holds end when the descriptor is closed; otherwise they stay until released.
    ///
    /// # Errors
    /// Names the snapshots that do not exist: the others are held all the same
    /// ([`BatchError::code`] is 0 then).
    #[doc(alias = "lzc_hold")]
    pub fn hold(
        self,
        holds: &[(SnapshotName, &str)],
        cleanup: Option<BorrowedFd<'_>>,
    ) -> Result<(), BatchError> {
        const CALL: &str = "lzc_hold";
        let list = texts(
            CALL,
            holds
                .iter()
                .map(|(snapshot, tag)| (snapshot.as_str(), *tag)),
        )?;
        let cleanup = cleanup.map_or(-1, |fd| fd.as_raw_fd());
        batch(CALL, |errors| {
            // SAFETY: list and descriptor are alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_hold(list.as_ptr(), cleanup, errors) }
        })
    }

    /// Releases holds of snapshots of one pool.
    ///
    /// # Errors
    /// Names the holds that do not exist; the others are released all the same
    /// ([`BatchError::code`] is 0 then).
    #[doc(alias = "lzc_release")]
    pub fn release(self, holds: &[(SnapshotName, &str)]) -> Result<(), BatchError> {
        const CALL: &str = "lzc_release";
        let list = release_list(holds).map_err(|error| whole(CALL, &error))?;
        batch(CALL, |errors| {
            // SAFETY: the list is alive for the call; the list of errors is ours to free.
            unsafe { ffi::lzc_release(list.as_ptr(), errors) }
        })
    }
}

/// What became of the items of an all-or-nothing call, after those to blame were left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Partly<T> {
    /// The items that were done, in one call.
    pub done: Vec<T>,
    /// The items that were not done, each with the reason.
    pub failed: Vec<(T, String)>,
}

/// Makes an all-or-nothing call for `items`, or for as many of them as it takes: the items to blame
/// are left out, and the rest is tried again. The kernel does not always name all of them at once. If
/// it names none, all remaining items fail.
///
/// `names` gives the names by which the kernel may refer to an item.
pub fn as_many_as_go<T>(
    mut items: Vec<T>,
    names: impl Fn(&T) -> Vec<&str>,
    mut call: impl FnMut(&[T]) -> Result<(), BatchError>,
) -> Partly<T> {
    let mut failed = Vec::new();
    while !items.is_empty() {
        let Err(error) = call(&items) else {
            break;
        };
        let reasons: BTreeMap<&str, &str> = (error.items.iter())
            .map(|item| (item.name.as_str(), item.description.as_str()))
            .collect();
        let reason = |item: &T| {
            let mut named = names(item).into_iter().filter_map(|name| reasons.get(name));
            named.next().map(|reason| (*reason).to_owned())
        };
        let nobody_is_named = !items.iter().any(|item| reason(item).is_some());
        let mut rest = Vec::new();
        for item in items {
            match reason(&item) {
                Some(reason) => failed.push((item, reason)),
                None if nobody_is_named => failed.push((item, error.to_string())),
                None => rest.push(item),
            }
        }
        items = rest;
    }
    Partly {
        done: items,
        failed,
    }
}

/// `{snapshot: {tag: flag, …}, …}`
fn release_list(holds: &[(SnapshotName, &str)]) -> Result<NvList, Error> {
    let mut tags: BTreeMap<&str, NvList> = BTreeMap::new();
    for (snapshot, tag) in holds {
        tags.entry(snapshot.as_str()).or_default().add_flag(tag)?;
    }
    let mut list = NvList::new();
    for (snapshot, tags) in &tags {
        list.add_list(snapshot, tags.view())?;
    }
    Ok(list)
}

fn flags<'a>(
    call: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<NvList, BatchError> {
    let mut list = NvList::new();
    for name in names {
        list.add_flag(name).map_err(|error| whole(call, &error))?;
    }
    Ok(list)
}

fn texts<'a>(
    call: &'static str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<NvList, BatchError> {
    let mut list = NvList::new();
    for (name, value) in pairs {
        list.add_text(name, value)
            .map_err(|error| whole(call, &error))?;
    }
    Ok(list)
}

/// A batch that failed before it began.
fn whole(call: &'static str, error: &Error) -> BatchError {
    let item = BatchItem {
        name: error.subject.clone(),
        kind: error.kind,
        code: libc::EINVAL,
        description: error.description.clone(),
    };
    BatchError {
        call,
        code: libc::EINVAL,
        items: vec![item],
        unnamed_items: 0,
    }
}

/// Makes the call with a place for its list of errors, and reads that list.
fn batch(
    call: &'static str,
    function: impl FnOnce(*mut *mut ffi::nvlist_t) -> i32,
) -> Result<(), BatchError> {
    if fault::at(call).is_err() {
        return batch_result(call, libc::EIO, None);
    }
    let mut errors = ptr::null_mut();
    let code = function(&raw mut errors);
    // SAFETY: libzfs_core sets it to null or to a list that the caller frees.
    let errors = unsafe { NvList::from_raw(errors) };
    batch_result(call, code, errors.as_ref().map(NvList::view))
}

fn batch_result(
    call: &'static str,
    code: i32,
    errors: Option<NvListRef<'_>>,
) -> Result<(), BatchError> {
    let mut items = Vec::new();
    let mut unnamed_items = 0;
    if let Some(errors) = errors {
        collect_items(call, errors, &mut items, &mut unnamed_items);
    }
    if code == 0 && items.is_empty() {
        return Ok(());
    }
    Err(BatchError {
        call,
        code,
        items,
        unnamed_items,
    })
}

fn collect_items(
    call: &'static str,
    errors: NvListRef<'_>,
    items: &mut Vec<BatchItem>,
    unnamed_items: &mut u64,
) {
    for (name, value) in errors.pairs() {
        match value {
            Value::I32(count) if name == text_of(ffi::ZPROP_N_MORE_ERRORS) => {
                *unnamed_items += u64::try_from(count).unwrap_or(0);
            }
            Value::I32(code) => items.push(BatchItem::from_code(call, &name, code)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn success_is_no_code_and_no_item() {
        assert!(batch_result("lzc_hold", 0, None).is_ok());
        assert!(batch_result("lzc_hold", 0, Some(NvList::new().view())).is_ok());
    }

    #[test]
    fn items_are_named_even_where_the_call_says_success() {
        let mut errors = NvList::new();
        errors.add_i32("tank/a@x", libc::ENOENT).unwrap();
        errors.add_i32("N_MORE_ERRORS", 4).unwrap();
        let error = batch_result("lzc_hold", 0, Some(errors.view())).unwrap_err();
        assert_eq!((error.code, error.unnamed_items), (0, 4));
        assert_eq!(error.items.len(), 1);
        assert_eq!(
            (error.items[0].name.as_str(), error.kind()),
            ("tank/a@x", ErrorKind::NotFound)
        );
    }

    #[test]
    fn a_code_without_items_is_the_whole_call() {
        let error = batch_result("lzc_snapshot", libc::EXDEV, None).unwrap_err();
        assert!(error.items.is_empty());
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    /// Calls with these items, of which the kernel blames one at a time, and none at `last`.
    fn tried(
        items: &[&'static str],
        to_blame: &[&str],
        last: &str,
    ) -> (Vec<String>, Partly<&'static str>) {
        let mut calls = Vec::new();
        let partly = as_many_as_go(
            items.to_vec(),
            |item| vec![item],
            |items| {
                calls.push(items.concat());
                let named = items.iter().find(|item| to_blame.contains(item));
                let item = |name: &&str| BatchItem {
                    name: (*name).into(),
                    kind: ErrorKind::Exists,
                    code: libc::EEXIST,
                    description: format!("{name} is there"),
                };
                if named.is_none() && !items.contains(&last) {
                    return Ok(());
                }
                Err(BatchError {
                    call: "lzc_snapshot",
                    code: libc::EIO,
                    items: named.map(item).into_iter().collect(),
                    unnamed_items: 0,
                })
            },
        );
        (calls, partly)
    }

    #[test]
    fn whoever_is_to_blame_drops_out_until_nobody_is() {
        let (calls, partly) = tried(&["a", "b", "c", "d"], &["b", "c"], "");
        assert_eq!(calls, ["abcd", "acd", "ad"]);
        assert_eq!(partly.done, ["a", "d"]);
        let reasons = [
            ("b", "b is there".to_owned()),
            ("c", "c is there".to_owned()),
        ];
        assert_eq!(partly.failed, reasons);
        // If no item is named, there is nothing to try again.
        let (calls, partly) = tried(&["a", "b", "c"], &["b"], "c");
        assert_eq!(calls, ["abc", "ac"]);
        assert_eq!((partly.done.len(), partly.failed.len()), (0, 3));
        assert_eq!(tried(&[], &[], "").0, [""; 0]);
    }

    #[test]
    fn tags_are_grouped_by_snapshot() {
        let snapshot = |name| SnapshotName::new(name).unwrap();
        let (a, b) = (snapshot("tank@a"), snapshot("tank@b"));
        let list = release_list(&[(a.clone(), "x"), (b, "x"), (a, "y")]).unwrap();
        assert_eq!(
            format!("{list:?}"),
            r#"{"tank@a": List({"x": Flag, "y": Flag}), "tank@b": List({"x": Flag})}"#
        );
    }
}
