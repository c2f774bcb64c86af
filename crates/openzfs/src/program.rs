//! Bookmarks and user properties of many datasets and snapshots in one call.
//!
//! Setting properties one by one costs a transaction group each. A channel program, a few lines of Lua
//! that the kernel runs between two transactions, sets them all in one. The kernel writes what
//! such a program returns into the pool's history, so it returns only what failed. OpenZFS can be built
//! without such programs: then there is one call for each change.

use std::ptr;

use super::error::{Error, ErrorKind};
use super::handle::Libzfs;
use super::lzc::Lzc;
use super::nvlist::{NvList, NvListRef, Value, c_text};
use crate::ffi;
use crate::name::{BookmarkName, PoolName, SnapshotName};

/// One user property of one dataset or snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyChange {
    /// The dataset or snapshot.
    pub subject: String,
    /// A name with a colon.
    pub property: String,
    /// The value, below 8192 bytes.
    pub value: String,
}

impl PropertyChange {
    /// `property` of `subject` becomes `value`.
    pub fn new(subject: &str, property: &str, value: &str) -> Self {
        Self {
            subject: subject.into(),
            property: property.into(),
            value: value.into(),
        }
    }
}

/// Makes every bookmark and sets every property of the argument, and returns the error number of
/// each that failed.
const PROGRAM: &str = r#"
arguments = ...
failed = {}
for bookmark, snapshot in pairs(arguments["bookmark"]) do
    code = zfs.sync.bookmark(snapshot, bookmark)
    if code ~= 0 then failed[bookmark] = code end
end
for subject, properties in pairs(arguments["set"]) do
    for property, value in pairs(properties) do
        code = zfs.sync.set_prop(subject, property, value)
        if code ~= 0 then failed[subject] = code end
    end
end
return failed
"#;

/// Changes in one call: each takes some twenty instructions of Lua and a few hundred bytes.
const CHANGES_A_CALL: usize = 1000;
/// The kernel's own default limits, which are far above what a call of that size needs.
const INSTRUCTION_LIMIT: u64 = 10_000_000;
const MEMORY_LIMIT_BYTES: u64 = 10 << 20;

/// What [`Lzc::apply`] could not do. Everything else was done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct NotApplied {
    /// Bookmarks that were not made, and why.
    pub bookmarks: Vec<(BookmarkName, Error)>,
    /// Datasets and snapshots that lack properties: one failure each, or one for all if the whole
    /// call failed.
    pub properties: Vec<Error>,
}

impl Lzc {
    /// Makes bookmarks and sets user properties in `pool`, a thousand in one call; not all or nothing.
    /// A bookmark that exists already is a failure.
    #[doc(alias = "lzc_channel_program")]
    pub fn apply(
        self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied {
        let (mut bookmarks, mut properties) = (bookmarks, properties);
        let mut failures = NotApplied::default();
        while !(bookmarks.is_empty() && properties.is_empty()) {
            let some_bookmarks = take(&mut bookmarks, CHANGES_A_CALL);
            let some_properties = take(&mut properties, CHANGES_A_CALL - some_bookmarks.len());
            failures.add(self.apply_some(pool, some_bookmarks, some_properties));
        }
        failures
    }

    /// Sets user properties in `pool`; not all or nothing.
    ///
    /// # Errors
    /// One change that failed; the others are made all the same.
    #[doc(alias = "lzc_channel_program")]
    pub fn set_user_properties(
        self,
        pool: &PoolName,
        changes: &[PropertyChange],
    ) -> Result<(), Error> {
        let failures = self.apply(pool, &[], changes).properties;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    fn apply_some(
        self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied {
        match self.run_program(pool, bookmarks, properties) {
            Ok(failures) => failures,
            Err(error) if error.kind == ErrorKind::Unsupported => {
                log::info!("{error}: bookmarks and properties are written one by one");
                self.apply_singly(bookmarks, properties)
            }
            Err(error) => {
                let bookmarks = bookmarks.iter();
                let properties = (!properties.is_empty()).then(|| error.clone());
                NotApplied {
                    bookmarks: bookmarks
                        .map(|(name, _)| (name.clone(), error.clone()))
                        .collect(),
                    properties: properties.into_iter().collect(),
                }
            }
        }
    }

    fn apply_singly(
        self,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied {
        let bookmarks = bookmarks.iter().filter_map(|pair| {
            let failed = self.bookmark(std::slice::from_ref(pair)).err()?;
            let code = failed.items.first().map_or(failed.code, |item| item.code);
            Some((pair.0.clone(), Error::from_code(failed.call, &pair.0, code)))
        });
        let set = |change: &PropertyChange| set_user_property(change).err();
        NotApplied {
            bookmarks: bookmarks.collect(),
            properties: properties.iter().filter_map(set).collect(),
        }
    }

    fn run_program(
        self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> Result<NotApplied, Error> {
        const CALL: &str = "lzc_channel_program";
        Error::injected(CALL, pool)?;
        let arguments = arguments(bookmarks, properties)?;
        let (c_pool, program) = (c_text(CALL, pool.as_str())?, c_text(CALL, PROGRAM)?);
        let mut output = ptr::null_mut();
        // SAFETY: names and list are alive for the call and the texts end in NUL; the list that
        // comes back is ours to free.
        let (code, output) = unsafe {
            let code = ffi::lzc_channel_program(
                c_pool.as_ptr(),
                program.as_ptr(),
                INSTRUCTION_LIMIT,
                MEMORY_LIMIT_BYTES,
                arguments.as_ptr(),
                &raw mut output,
            );
            (code, NvList::from_raw(output))
        };
        Error::check(CALL, pool, code)?;
        let failed = output
            .as_ref()
            .and_then(|output| output.view().lookup_list("return"));
        Ok(failed.map(not_applied).unwrap_or_default())
    }
}

/// Sets one property of one dataset or snapshot.
fn set_user_property(change: &PropertyChange) -> Result<(), Error> {
    const CALL: &str = "zfs_prop_set";
    check_user_property(CALL, change)?;
    let (name, value) = (
        c_text(CALL, &change.property)?,
        c_text(CALL, &change.value)?,
    );
    let types = ffi::ZFS_TYPE_FILESYSTEM | ffi::ZFS_TYPE_VOLUME | ffi::ZFS_TYPE_SNAPSHOT;
    let libzfs = Libzfs::open()?;
    let handle = libzfs.open_handle(&change.subject, types)?;
    let handle = handle.ok_or_else(|| Error::not_found(&change.subject))?;
    // SAFETY: the handle is open and both texts end in NUL.
    match unsafe { ffi::zfs_prop_set(handle.as_ptr(), name.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(handle.session().last_error(CALL, &change.subject)),
    }
}

/// ZFS' own properties have other types and other calls, and are refused.
fn check_user_property(call: &'static str, change: &PropertyChange) -> Result<(), Error> {
    if change.property.contains(':') {
        return Ok(());
    }
    let reason = "only user properties can be set this way";
    Err(Error::found(
        call,
        &change.subject,
        ErrorKind::Invalid,
        reason,
    ))
}

impl NotApplied {
    fn add(&mut self, later: Self) {
        self.bookmarks.extend(later.bookmarks);
        self.properties.extend(later.properties);
    }
}

/// Takes up to `most` items off the front.
fn take<'a, T>(items: &mut &'a [T], most: usize) -> &'a [T] {
    let (taken, rest) = items.split_at(items.len().min(most));
    *items = rest;
    taken
}

/// Reads the program's answer: error numbers by the name of what they are about.
fn not_applied(failed: NvListRef<'_>) -> NotApplied {
    let mut failures = NotApplied::default();
    for (subject, value) in failed.pairs() {
        let Value::I64(code) = value else { continue };
        let code = i32::try_from(code).unwrap_or(libc::EINVAL);
        let error = |call| Error::from_code(call, subject.clone(), code);
        match BookmarkName::new(&subject) {
            Ok(name) => failures.bookmarks.push((name, error("lzc_bookmark"))),
            Err(_) => failures.properties.push(error("zfs_prop_set")),
        }
    }
    failures
}

/// `{bookmark: {bookmark: snapshot}, set: {subject: {property: value}}}`
fn arguments(
    bookmarks: &[(BookmarkName, SnapshotName)],
    changes: &[PropertyChange],
) -> Result<NvList, Error> {
    let mut by_subject: std::collections::BTreeMap<&str, NvList> =
        std::collections::BTreeMap::new();
    for change in changes {
        check_user_property("lzc_channel_program", change)?;
        by_subject
            .entry(&change.subject)
            .or_default()
            .add_text(&change.property, &change.value)?;
    }
    let mut set = NvList::new();
    for (subject, properties) in &by_subject {
        set.add_list(subject, properties.view())?;
    }
    let mut bookmark = NvList::new();
    for (name, snapshot) in bookmarks {
        bookmark.add_text(name.as_str(), snapshot.as_str())?;
    }
    let mut arguments = NvList::new();
    arguments.add_list("bookmark", bookmark.view())?;
    arguments.add_list("set", set.view())?;
    Ok(arguments)
}
