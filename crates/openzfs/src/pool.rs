//! Imported pools.

use std::ffi::{CString, c_char};
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::error::{Error, ErrorKind};
use super::handle::{Libzfs, PoolHandle, Session, iterate_pools};
use super::nvlist::{NvList, NvListRef, Value, c_text};
use super::status::{self, Damage, PoolStatus, VdevStatus};
use crate::ffi;
use crate::name::{Guid, PoolName};

/// Bytes that the name of a damaged object may have: dataset and path.
const LONGEST_OBJECT_NAME: usize = 8192;

/// An imported pool.
#[derive(Debug)]
pub struct Pool<'lib> {
    lib: &'lib Libzfs,
    handle: PoolHandle,
    name: PoolName,
    guid: Guid,
}

impl Libzfs {
    /// The state of every imported pool.
    #[doc(alias = "zpool_iter")]
    pub fn pools(&self) -> Result<Vec<PoolStatus>, Error> {
        let session = self.session();
        let mut handles = Vec::new();
        let code = iterate_pools(
            &session,
            // SAFETY: the handle is open, and callback and argument belong together.
            |callback, argument| unsafe {
                ffi::zpool_iter(session.as_ptr(), Some(callback), argument)
            },
            &mut |handle| {
                handles.push(handle);
                ControlFlow::Continue(())
            },
        );
        if code != 0 {
            return Err(session.last_error("zpool_iter", "imported pools"));
        }
        let states = handles
            .into_iter()
            .map(|handle| Pool::new(self, handle)?.status());
        // A pool that somebody exports meanwhile is left out.
        let is_gone = |state: &Result<_, Error>| matches!(state, Err(error) if error.kind == ErrorKind::NotFound);
        states.filter(|state| !is_gone(state)).collect()
    }

    /// An imported pool by its name; `None` if none of that name is imported.
    #[doc(alias = "zpool_open_canfail")]
    pub fn pool(&self, name: &PoolName) -> Result<Option<Pool<'_>>, Error> {
        let c_name = c_text("zpool_open_canfail", name.as_str())?;
        let session = self.session();
        // SAFETY: the handle is open and the name ends in NUL; the new handle is ours to close.
        let handle = unsafe {
            let raw = ffi::zpool_open_canfail(session.as_ptr(), c_name.as_ptr());
            PoolHandle::from_raw(raw, &session)
        };
        match handle {
            Some(handle) => Pool::new(self, handle).map(Some),
            None if session.last_code() == ffi::EZFS_NOENT.cast_signed() => Ok(None),
            None => Err(session.last_error("zpool_open_canfail", name.as_str())),
        }
    }
}

impl<'lib> Pool<'lib> {
    fn new(lib: &'lib Libzfs, handle: PoolHandle) -> Result<Self, Error> {
        let name = handle.name();
        let name = PoolName::new(&name).map_err(|error| {
            Error::found(
                "zpool_get_name",
                &name,
                ErrorKind::Invalid,
                error.to_string(),
            )
        })?;
        // SAFETY: the handle is open; a null source is allowed.
        let guid = unsafe {
            ffi::zpool_get_prop_int(handle.as_ptr(), ffi::ZPOOL_PROP_GUID, std::ptr::null_mut())
        };
        Ok(Self {
            lib,
            handle,
            name,
            guid: Guid(guid),
        })
    }

    /// Its name here.
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// Its identity, whatever it is called.
    pub fn guid(&self) -> Guid {
        self.guid
    }

    /// Its present state, read anew.
    pub fn status(&self) -> Result<PoolStatus, Error> {
        self.refresh()?;
        let facts = status::PoolFacts {
            name: self.name.clone(),
            guid: self.guid,
            health_text: self.health_text(),
            is_readonly: self.number(ffi::ZPOOL_PROP_READONLY) != 0,
            altroot: self.text(ffi::ZPOOL_PROP_ALTROOT).map(PathBuf::from),
        };
        status::pool_status(facts, self.config()?.view())
    }

    /// Bytes of destroyed data that are still to be freed, as of the last refresh.
    pub fn freeing_bytes(&self) -> u64 {
        self.number(ffi::ZPOOL_PROP_FREEING)
    }

    /// Paths of the devices or files that it is on, as it was imported.
    pub fn device_paths(&self) -> Result<Vec<PathBuf>, Error> {
        Ok(self
            .vdevs()?
            .into_iter()
            .filter_map(|vdev| vdev.path)
            .collect())
    }

    /// The devices that it is on, with their error counts, as of the last refresh.
    pub fn vdevs(&self) -> Result<Vec<VdevStatus>, Error> {
        status::leaf_vdevs(self.config()?.view())
    }

    /// What is known to be damaged, as of the last refresh: at most `most` entries, each once.
    /// [`PoolStatus::data_errors`] tells how much there is.
    #[doc(alias = "zpool_get_errlog")]
    #[doc(alias = "zpool_obj_to_path_ds")]
    pub fn damages(&self, most: usize) -> Result<Vec<Damage>, Error> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the handle is open and `raw` is a place for one pointer, which stays null if
        // there are no errors; a list that comes back is ours to free.
        let (code, log) = unsafe {
            let code = ffi::zpool_get_errlog(self.handle.as_ptr(), &raw mut raw);
            (code, NvList::from_raw(raw))
        };
        if code != 0 {
            return Err(self.last_error("zpool_get_errlog"));
        }
        let entries = log.iter().flat_map(|log| log.view().pairs());
        let damages = entries.filter_map(|(_, value)| match value {
            Value::List(entry) => Some(self.damage(entry)),
            _ => None,
        });
        Ok(damages.take(most).collect())
    }

    /// The name of an object in the error log.
    fn damage(&self, entry: NvListRef<'_>) -> Damage {
        let number = |key| entry.lookup_u64(text_of(key)).unwrap_or(0);
        let (dataset, object) = (
            number(ffi::ZPOOL_ERR_DATASET),
            number(ffi::ZPOOL_ERR_OBJECT),
        );
        let mut buffer = vec![0_u8; LONGEST_OBJECT_NAME];
        // SAFETY: the handle is open; the buffer is as long as said and libzfs ends it with NUL.
        unsafe {
            ffi::zpool_obj_to_path_ds(
                self.handle.as_ptr(),
                dataset,
                object,
                buffer.as_mut_ptr().cast::<c_char>(),
                buffer.len(),
            );
        }
        Damage::from_text(&buffer_text(&buffer))
    }

    /// Reads its state from the kernel again.
    #[doc(alias = "zpool_refresh_stats")]
    pub fn refresh(&self) -> Result<(), Error> {
        let mut is_missing = ffi::B_FALSE;
        // SAFETY: the handle is open and `is_missing` is a boolean_t to write to.
        let code = unsafe { ffi::zpool_refresh_stats(self.handle.as_ptr(), &raw mut is_missing) };
        if code != 0 {
            return Err(self.last_error("zpool_refresh_stats"));
        }
        if is_missing != ffi::B_FALSE {
            return Err(Error::found(
                "zpool_refresh_stats",
                &self.name,
                ErrorKind::NotFound,
                "it is not imported any more",
            ));
        }
        Ok(())
    }

    /// Exports it. Nothing of it may be mounted or open: libzfs would start other programs to unmount,
    /// so the caller unmounts (`umount2`, deepest first). `log` goes into the pool's history.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if something of it is still in use.
    #[doc(alias = "zpool_export")]
    pub fn export(self, log: &str) -> Result<(), Error> {
        Error::injected("zpool_export", &self.name)?;
        let log = c_text("zpool_export", log)?;
        let fresh = Session::open()?;
        // SAFETY: the handle is open and the text ends in NUL; B_FALSE: no force.
        let code = unsafe { ffi::zpool_export(self.handle.as_ptr(), ffi::B_FALSE, log.as_ptr()) };
        if code != 0 {
            return Err(self.last_error("zpool_export"));
        }
        self.lib.go_on_with(fresh);
        Ok(())
    }

    /// Clears its error counts, and resumes it after a suspension if its device is back.
    #[doc(alias = "zpool_clear")]
    pub fn clear(&self) -> Result<(), Error> {
        // A null policy would abort the process in libzfs.
        let mut policy = NvList::new();
        policy.add_u32(text_of(ffi::ZPOOL_LOAD_REWIND_POLICY), ffi::ZPOOL_NO_REWIND)?;
        // SAFETY: handle and list are alive; a null path means the whole pool.
        let code =
            unsafe { ffi::zpool_clear(self.handle.as_ptr(), std::ptr::null(), policy.as_ptr()) };
        match code {
            0 => Ok(()),
            _ => Err(self.last_error("zpool_clear")),
        }
    }

    /// `ONLINE`, `DEGRADED`, `SUSPENDED`, …
    fn health_text(&self) -> String {
        // SAFETY: the handle is open; the text is a constant of libzfs.
        let text =
            unsafe { std::ffi::CStr::from_ptr(ffi::zpool_get_state_str(self.handle.as_ptr())) };
        text.to_string_lossy().into_owned()
    }

    /// A copy of its configuration: a refresh frees the list that the handle has.
    fn config(&self) -> Result<NvList, Error> {
        // SAFETY: the handle is open; the list is the handle's and is copied here and now. A null
        // pointer says that the previous configuration is not wanted.
        let config = unsafe {
            NvListRef::from_raw(ffi::zpool_get_config(
                self.handle.as_ptr(),
                std::ptr::null_mut(),
            ))
        };
        config
            .map(NvListRef::to_owned)
            .ok_or_else(|| self.last_error("zpool_get_config"))
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::zpool_handle_t {
        self.handle.as_ptr()
    }

    pub(super) fn last_error(&self, call: &'static str) -> Error {
        self.handle.session().last_error(call, self.name.as_str())
    }

    fn number(&self, property: ffi::zpool_prop_t) -> u64 {
        // SAFETY: the handle is open; a null source is allowed.
        unsafe { ffi::zpool_get_prop_int(self.handle.as_ptr(), property, std::ptr::null_mut()) }
    }

    /// A text property; `None` if it is not set.
    fn text(&self, property: ffi::zpool_prop_t) -> Option<String> {
        let mut buffer = vec![0_u8; ffi::ZFS_MAXPROPLEN as usize];
        // SAFETY: the handle is open; the buffer is as long as said and libzfs ends it with NUL.
        let code = unsafe {
            ffi::zpool_get_prop(
                self.handle.as_ptr(),
                property,
                buffer.as_mut_ptr().cast::<c_char>(),
                buffer.len(),
                std::ptr::null_mut(),
                ffi::B_TRUE,
            )
        };
        let text = buffer_text(&buffer);
        (code == 0 && text != "-").then_some(text)
    }
}

/// A constant of the headers, which ends in NUL, as text.
pub(super) fn text_of(constant: &'static [u8]) -> &'static str {
    constant
        .split_last()
        .and_then(|(_, text)| str::from_utf8(text).ok())
        .expect("constants of the ZFS headers are ASCII texts that end in NUL")
}

/// The text that a C function has written into a buffer.
pub(super) fn buffer_text(buffer: &[u8]) -> String {
    let text = buffer.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// A path for a C function.
pub(super) fn c_path(call: &'static str, path: &std::path::Path) -> Result<CString, Error> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        Error::found(
            call,
            path.display(),
            ErrorKind::Invalid,
            "the path contains a NUL",
        )
    })
}
