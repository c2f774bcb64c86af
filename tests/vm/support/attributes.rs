//! Extended attributes and access control lists of files, as the kernel shows them.

use std::ffi::CString;
use std::io;

/// The access control list of a file, as the kernel encodes it.
pub const ACL: &str = "system.posix_acl_access";

/// A list in which user 1000 may read what only the owner may write: five entries of tag,
/// permissions and id.
pub fn readable_by_1000() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NOBODY),
        (0x02, 4, 1000),
        (0x04, 0, NOBODY),
        (0x10, 4, NOBODY),
        (0x20, 0, NOBODY),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Sets an attribute of a file.
#[track_caller]
pub fn set(path: &str, name: &str, value: &[u8]) {
    let (c_path, c_name) = (text(path), text(name));
    // SAFETY: both texts end in NUL, and `value` is as long as said.
    let code = unsafe {
        libc::setxattr(
            c_path.as_ptr(),
            c_name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    let error = io::Error::last_os_error();
    assert_eq!(code, 0, "{name} of {path}: {error}");
}

/// An attribute of a file; the error number where the kernel shows none.
pub fn get(path: &str, name: &str) -> Result<Vec<u8>, i32> {
    let (c_path, c_name) = (text(path), text(name));
    let mut value = vec![0; 4096];
    // SAFETY: both texts end in NUL, and the buffer is as long as said.
    let length = unsafe {
        libc::getxattr(
            c_path.as_ptr(),
            c_name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    let Ok(length) = usize::try_from(length) else {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    };
    value.truncate(length);
    Ok(value)
}

fn text(text: &str) -> CString {
    CString::new(text).expect("a text without NUL")
}
