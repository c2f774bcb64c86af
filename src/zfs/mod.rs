//! The safe layer over libzfs, libzfs_core and libnvpair.
