//! libzfs_core: one system call for each function, no handle, safe from any thread.
//!
//! The calls here concern one dataset; calls about many snapshots are in `batch`, streams in
//! `transfer`.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::error::{Error, ErrorKind};
use super::handle::{check_device, library_lock};
use super::nvlist::{NvList, NvListRef, Value, c_text};
use super::pool::text_of;
use crate::ffi;
use crate::name::{BookmarkName, Createtxg, DatasetName, Guid, PoolName, SnapshotName};
use crate::snapshot::{Bookmark, DatasetKind};

/// libzfs_core, initialised. Copies are free and may go to any thread.
///
/// Each call below acts on many items of one pool, and tells item by item what failed.
///
/// ```no_run
/// use openzfs::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lzc = Lzc::open()?;
/// let home = DatasetName::new("tank/home")?;
/// let (old, new) = (home.snapshot("monday")?, home.snapshot("tuesday")?);
/// lzc.bookmark(&[(home.bookmark("monday")?, old.clone())])?;
/// for bookmark in lzc.bookmarks(&home)? {
///     println!("{} stands in for the snapshot with guid {}", bookmark.name, bookmark.guid);
/// }
///
/// lzc.hold(&[(new.clone(), "copying")], None)?; // `new` cannot be destroyed now
/// println!("held since {:?}", lzc.holds(&new)?.get("copying"));
/// lzc.release(&[(new, "copying")])?;
///
/// if let Err(error) = lzc.destroy_snapshots(&[old], false) {
///     println!("{error}: {:?}", error.kind());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Lzc(());

#[expect(
    clippy::unused_self,
    reason = "to have an Lzc is to have initialised libzfs_core"
)]
impl Lzc {
    /// Initialises libzfs_core, once for the life of the process.
    ///
    /// # Errors
    /// [`ErrorKind::NoDevice`] or [`ErrorKind::Permission`] as for [`super::Libzfs::open`].
    #[doc(alias = "libzfs_core_init")]
    pub fn open() -> Result<Self, Error> {
        static IS_OPEN: Mutex<bool> = Mutex::new(false);
        let mut is_open = IS_OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_open {
            check_device()?;
            // SAFETY: no arguments. It is never undone, so no other thread can lose it.
            let code = unsafe { ffi::libzfs_core_init() };
            Error::check("libzfs_core_init", "libzfs_core", code)?;
            init_property_tables();
            *is_open = true;
        }
        Ok(Self(()))
    }

    /// True if a dataset, snapshot or bookmark of this name exists.
    #[doc(alias = "lzc_exists")]
    pub fn exists(self, name: &str) -> bool {
        let Ok(c_name) = c_text("lzc_exists", name) else {
            return false;
        };
        // SAFETY: libzfs_core is initialised and the name ends in NUL.
        unsafe { ffi::lzc_exists(c_name.as_ptr()) != ffi::B_FALSE }
    }

    /// Creates a file system or zvol with properties from [`super::kernel_properties`]. It mounts
    /// nothing. A zvol needs `volsize`.
    #[doc(alias = "lzc_create")]
    pub fn create(
        self,
        name: &DatasetName,
        kind: DatasetKind,
        properties: &NvList,
    ) -> Result<(), Error> {
        Error::injected("lzc_create", name)?;
        let c_name = c_text("lzc_create", name.as_str())?;
        let kind = match kind {
            DatasetKind::Filesystem => ffi::LZC_DATSET_TYPE_ZFS,
            DatasetKind::Volume => ffi::LZC_DATSET_TYPE_ZVOL,
        };
        // SAFETY: name and list are alive for the call, which copies both; no wrapping key.
        let code = unsafe {
            ffi::lzc_create(
                c_name.as_ptr(),
                kind,
                properties.as_ptr(),
                ptr::null_mut(),
                0,
            )
        };
        Error::check("lzc_create", name, code)
    }

    /// Renames a dataset within its pool; its children move with it, mounts stay where they are.
    #[doc(alias = "lzc_rename")]
    pub fn rename(self, from: &DatasetName, to: &DatasetName) -> Result<(), Error> {
        Error::injected("lzc_rename", from)?;
        let (c_from, c_to) = (
            c_text("lzc_rename", from.as_str())?,
            c_text("lzc_rename", to.as_str())?,
        );
        // SAFETY: both names end in NUL.
        let code = unsafe { ffi::lzc_rename(c_from.as_ptr(), c_to.as_ptr()) };
        Error::check("lzc_rename", format_args!("{from} to {to}"), code)
    }

    /// Destroys one dataset that has no snapshots and no children.
    #[doc(alias = "lzc_destroy")]
    pub fn destroy_dataset(self, name: &DatasetName) -> Result<(), Error> {
        self.destroy(name.as_str())
    }

    pub(super) fn destroy(self, name: &str) -> Result<(), Error> {
        Error::injected("lzc_destroy", name)?;
        let c_name = c_text("lzc_destroy", name)?;
        // SAFETY: the name ends in NUL.
        let code = unsafe { ffi::lzc_destroy(c_name.as_ptr()) };
        Error::check("lzc_destroy", name, code)
    }

    /// Rolls a dataset back to its newest snapshot, which must be `snapshot`.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if it has a newer snapshot or bookmark.
    #[doc(alias = "lzc_rollback_to")]
    pub fn rollback_to(self, snapshot: &SnapshotName) -> Result<(), Error> {
        let dataset = c_text("lzc_rollback_to", snapshot.dataset().as_str())?;
        let c_snapshot = c_text("lzc_rollback_to", snapshot.as_str())?;
        // SAFETY: both names end in NUL.
        let code = unsafe { ffi::lzc_rollback_to(dataset.as_ptr(), c_snapshot.as_ptr()) };
        Error::check("lzc_rollback_to", snapshot, code)
    }

    /// Waits until all that was written to the pool is on its disks.
    #[doc(alias = "lzc_sync")]
    pub fn sync(self, pool: &PoolName) -> Result<(), Error> {
        Error::injected("lzc_sync", pool)?;
        let c_pool = c_text("lzc_sync", pool.as_str())?;
        let mut arguments = NvList::new();
        arguments.add_bool("force", false)?;
        // SAFETY: name and list are alive for the call; a null output list is allowed.
        let code = unsafe { ffi::lzc_sync(c_pool.as_ptr(), arguments.as_ptr(), ptr::null_mut()) };
        Error::check("lzc_sync", pool, code)
    }

    /// Bytes that become free if all snapshots of a dataset from `first` to `last` are destroyed.
    #[doc(alias = "lzc_snaprange_space")]
    pub fn range_space(self, first: &SnapshotName, last: &SnapshotName) -> Result<u64, Error> {
        const CALL: &str = "lzc_snaprange_space";
        let (c_first, c_last) = (c_text(CALL, first.as_str())?, c_text(CALL, last.as_str())?);
        let mut freed_bytes = 0;
        // SAFETY: both names end in NUL, `freed_bytes` is a u64 to write to.
        let code = unsafe {
            ffi::lzc_snaprange_space(c_first.as_ptr(), c_last.as_ptr(), &raw mut freed_bytes)
        };
        Error::check(CALL, last, code).map(|()| freed_bytes)
    }

    /// A dataset's bookmarks, oldest first.
    #[doc(alias = "lzc_get_bookmarks")]
    pub fn bookmarks(self, dataset: &DatasetName) -> Result<Vec<Bookmark>, Error> {
        const CALL: &str = "lzc_get_bookmarks";
        let c_dataset = c_text(CALL, dataset.as_str())?;
        let mut wanted = NvList::new();
        for property in ["guid", "createtxg", "ivsetguid"] {
            wanted.add_flag(property)?;
        }
        let mut found = ptr::null_mut();
        // SAFETY: name and list are alive for the call; the list that comes back is ours to free.
        let (code, found) = unsafe {
            let code = ffi::lzc_get_bookmarks(c_dataset.as_ptr(), wanted.as_ptr(), &raw mut found);
            (code, NvList::from_raw(found))
        };
        Error::check(CALL, dataset, code)?;
        let Some(found) = found else {
            return Ok(Vec::new());
        };
        let mut bookmarks: Vec<_> = found
            .view()
            .pairs()
            .filter_map(|(short, value)| match value {
                Value::List(properties) => Some(bookmark_facts(dataset, &short, properties)),
                _ => None,
            })
            .collect::<Result<_, _>>()?;
        bookmarks.sort_by_key(|bookmark| bookmark.createtxg);
        Ok(bookmarks)
    }

    /// A snapshot's holds: each tag with the time it was placed, seconds since the epoch.
    #[doc(alias = "lzc_get_holds")]
    pub fn holds(self, snapshot: &SnapshotName) -> Result<BTreeMap<String, u64>, Error> {
        let c_snapshot = c_text("lzc_get_holds", snapshot.as_str())?;
        let mut found = ptr::null_mut();
        // SAFETY: the name ends in NUL; the list that comes back is ours to free.
        let (code, found) = unsafe {
            let code = ffi::lzc_get_holds(c_snapshot.as_ptr(), &raw mut found);
            (code, NvList::from_raw(found))
        };
        Error::check("lzc_get_holds", snapshot, code)?;
        let Some(found) = found else {
            return Ok(BTreeMap::new());
        };
        let holds = found.view().pairs().filter_map(|(tag, value)| match value {
            Value::U64(seconds) => Some((tag.into_owned(), seconds)),
            _ => None,
        });
        Ok(holds.collect())
    }
}

/// Fills libzfs' tables of properties, as `libzfs_init` does; doing it again is harmless. They hold
/// what the loaded kernel module supports, so the device must be there first.
fn init_property_tables() {
    let _lock = library_lock();
    // SAFETY: no arguments; the lock keeps other threads from filling the same tables.
    unsafe { ffi::zfs_prop_init() };
}

/// One bookmark from `{property: {value}}`.
fn bookmark_facts(
    dataset: &DatasetName,
    short: &str,
    properties: NvListRef<'_>,
) -> Result<Bookmark, Error> {
    let failed = |reason: String| {
        let subject = format!("{dataset}#{short}");
        Error::found("lzc_get_bookmarks", subject, ErrorKind::Other, reason)
    };
    let number = |property: &str| {
        properties
            .lookup_list(property)
            .and_then(|entry| entry.lookup_u64(text_of(ffi::ZPROP_VALUE)))
    };
    Ok(Bookmark {
        name: dataset
            .bookmark(short)
            .map_err(|error| failed(error.to_string()))?,
        guid: Guid(number("guid").ok_or_else(|| failed("it has no guid".into()))?),
        createtxg: Createtxg(
            number("createtxg").ok_or_else(|| failed("it has no createtxg".into()))?,
        ),
        ivset_guid: number("ivsetguid").filter(|&guid| guid != 0).map(Guid),
    })
}

/// A bookmark or snapshot as the base of an incremental stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendBase {
    /// A snapshot of the same dataset, or of its origin.
    Snapshot(SnapshotName),
    /// A bookmark of the same dataset.
    Bookmark(BookmarkName),
}

impl SendBase {
    /// Its full name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Snapshot(name) => name.as_str(),
            Self::Bookmark(name) => name.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_without_its_guid_is_an_error() {
        let dataset = DatasetName::new("tank/home").unwrap();
        let mut entry = NvList::new();
        entry.add_u64("value", 7).unwrap();
        let mut properties = NvList::new();
        properties.add_list("createtxg", entry.view()).unwrap();
        assert!(bookmark_facts(&dataset, "b", properties.view()).is_err());
        properties.add_list("guid", entry.view()).unwrap();
        let bookmark = bookmark_facts(&dataset, "b", properties.view()).unwrap();
        assert_eq!((bookmark.guid, bookmark.ivset_guid), (Guid(7), None));
        assert_eq!(bookmark.name.as_str(), "tank/home#b");
    }
}
