//! The log: to stderr as the command line wants it, and to syslog from `info` on.
//!
//! Messages on stderr go through the live display, so that no bar is torn.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use syslog::{Facility, LogFormat, LoggerBackend, Severity};

use crate::terminal::{Settings, Terminal};

/// What syslog is told.
const SYSLOG_LEVEL: LevelFilter = LevelFilter::Info;

/// Makes this the log of the process. A host without syslog is no error, only a debug message.
pub fn start(terminal: &Terminal) -> Result<(), SetLoggerError> {
    let stderr_level = stderr_level(terminal.settings());
    // By hand it is a user's message, from a timer or a unit a daemon's.
    let facility = if terminal.can_ask() {
        Facility::LOG_USER
    } else {
        Facility::LOG_DAEMON
    };
    let (syslog, missing) = match connect(facility) {
        Ok(logger) => (Some(logger), None),
        Err(error) => (None, Some(error)),
    };
    log::set_boxed_logger(Box::new(Logger {
        display: terminal.display().clone(),
        stderr_level,
        syslog: Mutex::new(syslog),
        facility,
    }))?;
    log::set_max_level(stderr_level.max(SYSLOG_LEVEL));
    if let Some(error) = missing {
        log::debug!("no syslog: {error}");
    }
    Ok(())
}

/// `-q` errors, `-v` everything, else warnings too.
fn stderr_level(settings: Settings) -> LevelFilter {
    match settings {
        Settings { quiet: true, .. } => LevelFilter::Error,
        Settings { verbose: true, .. } => LevelFilter::Debug,
        _ => LevelFilter::Warn,
    }
}

type Syslog = syslog::Logger<LoggerBackend, Formatter>;

struct Logger {
    display: MultiProgress,
    stderr_level: LevelFilter,
    syslog: Mutex<Option<Syslog>>,
    facility: Facility,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= self.stderr_level.max(SYSLOG_LEVEL)
    }

    fn log(&self, record: &Record) {
        let message = record.args().to_string();
        if record.level() <= self.stderr_level {
            let line = stderr_line(record.level(), &message);
            self.display.suspend(|| {
                // Where stderr cannot be written to there is nobody left to tell.
                let _ = io::stderr().lock().write_all(line.as_bytes());
            });
        }
        if record.level() <= SYSLOG_LEVEL {
            self.tell_syslog(record.level(), &message);
        }
    }

    fn flush(&self) {}
}

impl Logger {
    /// One record a line, as syslog wants it. A syslog that was restarted is found again.
    fn tell_syslog(&self, level: Level, message: &str) {
        let mut syslog = self.syslog.lock().unwrap_or_else(PoisonError::into_inner);
        for line in message.lines() {
            let Some(logger) = syslog.as_mut() else {
                return;
            };
            if send(logger, level, line).is_err() {
                *syslog = connect(self.facility).ok();
                // The second failure is the last: logging must never be what a run fails at.
                let again = syslog.as_mut().map(|logger| send(logger, level, line));
                if again.is_none_or(|sent| sent.is_err()) {
                    *syslog = None;
                }
            }
        }
    }
}

fn connect(facility: Facility) -> syslog::Result<Syslog> {
    syslog::unix(Formatter {
        facility,
        pid: std::process::id(),
    })
}

fn send(logger: &mut Syslog, level: Level, line: &str) -> syslog::Result<()> {
    match level {
        Level::Error => logger.err(line),
        Level::Warn => logger.warning(line),
        Level::Info => logger.info(line),
        Level::Debug | Level::Trace => logger.debug(line),
    }
}

/// RFC 3164 with the local time that it asks for; the crate's own formatter writes UTC.
#[derive(Clone)]
struct Formatter {
    facility: Facility,
    pid: u32,
}

impl LogFormat<&str> for Formatter {
    fn format<W: Write>(
        &self,
        out: &mut W,
        severity: Severity,
        message: &str,
    ) -> syslog::Result<()> {
        let time = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
        let priority = self.facility as u8 | severity as u8;
        write!(out, "{}", syslog_line(priority, &time, self.pid, message))?;
        Ok(())
    }
}

fn syslog_line(priority: u8, time: &str, pid: u32, message: &str) -> String {
    format!("<{priority}>{time} zbackup[{pid}]: {message}")
}

/// `zbackup: warning: message`
fn stderr_line(level: Level, message: &str) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    format!("zbackup: {level}: {message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_sets_the_level() {
        let plain = Settings::default();
        let quiet = Settings {
            quiet: true,
            ..plain
        };
        let verbose = Settings {
            verbose: true,
            ..plain
        };
        assert_eq!(stderr_level(plain), LevelFilter::Warn);
        assert_eq!(stderr_level(quiet), LevelFilter::Error);
        assert_eq!(stderr_level(verbose), LevelFilter::Debug);
    }

    #[test]
    fn lines_as_their_readers_want_them() {
        assert_eq!(
            stderr_line(Level::Warn, "atime is on"),
            "zbackup: warning: atime is on\n"
        );
        // Facility daemon (3), severity warning (4).
        let priority = Facility::LOG_DAEMON as u8 | Severity::LOG_WARNING as u8;
        assert_eq!(
            syslog_line(priority, "Nov  2 03:04:05", 77, "atime is on"),
            "<28>Nov  2 03:04:05 zbackup[77]: atime is on"
        );
    }
}
