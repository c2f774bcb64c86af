//! An open container: the device below `/dev/mapper`, and how it is closed.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use openzfs::fault;

use super::error::{Error, ErrorKind};
use super::library::{self, Library, Status};

/// How long closing waits until others no longer use the mapping.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries.
const CLOSE_PAUSE: Duration = Duration::from_millis(50);
/// Device-mapper's limit for a name (`DM_NAME_LEN` less its NUL) less a layer's suffix, in bytes.
const MAX_NAME_BYTES: usize = 125;

/// An open container. It is closed when it goes out of scope; [`Mapping::close`] is better, since
/// it can report a failure.
#[derive(Debug)]
#[must_use = "dropping it closes the container"]
pub struct Mapping {
    name: String,
    close_on_drop: bool,
}

/// What is known of an existing mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MappingInfo {
    /// The device below; `None` if it has been unplugged.
    pub device: Option<PathBuf>,
    /// `TCRYPT` (VeraCrypt too), `LUKS1`, `LUKS2` or another word of libcryptsetup's; `None` if
    /// another program made the mapping.
    pub container_type: Option<String>,
    /// True if anything has the mapping open.
    pub in_use: bool,
}

impl Mapping {
    pub(super) fn opened(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            close_on_drop: true,
        }
    }

    /// The mapping's name, without `/dev/mapper/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device with the clear text.
    pub fn path(&self) -> PathBuf {
        node(&self.name)
    }

    /// Closes the container and wipes its key from the kernel.
    ///
    /// udev opens new and changed devices to look at them, so a mapping can be in use for a moment
    /// after its last user is gone. The kernel does not announce the end of that; closing is tried
    /// again for 5 seconds (device-mapper's own retry may double that) and then fails with
    /// [`ErrorKind::Busy`], handing the mapping back. A mapping that is already gone counts as closed.
    #[doc(alias = "crypt_deactivate_by_name")]
    pub fn close(mut self) -> Result<(), (Self, Error)> {
        match close_patiently(&self.name) {
            Ok(()) => {
                self.close_on_drop = false;
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Leaves the container open beyond the life of this process; [`adopt`] takes it up again.
    pub fn keep_open(mut self) {
        self.close_on_drop = false;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.close_on_drop {
            return;
        }
        log::warn!("closing {} on the way out", self.name);
        if let Err(error) = close_patiently(&self.name) {
            log::error!("{error}; the container stays open");
        }
    }
}

/// Looks for a mapping of that name. Needs root.
#[doc(alias = "crypt_status")]
#[doc(alias = "crypt_init_by_name")]
pub fn mapping_exists(name: &str) -> Result<Option<MappingInfo>, Error> {
    let c_name = checked_name(name)?;
    info(&library::lock()?, name, &c_name)
}

/// Takes over a mapping that an earlier process left open.
///
/// Fails with [`ErrorKind::NoDevice`] if there is none, and with [`ErrorKind::NotAContainer`]
/// if the name belongs to something that libcryptsetup did not make.
pub fn adopt(name: &str) -> Result<Mapping, Error> {
    let refused = |kind, why: &str| Error::refused(kind, "crypt_init_by_name", name, why);
    match mapping_exists(name)? {
        None => Err(refused(
            ErrorKind::NoDevice,
            "nothing is mapped under this name",
        )),
        Some(MappingInfo {
            container_type: None,
            ..
        }) => Err(refused(
            ErrorKind::NotAContainer,
            "the mapping belongs to another program",
        )),
        Some(_) => Ok(Mapping::opened(name)),
    }
}

/// A name that device-mapper accepts as it is, without mangling.
pub(super) fn checked_name(name: &str) -> Result<CString, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let valid = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.');
    let c_name = CString::new(name).ok().filter(|_| valid);
    c_name.ok_or_else(|| {
        let why = format!(
            "a mapping's name has 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', \
             and no '.' in front"
        );
        Error::refused(ErrorKind::InvalidRequest, "crypt_init_by_name", name, why)
    })
}

/// Makes sure that a new mapping can have this name.
///
/// The rest of a chain that an interrupted close left behind is removed.
pub(super) fn require_free(library: &Library, name: &str, c_name: &CString) -> Result<(), Error> {
    if library.status(c_name)? == Status::Inactive {
        remove_layers(library, name);
        return Ok(());
    }
    let why = "close it, or adopt it";
    Err(Error::refused(
        ErrorKind::Exists,
        "crypt_status",
        node(name).display().to_string(),
        why,
    ))
}

/// Removes the lower mappings of a chain of ciphers whose top mapping is gone. Failures are only
/// logged: the caller has a better error, or will get the same one.
pub(super) fn remove_layers(library: &Library, name: &str) {
    for layer in layers(name) {
        if let Err(error) = close_one(library, &layer) {
            log::warn!("{error}");
        }
    }
}

/// Names of the mappings below a chain of two or three ciphers, upper mapping first.
fn layers(name: &str) -> [String; 2] {
    [format!("{name}_1"), format!("{name}_2")]
}

fn node(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}

fn close_patiently(name: &str) -> Result<(), Error> {
    let deadline = Instant::now() + CLOSE_PATIENCE;
    let injected = |words| Error::refused(ErrorKind::Io, "crypt_deactivate_by_name", name, words);
    fault::at("crypt_deactivate_by_name").map_err(injected)?;
    loop {
        // A statement of its own: the library is free for other threads during the pause.
        let result = library::lock().and_then(|library| close_all(&library, name));
        match result {
            Err(error) if error.kind == ErrorKind::Busy && Instant::now() < deadline => {
                log::debug!("{error}; trying again");
                thread::sleep(CLOSE_PAUSE);
            }
            result => return result,
        }
    }
}

/// Closes the mapping, and what an interrupted close may have left of its chain.
fn close_all(library: &Library, name: &str) -> Result<(), Error> {
    close_one(library, name)?;
    layers(name)
        .iter()
        .try_for_each(|layer| close_one(library, layer))
}

/// Closes one mapping if it exists and libcryptsetup made it.
fn close_one(library: &Library, name: &str) -> Result<(), Error> {
    let c_name = CString::new(name).expect("checked_name lets no NUL through");
    if library.status(&c_name)? == Status::Inactive {
        return Ok(());
    }
    if container_type(name)
        .map_err(|error| unreadable(name, &error))?
        .is_none()
    {
        let why = "the mapping belongs to another program";
        return Err(Error::refused(
            ErrorKind::NotAContainer,
            "crypt_status",
            name,
            why,
        ));
    }
    library.deactivate(&c_name)
}

fn info(library: &Library, name: &str, c_name: &CString) -> Result<Option<MappingInfo>, Error> {
    let status = library.status(c_name)?;
    if status == Status::Inactive {
        return Ok(None);
    }
    let container_type = container_type(name).map_err(|error| unreadable(name, &error))?;
    let device = match container_type {
        Some(_) => library.backing_device(c_name)?,
        None => None,
    };
    Ok(Some(MappingInfo {
        device,
        container_type,
        in_use: status == Status::Busy,
    }))
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::from_io(
        ErrorKind::Io,
        "stat",
        node(name).display().to_string(),
        error,
    )
}

/// The type that libcryptsetup wrote into the mapping's uuid: `CRYPT-<type>-…`.
/// This asks the kernel and not the library, which forgets the type of a LUKS container whose disk
/// has been unplugged.
fn container_type(name: &str) -> io::Result<Option<String>> {
    let device_number = fs::metadata(node(name))?.rdev();
    let (major, minor) = (libc::major(device_number), libc::minor(device_number));
    let uuid = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/dm/uuid"))?;
    Ok(type_in_uuid(&uuid))
}

fn type_in_uuid(uuid: &str) -> Option<String> {
    let word = uuid.trim().strip_prefix("CRYPT-")?.split('-').next()?;
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_device_mapper_keeps_unmangled() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for good in ["zbackup-0d9b7bcd-6b44-4a3c", "a", "A_b.c", &longest] {
            assert_eq!(checked_name(good).unwrap().to_str().unwrap(), good);
        }
        let too_long = "x".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", "a/b", "../sda", ".", "a b", "ä", "a\0b", &too_long] {
            assert_eq!(
                checked_name(bad).unwrap_err().kind,
                ErrorKind::InvalidRequest,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn type_is_the_second_word_of_the_uuid() {
        assert_eq!(
            type_in_uuid("CRYPT-TCRYPT-zbackup-1\n").as_deref(),
            Some("TCRYPT")
        );
        assert_eq!(
            type_in_uuid("CRYPT-LUKS2-0123456789-name").as_deref(),
            Some("LUKS2")
        );
        for foreign in ["", "LVM-abcdef", "CRYPT-", "mpath-CRYPT-LUKS2"] {
            assert_eq!(type_in_uuid(foreign), None, "{foreign}");
        }
    }
}
