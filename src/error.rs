//! The one error that ends a run, and the exit codes.

use std::any::Any;
use std::fmt;

use crate::text::Text;

/// The step of a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The command line.
    Arguments,
    /// Reading `zbackup.ini`.
    Config,
    /// The lock that keeps two runs apart.
    Lock,
    /// Finding this host's pool.
    Host,
    /// Finding the disk.
    Disk,
    /// Opening the container.
    Unlock,
    /// Importing the disk's pool.
    Import,
    /// Waiting for writes to reach the host pool.
    Settle,
    /// Reading what both sides hold.
    Inventory,
    /// Making the atomic snapshot.
    Snapshot,
    /// Sending and receiving.
    Transfer,
    /// Bookmarks and visit records.
    Ledger,
    /// Removing old snapshots.
    Retention,
    /// Mounting the disk's volumes.
    Mount,
    /// Unmounting, exporting and locking the disk.
    Close,
}

/// How the process ends: its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, also when there was nothing to do.
    Done,
    /// The run failed.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Finished, but some volumes failed, were skipped or refused.
    Partial,
    /// The disk is not plugged in.
    NoDisk,
    /// A signal ended the run; the disk was closed.
    Signal(i32),
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoDisk => 75,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// Why a run ended: what failed, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The step of the run that failed.
    pub phase: Phase,
    /// What failed and why, in the library's own words if there are any.
    pub message: Text,
    /// What to do next: a sentence or a command to type.
    pub next: Option<Text>,
    /// How the process ends.
    pub exit: Exit,
}

impl Error {
    /// A failure (exit 1) in `phase`.
    pub fn new(phase: Phase, message: impl Into<Text>) -> Self {
        Self {
            phase,
            message: message.into(),
            next: None,
            exit: Exit::Failed,
        }
    }

    /// A step that the user declined (exit 3).
    pub fn declined(phase: Phase, step: &str) -> Self {
        Self::new(phase, format!("declined: {step}")).exit(Exit::Partial)
    }

    /// A run that a signal ended; what is open will be closed.
    pub fn interrupted(phase: Phase, signal: i32) -> Self {
        Self::new(phase, "interrupted").exit(Exit::Signal(signal))
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<Text>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Replaces the exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Joins a later failure, such as one while closing the disk: the first failure stays first.
    pub fn join(&mut self, later: &Self) {
        let mut lines = later.message.iter();
        let first = lines.next().map(|line| format!("and then: {line}"));
        self.message.append(Text::lines(first));
        self.message.append(Text::lines(lines));
        if let Some(next) = &later.next {
            self.next.get_or_insert_default().append(next.clone());
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)?;
        match &self.next {
            Some(next) => write!(f, "\n{next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// What a panic says.
pub(crate) fn words_of_panic(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it does not say why")
}
