//! What the numbers mean.
//!
//! The kernel gives an errno a meaning that depends on the call: `ENODEV` from a receive says that
//! the base snapshot is missing. Numbers from 1024 on are `ZFS_ERR_*`, from 2000 on `EZFS_*` of
//! libzfs. `EZFS_*` are renumbered between releases, so they are always taken from the headers;
//! `ZFS_ERR_*` are part of the kernel's interface and only ever appended to.

use nix::errno::Errno;

use super::error::ErrorKind;
use crate::ffi;

/// What `call` does, for the start of a message. libzfs has its own words for this.
pub(super) fn verb(call: &str) -> Option<&'static str> {
    Some(match call {
        "lzc_snapshot" => "making snapshots",
        "lzc_bookmark" => "making bookmarks",
        "lzc_get_bookmarks" => "listing bookmarks of",
        "lzc_destroy_snaps" => "destroying snapshots",
        "lzc_destroy_bookmarks" => "destroying bookmarks",
        "lzc_destroy" => "destroying",
        "lzc_create" => "creating",
        "lzc_rename" => "renaming",
        "lzc_rollback_to" => "rolling back to",
        "lzc_hold" => "holding snapshots",
        "lzc_release" => "releasing snapshots",
        "lzc_get_holds" => "listing holds of",
        "lzc_sync" => "syncing pool",
        "lzc_send_resume_redacted" => "sending",
        "lzc_send_space" | "lzc_send_space_resume_redacted" => "estimating the stream of",
        "lzc_receive_with_cmdprops" => "receiving",
        "zfs_send_progress" => "reading the progress of",
        "zfs_prop_get_written_int" => "reading what was written since",
        _ => return None,
    })
}

/// Kind and description of `code` as `call` means it.
pub(super) fn meaning(call: &str, code: i32) -> (ErrorKind, String) {
    let specific = match call {
        "lzc_receive_with_cmdprops" => receive_meaning(code),
        "lzc_send_resume_redacted" | "lzc_send_space" | "lzc_send_space_resume_redacted" => {
            send_meaning(code)
        }
        "lzc_destroy_snaps" | "lzc_destroy" => destroy_meaning(code),
        "lzc_snapshot" | "lzc_bookmark" | "lzc_hold" | "lzc_rename" => make_meaning(code),
        _ => None,
    };
    match specific
        .or_else(|| zfs_meaning(code))
        .or_else(|| general_meaning(code))
    {
        Some((kind, text)) => (kind, text.into()),
        None => (ErrorKind::Other, Errno::from_raw(code).desc().into()),
    }
}

type Meaning = Option<(ErrorKind, &'static str)>;

fn receive_meaning(code: i32) -> Meaning {
    use ErrorKind as K;
    Some(match code {
        libc::ENODEV => (
            K::BaseMissing,
            "its newest snapshot is not the base of the stream, or has no such snapshot",
        ),
        libc::ETXTBSY => (K::Modified, "it was changed after the base of the stream"),
        libc::EEXIST => (K::Exists, "it exists already"),
        libc::ENOENT => (
            K::NotFound,
            "the dataset to receive into or its parent does not exist",
        ),
        libc::EBUSY => (
            K::Busy,
            "it is in use, or an unfinished receive waits there",
        ),
        libc::EINVAL => (
            K::BadStream,
            "the stream is not one that can be received here",
        ),
        // ECKSUM, as ZFS calls it on Linux.
        libc::EBADE => (
            K::BadStream,
            "a checksum is wrong, in the stream or in what it is received into",
        ),
        libc::EACCES => (K::Encryption, "an encryption key is missing or not loaded"),
        libc::ENOTSUP => (
            K::Unsupported,
            "the stream uses a feature that this pool does not have",
        ),
        _ => return None,
    })
}

fn send_meaning(code: i32) -> Meaning {
    use ErrorKind as K;
    Some(match code {
        libc::EXDEV => (
            K::BaseMissing,
            "the base is not an earlier snapshot of the same dataset",
        ),
        libc::ENOENT => (K::NotFound, "the snapshot or its base does not exist"),
        libc::EPIPE => (K::BrokenPipe, "nobody reads the stream any more"),
        // Also if only the checksum is wrong.
        libc::EIO => (K::Io, "a part of it is damaged and cannot be read"),
        libc::EACCES => (
            K::Encryption,
            "its encryption key is not loaded, and it is not sent raw",
        ),
        libc::ENOTSUP => (
            K::Unsupported,
            "the stream would need a feature that was not asked for",
        ),
        _ => return None,
    })
}

fn destroy_meaning(code: i32) -> Meaning {
    use ErrorKind as K;
    Some(match code {
        libc::EBUSY => (K::Busy, "it is mounted, open or held"),
        libc::EEXIST | libc::ENOTEMPTY => (K::Busy, "it has snapshots, clones or children"),
        _ => return None,
    })
}

fn make_meaning(code: i32) -> Meaning {
    use ErrorKind as K;
    Some(match code {
        libc::EXDEV => (
            K::Invalid,
            "one call can name each dataset once, and only one pool",
        ),
        libc::EAGAIN => (
            K::Suspended,
            "the pool is suspended, or the dataset had its snapshot in this txg",
        ),
        _ => return None,
    })
}

fn general_meaning(code: i32) -> Meaning {
    use ErrorKind as K;
    Some(match code {
        libc::ENOENT => (K::NotFound, "it does not exist"),
        libc::EEXIST => (K::Exists, "it exists already"),
        libc::EBUSY => (K::Busy, "it is in use"),
        libc::EPERM => (K::Permission, "not permitted"),
        libc::EACCES => (
            K::Permission,
            "permission denied, or its encryption key is not loaded",
        ),
        libc::ENOSPC => (K::NoSpace, "no space left"),
        libc::EDQUOT => (K::NoSpace, "its quota is used up"),
        // pool_status_check() in the kernel answers EAGAIN for a suspended pool.
        libc::EAGAIN => (K::Suspended, "the pool is suspended"),
        libc::EROFS => (K::ReadOnly, "it is read-only"),
        libc::EIO | libc::ENXIO => (K::Io, "the device failed, or what it holds is damaged"),
        libc::EBADE => (K::Io, "a checksum on disk is wrong"),
        libc::EINTR => (K::Interrupted, "a signal ended it"),
        libc::EPIPE => (K::BrokenPipe, "the other end of the pipe is closed"),
        libc::EINVAL => (K::Invalid, "ZFS does not accept an argument"),
        libc::ENAMETOOLONG => (K::Invalid, "a name is too long"),
        libc::ENOTSUP | libc::ENOTTY => (K::Unsupported, "this kernel module or pool cannot do it"),
        _ => return None,
    })
}

/// A `ZFS_ERR_*`: its number, what to decide by, its name and what it says.
struct ZfsErr(u32, ErrorKind, &'static str, &'static str);

/// Numbers that OpenZFS 2.2 and later appended. The headers of 2.1 lack them, but a newer kernel
/// module under 2.1 libraries returns them.
const VDEV_NOTSUP: u32 = 1045;
const NOT_USER_NAMESPACE: u32 = 1046;
const RESUME_EXISTS: u32 = 1047;
const CRYPTO_NOTSUP: u32 = 1048;
const RAIDZ_EXPAND_IN_PROGRESS: u32 = 1049;
const ASHIFT_MISMATCH: u32 = 1050;
const STREAM_LARGE_MICROZAP: u32 = 1051;

#[cfg(zfs_2_2)]
const _: () = {
    assert!(ffi::ZFS_ERR_VDEV_NOTSUP == VDEV_NOTSUP);
    assert!(ffi::ZFS_ERR_NOT_USER_NAMESPACE == NOT_USER_NAMESPACE);
    assert!(ffi::ZFS_ERR_RESUME_EXISTS == RESUME_EXISTS);
    assert!(ffi::ZFS_ERR_CRYPTO_NOTSUP == CRYPTO_NOTSUP);
};

#[cfg(zfs_2_3)]
const _: () = {
    assert!(ffi::ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS == RAIDZ_EXPAND_IN_PROGRESS);
    assert!(ffi::ZFS_ERR_ASHIFT_MISMATCH == ASHIFT_MISMATCH);
    assert!(ffi::ZFS_ERR_STREAM_LARGE_MICROZAP == STREAM_LARGE_MICROZAP);
};

#[rustfmt::skip]
const ZFS_ERRS: &[ZfsErr] = {
    use ErrorKind as K;
    &[
        ZfsErr(ffi::ZFS_ERR_CHECKPOINT_EXISTS, K::Other, "ZFS_ERR_CHECKPOINT_EXISTS", "the pool has a checkpoint"),
        ZfsErr(ffi::ZFS_ERR_DISCARDING_CHECKPOINT, K::Busy, "ZFS_ERR_DISCARDING_CHECKPOINT", "the pool is discarding its checkpoint"),
        ZfsErr(ffi::ZFS_ERR_NO_CHECKPOINT, K::NotFound, "ZFS_ERR_NO_CHECKPOINT", "the pool has no checkpoint"),
        ZfsErr(ffi::ZFS_ERR_DEVRM_IN_PROGRESS, K::Busy, "ZFS_ERR_DEVRM_IN_PROGRESS", "a device of the pool is being removed"),
        ZfsErr(ffi::ZFS_ERR_VDEV_TOO_BIG, K::Unsupported, "ZFS_ERR_VDEV_TOO_BIG", "a device is too big"),
        ZfsErr(ffi::ZFS_ERR_IOC_CMD_UNAVAIL, K::Unsupported, "ZFS_ERR_IOC_CMD_UNAVAIL", "the loaded kernel module does not know this call"),
        ZfsErr(ffi::ZFS_ERR_IOC_ARG_UNAVAIL, K::Unsupported, "ZFS_ERR_IOC_ARG_UNAVAIL", "the loaded kernel module does not know an argument"),
        ZfsErr(ffi::ZFS_ERR_IOC_ARG_REQUIRED, K::Unsupported, "ZFS_ERR_IOC_ARG_REQUIRED", "the loaded kernel module misses an argument"),
        ZfsErr(ffi::ZFS_ERR_IOC_ARG_BADTYPE, K::Unsupported, "ZFS_ERR_IOC_ARG_BADTYPE", "the loaded kernel module wants another type of argument"),
        ZfsErr(ffi::ZFS_ERR_WRONG_PARENT, K::Invalid, "ZFS_ERR_WRONG_PARENT", "the parent is not a file system"),
        ZfsErr(ffi::ZFS_ERR_FROM_IVSET_GUID_MISSING, K::Encryption, "ZFS_ERR_FROM_IVSET_GUID_MISSING", "the base has no IV-set guid, which a raw stream needs"),
        ZfsErr(ffi::ZFS_ERR_FROM_IVSET_GUID_MISMATCH, K::Encryption, "ZFS_ERR_FROM_IVSET_GUID_MISMATCH", "the base holds the same data with another encryption (IV-set guids differ)"),
        ZfsErr(ffi::ZFS_ERR_SPILL_BLOCK_FLAG_MISSING, K::BadStream, "ZFS_ERR_SPILL_BLOCK_FLAG_MISSING", "the stream lacks a flag for spill blocks; it comes from an old sender"),
        ZfsErr(ffi::ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE, K::Unsupported, "ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE", "the stream uses a feature that this kernel module does not know"),
        ZfsErr(ffi::ZFS_ERR_EXPORT_IN_PROGRESS, K::Busy, "ZFS_ERR_EXPORT_IN_PROGRESS", "the pool is being exported"),
        ZfsErr(ffi::ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR, K::Invalid, "ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR", "the snapshot is not an ancestor of the dataset to bookmark in"),
        ZfsErr(ffi::ZFS_ERR_STREAM_TRUNCATED, K::StreamTruncated, "ZFS_ERR_STREAM_TRUNCATED", "the stream ended early"),
        ZfsErr(ffi::ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH, K::BadStream, "ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH", "streams before this one had large blocks, this one has not"),
        ZfsErr(ffi::ZFS_ERR_RESILVER_IN_PROGRESS, K::Busy, "ZFS_ERR_RESILVER_IN_PROGRESS", "the pool is resilvering"),
        ZfsErr(ffi::ZFS_ERR_REBUILD_IN_PROGRESS, K::Busy, "ZFS_ERR_REBUILD_IN_PROGRESS", "the pool is being rebuilt"),
        ZfsErr(ffi::ZFS_ERR_BADPROP, K::Invalid, "ZFS_ERR_BADPROP", "a property has a value that ZFS does not accept"),
        ZfsErr(VDEV_NOTSUP, K::Unsupported, "ZFS_ERR_VDEV_NOTSUP", "this kind of device cannot do it"),
        ZfsErr(NOT_USER_NAMESPACE, K::Invalid, "ZFS_ERR_NOT_USER_NAMESPACE", "that is not a user namespace"),
        ZfsErr(RESUME_EXISTS, K::ResumeExists, "ZFS_ERR_RESUME_EXISTS", "an unfinished receive waits there"),
        ZfsErr(CRYPTO_NOTSUP, K::Unsupported, "ZFS_ERR_CRYPTO_NOTSUP", "encryption is not possible here"),
        ZfsErr(RAIDZ_EXPAND_IN_PROGRESS, K::Busy, "ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS", "a raidz of the pool is being expanded"),
        ZfsErr(ASHIFT_MISMATCH, K::Unsupported, "ZFS_ERR_ASHIFT_MISMATCH", "a device has another sector size than the others"),
        ZfsErr(STREAM_LARGE_MICROZAP, K::Unsupported, "ZFS_ERR_STREAM_LARGE_MICROZAP", "it has directories that only a stream with large blocks can carry, for which both pools need the feature large_blocks"),
    ]
};

fn zfs_err(code: i32) -> Option<&'static ZfsErr> {
    ZFS_ERRS
        .iter()
        .find(|entry| i32::try_from(entry.0) == Ok(code))
}

fn zfs_meaning(code: i32) -> Meaning {
    zfs_err(code).map(|&ZfsErr(_, kind, _, text)| (kind, text))
}

/// The `EZFS_*` that a program decides by. libzfs itself says the rest in its description.
const EZFS_KINDS: &[(u32, ErrorKind, &str)] = {
    use ErrorKind as K;
    &[
        (ffi::EZFS_NOENT, K::NotFound, "EZFS_NOENT"),
        (ffi::EZFS_EXISTS, K::Exists, "EZFS_EXISTS"),
        (ffi::EZFS_BUSY, K::Busy, "EZFS_BUSY"),
        (ffi::EZFS_PERM, K::Permission, "EZFS_PERM"),
        (ffi::EZFS_NOSPC, K::NoSpace, "EZFS_NOSPC"),
        (ffi::EZFS_IO, K::Io, "EZFS_IO"),
        (ffi::EZFS_BADDEV, K::Io, "EZFS_BADDEV"),
        (ffi::EZFS_CKSUM, K::Io, "EZFS_CKSUM"),
        (ffi::EZFS_NOREPLICAS, K::Io, "EZFS_NOREPLICAS"),
        (ffi::EZFS_INTR, K::Interrupted, "EZFS_INTR"),
        (ffi::EZFS_DSREADONLY, K::ReadOnly, "EZFS_DSREADONLY"),
        (ffi::EZFS_POOLREADONLY, K::ReadOnly, "EZFS_POOLREADONLY"),
        (ffi::EZFS_POOLUNAVAIL, K::Suspended, "EZFS_POOLUNAVAIL"),
        (ffi::EZFS_ACTIVE_POOL, K::ForeignHost, "EZFS_ACTIVE_POOL"),
        (ffi::EZFS_CRYPTOFAILED, K::Encryption, "EZFS_CRYPTOFAILED"),
        (ffi::EZFS_BADSTREAM, K::BadStream, "EZFS_BADSTREAM"),
        (ffi::EZFS_BADVERSION, K::Unsupported, "EZFS_BADVERSION"),
        (ffi::EZFS_NOTSUP, K::Unsupported, "EZFS_NOTSUP"),
        (
            ffi::EZFS_IOC_NOTSUPPORTED,
            K::Unsupported,
            "EZFS_IOC_NOTSUPPORTED",
        ),
        (ffi::EZFS_BADPROP, K::Invalid, "EZFS_BADPROP"),
        (ffi::EZFS_PROPREADONLY, K::Invalid, "EZFS_PROPREADONLY"),
        (ffi::EZFS_PROPTYPE, K::Invalid, "EZFS_PROPTYPE"),
        (ffi::EZFS_PROPNONINHERIT, K::Invalid, "EZFS_PROPNONINHERIT"),
        (ffi::EZFS_PROPSPACE, K::Invalid, "EZFS_PROPSPACE"),
        (ffi::EZFS_BADTYPE, K::Invalid, "EZFS_BADTYPE"),
        (ffi::EZFS_INVALIDNAME, K::Invalid, "EZFS_INVALIDNAME"),
        (ffi::EZFS_NAMETOOLONG, K::Invalid, "EZFS_NAMETOOLONG"),
        (ffi::EZFS_BADPATH, K::Invalid, "EZFS_BADPATH"),
        (ffi::EZFS_MOUNTFAILED, K::Other, "EZFS_MOUNTFAILED"),
        (ffi::EZFS_INVALCONFIG, K::Other, "EZFS_INVALCONFIG"),
    ]
};

fn ezfs(code: i32) -> Option<&'static (u32, ErrorKind, &'static str)> {
    EZFS_KINDS
        .iter()
        .find(|entry| i32::try_from(entry.0) == Ok(code))
}

/// What to decide by, for a `libzfs_errno`.
pub(super) fn libzfs_kind(code: i32) -> ErrorKind {
    ezfs(code).map_or(ErrorKind::Other, |entry| entry.1)
}

/// The number's own name, such as `ENOSPC`.
pub(super) fn name(code: i32) -> String {
    if let Some(&ZfsErr(_, _, name, _)) = zfs_err(code) {
        return name.into();
    }
    if let Some(&(_, _, name)) = ezfs(code) {
        return name.into();
    }
    match Errno::from_raw(code) {
        Errno::UnknownErrno => format!("error {code}"),
        // One number, three names on Linux; this is the name that ZFS documents.
        Errno::EOPNOTSUPP => "ENOTSUP".into(),
        errno => format!("{errno:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_gives_errnos_its_own_meaning() {
        let kind = |code| meaning("lzc_receive_with_cmdprops", code).0;
        assert_eq!(kind(libc::ENODEV), ErrorKind::BaseMissing);
        assert_eq!(kind(libc::ETXTBSY), ErrorKind::Modified);
        assert_eq!(kind(libc::EBADE), ErrorKind::BadStream);
        assert_eq!(kind(libc::EACCES), ErrorKind::Encryption);
        assert_eq!(kind(libc::ENOSPC), ErrorKind::NoSpace);
        assert_eq!(kind(1040), ErrorKind::StreamTruncated);
        assert_eq!(kind(1047), ErrorKind::ResumeExists);
    }

    #[test]
    fn the_same_number_means_something_else_elsewhere() {
        assert_eq!(
            meaning("lzc_send_resume_redacted", libc::EXDEV).0,
            ErrorKind::BaseMissing
        );
        assert_eq!(meaning("lzc_snapshot", libc::EXDEV).0, ErrorKind::Invalid);
        assert_eq!(meaning("lzc_sync", libc::EXDEV).0, ErrorKind::Other);
        assert_eq!(meaning("lzc_destroy", libc::EEXIST).0, ErrorKind::Busy);
        assert_eq!(meaning("lzc_create", libc::EEXIST).0, ErrorKind::Exists);
    }

    #[test]
    fn every_number_has_a_name() {
        assert_eq!(name(libc::ENOSPC), "ENOSPC");
        assert_eq!(name(libc::ENOTSUP), "ENOTSUP");
        assert_eq!(name(1034), "ZFS_ERR_FROM_IVSET_GUID_MISSING");
        assert_eq!(name(2009), "EZFS_NOENT");
        assert_eq!(name(7777), "error 7777");
    }

    #[test]
    fn the_table_of_zfs_errors_has_no_gap() {
        let numbers: Vec<_> = ZFS_ERRS.iter().map(|entry| entry.0).collect();
        let expected: Vec<_> = (1024..1024 + u32::try_from(ZFS_ERRS.len()).unwrap()).collect();
        assert_eq!(numbers, expected);
    }
}
