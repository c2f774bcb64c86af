//! What the ZFS event daemon does to a device that makes too many errors. No command does it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// `VDEV_AUX_ERR_EXCEEDED`
const TOO_MANY_ERRORS: c_int = 11;

// SAFETY: as libzfs.h declares them; zbackup is linked with that library.
unsafe extern "C" {
    fn libzfs_init() -> *mut c_void;
    fn libzfs_fini(library: *mut c_void);
    fn libzfs_error_description(library: *mut c_void) -> *const c_char;
    fn zpool_open(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn zpool_close(pool: *mut c_void);
    fn zpool_vdev_degrade(pool: *mut c_void, guid: u64, why: c_int) -> c_int;
}

/// Calls this device of a pool degraded.
pub fn degrade(pool: &str, device_guid: u64) {
    let name = CString::new(pool).expect("a name without NUL");
    // SAFETY: both handles are what the library has just given, and are closed in order.
    unsafe {
        let library = libzfs_init();
        assert!(!library.is_null(), "libzfs opens");
        let pool = zpool_open(library, name.as_ptr());
        assert!(!pool.is_null(), "the pool is there");
        let code = zpool_vdev_degrade(pool, device_guid, TOO_MANY_ERRORS);
        let why = CStr::from_ptr(libzfs_error_description(library));
        assert_eq!(code, 0, "{}", why.to_string_lossy());
        zpool_close(pool);
        libzfs_fini(library);
    }
}
