//! Where a container's passphrase comes from.

use std::path::{Path, PathBuf};

use crate::config::{Device, Encryption};
use crate::crypt::Passphrase;
use crate::error::{Error, Phase};

/// Name of the credential that systemd's `LoadCredential=` puts into `$CREDENTIALS_DIRECTORY`.
const CREDENTIAL: &str = "zbackup.passphrase";

/// The place to get a passphrase from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A file; reading it checks who else may.
    File(PathBuf),
    /// The terminal, with the echo off.
    Terminal,
    /// A keyfile does without.
    None,
}

impl Source {
    /// Chooses the source for `device`: the configured file, then systemd's credential, then the
    /// terminal; a configured keyfile can do without any.
    pub fn choose(
        device: &Device,
        can_ask: bool,
        credentials: Option<&Path>,
    ) -> Result<Self, Error> {
        let credential = credentials
            .map(|folder| folder.join(CREDENTIAL))
            .filter(|file| file.exists());
        if let Some(file) = device.passphrase_file.clone().or(credential) {
            return Ok(Self::File(file));
        }
        match (&device.keyfile, device.encryption) {
            (Some(_), Some(Encryption::Luks)) => Ok(Self::None),
            _ if can_ask => Ok(Self::Terminal),
            (Some(_), _) => Ok(Self::None),
            (None, _) => Err(Error::new(
                Phase::Unlock,
                format!("there is no passphrase for [{}]: no terminal to ask on, and no passphrase-file", device.section),
            )
            .next(format!(
                "Run zbackup on a terminal, or set passphrase-file (mode 0600) in [{}], or give systemd's LoadCredential={CREDENTIAL}.",
                device.section
            ))),
        }
    }

    /// How often a wrong passphrase may be tried.
    pub fn tries(&self) -> usize {
        if *self == Self::Terminal { 3 } else { 1 }
    }

    /// Gets the passphrase.
    pub fn passphrase(&self, prompt: &str) -> Result<Option<Passphrase>, Error> {
        let failed = |error| {
            Error::new(
                Phase::Unlock,
                format!("cannot read the passphrase: {error}"),
            )
        };
        match self {
            Self::File(file) => Passphrase::read_file(file).map(Some).map_err(failed),
            Self::Terminal => Passphrase::read_terminal(&format!("{prompt}: "))
                .map(Some)
                .map_err(failed),
            Self::None => Ok(None),
        }
    }
}
