//! Stands in for `library.rs` if zbackup is built without the cargo feature `cryptsetup`.
//!
//! The kernel tells what is mapped without any library, so a disk without a container is opened and
//! closed as usual. Opening or closing a container fails.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::error::{Error, ErrorKind};

/// Where the kernel lists block devices, those of device-mapper too.
const BLOCK_DEVICES: &str = "/sys/block";

/// Takes the place of the right to call the library.
pub(super) struct Library;

/// As in `library.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// No such mapping.
    Inactive,
    /// It exists.
    Active,
    /// Never seen in this build.
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
    pub(super) legacy: bool,
    pub(super) veracrypt: bool,
    pub(super) pim: u32,
    pub(super) hash: Option<&'static CStr>,
    pub(super) aes_only: bool,
}

/// It has no value in this build.
pub(super) struct Container<'l> {
    never: Infallible,
    library: PhantomData<&'l Library>,
}

/// There is nothing to wait for.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature is that of the build with libcryptsetup"
)]
pub(super) fn lock() -> Result<Library, Error> {
    Ok(Library)
}

fn not_built(subject: &str) -> Error {
    Error::refused(
        ErrorKind::NotBuilt,
        "crypt_init",
        subject,
        "it was built without the cargo feature \"cryptsetup\"",
    )
}

#[expect(clippy::unused_self, reason = "as in the build with libcryptsetup")]
impl Library {
    /// Asks the kernel about a name.
    pub(super) fn status(&self, name: &CStr) -> Result<Status, Error> {
        let found = device(name)?;
        Ok(found.map_or(Status::Inactive, |_| Status::Active))
    }
    pub(super) fn deactivate(&self, name: &CStr) -> Result<(), Error> {
        Err(not_built(&name.to_string_lossy()))
    }
    pub(super) fn backing_device(&self, name: &CStr) -> Result<Option<PathBuf>, Error> {
        let Some(device) = device(name)? else {
            return Ok(None);
        };
        // It is gone if the disk is.
        let below = fs::read_dir(device.join("slaves")).into_iter().flatten();
        let mut nodes = below
            .flatten()
            .map(|disk| Path::new("/dev").join(disk.file_name()));
        Ok(nodes.next())
    }
}

/// The directory of the mapping with this name.
fn device(name: &CStr) -> Result<Option<PathBuf>, Error> {
    let failed = |error| Error::from_io(ErrorKind::Io, "opendir", BLOCK_DEVICES, &error);
    for device in fs::read_dir(BLOCK_DEVICES).map_err(failed)? {
        let device = device.map_err(failed)?.path();
        // Devices of other kinds have no such file.
        let found = fs::read(device.join("dm/name"));
        if found.is_ok_and(|found| found.trim_ascii_end() == name.to_bytes()) {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

impl<'l> Container<'l> {
    pub(super) fn new(_: &'l Library, path: &Path) -> Result<Self, Error> {
        Err(not_built(&path.display().to_string()))
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
