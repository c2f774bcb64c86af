//! libcryptsetup, call by call: the only file here that leaves Rust.
//!
//! Whoever holds a [`Library`] holds the process-wide lock that the calls need: libdevmapper below
//! keeps its state in globals. The library's messages are caught by a callback and go into the
//! error of the call that caused them.

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::unistd::geteuid;

use super::error::{Error, ErrorKind};
use super::ffi;
use super::unlock::c_path;

static LOCK: Mutex<()> = Mutex::new(());
static LOG_CALLBACK: Once = Once::new();

thread_local! {
    /// What the library has said since the call in progress began.
    static MESSAGES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The right to call the library: it holds the lock.
pub(super) struct Library {
    _lock: MutexGuard<'static, ()>,
}

/// What device-mapper knows of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// No such mapping.
    Inactive,
    /// It exists, and nothing has it open.
    Active,
    /// It exists, and something has it open.
    Busy,
}

/// How a mapping is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activation {
    pub(super) readonly: bool,
    pub(super) allow_discards: bool,
}

/// Which TrueCrypt or VeraCrypt headers to try, and with what.
#[derive(Clone, Copy)]
pub(super) struct TcryptHeader<'a> {
    pub(super) passphrase: &'a [u8],
    pub(super) keyfiles: &'a [CString],
    pub(super) hidden: bool,
    /// Also the old modes of TrueCrypt until version 4: CBC and SHA-1.
    pub(super) legacy: bool,
    /// Also VeraCrypt's key derivations, not only TrueCrypt's.
    pub(super) veracrypt: bool,
    /// VeraCrypt's PIM, 0 for the default. If it is not 0, TrueCrypt is not tried.
    pub(super) pim: u32,
    /// The one hash function to try; `None` for all.
    pub(super) hash: Option<&'static CStr>,
    /// Only AES, and chains of ciphers with AES in them, AES first.
    pub(super) aes_only: bool,
}

/// Waits until other threads are done with the library.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the build without libcryptsetup fails here"
)]
pub(super) fn lock() -> Result<Library, Error> {
    // The mutex guards C globals that no panic of ours leaves half-changed.
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    LOG_CALLBACK.call_once(|| {
        // SAFETY: a null device sets the default log function, which the library keeps for good:
        // `on_message` is a static function that uses no user pointer. The lock is held.
        unsafe { ffi::crypt_set_log_callback(ptr::null_mut(), Some(on_message), ptr::null_mut()) };
    });
    Ok(Library { _lock: lock })
}

/// Takes one line of the library's log. Called by C: it may not panic, and it owns nothing.
unsafe extern "C" fn on_message(level: c_int, message: *const c_char, _: *mut c_void) {
    if message.is_null() {
        return;
    }
    // SAFETY: the library hands over a NUL-terminated string that lives as long as this call.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    // A panic may not cross C; the panic hook has reported it, and one log line is no great loss.
    let _ = panic::catch_unwind(|| {
        let text = text.trim();
        log::debug!("libcryptsetup: {text}");
        // Negative levels are for its developers.
        if level >= 0 && !text.is_empty() {
            MESSAGES.with_borrow_mut(|messages| messages.push(text.to_owned()));
        }
    });
}

/// Runs one call of the library: 0 or more is success, a negative result an error number.
fn call(
    name: &'static str,
    subject: &dyn Fn() -> String,
    run: impl FnOnce() -> c_int,
) -> Result<c_int, Error> {
    MESSAGES.take();
    let result = run();
    let mut messages = MESSAGES.take();
    // The library tries some things many times, and reports each.
    messages.dedup();
    if result >= 0 {
        return Ok(result);
    }
    let code = -result;
    Err(Error {
        call: name,
        subject: subject(),
        kind: kind_of(name, code),
        code,
        messages,
    })
}

/// What an error number means in that call.
fn kind_of(call: &str, code: i32) -> ErrorKind {
    let opens_key = matches!(
        call,
        "crypt_load" | "crypt_activate_by_passphrase" | "crypt_activate_by_keyfile_device_offset"
    );
    match code {
        libc::EPERM if opens_key => ErrorKind::WrongPassphrase,
        // Without root, device-mapper is "not supported".
        libc::ENOTSUP if call != "crypt_load" && !geteuid().is_root() => ErrorKind::Permission,
        libc::EPERM | libc::EACCES => ErrorKind::Permission,
        libc::ENOTSUP | libc::ENOSYS => ErrorKind::Unsupported,
        libc::EBUSY => ErrorKind::Busy,
        libc::EEXIST => ErrorKind::Exists,
        libc::ENODEV | libc::ENXIO | libc::ENOTBLK | libc::ENOMEDIUM => ErrorKind::NoDevice,
        libc::EINVAL if call == "crypt_load" => ErrorKind::NotAContainer,
        _ => ErrorKind::Io,
    }
}

#[expect(clippy::unused_self, reason = "to hold a Library is to hold the lock")]
impl Library {
    /// Asks device-mapper about a name.
    #[doc(alias = "crypt_status")]
    pub(super) fn status(&self, name: &CStr) -> Result<Status, Error> {
        MESSAGES.take();
        // SAFETY: a null device is allowed, `name` is NUL-terminated, `self` is the lock.
        let status = unsafe { ffi::crypt_status(ptr::null_mut(), name.as_ptr()) };
        match status {
            ffi::CRYPT_INACTIVE => Ok(Status::Inactive),
            ffi::CRYPT_ACTIVE => Ok(Status::Active),
            ffi::CRYPT_BUSY => Ok(Status::Busy),
            // The only answer without an error number: device-mapper itself cannot be asked.
            _ => Err(Error {
                call: "crypt_status",
                subject: "device-mapper".into(),
                kind: kind_of("crypt_status", libc::ENOTSUP),
                code: 0,
                messages: MESSAGES.take(),
            }),
        }
    }

    /// Removes a mapping, and with the top of a TrueCrypt chain the mappings below it.
    #[doc(alias = "crypt_deactivate_by_name")]
    pub(super) fn deactivate(&self, name: &CStr) -> Result<(), Error> {
        let subject = || name.to_string_lossy().into_owned();
        call("crypt_deactivate_by_name", &subject, || {
            // SAFETY: with a null device the library finds its own by the name, a NUL-terminated
            // string. No flags: FORCE would pull the data away from under its users.
            unsafe { ffi::crypt_deactivate_by_name(ptr::null_mut(), name.as_ptr(), 0) }
        })
        .map(drop)
    }

    /// The device below a mapping; `None` if it is gone.
    #[doc(alias = "crypt_get_device_name")]
    pub(super) fn backing_device(&self, name: &CStr) -> Result<Option<PathBuf>, Error> {
        let subject = || name.to_string_lossy().into_owned();
        let container = Container::allocate(self, "crypt_init_by_name", &subject, |device| {
            // SAFETY: `device` is a place for one pointer, `name` is NUL-terminated.
            unsafe { ffi::crypt_init_by_name(device, name.as_ptr()) }
        })?;
        // SAFETY: the device is alive; the answer is null or a string that lives as long as it.
        let path = unsafe { ffi::crypt_get_device_name(container.device.as_ptr()) };
        if path.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, so a NUL-terminated string, copied before `container` is freed.
        let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
        Ok(Some(PathBuf::from(OsStr::from_bytes(bytes))))
    }
}

/// One device as the library sees it (`struct crypt_device`), freed when dropped.
pub(super) struct Container<'l> {
    device: NonNull<ffi::crypt_device>,
    subject: String,
    /// The container lives no longer than the lock, so that it is freed under the lock too.
    _library: &'l Library,
}

impl<'l> Container<'l> {
    /// Opens a device, without reading a header yet.
    #[doc(alias = "crypt_init")]
    pub(super) fn new(library: &'l Library, path: &Path) -> Result<Self, Error> {
        let c_path = c_path(path)?;
        let subject = || path.display().to_string();
        Self::allocate(library, "crypt_init", &subject, |device| {
            // SAFETY: `device` is a place for one pointer, `c_path` is NUL-terminated and copied.
            unsafe { ffi::crypt_init(device, c_path.as_ptr()) }
        })
    }

    fn allocate(
        library: &'l Library,
        name: &'static str,
        subject: &dyn Fn() -> String,
        init: impl FnOnce(*mut *mut ffi::crypt_device) -> c_int,
    ) -> Result<Self, Error> {
        let mut device = ptr::null_mut();
        call(name, subject, || init(&raw mut device))?;
        let device = NonNull::new(device).expect("a successful init sets the device");
        Ok(Self {
            device,
            subject: subject(),
            _library: library,
        })
    }

    fn call(
        &mut self,
        name: &'static str,
        run: impl FnOnce(*mut ffi::crypt_device) -> c_int,
    ) -> Result<(), Error> {
        let subject = || self.subject.clone();
        call(name, &subject, || run(self.device.as_ptr())).map(drop)
    }

    /// Reads a LUKS header of either version.
    #[doc(alias = "crypt_load")]
    pub(super) fn load_luks(&mut self) -> Result<(), Error> {
        self.call("crypt_load", |device| {
            // SAFETY: the device is alive. A null type is the C constant CRYPT_LUKS, "LUKS1 or
            // LUKS2", for which no parameters are needed.
            unsafe { ffi::crypt_load(device, ptr::null(), ptr::null_mut()) }
        })
    }

    /// Looks for a TrueCrypt or VeraCrypt header that can be opened. The library keeps no pointer to
    /// passphrase or keyfiles beyond this call.
    #[doc(alias = "crypt_load")]
    pub(super) fn load_tcrypt(&mut self, header: &TcryptHeader<'_>) -> Result<(), Error> {
        let mut flags = 0;
        if header.legacy {
            flags |= ffi::CRYPT_TCRYPT_LEGACY_MODES;
        }
        if header.hidden {
            flags |= ffi::CRYPT_TCRYPT_HIDDEN_HEADER;
        }
        if header.veracrypt {
            flags |= ffi::CRYPT_TCRYPT_VERA_MODES;
        }
        let mut keyfiles: Vec<_> = header.keyfiles.iter().map(|path| path.as_ptr()).collect();
        let mut parameters = ffi::crypt_params_tcrypt {
            passphrase: header.passphrase.as_ptr().cast(),
            passphrase_size: header.passphrase.len(),
            keyfiles: keyfiles.as_mut_ptr(),
            keyfiles_count: keyfiles.len().try_into().expect("fewer keyfiles than 2^32"),
            // Null, since an empty string would match no hash function at all.
            hash_name: header.hash.map_or(ptr::null(), CStr::as_ptr),
            cipher: if header.aes_only {
                c"aes".as_ptr()
            } else {
                ptr::null()
            },
            flags,
            veracrypt_pim: header.pim,
            ..Default::default()
        };
        self.call("crypt_load", |device| {
            let parameters = (&raw mut parameters).cast();
            // SAFETY: the device is alive, the type is the library's own constant, and for that
            // type the parameters are a crypt_params_tcrypt, whose pointers all outlive the call.
            unsafe { ffi::crypt_load(device, ffi::CRYPT_TCRYPT.as_ptr().cast(), parameters) }
        })
    }

    /// Makes the mapping for a TrueCrypt or VeraCrypt header that was loaded.
    #[doc(alias = "crypt_activate_by_volume_key")]
    pub(super) fn activate_loaded(
        &mut self,
        name: &CStr,
        activation: Activation,
    ) -> Result<(), Error> {
        self.call("crypt_activate_by_volume_key", |device| {
            let flags = activation.flags();
            // SAFETY: the device is alive and `name` NUL-terminated; for a loaded TCRYPT header
            // the key is not read and may be null.
            unsafe {
                ffi::crypt_activate_by_volume_key(device, name.as_ptr(), ptr::null(), 0, flags)
            }
        })
    }

    /// Tries the passphrase on every LUKS key slot, and makes the mapping if there is a `target`.
    #[doc(alias = "crypt_activate_by_passphrase")]
    pub(super) fn activate_by_passphrase(
        &mut self,
        target: Option<(&CString, Activation)>,
        passphrase: &[u8],
    ) -> Result<(), Error> {
        let (name, flags) = name_and_flags(target);
        self.call("crypt_activate_by_passphrase", |device| {
            // SAFETY: the device is alive; `name` is null (only check) or NUL-terminated; the
            // passphrase is read for as many bytes as are named.
            unsafe {
                ffi::crypt_activate_by_passphrase(
                    device,
                    name,
                    ffi::CRYPT_ANY_SLOT,
                    passphrase.as_ptr().cast(),
                    passphrase.len(),
                    flags,
                )
            }
        })
    }

    /// The same, with the whole content of a file as passphrase.
    #[doc(alias = "crypt_activate_by_keyfile_device_offset")]
    pub(super) fn activate_by_keyfile(
        &mut self,
        target: Option<(&CString, Activation)>,
        keyfile: &CStr,
    ) -> Result<(), Error> {
        let (name, flags) = name_and_flags(target);
        self.call("crypt_activate_by_keyfile_device_offset", |device| {
            // SAFETY: the device is alive; `name` is null (only check) or NUL-terminated, as
            // `keyfile` is; size 0 means all of the file.
            unsafe {
                ffi::crypt_activate_by_keyfile_device_offset(
                    device,
                    name,
                    ffi::CRYPT_ANY_SLOT,
                    keyfile.as_ptr(),
                    0,
                    0,
                    flags,
                )
            }
        })
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // SAFETY: the device came from a successful init and is freed here alone; the lock is held
        // as long as `_library` lives.
        unsafe { ffi::crypt_free(self.device.as_ptr()) };
    }
}

impl Activation {
    fn flags(self) -> u32 {
        let mut flags = 0;
        if self.readonly {
            flags |= ffi::CRYPT_ACTIVATE_READONLY;
        }
        if self.allow_discards {
            flags |= ffi::CRYPT_ACTIVATE_ALLOW_DISCARDS;
        }
        flags
    }
}

fn name_and_flags(target: Option<(&CString, Activation)>) -> (*const c_char, u32) {
    target.map_or((ptr::null(), 0), |(name, activation)| {
        (name.as_ptr(), activation.flags())
    })
}
