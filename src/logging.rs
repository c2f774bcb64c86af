//! The log: to stderr as the command line says, and to syslog from `info` on.
//!
//! Messages on stderr go through the live display, so that no bar is torn. A record is one line, whatever
//! it contains: the name of a pool or a directory cannot add lines of its own to a log.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::MultiProgress;
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use syslog::{Facility, LogFormat, LoggerBackend, Severity};

use crate::error::Error;
use crate::terminal::{Settings, Terminal, tell};
use crate::text::Text;

/// The least important level that goes to syslog.
const SYSLOG_LEVEL: LevelFilter = LevelFilter::Info;

/// Makes this the log of the process. A host without syslog is no error, only a debug message.
pub fn start(terminal: &Terminal) -> Result<(), SetLoggerError> {
    let stderr_level = stderr_level(terminal.settings());
    // A run by hand logs as a user, a timer or a unit as a daemon.
    let facility = if terminal.is_watched() {
        Facility::LOG_USER
    } else {
        Facility::LOG_DAEMON
    };
    let pid = std::process::id();
    let syslog = Syslog::new(move || syslog::unix(Formatter { facility, pid }));
    let missing = syslog.connect_again().err();
    log::set_boxed_logger(Box::new(Logger {
        display: terminal.display().clone(),
        stderr_level,
        syslog,
    }))?;
    log::set_max_level(stderr_level.max(SYSLOG_LEVEL));
    if let Some(error) = missing {
        log::debug!("no syslog: {error}");
    }
    Ok(())
}

/// Logs each line of `error`.
pub fn error(error: &Error) {
    let lines = error.message.iter();
    for line in lines.chain(error.next.iter().flat_map(Text::iter)) {
        log::error!("{line}");
    }
}

/// `-q` errors, `-v` everything, else warnings too.
fn stderr_level(settings: Settings) -> LevelFilter {
    match settings {
        Settings { quiet: true, .. } => LevelFilter::Error,
        Settings { verbose: true, .. } => LevelFilter::Debug,
        _ => LevelFilter::Warn,
    }
}

struct Logger {
    display: MultiProgress,
    stderr_level: LevelFilter,
    syslog: Syslog,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= self.stderr_level.max(SYSLOG_LEVEL)
    }

    fn log(&self, record: &Record) {
        let message = Text::from(record.args().to_string());
        if record.level() <= self.stderr_level {
            let line = stderr_line(record.level(), &message);
            self.display.suspend(|| tell(&line));
        }
        if record.level() <= SYSLOG_LEVEL {
            self.syslog.tell(record.level(), &message);
        }
    }

    fn flush(&self) {}
}

type Connection = syslog::Logger<LoggerBackend, Formatter>;

/// A connection to syslog that survives a restart of syslog.
struct Syslog {
    connect: Box<dyn Fn() -> syslog::Result<Connection> + Send + Sync>,
    connection: Mutex<Option<Connection>>,
}

impl Syslog {
    fn new(connect: impl Fn() -> syslog::Result<Connection> + Send + Sync + 'static) -> Self {
        Self {
            connect: Box::new(connect),
            connection: Mutex::new(None),
        }
    }

    fn connect_again(&self) -> syslog::Result<()> {
        *self.connection() = Some((self.connect)()?);
        Ok(())
    }

    /// A panic while logging leaves a usable connection.
    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one record for each line, as syslog wants it. If nothing listens (any longer), the
    /// record is lost: a run must never fail because of logging.
    fn tell(&self, level: Level, message: &Text) {
        for line in message.iter() {
            if self.send(level, line).is_err() && self.connect_again().is_ok() {
                let _ = self.send(level, line);
            }
        }
    }

    fn send(&self, level: Level, line: &str) -> syslog::Result<()> {
        match self.connection().as_mut() {
            Some(connection) => send(connection, level, line),
            None => Ok(()),
        }
    }
}

fn send(logger: &mut Connection, level: Level, line: &str) -> syslog::Result<()> {
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
fn stderr_line(level: Level, message: &Text) -> Text {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    format!("zbackup: {level}: {message}").into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

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
            stderr_line(Level::Warn, &"atime is on".into()),
            "zbackup: warning: atime is on".into()
        );
        // Facility daemon (3), severity warning (4).
        let priority = Facility::LOG_DAEMON as u8 | Severity::LOG_WARNING as u8;
        assert_eq!(
            syslog_line(priority, "Nov  2 03:04:05", 77, "atime is on"),
            "<28>Nov  2 03:04:05 zbackup[77]: atime is on"
        );
    }

    #[test]
    fn syslog_gets_one_record_a_line_also_after_its_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let received = |socket: &UnixDatagram| {
            // A message that does not come fails the test instead of blocking it.
            let patience = Duration::from_secs(10);
            socket.set_read_timeout(Some(patience)).unwrap();
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let socket = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::new({
            let path = path.clone();
            let facility = Facility::LOG_USER;
            move || syslog::unix_custom(Formatter { facility, pid: 77 }, &path)
        });
        syslog.connect_again().unwrap();
        syslog.tell(Level::Error, &Text::lines(["one\n<8>forged", "two"]));
        let first = received(&socket);
        assert!(
            first.starts_with("<11>") && first.ends_with(" zbackup[77]: one\\n<8>forged"),
            "{first}"
        );
        assert!(received(&socket).ends_with(": two"));

        drop(socket);
        syslog.tell(Level::Error, &"lost".into());
        std::fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        syslog.tell(Level::Info, &"back".into());
        let back = received(&socket);
        assert!(
            back.starts_with("<14>") && back.ends_with(": back"),
            "{back}"
        );
    }
}
