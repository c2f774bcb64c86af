//! Stands in for `library.rs` where zbackup is built without the cargo feature `cryptsetup`.
//!
//! [`lock`] always fails and the types have no values, so nothing behind it can ever run.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::error::{Error, ErrorKind};

/// Has no value in this build.
pub(super) enum Library {}

/// As in `library.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Never seen in this build, as are the others.
    Inactive,
    #[allow(dead_code)]
    Active,
    #[allow(dead_code)]
    Busy,
}

/// As in `library.rs`.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)]
pub(super) struct Activation {
    pub(super) readonly: bool,
    pub(super) allow_discards: bool,
}

/// As in `library.rs`.
#[derive(Clone, Copy)]
#[allow(dead_code)]
pub(super) struct TcryptHeader<'a> {
    pub(super) passphrase: &'a [u8],
    pub(super) keyfiles: &'a [CString],
    pub(super) hidden: bool,
    pub(super) veracrypt: bool,
    pub(super) pim: u32,
    pub(super) hash: Option<&'static CStr>,
    pub(super) aes_only: bool,
}

/// Has no value in this build.
pub(super) struct Container<'l> {
    never: Library,
    library: PhantomData<&'l Library>,
}

/// Says how to get what is missing.
pub(super) fn lock() -> Result<Library, Error> {
    Err(Error::refused(
        ErrorKind::NotBuilt,
        "crypt_init",
        "libcryptsetup",
        "build zbackup with the cargo feature \"cryptsetup\" (it is on by default) and \
         libcryptsetup-dev installed",
    ))
}

impl Library {
    pub(super) fn status(&self, _: &CStr) -> Result<Status, Error> {
        match *self {}
    }
    pub(super) fn deactivate(&self, _: &CStr) -> Result<(), Error> {
        match *self {}
    }
    pub(super) fn backing_device(&self, _: &CStr) -> Result<Option<PathBuf>, Error> {
        match *self {}
    }
}

impl<'l> Container<'l> {
    pub(super) fn new(library: &'l Library, _: &Path) -> Result<Self, Error> {
        match *library {}
    }
    pub(super) fn load_luks(&mut self) -> Result<(), Error> {
        match self.never {}
    }
    pub(super) fn load_tcrypt(&mut self, _: &TcryptHeader<'_>) -> Result<(), Error> {
        match self.never {}
    }
    pub(super) fn activate_loaded(&mut self, _: &CStr, _: Activation) -> Result<(), Error> {
        match self.never {}
    }
    pub(super) fn activate_by_passphrase(
        &mut self,
        _: Option<(&CString, Activation)>,
        _: &[u8],
    ) -> Result<(), Error> {
        match self.never {}
    }
    pub(super) fn activate_by_keyfile(
        &mut self,
        _: Option<(&CString, Activation)>,
        _: &CStr,
    ) -> Result<(), Error> {
        match self.never {}
    }
}
