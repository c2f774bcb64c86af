//! What can go wrong with a container, sorted by what the user can do about it.

use std::fmt;
use std::io;

use crate::human::system_error;

/// What went wrong, as finely as it matters for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No header or key slot opens with this passphrase and these keyfiles. TrueCrypt and VeraCrypt
    /// headers look like noise, so a device that is no container at all ends here as well.
    WrongPassphrase,
    /// The device holds no container of the kind that was asked for. Only LUKS can be recognised.
    NotAContainer,
    /// The device or the mapping is in use by something else.
    Busy,
    /// There is no such device, no medium in it, or no such mapping.
    NoDevice,
    /// The mapping's name is already taken.
    Exists,
    /// The process may not do this: most often it is not root.
    Permission,
    /// The kernel lacks a cipher, device-mapper or an interface that the container needs.
    Unsupported,
    /// This build has no container support.
    NotBuilt,
    /// The request contradicts itself, such as a PIM for a LUKS container.
    InvalidRequest,
    /// A passphrase file or keyfile is missing, unreadable, too long, or readable by others.
    SecretFile,
    /// Reading or writing the device failed, or anything else.
    Io,
}

/// A failed call, with everything that is needed to explain it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// The C function or system call that failed, or the rule that was broken.
    pub call: &'static str,
    /// The device, mapping or file that it was about.
    pub subject: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// The error number, positive; 0 if zbackup itself refused.
    pub code: i32,
    /// The library's own messages, line by line, and zbackup's advice.
    pub messages: Vec<String>,
}

impl Error {
    /// A refusal by zbackup: no C call was made.
    pub(super) fn refused(
        kind: ErrorKind,
        call: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            call,
            subject: subject.into(),
            kind,
            code: 0,
            messages: vec![message.into()],
        }
    }

    /// A failed system call.
    pub(super) fn from_io(
        kind: ErrorKind,
        call: &'static str,
        subject: impl Into<String>,
        error: &io::Error,
    ) -> Self {
        let code = error.raw_os_error().unwrap_or(0);
        let messages = if code == 0 {
            vec![error.to_string()]
        } else {
            Vec::new()
        };
        Self {
            call,
            subject: subject.into(),
            kind,
            code,
            messages,
        }
    }

    /// Adds a sentence of advice after the library's messages.
    #[must_use]
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.messages.push(advice.into());
        self
    }
}

impl ErrorKind {
    fn summary(self) -> &'static str {
        match self {
            Self::WrongPassphrase => "the passphrase or keyfile does not fit",
            Self::NotAContainer => "not a container of this kind",
            Self::Busy => "in use",
            Self::NoDevice => "no such device",
            Self::Exists => "already open",
            Self::Permission => "permission denied",
            Self::Unsupported => "the kernel lacks what this container needs",
            Self::NotBuilt => "this build of zbackup has no support for encrypted containers",
            Self::InvalidRequest => "the settings do not fit together",
            Self::SecretFile => "cannot be used as passphrase file or keyfile",
            Self::Io => "failed",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.kind.summary())?;
        if self.code != 0 {
            write!(
                f,
                " ({}: {})",
                self.call,
                system_error(&io::Error::from_raw_os_error(self.code))
            )?;
        }
        for message in &self.messages {
            write!(f, "; {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_subject_cause_and_advice() {
        let error = Error {
            call: "crypt_load",
            subject: "/dev/sdb1".into(),
            kind: ErrorKind::Unsupported,
            code: 95,
            messages: vec!["Required kernel crypto interface not available.".into()],
        }
        .advise("load the kernel module algif_skcipher");
        assert_eq!(
            error.to_string(),
            "/dev/sdb1: the kernel lacks what this container needs \
             (crypt_load: Operation not supported); \
             Required kernel crypto interface not available.; \
             load the kernel module algif_skcipher"
        );
    }
}
