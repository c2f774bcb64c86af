//! The libzfs handle, and the handles of pools and datasets that it gives out.
//!
//! libzfs is not thread-safe: a handle, and all that came from it, stays on the thread that opened
//! it. Opening is cheap (about a millisecond), so every thread that needs libzfs opens its own.
//!
//! A libzfs handle remembers the pools of the datasets that were opened through it, and the datasets point
//! to that memory. An import or export makes it stale. It cannot be dropped while a dataset is open, so
//! [`Libzfs`] then takes a fresh handle, and the old one lives as long as what was opened through it.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::fs::OpenOptions;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::errno;
use super::error::{Error, ErrorKind};
use crate::ffi;

pub(super) const ZFS_DEVICE: &str = "/dev/zfs";

/// libzfs sets up and tears down tables that all handles of the process share.
static LIBRARY: Mutex<()> = Mutex::new(());

/// Held while those tables are filled. It guards no data of ours, so a panic spoils nothing.
///
/// Reading them takes no lock, though every further handle fills them anew. Filling writes the words
/// that are there already: constants, and what the loaded module supports. Only the length of a table
/// of keywords has other values meanwhile, and only OpenZFS' own random tests read that: lookups go
/// through a table up to its last, empty entry.
pub(super) fn library_lock() -> MutexGuard<'static, ()> {
    LIBRARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open libzfs, for the thread that opened it.
#[derive(Debug)]
pub struct Libzfs {
    session: RefCell<Rc<Session>>,
}

impl Libzfs {
    /// Opens libzfs on this thread.
    ///
    /// # Errors
    /// [`ErrorKind::NoDevice`] if the ZFS kernel module is not loaded (this looks first, since
    /// libzfs would start `modprobe`), [`ErrorKind::Permission`] if `/dev/zfs` may not be opened.
    #[doc(alias = "libzfs_init")]
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            session: RefCell::new(Session::open()?),
        })
    }

    /// The handle through which things are opened.
    pub(super) fn session(&self) -> Rc<Session> {
        Rc::clone(&self.session.borrow())
    }

    /// A second value with the same handle.
    pub(super) fn shared(&self) -> Self {
        Self {
            session: RefCell::new(self.session()),
        }
    }

    /// Opens things through `fresh` from now on. What is open already keeps its own handle.
    pub(super) fn go_on_with(&self, fresh: Rc<Session>) {
        self.session.replace(fresh);
    }
}

/// A handle of the C library. It is closed after the last of what was opened through it.
#[derive(Debug)]
pub(super) struct Session(NonNull<ffi::libzfs_handle_t>);

impl Session {
    pub(super) fn open() -> Result<Rc<Self>, Error> {
        check_device()?;
        let _lock = library_lock();
        // SAFETY: no arguments; the lock keeps other threads from filling the same tables.
        let raw = unsafe { ffi::libzfs_init() };
        let Some(raw) = NonNull::new(raw) else {
            return Err(init_error(nix::errno::Errno::last_raw()));
        };
        // SAFETY: the handle is fresh and ours. Printing is off by default; this makes sure.
        unsafe { ffi::libzfs_print_on_error(raw.as_ptr(), ffi::B_FALSE) };
        Ok(Rc::new(Self(raw)))
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::libzfs_handle_t {
        self.0.as_ptr()
    }

    /// The error that the call just made has left on the handle.
    pub(super) fn last_error(&self, call: &'static str, subject: &str) -> Error {
        // SAFETY: the handle is open. Both texts live in it until the next call; they are copied here.
        let (code, action, description) = unsafe {
            (
                ffi::libzfs_errno(self.as_ptr()),
                CStr::from_ptr(ffi::libzfs_error_action(self.as_ptr())).to_string_lossy(),
                CStr::from_ptr(ffi::libzfs_error_description(self.as_ptr())).to_string_lossy(),
            )
        };
        Error {
            call,
            subject: subject.into(),
            kind: errno::libzfs_kind(code),
            code,
            action: (!action.is_empty()).then(|| action.into_owned()),
            description: description.into_owned(),
        }
    }

    /// The number of the last error.
    pub(super) fn last_code(&self) -> i32 {
        // SAFETY: the handle is open.
        unsafe { ffi::libzfs_errno(self.as_ptr()) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _lock = library_lock();
        // SAFETY: the handle is ours, and whatever came from it shared in it and is gone.
        unsafe { ffi::libzfs_fini(self.as_ptr()) };
    }
}

/// Opens `/dev/zfs` and closes it again.
pub(super) fn check_device() -> Result<(), Error> {
    let opened = OpenOptions::new().read(true).write(true).open(ZFS_DEVICE);
    opened.map(drop).map_err(|error| device_error(&error))
}

fn device_error(error: &io::Error) -> Error {
    let code = error.raw_os_error().unwrap_or(0);
    let (kind, description) = match code {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => (
            ErrorKind::NoDevice,
            "the ZFS kernel module is not loaded".into(),
        ),
        libc::EACCES | libc::EPERM => (ErrorKind::Permission, "only root may use ZFS here".into()),
        _ => (ErrorKind::Other, error.to_string()),
    };
    Error {
        code,
        ..Error::found("open", ZFS_DEVICE, kind, description)
    }
}

fn init_error(code: i32) -> Error {
    // SAFETY: libzfs_error_init gives a text that stays for the life of the process.
    let text = unsafe { CStr::from_ptr(ffi::libzfs_error_init(code)) };
    let description = text.to_string_lossy().into_owned();
    Error {
        code,
        ..Error::found("libzfs_init", "libzfs", ErrorKind::NoDevice, description)
    }
}

/// A dataset or snapshot handle, closed when dropped. It keeps the libzfs handle alive, and so the
/// pool handle that it points to.
#[derive(Debug)]
pub(super) struct ZfsHandle {
    raw: NonNull<ffi::zfs_handle_t>,
    session: Rc<Session>,
}

impl ZfsHandle {
    /// Takes over a handle; `None` for a null pointer.
    ///
    /// # Safety
    /// `raw` is null, or a handle that was opened through `session`, that the caller has to close
    /// and that nothing else uses.
    pub(super) unsafe fn from_raw(
        raw: *mut ffi::zfs_handle_t,
        session: &Rc<Session>,
    ) -> Option<Self> {
        let session = Rc::clone(session);
        NonNull::new(raw).map(|raw| Self { raw, session })
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::zfs_handle_t {
        self.raw.as_ptr()
    }

    /// The handle of the library through which it was opened, which has its errors.
    pub(super) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    pub(super) fn name(&self) -> String {
        // SAFETY: the handle is open; the name is a NUL-terminated text inside it, copied here.
        unsafe { CStr::from_ptr(ffi::zfs_get_name(self.as_ptr())) }
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for ZfsHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and open.
        unsafe { ffi::zfs_close(self.as_ptr()) };
    }
}

/// A pool handle, closed when dropped, like [`ZfsHandle`].
#[derive(Debug)]
pub(super) struct PoolHandle {
    raw: NonNull<ffi::zpool_handle_t>,
    session: Rc<Session>,
}

impl PoolHandle {
    /// Takes over a handle; `None` for a null pointer.
    ///
    /// # Safety
    /// `raw` is null, or a handle that was opened through `session`, that the caller has to close
    /// and that nothing else uses.
    pub(super) unsafe fn from_raw(
        raw: *mut ffi::zpool_handle_t,
        session: &Rc<Session>,
    ) -> Option<Self> {
        let session = Rc::clone(session);
        NonNull::new(raw).map(|raw| Self { raw, session })
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::zpool_handle_t {
        self.raw.as_ptr()
    }

    /// The handle of the library through which it was opened, which has its errors.
    pub(super) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    pub(super) fn name(&self) -> String {
        // SAFETY: the handle is open; the name is a NUL-terminated text inside it, copied here.
        unsafe { CStr::from_ptr(ffi::zpool_get_name(self.as_ptr())) }
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and open.
        unsafe { ffi::zpool_close(self.as_ptr()) };
    }
}

/// What a libzfs iteration calls for each item. It keeps a panic until C has returned.
struct Visitor<'a, T> {
    visit: &'a mut dyn FnMut(T) -> ControlFlow<()>,
    panic: Option<Box<dyn Any + Send>>,
}

/// What an iteration returns if its visitor has ended it: no error of libzfs.
pub(super) const ENDED: c_int = 1;

impl<T> Visitor<'_, T> {
    /// Returns 0 to continue the iteration, anything else to end it.
    fn call(&mut self, item: T) -> c_int {
        match catch_unwind(AssertUnwindSafe(|| (self.visit)(item))) {
            Ok(ControlFlow::Continue(())) => 0,
            Ok(ControlFlow::Break(())) => ENDED,
            Err(panic) => {
                self.panic = Some(panic);
                ENDED
            }
        }
    }
}

type Callback<Raw> = unsafe extern "C" fn(*mut Raw, *mut c_void) -> c_int;
type DatasetCallback = Callback<ffi::zfs_handle_t>;
type PoolCallback = Callback<ffi::zpool_handle_t>;

/// Runs a `zfs_iter_*` of a dataset of `session` with `visit` as its callback and gives its return
/// value.
pub(super) fn iterate_datasets(
    session: &Rc<Session>,
    iterate: impl FnOnce(DatasetCallback, *mut c_void) -> c_int,
    visit: &mut dyn FnMut(ZfsHandle) -> ControlFlow<()>,
) -> c_int {
    iterate_raw(iterate, &mut |raw| {
        // SAFETY: libzfs opens each item through its caller's handle, and hands it over for good.
        let handle = unsafe { ZfsHandle::from_raw(raw, session) };
        handle.map_or(ControlFlow::Continue(()), &mut *visit)
    })
}

/// Runs `zpool_iter` of `session` with `visit` as its callback and gives its return value.
pub(super) fn iterate_pools(
    session: &Rc<Session>,
    iterate: impl FnOnce(PoolCallback, *mut c_void) -> c_int,
    visit: &mut dyn FnMut(PoolHandle) -> ControlFlow<()>,
) -> c_int {
    iterate_raw(iterate, &mut |raw| {
        // SAFETY: as for datasets.
        let handle = unsafe { PoolHandle::from_raw(raw, session) };
        handle.map_or(ControlFlow::Continue(()), &mut *visit)
    })
}

fn iterate_raw<Raw>(
    iterate: impl FnOnce(Callback<Raw>, *mut c_void) -> c_int,
    visit: &mut dyn FnMut(*mut Raw) -> ControlFlow<()>,
) -> c_int {
    unsafe extern "C" fn callback<Raw>(raw: *mut Raw, visitor: *mut c_void) -> c_int {
        // SAFETY: libzfs passes on the pointer from below, which is alive and used by nobody else
        // while the iteration runs.
        unsafe { &mut *visitor.cast::<Visitor<'_, *mut Raw>>() }.call(raw)
    }
    let mut visitor = Visitor { visit, panic: None };
    let code = iterate(callback::<Raw>, (&raw mut visitor).cast());
    if let Some(panic) = visitor.panic {
        resume_unwind(panic);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_told_from_a_forbidden_one() {
        let kind = |code| device_error(&io::Error::from_raw_os_error(code)).kind;
        assert_eq!(kind(libc::ENOENT), ErrorKind::NoDevice);
        assert_eq!(kind(libc::ENXIO), ErrorKind::NoDevice);
        assert_eq!(kind(libc::EACCES), ErrorKind::Permission);
        assert_eq!(kind(libc::EMFILE), ErrorKind::Other);
    }

    #[test]
    fn a_panic_in_a_callback_waits_for_c_to_return() {
        let mut c_returned = false;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            iterate_raw(
                |callback: PoolCallback, visitor| {
                    // A null handle is enough, so this needs no kernel.
                    // SAFETY: the callback gets the visitor that it was made with.
                    let code = unsafe { callback(std::ptr::null_mut(), visitor) };
                    c_returned = true;
                    code
                },
                &mut |_| panic!("boom"),
            )
        }));
        assert!(c_returned);
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"boom"));
    }

    #[test]
    fn a_panicking_visit_ends_the_iteration() {
        let mut visitor = Visitor {
            visit: &mut |number: u32| {
                assert!(number < 2);
                ControlFlow::Continue(())
            },
            panic: None,
        };
        assert_eq!(visitor.call(1), 0);
        assert_eq!(visitor.call(2), ENDED);
        assert!(visitor.panic.is_some());
    }

    #[test]
    fn a_visit_can_end_the_iteration() {
        let mut visitor = Visitor {
            visit: &mut |_: u32| ControlFlow::Break(()),
            panic: None,
        };
        assert_eq!(visitor.call(1), ENDED);
        assert!(visitor.panic.is_none());
    }
}
