//! Passphrases: where they come from, and who else could have read them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::error::{Error, ErrorKind};
use crate::next::next;

/// Longest passphrase in bytes, which is also libcryptsetup's limit for typed ones.
pub const MAX_PASSPHRASE_BYTES: usize = 512;

/// Name of the passphrase below `$CREDENTIALS_DIRECTORY`, as in systemd's `LoadCredential=`.
pub const CREDENTIAL_NAME: &str = "zbackup.passphrase";

/// A passphrase. Wiped from memory when dropped, and never shown: not even its length is in `Debug`.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over bytes that are already in memory. The caller wipes its own copies.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a passphrase file: all of it, without one newline at the end.
    ///
    /// Refused with [`ErrorKind::SecretFile`] unless it is a plain file that belongs to root or to
    /// the effective user and that nobody else may read or write. A symlink counts as what it
    /// points to. An empty passphrase is refused too: it is more often a mistake than an intention.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let refuse = |why: String| {
            Error::refused(
                ErrorKind::SecretFile,
                "read",
                path.display().to_string(),
                why,
            )
        };
        let failed = |call| {
            move |error: io::Error| {
                Error::from_io(
                    ErrorKind::SecretFile,
                    call,
                    path.display().to_string(),
                    &error,
                )
            }
        };
        // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed("open"))?;
        private_to_us(&file)
            .map_err(failed("fstat"))?
            .map_err(refuse)?;

        let mut content = Zeroizing::new(vec![0; MAX_PASSPHRASE_BYTES + 2]);
        let length_bytes = read_up_to(&mut file, &mut content).map_err(failed("read"))?;
        content.truncate(length_bytes);
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        match content.len() {
            0 => Err(refuse("it is empty".into())),
            1..=MAX_PASSPHRASE_BYTES => Ok(Self(content)),
            _ => Err(refuse(format!(
                "it is longer than {MAX_PASSPHRASE_BYTES} bytes"
            ))),
        }
    }

    /// The secret itself. Never log it, never copy it without wiping the copy.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What somebody has typed.
impl From<Zeroizing<Vec<u8>>> for Passphrase {
    fn from(typed: Zeroizing<Vec<u8>>) -> Self {
        Self(typed)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passphrase(..)")
    }
}

/// Checks that only root or this user can have read or written the open file, or tells why not.
///
/// It checks the open file, not the path, so that nobody can swap it in between.
fn private_to_us(file: &File) -> io::Result<Result<(), String>> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    let owner = metadata.uid();
    Ok(if !metadata.is_file() {
        Err("it is not a plain file".into())
    } else if owner != 0 && owner != geteuid().as_raw() {
        Err(format!("it belongs to user {owner}: make root the owner"))
    } else if mode & 0o077 != 0 {
        Err(next!(
            "secret-mode",
            "others may use it (mode {mode:04o}): chmod 0600 it"
        ))
    } else {
        Ok(())
    })
}

/// Fills `buffer` from the file, in place: a growing `Vec` would leave copies behind.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// A file with that content and mode, and the directory that keeps it.
    fn secret(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    fn refusal(path: &Path) -> String {
        let error = Passphrase::read_file(path).unwrap_err();
        assert_eq!(error.kind, ErrorKind::SecretFile);
        error.to_string()
    }

    #[test]
    fn strips_exactly_one_newline() {
        for (content, expected) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b"secret\r\n", b"secret\r"),
            (b" s\ne c\0ret \n", b" s\ne c\0ret "),
        ] {
            let (_directory, path) = secret(content, 0o600);
            assert_eq!(Passphrase::read_file(&path).unwrap().as_bytes(), expected);
        }
    }

    #[test]
    fn refuses_files_that_others_may_use() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o601, 0o777] {
            let (_directory, path) = secret(b"secret\n", mode);
            assert!(
                refusal(&path).contains(&format!("mode {mode:04o}")),
                "{mode:o}"
            );
        }
        for mode in [0o600, 0o400, 0o700] {
            let (_directory, path) = secret(b"secret\n", mode);
            Passphrase::read_file(&path).unwrap();
        }
    }

    #[test]
    fn a_symlink_counts_as_its_target() {
        let (directory, path) = secret(b"secret\n", 0o644);
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("mode 0644"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Passphrase::read_file(&link).unwrap().as_bytes(), b"secret");
    }

    #[test]
    fn refuses_somebody_elses_file() {
        let (_directory, path) = secret(b"secret\n", 0o600);
        // Only root can give a file away; for other users the attempt fails.
        if chown(&path, Some(12345), None).is_ok() {
            assert!(refusal(&path).contains("belongs to user 12345"));
        } else {
            assert!(!geteuid().is_root(), "root can give files away");
        }
    }

    #[test]
    fn refuses_what_is_no_passphrase() {
        let (directory, path) = secret(b"", 0o600);
        assert!(refusal(&path).contains("empty"));
        fs::write(&path, "\n").unwrap();
        assert!(refusal(&path).contains("empty"));
        fs::write(&path, [b'x'; MAX_PASSPHRASE_BYTES + 1]).unwrap();
        assert!(refusal(&path).contains("longer than 512 bytes"));
        fs::write(&path, "x".repeat(100_000)).unwrap();
        assert!(refusal(&path).contains("longer than 512 bytes"));
        let mut longest = vec![b'x'; MAX_PASSPHRASE_BYTES];
        longest.push(b'\n');
        fs::write(&path, longest).unwrap();
        assert_eq!(
            Passphrase::read_file(&path).unwrap().as_bytes().len(),
            MAX_PASSPHRASE_BYTES
        );

        assert!(refusal(directory.path()).contains("not a plain file"));
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(refusal(&pipe).contains("not a plain file"));
        assert!(refusal(&directory.path().join("absent")).contains("No such file"));
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let passphrase = Passphrase::from_bytes(b"hunter2".to_vec());
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    }
}
