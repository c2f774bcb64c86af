//! What can be wrong with a config, told so that it can be corrected without a manual.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::find::EXAMPLE;
use crate::text::{Text, visible};

/// Why there is no [`Config`](super::Config). Every case ends the program with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named, and no usual place has one that may be used.
    #[error(
        "no config file found; looked at:\n{}\nA config that is just enough:\n\n{EXAMPLE}",
        list(searched)
    )]
    NotFound {
        /// Every place, with the reason why it was not used.
        searched: Vec<Candidate>,
    },
    /// The file exists (or was named with `--config`), but cannot be read.
    #[error(
        "{}: cannot read the config: {source}\nPut that right, or name another file with --config.",
        shown(path)
    )]
    Read {
        /// The file as it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read and is not valid.
    #[error("{}", list(problems))]
    Invalid {
        /// Everything that is wrong, in the order of the file. Never empty.
        problems: Vec<Problem>,
    },
    /// A disk section was asked for by name, and there is no such section.
    #[error(
        "{}: there is no section [{}]; disks here: {}",
        shown(path),
        visible(asked),
        sections(known)
    )]
    NoSuchDevice {
        /// The config file.
        path: PathBuf,
        /// The name that was asked for.
        asked: String,
        /// Names of all disk sections of the file.
        known: Vec<String>,
    },
}

/// As lines, in each of which the file's own text is made visible.
impl From<&ConfigError> for Text {
    fn from(error: &ConfigError) -> Self {
        Self::lines(error.to_string().lines())
    }
}

fn shown(path: &Path) -> String {
    visible(&path.to_string_lossy()).into_owned()
}

/// One place where a config was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: {}", shown(&self.path), self.reason)
    }
}

/// One thing that is wrong in a config file.
///
/// Shown as `path:line: [section] key: what was found; what is allowed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The config file.
    pub path: PathBuf,
    /// The line in the file, counted from 1. Something missing is reported at the end of the file.
    pub line: usize,
    /// The section it belongs to; `None` outside of all sections.
    pub section: Option<String>,
    /// The key as it is written in the file; `None` if it is not about a key.
    pub key: Option<String>,
    /// What was found.
    pub found: String,
    /// What is allowed there, or what to do.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", shown(&self.path), self.line)?;
        if let Some(section) = &self.section {
            write!(f, "[{}] ", visible(section))?;
        }
        if let Some(key) = &self.key {
            write!(f, "{}: ", visible(key))?;
        }
        write!(f, "{}; {}", visible(&self.found), visible(&self.allowed))
    }
}

fn list(items: &[impl fmt::Display]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn sections(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("[{}]", visible(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a value parser finds wrong with a value; its caller knows where the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub found: String,
    pub allowed: String,
}

impl Refusal {
    pub fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            allowed: allowed.into(),
        }
    }
}

/// Where something is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub section: Option<String>,
    pub key: Option<String>,
}

impl Place {
    /// A line outside of all sections.
    pub fn line(line: usize) -> Self {
        Self {
            line,
            section: None,
            key: None,
        }
    }

    /// A section as a whole.
    pub fn section(line: usize, section: &str) -> Self {
        Self {
            line,
            section: Some(section.into()),
            key: None,
        }
    }

    /// A key of a section.
    pub fn key(line: usize, section: &str, key: &str) -> Self {
        Self {
            line,
            section: Some(section.into()),
            key: Some(key.into()),
        }
    }
}

/// Collects what is wrong, so that everything can be reported at once.
#[derive(Debug)]
pub(super) struct Problems {
    path: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            list: Vec::new(),
        }
    }

    pub fn add(&mut self, place: Place, found: impl Into<String>, allowed: impl Into<String>) {
        let Place { line, section, key } = place;
        let (found, allowed) = (found.into(), allowed.into());
        self.list.push(Problem {
            path: self.path.clone(),
            line,
            section,
            key,
            found,
            allowed,
        });
    }

    pub fn refuse(&mut self, place: Place, refusal: Refusal) {
        self.add(place, refusal.found, refusal.allowed);
    }

    /// `value` if nothing is wrong, else everything that is wrong, in the order of the file.
    pub fn or_value<T>(self, value: T) -> Result<T, ConfigError> {
        if self.list.is_empty() {
            Ok(value)
        } else {
            Err(self.into_error())
        }
    }

    /// The error with all problems.
    pub fn into_error(mut self) -> ConfigError {
        self.list.sort_by_key(|problem| problem.line);
        ConfigError::Invalid {
            problems: self.list,
        }
    }
}
