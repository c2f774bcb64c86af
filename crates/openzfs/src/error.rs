//! One error type for every call of the ZFS libraries.
//!
//! libzfs keeps its last error on the handle, where the next call overwrites it, so it is copied
//! at once. libzfs_core returns an errno, or a `ZFS_ERR_*` from 1024 on; what that number means
//! depends on the call (see [`super::errno`]).

use std::fmt;

use super::errno;
use crate::fault;

/// What went wrong, as finely as a program decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `/dev/zfs` is absent: the ZFS kernel module is not loaded.
    NoDevice,
    /// Not allowed for this user.
    Permission,
    /// Pool, dataset, snapshot or bookmark does not exist.
    NotFound,
    /// The dataset, snapshot or bookmark exists already.
    Exists,
    /// In use: mounted, open, held, cloned, or another receive is running.
    Busy,
    /// Out of space or quota.
    NoSpace,
    /// The receiving dataset has changed since the base of the stream.
    Modified,
    /// The base of an incremental stream is not there.
    BaseMissing,
    /// The stream ended before its end record.
    StreamTruncated,
    /// No send stream, a damaged one, or one that cannot go into this dataset.
    BadStream,
    /// An interrupted receive of something else waits in this dataset.
    ResumeExists,
    /// Nobody reads the stream any more.
    BrokenPipe,
    /// The device failed.
    Io,
    /// The pool is suspended: its device is gone or failed.
    Suspended,
    /// A key is not loaded, or encrypted and clear data do not fit together.
    Encryption,
    /// Pool or dataset is read-only.
    ReadOnly,
    /// A signal ended the call.
    Interrupted,
    /// The pool was last used by another host and not exported there.
    ForeignHost,
    /// This kernel module, library or pool version cannot do it.
    Unsupported,
    /// An argument that ZFS does not accept.
    Invalid,
    /// Anything else: read the description.
    Other,
}

/// A failed call: which one, on what, and the library's own words if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// The C function, such as `lzc_receive_with_cmdprops`.
    pub call: &'static str,
    /// The dataset, snapshot, pool or device that the call was about.
    pub subject: String,
    /// What to decide by.
    pub kind: ErrorKind,
    /// An errno, a `ZFS_ERR_*` (1024 and up) or an `EZFS_*` (2000 and up); 0 if there is none.
    pub code: i32,
    /// What was being done: libzfs' words, or ours for libzfs_core, which has none.
    pub action: Option<String>,
    /// Why it failed.
    pub description: String,
}

impl Error {
    /// An error that is found before any library is called.
    pub(super) fn found(
        call: &'static str,
        subject: impl fmt::Display,
        kind: ErrorKind,
        description: impl Into<String>,
    ) -> Self {
        Self {
            call,
            subject: subject.to_string(),
            kind,
            code: 0,
            action: None,
            description: description.into(),
        }
    }

    /// Fails `call` if a test wants it to.
    pub(super) fn injected(call: &'static str, subject: impl fmt::Display) -> Result<(), Self> {
        fault::at(call).map_err(|words| {
            let kind = match words {
                fault::MISSING => ErrorKind::Unsupported,
                _ => ErrorKind::Other,
            };
            Self::found(call, subject, kind, words)
        })
    }

    /// Something that was there a moment ago is no longer found.
    pub fn not_found(subject: &str) -> Self {
        Self::found(
            "zfs_open",
            subject,
            ErrorKind::NotFound,
            "it does not exist any more",
        )
    }

    /// The meaning of an error number that `call` gave back.
    pub fn from_code(call: &'static str, subject: impl fmt::Display, code: i32) -> Self {
        let (kind, description) = errno::meaning(call, code);
        let subject = subject.to_string();
        Self {
            call,
            kind,
            code,
            action: errno::verb(call).map(|verb| format!("{verb} {subject}")),
            description,
            subject,
        }
    }

    /// [`Self::from_code`] for the calls that return 0 or an error number.
    pub(super) fn check(
        call: &'static str,
        subject: impl fmt::Display,
        code: i32,
    ) -> Result<(), Self> {
        if code == 0 {
            Ok(())
        } else {
            Err(Self::from_code(call, subject, code))
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = self.action.as_deref().unwrap_or(&self.subject);
        write!(f, "{doing}: {} ({}", self.description, self.call)?;
        if self.code != 0 {
            write!(f, ", {}", errno::name(self.code))?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Error {}

/// One member of a failed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchItem {
    /// Full name of the snapshot or bookmark.
    pub name: String,
    /// What to decide by.
    pub kind: ErrorKind,
    /// Error number as in [`Error::code`].
    pub code: i32,
    /// Why this one failed.
    pub description: String,
}

/// A call about many snapshots or bookmarks that failed, and which of them are to blame.
///
/// Snapshot, bookmark and destroy calls are all-or-nothing within a pool: if one item failed, none
/// was done. Holds and releases differ; see [`super::Lzc::hold`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchError {
    /// The C function.
    pub call: &'static str,
    /// The error number of the whole call, 0 if only items failed.
    pub code: i32,
    /// The items to blame. Empty if the call failed as a whole.
    pub items: Vec<BatchItem>,
    /// How many more items failed than the kernel had room to name.
    pub unnamed_items: u64,
}

impl BatchItem {
    /// The meaning of an error number that `call` gave back for this one.
    pub(super) fn from_code(call: &str, name: &str, code: i32) -> Self {
        let (kind, description) = errno::meaning(call, code);
        Self {
            name: name.into(),
            kind,
            code,
            description,
        }
    }
}

impl BatchError {
    /// The meaning of the error numbers that `call` gave back, for the whole call and for the items to blame.
    pub fn from_codes<'a>(
        call: &'static str,
        code: i32,
        items: impl IntoIterator<Item = (&'a str, i32)>,
    ) -> Self {
        let items = items.into_iter();
        Self {
            call,
            code,
            items: items
                .map(|(name, code)| BatchItem::from_code(call, name, code))
                .collect(),
            unnamed_items: 0,
        }
    }

    /// What to decide by: the first item's kind, else that of the whole call.
    pub fn kind(&self) -> ErrorKind {
        match self.items.first() {
            Some(item) => item.kind,
            None => errno::meaning(self.call, self.code).0,
        }
    }

    /// Why the item `name` failed; `None` if it is not to blame.
    pub fn reason_for(&self, name: &str) -> Option<String> {
        self.items
            .iter()
            .find(|item| item.name == name)
            .map(|item| item.description.clone())
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            let (_, description) = errno::meaning(self.call, self.code);
            return write!(
                f,
                "{description} ({}, {})",
                self.call,
                errno::name(self.code)
            );
        }
        for (index, item) in self.items.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let code = errno::name(item.code);
            write!(f, "{separator}{}: {} ({code})", item.name, item.description)?;
        }
        if self.unnamed_items > 0 {
            write!(f, "; and {} more", self.unnamed_items)?;
        }
        write!(f, " ({})", self.call)
    }
}

impl std::error::Error for BatchError {}

impl From<BatchError> for Error {
    /// Joins the items into one description.
    fn from(batch: BatchError) -> Self {
        let names: Vec<_> = batch.items.iter().map(|item| item.name.as_str()).collect();
        Self {
            call: batch.call,
            subject: names.join(", "),
            kind: batch.kind(),
            code: if batch.code == 0 {
                batch.items.first().map_or(0, |item| item.code)
            } else {
                batch.code
            },
            action: errno::verb(batch.call).map(Into::into),
            description: batch.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence() {
        let error = Error::from_code("lzc_receive_with_cmdprops", "backup/home@x", libc::ENOSPC);
        assert_eq!(error.kind, ErrorKind::NoSpace);
        assert_eq!(
            error.to_string(),
            "receiving backup/home@x: no space left (lzc_receive_with_cmdprops, ENOSPC)"
        );
    }

    #[test]
    fn an_error_without_a_number_shows_none() {
        let error = Error::found("open", "/dev/zfs", ErrorKind::NoDevice, "gone");
        assert_eq!(error.to_string(), "/dev/zfs: gone (open)");
    }

    #[test]
    fn a_batch_names_each_item() {
        let items = [("tank/a@x", libc::EEXIST), ("tank/b@x", libc::ENOENT)];
        let batch = BatchError {
            unnamed_items: 3,
            ..BatchError::from_codes("lzc_snapshot", libc::EEXIST, items)
        };
        assert_eq!(batch.kind(), ErrorKind::Exists);
        assert_eq!(
            batch.to_string(),
            "tank/a@x: it exists already (EEXIST); tank/b@x: it does not exist (ENOENT); \
             and 3 more (lzc_snapshot)"
        );
        let error = Error::from(batch);
        assert_eq!((error.kind, error.code), (ErrorKind::Exists, libc::EEXIST));
        assert_eq!(error.subject, "tank/a@x, tank/b@x");
    }
}
