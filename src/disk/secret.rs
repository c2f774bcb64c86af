//! The source of a container's passphrase.

use std::path::{Path, PathBuf};

use crate::config::{Device, Encryption};
use crate::crypt::{CREDENTIAL_NAME, MAX_PASSPHRASE_BYTES, Passphrase};
use crate::error::{Error, Phase};
use crate::next::next;
use crate::terminal::Terminal;

/// The source of a passphrase.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A file; reading it checks who else may read it.
    File(PathBuf),
    /// The terminal, with the echo off.
    Terminal,
    /// Keyfiles alone are enough.
    None,
}

impl Source {
    /// Chooses the source for `device`: the configured file, then systemd's credential, then the
    /// terminal; configured keyfiles may need no passphrase. LUKS takes either a keyfile or a
    /// passphrase, so there a keyfile comes first.
    pub fn choose(
        device: &Device,
        can_ask: bool,
        credentials: Option<&Path>,
    ) -> Result<Self, Error> {
        let has_keyfiles = !device.keyfiles.is_empty();
        let is_luks = device.encryption == Some(Encryption::Luks);
        if has_keyfiles && (is_luks || device.without_passphrase) {
            return Ok(Self::None);
        }
        let credential = credentials
            .map(|folder| folder.join(CREDENTIAL_NAME))
            .filter(|file| file.exists());
        if let Some(file) = device.passphrase_file.clone().or(credential) {
            return Ok(Self::File(file));
        }
        match has_keyfiles {
            _ if can_ask => Ok(Self::Terminal),
            true => Ok(Self::None),
            false => Err(Error::new(
                Phase::Unlock,
                format!("there is no passphrase for [{}]: no terminal to ask on, and no passphrase-file", device.section),
            )
            .next(next!(
"no-passphrase",
"Run zbackup on a terminal, or set passphrase-file (mode 0600) in [{}], or give systemd's LoadCredential={CREDENTIAL_NAME}.",
                device.section
            ))),
        }
    }

    /// How often a wrong passphrase may be tried.
    pub fn tries(&self) -> usize {
        if *self == Self::Terminal { 3 } else { 1 }
    }

    /// Gets the passphrase; `prompt` asks for it on the terminal.
    pub fn passphrase(
        &self,
        terminal: &Terminal,
        prompt: &str,
    ) -> Result<Option<Passphrase>, Error> {
        let passphrase = match self {
            Self::File(file) => Passphrase::read_file(file).map_err(|error| error.to_string()),
            Self::Terminal => terminal
                .passphrase(prompt, MAX_PASSPHRASE_BYTES)
                .map(Passphrase::from)
                .map_err(|error| error.to_string()),
            Self::None => return Ok(None),
        };
        passphrase.map(Some).map_err(|error| {
            let message = format!("cannot read the passphrase: {error}");
            Error::new(Phase::Unlock, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A disk with these lines in its section.
    fn disk(lines: &str) -> Device {
        let text = format!(
            "[USB device]\npartuuid = 11111111-1111-4111-8111-111111111111\nbackup_pool = backup\n{lines}\n\
             [host1]\nguid = 1\nvolume = /home\n"
        );
        let config = Config::parse(Path::new("zbackup.ini"), &text).unwrap();
        config.devices.into_iter().next().unwrap()
    }

    fn chosen(lines: &str, can_ask: bool, credentials: Option<&Path>) -> Option<Source> {
        Source::choose(&disk(lines), can_ask, credentials).ok()
    }

    #[test]
    fn the_configured_file_then_the_credential_then_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let none = Some(folder.path());
        let luks = "encryption = luks";
        assert_eq!(chosen(luks, true, none), Some(Source::Terminal));
        assert_eq!(chosen(luks, false, none), None);
        let credential = folder.path().join(CREDENTIAL_NAME);
        std::fs::write(&credential, "secret").unwrap();
        let credential = Some(Source::File(credential));
        assert_eq!(chosen(luks, true, Some(folder.path())), credential);
        let with_file = format!("{luks}\npassphrase-file = /a");
        let file = Some(Source::File("/a".into()));
        assert_eq!(chosen(&with_file, true, Some(folder.path())), file);
        // TrueCrypt combines keyfile and passphrase.
        let mixed = "encryption = truecrypt\nkeyfile = /k";
        assert_eq!(chosen(mixed, true, Some(folder.path())), credential);
        assert_eq!(chosen(mixed, true, None), Some(Source::Terminal));
        assert_eq!(chosen(mixed, false, None), Some(Source::None));
        let alone = "encryption = veracrypt\nkeyfile = /k\n  /l\npassphrase-file = none";
        assert_eq!(chosen(alone, true, Some(folder.path())), Some(Source::None));
    }

    #[test]
    fn a_luks_keyfile_needs_no_passphrase_even_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CREDENTIAL_NAME), "secret").unwrap();
        let keyfile = "encryption = luks\nkeyfile = /k";
        for can_ask in [true, false] {
            let source = chosen(keyfile, can_ask, Some(folder.path()));
            assert_eq!(source, Some(Source::None));
        }
    }
}
