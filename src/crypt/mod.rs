//! Encrypted containers: TrueCrypt, VeraCrypt, LUKS1 and LUKS2, through libcryptsetup.
//!
//! The disk's partition goes in, a device below `/dev/mapper` comes out:
//!
//! ```no_run
//! use std::path::Path;
//! use zbackup::crypt::{self, ContainerKind, Passphrase, Unlock};
//!
//! # fn main() -> Result<(), crypt::Error> {
//! crypt::prepare_environment()?; // once, before the first thread
//! let passphrase = Passphrase::read_file(Path::new("/etc/zbackup.passphrase"))?;
//! let device = Path::new("/dev/disk/by-partuuid/0d9b7bcd-6b44-4a3c-a9d6-5e3f4d2ec2a1");
//! let mapping = crypt::unlock(&Unlock {
//!     passphrase: Some(&passphrase),
//!     ..Unlock::new(ContainerKind::Truecrypt, device, "zbackup-0d9b7bcd")
//! })?;
//! println!("the pool is on {}", mapping.path().display());
//! mapping.close().map_err(|(_still_open, error)| error)?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`unlock()`] opens, [`probe`] only checks that the passphrase fits, [`Mapping`] is the open
//!   container and closes it again; [`mapping_exists`] and [`adopt`] are for mappings that an
//!   earlier process left behind.
//! - A [`Passphrase`] comes from a file, a systemd credential or a question to the user, and is wiped
//!   from memory when it is dropped.
//! - An [`Error`] tells a wrong passphrase from a missing device or missing kernel support, and
//!   carries the library's own messages. Nothing is ever printed.
//!
//! Calls may come from any thread; they run one after the other, since libdevmapper keeps global
//! state. Without the cargo feature `cryptsetup` everything here still compiles: the kernel tells
//! what is mapped, and every call that opens or closes a container fails with
//! [`ErrorKind::NotBuilt`] (see [`IS_BUILT_IN`]).

mod environment;
mod error;
#[cfg(feature = "cryptsetup")]
mod ffi;
mod kernel;
#[cfg_attr(not(feature = "cryptsetup"), path = "library_absent.rs")]
mod library;
mod mapping;
mod passphrase;
mod unlock;

pub use environment::prepare_environment;
pub use error::{Error, ErrorKind};
pub use mapping::{Mapping, MappingInfo, adopt, mapping_exists};
pub use passphrase::{CREDENTIAL_NAME, MAX_PASSPHRASE_BYTES, Passphrase};
pub use unlock::{ContainerKind, Unlock, probe, unlock};

/// Whether this build can open containers. If it cannot, no passphrase needs to be asked for.
pub const IS_BUILT_IN: bool = cfg!(feature = "cryptsetup");
