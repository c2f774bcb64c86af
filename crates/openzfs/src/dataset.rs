//! File systems and zvols, and the snapshots and bookmarks that they have.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ops::ControlFlow;
use std::path::Path;

use nix::errno::Errno;

use super::error::{Error, ErrorKind};
use super::handle::{ENDED, Libzfs, ZfsHandle, iterate_datasets};
use super::lzc::Lzc;
use super::nvlist::{NvListRef, c_text};
use super::pool::{c_path, text_of};
use super::property::{self, Properties, PropertySource};
use crate::ffi;
use crate::name::{BookmarkName, Createtxg, DatasetName, Guid, SnapshotName};
use crate::snapshot::{Bookmark, DatasetKind, Snapshot};

/// An open file system or zvol. Its facts are from when it was opened or last refreshed.
///
/// ```no_run
/// use openzfs::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let libzfs = Libzfs::open()?;
/// let home = DatasetName::new("tank/home")?;
/// if let Some(mut dataset) = libzfs.dataset(&home)? {
///     let properties = dataset.properties();
///     println!("{:?} bytes are used", properties.number("used"));
///     if properties.get("compression").is_some_and(|one| one.source == PropertySource::Default) {
///         dataset.set_property("compression", "lz4")?;
///     }
///     dataset.set_property("com.example:owner", "vic")?;
/// }
/// // What the kernel is to be told comes as a list; a filled one can be looked into.
/// let properties = kernel_properties([("compression", "zstd"), ("canmount", "noauto")])?;
/// Lzc::open()?.create(&home.join("mail")?, DatasetKind::Filesystem, &properties)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Dataset<'lib> {
    handle: ZfsHandle,
    lib: &'lib Libzfs,
    name: DatasetName,
    kind: DatasetKind,
}

impl Libzfs {
    /// A file system or zvol; `None` if it does not exist.
    #[doc(alias = "zfs_open")]
    pub fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset<'_>>, Error> {
        let types = ffi::ZFS_TYPE_FILESYSTEM | ffi::ZFS_TYPE_VOLUME;
        let handle = self.open_handle(name.as_str(), types)?;
        Ok(handle.map(|handle| Dataset::new(self, handle, name.clone())))
    }

    /// The facts of one snapshot; `None` if it does not exist.
    #[doc(alias = "zfs_open")]
    pub fn snapshot(&self, name: &SnapshotName) -> Result<Option<Snapshot>, Error> {
        let handle = self.open_handle(name.as_str(), ffi::ZFS_TYPE_SNAPSHOT)?;
        handle.map(|handle| snapshot_facts(&handle)).transpose()
    }

    pub(super) fn open_handle(
        &self,
        name: &str,
        types: ffi::zfs_type_t,
    ) -> Result<Option<ZfsHandle>, Error> {
        let c_name = c_text("zfs_open", name)?;
        let session = self.session();
        // SAFETY: the handle is open and the name ends in NUL; the new handle is ours to close.
        let handle = unsafe {
            let raw = ffi::zfs_open(session.as_ptr(), c_name.as_ptr(), types.cast_signed());
            ZfsHandle::from_raw(raw, &session)
        };
        match handle {
            Some(handle) => Ok(Some(handle)),
            None if session.last_code() == ffi::EZFS_NOENT.cast_signed() => Ok(None),
            None => Err(session.last_error("zfs_open", name)),
        }
    }
}

impl<'lib> Dataset<'lib> {
    fn new(lib: &'lib Libzfs, handle: ZfsHandle, name: DatasetName) -> Self {
        // SAFETY: the handle is open.
        let kind = property::kind_of(unsafe { ffi::zfs_get_type(handle.as_ptr()) });
        Self {
            handle,
            lib,
            name,
            kind,
        }
    }

    /// Its full name.
    pub fn name(&self) -> &DatasetName {
        &self.name
    }

    /// File system or zvol.
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// Its identity in this pool. A copy in another pool has another guid; snapshots keep theirs.
    pub fn guid(&self) -> Guid {
        Guid(self.number(ffi::ZFS_PROP_GUID))
    }

    /// Its number in this pool, which neither a rename nor a receive changes. The kernel's statistics
    /// have it in their name.
    pub fn objset(&self) -> u64 {
        self.number(ffi::ZFS_PROP_OBJSETID)
    }

    /// The transaction group in which it was made.
    pub fn createtxg(&self) -> Createtxg {
        Createtxg(self.number(ffi::ZFS_PROP_CREATETXG))
    }

    /// True for a new dataset whose first receive is not complete.
    pub fn is_inconsistent(&self) -> bool {
        self.number(ffi::ZFS_PROP_INCONSISTENT) != 0
    }

    /// True if it is mounted, by this host's present mount table.
    #[doc(alias = "zfs_is_mounted")]
    pub fn is_mounted(&self) -> bool {
        // SAFETY: the handle is open; a null pointer means that the place is not wanted.
        unsafe { ffi::zfs_is_mounted(self.handle.as_ptr(), std::ptr::null_mut()) != ffi::B_FALSE }
    }

    /// All its properties, native ones and the user's.
    #[doc(alias = "zfs_prop_get")]
    pub fn properties(&self) -> Properties {
        let native = property::native_properties(&self.handle);
        native
            .into_iter()
            .chain(property::user_properties(&self.handle))
            .collect()
    }

    /// What the kernel told when the dataset was opened, without a further call: its statistics,
    /// and every property that is set on it or inherited. A property at its default is absent, and
    /// a mountpoint is as it was set, without the pool's alternative root.
    #[doc(alias = "zfs_get_all_props")]
    pub fn reported_properties(&self) -> Properties {
        property::reported_properties(&self.handle)
            .into_iter()
            .collect()
    }

    /// The user's properties alone, inherited ones too; cheaper than all properties.
    #[doc(alias = "zfs_get_user_props")]
    pub fn user_properties(&self) -> Properties {
        property::user_properties(&self.handle)
            .into_iter()
            .collect()
    }

    /// Reads its facts from the kernel again.
    #[doc(alias = "zfs_refresh_properties")]
    pub fn refresh(&mut self) {
        // SAFETY: the handle is open; `&mut` says that nobody looks into its lists.
        unsafe { ffi::zfs_refresh_properties(self.handle.as_ptr()) };
    }

    /// Sets a property on it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a property with which libzfs would unmount, share or start
    /// another program: `mountpoint`, `sharenfs`, `sharesmb`, `zoned`, `volsize`, and `canmount=off`
    /// while it is mounted. Those are given when a dataset is created or received.
    #[doc(alias = "zfs_prop_set")]
    pub fn set_property(&mut self, name: &str, value: &str) -> Result<(), Error> {
        const CALL: &str = "zfs_prop_set";
        Error::injected(CALL, &self.name)?;
        self.refuse_mounts_and_shares(CALL, name)?;
        if name == "canmount" && value == "off" && self.is_mounted() {
            return Err(self.would_unmount(CALL, name));
        }
        let (c_name, c_value) = (c_text(CALL, name)?, c_text(CALL, value)?);
        // SAFETY: the handle is open and both texts end in NUL.
        let code =
            unsafe { ffi::zfs_prop_set(self.handle.as_ptr(), c_name.as_ptr(), c_value.as_ptr()) };
        self.check(CALL, code)
    }

    /// Removes a property from it, so that it is inherited or default again.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] as for [`Self::set_property`], and for `canmount` always.
    #[doc(alias = "zfs_prop_inherit")]
    pub fn inherit_property(&mut self, name: &str) -> Result<(), Error> {
        const CALL: &str = "zfs_prop_inherit";
        self.refuse_mounts_and_shares(CALL, name)?;
        if name == "canmount" {
            return Err(self.would_unmount(CALL, name));
        }
        let c_name = c_text(CALL, name)?;
        // SAFETY: the handle is open and the name ends in NUL; B_FALSE: not back to a received value.
        let code =
            unsafe { ffi::zfs_prop_inherit(self.handle.as_ptr(), c_name.as_ptr(), ffi::B_FALSE) };
        self.check(CALL, code)?;
        self.refresh();
        Ok(())
    }

    /// The file systems and zvols directly below it, by name.
    #[doc(alias = "zfs_iter_filesystems")]
    pub fn children(&self) -> Result<Vec<Dataset<'lib>>, Error> {
        let mut children = Vec::new();
        self.each_child(|child| {
            children.push(child);
            Ok::<_, Error>(())
        })?;
        children.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(children)
    }

    /// Visits the file systems and zvols directly below it, in no particular order, with only one
    /// handle open at a time: a handle takes some ten kilobytes. The first error ends it.
    #[doc(alias = "zfs_iter_filesystems")]
    pub fn each_child<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Dataset<'lib>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failure = None;
        let code = self.iterate_children(&mut |handle| match self
            .child(handle)
            .map_err(E::from)
            .and_then(&mut visit)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(self.check("zfs_iter_filesystems", code)?),
        }
    }

    /// True if there is a file system or zvol below it.
    #[doc(alias = "zfs_iter_filesystems")]
    pub fn has_children(&self) -> Result<bool, Error> {
        match self.iterate_children(&mut |_| ControlFlow::Break(())) {
            ENDED => Ok(true),
            code => self.check("zfs_iter_filesystems", code).map(|()| false),
        }
    }

    fn iterate_children(&self, visit: &mut dyn FnMut(ZfsHandle) -> ControlFlow<()>) -> c_int {
        iterate_datasets(
            self.handle.session(),
            // SAFETY: the handle is open, and callback and argument belong together.
            |callback, argument| unsafe {
                ffi::zfs_iter_filesystems(self.handle.as_ptr(), Some(callback), argument)
            },
            visit,
        )
    }

    fn child(&self, handle: ZfsHandle) -> Result<Dataset<'lib>, Error> {
        let name = handle.name();
        let name = DatasetName::new(&name).map_err(|error| bad_name(&name, &error))?;
        Ok(Dataset::new(self.lib, handle, name))
    }

    /// Its snapshots, oldest first; with `from`, only those made in that transaction group or later.
    #[doc(alias = "zfs_iter_snapshots")]
    pub fn snapshots(&self, from: Option<Createtxg>) -> Result<Vec<Snapshot>, Error> {
        Error::injected("zfs_iter_snapshots", &self.name)?;
        let min_txg = from.map_or(0, |createtxg| createtxg.0);
        let mut facts = Vec::new();
        let code = iterate_datasets(
            self.handle.session(),
            // SAFETY: the handle is open, and callback and argument belong together. B_FALSE asks
            // for handles with facts, not only names; 0 means no upper limit.
            |callback, argument| unsafe {
                ffi::zfs_iter_snapshots(
                    self.handle.as_ptr(),
                    ffi::B_FALSE,
                    Some(callback),
                    argument,
                    min_txg,
                    0,
                )
            },
            &mut |handle| {
                facts.push(snapshot_facts(&handle));
                ControlFlow::Continue(())
            },
        );
        self.check("zfs_iter_snapshots", code)?;
        let mut snapshots: Vec<_> = facts.into_iter().collect::<Result<_, _>>()?;
        snapshots.retain(|snapshot: &Snapshot| snapshot.createtxg.0 >= min_txg);
        snapshots.sort_by_key(|snapshot| snapshot.createtxg);
        Ok(snapshots)
    }

    /// Its bookmarks, oldest first; with `from`, only those of snapshots made in that transaction
    /// group or later.
    pub fn bookmarks(&self, from: Option<Createtxg>) -> Result<Vec<Bookmark>, Error> {
        let mut bookmarks = Lzc::open()?.bookmarks(&self.name)?;
        bookmarks.retain(|bookmark| from.is_none_or(|from| bookmark.createtxg >= from));
        Ok(bookmarks)
    }

    /// Bytes written since one of its snapshots. It lags behind writes until the pool is synced.
    #[doc(alias = "zfs_prop_get_written_int")]
    pub fn written_since(&self, snapshot: &SnapshotName) -> Result<u64, Error> {
        self.written(&format!("written@{}", snapshot.short()), snapshot.as_str())
    }

    /// Bytes written since the snapshot that a bookmark was made from. The pool's feature
    /// `bookmark_written` must have been on when the bookmark was made.
    #[doc(alias = "zfs_prop_get_written_int")]
    pub fn written_since_bookmark(&self, bookmark: &BookmarkName) -> Result<u64, Error> {
        self.written(&format!("written@{}", bookmark.as_str()), bookmark.as_str())
    }

    fn written(&self, property: &str, subject: &str) -> Result<u64, Error> {
        const CALL: &str = "zfs_prop_get_written_int";
        let c_property = c_text(CALL, property)?;
        let mut written_bytes = 0;
        // SAFETY: the handle is open, the name ends in NUL, `written_bytes` is a u64 to write to.
        let code = unsafe {
            ffi::zfs_prop_get_written_int(
                self.handle.as_ptr(),
                c_property.as_ptr(),
                &raw mut written_bytes,
            )
        };
        match code {
            0 => Ok(written_bytes),
            // libzfs leaves no error of its own here.
            _ => Err(Error::from_code(CALL, subject, Errno::last_raw())),
        }
    }

    /// Mounts it at `path`, whatever its mountpoint says, with `mount(2)` options such as
    /// `ro,nosuid,nodev`. Unmount with `umount2`.
    ///
    /// # Errors
    /// [`ErrorKind::Other`] with libzfs' words, also if its key is not loaded.
    #[doc(alias = "zfs_mount_at")]
    pub fn mount_at(&self, path: &Path, options: &str) -> Result<(), Error> {
        const CALL: &str = "zfs_mount_at";
        Error::injected(CALL, &self.name)?;
        let (c_path, c_options) = (c_path(CALL, path)?, c_text(CALL, options)?);
        // SAFETY: the handle is open and both texts end in NUL. No MS_CRYPT: a missing key is an
        // error, never a question on the terminal.
        let code = unsafe {
            ffi::zfs_mount_at(self.handle.as_ptr(), c_options.as_ptr(), 0, c_path.as_ptr())
        };
        self.check(CALL, code)
    }

    fn number(&self, property: ffi::zfs_prop_t) -> u64 {
        // SAFETY: the handle is open.
        unsafe { ffi::zfs_prop_get_int(self.handle.as_ptr(), property) }
    }

    /// The handle, for a C function that reads it.
    pub(super) fn as_ptr(&self) -> *mut ffi::zfs_handle_t {
        self.handle.as_ptr()
    }

    pub(super) fn check(&self, call: &'static str, code: i32) -> Result<(), Error> {
        if code == 0 {
            Ok(())
        } else {
            let session = self.handle.session();
            Err(session.last_error(call, self.name.as_str()))
        }
    }

    fn refuse_mounts_and_shares(&self, call: &'static str, name: &str) -> Result<(), Error> {
        if property::sets_mounts_or_shares(name) {
            return Err(self.would_unmount(call, name));
        }
        Ok(())
    }

    fn would_unmount(&self, call: &'static str, name: &str) -> Error {
        let reason = format!(
            "changing {name} here would make libzfs unmount or share it by way of other programs"
        );
        Error::found(call, &self.name, ErrorKind::Unsupported, reason)
    }
}

/// The facts of a snapshot, from its handle.
fn snapshot_facts(handle: &ZfsHandle) -> Result<Snapshot, Error> {
    let name = handle.name();
    // SAFETY: the handle is open; the list is the handle's and is read here and now.
    let properties = unsafe { NvListRef::from_raw(ffi::zfs_get_all_props(handle.as_ptr())) };
    let entry = |property: &str| properties.and_then(|list| list.lookup_list(property));
    let number = |property: &str| entry(property)?.lookup_u64(text_of(ffi::ZPROP_VALUE));
    let required = |property: &'static str| {
        number(property).ok_or_else(|| {
            Error::found(
                "zfs_get_all_props",
                &name,
                ErrorKind::Other,
                format!("it has no {property}"),
            )
        })
    };
    Ok(Snapshot {
        guid: Guid(required("guid")?),
        createtxg: Createtxg(required("createtxg")?),
        creation_seconds: required("creation")?,
        used_bytes: required("used")?,
        referenced_bytes: required("referenced")?,
        written_bytes: required("written")?,
        holds: required("userrefs")?,
        clones: entry("clones").map_or_else(Vec::new, clone_names),
        ivset_guid: number("ivsetguid").filter(|&guid| guid != 0).map(Guid),
        user_properties: user_properties_from(handle, &PropertySource::Local),
        received_properties: user_properties_from(handle, &PropertySource::Received),
        name: SnapshotName::new(&name).map_err(|error| bad_name(&name, &error))?,
    })
}

/// The kernel lists the clones as flags of their names. The hidden clone of a running receive
/// (`%recv`) is among them, and its name is not that of a dataset.
fn clone_names(property: NvListRef<'_>) -> Vec<DatasetName> {
    let names = property.lookup_list(text_of(ffi::ZPROP_VALUE));
    let names = names.into_iter().flat_map(NvListRef::pairs);
    names
        .filter_map(|(name, _)| DatasetName::new(&name).ok())
        .collect()
}

/// Snapshots inherit the user properties of their dataset as well.
fn user_properties_from(handle: &ZfsHandle, source: &PropertySource) -> BTreeMap<String, String> {
    property::user_properties(handle)
        .into_iter()
        .filter(|(_, property)| property.source == *source)
        .map(|(name, property)| (name, property.value))
        .collect()
}

fn bad_name(name: &str, error: &crate::name::InvalidName) -> Error {
    Error::found("zfs_get_name", name, ErrorKind::Invalid, error.to_string())
}
