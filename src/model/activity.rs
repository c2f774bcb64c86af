//! How often a dataset was written to.

/// What the kernel counts since the file system was mounted, or the zvol got its device. A dataset
/// that is not mounted anywhere has no counts, which is the same as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Writes.
    pub writes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Files that were removed.
    pub unlinked: u64,
}
