//! Opens a container: what a request may contain, and how each kind is tried.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use openzfs::fault;

use super::error::{Error, ErrorKind};
use super::kernel;
use super::library::{self, Activation, Container, Library, TcryptHeader};
use super::mapping::{self, Mapping};
use super::passphrase::Passphrase;
use crate::human::count;
use crate::next::next;

/// What kind of container is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// TrueCrypt only. A wrong passphrase is known within a second.
    Truecrypt,
    /// VeraCrypt. Its key derivations are slow by design: trying all of them takes half a minute or
    /// more. libcryptsetup also tries TrueCrypt's cheap ones, so such a header opens as well.
    Veracrypt,
    /// TrueCrypt first, then VeraCrypt: what `truecrypt = yes` in the config means.
    TruecryptOrVeracrypt,
    /// LUKS1 or LUKS2, as the header says.
    Luks,
}

/// A request to open a container.
///
/// [`Unlock::new`] fills in the plain case; set the other fields as needed.
#[derive(Debug, Clone, Copy)]
pub struct Unlock<'a> {
    /// What the device holds.
    pub kind: ContainerKind,
    /// The partition or disk. [`probe`] also takes a plain file.
    pub device: &'a Path,
    /// Name of the mapping to make below `/dev/mapper`: letters, digits, `.`, `_` and `-`.
    pub mapping: &'a str,
    /// The passphrase; may be missing if there are keyfiles.
    pub passphrase: Option<&'a Passphrase>,
    /// TrueCrypt and VeraCrypt mix them into the passphrase; LUKS takes one instead of it.
    pub keyfiles: &'a [PathBuf],
    /// VeraCrypt's Personal Iterations Multiplier; with one, no TrueCrypt header is tried.
    /// 0 is VeraCrypt's word for "the default".
    pub pim: Option<u32>,
    /// Open the hidden volume of a TrueCrypt or VeraCrypt container.
    pub hidden: bool,
    /// Make a mapping that cannot be written to.
    pub readonly: bool,
    /// Pass TRIM on to the disk, which shows an observer which space is free.
    pub allow_discards: bool,
}

impl<'a> Unlock<'a> {
    /// A writable mapping of the outer volume, with neither passphrase nor keyfile yet.
    pub fn new(kind: ContainerKind, device: &'a Path, mapping: &'a str) -> Self {
        Self {
            kind,
            device,
            mapping,
            passphrase: None,
            keyfiles: &[],
            pim: None,
            hidden: false,
            readonly: false,
            allow_discards: false,
        }
    }
}

/// Opens the container as `/dev/mapper/<mapping>`.
///
/// Returns once the device node is there. Fails with [`ErrorKind::WrongPassphrase`] if the
/// passphrase does not fit, [`ErrorKind::Exists`] if the mapping is open already (see
/// [`super::adopt`]), [`ErrorKind::Busy`] if something else uses the device, and with the other
/// kinds as documented. Nothing stays behind after an error.
#[doc(alias = "crypt_load")]
#[doc(alias = "crypt_activate_by_volume_key")]
#[doc(alias = "crypt_activate_by_passphrase")]
pub fn unlock(request: &Unlock<'_>) -> Result<Mapping, Error> {
    let injected = |words| Error::refused(ErrorKind::Io, "crypt_load", request.mapping, words);
    fault::at("crypt_load").map_err(injected)?;
    check(request)?;
    let library = library::lock()?;
    let name = mapping::checked_name(request.mapping)?;
    mapping::require_free(&library, request.mapping, &name)?;
    let flags = Activation {
        readonly: request.readonly,
        allow_discards: request.allow_discards,
    };
    match request.kind {
        ContainerKind::Luks => open_luks(&library, request, Some((&name, flags)))?,
        _ => open_tcrypt(&library, request)?
            .activate_loaded(&name, flags)
            .inspect_err(|_| {
                // A chain of ciphers is a chain of mappings, and the library leaves those that it has made.
                mapping::remove_layers(&library, request.mapping);
            })?,
    }
    log::debug!(
        "{} is open as {}",
        request.device.display(),
        request.mapping
    );
    Ok(Mapping::opened(request.mapping))
}

/// Checks that the passphrase and keyfiles open the container, without opening it.
///
/// It only needs to read the device, and works on a plain file too. It fails as [`unlock`] does.
#[doc(alias = "crypt_load")]
pub fn probe(request: &Unlock<'_>) -> Result<(), Error> {
    check(request)?;
    let library = library::lock()?;
    match request.kind {
        ContainerKind::Luks => open_luks(&library, request, None),
        _ => open_tcrypt(&library, request).map(drop),
    }
}

/// Checks the slot's passphrase, and with `target` makes the mapping too.
fn open_luks(
    library: &Library,
    request: &Unlock<'_>,
    target: Option<(&CString, Activation)>,
) -> Result<(), Error> {
    let mut container = Container::new(library, request.device)?;
    container.load_luks()?;
    match (request.passphrase, request.keyfiles) {
        (Some(passphrase), _) => container.activate_by_passphrase(target, passphrase.as_bytes()),
        (None, [keyfile, ..]) => container.activate_by_keyfile(target, &c_path(keyfile)?),
        (None, []) => Err(contradiction(request, "neither passphrase nor keyfile")),
    }
}

/// Finds a TrueCrypt or VeraCrypt header that opens.
fn open_tcrypt<'l>(library: &'l Library, request: &Unlock<'_>) -> Result<Container<'l>, Error> {
    let keyfiles: Vec<CString> = request
        .keyfiles
        .iter()
        .map(|path| c_path(path))
        .collect::<Result<_, _>>()?;
    let header = TcryptHeader {
        passphrase: request.passphrase.map_or(&[], Passphrase::as_bytes),
        keyfiles: &keyfiles,
        hidden: request.hidden,
        legacy: false,
        veracrypt: request.kind != ContainerKind::Truecrypt,
        pim: request.pim.unwrap_or(0),
        hash: None,
        aes_only: false,
    };
    if let Some(container) = first_fit(library, request.device, likely_headers(&header))? {
        return Ok(container);
    }
    // VeraCrypt has no old modes, and its derivations are slow: TrueCrypt's alone come first.
    let old = TcryptHeader {
        legacy: true,
        veracrypt: false,
        ..header
    };
    let old =
        Some(old).filter(|old| old.pim == 0 && old.passphrase.len() <= longest_passphrase(false));
    for attempt in old.into_iter().chain([header]) {
        match load(library, request.device, &attempt) {
            Ok(container) => return Ok(container),
            // VeraCrypt's derivations are still to come, or only the old modes need what is missing.
            Err(error)
                if attempt.legacy
                    && is_no_fit(&error)
                    && (header.veracrypt || error.kind == ErrorKind::Unsupported) => {}
            Err(error) if error.kind == ErrorKind::WrongPassphrase => {
                let error = if kernel::lacks_interface() {
                    error.advise(without_kernel())
                } else {
                    error
                };
                return Err(error.advise(tried(request)));
            }
            Err(error) if error.kind == ErrorKind::Unsupported => {
                let with_aes = first_fit(library, request.device, aes_headers(&header))?;
                return with_aes
                    .ok_or_else(|| error.advise(without_kernel()).advise(tried(request)));
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns");
}

fn damaged_header() -> String {
    next!(
        "damaged-header",
        "passphrase and keyfiles fit, but the header is damaged; a container of TrueCrypt 6 or later has a copy \
         of it at its end (cryptsetup open --type tcrypt --tcrypt-backup)"
    )
}

fn without_kernel() -> String {
    next!(
        "no-cipher-module",
        "with AES alone this passphrase opens nothing; Serpent, Twofish, Camellia and what TrueCrypt made until \
         its version 4 need the kernel module algif_skcipher (modprobe algif_skcipher)"
    )
}

/// Loads a header that opens with these parameters, and returns the container.
fn load<'l>(
    library: &'l Library,
    device: &Path,
    header: &TcryptHeader<'_>,
) -> Result<Container<'l>, Error> {
    let mut container = Container::new(library, device)?;
    match container.load_tcrypt(header) {
        Ok(()) => Ok(container),
        // Noise never opens: this was a header once.
        Err(error) if error.kind == ErrorKind::NotAContainer => Err(error.advise(damaged_header())),
        Err(error) => Err(error),
    }
}

/// True for the errors of a header that does not open.
fn is_no_fit(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::WrongPassphrase | ErrorKind::Unsupported
    )
}

/// Which headers were tried, and which were not: the passphrase may be right for one of those.
fn tried(request: &Unlock<'_>) -> String {
    let (part, other_part) = if request.hidden {
        ("the hidden volume", "the outer one (hidden = no)")
    } else {
        ("the outer volume", "a hidden one (hidden = yes)")
    };
    let (program, others) = match (request.kind, request.pim.unwrap_or(0)) {
        (ContainerKind::Truecrypt, _) => ("TrueCrypt", ", VeraCrypt (encryption = veracrypt)"),
        (_, 0) => (
            "TrueCrypt and VeraCrypt",
            ", VeraCrypt with a PIM of its own (pim)",
        ),
        (_, _) => (
            "VeraCrypt with this PIM",
            ", TrueCrypt and VeraCrypt without a PIM",
        ),
    };
    let keyfiles = match request.keyfiles.len() {
        0 => "without keyfiles".to_owned(),
        number => format!("with {}", count(number, "keyfile")),
    };
    let missing = kernel::missing_ciphers();
    let missing = if missing.is_empty() || kernel::lacks_interface() {
        String::new()
    } else {
        format!(
            ", nor what this kernel has no module for ({})",
            missing.join(", ")
        )
    };
    format!("tried was {part} of {program}, {keyfiles}; not tried: {other_part}{others}{missing}")
}

/// Hash functions to try one by one with AES.
const TRUECRYPT_HASHES: [&CStr; 3] = [c"sha512", c"ripemd160", c"whirlpool"];
const VERACRYPT_HASHES: [&CStr; 4] = [c"sha512", c"sha256", c"whirlpool", c"stribog512"];
/// The PIM that means VeraCrypt's default iterations, except for RIPEMD-160, whose default no PIM gives.
const VERACRYPT_DEFAULT_PIM: u32 = 485;

/// The headers that most containers have: SHA-512 and AES.
///
/// libcryptsetup's own order tries every cipher with one hash function before the next, and for
/// ciphers that the kernel lacks, such as Kuznyechik, each try makes the kernel start modprobe:
/// that takes seconds, and this order avoids it.
fn likely_headers<'a>(header: &TcryptHeader<'a>) -> Vec<TcryptHeader<'a>> {
    aes_headers(header)
        .into_iter()
        .filter(|attempt| attempt.hash == Some(c"sha512"))
        .collect()
}

/// Everything with AES, one hash function after another.
///
/// This is also all that works on kernels without the module `algif_skcipher`. libcryptsetup
/// decrypts AES headers on its own but asks the kernel for every other cipher. If it cannot ask, it
/// gives up on the whole header at the first hash function that does not lead to an AES header.
/// Naming the hash functions makes it try AES, which comes first, with each of them.
fn aes_headers<'a>(header: &TcryptHeader<'a>) -> Vec<TcryptHeader<'a>> {
    let with_aes = TcryptHeader {
        aes_only: true,
        ..*header
    };
    let truecrypt = TRUECRYPT_HASHES
        .iter()
        .filter(|_| header.pim == 0)
        .map(|&hash| TcryptHeader {
            hash: Some(hash),
            veracrypt: false,
            ..with_aes
        });
    // Naming a hash function without a PIM means TrueCrypt's iterations.
    let pim = if header.pim == 0 {
        VERACRYPT_DEFAULT_PIM
    } else {
        header.pim
    };
    let veracrypt = VERACRYPT_HASHES
        .iter()
        .filter(|_| header.veracrypt)
        .map(|&hash| TcryptHeader {
            hash: Some(hash),
            pim,
            ..with_aes
        });
    let fits = |attempt: &TcryptHeader<'_>| {
        attempt.passphrase.len() <= longest_passphrase(attempt.veracrypt)
    };
    truecrypt.chain(veracrypt).filter(fits).collect()
}

/// The first of these headers that opens, if any does.
fn first_fit<'l>(
    library: &'l Library,
    device: &Path,
    attempts: Vec<TcryptHeader<'_>>,
) -> Result<Option<Container<'l>>, Error> {
    for attempt in attempts {
        match load(library, device, &attempt) {
            Ok(container) => return Ok(Some(container)),
            Err(error) if is_no_fit(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Longest passphrase in bytes that the format knows.
fn longest_passphrase(veracrypt: bool) -> usize {
    if veracrypt { 128 } else { 64 }
}

/// Everything that can be refused before the library is asked.
fn check(request: &Unlock<'_>) -> Result<(), Error> {
    mapping::checked_name(request.mapping)?;
    if request.passphrase.is_none() && request.keyfiles.is_empty() {
        return Err(contradiction(request, "neither passphrase nor keyfile"));
    }
    match request.kind {
        ContainerKind::Luks => check_luks(request)?,
        ContainerKind::Truecrypt if request.pim.is_some() => {
            return Err(contradiction(
                request,
                "a PIM belongs to VeraCrypt, not to TrueCrypt",
            ));
        }
        kind => check_length(request, kind != ContainerKind::Truecrypt)?,
    }
    check_device(request.device)?;
    request
        .keyfiles
        .iter()
        .try_for_each(|path| check_keyfile(path))
}

fn check_luks(request: &Unlock<'_>) -> Result<(), Error> {
    if request.pim.is_some() || request.hidden {
        return Err(contradiction(
            request,
            "pim and hidden belong to VeraCrypt, not to LUKS",
        ));
    }
    if request.keyfiles.len() + usize::from(request.passphrase.is_some()) > 1 {
        return Err(contradiction(
            request,
            "LUKS takes one passphrase or one keyfile, neither both nor several",
        ));
    }
    Ok(())
}

fn check_length(request: &Unlock<'_>, veracrypt: bool) -> Result<(), Error> {
    let longest = longest_passphrase(veracrypt);
    if request
        .passphrase
        .is_some_and(|passphrase| passphrase.as_bytes().len() > longest)
    {
        return Err(Error::refused(
            ErrorKind::WrongPassphrase,
            "crypt_load",
            request.device.display().to_string(),
            format!("the passphrase of such a container has at most {longest} bytes"),
        ));
    }
    Ok(())
}

fn contradiction(request: &Unlock<'_>, why: &str) -> Error {
    let subject = request.device.display().to_string();
    Error::refused(ErrorKind::InvalidRequest, "crypt_load", subject, why)
}

/// Checks the device first, since the library has the same error for every device that it cannot read.
fn check_device(device: &Path) -> Result<(), Error> {
    let subject = || device.display().to_string();
    let failed = |call| {
        move |error: io::Error| {
            let kind = match error.raw_os_error() {
                Some(libc::EACCES | libc::EPERM | libc::EROFS) => ErrorKind::Permission,
                Some(libc::EBUSY) => ErrorKind::Busy,
                Some(libc::EIO) => ErrorKind::Io,
                _ => ErrorKind::NoDevice,
            };
            Error::from_io(kind, call, subject(), &error)
        }
    };
    let file_type = device.metadata().map_err(failed("stat"))?.file_type();
    if !file_type.is_block_device() && !file_type.is_file() {
        let why = "neither a block device nor a plain file";
        return Err(Error::refused(ErrorKind::NoDevice, "stat", subject(), why));
    }
    File::open(device).map(drop).map_err(failed("open"))
}

fn check_keyfile(path: &Path) -> Result<(), Error> {
    let subject = || path.display().to_string();
    let failed = |error| Error::from_io(ErrorKind::SecretFile, "open", subject(), &error);
    if !path.metadata().map_err(failed)?.is_file() {
        let why = "a keyfile has to be a plain file";
        return Err(Error::refused(
            ErrorKind::SecretFile,
            "stat",
            subject(),
            why,
        ));
    }
    File::open(path).map(drop).map_err(failed)
}

/// The path as the C library takes it.
pub(super) fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        let subject = path.display().to_string();
        Error::refused(
            ErrorKind::InvalidRequest,
            "crypt_init",
            subject,
            "a NUL in the path",
        )
    })
}
